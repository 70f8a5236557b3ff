/* Depthwise convolution: each output channel sees one input channel.
 *
 * out[y][x][c*m + k] = clamp(zp + rescale(bias + sum (in[...][c] - zp_in) * w[...][c*m + k])). The
 * zero point is folded into the bias for all taps, so a tap in the padding adds zp_in * w to be worth
 * nothing. */
#include "arm_dsp/arm_dsp.h"
#include "channels.h"

/* Output channels whose sums are kept at once. */
#define LANES 4u

static void add_padding(int32_t *sums, int32_t zero_point, const uint8_t *tap, uint32_t count) {
  uint32_t index;
  for (index = 0; index < count; index++) {
    sums[index] = tinyops_add_wrapping(sums[index], zero_point * tinyops_int8(tap[index]));
  }
}

static void add_products(int32_t *sums, const uint8_t *values, const uint8_t *tap,
                         uint32_t count) {
  uint32_t index;
  for (index = 0; index < count; index++) {
    int32_t product = tinyops_int8(values[index]) * tinyops_int8(tap[index]);
    sums[index] = tinyops_add_wrapping(sums[index], product);
  }
}

static void add_repeated(int32_t *sums, const uint8_t *values, const uint8_t *tap, uint32_t count,
                         uint32_t first, uint32_t multiplier) {
  uint32_t index;
  for (index = 0; index < count; index++) {
    int32_t value = tinyops_int8(values[(first + index) / multiplier]);
    sums[index] = tinyops_add_wrapping(sums[index], value * tinyops_int8(tap[index]));
  }
}

/* What does not change from pixel to pixel. */
typedef struct depthwise {
  const tinyops_call *call;
  const uint8_t *filter;
  tinyops_channels channels;
  uint32_t multiplier;
} depthwise;

/* The sums of some channels of one pixel, whose window begins at a row and a column. */
static void sum_block(const depthwise *layer, int32_t top, int32_t left, uint32_t first,
                      uint32_t count, int32_t *sums) {
  const tinyops_call *call = layer->call;
  const tinyops_op *op = call->op;
  const size_t width = call->input.shape[2], channels = call->input.shape[3];
  const tinyops_taps rows =
      tinyops_taps_inside(top, op->kernel[0], op->dilation[0], call->input.shape[1]);
  const tinyops_taps columns =
      tinyops_taps_inside(left, op->kernel[1], op->dilation[1], call->input.shape[2]);
  const uint8_t *tap = layer->filter + first;
  int32_t row, column;
  for (row = 0; row < op->kernel[0]; row++) {
    const bool has_row = row >= rows.first && row < rows.end;
    for (column = 0; column < op->kernel[1]; column++, tap += call->output.shape[3]) {
      size_t y, x;
      const uint8_t *values;
      if (!has_row || column < columns.first || column >= columns.end) {
        add_padding(sums, call->input.zero_point, tap, count);
        continue;
      }
      y = (size_t)(top + row * op->dilation[0]);
      x = (size_t)(left + column * op->dilation[1]);
      values = call->in + (y * width + x) * channels;
      if (layer->multiplier == 1) {
        add_products(sums, values + first, tap, count);
      } else {
        add_repeated(sums, values, tap, count, first, layer->multiplier);
      }
    }
  }
}

/* Adds the products of four channels of one tap. */
static inline void add_tap(uint32_t sums[LANES], const int8_t *value, const int8_t *tap) {
  sums[0] += (uint32_t)(value[0] * tap[0]);
  sums[1] += (uint32_t)(value[1] * tap[1]);
  sums[2] += (uint32_t)(value[2] * tap[2]);
  sums[3] += (uint32_t)(value[3] * tap[3]);
}

/* The sums of four channels of one pixel, one output for each input. A tap in the padding reads the
 * zero point. */
