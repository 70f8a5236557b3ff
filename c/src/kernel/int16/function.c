/* Functions of one value: other scales, rectifiers, logistic function, hyperbolic tangent; from int8
 * to int16 and back too.
 *
 * Its numbers, after the least and greatest result: which function, then six that it takes. */
#include "../squash.h"

#define NUMBERS 7u

enum { RESCALE = 0, LOGISTIC = 1, TANH = 2 };

typedef struct rule {
  int32_t which;
  int32_t numbers[6];
  const uint8_t *table;
} rule;

static tinyops_multiplier factor(int32_t value, int32_t shift) {
  tinyops_multiplier multiplier;
  multiplier.value = value;
  multiplier.shift = shift;
  return multiplier;
}

/* The value on another scale, with a factor of its own below 0. Numbers: zero points of input and
 * output, then the factors of values from 0 on and of values below, the latter's multiplier below 0
 * where the factor is. */
static int32_t rescaled(const int32_t numbers[6], int32_t value) {
  value -= numbers[0];
  if (value >= 0) {
    value = tinyops_rescale(factor(numbers[2], numbers[3]), value);
  } else if (numbers[4] < 0) {
    value = tinyops_rescale(factor(-numbers[4], numbers[5]), value);
    value = tinyops_neg_wrapping(value);
  } else {
    value = tinyops_rescale(factor(numbers[4], numbers[5]), value);
  }
  return tinyops_add_saturating(value, numbers[1]);
}

/* Numbers: the multiplier that brings the input to parts of 12,288, and its shift to the right. */
static int32_t sigmoid(const rule *function, int32_t value) {
  const uint32_t shift = (uint32_t)function->numbers[1] & 31;
  const int32_t half = tinyops_shift_right(tinyops_shift_left(1, shift), 1);
  int32_t input = tinyops_mul_wrapping(value, function->numbers[0]);
  input = tinyops_shift_right(tinyops_add_wrapping(input, half), shift);
  return tinyops_squash(input, function->table, function->which == TANH);
}

static int32_t get(uint8_t element, const uint8_t *values, size_t index) {
  return element == TINYOPS_INT16 ? tinyops_read_i16(values + 2 * index)
                                  : tinyops_int8(values[index]);
}

static void set(uint8_t element, uint8_t *values, size_t index, int32_t value) {
  if (element == TINYOPS_INT16) {
    tinyops_write_i16(values + 2 * index, value);
  } else {
    values[index] = (uint8_t)((uint32_t)value & 0xFF);
  }
}

static void run(const tinyops_call *call) {
  const tinyops_op inner = tinyops_after_clamp(call->op);
  const int32_t least = tinyops_wide_least(call->plan, call->op);
  const int32_t greatest = tinyops_wide_greatest(call->plan, call->op);
  rule function;
  uint32_t index;
  function.which = tinyops_number(call->plan, &inner, 0);
  function.table = call->plan->constants + call->op->weights_offset;
  for (index = 0; index < 6; index++) {
    function.numbers[index] = tinyops_number(call->plan, &inner, 1 + index);
  }
  for (index = 0; index < call->output.len; index++) {
    const int32_t value = get(call->input.element, call->in, index);
    const int32_t result = function.which == RESCALE ? rescaled(function.numbers, value)
                                                     : sigmoid(&function, value);
    set(call->output.element, call->out, index, tinyops_clamp(result, least, greatest));
  }
}

static bool is_sound(const tinyops_plan *plan, const tinyops_op *op) {
  const tinyops_op inner = tinyops_after_clamp(op);
  const bool both = tinyops_plan_view(plan, op->inputs[0]).element == TINYOPS_INT16 &&
                    tinyops_plan_view(plan, op->output).element == TINYOPS_INT16;
  switch (tinyops_number(plan, &inner, 0)) {
    case RESCALE:
      return tinyops_in_range(tinyops_number(plan, &inner, 1), -128, 127) &&
             tinyops_in_range(tinyops_number(plan, &inner, 2), -128, 127) &&
             tinyops_number(plan, &inner, 3) >= 0 &&
             tinyops_number(plan, &inner, 5) != INT32_MIN &&
             tinyops_is_shift(tinyops_number(plan, &inner, 4)) &&
             tinyops_is_shift(tinyops_number(plan, &inner, 6));
    case LOGISTIC:
    case TANH:
      return both && tinyops_in_range(tinyops_number(plan, &inner, 1), 0, 65535) &&
             tinyops_in_range(tinyops_number(plan, &inner, 2), 0, 31) &&
             tinyops_in_constants(plan, op->weights_offset, 2 * TINYOPS_SIGMOID_TABLE);
    default:
      return false;
  }
}

const tinyops_operator tinyops_function_int16 = {
    TINYOPS_CODE_LOOKUP, true, true, TINYOPS_SECOND_NONE, 0, 4 * NUMBERS, is_sound, run, NULL,
};
