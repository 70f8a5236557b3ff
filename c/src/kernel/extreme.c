/* Where along an axis the greatest or the least value stands, less 128; of equals the first.
 *
 * Its numbers: 0 for the greatest and 1 for the least; count and step in the input of the axes
 * before, of those after, and of the axis itself.
 *
 * Source: TFLM, reference_ops::ArgMinMax. */
#include "../operator.h"

#define NUMBERS 7u
/* More places than this have no number in a byte. */
#define PLACES_MAX 256u

static size_t number_at(const tinyops_call *call, uint32_t index) {
  return (uint32_t)tinyops_number(call->plan, call->op, index);
}

static uint8_t place_of(const uint8_t *in, size_t places, size_t step, bool least) {
  size_t found = 0, place;
  for (place = 1; place < places; place++) {
    int32_t now = tinyops_int8(in[place * step]), before = tinyops_int8(in[found * step]);
    if (least ? now < before : now > before) found = place;
  }
  return (uint8_t)((found + 128) & 0xFF);
}

static void run(const tinyops_call *call) {
  const bool least = number_at(call, 0) != 0;
  uint8_t *out = call->out;
  size_t outer, inner;
  for (outer = 0; outer < number_at(call, 1); outer++) {
    for (inner = 0; inner < number_at(call, 3); inner++, out++) {
      const uint8_t *in = call->in + outer * number_at(call, 2) + inner * number_at(call, 4);
      *out = place_of(in, number_at(call, 5), number_at(call, 6), least);
    }
  }
}

static bool is_sound(const tinyops_plan *plan, const tinyops_op *op) {
  const uint32_t input_len = tinyops_plan_view(plan, op->inputs[0]).len;
  uint64_t made = 1, last = 0, places = 0;
  uint32_t axis;
  for (axis = 0; axis < 3; axis++) {
    int32_t count = tinyops_number(plan, op, 1 + 2 * axis);
    int32_t step = tinyops_number(plan, op, 2 + 2 * axis);
    /* Held to the input, so that no product passes 64 bits. */
    if (count <= 0 || step < 0 || (uint32_t)count > input_len || (uint32_t)step > input_len) {
      return false;
    }
    if (axis < 2) {
      made *= (uint64_t)count;
    } else {
      places = (uint64_t)count;
    }
    last += (uint64_t)step * (uint64_t)(count - 1);
  }
  return tinyops_in_range(tinyops_number(plan, op, 0), 0, 1) && places <= PLACES_MAX &&
         made == tinyops_plan_view(plan, op->output).len && last < input_len;
}

const tinyops_operator tinyops_extreme = {
    TINYOPS_CODE_EXTREME,
    false,
    false,
    TINYOPS_SECOND_NONE,
    TINYOPS_FLAG_ONE_MULTIPLIER,
    4 * NUMBERS,
    is_sound,
    run,
    NULL,
};
