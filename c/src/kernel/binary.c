/* Functions of two values: each with each, or one of them repeated. */
#include "pairs.h"

static void run(const tinyops_call *call) {
  const tinyops_plan *plan = call->plan;
  const tinyops_op *op = call->op;
  const tinyops_pair_rule rule = tinyops_pair_rule_of(plan, op, 20, 7);
  /* The greater or lesser of two values is no sum: it keeps its own zero point. */
  const bool is_choice =
      rule.function == TINYOPS_BINARY_MAXIMUM || rule.function == TINYOPS_BINARY_MINIMUM;
  const int32_t zero_point = is_choice ? 0 : call->output.zero_point;
  const uint8_t *second = call->second;
  const size_t step_a = tinyops_pair_step(plan, op, 0, 2), step_b = tinyops_pair_step(plan, op, 1, 2);
  uint8_t *out = call->out;
  uint32_t y, x, channel;
  if (second == NULL) second = plan->constants + op->weights_offset;
  for (y = 0; y < call->output.shape[1]; y++) {
    for (x = 0; x < call->output.shape[2]; x++) {
      size_t a = (size_t)y * tinyops_pair_step(plan, op, 0, 0) +
                 (size_t)x * tinyops_pair_step(plan, op, 0, 1);
      size_t b = (size_t)y * tinyops_pair_step(plan, op, 1, 0) +
                 (size_t)x * tinyops_pair_step(plan, op, 1, 1);
      for (channel = 0; channel < call->output.shape[3]; channel++, out++) {
        int32_t value = tinyops_pair_apply(&rule, tinyops_int8(call->in[a + channel * step_a]),
                                           tinyops_int8(second[b + channel * step_b]));
        *out = tinyops_finished(op, zero_point, value);
      }
    }
  }
}

static bool is_sound(const tinyops_plan *plan, const tinyops_op *op) {
  if (!tinyops_in_constants(plan, op->weights_offset, 0)) return false;
  if (op->inputs[1] != TINYOPS_NONE) {
    return tinyops_pairs_are_sound(plan, op, tinyops_plan_view(plan, op->inputs[1]).len);
  }
  return tinyops_pairs_are_sound(plan, op, plan->constants_bytes - op->weights_offset);
}

const tinyops_operator tinyops_binary = {
    TINYOPS_CODE_BINARY,
    false,
    true,
    TINYOPS_SECOND_EITHER,
    TINYOPS_FLAG_ONE_MULTIPLIER,
    4 * TINYOPS_BINARY_NUMBERS,
    is_sound,
    run,
    NULL,
};
