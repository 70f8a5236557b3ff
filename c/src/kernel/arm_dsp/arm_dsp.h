/* Kernels for the DSP extension of Cortex-M4, M7, M33 and M55, where TINYOPS_ARM_DSP is defined: a
 * compiler of GNU's family, a little-endian core in Thumb state. The bytes are those of the portable
 * kernels.
 *
 * SXTB16 of a word of four int8 values b0 b1 b2 b3 gives the 16-bit pair (b0, b2), and (b1, b3) of the
 * word rotated by 8; SMLAD multiplies two pairs and adds both products. As inputs and weights are
 * widened alike, the pairs match without any reordering. The schedules are those of the Rust kernels
 * (crates/tinyops-nn/src/arch/dsp), which a compiler does not find: sums stay in four registers, one
 * LDM brings four operands. */
#ifndef TINYOPS_KERNEL_ARM_DSP_H
#define TINYOPS_KERNEL_ARM_DSP_H

#ifdef TINYOPS_ARM_DSP
#include <string.h>

#include "../channels.h"

#if !defined(__ARM_FEATURE_DSP) || !defined(__thumb__)
#error "TINYOPS_ARM_DSP needs a core with the DSP extension in Thumb state, such as -mcpu=cortex-m4"
#endif

struct tinyops_sum;

/* A function of assembly alone. Its callers shall assume nothing about what is inside. */
#ifdef __clang__
#define TINYOPS_ASSEMBLY __attribute__((naked, noinline))
#else
#define TINYOPS_ASSEMBLY __attribute__((naked, noinline, noipa))
#endif
/* What such a function takes in its registers. */
#define TINYOPS_IN_REGISTER __attribute__((unused))

/* A sum in `x`, rescaled for a multiplier m in [2^30, 2^31) and a shift s below 0:
 *
 *   r12 = 2m, which as a signed number is 2m - 2^32: a + (2m - 2^32) a / 2^32 = a m / 2^31
 *   r10 = -2^(32 + s), lr = the zero point
 *
 * One less where it is negative, so that halves go away from zero. Exact for every sum, see
 * docs/arithmetic.md. */
#define TINYOPS_RESCALE(x)                            \
  "smmlar " x ", " x ", r12, " x "\n"                 \
  "add " x ", " x ", " x ", asr #31\n"                \
  "smmlsr " x ", " x ", r10, lr\n"                    \
  "ssat " x ", #8, " x "\n"

/* The same where no value is less than the zero point. */
#define TINYOPS_RESCALE_PLAIN(x)                      \
  "smmlar " x ", " x ", r12, " x "\n"                 \
  "smmlsr " x ", " x ", r10, lr\n"                    \
  "ssat " x ", #8, " x "\n"

/* What TINYOPS_RESCALE takes in r12 and r10. */
static inline uint32_t tinyops_doubled(int32_t multiplier) {
  return (uint32_t)multiplier << 1;
}

static inline uint32_t tinyops_factor(int32_t shift) {
  return 0xFFFFFFFFu << ((uint32_t)shift & 31);
}

static inline uint32_t tinyops_load_word(const void *at) {
  uint32_t word;
  __builtin_memcpy(&word, at, sizeof word);
  return word;
}

static inline void tinyops_store_word(void *at, uint32_t word) {
  __builtin_memcpy(at, &word, sizeof word);
}

/* The most channels that a table holds. */
#define TINYOPS_TABLE_MAX 128u

/* Some channels of a convolution as the assembly reads them, three words each: channel i has its
 * bias in word 3i, its factor in word 3i + 2 and its doubled multiplier in word 3i + 4, so that what
 * ends one channel and begins the next lies together. A shift of 0 or more stands for its factor. */
typedef struct tinyops_table {
  uint32_t words[3 * TINYOPS_TABLE_MAX + 2];
  uint32_t count;
  /* Whether every shift is below 0. */
  bool is_low;
  /* Whether every multiplier is what a compiler writes: only then is TINYOPS_RESCALE exact. */
  bool is_normal;
} tinyops_table;

/* Whether a channel's multiplier is in [2^30, 2^31). */
static inline bool tinyops_is_normal(const tinyops_channel *channel) {
  return channel->multiplier.value >= (int32_t)1 << 30;
}

/* Holds these channels and no others, at most TINYOPS_TABLE_MAX. */
void tinyops_table_fill(tinyops_table *table, const tinyops_channels *channels, uint32_t first,
                        uint32_t count);

/* The patches of up to four pixels as 16-bit numbers: for each quad of taps (k0, k2) of the four
 * pixels and then (k1, k3). */
typedef struct tinyops_patches {
  uint8_t *wide;
  /* One patch as bytes where a tap is not made of whole quads, or NULL. */
  uint8_t *stage;
  /* Bytes of a patch, whole quads. */
  size_t row;
} tinyops_patches;

/* Some rows of values. */
typedef struct tinyops_rect {
  size_t rows;
  /* Values of each. */
  size_t len;
  /* Bytes from a row's values to the next one's where they come from, and in a patch of bytes. */
  size_t from_step;
  size_t to_step;
} tinyops_rect;

/* Copies a rectangle into a pixel's patch, or into the stage, from value `at` on. */
void tinyops_patches_put(const tinyops_patches *patches, const uint8_t *values,
                         const tinyops_rect *rect, uint32_t pixel, size_t at);

/* Fills a pixel's patch, or the stage, with a value. */
void tinyops_patches_fill(const tinyops_patches *patches, int8_t value, uint32_t pixel);

/* Widens the stage, if there is one, into a pixel's patch. */
void tinyops_patches_unstage(const tinyops_patches *patches, uint32_t pixel);

/* Widens whole patches of four pixels, which begin at `from`; rows are a quad long or more. The last
 * quad is read whole. */
void tinyops_patches_put_four(const tinyops_patches *patches, const uint8_t *const from[4],
                              const tinyops_rect *rect);

/* A convolution of more than one pixel; false, with nothing done, for multipliers and
 * padding that no compiler writes. */
bool tinyops_dsp_convolve(const tinyops_call *call, const uint8_t *filter);

/* A dense layer. */
void tinyops_dsp_dense(const tinyops_call *call, const uint8_t *filter);

/* A depthwise convolution; false, with nothing done, where this does not serve: more outputs than
 * inputs, fewer than four channels, many taps, a factor of 1/2 or more, a multiplier that is not normal. */
bool tinyops_dsp_depthwise(const tinyops_call *call);

/* tinyops_sum_add(). */
void tinyops_dsp_sum(const struct tinyops_sum *sum, size_t start, size_t count);

#else
/* A file of C is never empty. */
typedef int tinyops_no_dsp;
#endif
#endif
