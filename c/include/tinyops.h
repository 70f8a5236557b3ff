/* The C99 runtime of TinyOps: loads a plan and runs it over an arena that the caller lends.
 *
 * Bytes in, bytes out, as in the Rust crate tinyops-nn: a plan is read in place from flash, checked
 * once by tinyops_plan_load(), and run by tinyops_plan_run(). The arithmetic is that of
 * docs/arithmetic.md, bit for bit, and the format that of docs/formats/plan.md.
 *
 * No heap, no recursion, no array whose length is not known to the compiler, nothing that runs
 * before main(), and no state but what the caller passes. Of the C library it takes memcpy(),
 * memset() and memcmp(), which a freestanding compiler needs anyway.
 *
 * Which operators a program has, it says itself: see tinyops_operators. What it does not name, the
 * linker leaves out, and a plan that needs it is refused.
 */
#ifndef TINYOPS_H
#define TINYOPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The version of the plan's format that this runtime reads. */
#define TINYOPS_PLAN_VERSION 2
/* The most memory regions of a plan. */
#define TINYOPS_REGIONS_MAX 4
/* A tensor index that names no tensor. */
#define TINYOPS_NONE 65535u

/* Why bytes are not a plan. The numbers are the same in every version. */
typedef enum tinyops_reason {
  /* They are one. */
  TINYOPS_SOUND = 0,
  /* The bytes end before the plan does. */
  TINYOPS_TRUNCATED = 1,
  /* Not a plan, or a version that this runtime does not know. */
  TINYOPS_HEADER = 2,
  /* The memory regions are out of order, or leave the arena. */
  TINYOPS_REGIONS = 3,
  /* The header names a tensor that is not there. */
  TINYOPS_NO_SUCH_TENSOR = 4,
  /* A tensor has an impossible shape, scale or region, or leaves the arena. */
  TINYOPS_TENSOR = 5,
  /* An op has a code that is unknown or not among the caller's, a reserved bit, or numbers out of
   * range. */
  TINYOPS_OP = 6,
  /* The shapes of an op's tensors do not fit together. */
  TINYOPS_SHAPES = 7,
  /* An op's constants leave the constants section or are out of range. */
  TINYOPS_CONSTANTS = 8,
  /* An op would overwrite what it still reads. */
  TINYOPS_OVERLAP = 9,
  /* The bytes begin at no multiple of 4, which this processor's kernels need. */
  TINYOPS_MISALIGNED = 10
} tinyops_reason;

/* Why bytes are not a plan, and where. */
typedef struct tinyops_verdict {
  tinyops_reason reason;
  /* Which tensor (reason TINYOPS_TENSOR) or op (TINYOPS_OP to TINYOPS_OVERLAP), from 0 in the
   * plan's own tables; 0 for other reasons. */
  uint16_t index;
} tinyops_verdict;

/* Why a plan did not run. */
typedef enum tinyops_run_status {
  TINYOPS_RAN = 0,
  /* The caller lent too little memory, in one piece or for one region. */
  TINYOPS_ARENA_TOO_SMALL = 1,
  /* Memory begins at no multiple of 4, which this processor's kernels need. */
  TINYOPS_ARENA_MISALIGNED = 2
} tinyops_run_status;

/* What the values of a tensor are. */
typedef enum tinyops_element {
  /* One byte, two's complement. */
  TINYOPS_INT8 = 0,
  /* Two bytes, two's complement, little-endian whatever the processor; the zero point is 0. */
  TINYOPS_INT16 = 1
} tinyops_element;

/* A tensor of a plan in the arena. */
typedef struct tinyops_tensor {
  /* The first byte in the arena. */
  uint32_t offset;
  /* How many values it has. */
  uint32_t len;
  /* real = scale * (q - zero_point). */
  float scale;
  /* 1, height, width, channels. */
  uint16_t shape[4];
  /* The quantized value of 0. */
  int8_t zero_point;
  /* A tinyops_element. */
  uint8_t element;
  /* The memory region that its bytes lie in. */
  uint8_t region;
  /* Whether the bytes are kept between runs, and begin as the zero point. */
  bool is_state;
} tinyops_tensor;

/* An operator: what is checked of its ops and what they do. Its inside is no part of the interface. */
typedef struct tinyops_operator tinyops_operator;

/* The operators of a program, in any order:
 *
 *   static const tinyops_operator *const list[] = {&tinyops_conv_2d, &tinyops_softmax};
 *   static const tinyops_operators operators = {list, 2};
 */
typedef struct tinyops_operators {
  const tinyops_operator *const *list;
  size_t count;
} tinyops_operators;

/* Every operator there is: for a program that shall run any plan, and has the flash for it. */
extern const tinyops_operators tinyops_operators_all;

