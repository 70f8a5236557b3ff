/* Some pixels of a row of a depthwise convolution, four channels at a time.
 *
 * The input rows under the filter go three by three, and each three become a strip of columns. A
 * column has, for each of four channels, the values of its first two rows as one 16-bit pair, and the
 * four values of the third row as two pairs: six words, made once for all pixels that see the column.
 * The weights of a column lie likewise, so that a pixel takes SMLAD for two rows and one multiply for
 * the third. Where pixels share no columns, or a filter is too large, a pixel goes tap by tap. */
#include "arm_dsp.h"

#ifdef TINYOPS_ARM_DSP
/* Rows of a strip. */
#define TRIPLE 3u
/* The most strips, and so a third of the most rows of a filter. */
#define TRIPLES_MAX 5u
/* Words of a column, and its bytes. */
#define COLUMN_WORDS 6u
#define COLUMN_BYTES 24u
/* Columns for weights and strips together. */
#define COLUMNS_MAX 56u
/* Columns that biases and multipliers of four channels take. */
#define LIST_COLUMNS 2u

/* A layer, and how many pixels one strip has room for: 0 where pixels go alone, tap by tap. */
typedef struct depthwise {
  const tinyops_call *call;
  const uint8_t *filter;
  uint32_t strip_pixels;
} depthwise;

/* Three rows, and which of them are outside the input (bits 0 to 2) or the filter (bits 4 to 6). */
typedef struct triple {
  uintptr_t rows[TRIPLE];
  size_t flags;
} triple;

/* What row() keeps at its stack pointer. */
typedef struct row_job {
  size_t tail;
  uint8_t *output;
  size_t output_step;
  ptrdiff_t column_step;
  int32_t zero_point;
  uint8_t *output_end;
  uint32_t *list;
  uint32_t *columns;
  const uint32_t *table;
  const uint8_t *filter;
  size_t filter_step;
  size_t kernel_width;
  const triple *triples;
  const triple *triples_end;
  /* How many columns lie outside, before those inside and after them. */
  size_t columns_before;
  size_t columns_after;
  /* Bytes back from the end of the columns inside to their first. */
  ptrdiff_t columns_back;
  size_t channel;
  uint32_t input_zero_points;
  uint32_t *weights_end;
  ptrdiff_t triple_step;
  size_t later_columns;
  size_t blocks;
  size_t output_bytes;
  /* Where the list of taps ends that `columns` begins, or NULL. */
  uint32_t *taps_end;
  /* Four times. */
  uint32_t input_zero_point;
} row_job;

/* Three words of four values, in r8 to r10, as the six words of a column, to r0. */
#define PUT_COLUMN                     \
  "sxtb16 r6, r8\n"                    \
  "sxtb16 r12, r9\n"                   \
  "sxtb16 r7, r8, ror #8\n"            \
  "sxtb16 lr, r9, ror #8\n"            \
  "pkhtb r8, r12, r6, asr #16\n"       \
  "pkhbt r6, r6, r12, lsl #16\n"       \
  "pkhtb r9, lr, r7, asr #16\n"        \
  "pkhbt r7, r7, lr, lsl #16\n"        \
  "sxtb16 r11, r10, ror #8\n"          \
  "sxtb16 r10, r10\n"                  \
  "stm.w r0!, {r6, r7, r8, r9, r10, r11}\n"

/* One column of a pixel: 12 instructions, 48 bytes, for 12 products. */
#define COLUMN                         \
  "ldm.w r0!, {r2, r3, r8, r9}\n"      \
  "ldm.w r1!, {r10, r11, r12, lr}\n"   \
  "smlad r4, r2, r10, r4\n"            \
  "smlad r5, r3, r11, r5\n"            \
  "smlad r6, r8, r12, r6\n"            \
  "smlad r7, r9, lr, r7\n"             \
  "ldrd r2, r3, [r0], #8\n"            \
  "ldrd r10, r11, [r1], #8\n"          \
  "smlabb r4, r2, r10, r4\n"           \
  "smlabb r5, r3, r11, r5\n"           \
  "smlatt r6, r2, r10, r6\n"           \
  "smlatt r7, r3, r11, r7\n"

