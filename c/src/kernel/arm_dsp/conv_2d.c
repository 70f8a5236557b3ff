/* Convolution for the DSP extension: four pixels at a time, their patches widened once. */
#include "arm_dsp.h"

#ifdef TINYOPS_ARM_DSP
#include "../../sum.h"

/* One to four pixels' patches against some rows of a filter, as block() takes it: what it keeps at
 * its stack pointer, in this order. */
typedef struct block_job {
  uint8_t *output;
  const uint32_t *table;
  /* From the first pixel's output to that of the second, third and fourth. */
  size_t offsets[3];
  int32_t zero_point;
  const uint8_t *output_end;
  const uint8_t *patches;
  const uint8_t *patches_end;
  size_t quads;
  size_t entry;
  const uint8_t *weights;
  /* Whether the output's zero point is the least value and every shift is below 0. */
  size_t is_plain;
} block_job;

/* The first values of a quad, whose weights r8 has: sums begin with the bias in r11. */
#define FIRST_HALF                       \
  "ldm.w r0!, {r4, r5, r6, r7}\n"        \
  "sxtb16 r12, r8\n"                     \
  "smlad r4, r4, r12, r11\n"             \
  "smlad r5, r5, r12, r11\n"             \
  "smlad r6, r6, r12, r11\n"             \
  "smlad r7, r7, r12, r11\n"

/* Half a quad of one row against four patches. */
#define HALF_QUAD(weights)               \
  "ldm.w r0!, {r2, r3, r10, r11}\n"      \
  "sxtb16 r12, " weights "\n"            \
  "smlad r4, r2, r12, r4\n"              \
  "smlad r5, r3, r12, r5\n"              \
  "smlad r6, r10, r12, r6\n"             \
  "smlad r7, r11, r12, r7\n"

/* What follows the first half of two quads. */
#define TWO_QUADS_REST HALF_QUAD("r8, ror #8") HALF_QUAD("r9") HALF_QUAD("r9, ror #8")

/* Two quads of one row against four patches: 25 instructions, 100 bytes, for 32 products. */
#define TWO_QUADS "ldrd r8, r9, [r1], #8\n" HALF_QUAD("r8") TWO_QUADS_REST

/* One pixel's sum, rescaled for a shift in r10 of 0 or more. */
#define RESCALE_UPWARDS(x)               \
  "lsl " x ", " x ", r10\n"              \
  "smmlar " x ", " x ", r12, " x "\n"    \
  "qadd " x ", " x ", lr\n"              \
  "ssat " x ", #8, " x "\n"

