/* Convolution over height and width; a dense layer is its case of one pixel.
 *
 * out[y][x][o] = clamp(zp + rescale(bias[o] + sum in[...] * w[o][...])). The input's zero point is
 * folded into the bias, and a tap in the padding reads that zero point: so one gathered patch serves
 * every output channel without a special case at borders. Patches are gathered whole before their
 * pixels are written, so the output may trail the input. */
#include <string.h>

#include "../sum.h"
#include "arm_dsp/arm_dsp.h"
#include "channels.h"

/* In place of a lane: one patch of bytes. */
#define NO_LANE TINYOPS_BLOCK_PIXELS

#ifdef TINYOPS_ARM_DSP
static size_t step_of(uint32_t lane) {
  (void)lane;
  return 1;
}

static void put_values(const uint8_t *values, size_t step, size_t count, uint32_t lane, uint8_t *to) {
  (void)lane;
  if (step == 0) {
    memset(to, *values, count);
  } else {
    memcpy(to, values, count);
  }
}
#else
/* Two rows of a filter, or one twice, over the patches of a block. */
typedef struct two_rows {
  const uint8_t *block;
  const uint8_t *first;
  const uint8_t *second;
  size_t taps;
} two_rows;

#if TINYOPS_LONG_PRODUCTS
/* A block has two words for each tap: of pixels 0 and 1, and of 2 and 3. A word is a + 2^23 b, so that
 * one product with a weight, onto a sum of 64 bits, is that of both: the sum of the lower ones fits
 * 23 bits up to 255 taps. */
#define PAIR_BITS 23u
#define PAIR_TAPS 248u

/* A freestanding compiler calls memcpy(), a builtin becomes one instruction. */
#ifdef __GNUC__
#define COPY_WORD(to, from) __builtin_memcpy(to, from, 4)
#define ALIGNED(at) __builtin_assume_aligned(at, 4)
#else
#define COPY_WORD(to, from) memcpy(to, from, 4)
#define ALIGNED(at) (at)
#endif

static inline int32_t load_pair(const uint8_t *at) {
  int32_t pair;
  COPY_WORD(&pair, ALIGNED(at));
  return pair;
}

static inline void store_pair(uint8_t *at, uint32_t pair) {
  COPY_WORD(ALIGNED(at), &pair);
}

static inline uint32_t pair_of(uint8_t first, uint8_t second) {
  return (uint32_t)tinyops_int8(first) + ((uint32_t)tinyops_int8(second) << PAIR_BITS);
}

/* Words need an arena at a multiple of 4; in any other pixels go alone. */
static bool has_blocks(const tinyops_call *call) {
  return (uintptr_t)call->scratch % 4 == 0;
}

static size_t step_of(uint32_t lane) {
  return lane == NO_LANE ? 1 : 8;
}

/* Puts values, or one value where the step is 0, into a patch or a lane; lanes in their order. */
static void put_values(const uint8_t *values, size_t step, size_t count, uint32_t lane, uint8_t *to) {
  if (lane == NO_LANE) {
    for (; count > 0; count--, values += step) *to++ = *values;
    return;
  }
  to += 4 * (lane / 2);
  if (lane % 2 == 0) {
    for (; count > 0; count--, values += step, to += 8) store_pair(to, pair_of(*values, 0));
  } else {
    for (; count > 0; count--, values += step, to += 8) {
      store_pair(to, (uint32_t)load_pair(to) + pair_of(0, *values));
    }
  }
}

/* Puts the same of four pixels, whose values lie `step` bytes apart. */
static void put_four(const uint8_t *values, size_t count, size_t step, uint8_t *block) {
  const uint8_t *second = values + step, *third = second + step, *fourth = third + step;
  const uint8_t *end = values + count;
  for (; values != end; values++, block += 8) {
    store_pair(block, pair_of(*values, *second++));
    store_pair(block + 4, pair_of(*third++, *fourth++));
  }
}

/* A tap of both rows. */
#define ADD_TAP                         \
  {                                     \
    const int32_t x = load_pair(block); \
    const int32_t y = load_pair(block + 4); \
    int32_t weight = *first++;          \
    block += 8;                         \
    a01 += (int64_t)x * weight;         \
    a23 += (int64_t)y * weight;         \
    weight = *second++;                 \
    b01 += (int64_t)x * weight;         \
    b23 += (int64_t)y * weight;         \
  }

