/* Sum of two tensors for the DSP extension, four values at a time. */
#include "arm_dsp.h"

#ifdef TINYOPS_ARM_DSP
#include "../../sum.h"

/* How an operand, or the sum of both, is rescaled, in the order in which add() takes it. */
typedef struct factor {
  uint32_t shift;
  uint32_t doubled;
  /* What is added to an operand before, or to the result after. */
  int32_t offset;
  uint32_t zero;
} factor;

/* One addend more into a sum, from a byte of r11. */
#define SECOND_ADDEND(sum, rotation)                 \
  "sxtab r12, r10, r11, ror #" rotation "\n"         \
  "lsl r12, r12, #20\n"                              \
  "smmlar r12, r12, r9, r12\n"                       \
  "add r12, r12, r12, asr #31\n"                     \
  "smmlsr " sum ", r12, r8, " sum "\n"

/* The first addend of a sum, from a byte of r11. */
#define FIRST_ADDEND(sum, rotation)                  \
  "sxtab " sum ", r10, r11, ror #" rotation "\n"     \
  "lsl " sum ", " sum ", #20\n"                      \
  "smmlar " sum ", " sum ", r9, " sum "\n"           \
  "add " sum ", " sum ", " sum ", asr #31\n"         \
  "smmlsr " sum ", " sum ", r8, lr\n"

/* Bytes of both inputs can be read, and of the output written to its end, a multiple of four. */
TINYOPS_ASSEMBLY static void add(const factor *factors TINYOPS_IN_REGISTER,
                                 const uint8_t *first TINYOPS_IN_REGISTER,
                                 const uint8_t *second TINYOPS_IN_REGISTER,
                                 uint8_t *output TINYOPS_IN_REGISTER,
                                 const uint8_t *output_end TINYOPS_IN_REGISTER) {
  /* r1 r2 inputs, r3 output, r4-r7 sums, r8-r10 lr numbers, r11 four values, r12 one of them. */
  __asm__ volatile(
      "push {r4-r11, lr}\n"
      "10:\n"
      "ldm.w r0, {r8, r9, r10, lr}\n"
      "ldr r11, [r1], #4\n"
      FIRST_ADDEND("r4", "0")
      FIRST_ADDEND("r5", "8")
      FIRST_ADDEND("r6", "16")
      FIRST_ADDEND("r7", "24")
      "add r12, r0, #16\n"
      "ldm.w r12, {r8, r9, r10}\n"
      "ldr r11, [r2], #4\n"
      SECOND_ADDEND("r4", "0")
      SECOND_ADDEND("r5", "8")
      SECOND_ADDEND("r6", "16")
      SECOND_ADDEND("r7", "24")
      "add lr, r0, #32\n"
      "ldm.w lr, {r10, r12, lr}\n"
      TINYOPS_RESCALE("r4")
      TINYOPS_RESCALE("r5")
      TINYOPS_RESCALE("r6")
      TINYOPS_RESCALE("r7")
      "strb r4, [r3], #1\n"
      "strb r5, [r3], #1\n"
      "strb r6, [r3], #1\n"
      "strb r7, [r3], #1\n"
      "ldr r8, [sp, #36]\n"
      "cmp r3, r8\n"
      "bne 10b\n"
      "pop {r4-r11, pc}\n");
}

void tinyops_dsp_sum(const tinyops_sum *sum, size_t start, size_t count) {
  const size_t whole = count - count % 4;
  const uint8_t *a = sum->first + start, *b = sum->second + start;
  uint8_t *out = sum->output + start;
  factor factors[3];
  size_t index;
  for (index = 0; index < 3; index++) {
    const tinyops_multiplier multiplier = sum->multipliers[index];
    factors[index].shift = tinyops_factor(multiplier.shift);
    factors[index].doubled = tinyops_doubled(multiplier.value);
    if (multiplier.shift == 0) {
      /* A half is a multiplication by 1, then a shift by one, for there is no shift by none. The
       * addends have 20 low bits to spare, so that no rounding differs. */
      factors[index].shift = tinyops_factor(31);
      factors[index].doubled = 0;
    }
    factors[index].offset = sum->offsets[index];
    factors[index].zero = 0;
  }
  if (whole > 0) add(factors, a, b, out, out + whole);
  for (index = whole; index < count; index++) {
    /* One value, four times. */
    const uint32_t first = a[index] * 0x01010101u, second = b[index] * 0x01010101u;
    uint8_t made[4];
    add(factors, (const uint8_t *)&first, (const uint8_t *)&second, made, made + 4);
    out[index] = made[0];
  }
  for (index = 0; index < count; index++) {
    if (sum->least == -128 && sum->greatest == 127) break;
    out[index] = (uint8_t)(int8_t)tinyops_clamp(tinyops_int8(out[index]), sum->least, sum->greatest);
  }
}
#endif