/* Convolution, and a dense layer as a convolution of one pixel. */
extern const tinyops_operator tinyops_conv_2d;
extern const tinyops_operator tinyops_depthwise_conv_2d;
extern const tinyops_operator tinyops_max_pool_2d;
extern const tinyops_operator tinyops_average_pool_2d;
/* The mean over height and width. */
extern const tinyops_operator tinyops_mean;
/* The sum of two tensors of one shape, alone or with the convolution before it. */
extern const tinyops_operator tinyops_add;
extern const tinyops_operator tinyops_softmax;
/* A table of 256 bytes: LOGISTIC, RELU, QUANTIZE and other functions of one value. */
extern const tinyops_operator tinyops_lookup;
extern const tinyops_operator tinyops_pad;
/* Values from some places to others: CONCATENATION, SLICE, TRANSPOSE and their like. */
extern const tinyops_operator tinyops_copy;
/* A function of two values: sums with repeated operands, MUL, MAXIMUM, PRELU and their like. */
extern const tinyops_operator tinyops_binary;
/* One value for many: sums, means and extremes along any axes. */
extern const tinyops_operator tinyops_reduce;
extern const tinyops_operator tinyops_resize_bilinear;
/* Bytes of the plan as a tensor. */
extern const tinyops_operator tinyops_constant;
/* BATCH_MATMUL. */
extern const tinyops_operator tinyops_product;
/* ARG_MAX, ARG_MIN. */
extern const tinyops_operator tinyops_extreme;
/* L2_NORMALIZATION. */
extern const tinyops_operator tinyops_normalize;
extern const tinyops_operator tinyops_svdf;
extern const tinyops_operator tinyops_lstm;
/* The same over int16 activations. */
extern const tinyops_operator tinyops_conv_2d_int16;
extern const tinyops_operator tinyops_depthwise_conv_2d_int16;
extern const tinyops_operator tinyops_max_pool_2d_int16;
extern const tinyops_operator tinyops_average_pool_2d_int16;
extern const tinyops_operator tinyops_softmax_int16;
/* Functions of one value: other scales, int8 to int16 and back, rectifiers, LOGISTIC, TANH. */
extern const tinyops_operator tinyops_function_int16;
extern const tinyops_operator tinyops_copy_int16;
extern const tinyops_operator tinyops_binary_int16;
extern const tinyops_operator tinyops_reduce_int16;

/* A plan that has been checked. It borrows the bytes, which stay where and as they are. */
typedef struct tinyops_plan {
  const uint8_t *more_starts;
  const uint8_t *tensors;
  const uint8_t *ops;
  const uint8_t *constants;
  const tinyops_operators *operators;
  uint32_t arena_bytes;
  uint32_t constants_bytes;
  uint16_t tensor_count;
  uint16_t op_count;
  uint16_t input;
  uint16_t output;
  uint16_t embedding;
  uint16_t flags;
  uint8_t more_inputs;
  uint8_t more_outputs;
  uint8_t more_regions;
  /* Whether any tensor has int16 values: asked before every op. */
  bool has_int16;
} tinyops_plan;

/* The memory that a plan works in: one piece that holds all its regions one after another, or a
 * piece for each region in the plan's order. A piece that the plan has no region for stays as it is. */
typedef struct tinyops_arena {
  uint8_t *pieces[TINYOPS_REGIONS_MAX];
  size_t bytes[TINYOPS_REGIONS_MAX];
  uint8_t count;
} tinyops_arena;

/* An arena in one piece. */
tinyops_arena tinyops_arena_of(uint8_t *bytes, size_t len);

/* Checks a plan and borrows it. Bytes after its end are ignored.
 *
 * Whatever the bytes are, once they are accepted no run reads or writes outside the plan and the
 * arena, nor past the region that a tensor lies in. `plan` is written in any case, and of no use if
 * the answer is not TINYOPS_SOUND. The answer is the first reason, in the order of the tables. */
tinyops_verdict tinyops_plan_load(tinyops_plan *plan, const uint8_t *bytes, size_t len,
                                  const tinyops_operators *operators);

/* How many bytes the plan itself has. */
size_t tinyops_plan_bytes(const tinyops_plan *plan);

/* One tensor of the plan's table; false, and nothing written, if it has none of that index. */
bool tinyops_plan_tensor(const tinyops_plan *plan, uint16_t index, tinyops_tensor *tensor);

/* Where the caller puts an input, and where a run leaves an output: the first is number 0. False if
 * there are not so many. */
bool tinyops_plan_input(const tinyops_plan *plan, uint16_t number, tinyops_tensor *tensor);
bool tinyops_plan_output(const tinyops_plan *plan, uint16_t number, tinyops_tensor *tensor);

/* The input of the last dense layer, still valid in the arena after a run; false if it has none. */
bool tinyops_plan_embedding(const tinyops_plan *plan, tinyops_tensor *tensor);

/* Whether the input tensor still holds the input after a run. */
bool tinyops_plan_input_is_kept(const tinyops_plan *plan);

/* How many bytes a tensor has. */
size_t tinyops_tensor_bytes(const tinyops_tensor *tensor);

/* The bytes of a tensor of this plan, or NULL if the arena is too small for the plan. */
uint8_t *tinyops_arena_bytes(const tinyops_plan *plan, const tinyops_arena *arena,
                             const tinyops_tensor *tensor);

/* Quantizes standardised features into the first input. Fewer than it has values leave the rest as
 * it is; more are left out. */
tinyops_run_status tinyops_plan_set_input(const tinyops_plan *plan, const float *features,
                                          size_t count, const tinyops_arena *arena);

/* Forgets what earlier runs have left: every state becomes its zero point. Call it before the first
 * run over an arena, and where a new stream begins. */
tinyops_run_status tinyops_plan_reset(const tinyops_plan *plan, const tinyops_arena *arena);

/* Runs the plan once: inputs and outputs lie in the arena. A plan with states reads what the last
 * run left there, so nobody else may write to those bytes between runs. If the arena is too small or
 * misaligned, it is left untouched. */
tinyops_run_status tinyops_plan_run(const tinyops_plan *plan, const tinyops_arena *arena);

/* Quantizes one value: clamp(round(real / scale) + zero_point, -128, 127), halves away from zero. A
 * value that is not a number becomes the zero point. */
int8_t tinyops_quantize(float real, float scale, int8_t zero_point);

/* Quantizes one value to int16, whose zero point is 0. */
int16_t tinyops_quantize_int16(float real, float scale);

/* The real value of a quantized one. */
float tinyops_dequantize(int32_t q, float scale, int8_t zero_point);

#ifdef __cplusplus
}
#endif

#endif