/* A row's four weights, for one that may be outside: then they go into the biases. */
#define ROW_OUTSIDE(outside, beyond, weights, place) \
  "tst r4, #" outside "\n"                           \
  "itt eq\n"                                         \
  "ldreq.w " weights ", " place "\n"                 \
  "beq 1f\n"                                         \
  "mov " weights ", #0\n"                            \
  "tst r4, #" beyond "\n"                            \
  "bne 1f\n"                                         \
  "ldr.w r6, " place "\n"                            \
  "bl 62f\n"                                         \
  "1:\n"

TINYOPS_ASSEMBLY static void row(row_job *job TINYOPS_IN_REGISTER) {
  /* The job lies at the stack pointer; after it, from 104 on: where a pixel's taps begin in the
   * code, where it ends, columns left, the triple. At the pixels: r0 columns, r1 weights, r2 r3 r8
   * r9 values, r4-r7 sums, r10-r12 lr weights. */
  __asm__ volatile(
      "push {r4-r11, lr}\n"
      "sub sp, #124\n"
      "ldm r0!, {r1-r12, lr}\n"
      "stm sp, {r1-r12, lr}\n"
      "ldm r0, {r1-r12, lr}\n"
      "add r0, sp, #52\n"
      "stm r0, {r1-r12, lr}\n"
      /* r9 columns after the first up to three of a triple, r12 end of taps. With the least zero */
      /* point a negative sum is the least result, however it is rounded. */
      "ldr r0, [sp, #16]\n"
      "adr r2, 24f\n"
      "adr r3, 26f\n"
      "cmn r0, #128\n"
      "it eq\n"
      "moveq r2, r3\n"
      "orr r2, r2, #1\n"
      "ldr r4, [sp, #44]\n"
      "sub r4, r4, r9\n"
      "mov r5, #48\n"
      "adr r3, 22f\n"
      "mls r3, r4, r5, r3\n"
      "adr r5, 50f\n"
      "cmp r12, #0\n"
      "it ne\n"
      "movne r3, r5\n"
      "orr r3, r3, #1\n"
      "strd r3, r2, [sp, #104]\n"
      "str r9, [sp, #112]\n"
      "ldrd r4, r5, [sp, #48]\n"
      "sub r5, r4\n"
      "cmp r5, #16\n"
      "it le\n"
      "cmple r9, #0\n"
      "itt gt\n"
      "adrgt r2, 40f\n"
      "orrgt r2, r2, #1\n"
      "str r2, [sp]\n"
      /* The next four channels: r0 list, r1 weights, r2 to the next row, r3 to the next column. */
      "10:\n"
      "ldr r3, [sp, #32]\n"
      "ldr r4, [r3]\n"
      "ldr r5, [r3, #12]\n"
      "ldr r6, [r3, #24]\n"
      "ldr r7, [r3, #36]\n"
      "ldr r0, [sp, #24]\n"
      "stm r0!, {r4, r5, r6, r7}\n"
      "ldrd r1, r2, [sp, #36]\n"
      "ldr r3, [sp, #8]\n"
      "ldr r6, [sp, #48]\n"
      "11:\n"
      "ldr r7, [sp, #52]\n"
      "cmp r6, r7\n"
      "beq 13f\n"
      "ldr r4, [r6, #12]\n"
      "str r6, [sp, #116]\n"
      "ldr r5, [sp, #44]\n"
      "12:\n"
      "cmp r4, #0\n"
      "bne 60f\n"
      "ldr.w r8, [r1]\n"
      "ldr.w r9, [r1, r2]\n"
      "ldr.w r10, [r1, r2, lsl #1]\n"
      "18:\n"
      "add r1, r3\n"
      PUT_COLUMN
      "subs r5, #1\n"
      "bne 12b\n"
      "add r1, r1, r2, lsl #1\n"
      "ldr r6, [sp, #116]\n"
      "adds r6, #16\n"
      "b 11b\n"
      "13:\n"
      "ldr r3, [sp, #32]\n"
      "add r3, #8\n"
      "ldm.w r3!, {r6, r7, r8}\n"
      "ldm.w r3!, {r9, r10, r11}\n"
      "stm.w r0!, {r6, r8, r9, r11}\n"
      "ldm.w r3!, {r6, r7, r8}\n"
      "ldm.w r3!, {r9, r10, r11}\n"
      "stm.w r0!, {r6, r8, r9, r11}\n"
      "sub r3, #8\n"
      "str r3, [sp, #32]\n"
      /* The strips, after the list: r1-r3 rows, r4 place in them, r5 to the next column. */
      "ldr r6, [sp, #48]\n");
  __asm__ volatile(
      "14:\n"
      "ldr r7, [sp, #52]\n"
      "cmp r6, r7\n"
      "beq 19f\n"
      "str r6, [sp, #116]\n"
      "ldrd r2, r5, [sp, #56]\n"
      "cmp r2, #0\n"
      "it ne\n"
      "blne 64f\n"
      "ldr r6, [sp, #116]\n"
      "ldrd r4, r7, [sp, #64]\n"
      "ldm r6, {r1, r2, r3}\n"
      "ldr r5, [sp, #8]\n"
      "cmp r4, #0\n"
      "beq 17f\n"
      "add r1, r7\n"
      "add r2, r7\n"
      "add r3, r7\n"
      "16:\n"
      "ldr.w r8, [r1, r4]\n"
      "ldr.w r9, [r2, r4]\n"
      "ldr.w r10, [r3, r4]\n"
      "adds r4, r5\n"
      PUT_COLUMN
      "bne 16b\n"
      "17:\n"
      "ldr r2, [sp, #60]\n"
      "cmp r2, #0\n"
      "it ne\n"
      "blne 64f\n"
      "ldr r6, [sp, #116]\n"
      "adds r6, #16\n"
      "b 14b\n"
      "19:\n"
      /* The next pixel. */
      "ldr r0, [sp, #28]\n"
      "20:\n"
      "ldr r1, [sp, #24]\n"
      "ldm r1!, {r4, r5, r6, r7}\n"
      "ldr pc, [sp, #104]\n"
      ".p2align 2\n"
      "21:\n"
      COLUMN
      COLUMN
      COLUMN
      ".p2align 2\n"
      "22:\n"
      /* r2 where to go, r10 output, r11 r12 steps of output and columns, lr zero point. */
      "ldm.w sp, {r2, r10, r11, r12, lr}\n"
      "bx r2\n");
  __asm__ volatile(
      ".p2align 2\n"
      "24:\n"
      "ldm.w r1!, {r2, r3, r8, r9}\n"
      "smmlar r4, r4, r3, r4\n"
      "smmlar r5, r5, r9, r5\n"
      "add r4, r4, r4, asr #31\n"
      "add r5, r5, r5, asr #31\n"
      "smmlsr r4, r4, r2, lr\n"
      "smmlsr r5, r5, r8, lr\n"
      "ldm.w r1, {r2, r3, r8, r9}\n"
      "smmlar r6, r6, r3, r6\n"
      "smmlar r7, r7, r9, r7\n"
      "add r6, r6, r6, asr #31\n"
      "add r7, r7, r7, asr #31\n"
      "b 28f\n"
      ".p2align 2\n"
      "26:\n"
      "ldm.w r1!, {r2, r3, r8, r9}\n"
      "smmlar r4, r4, r3, r4\n"
      "smmlar r5, r5, r9, r5\n"
      "smmlsr r4, r4, r2, lr\n"
      "smmlsr r5, r5, r8, lr\n"
      "ldm.w r1, {r2, r3, r8, r9}\n"
      "smmlar r6, r6, r3, r6\n"
      "smmlar r7, r7, r9, r7\n"
      "28:\n"
      "smmlsr r6, r6, r2, lr\n"
      "smmlsr r7, r7, r8, lr\n"
      "ssat r4, #8, r4\n"
      "ssat r5, #8, r5\n"
      "ssat r6, #8, r6\n"
      "ssat r7, #8, r7\n"
      "strb r4, [r10]\n"
      "strb r5, [r10, #1]\n"
      "strb r6, [r10, #2]\n"
      "strb r7, [r10, #3]\n"
      "add r10, r11\n"
      "ldr r2, [sp, #20]\n"
      "str r10, [sp, #4]\n"
      "add r0, r12\n"
      "cmp r10, r2\n"
      "bne 20b\n"
      /* To the next channels of the first pixel. */
      "ldrd r1, r3, [sp, #88]\n"
      "adds r2, #4\n"
      "str r2, [sp, #20]\n"
      "subs r2, r3\n"
      "str r2, [sp, #4]\n"
      "ldr r2, [sp, #36]\n"
      "ldr r3, [sp, #68]\n"
      "adds r2, #4\n"
      "adds r3, #4\n"
      "str r2, [sp, #36]\n"
      "str r3, [sp, #68]\n"
      "subs r1, #1\n"
      "str r1, [sp, #88]\n"
      "bne 10b\n"
      "add sp, #124\n"
      "pop {r4-r11, pc}\n");
  __asm__ volatile(
      /* Three more columns of a triple, the next triple, or the end of a pixel. */
      ".p2align 2\n"
      "40:\n"
      "ldr r2, [sp, #112]\n"
      "subs r2, #3\n"
      "itt ge\n"
      "strge r2, [sp, #112]\n"
      "bge 21b\n"
      "ldr r2, [sp, #84]\n"
      "str r2, [sp, #112]\n"
      "ldrd r2, r3, [sp, #76]\n"
      "cmp r1, r2\n"
      "ittt ne\n"
      "addne r0, r3\n"
      "ldrne r2, [sp, #104]\n"
      "bxne r2\n"
      "ldr pc, [sp, #108]\n"
      /* A pixel tap by tap: r0 taps, r2 to the next weights, r9 channel, r12 weights. */
      ".p2align 2\n"
      "50:\n"
      "ldrd r12, r2, [sp, #36]\n"
      "ldr r9, [sp, #68]\n"
      "ldr lr, [sp, #96]\n"
      "51:\n"
      "ldr r3, [r0], #4\n"
      "ldr.w r10, [r12]\n"
      "add r12, r2\n"
      "cbz r3, 53f\n"
      "ldr.w r3, [r3, r9]\n"
      "52:\n"
      "sxtb16 r8, r3\n"
      "sxtb16 r3, r3, ror #8\n"
      "sxtb16 r11, r10\n"
      "sxtb16 r10, r10, ror #8\n"
      "smlabb r4, r8, r11, r4\n"
      "smlabb r5, r3, r10, r5\n"
      "smlatt r6, r8, r11, r6\n"
      "smlatt r7, r3, r10, r7\n"
      "cmp r0, lr\n"
      "bne 51b\n"
      "b 22b\n"
      "53:\n"
      "ldr r3, [sp, #100]\n"
      "b 52b\n");
  __asm__ volatile(
      /* A column with rows outside. */
      "60:\n"
      ROW_OUTSIDE("1", "16", "r8", "[r1]")
      ROW_OUTSIDE("2", "32", "r9", "[r1, r2]")
      ROW_OUTSIDE("4", "64", "r10", "[r1, r2, lsl #1]")
      "b 18b\n"
      /* Four weights, in r6, times the zero point into the biases. */
      "62:\n"
      "str r5, [sp, #120]\n"
      "ldr r5, [sp, #24]\n"
      "ldr r12, [sp, #72]\n"
      "sxtb16 r7, r6\n"
      "sxtb16 r6, r6, ror #8\n"
      "ldr r11, [r5]\n"
      "smlabb r11, r7, r12, r11\n"
      "str r11, [r5]\n"
      "ldr r11, [r5, #4]\n"
      "smlabb r11, r6, r12, r11\n"
      "str r11, [r5, #4]\n"
      "ldr r11, [r5, #8]\n"
      "smlatb r11, r7, r12, r11\n"
      "str r11, [r5, #8]\n"
      "ldr r11, [r5, #12]\n"
      "smlatb r11, r6, r12, r11\n"
      "str r11, [r5, #12]\n"
      "ldr r5, [sp, #120]\n"
      "bx lr\n"
      /* Columns of zero points, as many as r2 says. */
      "64:\n"
      "cbz r2, 66f\n"
      "ldr r6, [sp, #72]\n"
      "mov r7, r6\n"
      "mov r8, r6\n"
      "mov r9, r6\n"
      "mov r10, r6\n"
      "mov r11, r6\n"
      "65:\n"
      "stm.w r0!, {r6, r7, r8, r9, r10, r11}\n"
      "subs r2, #1\n"
      "bne 65b\n"
      "66:\n"
      "bx lr\n");
}

