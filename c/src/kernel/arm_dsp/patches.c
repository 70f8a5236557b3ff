/* Brings inputs into one piece, and from int8 to 16 bits. */
#include "arm_dsp.h"

#ifdef TINYOPS_ARM_DSP
/* Bytes of the patches that a quad of each has. */
#define WIDE_QUAD (2u * TINYOPS_BLOCK_PIXELS * TINYOPS_QUAD)

/* What four() takes. */
typedef struct four_job {
  const uint8_t *from[TINYOPS_BLOCK_PIXELS];
  size_t rows;
  /* Bytes of the first row behind its last whole quad. */
  size_t rest;
  size_t len;
  /* From a row's end to the next one. */
  size_t hop;
  uint8_t *wide;
} four_job;

/* What widen() and copy() take. */
typedef struct move_job {
  const uint8_t *from;
  uint8_t *to;
  /* Of a row, in quads or bytes. */
  size_t len;
  size_t rows;
  size_t from_step;
  size_t to_step;
} move_job;

/* Widens rows of four pixels at a time. A row that is no whole quads lends its last bytes, and the
 * next row the other bytes of a quad. */
TINYOPS_ASSEMBLY static void four(const four_job *job TINYOPS_IN_REGISTER) {
  /* r0-r3 where the pixels' values are, r4-r7 a quad of each, r8-r11 at work, r12 patches, lr quads
   * of the row. On the stack: rows, what is left of this one, length, hop. */
  __asm__ volatile(
      "push {r4-r11, lr}\n"
      "add r12, r0, #16\n"
      "ldm.w r0, {r0, r1, r2, r3}\n"
      "ldm.w r12, {r8, r9, r10, r11, r12}\n"
      "push {r8-r11}\n"
      "lsr lr, r10, #2\n"
      "10:\n"
      "ldr r4, [r0], #4\n"
      "ldr r5, [r1], #4\n"
      "ldr r6, [r2], #4\n"
      "ldr r7, [r3], #4\n"
      "12:\n"
      "sxtb16 r8, r4\n"
      "sxtb16 r9, r5\n"
      "sxtb16 r10, r6\n"
      "sxtb16 r11, r7\n"
      "stm.w r12!, {r8, r9, r10, r11}\n"
      "sxtb16 r8, r4, ror #8\n"
      "sxtb16 r9, r5, ror #8\n"
      "sxtb16 r10, r6, ror #8\n"
      "sxtb16 r11, r7, ror #8\n"
      "stm.w r12!, {r8, r9, r10, r11}\n"
      "subs lr, #1\n"
      "bne 10b\n"
      "ldm.w sp, {r8, r9, r10, r11}\n"
      "subs r8, #1\n"
      "beq 30f\n"
      "add r10, r9\n"
      "lsr lr, r10, #2\n"
      "and r10, #3\n"
      "strd r8, r10, [sp]\n"
      "cmp r9, #0\n"
      "beq 20f\n"
      /* A quad of this row's last bytes and the next one's first: GE is set for those. */
      "ldr r4, [r0]\n"
      "ldr r5, [r1]\n"
      "ldr r6, [r2]\n"
      "ldr r7, [r3]\n"
      "add r0, r11\n"
      "add r1, r11\n"
      "add r2, r11\n"
      "add r3, r11\n"
      "mov r8, #0xF0000\n"
      "lsl r8, r8, r9\n"
      "msr APSR_g, r8\n"
      "ldr r8, [r0], #4\n"
      "ldr r9, [r1], #4\n"
      "ldr r10, [r2], #4\n"
      "ldr r11, [r3], #4\n"
      "sel r4, r8, r4\n"
      "sel r5, r9, r5\n"
      "sel r6, r10, r6\n"
      "sel r7, r11, r7\n"
      "b 12b\n"
      "20:\n"
      "add r0, r11\n"
      "add r1, r11\n"
      "add r2, r11\n"
      "add r3, r11\n"
      "b 10b\n"
      /* The last row: what is left of it is a quad with bytes that meet weights of 0. */
      "30:\n"
      "cmp r9, #0\n"
      "beq 31f\n"
      "movs r4, #1\n"
      "movs r5, #0\n"
      "strd r4, r5, [sp]\n"
      "mov lr, #1\n"
      "b 10b\n"
      "31:\n"
      "add sp, #16\n"
      "pop {r4-r11, pc}\n");
}

