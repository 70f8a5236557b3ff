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

#ifndef TINYOPS_ARM_DSP
/* The sums of four channels of one pixel, one output for each input. A tap in the padding reads the
 * zero point. */
static inline void sum_lanes(const depthwise *layer, int32_t top, int32_t left, uint32_t first,
                             uint32_t sums[LANES]) {
  const tinyops_call *call = layer->call;
  const tinyops_op *op = call->op;
  const int32_t height = call->input.shape[1], width = call->input.shape[2];
  const size_t count = call->output.shape[3];
  const int8_t *tap = (const int8_t *)layer->filter + first;
  const int8_t *in = (const int8_t *)call->in + first;
  const int8_t zero = call->input.zero_point;
  const int8_t zeros[LANES] = {zero, zero, zero, zero};
  const int32_t reach = (op->kernel[1] - 1) * op->dilation[1];
  const bool is_run = left >= 0 && left + reach < width;
  uint32_t a = 0, b = 0, c = 0, d = 0;
  int32_t row, y = top;
  for (row = 0; row < op->kernel[0]; row++, y += op->dilation[0]) {
    const bool has_row = y >= 0 && y < height;
    const int8_t *end = tap + op->kernel[1] * count, *value = zeros;
    size_t step = 0;
    int32_t x = left;
    if (has_row && is_run) {
      value = in + ((size_t)y * (size_t)width + (size_t)left) * count;
      step = op->dilation[1] * count;
    }
    for (; tap != end; tap += count, value += step, x += op->dilation[1]) {
      if (has_row && !is_run) {
        const bool is_there = x >= 0 && x < width;
        value = is_there ? in + ((size_t)y * (size_t)width + (size_t)x) * count : zeros;
      }
      a += (uint32_t)(value[0] * tap[0]);
      b += (uint32_t)(value[1] * tap[1]);
      c += (uint32_t)(value[2] * tap[2]);
      d += (uint32_t)(value[3] * tap[3]);
    }
  }
  sums[0] = a;
  sums[1] = b;
  sums[2] = c;
  sums[3] = d;
}

/* A sum with its bias as a byte. */
static inline uint8_t byte_of(const tinyops_kept *kept, tinyops_scale scale, uint32_t sum) {
  sum += (uint32_t)scale.bias;
  return TINYOPS_LONG_PRODUCTS && kept->is_low
             ? tinyops_finish_low(scale, (int32_t)sum, kept->zero_point)
             : tinyops_finish(scale, (int32_t)sum, kept->zero_point);
}

/* Four channels of one row; the numbers of those from `kept_first` on are kept. */
static void make_lanes(const depthwise *layer, const tinyops_kept *kept, uint32_t kept_first,
                       uint32_t y, uint32_t first) {
  const tinyops_call *call = layer->call;
  const uint32_t width = call->output.shape[2], count = call->output.shape[3];
  const int32_t top = tinyops_window_start(call->op, 0, y);
  const tinyops_scale *scale = kept->scales + (first - kept_first);
  uint8_t *out = call->out + (size_t)y * width * count + first;
  uint32_t x, lane;
  for (x = 0; x < width; x++, out += count) {
    uint32_t sums[LANES];
    sum_lanes(layer, top, tinyops_window_start(call->op, 1, x), first, sums);
    for (lane = 0; lane < LANES; lane++) out[lane] = byte_of(kept, scale[lane], sums[lane]);
  }
}

/* The most columns of three rows that are brought together. */
#define STRIP_COLUMNS 64u

/* Whether each channel of a row goes by itself, over a strip. */
static bool is_three(const tinyops_call *call) {
  const tinyops_op *op = call->op;
  return op->kernel[0] == 3 && op->kernel[1] == 3 && op->dilation[0] == 1 && op->dilation[1] == 1 &&
         op->stride[1] <= STRIP_COLUMNS / 2;
}

/* What lies under some pixels of a row: three rows of the input and columns from one on. Those
 * outside read the zero point. */
typedef struct strip {
  const int8_t *rows[3];
  /* From column to column: 0 of a row outside. */
  size_t steps[3];
  /* Columns before the input, in it, and after it. */
  uint32_t before;
  uint32_t inside;
  uint32_t after;
  int8_t zero_point;
} strip;

static int8_t *fill(int8_t *to, uint32_t count, int8_t value) {
  for (count *= 3; count > 0; count--) *to++ = value;
  return to;
}

/* Brings one channel of a strip together, column after column. */
TINYOPS_APART static void bring(const strip *from, uint32_t channel, int8_t *to) {
  const size_t step_a = from->steps[0], step_b = from->steps[1], step_c = from->steps[2];
  const int8_t *a = from->rows[0] + (step_a > 0 ? channel : 0);
  const int8_t *b = from->rows[1] + (step_b > 0 ? channel : 0);
  const int8_t *c = from->rows[2] + (step_c > 0 ? channel : 0);
  const int8_t *end;
  to = fill(to, from->before, from->zero_point);
  end = to + 3 * (size_t)from->inside;
  for (; to != end; to += 3, a += step_a, b += step_b, c += step_c) {
    to[0] = *a;
    to[1] = *b;
    to[2] = *c;
  }
  (void)fill(to, from->after, from->zero_point);
}

