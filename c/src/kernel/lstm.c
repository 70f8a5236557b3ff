/* A layer of long short-term memory over a sequence.
 *
 * Its numbers: units; values of a step; the output's zero point; the most that a cell holds, 0 for no
 * limit; multiplier and shift to the right of a cell before its hyperbolic tangent; a multiplier and
 * its shift for each gate's input, then the same gate's memory, then for what is kept, for what is
 * taken up and for the output. Then for each gate what each of its units adds to the input's sum,
 * and to the memory's.
 *
 * Source: TFLM, EvalLstm for int8 with cells of 16 bits. */
#include "squash.h"

#define HEAD 28u
#define GATES 4u
#define MULTIPLIERS 6u
/* Input, forget, cell and output gate, in the order of their weights. */
#define INPUT_GATE 0u
#define FORGET_GATE 1u
#define CELL_GATE 2u
#define OUTPUT_GATE 3u

typedef struct lstm {
  const tinyops_plan *plan;
  const tinyops_op *op;
  const uint8_t *table;
  const uint8_t *weights;
  size_t units;
  size_t values;
} lstm;

/* What the gates of one step see: the values, and the last output, less a zero point. */
typedef struct moment {
  const uint8_t *input;
  const uint8_t *before;
  /* Added to each remembered byte, modulo 256: the state holds outputs less their zero point. */
  uint8_t offset;
} moment;

static int32_t narrow(int32_t value) {
  return tinyops_clamp(value, INT16_MIN, INT16_MAX);
}

/* A value by one of the op's multipliers. */
static int32_t scaled(const lstm *layer, int32_t value, uint32_t index) {
  return tinyops_rescale(tinyops_multiplier_at(layer->plan, layer->op, MULTIPLIERS + 2 * index),
                         value);
}

/* The sum of a gate for one unit, in parts of 4096. */
static int32_t gate_sum(const lstm *layer, uint32_t gate, size_t unit, const moment *now) {
  const size_t units = layer->units, values = layer->values;
  const uint8_t *weights = layer->weights + gate * units * (values + units);
  const uint8_t *of_input = weights + unit * values;
  const uint8_t *of_memory = weights + units * values + unit * units;
  const uint32_t bias = HEAD + (uint32_t)(2 * gate * units + unit);
  int32_t sum = tinyops_number(layer->plan, layer->op, bias), first;
  size_t at;
  for (at = 0; at < values; at++) {
    sum = tinyops_add_wrapping(sum, tinyops_int8(now->input[at]) * tinyops_int8(of_input[at]));
  }
  first = narrow(scaled(layer, sum, 2 * gate));
  sum = tinyops_number(layer->plan, layer->op, bias + (uint32_t)units);
  for (at = 0; at < units; at++) {
    uint8_t remembered = (uint8_t)((now->before[at] + now->offset) & 0xFF);
    sum = tinyops_add_wrapping(sum, tinyops_int8(remembered) * tinyops_int8(of_memory[at]));
  }
  return narrow(first + narrow(scaled(layer, sum, 2 * gate + 1)));
}

static int32_t gate_value(const lstm *layer, uint32_t gate, size_t unit, const moment *now) {
  return tinyops_squash(3 * gate_sum(layer, gate, unit, now), layer->table, gate == CELL_GATE);
}

/* One unit at one step: its output, and its cell in place. */
static uint8_t made_by(const lstm *layer, size_t unit, const moment *now, uint8_t *cell) {
  const int32_t most = tinyops_number(layer->plan, layer->op, 3);
  const int32_t multiplier = tinyops_number(layer->plan, layer->op, 4);
  const uint32_t shift = (uint32_t)tinyops_number(layer->plan, layer->op, 5);
  const int32_t half = tinyops_shift_right(tinyops_shift_left(1, shift), 1);
  int32_t held = tinyops_read_i16(cell), kept, taken, argument, made;
  kept = narrow(scaled(
      layer, tinyops_mul_wrapping(gate_value(layer, FORGET_GATE, unit, now), held), 8));
  taken = narrow(scaled(layer,
                        tinyops_mul_wrapping(gate_value(layer, INPUT_GATE, unit, now),
                                             gate_value(layer, CELL_GATE, unit, now)),
                        9));
  held = narrow(kept + taken);
  if (most > 0) held = tinyops_clamp(held, -most, most);
  tinyops_write_i16(cell, held);
  argument = tinyops_shift_right(
      tinyops_add_wrapping(tinyops_mul_wrapping(held, multiplier), half), shift);
  made = tinyops_mul_wrapping(tinyops_squash(argument, layer->table, true),
                              gate_value(layer, OUTPUT_GATE, unit, now));
  made = tinyops_add_saturating(scaled(layer, made, 10),
                                tinyops_number(layer->plan, layer->op, 2));
  return (uint8_t)(int8_t)tinyops_clamp(made, INT8_MIN, INT8_MAX);
}

