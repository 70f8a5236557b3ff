/* What is checked of ops that read or make int16 values. */
#include <string.h>

#include "plan.h"

static bool numbers_are_sound(const tinyops_plan *plan, const tinyops_op *op,
                              const tinyops_operator *operation) {
  const uint32_t both = TINYOPS_FLAG_WIDE_BIAS | TINYOPS_FLAG_NARROW_SUM;
  uint32_t known = operation->flags;
  tinyops_tensor output = tinyops_plan_view(plan, op->output);
  if (tinyops_op_wide_keeps_to_rows(op, output.shape)) known |= TINYOPS_FLAG_BACKWARD;
  return op->clamp[0] == INT8_MIN && op->clamp[1] == INT8_MAX && op->shift == 0 &&
         op->kernel[0] > 0 && op->kernel[1] > 0 && op->stride[0] > 0 && op->stride[1] > 0 &&
         op->dilation[0] > 0 && op->dilation[1] > 0 && (op->flags & ~known) == 0 &&
         (op->flags & both) != both;
}

/* Only a function of one value leads from one kind of values to the other. */
static bool elements_fit(const tinyops_plan *plan, const tinyops_op *op) {
  if (op->code == TINYOPS_CODE_LOOKUP) return true;
  return tinyops_plan_view(plan, op->inputs[0]).element == TINYOPS_INT16 &&
         tinyops_plan_view(plan, op->output).element == TINYOPS_INT16 &&
         (op->inputs[1] == TINYOPS_NONE ||
          tinyops_plan_view(plan, op->inputs[1]).element == TINYOPS_INT16);
}

static bool shapes_fit(const tinyops_op *op, const tinyops_tensor *input,
                       const tinyops_tensor *output) {
  switch (op->code) {
    case TINYOPS_CODE_DEPTHWISE_CONV_2D:
      return output->shape[3] % input->shape[3] == 0;
    case TINYOPS_CODE_MAX_POOL_2D:
    case TINYOPS_CODE_AVERAGE_POOL_2D:
      return output->shape[3] == input->shape[3];
    case TINYOPS_CODE_SOFTMAX:
    case TINYOPS_CODE_LOOKUP:
      return memcmp(output->shape, input->shape, sizeof output->shape) == 0;
    default:
      return true;
  }
}

/* Two tables of 513 values, one of 256, or a filter. */
static uint64_t weights_bytes(const tinyops_op *op, const tinyops_tensor *input,
                              const tinyops_tensor *output) {
  switch (op->code) {
    case TINYOPS_CODE_SOFTMAX:
      return 2 * 2 * 513;
    case TINYOPS_CODE_LOOKUP:
      return 2 * 256;
    default:
      return tinyops_op_filter_bytes(op, input->shape, output->shape);
  }
}

static uint64_t numbers_bytes(const tinyops_op *op, const tinyops_operator *operation,
                              size_t channels) {
  uint64_t bytes;
  if (op->code != TINYOPS_CODE_CONV_2D && op->code != TINYOPS_CODE_DEPTHWISE_CONV_2D) {
    return operation->numbers_bytes;
  }
  bytes = tinyops_channel_words(op, channels) + tinyops_channel_rest(op, channels);
  return (op->flags & TINYOPS_FLAG_WIDE_BIAS) != 0 ? bytes + 4 * channels : bytes;
}

/* Whether filter, table and numbers lie in the constants, and every number is one that the kernel
 * knows. */
static bool constants_fit(const tinyops_plan *plan, const tinyops_op *op,
                          const tinyops_operator *operation, const tinyops_tensor *input,
                          const tinyops_tensor *output) {
  int32_t lowest = output->element == TINYOPS_INT16 ? INT16_MIN : INT8_MIN;
  int32_t highest = output->element == TINYOPS_INT16 ? INT16_MAX : INT8_MAX;
  int32_t least, greatest;
  /* A rescaled value needs no table. */
  bool weights_are_there =
      tinyops_in_constants(plan, op->weights_offset, weights_bytes(op, input, output)) ||
      (op->code == TINYOPS_CODE_LOOKUP && op->weights_offset == 0);
  uint64_t numbers = numbers_bytes(op, operation, output->shape[3]) + TINYOPS_CLAMP_BYTES;
  if (!weights_are_there || op->weights_offset % TINYOPS_CONSTANTS_ALIGN != 0 ||
      op->numbers_offset % 4 != 0 || !tinyops_in_constants(plan, op->numbers_offset, numbers)) {
    return false;
  }
  least = tinyops_wide_least(plan, op);
  greatest = tinyops_wide_greatest(plan, op);
  return least >= lowest && least <= greatest && greatest <= highest &&
         (operation->is_sound == NULL || operation->is_sound(plan, op));
}

/* Elementwise ops may write over an input of the same width that they have just read, those that
 * keep to rows over rows that they have done with. */
static bool may_overlap(const tinyops_op *op, const tinyops_operator *operation,
                        const tinyops_tensor *read, const tinyops_tensor *output) {
  tinyops_range range = tinyops_range_of(read), written = tinyops_range_of(output);
  int64_t distance = (int64_t)output->offset - (int64_t)read->offset;
  tinyops_distance limit;
  if (tinyops_apart(range, written)) return true;
  if (operation->is_elementwise && range.start == written.start && range.end == written.end) {
    return true;
  }
  limit = tinyops_op_wide_overlap(op, read->shape, output->shape);
  if (!limit.may_overlap) return false;
  return (op->flags & TINYOPS_FLAG_BACKWARD) != 0 ? distance >= limit.bytes
                                                  : distance <= limit.bytes;
}

tinyops_verdict tinyops_plan_check_wide(const tinyops_plan *plan, const tinyops_op *op,
                                        const tinyops_operator *operation, uint16_t index) {
  tinyops_tensor input = tinyops_plan_view(plan, op->inputs[0]);
  tinyops_tensor output = tinyops_plan_view(plan, op->output);
  int operand;
  if (op->code == TINYOPS_CODE_CONSTANT) {
    bool is_sound = op->flags == 0 && tinyops_in_constants(plan, op->weights_offset,
                                                           tinyops_tensor_bytes(&output));
    return tinyops_verdict_of(is_sound ? TINYOPS_SOUND : TINYOPS_CONSTANTS,
                              is_sound ? 0 : index);
  }
  if (!numbers_are_sound(plan, op, operation)) return tinyops_verdict_of(TINYOPS_OP, index);
  if (!elements_fit(plan, op) || !shapes_fit(op, &input, &output)) {
    return tinyops_verdict_of(TINYOPS_SHAPES, index);
  }
  if (!constants_fit(plan, op, operation, &input, &output)) {
    return tinyops_verdict_of(TINYOPS_CONSTANTS, index);
  }
  for (operand = 0; operand < 2; operand++) {
    tinyops_tensor read;
    if (op->inputs[operand] == TINYOPS_NONE) continue;
    read = tinyops_plan_view(plan, op->inputs[operand]);
    if (!may_overlap(op, operation, &read, &output)) {
      return tinyops_verdict_of(TINYOPS_OVERLAP, index);
    }
  }
  return tinyops_verdict_of(TINYOPS_SOUND, 0);
}
