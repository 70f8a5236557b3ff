/* What is checked of the ops of a plan. */
#include <string.h>

#include "plan.h"

/* The convolution before, if it goes into the next op: the tensor that it makes, and its scratch. */
typedef struct held {
  bool is_there;
  uint16_t made;
  tinyops_range scratch;
} held;

static bool is_int16(const tinyops_plan *plan, uint16_t index) {
  return plan->tensors[(size_t)index * TINYOPS_TENSOR_BYTES + TINYOPS_ELEMENT_AT] != 0;
}

static bool is_wide(const tinyops_plan *plan, const tinyops_op *op) {
  if (!plan->has_int16) return false;
  return is_int16(plan, op->inputs[0]) || is_int16(plan, op->output) ||
         (op->inputs[1] != TINYOPS_NONE && is_int16(plan, op->inputs[1]));
}

const tinyops_operator *tinyops_plan_operator(const tinyops_plan *plan, const tinyops_op *op) {
  /* A constant is bytes, whatever its values. */
  bool wide = op->code != TINYOPS_CODE_CONSTANT && is_wide(plan, op);
  size_t index;
  for (index = 0; index < plan->operators->count; index++) {
    const tinyops_operator *operation = plan->operators->list[index];
    if (operation->code == op->code && operation->is_wide == wide) return operation;
  }
  return NULL;
}

static bool tensors_are_known(const tinyops_plan *plan, const tinyops_op *op) {
  return op->inputs[0] < plan->tensor_count && op->output < plan->tensor_count &&
         (op->inputs[1] < plan->tensor_count || op->inputs[1] == TINYOPS_NONE);
}

static bool second_suits(const tinyops_plan *plan, const tinyops_op *op,
                         const tinyops_operator *operation) {
  bool is_there = op->inputs[1] != TINYOPS_NONE;
  switch (operation->second) {
    case TINYOPS_SECOND_TENSOR:
      return is_there;
    case TINYOPS_SECOND_EITHER:
      return true;
    case TINYOPS_SECOND_STATE:
      return is_there && tinyops_plan_view(plan, op->inputs[1]).is_state;
    default:
      return !is_there;
  }
}

static bool is_merged_sum(const tinyops_op *op) {
  return op->code == TINYOPS_CODE_ADD && (op->flags & TINYOPS_FLAG_SUM) != 0;
}

static bool held_suits(const held *before, const tinyops_op *op) {
  if (!before->is_there) return !is_merged_sum(op);
  return (op->inputs[0] == before->made) != (op->inputs[1] == before->made);
}

static bool numbers_are_sound(const tinyops_op *op, const tinyops_operator *operation) {
  const uint32_t both = TINYOPS_FLAG_ONE_MULTIPLIER | TINYOPS_FLAG_PACKED;
  return op->clamp[0] <= op->clamp[1] && op->kernel[0] > 0 && op->kernel[1] > 0 &&
         op->stride[0] > 0 && op->stride[1] > 0 && op->dilation[0] > 0 && op->dilation[1] > 0 &&
         (op->flags & ~(uint32_t)operation->flags) == 0 && (op->flags & both) != both &&
         (op->shift == 0 || (op->flags & TINYOPS_FLAG_PACKED) != 0);
}

static bool same_shape(const tinyops_tensor *a, const tinyops_tensor *b) {
  return memcmp(a->shape, b->shape, sizeof a->shape) == 0;
}

static bool pad_fits(const tinyops_op *op, const tinyops_tensor *input,
                     const tinyops_tensor *output) {
  return (uint32_t)op->pad[0] + input->shape[1] <= output->shape[1] &&
         (uint32_t)op->pad[1] + input->shape[2] <= output->shape[2] &&
         output->shape[3] == input->shape[3];
}