TINYOPS_ASSEMBLY static void block(const block_job *job TINYOPS_IN_REGISTER) {
  /* r0 patches, r1 weights, r2 r3 r10 r11 inputs, r4-r7 sums of the four pixels, r8 r9 weights, r12
   * widened weights, lr end of the patches. The job lies at the stack pointer, so that one LDM
   * brings what the end of a channel needs. */
  __asm__ volatile(
      "push {r4-r11, lr}\n"
      "sub sp, #48\n"
      "ldm r0!, {r1, r2, r4-r9}\n"
      "stm sp, {r1, r2, r4-r9}\n"
      "ldm r0, {r4, r5, r6, r7, r9}\n"
      /* One quad or two begin the sums, then a part of the four-fold loop, then whole rounds of it. */
      "sub r3, r5, #1\n"
      "lsrs r3, r3, #1\n"
      "adr r6, 32f\n"
      "beq 12f\n"
      "sub r3, #1\n"
      "and r3, r3, #3\n"
      "rsb r3, r3, #3\n"
      "mov r8, #100\n"
      "adr r6, 20f\n"
      "mla r6, r3, r8, r6\n"
      "12:\n"
      "orr r6, r6, #1\n"
      "adr r8, 10f\n"
      "adr r3, 15f\n"
      "tst r5, #1\n"
      "it eq\n"
      "moveq r8, r3\n"
      "orr r8, r8, #1\n"
      "mov r1, r7\n"
      /* With the least zero point a negative sum is the least result, however it is rounded. */
      "adr r7, 50f\n"
      "adr r3, 31f\n"
      "cmp r9, #0\n"
      "it ne\n"
      "movne r7, r3\n"
      "orr r7, r7, #1\n"
      "add r12, sp, #32\n"
      "mov r5, r8\n"
      "stm r12, {r4, r5, r6, r7}\n"
      "ldr r11, [r2], #8\n"
      "str r2, [sp, #4]\n"
      "ldrd r0, lr, [sp, #28]\n"
      "bx r8\n"
      /* The first quad, to the bias in r11. */
      ".p2align 2\n"
      "10:\n"
      "ldr r8, [r1], #4\n"
      FIRST_HALF
      HALF_QUAD("r8, ror #8")
      "ldr pc, [sp, #40]\n"
      /* The first two. */
      ".p2align 2\n"
      "15:\n"
      "ldrd r8, r9, [r1], #8\n"
      FIRST_HALF
      TWO_QUADS_REST
      "ldr pc, [sp, #40]\n"
      ".p2align 2\n"
      "20:\n"
      TWO_QUADS
      TWO_QUADS
      TWO_QUADS
      TWO_QUADS
      "cmp.w r0, lr\n"
      "bne.w 20b\n");
  __asm__ volatile(
      ".p2align 2\n"
      "32:\n"
      /* r0 output, r2 table, r3 r8 r9 offsets, r10 factor, r11 the next bias, r12 2m, lr zero point. */
      "ldm sp, {r0, r2, r3, r8, r9, lr}\n"
      "ldm.w r2!, {r10, r11, r12}\n"
      "ldr pc, [sp, #44]\n"
      ".p2align 2\n"
      "31:\n"
      TINYOPS_RESCALE_PLAIN("r4")
      TINYOPS_RESCALE_PLAIN("r5")
      TINYOPS_RESCALE_PLAIN("r6")
      TINYOPS_RESCALE_PLAIN("r7")
      "33:\n"
      "strb r7, [r0, r9]\n"
      "strb r6, [r0, r8]\n"
      "strb r5, [r0, r3]\n"
      "strb r4, [r0], #1\n"
      "strd r0, r2, [sp]\n"
      "ldr r12, [sp, #24]\n"
      "cmp r0, r12\n"
      "ldrd r0, lr, [sp, #28]\n"
      "beq 40f\n"
      "ldr pc, [sp, #36]\n"
      "40:\n"
      "add sp, #48\n"
      "pop {r4-r11, pc}\n"
      /* Other zero points, and shifts that are rare. */
      ".p2align 2\n"
      "50:\n"
      "cmp r10, #0\n"
      "bge 51f\n"
      TINYOPS_RESCALE("r4")
      TINYOPS_RESCALE("r5")
      TINYOPS_RESCALE("r6")
      TINYOPS_RESCALE("r7")
      "b 33b\n"
      "51:\n"
      RESCALE_UPWARDS("r4")
      RESCALE_UPWARDS("r5")
      RESCALE_UPWARDS("r6")
      RESCALE_UPWARDS("r7")
      "b 33b\n");
}

/* Where the patches come from. */
typedef struct patch_source {
  const tinyops_op *op;
  const uint8_t *in;
  /* Bytes of the input. */
  size_t bytes;
  tinyops_patches patches;
  int32_t height;
  int32_t width;
  size_t channels;
  int8_t zero_point;
  /* The whole patch, and the bytes that are read from its first on; 0 where rows are too short to go
   * four at a time. */
  tinyops_rect whole;
  size_t reach;
  /* One more than the last row and column of a patch's first tap at which all of its taps lie
   * inside, or 0. */
  uint32_t inside[2];
  /* Row and column of the next patch's first tap. */
  int32_t at[2];
  /* The first column, the one after the last, and from a pixel to the next. */
  int32_t columns[3];
} patch_source;

/* At how many places some taps lie inside. */
static uint32_t places_inside(int32_t size, int32_t reach) {
  return size >= reach ? (uint32_t)(size - reach) + 1u : 0u;
}

static void begin_patches(const tinyops_call *call, size_t row, patch_source *source) {
  const tinyops_op *op = call->op;
  int32_t columns = call->output.shape[2];
  size_t taps;
  source->op = op;
  source->in = call->in;
  source->bytes = call->input.len;
  source->height = call->input.shape[1];
  source->width = call->input.shape[2];
  source->channels = call->input.shape[3];
  source->zero_point = call->input.zero_point;
  if (tinyops_is_pointwise(call)) {
    source->width *= source->height;
    source->height = 1;
    columns = source->width;
  }
  source->patches.wide = call->scratch;
  source->patches.stage = NULL;
  source->patches.row = row;
  if (source->channels % TINYOPS_QUAD != 0) {
    source->patches.stage = call->scratch + 2 * TINYOPS_BLOCK_PIXELS * row;
  }
  source->whole.rows = op->kernel[0];
  source->whole.len = op->kernel[1] * source->channels;
  source->whole.from_step = op->dilation[0] * (size_t)source->width * source->channels;
  source->whole.to_step = source->whole.len;
  taps = source->whole.rows * source->whole.len;
  source->reach = 0;
  if (source->whole.len >= TINYOPS_QUAD && source->whole.from_step >= source->whole.len) {
    source->reach = (source->whole.rows - 1) * source->whole.from_step + source->whole.len + row - taps;
  }
  source->inside[0] = places_inside(source->height, (op->kernel[0] - 1) * op->dilation[0] + 1);
  /* Taps apart are no run: then every pixel goes tap by tap. */
  source->inside[1] = op->dilation[1] == 1 ? places_inside(source->width, op->kernel[1]) : 0;
  source->at[0] = -(int32_t)op->pad[0];
  source->columns[0] = source->at[1] = -(int32_t)op->pad[1];
  source->columns[1] = columns * op->stride[1] - op->pad[1];
  source->columns[2] = op->stride[1];
}