/* Runs the whole sequence; the state is the cells, two bytes each, then the last output less its
 * zero point, so that zeros are a new beginning. */
static void run(const tinyops_call *call) {
  lstm layer;
  moment now;
  uint8_t zero_point, *last, *made = call->out;
  uint32_t begin;
  size_t unit;
  layer.plan = call->plan;
  layer.op = call->op;
  layer.table = call->plan->constants + call->op->weights_offset;
  layer.weights = layer.table + 2 * TINYOPS_SIGMOID_TABLE;
  layer.units = (uint32_t)tinyops_number(call->plan, call->op, 0);
  layer.values = (uint32_t)tinyops_number(call->plan, call->op, 1);
  zero_point = (uint8_t)((uint32_t)tinyops_number(call->plan, call->op, 2) & 0xFF);
  last = call->second + 2 * layer.units;
  now.before = last;
  now.offset = zero_point;
  for (begin = 0; begin < call->input.len; begin += (uint32_t)layer.values) {
    now.input = call->in + begin;
    for (unit = 0; unit < layer.units; unit++) {
      made[unit] = made_by(&layer, unit, &now, call->second + 2 * unit);
    }
    /* What the next step remembers is the row that this one made. */
    now.before = made;
    now.offset = 0;
    made += layer.units;
  }
  for (unit = 0; unit < layer.units; unit++) {
    last[unit] = (uint8_t)((now.before[unit] - zero_point) & 0xFF);
  }
}

/* Whether the counts fit the tensors, and table, weights and numbers lie in the constants. */
static bool is_sound(const tinyops_plan *plan, const tinyops_op *op) {
  const uint64_t input = tinyops_plan_view(plan, op->inputs[0]).len;
  const uint64_t state = tinyops_plan_view(plan, op->inputs[1]).len;
  const uint64_t output = tinyops_plan_view(plan, op->output).len;
  uint64_t units, values, steps, weights, numbers;
  uint32_t index;
  if (!tinyops_in_range(tinyops_number(plan, op, 0), 1, UINT16_MAX) ||
      !tinyops_in_range(tinyops_number(plan, op, 1), 1, UINT16_MAX)) {
    return false;
  }
  units = (uint64_t)tinyops_number(plan, op, 0);
  values = (uint64_t)tinyops_number(plan, op, 1);
  steps = input / values;
  weights = 2 * TINYOPS_SIGMOID_TABLE + GATES * units * (units + values);
  numbers = 4 * (HEAD + 2 * GATES * units);
  for (index = 0; index < 11; index++) {
    if (!tinyops_is_shift(tinyops_number(plan, op, MULTIPLIERS + 2 * index + 1))) return false;
  }
  return steps > 0 && steps * values == input && steps * units == output && 3 * units == state &&
         tinyops_in_constants(plan, op->weights_offset, weights) &&
         tinyops_in_constants(plan, op->numbers_offset, numbers) &&
         tinyops_in_range(tinyops_number(plan, op, 2), -128, 127) &&
         tinyops_in_range(tinyops_number(plan, op, 3), 0, 32767) &&
         tinyops_in_range(tinyops_number(plan, op, 4), 1, 32767) &&
         tinyops_in_range(tinyops_number(plan, op, 5), 0, 30);
}

const tinyops_operator tinyops_lstm = {
    TINYOPS_CODE_LSTM,
    false,
    false,
    TINYOPS_SECOND_STATE,
    TINYOPS_FLAG_ONE_MULTIPLIER,
    4 * HEAD,
    is_sound,
    run,
    NULL,
};