static void sum_lanes(const depthwise *layer, int32_t top, int32_t left, uint32_t first,
                      uint32_t sums[LANES]) {
  const tinyops_call *call = layer->call;
  const tinyops_op *op = call->op;
  const int32_t step_y = op->dilation[0], step_x = op->dilation[1];
  const int32_t height = call->input.shape[1], width = call->input.shape[2];
  const size_t count = call->output.shape[3];
  const int8_t *tap = (const int8_t *)layer->filter + first;
  const int8_t *in = (const int8_t *)call->in + first;
  const int32_t bottom = top + op->kernel[0] * step_y, right = left + op->kernel[1] * step_x;
  const int8_t zero = call->input.zero_point;
  const int8_t zeros[LANES] = {zero, zero, zero, zero};
  const size_t column_bytes = (size_t)step_x * count;
  int32_t x, y;
  for (y = top; y != bottom; y += step_y) {
    const bool has_row = y >= 0 && y < height;
    if (has_row && left >= 0 && right - step_x < width) {
      const int8_t *value = in + ((size_t)y * (size_t)width + (size_t)left) * count;
      for (x = left; x != right; x += step_x, value += column_bytes, tap += count) {
        add_tap(sums, value, tap);
      }
      continue;
    }
    for (x = left; x != right; x += step_x, tap += count) {
      const bool is_there = has_row && x >= 0 && x < width;
      add_tap(sums, is_there ? in + ((size_t)y * (size_t)width + (size_t)x) * count : zeros, tap);
    }
  }
}

/* Four channels of one row. */
static void make_lanes(const depthwise *layer, uint32_t y, uint32_t first) {
  const tinyops_call *call = layer->call;
  const uint32_t width = call->output.shape[2], count = call->output.shape[3];
  const int32_t top = tinyops_window_start(call->op, 0, y);
  uint8_t *out = call->out + (size_t)y * width * count + first;
  tinyops_channel own[LANES];
  uint32_t x, lane;
  for (lane = 0; lane < LANES; lane++) {
    own[lane] = tinyops_channels_at(&layer->channels, first + lane);
  }
  for (x = 0; x < width; x++, out += count) {
    uint32_t sums[LANES] = {0, 0, 0, 0};
    sum_lanes(layer, top, tinyops_window_start(call->op, 1, x), first, sums);
    for (lane = 0; lane < LANES; lane++) {
      out[lane] = tinyops_channel_finish(&layer->channels, &own[lane], (int32_t)sums[lane]);
    }
  }
}

/* Fewer channels of one row, or several outputs for each input. */
static void make_others(const depthwise *layer, uint32_t y, uint32_t first, uint32_t some) {
  const tinyops_call *call = layer->call;
  const uint32_t width = call->output.shape[2], count = call->output.shape[3];
  const int32_t top = tinyops_window_start(call->op, 0, y);
  uint8_t *out = call->out + (size_t)y * width * count + first;
  uint32_t x, lane;
  for (x = 0; x < width; x++, out += count) {
    int32_t sums[LANES] = {0, 0, 0, 0};
    sum_block(layer, top, tinyops_window_start(call->op, 1, x), first, some, sums);
    for (lane = 0; lane < some; lane++) {
      const tinyops_channel own = tinyops_channels_at(&layer->channels, first + lane);
      out[lane] = tinyops_channel_finish(&layer->channels, &own, sums[lane]);
    }
  }
}

/* Rows in their order; within a row any order does, since no row is written over what it needs. */
static void run(const tinyops_call *call) {
  const tinyops_op *op = call->op;
  const uint32_t height = call->output.shape[1], count = call->output.shape[3];
  depthwise layer;
  uint32_t index, first;
#ifdef TINYOPS_ARM_DSP
  if (tinyops_dsp_depthwise(call)) return;
#endif
  layer.call = call;
  layer.filter = call->plan->constants + op->weights_offset;
  layer.channels = tinyops_channels_of(call);
  layer.multiplier = count / call->input.shape[3];
  for (index = 0; index < height; index++) {
    const uint32_t y = tinyops_row(op, index, height);
    for (first = 0; first < count; first += LANES) {
      const uint32_t some = tinyops_lesser(count - first, LANES);
      if (layer.multiplier == 1 && some == LANES) {
        make_lanes(&layer, y, first);
      } else {
        make_others(&layer, y, first, some);
      }
    }
  }
}

const tinyops_operator tinyops_depthwise_conv_2d = {
    TINYOPS_CODE_DEPTHWISE_CONV_2D,
    false,
    false,
    TINYOPS_SECOND_NONE,
    TINYOPS_FLAG_ONE_MULTIPLIER | TINYOPS_FLAG_PACKED | TINYOPS_FLAG_BACKWARD,
    0,
    tinyops_channels_are_sound,
    run,
    NULL,
};