/* Some taps of both rows: of the pairs of the first row, then of the second. */
TINYOPS_APART static void sum_pairs(const uint8_t *block, const int8_t *first, const int8_t *second,
                                    size_t taps, int64_t pairs[4]) {
  const uint8_t *end = block + 8 * (taps % 8);
  int64_t a01 = 0, a23 = 0, b01 = 0, b23 = 0;
  while (block != end) ADD_TAP
  end += 8 * (taps - taps % 8);
  while (block != end) {
    ADD_TAP ADD_TAP ADD_TAP ADD_TAP ADD_TAP ADD_TAP ADD_TAP ADD_TAP
  }
  pairs[0] = a01;
  pairs[1] = a23;
  pairs[2] = b01;
  pairs[3] = b23;
}

/* The sums of both pixels of a pair. */
static inline uint32_t lower_of(int64_t pair) {
  const uint32_t low = (uint32_t)(uint64_t)pair << (32u - PAIR_BITS);
  return (uint32_t)tinyops_shift_right((int32_t)low, 32u - PAIR_BITS);
}

static inline uint32_t upper_of(int64_t pair) {
  return (uint32_t)((uint64_t)pair >> PAIR_BITS) + (lower_of(pair) >> 31);
}

static void sum_rows(const two_rows *rows, uint32_t sums[2 * TINYOPS_BLOCK_PIXELS]) {
  size_t at, some;
  for (at = 0; at < rows->taps; at += some) {
    int64_t pairs[4];
    uint32_t index;
    some = rows->taps - at < PAIR_TAPS ? rows->taps - at : PAIR_TAPS;
    sum_pairs(rows->block + 8 * at, (const int8_t *)rows->first + at,
              (const int8_t *)rows->second + at, some, pairs);
    for (index = 0; index < 4; index++) {
      sums[2 * index] += lower_of(pairs[index]);
      sums[2 * index + 1] += upper_of(pairs[index]);
    }
  }
}
#else
/* A block is four patches of bytes, a tap of each after the other. Where no load extends signs they are
 * values with 128 more, and what that adds to a sum, 128 times the weights of its row, is taken away. */
#if TINYOPS_NARROW_PRODUCTS
#define VALUE_BIAS 0x80u
#else
#define VALUE_BIAS 0u
#endif

static bool has_blocks(const tinyops_call *call) {
  (void)call;
  return true;
}

static size_t step_of(uint32_t lane) {
  return lane == NO_LANE ? 1 : TINYOPS_BLOCK_PIXELS;
}

/* Puts values, or one value where the step is 0, into a patch or a lane. */
static void put_values(const uint8_t *values, size_t step, size_t count, uint32_t lane, uint8_t *to) {
  const size_t to_step = step_of(lane);
  const uint8_t flip = lane == NO_LANE ? 0 : VALUE_BIAS;
  if (lane != NO_LANE) to += lane;
  for (; count > 0; count--, values += step, to += to_step) *to = (uint8_t)(*values ^ flip);
}

static void put_four(const uint8_t *values, size_t count, size_t step, uint8_t *block) {
  const uint8_t *second = values + step, *third = second + step, *fourth = third + step;
  const uint8_t *end = values + count;
  for (; values != end; values++, block += TINYOPS_BLOCK_PIXELS) {
    block[0] = (uint8_t)(*values ^ VALUE_BIAS);
    block[1] = (uint8_t)(*second++ ^ VALUE_BIAS);
    block[2] = (uint8_t)(*third++ ^ VALUE_BIAS);
    block[3] = (uint8_t)(*fourth++ ^ VALUE_BIAS);
  }
}

#if TINYOPS_NARROW_PRODUCTS
/* One row over the patches of a block: the sums of two are more than the registers. */
TINYOPS_APART static void sum_row(const uint8_t *block, const uint8_t *row, size_t taps,
                                  uint32_t sums[TINYOPS_BLOCK_PIXELS]) {
  const uint8_t *end = block + TINYOPS_BLOCK_PIXELS * taps;
  const int8_t *weight = (const int8_t *)row;
  uint32_t a = 0, b = 0, c = 0, d = 0, weights = 0;
  for (; block != end; block += TINYOPS_BLOCK_PIXELS) {
    const int32_t own = *weight++;
    a += (uint32_t)((int32_t)block[0] * own);
    b += (uint32_t)((int32_t)block[1] * own);
    c += (uint32_t)((int32_t)block[2] * own);
    d += (uint32_t)((int32_t)block[3] * own);
    weights += (uint32_t)own;
  }
  weights *= VALUE_BIAS;
  sums[0] += a - weights;
  sums[1] += b - weights;
  sums[2] += c - weights;
  sums[3] += d - weights;
}

