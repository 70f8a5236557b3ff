/* Softmax over the channels, in fixed point.
 *
 * Source: TFLM, reference_ops::Softmax for int8 in and out. */
#include "../fixed.h"
#include "../operator.h"

/* Integer bits of the sum of exponentials. */
#define SUM_BITS 12

/* The exponential of a difference to the greatest value; 0 where it has no effect. */
static int32_t exponential(int32_t difference, int32_t least, tinyops_multiplier multiplier) {
  if (difference < least) return 0;
  return tinyops_exp_of_negative(tinyops_rescale(multiplier, difference));
}

static void row(const uint8_t *in, uint8_t *out, uint32_t channels, int32_t least,
                tinyops_multiplier multiplier) {
  int32_t greatest = INT8_MIN, sum = 0;
  tinyops_scaled reciprocal;
  uint32_t index;
  for (index = 0; index < channels; index++) {
    if (tinyops_int8(in[index]) > greatest) greatest = tinyops_int8(in[index]);
  }
  for (index = 0; index < channels; index++) {
    int32_t term = exponential(tinyops_int8(in[index]) - greatest, least, multiplier);
    sum = tinyops_add_wrapping(sum, tinyops_rounding_divide(term, SUM_BITS));
  }
  reciprocal = tinyops_reciprocal(sum, SUM_BITS);
  /* The sum is at least exp(0) for any plan of a compiler; another plan gets some bytes. */
  reciprocal.exponent = tinyops_clamp(reciprocal.exponent + 31 - 8, 0, 31);
  for (index = 0; index < channels; index++) {
    int32_t difference = tinyops_int8(in[index]) - greatest, share = 0;
    if (difference >= least) {
      int32_t term = exponential(difference, least, multiplier);
      share = tinyops_rounding_divide(tinyops_doubling_high_mul(reciprocal.fraction, term),
                                      (uint32_t)reciprocal.exponent);
    }
    share = tinyops_add_saturating(share, -128);
    out[index] = (uint8_t)(int8_t)tinyops_clamp(share, INT8_MIN, INT8_MAX);
  }
}

static void run(const tinyops_call *call) {
  const tinyops_multiplier multiplier = tinyops_multiplier_at(call->plan, call->op, 0);
  const int32_t least = tinyops_number(call->plan, call->op, 2);
  const uint32_t channels = call->output.shape[3];
  uint32_t at;
  for (at = 0; at < call->output.len; at += channels) {
    row(call->in + at, call->out + at, channels, least, multiplier);
  }
}

static bool is_sound(const tinyops_plan *plan, const tinyops_op *op) {
  return tinyops_in_range(tinyops_number(plan, op, 1), 0, 30);
}

const tinyops_operator tinyops_softmax = {
    TINYOPS_CODE_SOFTMAX, false,    true, TINYOPS_SECOND_NONE, TINYOPS_FLAG_ONE_MULTIPLIER, 12,
    is_sound,             run,      NULL,
};
