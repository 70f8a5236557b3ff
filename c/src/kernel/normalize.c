/* Each row of channels divided by its length, in parts of 128. Its number: the input's zero point.
 *
 * Source: TFLM, reference_integer_ops::L2Normalization. */
#include "../fixed.h"
#include "../operator.h"

static void row(const uint8_t *in, uint8_t *out, uint32_t channels, int32_t zero_point) {
  tinyops_multiplier multiplier;
  tinyops_scaled root;
  int32_t sum = 0;
  uint32_t index;
  for (index = 0; index < channels; index++) {
    int32_t value = tinyops_int8(in[index]) - zero_point;
    sum = tinyops_add_wrapping(sum, value * value);
  }
  root = tinyops_inverse_square_root(sum > 0 ? sum : 0);
  multiplier.value = root.fraction;
  multiplier.shift = tinyops_clamp(root.exponent + 7, -31, 30);
  for (index = 0; index < channels; index++) {
    int32_t value = tinyops_rescale(multiplier, tinyops_int8(in[index]) - zero_point);
    out[index] = (uint8_t)(int8_t)tinyops_clamp(value, INT8_MIN, INT8_MAX);
  }
}

static void run(const tinyops_call *call) {
  const uint32_t channels = call->output.shape[3];
  uint32_t at;
  for (at = 0; at < call->output.len; at += channels) {
    row(call->in + at, call->out + at, channels, tinyops_number(call->plan, call->op, 0));
  }
}

static bool is_sound(const tinyops_plan *plan, const tinyops_op *op) {
  return tinyops_in_range(tinyops_number(plan, op, 0), -128, 127);
}

const tinyops_operator tinyops_normalize = {
    TINYOPS_CODE_NORMALIZE, false,    false, TINYOPS_SECOND_NONE, TINYOPS_FLAG_ONE_MULTIPLIER, 4,
    is_sound,               run,      NULL,
};