/* Whether the next patch lies inside whole. */
static inline bool is_inside(const patch_source *source) {
  return (uint32_t)source->at[0] < source->inside[0] && (uint32_t)source->at[1] < source->inside[1];
}

/* Where the next patch, which lies inside, begins in the input. */
static inline size_t place(const patch_source *source) {
  return ((size_t)source->at[0] * (size_t)source->width + (size_t)source->at[1]) * source->channels;
}

static inline void step(patch_source *source) {
  source->at[1] += source->columns[2];
  if (source->at[1] == source->columns[1]) {
    source->at[0] += source->op->stride[0];
    source->at[1] = source->columns[0];
  }
}

/* Padding, and then what lies inside. */
static void put_at_border(const patch_source *source, uint32_t pixel) {
  const tinyops_op *op = source->op;
  const tinyops_taps rows =
      tinyops_taps_inside(source->at[0], op->kernel[0], op->dilation[0], (uint32_t)source->height);
  const int32_t y = source->at[0] + rows.first * op->dilation[0];
  /* Taps apart go one by one. */
  const uint16_t count = op->dilation[1] == 1 ? op->kernel[1] : 1;
  tinyops_rect rect = source->whole;
  int32_t group;
  tinyops_patches_fill(&source->patches, source->zero_point, pixel);
  rect.rows = (size_t)(rows.end - rows.first);
  for (group = 0; group < op->kernel[1]; group += count) {
    const int32_t left = source->at[1] + group * op->dilation[1];
    const tinyops_taps columns = tinyops_taps_inside(left, count, 1, (uint32_t)source->width);
    const size_t tap = (size_t)(group + columns.first);
    rect.len = (size_t)(columns.end - columns.first) * source->channels;
    if (rect.rows == 0 || rect.len == 0) continue;
    tinyops_patches_put(
        &source->patches,
        source->in + ((size_t)y * (size_t)source->width + (size_t)(left + columns.first)) * source->channels,
        &rect, pixel, (size_t)rows.first * rect.to_step + tap * source->channels);
  }
}

/* One patch. */
static void put_pixel(const patch_source *source, uint32_t pixel) {
  if (is_inside(source)) {
    tinyops_patches_put(&source->patches, source->in + place(source), &source->whole, pixel, 0);
  } else {
    put_at_border(source, pixel);
  }
  tinyops_patches_unstage(&source->patches, pixel);
}

/* Whether four patches begin in the input so that all that is read of them lies in it. */
static bool are_there(const patch_source *source, size_t last) {
  return source->reach > 0 && last <= source->bytes && source->bytes - last >= source->reach;
}

/* Widens the next patches. */
static void put_block(patch_source *source, uint32_t pixels) {
  const int32_t last = source->at[1] + 3 * source->columns[2];
  const uint8_t *from[TINYOPS_BLOCK_PIXELS];
  const int32_t start[2] = {source->at[0], source->at[1]};
  uint32_t pixel, left_over = 0;
  size_t furthest = 0;
  /* Four patches inside, side by side. */
  if (last < source->columns[1] && (uint32_t)last < source->inside[1] && is_inside(source)) {
    const size_t hop = (size_t)source->columns[2] * source->channels, first = place(source);
    if (are_there(source, first + 3 * hop)) {
      from[0] = source->in + first;
      from[1] = from[0] + hop;
      from[2] = from[1] + hop;
      from[3] = from[2] + hop;
      tinyops_patches_put_four(&source->patches, from, &source->whole);
      source->at[1] = last;
      step(source);
      return;
    }
  }
  for (pixel = 0; pixel < TINYOPS_BLOCK_PIXELS; pixel++) {
    /* A lane without a patch inside takes the input's first values for now. */
    size_t first = 0;
    if (pixel < pixels) {
      if (is_inside(source)) {
        first = place(source);
      } else {
        left_over |= 1u << pixel;
      }
      step(source);
    }
    if (first > furthest) furthest = first;
    from[pixel] = source->in + first;
  }
  if (are_there(source, furthest)) {
    tinyops_patches_put_four(&source->patches, from, &source->whole);
  } else {
    left_over = 0xFu;
  }
  if (left_over == 0) return;
  source->at[0] = start[0];
  source->at[1] = start[1];
  for (pixel = 0; pixel < pixels; pixel++) {
    if ((left_over >> pixel & 1u) != 0) put_pixel(source, pixel);
    step(source);
  }
}

