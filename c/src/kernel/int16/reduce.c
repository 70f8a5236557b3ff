/* Sums, and means too, of int16 values along any axes. */
#include "../axes.h"

static int32_t gathered(const tinyops_axes *axes, const uint8_t *in, int32_t sum) {
  uint32_t y, x, c;
  for (y = 0; y < axes->counts[0]; y++) {
    for (x = 0; x < axes->counts[1]; x++) {
      const uint8_t *line =
          in + 2 * ((size_t)y * axes->steps[0] + (size_t)x * axes->steps[1]);
      for (c = 0; c < axes->counts[2]; c++) {
        sum = tinyops_add_wrapping(sum, tinyops_read_i16(line + 2 * (size_t)c * axes->steps[2]));
      }
    }
  }
  return sum;
}

static void run(const tinyops_call *call) {
  const tinyops_op inner = tinyops_after_clamp(call->op);
  const tinyops_axes stay = tinyops_axes_at(call->plan, &inner, TINYOPS_AXES_THAT_STAY);
  const tinyops_axes gone = tinyops_axes_at(call->plan, &inner, TINYOPS_AXES_THAT_GO);
  const int32_t bias = tinyops_number(call->plan, &inner, 1);
  const tinyops_multiplier multiplier = tinyops_multiplier_at(call->plan, &inner, 2);
  const int32_t least = tinyops_wide_least(call->plan, call->op);
  const int32_t greatest = tinyops_wide_greatest(call->plan, call->op);
  uint8_t *out = call->out;
  uint32_t y, x, c;
  for (y = 0; y < stay.counts[0]; y++) {
    for (x = 0; x < stay.counts[1]; x++) {
      for (c = 0; c < stay.counts[2]; c++, out += 2) {
        const size_t at = (size_t)y * stay.steps[0] + (size_t)x * stay.steps[1] +
                          (size_t)c * stay.steps[2];
        const int32_t sum = gathered(&gone, call->in + 2 * at, bias);
        tinyops_write_i16(out, tinyops_clamp(tinyops_rescale(multiplier, sum), least, greatest));
      }
    }
  }
}

static bool is_sound(const tinyops_plan *plan, const tinyops_op *op) {
  const tinyops_op inner = tinyops_after_clamp(op);
  return tinyops_number(plan, &inner, 0) == TINYOPS_REDUCE_SUM &&
         tinyops_reduce_is_sound(plan, &inner);
}

const tinyops_operator tinyops_reduce_int16 = {
    TINYOPS_CODE_REDUCE, true,     false, TINYOPS_SECOND_NONE, 0, 4 * TINYOPS_REDUCE_NUMBERS,
    is_sound,            run,      NULL,
};
