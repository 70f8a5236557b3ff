/* The compiled program of a model, read in place and checked once. */
#include "plan.h"

#include <string.h>


static tinyops_verdict verdict_of(tinyops_reason reason) {
  return tinyops_verdict_of(reason, 0);
}

/* Reads the header; false if the magic, the version or a reserved byte is another. */
static bool read_header(tinyops_plan *plan, const uint8_t *bytes) {
  static const uint8_t magic[4] = {'T', 'P', 'L', 'N'};
  plan->more_regions = bytes[28];
  plan->flags = tinyops_read_u16(bytes + 6);
  plan->arena_bytes = tinyops_read_u32(bytes + 8);
  plan->constants_bytes = tinyops_read_u32(bytes + 12);
  plan->tensor_count = tinyops_read_u16(bytes + 16);
  plan->op_count = tinyops_read_u16(bytes + 18);
  plan->input = tinyops_read_u16(bytes + 20);
  plan->output = tinyops_read_u16(bytes + 22);
  plan->embedding = tinyops_read_u16(bytes + 24);
  plan->more_inputs = bytes[26];
  plan->more_outputs = bytes[27];
  return memcmp(bytes, magic, sizeof magic) == 0 &&
         tinyops_read_u16(bytes + 4) == TINYOPS_PLAN_VERSION &&
         plan->more_regions < TINYOPS_REGIONS_MAX && bytes[29] == 0 && bytes[30] == 0 &&
         bytes[31] == 0 && (plan->flags & ~TINYOPS_FLAG_INPUT_KEPT) == 0;
}

static size_t tables_bytes(const tinyops_plan *plan) {
  return (size_t)plan->more_regions * TINYOPS_REGION_BYTES +
         (size_t)plan->tensor_count * TINYOPS_TENSOR_BYTES +
         (size_t)plan->op_count * TINYOPS_OP_BYTES;
}

/* The tables are at most 65,535 * 60 bytes and a little, so this cannot overflow 32 bits. */
static size_t constants_offset(const tinyops_plan *plan) {
  return (size_t)tinyops_round_up(TINYOPS_HEADER_BYTES + tables_bytes(plan),
                                  TINYOPS_CONSTANTS_ALIGN);
}

/* Positive and finite, told by its bits: none of a number that is not one suits. */
static bool is_scale(const uint8_t *record) {
  uint32_t bits = tinyops_read_u32(record + 12);
  return bits > 0 && bits < 0x7F800000u;
}

static bool tensor_is_sound(const tinyops_plan *plan, const uint8_t *record) {
  tinyops_tensor tensor;
  uint64_t count;
  if (!tinyops_tensor_read(record, &tensor, &count)) return false;
  if (count == 0 || tensor.shape[0] != 1 || tensor.offset + count > plan->arena_bytes) return false;
  if (!is_scale(record) || (tensor.region != 0 && plan->more_regions == 0)) return false;
  if (tensor.element == TINYOPS_INT8) return true;
  /* Int16 values have no zero point, and lie where a processor reads each in one step. */
  return tensor.zero_point == 0 && tensor.offset % 2 == 0 &&
         tensor.offset + 2 * count <= plan->arena_bytes;
}

static bool is_known(const tinyops_plan *plan, uint32_t index) {
  return index < plan->tensor_count;
}

static tinyops_verdict check(tinyops_plan *plan) {
  tinyops_verdict verdict;
  uint32_t index;
  for (index = 0; index < plan->tensor_count; index++) {
    const uint8_t *record = plan->tensors + (size_t)index * TINYOPS_TENSOR_BYTES;
    if (!tensor_is_sound(plan, record)) return tinyops_verdict_of(TINYOPS_TENSOR, (uint16_t)index);
    plan->has_int16 = plan->has_int16 || record[TINYOPS_ELEMENT_AT] != 0;
  }
  verdict = tinyops_plan_check_regions(plan);
  if (verdict.reason != TINYOPS_SOUND) return verdict;
  if (!is_known(plan, (uint32_t)plan->input + plan->more_inputs) ||
      !is_known(plan, (uint32_t)plan->output + plan->more_outputs) ||
      (plan->embedding != TINYOPS_NONE && !is_known(plan, plan->embedding))) {
    return verdict_of(TINYOPS_NO_SUCH_TENSOR);
  }
  /* The statistics of embeddings are those of int8. */
  if (plan->embedding != TINYOPS_NONE &&
      tinyops_plan_view(plan, plan->embedding).element != TINYOPS_INT8) {
    return tinyops_verdict_of(TINYOPS_TENSOR, plan->embedding);
  }
  return tinyops_plan_check_ops(plan);
}

tinyops_verdict tinyops_plan_load(tinyops_plan *plan, const uint8_t *bytes, size_t len,
                                  const tinyops_operators *operators) {
  size_t begin, tables_end;
  memset(plan, 0, sizeof *plan);
  plan->operators = operators;
  if (len < TINYOPS_HEADER_BYTES) return verdict_of(TINYOPS_TRUNCATED);
  if (!read_header(plan, bytes)) return verdict_of(TINYOPS_HEADER);
  begin = constants_offset(plan);
  if (len < begin) return verdict_of(TINYOPS_TRUNCATED);
  plan->more_starts = bytes + TINYOPS_HEADER_BYTES;
  plan->tensors = plan->more_starts + (size_t)plan->more_regions * TINYOPS_REGION_BYTES;
  plan->ops = plan->tensors + (size_t)plan->tensor_count * TINYOPS_TENSOR_BYTES;
  plan->constants = bytes + begin;
  for (tables_end = TINYOPS_HEADER_BYTES + tables_bytes(plan); tables_end < begin; tables_end++) {
    if (bytes[tables_end] != 0) return verdict_of(TINYOPS_HEADER);
  }
  if (len - begin < plan->constants_bytes) return verdict_of(TINYOPS_TRUNCATED);
  if (TINYOPS_WORD_KERNELS && (uintptr_t)bytes % 4 != 0) return verdict_of(TINYOPS_MISALIGNED);
  return check(plan);
}

size_t tinyops_plan_bytes(const tinyops_plan *plan) {
  return constants_offset(plan) + plan->constants_bytes;
}

bool tinyops_plan_tensor(const tinyops_plan *plan, uint16_t index, tinyops_tensor *tensor) {
  if (!is_known(plan, index)) return false;
  *tensor = tinyops_plan_view(plan, index);
  return true;
}

bool tinyops_plan_input(const tinyops_plan *plan, uint16_t number, tinyops_tensor *tensor) {
  if (number > plan->more_inputs) return false;
  return tinyops_plan_tensor(plan, (uint16_t)(plan->input + number), tensor);
}

bool tinyops_plan_output(const tinyops_plan *plan, uint16_t number, tinyops_tensor *tensor) {
  if (number > plan->more_outputs) return false;
  return tinyops_plan_tensor(plan, (uint16_t)(plan->output + number), tensor);
}

bool tinyops_plan_embedding(const tinyops_plan *plan, tinyops_tensor *tensor) {
  if (plan->embedding == TINYOPS_NONE) return false;
  return tinyops_plan_tensor(plan, plan->embedding, tensor);
}

bool tinyops_plan_input_is_kept(const tinyops_plan *plan) {
  return (plan->flags & TINYOPS_FLAG_INPUT_KEPT) != 0;
}

size_t tinyops_tensor_bytes(const tinyops_tensor *tensor) {
  return (size_t)tensor->len * tinyops_element_bytes(tensor->element);
}