static bool shapes_fit(const tinyops_plan *plan, const tinyops_op *op, const tinyops_tensor *input,
                       const tinyops_tensor *output) {
  tinyops_tensor second;
  switch (op->code) {
    case TINYOPS_CODE_DEPTHWISE_CONV_2D:
      return output->shape[3] % input->shape[3] == 0;
    case TINYOPS_CODE_MAX_POOL_2D:
    case TINYOPS_CODE_AVERAGE_POOL_2D:
      return output->shape[3] == input->shape[3];
    case TINYOPS_CODE_ADD:
      second = tinyops_plan_view(plan, op->inputs[1]);
      return same_shape(output, input) && same_shape(output, &second);
    case TINYOPS_CODE_SOFTMAX:
    case TINYOPS_CODE_LOOKUP:
    case TINYOPS_CODE_NORMALIZE:
      return same_shape(output, input);
    case TINYOPS_CODE_MEAN:
      return output->shape[1] == 1 && output->shape[2] == 1 &&
             output->shape[3] == input->shape[3];
    case TINYOPS_CODE_PAD:
      return pad_fits(op, input, output);
    default:
      /* What the others read is in their numbers, which are held to the tensors. */
      return true;
  }
}

static bool is_convolution(const tinyops_op *op) {
  return op->code == TINYOPS_CODE_CONV_2D || op->code == TINYOPS_CODE_DEPTHWISE_CONV_2D;
}

static bool constants_fit(const tinyops_plan *plan, const tinyops_op *op,
                          const tinyops_operator *operation, const tinyops_tensor *input,
                          const tinyops_tensor *output) {
  uint64_t weights, numbers = operation->numbers_bytes;
  switch (op->code) {
    case TINYOPS_CODE_LOOKUP:
      weights = 256;
      break;
    case TINYOPS_CODE_CONSTANT:
      weights = output->len;
      break;
    default:
      weights = tinyops_op_filter_bytes(op, input->shape, output->shape);
  }
  if (is_convolution(op)) {
    numbers = tinyops_channel_words(op, output->shape[3]) +
              tinyops_channel_rest(op, output->shape[3]);
  }
  if (!(weights == 0 && op->weights_offset == 0) &&
      !tinyops_in_constants(plan, op->weights_offset, weights)) {
    return false;
  }
  if (!(numbers == 0 && op->numbers_offset == 0) &&
      !tinyops_in_constants(plan, op->numbers_offset, numbers)) {
    return false;
  }
  if (op->weights_offset % TINYOPS_CONSTANTS_ALIGN != 0 || op->numbers_offset % 4 != 0) {
    return false;
  }
  return operation->is_sound == NULL || operation->is_sound(plan, op);
}

static bool is_exactly(tinyops_range a, tinyops_range b) {
  return a.start == b.start && a.end == b.end;
}

/* Elementwise ops may write over an input they have just read; the others trail behind what they
 * still read, or stay apart. Safety does not depend on it, the result does. */
static bool may_overlap(const tinyops_op *op, const tinyops_operator *operation,
                        const tinyops_tensor *input, const tinyops_tensor *output,
                        const tinyops_tensor *read) {
  tinyops_range range = tinyops_range_of(read), written = tinyops_range_of(output);
  int64_t distance = (int64_t)output->offset - (int64_t)read->offset;
  tinyops_distance limit;
  if (tinyops_apart(range, written)) return true;
  if (operation->is_elementwise && is_exactly(range, written)) return true;
  if ((op->flags & TINYOPS_FLAG_BACKWARD) != 0) {
    limit = tinyops_op_overlap_lag(op, input->shape, output->shape);
    return limit.may_overlap && distance >= limit.bytes;
  }
  limit = tinyops_op_overlap_lead(op, input->shape, output->shape);
  return limit.may_overlap && distance <= limit.bytes;
}

/* What a convolution makes has the sum's place. The other operand must lie so far above that whole
 * blocks can be made before they are added, or apart. */
static bool merged_may_overlap(const held *before, uint16_t index, const tinyops_tensor *read,
                               const tinyops_tensor *output) {
  tinyops_range range = tinyops_range_of(read), written = tinyops_range_of(output);
  uint64_t block = (uint64_t)TINYOPS_BLOCK_PIXELS * output->shape[3];
  if (index == before->made) return is_exactly(range, written);
  return (range.start >= written.start + block || tinyops_apart(range, written)) &&
         tinyops_apart(range, before->scratch);
}

