#include "pairs.h"

tinyops_pair_rule tinyops_pair_rule_of(const tinyops_plan *plan, const tinyops_op *op,
                                       uint32_t sum_bits, uint32_t square_bits) {
  tinyops_pair_rule rule;
  uint32_t index;
  rule.function = tinyops_number(plan, op, 0);
  for (index = 0; index < 2; index++) rule.zero_points[index] = tinyops_number(plan, op, 1 + index);
  for (index = 0; index < 3; index++) {
    rule.multipliers[index] = tinyops_multiplier_at(plan, op, 3 + 2 * index);
  }
  rule.sum_bits = sum_bits;
  rule.square_bits = square_bits;
  return rule;
}

int32_t tinyops_pair_apply(const tinyops_pair_rule *rule, int32_t first, int32_t second) {
  const int32_t a = first - rule->zero_points[0], b = second - rule->zero_points[1];
  const tinyops_multiplier *by = rule->multipliers;
  int32_t x, y;
  switch (rule->function) {
    case TINYOPS_BINARY_ADD:
    case TINYOPS_BINARY_SUBTRACT:
    case TINYOPS_BINARY_SUBTRACT_FROM:
      x = tinyops_rescale(by[0], tinyops_shift_left(a, rule->sum_bits));
      y = tinyops_rescale(by[1], tinyops_shift_left(b, rule->sum_bits));
      if (rule->function == TINYOPS_BINARY_ADD) {
        return tinyops_rescale(by[2], tinyops_add_wrapping(x, y));
      }
      if (rule->function == TINYOPS_BINARY_SUBTRACT) {
        return tinyops_rescale(by[2], tinyops_sub_wrapping(x, y));
      }
      return tinyops_rescale(by[2], tinyops_sub_wrapping(y, x));
    case TINYOPS_BINARY_MULTIPLY:
      return tinyops_rescale(by[0], tinyops_mul_wrapping(a, b));
    case TINYOPS_BINARY_MAXIMUM:
      return first > second ? first : second;
    case TINYOPS_BINARY_MINIMUM:
      return first < second ? first : second;
    case TINYOPS_BINARY_PRELU:
      if (a >= 0) return tinyops_rescale(by[0], a);
      return tinyops_rescale(by[1], tinyops_mul_wrapping(a, b));
    default:
      x = tinyops_rescale(by[0], tinyops_shift_left(a, rule->square_bits));
      y = tinyops_rescale(by[1], tinyops_shift_left(b, rule->square_bits));
      x = tinyops_sub_wrapping(x, y);
      return tinyops_rescale(by[2], tinyops_mul_wrapping(x, x));
  }
}

static bool reaches(const tinyops_plan *plan, const tinyops_op *op, uint32_t operand,
                    uint64_t len) {
  tinyops_tensor output = tinyops_plan_view(plan, op->output);
  uint64_t last = 0;
  uint32_t axis;
  for (axis = 0; axis < 3; axis++) {
    uint32_t step = tinyops_pair_step(plan, op, operand, axis);
    if (step > INT32_MAX) return false;
    last += (uint64_t)step * (output.shape[axis + 1] - 1u);
  }
  return last < len;
}

bool tinyops_pairs_are_sound(const tinyops_plan *plan, const tinyops_op *op, uint64_t second_len) {
  int32_t function = tinyops_number(plan, op, 0);
  int32_t most = function <= TINYOPS_BINARY_SUBTRACT_FROM ? 0 : 30;
  uint32_t index;
  if (!tinyops_in_range(function, TINYOPS_BINARY_ADD, TINYOPS_BINARY_SQUARED_DIFFERENCE)) {
    return false;
  }
  for (index = 0; index < 2; index++) {
    if (!tinyops_in_range(tinyops_number(plan, op, 1 + index), -128, 127)) return false;
  }
  for (index = 0; index < 3; index++) {
    if (!tinyops_in_range(tinyops_number(plan, op, 4 + 2 * index), -31, most)) return false;
  }
  return reaches(plan, op, 0, tinyops_plan_view(plan, op->inputs[0]).len) &&
         reaches(plan, op, 1, second_len);
}
