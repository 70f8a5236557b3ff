/* Functions of two int16 values: each with each, or one of them repeated. The slopes of a PRELU are
 * int8 constants. */
#include "../pairs.h"

/* A value of the second operand. */
static int32_t second_value(const uint8_t *values, size_t index, bool is_narrow) {
  return is_narrow ? tinyops_int8(values[index]) : tinyops_read_i16(values + 2 * index);
}

static void run(const tinyops_call *call) {
  const tinyops_plan *plan = call->plan;
  const tinyops_op inner = tinyops_after_clamp(call->op);
  const tinyops_pair_rule rule = tinyops_pair_rule_of(plan, &inner, 15, 0);
  const int32_t least = tinyops_wide_least(plan, call->op);
  const int32_t greatest = tinyops_wide_greatest(plan, call->op);
  const size_t step_a = tinyops_pair_step(plan, &inner, 0, 2);
  const size_t step_b = tinyops_pair_step(plan, &inner, 1, 2);
  const bool is_narrow = call->second == NULL && rule.function == TINYOPS_BINARY_PRELU;
  const uint8_t *second = call->second;
  uint8_t *out = call->out;
  uint32_t y, x, channel;
  if (second == NULL) second = plan->constants + call->op->weights_offset;
  for (y = 0; y < call->output.shape[1]; y++) {
    for (x = 0; x < call->output.shape[2]; x++) {
      const size_t a = (size_t)y * tinyops_pair_step(plan, &inner, 0, 0) +
                       (size_t)x * tinyops_pair_step(plan, &inner, 0, 1);
      const size_t b = (size_t)y * tinyops_pair_step(plan, &inner, 1, 0) +
                       (size_t)x * tinyops_pair_step(plan, &inner, 1, 1);
      for (channel = 0; channel < call->output.shape[3]; channel++, out += 2) {
        const int32_t first = tinyops_read_i16(call->in + 2 * (a + channel * step_a));
        const int32_t value = tinyops_pair_apply(
            &rule, first, second_value(second, b + channel * step_b, is_narrow));
        tinyops_write_i16(out, tinyops_clamp(value, least, greatest));
      }
    }
  }
}

static bool is_sound(const tinyops_plan *plan, const tinyops_op *op) {
  const tinyops_op inner = tinyops_after_clamp(op);
  const bool is_prelu = tinyops_number(plan, &inner, 0) == TINYOPS_BINARY_PRELU;
  if (!tinyops_in_constants(plan, op->weights_offset, 0)) return false;
  if (op->inputs[1] == TINYOPS_NONE) {
    const uint64_t bytes = plan->constants_bytes - op->weights_offset;
    return tinyops_pairs_are_sound(plan, &inner, is_prelu ? bytes : bytes / 2);
  }
  return !is_prelu &&
         tinyops_pairs_are_sound(plan, &inner, tinyops_plan_view(plan, op->inputs[1]).len);
}

const tinyops_operator tinyops_binary_int16 = {
    TINYOPS_CODE_BINARY, true,     true, TINYOPS_SECOND_EITHER, 0, 4 * TINYOPS_BINARY_NUMBERS,
    is_sound,            run,      NULL,
};