static tinyops_verdict check_places(const tinyops_plan *plan, const tinyops_op *op,
                                    const tinyops_operator *operation, uint16_t index,
                                    const tinyops_tensor *input, const tinyops_tensor *output,
                                    const held *before, held *after) {
  uint64_t scratch_bytes = tinyops_op_scratch_bytes(op, input->shape, output->shape);
  const tinyops_tensor second =
      op->inputs[1] != TINYOPS_NONE ? tinyops_plan_view(plan, op->inputs[1]) : *input;
  tinyops_range scratch;
  int operand;
  for (operand = 0; operand < 2; operand++) {
    const tinyops_tensor *read = operand == 0 ? input : &second;
    bool is_sound;
    if (op->inputs[operand] == TINYOPS_NONE) continue;
    is_sound = before->is_there ? merged_may_overlap(before, op->inputs[operand], read, output)
                                : may_overlap(op, operation, input, output, read);
    if (!is_sound) return tinyops_verdict_of(TINYOPS_OVERLAP, index);
  }
  if (operation->second == TINYOPS_SECOND_STATE &&
      !tinyops_apart(tinyops_range_of(input), tinyops_range_of(&second))) {
    return tinyops_verdict_of(TINYOPS_OVERLAP, index);
  }
  scratch.start = op->scratch_offset;
  scratch.end = op->scratch_offset + scratch_bytes;
  if (scratch_bytes > 0) {
    if (scratch.end > plan->arena_bytes || op->scratch_offset % 4 != 0 ||
        tinyops_plan_region(plan, scratch.start, scratch.end) < 0) {
      return tinyops_verdict_of(TINYOPS_OP, index);
    }
    if (!tinyops_apart(scratch, tinyops_range_of(input)) ||
        !tinyops_apart(scratch, tinyops_range_of(output))) {
      return tinyops_verdict_of(TINYOPS_OVERLAP, index);
    }
  }
  if (op->code == TINYOPS_CODE_CONV_2D && (op->flags & TINYOPS_FLAG_SUM) != 0) {
    const uint8_t *next = plan->ops + ((size_t)index + 1) * TINYOPS_OP_BYTES;
    if (index + 1u >= plan->op_count || next[0] != TINYOPS_CODE_ADD ||
        next[1] != TINYOPS_FLAG_SUM) {
      return tinyops_verdict_of(TINYOPS_OP, index);
    }
    after->is_there = true;
    after->made = op->output;
    after->scratch = scratch;
  }
  return tinyops_verdict_of(TINYOPS_SOUND, 0);
}

static tinyops_verdict check_op(const tinyops_plan *plan, uint16_t index, held *before) {
  tinyops_op op;
  const tinyops_operator *operation;
  tinyops_tensor input, output;
  held after;
  tinyops_verdict verdict;
  memset(&after, 0, sizeof after);
  if (!tinyops_op_read(plan->ops + (size_t)index * TINYOPS_OP_BYTES, &op) ||
      !tensors_are_known(plan, &op)) {
    return tinyops_verdict_of(TINYOPS_OP, index);
  }
  operation = tinyops_plan_operator(plan, &op);
  if (operation == NULL || !second_suits(plan, &op, operation) ||
      (op.code == TINYOPS_CODE_CONSTANT && op.inputs[0] != op.output) ||
      !held_suits(before, &op)) {
    return tinyops_verdict_of(TINYOPS_OP, index);
  }
  if (is_wide(plan, &op)) {
    before->is_there = false;
    return tinyops_plan_check_wide(plan, &op, operation, index);
  }
  if (!numbers_are_sound(&op, operation)) return tinyops_verdict_of(TINYOPS_OP, index);
  input = tinyops_plan_view(plan, op.inputs[0]);
  output = tinyops_plan_view(plan, op.output);
  if (!shapes_fit(plan, &op, &input, &output)) return tinyops_verdict_of(TINYOPS_SHAPES, index);
  if (!constants_fit(plan, &op, operation, &input, &output)) {
    return tinyops_verdict_of(TINYOPS_CONSTANTS, index);
  }
  verdict = check_places(plan, &op, operation, index, &input, &output, before, &after);
  *before = after;
  return verdict;
}

tinyops_verdict tinyops_plan_check_ops(const tinyops_plan *plan) {
  held before;
  uint32_t index;
  memset(&before, 0, sizeof before);
  for (index = 0; index < plan->op_count; index++) {
    tinyops_verdict verdict = check_op(plan, (uint16_t)index, &before);
    if (verdict.reason != TINYOPS_SOUND) return verdict;
  }
  return tinyops_verdict_of(TINYOPS_SOUND, 0);
}