/* The channels of a table for so many pixels, whose patches are there and whose outputs begin at
 * `out`, `stride` bytes apart; `weights` is the row of the first. */
static void run_block(block_job *job, const tinyops_table *table, const uint8_t *weights,
                      uint32_t pixels, size_t stride, uint8_t *out) {
  uint32_t pixel;
  for (pixel = 1; pixel < TINYOPS_BLOCK_PIXELS; pixel++) {
    job->offsets[pixel - 1] = tinyops_lesser(pixel, pixels - 1) * stride;
  }
  job->is_plain = job->zero_point == -128 && table->is_low;
  job->weights = weights;
  job->table = table->words;
  job->output = out;
  job->output_end = out + table->count;
  block(job);
}

/* Some pixels after each other. */
static void make_piece(patch_source *source, const tinyops_channels *channels, tinyops_table *table,
                       block_job *job, const uint8_t *filter, size_t count, uint8_t *out,
                       uint32_t pixels) {
  const bool stays = count <= TINYOPS_TABLE_MAX;
  while (pixels > 0) {
    const uint32_t some = tinyops_lesser(pixels, TINYOPS_BLOCK_PIXELS);
    uint32_t first;
    put_block(source, some);
    for (first = 0; first < count; first += TINYOPS_TABLE_MAX) {
      /* Few channels stay in the table. */
      if (!stays) {
        tinyops_table_fill(table, channels, first,
                           tinyops_lesser((uint32_t)count - first, TINYOPS_TABLE_MAX));
      }
      run_block(job, table, filter + first * source->patches.row, some, count, out + first);
    }
    out += some * count;
    pixels -= some;
  }
}

/* Whether the weights behind the taps of each row are 0, as a compiler writes them: they meet whatever
 * lies behind a patch. */
static bool are_padded(const uint8_t *filter, size_t taps, size_t row, uint32_t count) {
  uint32_t bits = 0;
  size_t index;
  if (taps == row) return true;
  for (filter += taps; count > 0; count--, filter += row) {
    for (index = 0; index < row - taps; index++) bits |= filter[index];
  }
  return bits == 0;
}

bool tinyops_dsp_convolve(const tinyops_call *call, const uint8_t *filter) {
  const size_t taps = (size_t)tinyops_op_taps(call->op, call->input.shape);
  const size_t row = (size_t)tinyops_round_up(taps, TINYOPS_QUAD);
  const uint32_t count = call->output.shape[3], pixels = call->output.len / count;
  const uint32_t lag = call->sum == NULL ? pixels : (uint32_t)(call->sum->lag / count);
  const tinyops_channels channels = tinyops_channels_of(call);
  tinyops_table table;
  patch_source source;
  block_job job;
  uint32_t first;
  if (!are_padded(filter, taps, row, count)) return false;
  memset(&job, 0, sizeof job);
  begin_patches(call, row, &source);
  job.zero_point = call->output.zero_point;
  job.quads = row / TINYOPS_QUAD;
  job.patches = source.patches.wide;
  job.patches_end = source.patches.wide + 2 * TINYOPS_BLOCK_PIXELS * row;
  /* Few channels stay in the table, which is filled from the last ones on. */
  for (first = (count - 1) / TINYOPS_TABLE_MAX * TINYOPS_TABLE_MAX;; first -= TINYOPS_TABLE_MAX) {
    tinyops_table_fill(&table, &channels, first, tinyops_lesser(count - first, TINYOPS_TABLE_MAX));
    if (!table.is_normal) return false;
    if (first == 0) break;
  }
  /* A sum takes pixels as soon as so many are made. */
  for (first = 0; first < pixels; first += lag) {
    const uint32_t some = tinyops_lesser(pixels - first, lag);
    const size_t start = (size_t)first * count;
    make_piece(&source, &channels, &table, &job, filter, count, call->out + start, some);
    tinyops_clamp_bytes(call->op, call->out + start, (size_t)some * count);
    if (call->sum != NULL) call->sum->add(call->sum, start, (size_t)some * count);
  }
  return true;
}
#endif
