/* A filter over features and time that keeps what it has seen.
 *
 * Its numbers: how many filters, steps of time that each remembers, filters of a unit; the bytes of
 * a remembered value; the state's zero point; multiplier and shift of the features, and of time.
 * Then for each filter what the input's zero point adds to it, and the bias of each unit.
 *
 * Source: TFLM, EvalIntegerSvdfReference, for states and weights of time of one byte or two. */
#include <string.h>

#include "../operator.h"

#define HEAD 9u

typedef struct svdf {
  size_t filters;
  size_t memory;
  size_t rank;
  /* The bytes of a remembered value: 1 or 2. */
  size_t width;
} svdf;

static svdf svdf_of(const tinyops_plan *plan, const tinyops_op *op) {
  svdf layer;
  layer.filters = (uint32_t)tinyops_number(plan, op, 0);
  layer.memory = (uint32_t)tinyops_number(plan, op, 1);
  layer.rank = (uint32_t)tinyops_number(plan, op, 2);
  layer.width = (uint32_t)tinyops_number(plan, op, 3);
  return layer;
}

/* A remembered value, or a weight of time. */
static int32_t read(const svdf *layer, const uint8_t *values, size_t at) {
  return layer->width == 2 ? tinyops_read_i16(values + 2 * at) : tinyops_int8(values[at]);
}

/* Moves what is remembered by one step, and adds the newest. */
static void remember(const tinyops_call *call, const svdf *layer) {
  const tinyops_multiplier multiplier = tinyops_multiplier_at(call->plan, call->op, 5);
  const int32_t zero_point = tinyops_number(call->plan, call->op, 4);
  const int32_t least = layer->width == 2 ? INT16_MIN : INT8_MIN;
  const int32_t greatest = layer->width == 2 ? INT16_MAX : INT8_MAX;
  const uint8_t *weight = call->plan->constants + call->op->weights_offset;
  uint8_t *state = call->second;
  size_t filter, at;
  memmove(state, state + layer->width,
          (layer->filters * layer->memory - 1) * layer->width);
  for (filter = 0; filter < layer->filters; filter++) {
    int32_t sum = tinyops_number(call->plan, call->op, HEAD + (uint32_t)filter);
    size_t place = (filter + 1) * layer->memory - 1;
    for (at = 0; at < call->input.len; at++, weight++) {
      sum = tinyops_add_wrapping(sum, tinyops_int8(call->in[at]) * tinyops_int8(*weight));
    }
    sum = tinyops_clamp(tinyops_rescale(multiplier, sum), least, greatest) + zero_point;
    if (layer->width == 2) {
      tinyops_write_i16(state + 2 * place, sum);
    } else {
      state[place] = (uint8_t)((uint32_t)sum & 0xFF);
    }
  }
}

static void run(const tinyops_call *call) {
  const svdf layer = svdf_of(call->plan, call->op);
  const tinyops_multiplier multiplier = tinyops_multiplier_at(call->plan, call->op, 7);
  const int32_t zero_point = tinyops_number(call->plan, call->op, 4);
  const uint8_t *time = call->plan->constants + call->op->weights_offset +
                        (size_t)tinyops_round_up((uint64_t)layer.filters * call->input.len, 2);
  const size_t per_unit = layer.rank * layer.memory;
  size_t unit, at;
  remember(call, &layer);
  for (unit = 0; unit < call->output.len; unit++) {
    int32_t sum = tinyops_number(call->plan, call->op, HEAD + (uint32_t)(layer.filters + unit));
    for (at = unit * per_unit; at < (unit + 1) * per_unit; at++) {
      int32_t value = read(&layer, call->second, at) - zero_point;
      sum = tinyops_add_wrapping(sum, tinyops_mul_wrapping(read(&layer, time, at), value));
    }
    call->out[unit] =
        tinyops_finished(call->op, call->output.zero_point, tinyops_rescale(multiplier, sum));
  }
}

/* Whether the counts fit the tensors, and weights and numbers lie in the constants. Counts of 16
 * bits: products stay below 2^33. */
static bool is_sound(const tinyops_plan *plan, const tinyops_op *op) {
  const uint32_t input_len = tinyops_plan_view(plan, op->inputs[0]).len;
  const uint32_t state_len = tinyops_plan_view(plan, op->inputs[1]).len;
  const uint32_t output_len = tinyops_plan_view(plan, op->output).len;
  uint64_t filters, state, weights, numbers;
  uint32_t at;
  for (at = 0; at < 4; at++) {
    if (!tinyops_in_range(tinyops_number(plan, op, at), 1, at < 3 ? UINT16_MAX : 2)) return false;
  }
  filters = (uint64_t)tinyops_number(plan, op, 0);
  state = filters * (uint64_t)tinyops_number(plan, op, 1) * (uint64_t)tinyops_number(plan, op, 3);
  weights = tinyops_round_up(filters * input_len, 2) + state;
  numbers = 4 * (HEAD + filters + output_len);
  return state == state_len &&
         (uint64_t)output_len * (uint64_t)tinyops_number(plan, op, 2) == filters &&
         tinyops_in_constants(plan, op->weights_offset, weights) &&
         tinyops_in_constants(plan, op->numbers_offset, numbers) &&
         tinyops_in_range(tinyops_number(plan, op, 4), -128, 127) &&
         tinyops_is_shift(tinyops_number(plan, op, 6)) &&
         tinyops_is_shift(tinyops_number(plan, op, 8));
}

const tinyops_operator tinyops_svdf = {
    TINYOPS_CODE_SVDF,
    false,
    false,
    TINYOPS_SECOND_STATE,
    TINYOPS_FLAG_ONE_MULTIPLIER,
    4 * HEAD,
    is_sound,
    run,
    NULL,
};