static void sum_rows(const two_rows *rows, uint32_t sums[2 * TINYOPS_BLOCK_PIXELS]) {
  sum_row(rows->block, rows->first, rows->taps, sums);
  if (rows->second != rows->first) {
    sum_row(rows->block, rows->second, rows->taps, sums + TINYOPS_BLOCK_PIXELS);
  } else {
    memcpy(sums + TINYOPS_BLOCK_PIXELS, sums, TINYOPS_BLOCK_PIXELS * sizeof *sums);
  }
}
#else
TINYOPS_APART static void sum_rows(const two_rows *rows,
                                   uint32_t sums[2 * TINYOPS_BLOCK_PIXELS]) {
  const int8_t *value = (const int8_t *)rows->block;
  const int8_t *end = value + TINYOPS_BLOCK_PIXELS * rows->taps;
  const int8_t *first = (const int8_t *)rows->first, *second = (const int8_t *)rows->second;
  uint32_t a0 = 0, a1 = 0, a2 = 0, a3 = 0, b0 = 0, b1 = 0, b2 = 0, b3 = 0;
  for (; value != end; value += TINYOPS_BLOCK_PIXELS) {
    const int32_t x = *first++, y = *second++;
    a0 += (uint32_t)(value[0] * x);
    b0 += (uint32_t)(value[0] * y);
    a1 += (uint32_t)(value[1] * x);
    b1 += (uint32_t)(value[1] * y);
    a2 += (uint32_t)(value[2] * x);
    b2 += (uint32_t)(value[2] * y);
    a3 += (uint32_t)(value[3] * x);
    b3 += (uint32_t)(value[3] * y);
  }
  sums[0] += a0;
  sums[1] += a1;
  sums[2] += a2;
  sums[3] += a3;
  sums[4] += b0;
  sums[5] += b1;
  sums[6] += b2;
  sums[7] += b3;
}
#endif
#endif
#endif

/* Puts the inputs under the filter at one output pixel into one piece, or into a lane of a block. */
static void gather(const tinyops_call *call, uint32_t pixel, uint32_t lane, uint8_t *to) {
  const tinyops_op *op = call->op;
  const int32_t height = call->input.shape[1], width = call->input.shape[2];
  const size_t channels = call->input.shape[3];
  const uint32_t columns = call->output.shape[2];
  const uint8_t zero = (uint8_t)call->input.zero_point;
  const int32_t top = tinyops_window_start(op, 0, pixel / columns);
  const int32_t left = tinyops_window_start(op, 1, pixel % columns);
  const int32_t kernel_width = op->kernel[1];
  const size_t tap_step = channels * step_of(lane), row_step = (size_t)kernel_width * tap_step;
  int32_t row, column;
  for (row = 0; row < op->kernel[0]; row++, to += row_step) {
    const int32_t y = top + row * op->dilation[0];
    const uint8_t *line;
    if (y < 0 || y >= height) {
      put_values(&zero, 0, (size_t)kernel_width * channels, lane, to);
      continue;
    }
    line = call->in + (size_t)y * (size_t)width * channels;
    if (op->dilation[1] == 1 && left >= 0 && left + kernel_width <= width) {
      put_values(line + (size_t)left * channels, 1, (size_t)kernel_width * channels, lane, to);
      continue;
    }
    for (column = 0; column < kernel_width; column++) {
      const int32_t x = left + column * op->dilation[1];
      const bool is_there = x >= 0 && x < width;
      put_values(is_there ? line + (size_t)x * channels : &zero, is_there ? 1 : 0, channels, lane,
                 to + (size_t)column * tap_step);
    }
  }
}

/* One row of a filter over one patch. Sums of products of bytes stay in 31 bits up to 2^16 taps and
 * wrap beyond. */
static int32_t dot(const uint8_t *patch, const uint8_t *row, size_t taps) {
  const int8_t *value = (const int8_t *)patch, *weight = (const int8_t *)row;
  uint32_t sum = 0;
  size_t tap;
  for (tap = 0; tap < taps; tap++) sum += (uint32_t)((int32_t)value[tap] * weight[tap]);
  return (int32_t)sum;
}

