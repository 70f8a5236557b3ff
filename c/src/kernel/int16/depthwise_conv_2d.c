/* Depthwise convolution over int16; padding adds nothing. */
#include "channels.h"

/* What does not change from pixel to pixel. */
typedef struct depthwise {
  const tinyops_call *call;
  const uint8_t *filter;
  tinyops_wide_channels channels;
  uint32_t multiplier;
} depthwise;

static int64_t sum_channel(const depthwise *layer, int32_t top, int32_t left, uint32_t channel) {
  const tinyops_call *call = layer->call;
  const tinyops_op *op = call->op;
  const size_t width = call->input.shape[2], channels = call->input.shape[3];
  const size_t count = call->output.shape[3];
  const tinyops_taps rows =
      tinyops_taps_inside(top, op->kernel[0], op->dilation[0], call->input.shape[1]);
  const tinyops_taps columns =
      tinyops_taps_inside(left, op->kernel[1], op->dilation[1], call->input.shape[2]);
  int64_t sum = 0;
  int32_t row, column;
  for (row = rows.first; row < rows.end; row++) {
    const size_t line = (size_t)(top + row * op->dilation[0]) * width;
    for (column = columns.first; column < columns.end; column++) {
      const size_t pixel = line + (size_t)(left + column * op->dilation[1]);
      const size_t tap = (size_t)(row * op->kernel[1] + column) * count;
      const size_t value = pixel * channels + channel / layer->multiplier;
      sum += tinyops_read_i16(call->in + 2 * value) * tinyops_int8(layer->filter[tap + channel]);
    }
  }
  return sum;
}

static void run(const tinyops_call *call) {
  const tinyops_op *op = call->op;
  const uint32_t height = call->output.shape[1], width = call->output.shape[2];
  const uint32_t count = call->output.shape[3];
  depthwise layer;
  uint32_t index, x, channel;
  layer.call = call;
  layer.filter = call->plan->constants + op->weights_offset;
  layer.channels = tinyops_wide_channels_of(call->plan, op);
  layer.multiplier = count / call->input.shape[3];
  for (index = 0; index < height; index++) {
    const uint32_t y = tinyops_row(op, index, height);
    const int32_t top = tinyops_window_start(op, 0, y);
    for (x = 0; x < width; x++) {
      const int32_t left = tinyops_window_start(op, 1, x);
      uint8_t *pixel = call->out + 2 * ((size_t)y * width + x) * count;
      for (channel = 0; channel < count; channel++) {
        const int64_t sum = sum_channel(&layer, top, left, channel);
        tinyops_write_i16(pixel + 2 * (size_t)channel,
                          tinyops_wide_channels_finish(&layer.channels, channel, sum));
      }
    }
  }
}

const tinyops_operator tinyops_depthwise_conv_2d_int16 = {
    TINYOPS_CODE_DEPTHWISE_CONV_2D,
    true,
    false,
    TINYOPS_SECOND_NONE,
    TINYOPS_FLAG_ONE_MULTIPLIER | TINYOPS_FLAG_WIDE_BIAS | TINYOPS_FLAG_NARROW_SUM,
    0,
    tinyops_wide_channels_are_sound,
    run,
    NULL,
};