/* False for a filter that is too large. */
static bool begin(const tinyops_call *call, depthwise *layer) {
  const tinyops_op *op = call->op;
  const uint32_t height = op->kernel[0], width = op->kernel[1];
  const uint32_t triples = (height + TRIPLE - 1) / TRIPLE, taken = LIST_COLUMNS + triples * width;
  const uint32_t columns = taken < COLUMNS_MAX ? (COLUMNS_MAX - taken) / triples : 0;
  layer->call = call;
  layer->filter = call->plan->constants + op->weights_offset;
  layer->strip_pixels = 0;
  if (op->dilation[1] == 1 && call->input.shape[2] > 1 && triples <= TRIPLES_MAX && columns >= width) {
    layer->strip_pixels = (columns - width) / op->stride[1] + 1;
    return true;
  }
  return height * width <= COLUMN_WORDS * (COLUMNS_MAX - LIST_COLUMNS);
}

/* Some channels of some pixels of a row, `blocks` times four from channel `first` on, which is
 * `known` of the table. `top` and `left` are row and column under the first pixel's first tap, `out`
 * has all channels of the pixels one after another. */
static void make_part(const depthwise *layer, int32_t top, int32_t left, uint8_t *out, uint32_t pixels,
                      const tinyops_table *table, uint32_t first, uint32_t known, uint32_t blocks) {
  const tinyops_call *call = layer->call;
  const tinyops_op *op = call->op;
  const size_t channels = call->input.shape[3], width = call->input.shape[2];
  const uint32_t taps_down = op->kernel[0], taps_along = op->kernel[1];
  const uint32_t columns = (pixels - 1) * op->stride[1] + taps_along;
  const tinyops_taps inside =
      tinyops_taps_inside(left, (uint16_t)columns, op->dilation[1], call->input.shape[2]);
  const bool is_strip = layer->strip_pixels > 0;
  const uint32_t count = is_strip ? (taps_down + TRIPLE - 1) / TRIPLE : 0;
  /* Only columns inside are read, and those lie before this place of a row; of a row outside it is
   * the first row's values that are read, and meet weights of 0. Addresses are counted as numbers,
   * since they may pass the input's ends in between. */
  const uintptr_t input = (uintptr_t)call->in;
  const uintptr_t last = (uintptr_t)(left + inside.end) * channels;
  uint32_t buffer[COLUMN_WORDS * COLUMNS_MAX];
  triple triples[TRIPLES_MAX];
  uint32_t tap, along, taps = 0;
  row_job job;
  for (tap = 0; tap < TRIPLES_MAX; tap++) {
    triples[tap].rows[0] = triples[tap].rows[1] = triples[tap].rows[2] = input + last;
    triples[tap].flags = 0x77;
  }
  for (tap = 0; tap < taps_down; tap++) {
    const int32_t y = top + (int32_t)(tap * op->dilation[0]);
    const bool is_line = y >= 0 && y < call->input.shape[1];
    const uintptr_t line = input + (is_line ? (uintptr_t)y * width * channels : 0);
    if (is_strip) {
      triple *three = &triples[tap / TRIPLE];
      three->flags &= ~((size_t)0x10 << tap % TRIPLE);
      if (is_line) {
        three->flags &= ~((size_t)1 << tap % TRIPLE);
        three->rows[tap % TRIPLE] = line + last;
      }
      continue;
    }
    for (along = 0; along < taps_along; along++) {
      const int32_t x = left + (int32_t)(along * op->dilation[1]);
      const bool is_there = is_line && x >= 0 && (size_t)x < width;
      buffer[COLUMN_WORDS * LIST_COLUMNS + taps] = is_there ? (uint32_t)(line + (uintptr_t)x * channels) : 0;
      taps++;
    }
  }
  /* Four biases, the weights, four factors and multipliers, and then strips or taps. */
  job.tail = 0;
  job.output = out + first;
  job.output_step = channels;
  job.column_step = (ptrdiff_t)(op->stride[1] * COLUMN_BYTES) -
                    ((ptrdiff_t)count - 1) * (ptrdiff_t)(columns * COLUMN_BYTES) -
                    (ptrdiff_t)(taps_along * COLUMN_BYTES);
  job.zero_point = call->output.zero_point;
  job.output_end = out + pixels * channels + first;
  job.list = buffer;
  job.weights_end = buffer + 4 + COLUMN_WORDS * count * taps_along;
  job.columns = job.weights_end + 8;
  job.table = table->words + 3 * known;
  job.filter = layer->filter + first;
  job.filter_step = channels * (is_strip ? taps_along : 1u);
  job.kernel_width = taps_along;
  job.triples = triples;
  job.triples_end = triples + count;
  job.columns_before = (size_t)inside.first;
  job.columns_after = columns - (size_t)inside.end;
  job.columns_back = -((ptrdiff_t)(inside.end - inside.first) * (ptrdiff_t)channels);
  job.channel = first;
  job.input_zero_points = (uint32_t)(uint16_t)(int16_t)call->input.zero_point * 0x10001u;
  job.triple_step = (ptrdiff_t)(columns * COLUMN_BYTES) - (ptrdiff_t)(taps_along * COLUMN_BYTES);
  job.later_columns = is_strip ? (taps_along - 1) / 3 * 3 : 0;
  job.blocks = blocks;
  job.output_bytes = pixels * channels;
  job.taps_end = is_strip ? NULL : job.columns + taps;
  job.input_zero_point = (uint32_t)(uint8_t)call->input.zero_point * 0x01010101u;
  row(&job);
}

