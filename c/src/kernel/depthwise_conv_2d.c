/* Depthwise convolution: each output channel sees one input channel.
 *
 * out[y][x][c*m + k] = clamp(zp + rescale(bias + sum (in[...][c] - zp_in) * w[...][c*m + k])). The
 * zero point is folded into the bias for all taps, so a tap in the padding adds zp_in * w to be worth
 * nothing. */
#include "channels.h"

#ifdef TINYOPS_ARM_DSP
#include "arm_dsp.h"
#endif

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

/* Whether a window lies in the input as a whole. */
static bool is_inside(const tinyops_call *call, int32_t top, int32_t left) {
  const tinyops_op *op = call->op;
  return top >= 0 && left >= 0 &&
         top + (op->kernel[0] - 1) * op->dilation[0] < call->input.shape[1] &&
         left + (op->kernel[1] - 1) * op->dilation[1] < call->input.shape[2];
}

/* The sums of four channels of one pixel whose window lies inside, one output for each input. */
static void sum_inside(const depthwise *layer, int32_t top, int32_t left, uint32_t first,
                       int32_t sums[LANES]) {
  const tinyops_call *call = layer->call;
  const tinyops_op *op = call->op;
  const size_t count = call->output.shape[3], line = call->input.shape[2] * count;
  const size_t row_step = op->dilation[0] * line, column_step = op->dilation[1] * count;
  const int8_t *values = (const int8_t *)call->in + (size_t)top * line + (size_t)left * count + first;
  const int8_t *tap = (const int8_t *)layer->filter + first;
  uint32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0;
  uint32_t row, column;
  for (row = 0; row < op->kernel[0]; row++, values += row_step) {
    const int8_t *value = values;
    for (column = op->kernel[1]; column > 0; column--, value += column_step, tap += count) {
#ifdef TINYOPS_ARM_DSP
      const int32_t four = tinyops_load_word(value), weights = tinyops_load_word(tap);
      const int32_t v_even = tinyops_even(four), v_odd = tinyops_odd(four);
      const int32_t w_even = tinyops_even(weights), w_odd = tinyops_odd(weights);
      s0 = (uint32_t)__smlabb(v_even, w_even, (int32_t)s0);
      s1 = (uint32_t)__smlabb(v_odd, w_odd, (int32_t)s1);
      s2 = (uint32_t)__smlatt(v_even, w_even, (int32_t)s2);
      s3 = (uint32_t)__smlatt(v_odd, w_odd, (int32_t)s3);
#else
      s0 += (uint32_t)(value[0] * tap[0]);
      s1 += (uint32_t)(value[1] * tap[1]);
      s2 += (uint32_t)(value[2] * tap[2]);
      s3 += (uint32_t)(value[3] * tap[3]);
#endif
    }
  }
  sums[0] = (int32_t)s0;
  sums[1] = (int32_t)s1;
  sums[2] = (int32_t)s2;
  sums[3] = (int32_t)s3;
}

static void run(const tinyops_call *call) {
  const tinyops_op *op = call->op;
  const uint32_t height = call->output.shape[1], width = call->output.shape[2];
  const uint32_t count = call->output.shape[3];
  depthwise layer;
  uint32_t index, x, first;
  layer.call = call;
  layer.filter = call->plan->constants + op->weights_offset;
  layer.channels = tinyops_channels_of(call);
  layer.multiplier = count / call->input.shape[3];
  for (index = 0; index < height; index++) {
    const uint32_t y = tinyops_row(op, index, height);
    const int32_t top = tinyops_window_start(op, 0, y);
    for (x = 0; x < width; x++) {
      const int32_t left = tinyops_window_start(op, 1, x);
      const bool is_plain = layer.multiplier == 1 && is_inside(call, top, left);
      uint8_t *pixel = call->out + ((size_t)y * width + x) * count;
      for (first = 0; first < count; first += LANES) {
        int32_t sums[LANES] = {0};
        const uint32_t some = count - first < LANES ? count - first : LANES;
        if (is_plain && some == LANES) {
          sum_inside(&layer, top, left, first, sums);
        } else {
          sum_block(&layer, top, left, first, some, sums);
        }
        tinyops_channels_finish(&layer.channels, first, sums, some, pixel + first);
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
