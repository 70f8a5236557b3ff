/* What every operator is made of: what is checked of its ops, and its kernel. */
#ifndef TINYOPS_OPERATOR_H
#define TINYOPS_OPERATOR_H

#include "bytes.h"
#include "layout.h"
#include "quantize.h"
#include "record.h"

struct tinyops_sum;

/* One op as its kernel sees it: its tensors and where their bytes lie. Whatever a plan makes
 * overlap, a kernel can only compute nonsense. */
typedef struct tinyops_call {
  const tinyops_plan *plan;
  const tinyops_op *op;
  tinyops_tensor input;
  tinyops_tensor output;
  const uint8_t *in;
  /* The second operand, or the state, which a kernel may write; NULL if it is no tensor. */
  uint8_t *second;
  uint8_t *out;
  uint8_t *scratch;
  /* The sum that a convolution runs with, or NULL. */
  const struct tinyops_sum *sum;
} tinyops_call;

/* What an op's second input may be. */
enum {
  TINYOPS_SECOND_NONE = 0,
  TINYOPS_SECOND_TENSOR = 1,
  /* A tensor, or a constant. */
  TINYOPS_SECOND_EITHER = 2,
  /* A state, which the op changes. */
  TINYOPS_SECOND_STATE = 3
};

struct tinyops_operator {
  uint8_t code;
  /* Whether it is the form of the operator over int16. */
  bool is_wide;
  /* Whether the output may lie exactly over an input. */
  bool is_elementwise;
  uint8_t second;
  /* The op flags that it knows. */
  uint8_t flags;
  /* Bytes of its own numbers in the constants; those of a convolution are counted by channels, and
   * those of a copy by itself. */
  uint16_t numbers_bytes;
  /* Whether the op's own numbers are such that its kernel stays in its tensors and constants; NULL
   * if there are none. */
  bool (*is_sound)(const tinyops_plan *plan, const tinyops_op *op);
  void (*run)(const tinyops_call *call);
  /* Makes ready the sum that a convolution runs with; of the sum alone, NULL for others. */
  void (*begin_sum)(const tinyops_call *call, struct tinyops_sum *sum);
};

/* Least and greatest result of an op over int16, which stand before its numbers. */
#define TINYOPS_CLAMP_BYTES 4u

/* One of the op's own 32-bit numbers; 0 beyond the constants. */
static inline int32_t tinyops_number(const tinyops_plan *plan, const tinyops_op *op,
                                     uint32_t index) {
  uint64_t at = (uint64_t)op->numbers_offset + 4 * (uint64_t)index;
  if (at + 4 > plan->constants_bytes) return 0;
  return tinyops_read_i32(plan->constants + (size_t)at);
}

/* Whether so many bytes at an offset lie in the constants. */
static inline bool tinyops_in_constants(const tinyops_plan *plan, uint32_t offset,
                                        uint64_t bytes) {
  return offset + bytes <= plan->constants_bytes;
}

/* A multiplier and its shift, which stand at a number and the one after it. */
static inline tinyops_multiplier tinyops_multiplier_at(const tinyops_plan *plan,
                                                       const tinyops_op *op, uint32_t index) {
  tinyops_multiplier multiplier;
  multiplier.value = tinyops_number(plan, op, index);
  /* A checked shift fits a byte; what was not checked is not used. */
  multiplier.shift = tinyops_int8((uint8_t)((uint32_t)tinyops_number(plan, op, index + 1) & 0xFF));
  return multiplier;
}

static inline bool tinyops_in_range(int32_t value, int32_t least, int32_t greatest) {
  return value >= least && value <= greatest;
}

static inline bool tinyops_is_shift(int32_t shift) {
  return tinyops_in_range(shift, -31, 30);
}

/* The op as its kernel for int8 would see its numbers: after the least and greatest result. */
static inline tinyops_op tinyops_after_clamp(const tinyops_op *op) {
  tinyops_op inner = *op;
  inner.numbers_offset += TINYOPS_CLAMP_BYTES;
  return inner;
}

/* The least and the greatest result of an op over int16. */
static inline int32_t tinyops_wide_least(const tinyops_plan *plan, const tinyops_op *op) {
  return (int32_t)(int16_t)((uint32_t)tinyops_number(plan, op, 0) & 0xFFFF);
}

static inline int32_t tinyops_wide_greatest(const tinyops_plan *plan, const tinyops_op *op) {
  return tinyops_shift_right(tinyops_number(plan, op, 0), 16);
}

/* A value with the zero point added, held to the fused activation. */
static inline uint8_t tinyops_finished(const tinyops_op *op, int32_t zero_point, int32_t value) {
  int32_t result = tinyops_add_saturating(value, zero_point);
  return (uint8_t)(int8_t)tinyops_clamp(result, op->clamp[0], op->clamp[1]);
}

/* The row that an op makes as its so-many-th. */
static inline uint32_t tinyops_row(const tinyops_op *op, uint32_t index, uint32_t count) {
  return (op->flags & TINYOPS_FLAG_BACKWARD) != 0 ? count - 1 - index : index;
}

/* Where a window begins along an axis, before the input where there is padding. */
static inline int32_t tinyops_window_start(const tinyops_op *op, int axis, uint32_t at) {
  return (int32_t)(at * op->stride[axis]) - (int32_t)op->pad[axis];
}

/* The taps of a window that lie inside the input: from the first to before the end. */
typedef struct tinyops_taps {
  int32_t first;
  int32_t end;
} tinyops_taps;

static inline tinyops_taps tinyops_taps_inside(int32_t start, uint16_t kernel, uint8_t dilation,
                                               uint32_t len) {
  int32_t count = (int32_t)kernel, step = (int32_t)dilation;
  /* Rounded up; what is negative would be clamped to 0 anyway. */
  int32_t before = start < 0 ? -start : 0;
  int32_t within = (int32_t)len > start ? (int32_t)len - start : 0;
  tinyops_taps taps;
  taps.first = (before + step - 1) / step;
  taps.end = (within + step - 1) / step;
  if (taps.first > count) taps.first = count;
  if (taps.end < taps.first) taps.end = taps.first;
  if (taps.end > count) taps.end = count;
  return taps;
}

/* The bytes of a tensor's width: 1, or 2 of int16. */
static inline uint32_t tinyops_element_bytes(uint8_t element) {
  return element == TINYOPS_INT16 ? 2 : 1;
}

#endif