/* Widens rows of quads into a pixel's patch. No count is 0. */
TINYOPS_ASSEMBLY static void widen(const move_job *job TINYOPS_IN_REGISTER) {
  /* r0 from, r1 to, r2 quads, r3 rows, r4 r5 steps; r6-r9 r12 lr at work. */
  __asm__ volatile(
      "push {r4-r9, lr}\n"
      "ldm.w r0, {r0, r1, r2, r3, r4, r5}\n"
      "20:\n"
      "mov r6, r2\n"
      "mov r7, r0\n"
      "mov r8, r1\n"
      "22:\n"
      "ldr r9, [r7], #4\n"
      "subs r6, #1\n"
      "sxtb16 r12, r9, ror #8\n"
      "sxtb16 r9, r9\n"
      "str r12, [r8, #16]\n"
      "str r9, [r8], #32\n"
      "bne 22b\n"
      "add r0, r4\n"
      "add r1, r5\n"
      "subs r3, #1\n"
      "bne 20b\n"
      "pop {r4-r9, pc}\n");
}

/* Copies rows of bytes. No count is 0. */
TINYOPS_ASSEMBLY static void copy(const move_job *job TINYOPS_IN_REGISTER) {
  /* r0 from, r1 to, r2 bytes less 4, r3 rows, r4 r5 steps; r6-r9 at work. */
  __asm__ volatile(
      "push {r4-r9, lr}\n"
      "ldm.w r0, {r0, r1, r2, r3, r4, r5}\n"
      "subs r2, #4\n"
      /* Words, and then the last word once more from its end; where there is none, bytes. */
      "12:\n"
      "add r6, r0, r2\n"
      "add r7, r1, r2\n"
      "rsbs r8, r2, #0\n"
      "bgt 15f\n"
      "beq 14f\n"
      "13:\n"
      "ldr r9, [r6, r8]\n"
      "str r9, [r7, r8]\n"
      "adds r8, #4\n"
      "bmi 13b\n"
      "14:\n"
      "ldr r9, [r6]\n"
      "str r9, [r7]\n"
      "17:\n"
      "add r0, r4\n"
      "add r1, r5\n"
      "subs r3, #1\n"
      "bne 12b\n"
      "pop {r4-r9, pc}\n"
      "15:\n"
      "rsb r8, r8, #4\n"
      "16:\n"
      "subs r8, #1\n"
      "ldrb r9, [r0, r8]\n"
      "strb r9, [r1, r8]\n"
      "bne 16b\n"
      "b 17b\n");
}

void tinyops_patches_put(const tinyops_patches *patches, const uint8_t *values,
                         const tinyops_rect *rect, uint32_t pixel, size_t at) {
  move_job job;
  if (rect->rows == 0 || rect->len == 0) return;
  job.from = values;
  job.len = rect->len;
  job.rows = rect->rows;
  job.from_step = rect->from_step;
  job.to_step = rect->to_step;
  if (patches->stage == NULL) {
    job.to = patches->wide + 8 * at + 4 * pixel;
    job.len /= TINYOPS_QUAD;
    job.to_step *= 8;
    widen(&job);
  } else {
    job.to = patches->stage + at;
    copy(&job);
  }
}

void tinyops_patches_fill(const tinyops_patches *patches, int8_t value, uint32_t pixel) {
  const uint32_t both = (uint32_t)(uint16_t)(int16_t)value * 0x10001u;
  uint8_t *at = patches->wide + 4 * pixel;
  size_t half;
  if (patches->stage != NULL) memset(patches->stage, (uint8_t)value, patches->row);
  for (half = 0; half < 2 * patches->row; half += TINYOPS_QUAD, at += WIDE_QUAD / 2) {
    tinyops_store_word(at, both);
  }
}

void tinyops_patches_unstage(const tinyops_patches *patches, uint32_t pixel) {
  move_job job = {NULL, NULL, 0, 1, 0, 0};
  if (patches->stage == NULL) return;
  job.from = patches->stage;
  job.to = patches->wide + 4 * pixel;
  job.len = patches->row / TINYOPS_QUAD;
  widen(&job);
}

void tinyops_patches_put_four(const tinyops_patches *patches, const uint8_t *const from[4],
                              const tinyops_rect *rect) {
  four_job job;
  job.from[0] = from[0];
  job.from[1] = from[1];
  job.from[2] = from[2];
  job.from[3] = from[3];
  job.rows = rect->rows;
  job.rest = rect->len % TINYOPS_QUAD;
  job.len = rect->len;
  job.hop = rect->from_step - rect->len;
  job.wide = patches->wide;
  four(&job);
}
#endif
