/* Sums that wrap, and the fixed-point rescaling of docs/arithmetic.md.
 *
 * Source: the TensorFlow Lite 8-bit quantization specification, with the double rounding of
 * gemmlowp (SaturatingRoundingDoublingHighMul, then RoundingDivideByPOT). Everything is written so
 * that no step has a result that C leaves open. */
#ifndef TINYOPS_QUANTIZE_H
#define TINYOPS_QUANTIZE_H

#include <stdint.h>

/* A positive real factor: value / 2^31 * 2^shift, the value in [2^30, 2^31) or 0. */
typedef struct tinyops_multiplier {
  int32_t value;
  int32_t shift;
} tinyops_multiplier;

static inline int32_t tinyops_add_wrapping(int32_t a, int32_t b) {
  return (int32_t)((uint32_t)a + (uint32_t)b);
}

static inline int32_t tinyops_sub_wrapping(int32_t a, int32_t b) {
  return (int32_t)((uint32_t)a - (uint32_t)b);
}

static inline int32_t tinyops_mul_wrapping(int32_t a, int32_t b) {
  return (int32_t)((uint32_t)a * (uint32_t)b);
}

static inline int32_t tinyops_neg_wrapping(int32_t a) {
  return (int32_t)(0u - (uint32_t)a);
}

static inline int32_t tinyops_shift_left(int32_t a, uint32_t bits) {
  return (int32_t)((uint32_t)a << (bits & 31));
}

/* Towards the lesser number; a compiler makes one instruction of it. */
static inline int32_t tinyops_shift_right(int32_t a, uint32_t bits) {
  return a < 0 ? ~(~a >> (bits & 31)) : a >> (bits & 31);
}

static inline int64_t tinyops_shift_right_wide(int64_t a, uint32_t bits) {
  return a < 0 ? ~(~a >> (bits & 63)) : a >> (bits & 63);
}

static inline int32_t tinyops_add_saturating(int32_t a, int32_t b) {
  int64_t sum = (int64_t)a + b;
  return sum > INT32_MAX ? INT32_MAX : sum < INT32_MIN ? INT32_MIN : (int32_t)sum;
}

static inline int32_t tinyops_clamp(int32_t value, int32_t least, int32_t greatest) {
  return value < least ? least : value > greatest ? greatest : value;
}

/* The zero bits above the first one; 32 of none. */
static inline uint32_t tinyops_leading_zeros(uint32_t value) {
  uint32_t count = 0;
  if (value == 0) return 32;
  if ((value & 0xFFFF0000u) == 0) { count += 16; value <<= 16; }
  if ((value & 0xFF000000u) == 0) { count += 8; value <<= 8; }
  if ((value & 0xF0000000u) == 0) { count += 4; value <<= 4; }
  if ((value & 0xC0000000u) == 0) { count += 2; value <<= 2; }
  return count + ((value & 0x80000000u) == 0 ? 1u : 0u);
}

/* Whether a product of 64 bits is a call of a function (Cortex-M0, Xtensa LX106): then its upper half is
 * made of products of 16 bits. Any processor gives the same bytes either way. */
#ifndef TINYOPS_NARROW_PRODUCTS
#if defined(__ARM_ARCH_6M__) || defined(__XTENSA_CALL0_ABI__)
#define TINYOPS_NARROW_PRODUCTS 1
#else
#define TINYOPS_NARROW_PRODUCTS 0
#endif
#endif

