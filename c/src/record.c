#include "record.h"

#include <string.h>

#include "bytes.h"

bool tinyops_tensor_read(const uint8_t *record, tinyops_tensor *tensor, uint64_t *count) {
  uint8_t element = record[TINYOPS_ELEMENT_AT];
  int axis;
  if (element > TINYOPS_INT16 || record[19] > 1) return false;
  tensor->offset = tinyops_read_u32(record);
  for (axis = 0; axis < 4; axis++) {
    tensor->shape[axis] = tinyops_read_u16(record + 4 + 2 * axis);
  }
  tensor->scale = tinyops_read_f32(record + 12);
  tensor->zero_point = (int8_t)record[16];
  tensor->region = record[17];
  tensor->element = element;
  tensor->is_state = record[19] == 1;
  /* Two factors of 16 bits cannot overflow 32 bits, nor two of those products 64. */
  *count = (uint64_t)((uint32_t)tensor->shape[0] * tensor->shape[1]) *
           ((uint32_t)tensor->shape[2] * tensor->shape[3]);
  tensor->len = *count > UINT32_MAX ? UINT32_MAX : (uint32_t)*count;
  return true;
}

bool tinyops_op_read(const uint8_t *record, tinyops_op *op) {
  int axis;
  if (record[11] != 0 || tinyops_read_u32(record + 36) != 0) return false;
  op->code = record[0];
  op->flags = record[1];
  op->inputs[0] = tinyops_read_u16(record + 2);
  op->inputs[1] = tinyops_read_u16(record + 4);
  op->output = tinyops_read_u16(record + 6);
  op->clamp[0] = (int8_t)record[8];
  op->clamp[1] = (int8_t)record[9];
  op->shift = (int8_t)record[10];
  op->scratch_offset = tinyops_read_u32(record + 12);
  for (axis = 0; axis < 2; axis++) {
    op->kernel[axis] = tinyops_read_u16(record + 16 + 2 * axis);
    op->stride[axis] = record[20 + axis];
    op->dilation[axis] = record[22 + axis];
    op->pad[axis] = tinyops_read_u16(record + 24 + 2 * axis);
  }
  op->weights_offset = tinyops_read_u32(record + 28);
  op->numbers_offset = tinyops_read_u32(record + 32);
  return true;
}

tinyops_tensor tinyops_plan_view(const tinyops_plan *plan, uint16_t index) {
  tinyops_tensor tensor;
  uint64_t count;
  memset(&tensor, 0, sizeof tensor);
  (void)tinyops_tensor_read(plan->tensors + (size_t)index * TINYOPS_TENSOR_BYTES, &tensor, &count);
  return tensor;
}