/* One channel of some pixels. */
TINYOPS_APART static void make_channel(const tinyops_kept *kept, tinyops_scale scale,
                                       const int8_t *value, size_t value_step, const int8_t *tap,
                                       size_t channels, uint8_t *out, const uint8_t *end) {
  const int32_t a0 = tap[0], a1 = tap[channels], a2 = tap[2 * channels];
  const int8_t *second = tap + 3 * channels, *third = second + 3 * channels;
  const int32_t b0 = second[0], b1 = second[channels], b2 = second[2 * channels];
  const int32_t c0 = third[0], c1 = third[channels], c2 = third[2 * channels];
  const int32_t zero_point = kept->zero_point;
  const bool is_low = kept->is_low;
  for (; out != end; out += channels, value += value_step) {
    uint32_t sum = (uint32_t)scale.bias;
    sum += (uint32_t)(value[0] * a0);
    sum += (uint32_t)(value[1] * b0);
    sum += (uint32_t)(value[2] * c0);
    sum += (uint32_t)(value[3] * a1);
    sum += (uint32_t)(value[4] * b1);
    sum += (uint32_t)(value[5] * c1);
    sum += (uint32_t)(value[6] * a2);
    sum += (uint32_t)(value[7] * b2);
    sum += (uint32_t)(value[8] * c2);
    *out = TINYOPS_LONG_PRODUCTS && is_low ? tinyops_finish_low(scale, (int32_t)sum, zero_point)
                                           : tinyops_finish(scale, (int32_t)sum, zero_point);
  }
}

/* Some channels of one row, of a filter of 3 by 3. */
static void make_channels(const depthwise *layer, const tinyops_kept *kept, uint32_t y,
                          uint32_t first, uint32_t some) {
  const tinyops_call *call = layer->call;
  const size_t channels = call->output.shape[3], line = channels * call->input.shape[2];
  const uint32_t width = call->output.shape[2], stride = call->op->stride[1];
  const uint32_t most = (STRIP_COLUMNS - 3) / stride + 1;
  const int32_t top = tinyops_window_start(call->op, 0, y);
  int8_t values[3 * STRIP_COLUMNS];
  strip under;
  uint32_t x, row, index;
  under.zero_point = call->input.zero_point;
  for (x = 0; x < width; x += most) {
    const uint32_t pixels = tinyops_lesser(width - x, most), columns = (pixels - 1) * stride + 3;
    const int32_t left = tinyops_window_start(call->op, 1, x);
    const tinyops_taps inside =
        tinyops_taps_inside(left, (uint16_t)columns, 1, call->input.shape[2]);
    uint8_t *out = call->out + ((size_t)y * width + x) * channels + first;
    under.before = (uint32_t)inside.first;
    under.inside = (uint32_t)(inside.end - inside.first);
    under.after = columns - (uint32_t)inside.end;
    for (row = 0; row < 3; row++) {
      const int32_t at = top + (int32_t)row;
      const bool is_there = at >= 0 && at < call->input.shape[1] && under.inside > 0;
      under.steps[row] = is_there ? channels : 0;
      under.rows[row] = &under.zero_point;
      if (is_there) {
        under.rows[row] = (const int8_t *)call->in + (size_t)at * line +
                          (size_t)(left + inside.first) * channels + first;
      }
    }
    for (index = 0; index < some; index++, out++) {
      bring(&under, index, values);
      make_channel(kept, kept->scales[index], values, 3 * (size_t)stride,
                   (const int8_t *)layer->filter + first + index, channels, out,
                   out + pixels * channels);
    }
  }
}

/* Some channels of one row, whose numbers are kept: one output for each input. They are whole fours,
 * but of a filter of 3 by 3. */
static void make_kept(const depthwise *layer, const tinyops_kept *kept, uint32_t y, uint32_t first,
                      uint32_t some) {
  uint32_t index;
  if (is_three(layer->call)) {
    make_channels(layer, kept, y, first, some);
    return;
  }
  for (index = 0; index < some; index += LANES) make_lanes(layer, kept, first, y, first + index);
}
#endif

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
  /* The channels that go by kernels of their own. */
  uint32_t whole = 0, index, first;
#ifdef TINYOPS_ARM_DSP
  if (tinyops_dsp_depthwise(call)) return;
#else
  tinyops_kept kept;
#endif
  layer.call = call;
  layer.filter = call->plan->constants + op->weights_offset;
  layer.channels = tinyops_channels_of(call);
  layer.multiplier = count / call->input.shape[3];
#ifndef TINYOPS_ARM_DSP
  if (layer.multiplier == 1) {
    whole = is_three(call) ? count : count - count % LANES;
    tinyops_keep(&kept, &layer.channels, 0, tinyops_lesser(whole, TINYOPS_KEPT_MAX));
  }
#endif
  for (index = 0; index < height; index++) {
    const uint32_t y = tinyops_row(op, index, height);
#ifndef TINYOPS_ARM_DSP
    for (first = 0; first < whole; first += TINYOPS_KEPT_MAX) {
      const uint32_t some = tinyops_lesser(whole - first, TINYOPS_KEPT_MAX);
      if (whole > TINYOPS_KEPT_MAX) tinyops_keep(&kept, &layer.channels, first, some);
      make_kept(&layer, &kept, y, first, some);
    }
#endif
    for (first = whole; first < count; first += LANES) {
      make_others(&layer, y, first, tinyops_lesser(count - first, LANES));
    }
  }
  tinyops_clamp_bytes(op, call->out, call->output.len);
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