/* floor(a * b / 2^31 + 1/2), saturating. */
static inline int32_t tinyops_doubling_high_mul(int32_t a, int32_t b) {
#if TINYOPS_NARROW_PRODUCTS
  const int32_t a_high = tinyops_shift_right(a, 16), b_high = tinyops_shift_right(b, 16);
  const uint32_t a_low = (uint32_t)a & 0xFFFF, b_low = (uint32_t)b & 0xFFFF, low = a_low * b_low;
  /* Neither leaves 32 bits. */
  const int32_t middle = a_high * (int32_t)b_low + (int32_t)(low >> 16);
  const int32_t other = (int32_t)a_low * b_high + (int32_t)((uint32_t)middle & 0xFFFF);
  const int32_t high =
      a_high * b_high + tinyops_shift_right(middle, 16) + tinyops_shift_right(other, 16);
  const uint32_t lower = (uint32_t)other << 16 | (low & 0xFFFF), half = lower + 0x40000000u;
  if (a == INT32_MIN && b == INT32_MIN) return INT32_MAX;
  return (int32_t)((((uint32_t)high + (half < lower ? 1u : 0u)) << 1) | half >> 31);
#else
  int64_t product = tinyops_shift_right_wide((int64_t)a * b + ((int64_t)1 << 30), 31);
  /* Only the product of the two least numbers passes the greatest. */
  return product > INT32_MAX ? INT32_MAX : (int32_t)product;
#endif
}

/* round(x / 2^exponent), halves away from zero, for an exponent in 0...31. */
static inline int32_t tinyops_rounding_divide(int32_t x, uint32_t exponent) {
  int32_t mask = (int32_t)(((uint32_t)1 << (exponent & 31)) - 1);
  int32_t remainder = x & mask;
  int32_t threshold = (mask >> 1) + (x < 0 ? 1 : 0);
  return tinyops_shift_right(x, exponent) + (remainder > threshold ? 1 : 0);
}

/* Rescales a sum, rounding twice. The shift is in -31...30. */
static inline int32_t tinyops_rescale(tinyops_multiplier multiplier, int32_t sum) {
  uint32_t left = multiplier.shift > 0 ? (uint32_t)multiplier.shift : 0;
  uint32_t right = multiplier.shift < 0 ? (uint32_t)-multiplier.shift : 0;
  int32_t doubled = tinyops_doubling_high_mul(tinyops_shift_left(sum, left), multiplier.value);
  return tinyops_rounding_divide(doubled, right);
}

/* Whether a product of two numbers of 32 bits goes onto a sum of 64 in one instruction of one cycle
 * (SMLAL of Cortex-M4 and what came after it). Any processor gives the same bytes either way. */
#ifndef TINYOPS_LONG_PRODUCTS
#ifdef __ARM_FEATURE_DSP
#define TINYOPS_LONG_PRODUCTS 1
#else
#define TINYOPS_LONG_PRODUCTS 0
#endif
#endif

/* to + sum * factor / 2^32, to the nearest, halves upwards. */
static inline int32_t tinyops_add_high(int32_t to, int32_t sum, int32_t factor) {
  int64_t wide = (int64_t)((uint64_t)(uint32_t)to << 32 | 0x80000000u);
  wide += (int64_t)sum * factor;
  return (int32_t)(uint32_t)((uint64_t)wide >> 32);
}

/* zp + tinyops_rescale(sum) of a multiplier in [2^30, 2^31) and a shift below -1, for
 * factor = 2 value - 2^32 and power = 2^(32 + shift): exact for every sum, see docs/arithmetic.md. */
static inline int32_t tinyops_rescale_low(int32_t factor, int32_t power, int32_t sum,
                                          int32_t zero_point) {
  int32_t doubled = tinyops_add_high(sum, sum, factor);
  /* One less where it is negative, so that halves go away from zero. */
  doubled -= (int32_t)((uint32_t)doubled >> 31);
  return tinyops_add_high(zero_point, doubled, power);
}

/* Rescales a sum of 64 bits by the upper 16 bits of the fraction, rounding once, halves upwards. The
 * shift is in -31...7. */
static inline int32_t tinyops_rescale_wide(tinyops_multiplier multiplier, int64_t sum) {
  int32_t upper = multiplier.value < 0x7FFF0000
                      ? tinyops_shift_right(multiplier.value + (1 << 15), 16)
                      : 0x7FFF;
  uint32_t down = (uint32_t)(15 - multiplier.shift) & 63;
  uint64_t half = ((uint64_t)1 << down) >> 1;
  uint64_t product = (uint64_t)sum * (uint64_t)(int64_t)upper + half;
  return (int32_t)(uint32_t)(uint64_t)tinyops_shift_right_wide((int64_t)product, down);
}

#endif