/* What does not change from block to block. */
typedef struct conv {
  const tinyops_call *call;
  const uint8_t *filter;
  tinyops_channels channels;
  size_t taps;
  size_t row_bytes;
#ifndef TINYOPS_ARM_DSP
  /* The numbers of the first channels, of more than there is room for those at work. */
  tinyops_kept *kept;
#endif
} conv;

/* A pixel that is alone: one dot product for each output channel. */
static void make_pixel(const conv *layer, uint32_t pixel) {
  const tinyops_call *call = layer->call;
  const uint32_t count = call->output.shape[3];
  uint8_t *out = call->out + (size_t)pixel * count;
  uint32_t channel;
  gather(call, pixel, NO_LANE, call->scratch);
  for (channel = 0; channel < count; channel++) {
    const int32_t sum =
        dot(call->scratch, layer->filter + channel * layer->row_bytes, layer->taps);
    const tinyops_channel own = tinyops_channels_at(&layer->channels, channel);
    out[channel] = tinyops_channel_finish(&layer->channels, &own, sum);
  }
}

#ifndef TINYOPS_ARM_DSP
/* Four pixels side by side, whose patches lie inside the input; false, with nothing done, of
 * others. */
static bool put_side_by_side(const tinyops_call *call, uint32_t pixel, uint8_t *block) {
  const tinyops_op *op = call->op;
  const int32_t height = call->input.shape[1], width = call->input.shape[2];
  const size_t channels = call->input.shape[3];
  const uint32_t columns = call->output.shape[2];
  const int32_t reach = (op->kernel[0] - 1) * op->dilation[0] + 1;
  const size_t len = op->kernel[1] * channels, step = op->stride[1] * channels;
  int32_t top, left, row;
  if (tinyops_is_pointwise(call)) {
    put_four(call->in + pixel * channels, channels, channels, block);
    return true;
  }
  if (op->dilation[1] != 1 || pixel % columns + TINYOPS_BLOCK_PIXELS > columns) return false;
  top = tinyops_window_start(op, 0, pixel / columns);
  left = tinyops_window_start(op, 1, pixel % columns);
  if (top < 0 || top + reach > height || left < 0 ||
      left + 3 * op->stride[1] + op->kernel[1] > width) {
    return false;
  }
  for (row = 0; row < op->kernel[0]; row++, block += len * step_of(0)) {
    const size_t y = (size_t)(top + row * op->dilation[0]);
    put_four(call->in + (y * (size_t)width + (size_t)left) * channels, len, step, block);
  }
  return true;
}

/* The bytes of one channel of a block's pixels, which lie at offsets; those without a pixel of their
 * own go where the last one's goes, before it. */
static inline void put_bytes(const tinyops_kept *kept, tinyops_scale scale, const uint32_t sums[4],
                             uint8_t *out, const size_t offsets[4]) {
  uint32_t pixel = TINYOPS_BLOCK_PIXELS;
  while (pixel-- > 0) {
    const int32_t sum = (int32_t)((uint32_t)scale.bias + sums[pixel]);
    out[offsets[pixel]] = TINYOPS_LONG_PRODUCTS && kept->is_low
                              ? tinyops_finish_low(scale, sum, kept->zero_point)
                              : tinyops_finish(scale, sum, kept->zero_point);
  }
}

#if TINYOPS_LONG_PRODUCTS
/* The same of two pairs, where tinyops_kept.is_low. */
static inline void put_pairs(int32_t zero_point, tinyops_scale scale, const int64_t pairs[2],
                             uint8_t *out, const size_t offsets[4]) {
  const uint32_t bias = (uint32_t)scale.bias;
  const int64_t second = pairs[1], first = pairs[0];
  out[offsets[3]] = tinyops_finish_low(scale, (int32_t)(bias + upper_of(second)), zero_point);
  out[offsets[2]] = tinyops_finish_low(scale, (int32_t)(bias + lower_of(second)), zero_point);
  out[offsets[1]] = tinyops_finish_low(scale, (int32_t)(bias + upper_of(first)), zero_point);
  out[0] = tinyops_finish_low(scale, (int32_t)(bias + lower_of(first)), zero_point);
}
#endif

