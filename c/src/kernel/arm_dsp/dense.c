/* A dense layer for the DSP extension: one pixel against four rows of a filter at a time. */
#include "arm_dsp.h"

#ifdef TINYOPS_ARM_DSP
#include "../../sum.h"

/* Quads of values that are widened once for all rows; those after them are widened for each group. */
#define WIDE_QUADS 160u

/* What rows_of_four() takes, and keeps at its stack pointer. */
typedef struct rows_job {
  uint8_t *output;
  uint32_t doubled_multiplier;
  uint32_t factor;
  const uint8_t *biases;
  int32_t zero_point;
  const uint8_t *values;
  const uint8_t *values_end;
  size_t wide_quads;
  uint8_t *output_end;
  const uint8_t *weights;
  /* Where four sums go instead of being rescaled, or NULL. */
  int32_t *sums;
  /* Place for wide_quads quads of 16-bit numbers. */
  uint32_t *wide;
} rows_job;

/* A widened quad in r2 and r3 against four rows: 17 instructions for 16 products; with what loads
 * the quad, 72 bytes. */
#define FOUR_ROWS                      \
  "ldm.w r1!, {r8, r9, r10, r11}\n"    \
  "sxtb16 r12, r8\n"                   \
  "sxtb16 r8, r8, ror #8\n"            \
  "smlad r4, r2, r12, r4\n"            \
  "smlad r4, r3, r8, r4\n"             \
  "sxtb16 r12, r9\n"                   \
  "sxtb16 r9, r9, ror #8\n"            \
  "smlad r5, r2, r12, r5\n"            \
  "smlad r5, r3, r9, r5\n"             \
  "sxtb16 r12, r10\n"                  \
  "sxtb16 r10, r10, ror #8\n"          \
  "smlad r6, r2, r12, r6\n"            \
  "smlad r6, r3, r10, r6\n"            \
  "sxtb16 r12, r11\n"                  \
  "sxtb16 r11, r11, ror #8\n"          \
  "smlad r7, r2, r12, r7\n"            \
  "smlad r7, r3, r11, r7\n"

/* Whole groups of four rows; no count is 0. */
TINYOPS_ASSEMBLY static void rows_of_four(const rows_job *job TINYOPS_IN_REGISTER) {
  /* r0 values, r1 weights, r2 r3 widened values, r4-r7 sums, r8-r11 weights, r12 widened weights, lr
   * end of the values. */
  __asm__ volatile(
      "push {r4-r11, lr}\n"
      "sub sp, #52\n"
      "ldm r0!, {r4-r11}\n"
      "stm sp, {r4-r11}\n"
      "ldm r0, {r4-r7}\n"
      "mov r1, r5\n"
      /* What is widened once, and where it ends. */
      "mov r2, r7\n"
      "8:\n"
      "ldr r3, [r9], #4\n"
      "sxtb16 r12, r3\n"
      "sxtb16 r3, r3, ror #8\n"
      "strd r12, r3, [r7], #8\n"
      "subs r11, #1\n"
      "bne 8b\n"
      "str r9, [sp, #20]\n"
      "str r7, [sp, #28]\n"
      "str r4, [sp, #32]\n"
      "str r6, [sp, #40]\n"
      "str r2, [sp, #44]\n"
      /* An odd quad goes first: where that is, the first round begins in its middle. */
      "sub r7, r2\n"
      "adr r2, 11f\n"
      "tst r7, #8\n"
      "it ne\n"
      "addne r2, #72\n"
      "orr r2, r2, #1\n"
      "str r2, [sp, #48]\n"
      "ldr r8, [sp, #12]\n"
      "10:\n"
      "ldr r4, [r8], #4\n"
      "ldr r5, [r8], #4\n"
      "ldr r6, [r8], #4\n"
      "ldr r7, [r8], #4\n"
      "str r8, [sp, #12]\n"
      "ldr r0, [sp, #44]\n"
      "ldr lr, [sp, #28]\n"
      "ldr pc, [sp, #48]\n"
      ".p2align 2\n"
      "11:\n"
      "ldrd r2, r3, [r0], #8\n"
      FOUR_ROWS
      "ldrd r2, r3, [r0], #8\n"
      FOUR_ROWS
      "cmp r0, lr\n"
      "bne 11b\n"
      "ldrd r0, lr, [sp, #20]\n"
      "cmp r0, lr\n"
      "beq 30f\n"
      "20:\n"
      "ldr r2, [r0], #4\n"
      "sxtb16 r3, r2, ror #8\n"
      "sxtb16 r2, r2\n"
      FOUR_ROWS
      "cmp r0, lr\n"
      "bne 20b\n"
      "30:\n"
      "ldr r12, [sp, #40]\n"
      "cmp r12, #0\n"
      "bne 40f\n"
      /* r0 output, r12 2m, r10 factor, r8 biases, lr zero point. */
      "ldm sp, {r0, r2, r3, r8, lr}\n"
      "mov r12, r2\n"
      "mov r10, r3\n"
      TINYOPS_RESCALE("r4")
      TINYOPS_RESCALE("r5")
      TINYOPS_RESCALE("r6")
      TINYOPS_RESCALE("r7")
      "strb r4, [r0], #1\n"
      "strb r5, [r0], #1\n"
      "strb r6, [r0], #1\n"
      "strb r7, [r0], #1\n"
      "ldr r2, [sp, #32]\n"
      "str r0, [sp]\n"
      "cmp r0, r2\n"
      "bne 10b\n"
      "b 50f\n"
      "40:\n"
      "stm r12, {r4-r7}\n"
      "50:\n"
      "add sp, #52\n"
      "pop {r4-r11, pc}\n");
}

