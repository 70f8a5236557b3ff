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

/* Copies the inputs under the filter at one output pixel into one piece. */
static void gather(const tinyops_call *call, uint32_t pixel, uint8_t *patch) {
  const tinyops_op *op = call->op;
  const int32_t height = call->input.shape[1], width = call->input.shape[2];
  const size_t channels = call->input.shape[3];
  const uint32_t columns = call->output.shape[2];
  const uint8_t zero = (uint8_t)call->input.zero_point;
  const int32_t top = tinyops_window_start(op, 0, pixel / columns);
  const int32_t left = tinyops_window_start(op, 1, pixel % columns);
  const int32_t kernel_width = op->kernel[1];
  const size_t row_bytes = (size_t)kernel_width * channels;
  int32_t row, column;
  for (row = 0; row < op->kernel[0]; row++, patch += row_bytes) {
    int32_t y = top + row * op->dilation[0];
    const uint8_t *line;
    if (y < 0 || y >= height) {
      memset(patch, zero, row_bytes);
      continue;
    }
    line = call->in + (size_t)y * (size_t)width * channels;
    if (op->dilation[1] == 1 && left >= 0 && left + kernel_width <= width) {
      memcpy(patch, line + (size_t)left * channels, row_bytes);
      continue;
    }
    for (column = 0; column < kernel_width; column++) {
      int32_t x = left + column * op->dilation[1];
      uint8_t *tap = patch + (size_t)column * channels;
      if (x < 0 || x >= width) {
        memset(tap, zero, channels);
      } else {
        memcpy(tap, line + (size_t)x * channels, channels);
      }
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
} conv;

/* A pixel that is alone: one dot product for each output channel. */
static void make_pixel(const conv *layer, uint32_t pixel) {
  const tinyops_call *call = layer->call;
  const uint32_t count = call->output.shape[3];
  uint8_t *out = call->out + (size_t)pixel * count;
  uint32_t channel;
  gather(call, pixel, call->scratch);
  for (channel = 0; channel < count; channel++) {
    const int32_t sum =
        dot(call->scratch, layer->filter + channel * layer->row_bytes, layer->taps);
    tinyops_channels_finish_pixels(&layer->channels, channel, &sum, 1, out + channel, 0);
  }
}

#ifndef TINYOPS_ARM_DSP
/* A block is four patches of bytes, a tap of each after the other. */
static uint8_t *block_of(const tinyops_call *call, size_t row_bytes) {
  return call->scratch + row_bytes;
}

/* Puts a patch of bytes into a lane of a block. */
static void put_lane(const uint8_t *patch, size_t taps, uint32_t lane, uint8_t *block) {
  size_t tap;
  block += lane;
  for (tap = 0; tap < taps; tap++) block[TINYOPS_BLOCK_PIXELS * tap] = patch[tap];
}

static void put_pixel(const tinyops_call *call, uint32_t pixel, uint32_t index, size_t row_bytes,
                      size_t taps, uint8_t *block) {
  (void)row_bytes;
  gather(call, pixel, call->scratch);
  put_lane(call->scratch, taps, index, block);
}

/* Two rows of a filter over the four patches of a block. */
static void dot_block(const uint8_t *block, const uint8_t *first, const uint8_t *second,
                      size_t taps, int32_t sums[2 * TINYOPS_BLOCK_PIXELS]) {
  const int8_t *value = (const int8_t *)block, *end = value + TINYOPS_BLOCK_PIXELS * taps;
  const int8_t *a = (const int8_t *)first, *b = (const int8_t *)second;
  uint32_t a0 = 0, a1 = 0, a2 = 0, a3 = 0, b0 = 0, b1 = 0, b2 = 0, b3 = 0;
  for (; value != end; value += TINYOPS_BLOCK_PIXELS) {
    const int32_t x = *a++, y = *b++;
    a0 += (uint32_t)(value[0] * x);
    b0 += (uint32_t)(value[0] * y);
    a1 += (uint32_t)(value[1] * x);
    b1 += (uint32_t)(value[1] * y);
    a2 += (uint32_t)(value[2] * x);
    b2 += (uint32_t)(value[2] * y);
    a3 += (uint32_t)(value[3] * x);
    b3 += (uint32_t)(value[3] * y);
  }
  sums[0] = (int32_t)a0;
  sums[1] = (int32_t)a1;
  sums[2] = (int32_t)a2;
  sums[3] = (int32_t)a3;
  sums[4] = (int32_t)b0;
  sums[5] = (int32_t)b1;
  sums[6] = (int32_t)b2;
  sums[7] = (int32_t)b3;
}

/* The products of four values and the four rows of a quad of a dense filter. */
static inline void add_quad(const uint8_t *values, const uint8_t *weights, int32_t sums[4]) {
  const int8_t *w = (const int8_t *)weights;
  const int32_t a = tinyops_int8(values[0]), b = tinyops_int8(values[1]);
  const int32_t c = tinyops_int8(values[2]), d = tinyops_int8(values[3]);
  sums[0] = tinyops_add_wrapping(sums[0], a * w[0] + b * w[1] + c * w[2] + d * w[3]);
  sums[1] = tinyops_add_wrapping(sums[1], a * w[4] + b * w[5] + c * w[6] + d * w[7]);
  sums[2] = tinyops_add_wrapping(sums[2], a * w[8] + b * w[9] + c * w[10] + d * w[11]);
  sums[3] = tinyops_add_wrapping(sums[3], a * w[12] + b * w[13] + c * w[14] + d * w[15]);
}

/* Up to four pixels after each other: their patches lie in lanes, so that a weight is read once for
 * all. What lies in lanes without a pixel makes sums that nobody takes. */
static void make_block(const conv *layer, uint32_t first, uint32_t pixels) {
  const tinyops_call *call = layer->call;
  const uint32_t count = call->output.shape[3];
  uint8_t *block = block_of(call, layer->row_bytes);
  uint8_t *out = call->out + (size_t)first * count;
  uint32_t pixel, channel;
  for (pixel = 0; pixel < pixels; pixel++) {
    put_pixel(call, first + pixel, pixel, layer->row_bytes, layer->taps, block);
  }
  for (channel = 0; channel < count; channel += 2) {
    const uint8_t *row = layer->filter + channel * layer->row_bytes;
    const bool is_last = channel + 1 == count;
    int32_t sums[2 * TINYOPS_BLOCK_PIXELS];
    dot_block(block, row, is_last ? row : row + layer->row_bytes, layer->taps, sums);
    tinyops_channels_finish_pixels(&layer->channels, channel, sums, pixels, out + channel, count);
    if (is_last) break;
    tinyops_channels_finish_pixels(&layer->channels, channel + 1, sums + TINYOPS_BLOCK_PIXELS,
                                   pixels, out + channel + 1, count);
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
    const uint32_t pixels = tinyops_lesser(end - first, TINYOPS_BLOCK_PIXELS);
    if (pixels > 1) make_block(layer, first, pixels);
#endif
    if (pixels == 1) make_pixel(layer, first);
    first += pixels;
  }
}

static void convolve(const tinyops_call *call, const uint8_t *filter) {
  const uint32_t count = call->output.shape[3];
  const uint32_t pixels = call->output.len / count;
  conv layer;
  layer.call = call;
  layer.filter = filter;
  layer.channels = tinyops_channels_of(call);
  layer.taps = (size_t)tinyops_op_taps(call->op, call->input.shape);
  layer.row_bytes = (size_t)tinyops_round_up(layer.taps, TINYOPS_QUAD);
  if (call->sum == NULL) {
    make_piece(&layer, 0, pixels);
  } else {
    /* A sum takes pixels as soon as so many are made. */
    const uint32_t lag = (uint32_t)(call->sum->lag / count);
    uint32_t first = 0;
    while (first < pixels) {
      const uint32_t end = first + tinyops_lesser(pixels - first, lag);
      make_piece(&layer, first, end);
      call->sum->add(call->sum, (size_t)first * count, (size_t)(end - first) * count);
      first = end;
    }
  }
}

#ifndef TINYOPS_ARM_DSP
/* A dense layer, whose filter has the quads of four rows interleaved. */
static void dense(const tinyops_call *call, const uint8_t *filter) {
  const tinyops_channels channels = tinyops_channels_of(call);
  const uint32_t count = call->output.shape[3], values = call->input.shape[3];
  const uint32_t whole = values / TINYOPS_QUAD, rest = values % TINYOPS_QUAD;
  uint8_t last[TINYOPS_QUAD] = {0};
  uint32_t first, quad, row;
  memcpy(last, call->in + TINYOPS_QUAD * (size_t)whole, rest);
  for (first = 0; first < count; first += TINYOPS_GROUP_ROWS) {
    const uint32_t some = tinyops_lesser(count - first, TINYOPS_GROUP_ROWS);
    const uint8_t *value = call->in;
    int32_t sums[TINYOPS_GROUP_ROWS] = {0};
    for (quad = 0; quad < whole; quad++, value += TINYOPS_QUAD) {
      add_quad(value, filter, sums);
      filter += TINYOPS_QUAD * TINYOPS_GROUP_ROWS;
    }
    if (rest > 0) {
      add_quad(last, filter, sums);
      filter += TINYOPS_QUAD * TINYOPS_GROUP_ROWS;
    }
    for (row = 0; row < some; row++) {
      const tinyops_channel own = tinyops_channels_at(&channels, first + row);
      call->out[first + row] = tinyops_channel_finish(&channels, &own, sums[row]);
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