/* Two channels of a block's pixels. Where they are one, it goes to its place twice. */
static void make_two(const two_rows *rows, const tinyops_kept *kept, const tinyops_scale *first,
                     const tinyops_scale *second, uint8_t *out, const size_t offsets[4]) {
  uint32_t sums[2 * TINYOPS_BLOCK_PIXELS], index;
#if TINYOPS_LONG_PRODUCTS
  if (kept->is_low && rows->taps <= PAIR_TAPS) {
    int64_t pairs[4];
    sum_pairs(rows->block, (const int8_t *)rows->first, (const int8_t *)rows->second, rows->taps,
              pairs);
    put_pairs(kept->zero_point, *second, pairs + 2, out + (second - first), offsets);
    put_pairs(kept->zero_point, *first, pairs, out, offsets);
    return;
  }
#endif
  for (index = 0; index < 2 * TINYOPS_BLOCK_PIXELS; index++) sums[index] = 0;
  sum_rows(rows, sums);
  put_bytes(kept, *second, sums + TINYOPS_BLOCK_PIXELS, out + (second - first), offsets);
  put_bytes(kept, *first, sums, out, offsets);
}

/* Up to four pixels after each other: their patches lie in lanes, so that a weight is read once for
 * all. What lies in lanes without a pixel makes sums that nobody takes. */
static void make_block(const conv *layer, uint32_t first, uint32_t pixels) {
  const tinyops_call *call = layer->call;
  const uint32_t count = call->output.shape[3];
  uint8_t *block = call->scratch, *out = call->out + (size_t)first * count;
  size_t offsets[TINYOPS_BLOCK_PIXELS];
  two_rows rows;
  uint32_t pixel, channel, some;
  if (pixels < TINYOPS_BLOCK_PIXELS || !put_side_by_side(call, first, block)) {
    for (pixel = 0; pixel < pixels; pixel++) gather(call, first + pixel, pixel, block);
  }
  for (pixel = 0; pixel < TINYOPS_BLOCK_PIXELS; pixel++) {
    offsets[pixel] = tinyops_lesser(pixel, pixels - 1) * (size_t)count;
  }
  rows.block = block;
  rows.taps = layer->taps;
  rows.first = layer->filter;
  for (channel = 0; channel < count; channel += some) {
    const tinyops_scale *scale = layer->kept->scales, *last;
    some = tinyops_lesser(count - channel, TINYOPS_KEPT_MAX);
    if (count > TINYOPS_KEPT_MAX) tinyops_keep(layer->kept, &layer->channels, channel, some);
    last = scale + some - 1;
    for (; scale <= last; scale += 2, out += 2, rows.first += 2 * layer->row_bytes) {
      const tinyops_scale *next = scale == last ? scale : scale + 1;
      rows.second = scale == last ? rows.first : rows.first + layer->row_bytes;
      make_two(&rows, layer->kept, scale, next, out, offsets);
    }
  }
}
#endif

/* Some pixels after each other. */
static void make_piece(const conv *layer, uint32_t first, uint32_t end) {
  while (first < end) {
#ifdef TINYOPS_ARM_DSP
    /* Only what the kernels of the extension have left comes here. */
    const uint32_t pixels = 1;
#else
    const uint32_t some = tinyops_lesser(end - first, TINYOPS_BLOCK_PIXELS);
    const uint32_t pixels = has_blocks(layer->call) ? some : 1;
    if (pixels > 1) make_block(layer, first, pixels);
#endif
    if (pixels == 1) make_pixel(layer, first);
    first += pixels;
  }
}

static void convolve(const tinyops_call *call, const uint8_t *filter) {
  const uint32_t count = call->output.shape[3], pixels = call->output.len / count;
  const uint32_t lag = call->sum == NULL ? pixels : (uint32_t)(call->sum->lag / count);
  conv layer;
  uint32_t first, end;
#ifndef TINYOPS_ARM_DSP
  tinyops_kept kept;
#endif
  layer.call = call;
  layer.filter = filter;
  layer.channels = tinyops_channels_of(call);
  layer.taps = (size_t)tinyops_op_taps(call->op, call->input.shape);
  layer.row_bytes = (size_t)tinyops_round_up(layer.taps, TINYOPS_QUAD);
#ifndef TINYOPS_ARM_DSP
  tinyops_keep(&kept, &layer.channels, 0, tinyops_lesser(count, TINYOPS_KEPT_MAX));
  layer.kept = &kept;
#endif
  /* A sum takes pixels as soon as so many are made. */
  for (first = 0; first < pixels; first = end) {
    const size_t start = (size_t)first * count;
    end = first + tinyops_lesser(pixels - first, lag);
    make_piece(&layer, first, end);
    tinyops_clamp_bytes(call->op, call->out + start, (size_t)(end - first) * count);
    if (call->sum != NULL) call->sum->add(call->sum, start, (size_t)(end - first) * count);
  }
}

