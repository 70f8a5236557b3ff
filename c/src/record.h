/* The byte layout of a plan's tables; docs/formats/plan.md tells what each field means. */
#ifndef TINYOPS_RECORD_H
#define TINYOPS_RECORD_H

#include "../include/tinyops.h"

#define TINYOPS_HEADER_BYTES 32u
#define TINYOPS_REGION_BYTES 4u
#define TINYOPS_REGION_ALIGN 16u
#define TINYOPS_TENSOR_BYTES 20u
/* Where a tensor record says what the values are. */
#define TINYOPS_ELEMENT_AT 18u
#define TINYOPS_OP_BYTES 40u
/* The constants begin at a multiple of this, and so does each weight array within them. */
#define TINYOPS_CONSTANTS_ALIGN 16u

/* Header flag: the input tensor still holds the input after a run. */
#define TINYOPS_FLAG_INPUT_KEPT 1u
/* Op flags. One multiplier serves all output channels. */
#define TINYOPS_FLAG_ONE_MULTIPLIER 1u
/* A copy fills its output with the least result first. */
#define TINYOPS_FLAG_FILL 2u
/* The channels have seven bytes each. */
#define TINYOPS_FLAG_PACKED 4u
/* Rows are made from the last to the first. */
#define TINYOPS_FLAG_BACKWARD 8u
/* Of a convolution over int16: the biases have 64 bits. */
#define TINYOPS_FLAG_WIDE_BIAS 16u
/* Of a convolution over int16: sums have 32 bits and are rescaled like those of int8. */
#define TINYOPS_FLAG_NARROW_SUM 32u
/* Of a convolution and of the sum after it: they run as one. */
#define TINYOPS_FLAG_SUM 64u

/* What an op does. */
enum {
  TINYOPS_CODE_CONV_2D = 1,
  TINYOPS_CODE_DEPTHWISE_CONV_2D = 2,
  TINYOPS_CODE_MAX_POOL_2D = 3,
  TINYOPS_CODE_AVERAGE_POOL_2D = 4,
  TINYOPS_CODE_MEAN = 5,
  TINYOPS_CODE_ADD = 6,
  TINYOPS_CODE_SOFTMAX = 7,
  TINYOPS_CODE_LOOKUP = 8,
  TINYOPS_CODE_PAD = 9,
  TINYOPS_CODE_COPY = 10,
  TINYOPS_CODE_BINARY = 11,
  TINYOPS_CODE_REDUCE = 12,
  TINYOPS_CODE_RESIZE_BILINEAR = 13,
  TINYOPS_CODE_CONSTANT = 20,
  TINYOPS_CODE_PRODUCT = 21,
  TINYOPS_CODE_EXTREME = 22,
  TINYOPS_CODE_NORMALIZE = 23,
  TINYOPS_CODE_SVDF = 24,
  TINYOPS_CODE_LSTM = 25
};

/* One op: its tensors, its geometry and where its constants lie. Pairs are height, width. */
typedef struct tinyops_op {
  uint32_t scratch_offset;
  /* Where the filter (or the table) begins in the constants. */
  uint32_t weights_offset;
  /* Where biases, multipliers and shifts (or the op's own numbers) begin in the constants. */
  uint32_t numbers_offset;
  uint16_t inputs[2];
  uint16_t output;
  uint16_t kernel[2];
  uint16_t pad[2];
  uint8_t stride[2];
  uint8_t dilation[2];
  uint8_t code;
  uint8_t flags;
  /* The fused activation: least and greatest quantized result. */
  int8_t clamp[2];
  /* The greatest shift of packed channels, 0 for others. */
  int8_t shift;
} tinyops_op;

/* Reads a tensor record and counts its values; false if its element is unknown or a reserved bit is
 * set. The record's `len` holds only counts that fit 32 bits. */
bool tinyops_tensor_read(const uint8_t *record, tinyops_tensor *tensor, uint64_t *count);

/* Reads an op record; false if a reserved byte is set. */
bool tinyops_op_read(const uint8_t *record, tinyops_op *op);

/* A tensor of a plan that has been checked. */
tinyops_tensor tinyops_plan_view(const tinyops_plan *plan, uint16_t index);

#endif
