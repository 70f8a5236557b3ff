#include "axes.h"

static uint64_t product_saturating(uint64_t a, uint64_t b) {
  return b != 0 && a > UINT64_MAX / b ? UINT64_MAX : a * b;
}

bool tinyops_reduce_is_sound(const tinyops_plan *plan, const tinyops_op *op) {
  uint32_t input_len = tinyops_plan_view(plan, op->inputs[0]).len;
  uint32_t output_len = tinyops_plan_view(plan, op->output).len;
  uint64_t all = 1, stay = 1, last = 0;
  uint32_t axis;
  for (axis = 0; axis < 6; axis++) {
    int32_t count = tinyops_number(plan, op, TINYOPS_AXES_THAT_STAY + 2 * axis);
    int32_t step = tinyops_number(plan, op, TINYOPS_AXES_THAT_STAY + 2 * axis + 1);
    if (!tinyops_in_range(count, 1, UINT16_MAX) || step < 0) return false;
    /* Six factors of 16 bits do not pass 96, so hold them on the way. */
    all = product_saturating(all, (uint64_t)count);
    if (axis < 3) stay = product_saturating(stay, (uint64_t)count);
    last += (uint64_t)step * (uint64_t)(count - 1);
  }
  return tinyops_in_range(tinyops_number(plan, op, 0), TINYOPS_REDUCE_SUM,
                          TINYOPS_REDUCE_MINIMUM) &&
         tinyops_is_shift(tinyops_number(plan, op, 3)) && all == input_len &&
         stay == output_len && last < input_len;
}
