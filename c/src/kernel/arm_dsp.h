/* What kernels take of the DSP extension of Cortex-M4, M7, M33 and M55, where TINYOPS_ARM_DSP is
 * defined: a compiler of GNU's family, a little-endian core. The bytes are the same. */
#ifndef TINYOPS_KERNEL_ARM_DSP_H
#define TINYOPS_KERNEL_ARM_DSP_H

#include <arm_acle.h>
#include <stddef.h>
#include <stdint.h>

#ifndef __ARM_FEATURE_DSP
#error "TINYOPS_ARM_DSP needs a core with the DSP extension, such as -mcpu=cortex-m4"
#endif

static inline int32_t tinyops_load_word(const void *at) {
  int32_t word;
  __builtin_memcpy(&word, at, sizeof word);
  return word;
}

static inline void tinyops_store_word(void *at, int32_t word) {
  __builtin_memcpy(at, &word, sizeof word);
}

/* Bytes 0 and 2 of a word as two numbers of 16 bits, and bytes 1 and 3. */
static inline int32_t tinyops_even(int32_t word) {
  int32_t both;
  __asm__("sxtb16 %0, %1" : "=r"(both) : "r"(word));
  return both;
}

static inline int32_t tinyops_odd(int32_t word) {
  int32_t both;
  __asm__("sxtb16 %0, %1, ror #8" : "=r"(both) : "r"(word));
  return both;
}

/* What stands before is done before what stands after: a compiler that loads ahead runs out of
 * registers where sums take eight of them. */
#define TINYOPS_IN_ORDER() __asm__ volatile("" ::: "memory")

/* Not made part of its caller, whose own values would take the registers that sums need. */
#define TINYOPS_APART __attribute__((noinline))

/* zp + rescale(sum), for a value in [2^30, 2^31) and a shift below 0: exact for every sum, see
 * docs/arithmetic.md. */
static inline int32_t tinyops_rescale_low(int32_t value, int32_t shift, int32_t sum,
                                          int32_t zero_point) {
  const int32_t factor = (int32_t)((uint32_t)value << 1);
  const int32_t down = (int32_t)(0u - ((uint32_t)1 << (32 + shift)));
  int32_t result;
  __asm__("smmlar %0, %1, %2, %1" : "=r"(result) : "r"(sum), "r"(factor));
  /* One less where it is negative. */
  result -= (int32_t)((uint32_t)result >> 31);
  __asm__("smmlsr %0, %1, %2, %3" : "=r"(result) : "r"(result), "r"(down), "r"(zero_point));
  return result;
}

#endif
