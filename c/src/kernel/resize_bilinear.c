/* Pictures made larger or smaller by interpolation, in fixed point with twice 10 bits.
 *
 * Its numbers: the step in the input for each row and column of the output, in parts of 1024, and
 * whether pixels have their place in their middle.
 *
 * Source: TFLM, reference_ops::ResizeBilinearInteger. */
#include "../operator.h"

#define ONE ((int64_t)1 << 10)

/* Between which two places of the input one of the output lies, and how far after the first. */
typedef struct between {
  size_t lower;
  size_t upper;
  int64_t rest;
} between;

static between between_at(int32_t step, uint32_t at, bool middle, uint16_t len) {
  int64_t place = (int64_t)at * step, last = (int64_t)len - 1, lower, upper;
  between found;
  if (middle) place += (int64_t)step / 2 - ONE / 2;
  lower = place / ONE;
  upper = (place + ONE - 1) / ONE;
  lower = lower < 0 ? 0 : lower > last ? last : lower;
  upper = upper < 0 ? 0 : upper > last ? last : upper;
  found.lower = (size_t)lower;
  found.upper = (size_t)upper;
  found.rest = place - ONE * lower;
  return found;
}

static void run(const tinyops_call *call) {
  const int32_t steps[2] = {tinyops_number(call->plan, call->op, 0),
                            tinyops_number(call->plan, call->op, 1)};
  const bool middle = tinyops_number(call->plan, call->op, 2) != 0;
  const size_t width = call->input.shape[2], channels = call->input.shape[3];
  uint8_t *out = call->out;
  uint32_t y, x, channel;
  for (y = 0; y < call->output.shape[1]; y++) {
    const between down = between_at(steps[0], y, middle, call->input.shape[1]);
    for (x = 0; x < call->output.shape[2]; x++) {
      const between right = between_at(steps[1], x, middle, call->input.shape[2]);
      const uint8_t *upper_left = call->in + (down.lower * width + right.lower) * channels;
      const uint8_t *lower_left = call->in + (down.upper * width + right.lower) * channels;
      const uint8_t *upper_right = call->in + (down.lower * width + right.upper) * channels;
      const uint8_t *lower_right = call->in + (down.upper * width + right.upper) * channels;
      for (channel = 0; channel < channels; channel++, out++) {
        int64_t sum =
            tinyops_int8(upper_left[channel]) * ((ONE - down.rest) * (ONE - right.rest)) +
            tinyops_int8(lower_left[channel]) * (down.rest * (ONE - right.rest)) +
            tinyops_int8(upper_right[channel]) * ((ONE - down.rest) * right.rest) +
            tinyops_int8(lower_right[channel]) * (down.rest * right.rest);
        int64_t half = sum > 0 ? (int64_t)1 << 19 : -((int64_t)1 << 19);
        *out = (uint8_t)((uint64_t)((sum + half) / ((int64_t)1 << 20)) & 0xFF);
      }
    }
  }
}

/* Whether the steps are such that no weight overflows, for shapes of one count of channels: a
 * picture of 65,535 places reaches 2^26; two such weights times a value stay below 2^62. */
static bool is_sound(const tinyops_plan *plan, const tinyops_op *op) {
  tinyops_tensor input = tinyops_plan_view(plan, op->inputs[0]);
  tinyops_tensor output = tinyops_plan_view(plan, op->output);
  uint32_t axis;
  for (axis = 0; axis < 2; axis++) {
    int32_t step = tinyops_number(plan, op, axis);
    int64_t reach = (int64_t)step * output.shape[axis + 1];
    if (step < 0 || reach > ((int64_t)1 << 26) + ((int64_t)1 << 16)) return false;
  }
  return input.shape[3] == output.shape[3];
}

const tinyops_operator tinyops_resize_bilinear = {
    TINYOPS_CODE_RESIZE_BILINEAR,
    false,
    false,
    TINYOPS_SECOND_NONE,
    TINYOPS_FLAG_ONE_MULTIPLIER,
    12,
    is_sound,
    run,
    NULL,
};