/* Channels of one row of the output that the table holds, from channel `first` on. */
static void make_row(const depthwise *layer, const tinyops_table *table, uint32_t y, uint32_t first) {
  const tinyops_call *call = layer->call;
  const uint32_t width = call->output.shape[2], count = call->output.shape[3];
  const uint32_t most = layer->strip_pixels > 0 ? layer->strip_pixels : 1u;
  const int32_t top = tinyops_window_start(call->op, 0, y);
  uint32_t x;
  for (x = 0; x < width; x += most) {
    const uint32_t pixels = tinyops_lesser(width - x, most);
    const int32_t left = tinyops_window_start(call->op, 1, x);
    uint8_t *out = call->out + ((size_t)y * width + x) * count;
    make_part(layer, top, left, out, pixels, table, first, 0, table->count / 4);
    /* Some of the channels before the last ones once more, if all are no fours. */
    if (table->count % 4 != 0) {
      make_part(layer, top, left, out, pixels, table, first + table->count - 4, table->count - 4, 1);
    }
  }
}

bool tinyops_dsp_depthwise(const tinyops_call *call) {
  const uint32_t height = call->output.shape[1], count = call->output.shape[3];
  const uint32_t some = tinyops_lesser(count, TINYOPS_TABLE_MAX);
  const tinyops_channels channels = tinyops_channels_of(call);
  tinyops_table table;
  depthwise layer;
  uint32_t index, first;
  if (count != call->input.shape[3] || count < 4 || !begin(call, &layer)) return false;
  /* The last of all channels lie before the end. */
  for (first = 0; first < count; first += TINYOPS_TABLE_MAX) {
    tinyops_table_fill(&table, &channels, tinyops_lesser(first, count - some), some);
    if (!table.is_low || !table.is_normal) return false;
  }
  for (index = 0; index < height; index++) {
    const uint32_t y = tinyops_row(call->op, index, height);
    for (first = 0; first < count; first += TINYOPS_TABLE_MAX) {
      if (count > TINYOPS_TABLE_MAX) {
        tinyops_table_fill(&table, &channels, tinyops_lesser(first, count - some), some);
      }
      make_row(&layer, &table, y, tinyops_lesser(first, count - some));
    }
  }
  tinyops_clamp_bytes(call->op, call->out, call->output.len);
  return true;
}
#endif
