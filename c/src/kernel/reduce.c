/* One value for many: sums, means and extremes along any axes. */
#include "axes.h"

/* Sum, greatest or least of the values on three axes, from a place and a value on. */
static int32_t gathered(const tinyops_axes *axes, const uint8_t *in, int32_t function,
                        int32_t begin) {
  uint32_t y, x, c;
  for (y = 0; y < axes->counts[0]; y++) {
    for (x = 0; x < axes->counts[1]; x++) {
      const uint8_t *line = in + (size_t)y * axes->steps[0] + (size_t)x * axes->steps[1];
      for (c = 0; c < axes->counts[2]; c++) {
        int32_t value = tinyops_int8(line[(size_t)c * axes->steps[2]]);
        if (function == TINYOPS_REDUCE_SUM) {
          begin = tinyops_add_wrapping(begin, value);
        } else if (function == TINYOPS_REDUCE_MAXIMUM ? value > begin : value < begin) {
          begin = value;
        }
      }
    }
  }
  return begin;
}

static uint8_t reduced(const tinyops_call *call, const tinyops_axes *gone, const uint8_t *in) {
  const int32_t function = tinyops_number(call->plan, call->op, 0);
  int32_t value;
  switch (function) {
    case TINYOPS_REDUCE_MAXIMUM:
      return tinyops_finished(call->op, 0, gathered(gone, in, function, INT8_MIN));
    case TINYOPS_REDUCE_MINIMUM:
      return tinyops_finished(call->op, 0, gathered(gone, in, function, INT8_MAX));
    default:
      value = gathered(gone, in, function, tinyops_number(call->plan, call->op, 1));
      value = tinyops_rescale(tinyops_multiplier_at(call->plan, call->op, 2), value);
      return tinyops_finished(call->op, call->output.zero_point, value);
  }
}

static void run(const tinyops_call *call) {
  const tinyops_axes stay = tinyops_axes_at(call->plan, call->op, TINYOPS_AXES_THAT_STAY);
  const tinyops_axes gone = tinyops_axes_at(call->plan, call->op, TINYOPS_AXES_THAT_GO);
  uint8_t *out = call->out;
  uint32_t y, x, c;
  for (y = 0; y < stay.counts[0]; y++) {
    for (x = 0; x < stay.counts[1]; x++) {
      const uint8_t *line = call->in + (size_t)y * stay.steps[0] + (size_t)x * stay.steps[1];
      for (c = 0; c < stay.counts[2]; c++, out++) {
        *out = reduced(call, &gone, line + (size_t)c * stay.steps[2]);
      }
    }
  }
}

const tinyops_operator tinyops_reduce = {
    TINYOPS_CODE_REDUCE,
    false,
    false,
    TINYOPS_SECOND_NONE,
    TINYOPS_FLAG_ONE_MULTIPLIER,
    4 * TINYOPS_REDUCE_NUMBERS,
    tinyops_reduce_is_sound,
    run,
    NULL,
};