/* The sums of one group of four rows over whole quads of values, without biases. */
static void sum_group(const uint8_t *values, size_t quads, const uint8_t *group,
                      int32_t sums[TINYOPS_GROUP_ROWS]) {
  const uint32_t no_biases[TINYOPS_GROUP_ROWS] = {0, 0, 0, 0};
  uint32_t wide[2];
  rows_job job;
  memset(sums, 0, TINYOPS_GROUP_ROWS * sizeof *sums);
  if (quads == 0) return;
  memset(&job, 0, sizeof job);
  job.biases = (const uint8_t *)no_biases;
  job.values = values;
  job.values_end = values + quads * TINYOPS_QUAD;
  job.wide_quads = 1;
  job.weights = group;
  job.sums = sums;
  job.wide = wide;
  rows_of_four(&job);
}

void tinyops_dsp_dense(const tinyops_call *call, const uint8_t *filter) {
  const tinyops_channels channels = tinyops_channels_of(call);
  const uint32_t count = call->output.shape[3], values = call->input.shape[3];
  const uint32_t quads = values / TINYOPS_QUAD, rest = values % TINYOPS_QUAD;
  const size_t group_bytes = (size_t)TINYOPS_GROUP_ROWS * (quads + (rest > 0 ? 1u : 0u)) * TINYOPS_QUAD;
  const tinyops_channel own = tinyops_channels_at(&channels, 0);
  uint8_t last[TINYOPS_QUAD] = {0};
  uint32_t wide[2 * WIDE_QUADS];
  uint32_t done = 0;
  /* One multiplier and a shift below 0 serve all rows. */
  if (channels.is_one && !channels.is_packed && tinyops_is_normal(&own) &&
      own.multiplier.shift < 0 && rest == 0 && count >= TINYOPS_GROUP_ROWS) {
    rows_job job;
    done = count / TINYOPS_GROUP_ROWS * TINYOPS_GROUP_ROWS;
    job.output = call->out;
    job.doubled_multiplier = tinyops_doubled(own.multiplier.value);
    job.factor = tinyops_factor(own.multiplier.shift);
    job.biases = channels.words;
    job.zero_point = call->output.zero_point;
    job.values = call->in;
    job.values_end = call->in + quads * (size_t)TINYOPS_QUAD;
    job.wide_quads = tinyops_lesser(quads, WIDE_QUADS);
    job.output_end = call->out + done;
    job.weights = filter;
    job.sums = NULL;
    job.wide = wide;
    rows_of_four(&job);
  }
  memcpy(last, call->in + TINYOPS_QUAD * (size_t)quads, rest);
  while (done < count) {
    const uint8_t *group = filter + done / TINYOPS_GROUP_ROWS * group_bytes;
    int32_t sums[TINYOPS_GROUP_ROWS], of_rest[TINYOPS_GROUP_ROWS];
    uint32_t row;
    sum_group(call->in, quads, group, sums);
    sum_group(last, rest > 0 ? 1 : 0, group + (size_t)quads * TINYOPS_GROUP_ROWS * TINYOPS_QUAD,
              of_rest);
    for (row = 0; row < TINYOPS_GROUP_ROWS && done < count; row++, done++) {
      const tinyops_channel channel = tinyops_channels_at(&channels, done);
      call->out[done] = tinyops_channel_finish(&channels, &channel,
                                               tinyops_add_wrapping(sums[row], of_rest[row]));
    }
  }
  tinyops_clamp_bytes(call->op, call->out, count);
  if (call->sum != NULL) call->sum->add(call->sum, 0, count);
}
#endif
