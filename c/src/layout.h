/* Where an op's filter and scratch bytes lie, and how far its output may run into its input.
 *
 * Part of the plan's format, docs/formats/plan.md: every kernel on every target reads the same bytes
 * and keeps the same order. */
#ifndef TINYOPS_LAYOUT_H
#define TINYOPS_LAYOUT_H

#include "quantize.h"
#include "record.h"

/* Pixels whose patches a convolution gathers before it writes any of them. */
#define TINYOPS_BLOCK_PIXELS 4u
/* Rows of a dense filter that lie interleaved, a quad of each after the other. */
#define TINYOPS_GROUP_ROWS 4u
/* Values of a filter's row that lie together; rows are padded with zeros to whole quads. */
#define TINYOPS_QUAD 4u
/* The shift of a packed channel lies at most so far below the greatest of its op. */
#define TINYOPS_STEP_MAX 3
/* The most channels of an op that are packed. */
#define TINYOPS_UNPACKED_MAX 64u

/* Places in the order of numbers that a reader of 64 bits must not lose. */
typedef struct tinyops_distance {
  /* Whether output and input may overlap at all. */
  bool may_overlap;
  /* The greatest (forward) or least (backward) `output offset - input offset`. */
  int64_t bytes;
} tinyops_distance;

static inline uint64_t tinyops_round_up(uint64_t value, uint64_t to) {
  return (value + to - 1) / to * to;
}

static inline uint32_t tinyops_lesser(uint32_t a, uint32_t b) {
  return a < b ? a : b;
}

/* Whether the op is a convolution of a single pixel that lies in one piece: a dense layer. */
bool tinyops_op_is_dense(const tinyops_op *op, const uint16_t output[4]);

/* How many input values one output of a convolution sums. */
uint64_t tinyops_op_taps(const tinyops_op *op, const uint16_t input[4]);

/* How many bytes the filter of a convolution, dense or depthwise, has; 0 for other ops. */
uint64_t tinyops_op_filter_bytes(const tinyops_op *op, const uint16_t input[4],
                                 const uint16_t output[4]);

/* How many bytes of arena the op uses beside its tensors. */
uint64_t tinyops_op_scratch_bytes(const tinyops_op *op, const uint16_t input[4],
                                  const uint16_t output[4]);

/* The greatest distance for an op that makes its output in raster order. */
tinyops_distance tinyops_op_overlap_lead(const tinyops_op *op, const uint16_t input[4],
                                         const uint16_t output[4]);

/* The least distance for an op that makes its rows from the last to the first. */
tinyops_distance tinyops_op_overlap_lag(const tinyops_op *op, const uint16_t input[4],
                                        const uint16_t output[4]);

/* The one of the two that the flags of an op over int16 ask for, in bytes. */
tinyops_distance tinyops_op_wide_overlap(const tinyops_op *op, const uint16_t input[4],
                                         const uint16_t output[4]);

/* Whether an op over int16 makes row after row and may make them from the last to the first. */
bool tinyops_op_wide_keeps_to_rows(const tinyops_op *op, const uint16_t output[4]);

/* The bytes of the 32-bit numbers in the channel block of a convolution, and of what follows them:
 * the shifts, or the biases of packed channels. At most 65,535 channels. */
static inline size_t tinyops_channel_words(const tinyops_op *op, size_t channels) {
  if ((op->flags & TINYOPS_FLAG_PACKED) != 0) return 4 * channels;
  return 4 * (channels + ((op->flags & TINYOPS_FLAG_ONE_MULTIPLIER) != 0 ? 1 : channels));
}

static inline size_t tinyops_channel_rest(const tinyops_op *op, size_t channels) {
  if ((op->flags & TINYOPS_FLAG_PACKED) != 0) return 3 * channels;
  return (op->flags & TINYOPS_FLAG_ONE_MULTIPLIER) != 0 ? 1 : channels;
}

#endif
