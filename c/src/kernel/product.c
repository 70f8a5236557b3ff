/* Products of matrices, neither of which need be known before.
 *
 * Its numbers: both zero points, multiplier, shift; the counts of two outer axes, of rows, columns
 * and terms; the steps of the first operand along the outer axes, rows and terms; those of the
 * second along the outer axes, columns and terms. */
#include "../operator.h"

#define NUMBERS 17u
#define COUNTS 4u
#define STEPS 9u

static uint32_t count_at(const tinyops_call *call, uint32_t axis) {
  return (uint32_t)tinyops_number(call->plan, call->op, COUNTS + axis);
}

static size_t step_at(const tinyops_call *call, uint32_t operand, uint32_t axis) {
  return (uint32_t)tinyops_number(call->plan, call->op, STEPS + 4 * operand + axis);
}

static int32_t dot(const tinyops_call *call, const uint8_t *first, const uint8_t *second) {
  const int32_t zero_a = tinyops_number(call->plan, call->op, 0);
  const int32_t zero_b = tinyops_number(call->plan, call->op, 1);
  const size_t step_a = step_at(call, 0, 3), step_b = step_at(call, 1, 3);
  const uint32_t terms = count_at(call, 4);
  int32_t sum = 0;
  uint32_t term;
  for (term = 0; term < terms; term++) {
    int32_t a = tinyops_int8(first[term * step_a]) - zero_a;
    int32_t b = tinyops_int8(second[term * step_b]) - zero_b;
    sum = tinyops_add_wrapping(sum, a * b);
  }
  return sum;
}

/* The product of two matrices; answers where the next one's begins. */
static uint8_t *multiply(const tinyops_call *call, const uint8_t *first, const uint8_t *second,
                         uint8_t *out) {
  const tinyops_multiplier multiplier = tinyops_multiplier_at(call->plan, call->op, 2);
  const uint32_t rows = count_at(call, 2), columns = count_at(call, 3);
  const size_t row_step = step_at(call, 0, 2), column_step = step_at(call, 1, 2);
  uint32_t row, column;
  for (row = 0; row < rows; row++) {
    for (column = 0; column < columns; column++, out++) {
      int32_t sum = dot(call, first + row * row_step, second + column * column_step);
      *out = tinyops_finished(call->op, call->output.zero_point,
                              tinyops_rescale(multiplier, sum));
    }
  }
  return out;
}

static void run(const tinyops_call *call) {
  const uint8_t *second = call->second;
  uint8_t *out = call->out;
  uint32_t outer, inner;
  if (second == NULL) second = call->plan->constants + call->op->weights_offset;
  for (outer = 0; outer < count_at(call, 0); outer++) {
    for (inner = 0; inner < count_at(call, 1); inner++) {
      out = multiply(call, call->in + outer * step_at(call, 0, 0) + inner * step_at(call, 0, 1),
                     second + outer * step_at(call, 1, 0) + inner * step_at(call, 1, 1), out);
    }
  }
}

static bool reaches(const tinyops_plan *plan, const tinyops_op *op, uint32_t operand,
                    const uint64_t counts[4], uint64_t len) {
  uint64_t last = 0;
  uint32_t axis;
  for (axis = 0; axis < 4; axis++) {
    int32_t step = tinyops_number(plan, op, STEPS + 4 * operand + axis);
    if (step < 0) return false;
    last += (uint64_t)step * (counts[axis] - 1);
  }
  return last < len;
}

static bool is_sound(const tinyops_plan *plan, const tinyops_op *op) {
  uint64_t counts[5], of_first[4], of_second[4], second_len;
  uint32_t axis;
  if (!tinyops_in_constants(plan, op->weights_offset, 0)) return false;
  second_len = op->inputs[1] != TINYOPS_NONE ? tinyops_plan_view(plan, op->inputs[1]).len
                                             : plan->constants_bytes - op->weights_offset;
  for (axis = 0; axis < 5; axis++) {
    int32_t count = tinyops_number(plan, op, COUNTS + axis);
    if (!tinyops_in_range(count, 1, UINT16_MAX)) return false;
    counts[axis] = (uint64_t)count;
  }
  of_first[0] = of_second[0] = counts[0];
  of_first[1] = of_second[1] = counts[1];
  of_first[2] = counts[2];
  of_second[2] = counts[3];
  of_first[3] = of_second[3] = counts[4];
  return tinyops_in_range(tinyops_number(plan, op, 0), -128, 127) &&
         tinyops_in_range(tinyops_number(plan, op, 1), -128, 127) &&
         tinyops_is_shift(tinyops_number(plan, op, 3)) &&
         counts[0] * counts[1] * counts[2] * counts[3] ==
             tinyops_plan_view(plan, op->output).len &&
         reaches(plan, op, 0, of_first, tinyops_plan_view(plan, op->inputs[0]).len) &&
         reaches(plan, op, 1, of_second, second_len);
}

const tinyops_operator tinyops_product = {
    TINYOPS_CODE_PRODUCT,
    false,
    false,
    TINYOPS_SECOND_EITHER,
    TINYOPS_FLAG_ONE_MULTIPLIER,
    4 * NUMBERS,
    is_sound,
    run,
    NULL,
};