#ifndef TINYOPS_ARM_DSP
/* One value of a quad by its weights in four rows. */
#define ADD_VALUE(index)                                      \
  {                                                           \
    const int32_t own = value[index];                         \
    a += (uint32_t)(own * w[index]);                          \
    b += (uint32_t)(own * w[TINYOPS_QUAD + (index)]);         \
    c += (uint32_t)(own * w[2 * TINYOPS_QUAD + (index)]);     \
    d += (uint32_t)(own * w[3 * TINYOPS_QUAD + (index)]);     \
  }

/* The products of whole quads of values and the four rows of a group, added to sums; answers where the
 * group goes on. */
TINYOPS_APART static const uint8_t *add_quads(const uint8_t *values, size_t quads,
                                              const uint8_t *group,
                                              uint32_t sums[TINYOPS_GROUP_ROWS]) {
  const int8_t *value = (const int8_t *)values, *end = value + TINYOPS_QUAD * quads;
  const int8_t *w = (const int8_t *)group;
  uint32_t a = sums[0], b = sums[1], c = sums[2], d = sums[3];
  for (; value != end; value += TINYOPS_QUAD, w += TINYOPS_QUAD * TINYOPS_GROUP_ROWS) {
#if TINYOPS_NARROW_PRODUCTS
    /* A core without a load that extends signs has too few registers for four at once. */
    uint32_t index;
    for (index = 0; index < TINYOPS_QUAD; index++) ADD_VALUE(index)
#else
    ADD_VALUE(0) ADD_VALUE(1) ADD_VALUE(2) ADD_VALUE(3)
#endif
  }
  sums[0] = a;
  sums[1] = b;
  sums[2] = c;
  sums[3] = d;
  return (const uint8_t *)w;
}

/* A dense layer, whose filter has the quads of four rows interleaved. */
static void dense(const tinyops_call *call, const uint8_t *filter) {
  const tinyops_channels channels = tinyops_channels_of(call);
  const uint32_t count = call->output.shape[3], values = call->input.shape[3];
  const uint32_t whole = values / TINYOPS_QUAD, rest = values % TINYOPS_QUAD;
  uint8_t last[TINYOPS_QUAD] = {0};
  uint32_t first, row;
  memcpy(last, call->in + TINYOPS_QUAD * (size_t)whole, rest);
  for (first = 0; first < count; first += TINYOPS_GROUP_ROWS) {
    const uint32_t some = tinyops_lesser(count - first, TINYOPS_GROUP_ROWS);
    uint32_t sums[TINYOPS_GROUP_ROWS] = {0};
    filter = add_quads(call->in, whole, filter, sums);
    if (rest > 0) filter = add_quads(last, 1, filter, sums);
    for (row = 0; row < some; row++) {
      const tinyops_channel own = tinyops_channels_at(&channels, first + row);
      call->out[first + row] = tinyops_channel_finish(&channels, &own, (int32_t)sums[row]);
    }
  }
  if (call->sum != NULL) call->sum->add(call->sum, 0, count);
}
#endif

static void run(const tinyops_call *call) {
  const uint8_t *filter = call->plan->constants + call->op->weights_offset;
  const bool is_dense = tinyops_op_is_dense(call->op, call->output.shape);
#ifdef TINYOPS_ARM_DSP
  if (is_dense) {
    tinyops_dsp_dense(call, filter);
  } else if (!tinyops_dsp_convolve(call, filter)) {
    convolve(call, filter);
  }
#else
  if (is_dense) {
    dense(call, filter);
  } else {
    convolve(call, filter);
  }
#endif
}

const tinyops_operator tinyops_conv_2d = {
    TINYOPS_CODE_CONV_2D,
    false,
    false,
    TINYOPS_SECOND_NONE,
    TINYOPS_FLAG_ONE_MULTIPLIER | TINYOPS_FLAG_PACKED | TINYOPS_FLAG_SUM,
    0,
    tinyops_channels_are_sound,
    run,
    NULL,
};
