/* Softmax over the channels of int16: 32768 * exp(x - max) / sum exp(x - max).
 *
 * Both the exponential over -10...0 and 1 / (1 + x) over 0...1 are tables of 512 pieces. Its
 * numbers: multiplier, shift.
 *
 * Source: TFLM, reference_ops::SoftmaxInt16. */
#include "../../operator.h"

/* Values of one of the two tables. */
#define TABLE 513u

static int32_t entry(const uint8_t *table, uint32_t index) {
  return tinyops_read_i16(table + 2 * index);
}

static int32_t cut_to_int16(int32_t value) {
  return (int32_t)(int16_t)((uint32_t)value & 0xFFFF);
}

/* A function over the whole range of int16, known at every 128th value and straight between. */
static int32_t interpolated(const uint8_t *table, int32_t at) {
  uint32_t place;
  int32_t slope, rise;
  at = tinyops_clamp(at, INT16_MIN, INT16_MAX);
  place = (uint32_t)(256 + tinyops_shift_right(at, 7));
  slope = cut_to_int16(entry(table, place + 1) - entry(table, place));
  rise = tinyops_shift_right(slope * (at & 127) + 64, 7);
  return cut_to_int16(entry(table, place) + rise);
}

static void row(const uint8_t *in, uint8_t *out, uint32_t channels, const uint8_t *exponentials,
                tinyops_multiplier multiplier) {
  const uint8_t *reciprocals = exponentials + 2 * TABLE;
  int32_t greatest = INT16_MIN, sum = 0, headroom, reciprocal;
  int64_t fraction;
  uint32_t index, down;
  for (index = 0; index < channels; index++) {
    const int32_t value = tinyops_read_i16(in + 2 * index);
    if (value > greatest) greatest = value;
  }
  for (index = 0; index < channels; index++) {
    const int32_t difference =
        tinyops_rescale(multiplier, tinyops_read_i16(in + 2 * index) - greatest);
    const int32_t exponential =
        interpolated(exponentials, tinyops_add_saturating(difference, 32767));
    sum = tinyops_add_wrapping(sum, exponential);
    tinyops_write_i16(out + 2 * index, exponential);
  }
  /* For the tables of a compiler the sum is at least that of the greatest value, 32,767. */
  headroom = tinyops_clamp((int32_t)tinyops_leading_zeros((uint32_t)sum), 1, 30);
  fraction = (int64_t)sum * ((int64_t)1 << (headroom - 1)) + (1 << 13);
  fraction = tinyops_shift_right_wide(fraction, 14);
  reciprocal = interpolated(
      reciprocals,
      tinyops_sub_wrapping((int32_t)(uint32_t)(uint64_t)fraction, (int32_t)3 << 15));
  down = (uint32_t)(31 - headroom);
  for (index = 0; index < channels; index++) {
    const int64_t product = (int64_t)tinyops_read_i16(out + 2 * index) * reciprocal;
    const int64_t share = tinyops_shift_right_wide(product + ((int64_t)1 << (down - 1)), down);
    tinyops_write_i16(out + 2 * index,
                      tinyops_clamp((int32_t)(uint32_t)(uint64_t)share, 0, INT16_MAX));
  }
}

static void run(const tinyops_call *call) {
  const tinyops_op inner = tinyops_after_clamp(call->op);
  const tinyops_multiplier multiplier = tinyops_multiplier_at(call->plan, &inner, 0);
  const uint8_t *tables = call->plan->constants + call->op->weights_offset;
  const uint32_t channels = call->output.shape[3];
  size_t at;
  for (at = 0; at < call->output.len; at += channels) {
    row(call->in + 2 * at, call->out + 2 * at, channels, tables, multiplier);
  }
}

static bool is_sound(const tinyops_plan *plan, const tinyops_op *op) {
  const tinyops_op inner = tinyops_after_clamp(op);
  return tinyops_number(plan, &inner, 0) >= 0 &&
         tinyops_is_shift(tinyops_number(plan, &inner, 1));
}

const tinyops_operator tinyops_softmax_int16 = {
    TINYOPS_CODE_SOFTMAX, true, true, TINYOPS_SECOND_NONE, 0, 8, is_sound, run, NULL,
};
