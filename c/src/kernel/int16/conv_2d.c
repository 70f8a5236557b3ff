/* Convolutions and dense layers over int16, with filters of int8 and sums of 64 bits.
 *
 * out[y][x][o] = clamp(rescale(bias[o] + sum in[...] * w[o][...])); padding adds nothing. */
#include "channels.h"

/* Products of int16 and int8 that 32 bits can sum: each is at most 2^22. */
#define SUMMED 256u

static int64_t dot(const uint8_t *values, const uint8_t *weights, size_t count) {
  int64_t sum = 0;
  size_t at = 0;
  while (at < count) {
    const size_t end = count - at < SUMMED ? count : at + SUMMED;
    int32_t part = 0;
    for (; at < end; at++) part += tinyops_read_i16(values + 2 * at) * tinyops_int8(weights[at]);
    sum += part;
  }
  return sum;
}

/* The window of one output pixel, as far as it lies inside the input. */
typedef struct window {
  tinyops_taps rows;
  tinyops_taps columns;
  int32_t top;
  int32_t left;
} window;

static int64_t sum_window(const tinyops_call *call, const window *inside, const uint8_t *weights) {
  const tinyops_op *op = call->op;
  const size_t width = call->input.shape[2], channels = call->input.shape[3];
  int64_t sum = 0;
  int32_t row, column;
  for (row = inside->rows.first; row < inside->rows.end; row++) {
    const size_t line = (size_t)(inside->top + row * op->dilation[0]) * width;
    const uint8_t *taps = weights + (size_t)row * op->kernel[1] * channels;
    if (op->dilation[1] == 1 && inside->columns.first < inside->columns.end) {
      /* The taps of a row lie after each other. */
      const size_t first = (size_t)inside->columns.first;
      const size_t count = (size_t)(inside->columns.end - inside->columns.first) * channels;
      const size_t from = line + (size_t)(inside->left + inside->columns.first);
      sum += dot(call->in + 2 * from * channels, taps + first * channels, count);
      continue;
    }
    for (column = inside->columns.first; column < inside->columns.end; column++) {
      const size_t from = line + (size_t)(inside->left + column * op->dilation[1]);
      sum += dot(call->in + 2 * from * channels, taps + (size_t)column * channels, channels);
    }
  }
  return sum;
}

static void convolve(const tinyops_call *call, const uint8_t *filter) {
  const tinyops_op *op = call->op;
  const tinyops_wide_channels channels = tinyops_wide_channels_of(call->plan, op);
  const uint32_t height = call->output.shape[1], width = call->output.shape[2];
  const uint32_t count = call->output.shape[3];
  const size_t row_bytes =
      (size_t)tinyops_round_up(tinyops_op_taps(op, call->input.shape), TINYOPS_QUAD);
  uint32_t index, x, channel;
  for (index = 0; index < height; index++) {
    const uint32_t y = tinyops_row(op, index, height);
    window inside;
    inside.top = tinyops_window_start(op, 0, y);
    inside.rows =
        tinyops_taps_inside(inside.top, op->kernel[0], op->dilation[0], call->input.shape[1]);
    for (x = 0; x < width; x++) {
      uint8_t *pixel = call->out + 2 * ((size_t)y * width + x) * count;
      inside.left = tinyops_window_start(op, 1, x);
      inside.columns =
          tinyops_taps_inside(inside.left, op->kernel[1], op->dilation[1], call->input.shape[2]);
      for (channel = 0; channel < count; channel++) {
        const int64_t sum = sum_window(call, &inside, filter + channel * row_bytes);
        tinyops_write_i16(pixel + 2 * (size_t)channel,
                          tinyops_wide_channels_finish(&channels, channel, sum));
      }
    }
  }
}

/* A dense layer, whose filter has the quads of four rows interleaved. */
static void dense(const tinyops_call *call, const uint8_t *filter) {
  const tinyops_wide_channels channels = tinyops_wide_channels_of(call->plan, call->op);
  const size_t values = call->input.shape[3];
  const size_t group_bytes =
      (size_t)tinyops_round_up(values, TINYOPS_QUAD) * TINYOPS_GROUP_ROWS;
  uint32_t channel;
  for (channel = 0; channel < call->output.shape[3]; channel++) {
    const uint8_t *row = filter + channel / TINYOPS_GROUP_ROWS * group_bytes +
                         channel % TINYOPS_GROUP_ROWS * TINYOPS_QUAD;
    int64_t sum = 0;
    size_t at;
    for (at = 0; at < values; at += TINYOPS_QUAD) {
      const size_t some = values - at < TINYOPS_QUAD ? values - at : TINYOPS_QUAD;
      sum += dot(call->in + 2 * at, row + at * TINYOPS_GROUP_ROWS, some);
    }
    tinyops_write_i16(call->out + 2 * (size_t)channel,
                      tinyops_wide_channels_finish(&channels, channel, sum));
  }
}

static void run(const tinyops_call *call) {
  const uint8_t *filter = call->plan->constants + call->op->weights_offset;
  if (tinyops_op_is_dense(call->op, call->output.shape)) {
    dense(call, filter);
  } else {
    convolve(call, filter);
  }
}

const tinyops_operator tinyops_conv_2d_int16 = {
    TINYOPS_CODE_CONV_2D,
    true,
    false,
    TINYOPS_SECOND_NONE,
    TINYOPS_FLAG_ONE_MULTIPLIER | TINYOPS_FLAG_WIDE_BIAS | TINYOPS_FLAG_NARROW_SUM,
    0,
    tinyops_wide_channels_are_sound,
    run,
    NULL,
};
