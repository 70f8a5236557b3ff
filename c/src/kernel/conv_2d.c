/* Convolution over height and width; a dense layer is its case of one pixel.
 *
 * out[y][x][o] = clamp(zp + rescale(bias[o] + sum in[...] * w[o][...])). The input's zero point is
 * folded into the bias, and a tap in the padding reads that zero point: so one gathered patch serves
 * every output channel without a special case at borders. Patches are gathered whole before their
 * pixels are written, so the output may trail the input. */
#include <string.h>

#include "../sum.h"
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

/* Puts a patch of bytes into a lane of a block. */
static void put_lane(const uint8_t *patch, size_t taps, uint32_t lane, uint8_t *block) {
  size_t tap;
  block += lane;
  for (tap = 0; tap < taps; tap++) block[TINYOPS_BLOCK_PIXELS * tap] = patch[tap];
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

/* Up to four pixels after each other: their patches lie in lanes, so that a weight is read once for
 * all. What lies in lanes without a pixel makes sums that nobody takes. */
static void make_block(const conv *layer, uint32_t first, uint32_t pixels) {
  const tinyops_call *call = layer->call;
  const uint32_t count = call->output.shape[3];
  uint8_t *block = call->scratch + layer->row_bytes;
  uint8_t *out = call->out + (size_t)first * count;
  uint32_t pixel, channel;
  for (pixel = 0; pixel < pixels; pixel++) {
    gather(call, first + pixel, call->scratch);
    put_lane(call->scratch, layer->taps, pixel, block);
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

/* Some pixels after each other. */
static void make_piece(const conv *layer, uint32_t first, uint32_t end) {
  while (first < end) {
    const uint32_t pixels = tinyops_lesser(end - first, TINYOPS_BLOCK_PIXELS);
    if (pixels == 1) {
      make_pixel(layer, first);
    } else {
      make_block(layer, first, pixels);
    }
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

/* A dense layer, whose filter has the quads of four rows interleaved. */
static void dense(const tinyops_call *call, const uint8_t *filter) {
  const tinyops_channels channels = tinyops_channels_of(call);
  const uint32_t count = call->output.shape[3], values = call->input.shape[3];
  uint32_t first;
  for (first = 0; first < count; first += TINYOPS_GROUP_ROWS) {
    uint32_t some = count - first < TINYOPS_GROUP_ROWS ? count - first : TINYOPS_GROUP_ROWS;
    uint32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0, quad, place;
    const int8_t *value = (const int8_t *)call->in;
    const int8_t *weight = (const int8_t *)filter;
    int32_t sums[TINYOPS_GROUP_ROWS];
    for (quad = 0; quad < values / TINYOPS_QUAD; quad++) {
      for (place = 0; place < TINYOPS_QUAD; place++) {
        int32_t x = value[place];
        s0 += (uint32_t)(x * weight[place]);
        s1 += (uint32_t)(x * weight[TINYOPS_QUAD + place]);
        s2 += (uint32_t)(x * weight[2 * TINYOPS_QUAD + place]);
        s3 += (uint32_t)(x * weight[3 * TINYOPS_QUAD + place]);
      }
      value += TINYOPS_QUAD;
      weight += TINYOPS_QUAD * TINYOPS_GROUP_ROWS;
    }
    for (place = 0; place < values % TINYOPS_QUAD; place++) {
      int32_t x = value[place];
      s0 += (uint32_t)(x * weight[place]);
      s1 += (uint32_t)(x * weight[TINYOPS_QUAD + place]);
      s2 += (uint32_t)(x * weight[2 * TINYOPS_QUAD + place]);
      s3 += (uint32_t)(x * weight[3 * TINYOPS_QUAD + place]);
    }
    sums[0] = (int32_t)s0;
    sums[1] = (int32_t)s1;
    sums[2] = (int32_t)s2;
    sums[3] = (int32_t)s3;
    tinyops_channels_finish(&channels, first, sums, some, call->out + first);
    filter += (size_t)tinyops_round_up(values, TINYOPS_QUAD) * TINYOPS_GROUP_ROWS;
  }
  if (call->sum != NULL) call->sum->add(call->sum, 0, count);
}

static void run(const tinyops_call *call) {
  const uint8_t *filter = call->plan->constants + call->op->weights_offset;
  if (tinyops_op_is_dense(call->op, call->output.shape)) {
    dense(call, filter);
  } else {
    convolve(call, filter);
  }
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
