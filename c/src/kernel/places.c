#include "places.h"

static void read_axes(const tinyops_plan *plan, const tinyops_op *op, tinyops_axis axes[3]) {
  uint32_t table = TINYOPS_COPY_HEAD, axis;
  for (axis = 0; axis < 3; axis++) {
    uint32_t at = 2 + 3 * axis;
    axes[axis].count = (uint32_t)tinyops_number(plan, op, at);
    axes[axis].output_step = tinyops_number(plan, op, at + 1);
    axes[axis].input_step = tinyops_number(plan, op, at + 2);
    axes[axis].table = table;
    if (axes[axis].input_step == TINYOPS_COPY_TABLE) table += axes[axis].count;
  }
}

static int32_t source(const tinyops_plan *plan, const tinyops_op *op, const tinyops_axis *axis,
                      uint32_t at) {
  if (axis->input_step == TINYOPS_COPY_TABLE) return tinyops_number(plan, op, axis->table + at);
  /* tinyops_copy_is_sound() has held the products to the tensors. */
  return tinyops_mul_wrapping(axis->input_step, (int32_t)at);
}

static int32_t target(const tinyops_axis *axis, uint32_t at) {
  return tinyops_mul_wrapping(axis->output_step, (int32_t)at);
}

void tinyops_copy_places(const tinyops_call *call, const tinyops_op *op,
                         void (*move)(const tinyops_call *call, size_t to, size_t from,
                                      size_t count)) {
  const tinyops_plan *plan = call->plan;
  tinyops_axis axes[3];
  uint32_t y, x, channel;
  read_axes(plan, op, axes);
  for (y = 0; y < axes[0].count; y++) {
    int32_t from_y =
        tinyops_add_wrapping(tinyops_number(plan, op, 0), source(plan, op, &axes[0], y));
    int32_t to_y = tinyops_add_wrapping(tinyops_number(plan, op, 1), target(&axes[0], y));
    for (x = 0; x < axes[1].count; x++) {
      int32_t from_x = tinyops_add_wrapping(from_y, source(plan, op, &axes[1], x));
      int32_t to_x = tinyops_add_wrapping(to_y, target(&axes[1], x));
      if (axes[2].output_step == 1 && axes[2].input_step == 1) {
        move(call, (size_t)(uint32_t)to_x, (size_t)(uint32_t)from_x, axes[2].count);
        continue;
      }
      for (channel = 0; channel < axes[2].count; channel++) {
        int32_t from = tinyops_add_wrapping(from_x, source(plan, op, &axes[2], channel));
        int32_t to = tinyops_add_wrapping(to_x, target(&axes[2], channel));
        move(call, (size_t)(uint32_t)to, (size_t)(uint32_t)from, 1);
      }
    }
  }
}

/* The least and the greatest of some places. */
typedef struct span {
  int64_t least;
  int64_t greatest;
} span;

static void widen(span *places, int64_t least, int64_t greatest) {
  places->least += least;
  places->greatest += greatest;
}

static void widen_by_steps(span *places, int32_t step, uint32_t count) {
  int64_t last = (int64_t)step * ((int64_t)count - 1);
  widen(places, last < 0 ? last : 0, last > 0 ? last : 0);
}

static void widen_by_table(span *places, const tinyops_plan *plan, const tinyops_op *op,
                           const tinyops_axis *axis) {
  int32_t least = INT32_MAX, greatest = INT32_MIN;
  uint32_t at;
  for (at = 0; at < axis->count; at++) {
    int32_t place = tinyops_number(plan, op, axis->table + at);
    if (place < least) least = place;
    if (place > greatest) greatest = place;
  }
  widen(places, least, greatest);
}

static bool is_inside(const span *places, uint32_t len) {
  return places->least >= 0 && places->greatest < (int64_t)len && places->greatest <= INT32_MAX;
}

bool tinyops_copy_is_sound(const tinyops_plan *plan, const tinyops_op *op) {
  uint32_t input_len = tinyops_plan_view(plan, op->inputs[0]).len;
  uint32_t output_len = tinyops_plan_view(plan, op->output).len;
  uint64_t words, values = 1;
  tinyops_axis axes[3];
  span from, to;
  int axis;
  if (!tinyops_in_constants(plan, op->numbers_offset, 0)) return false;
  words = (plan->constants_bytes - op->numbers_offset) / 4;
  if (words < TINYOPS_COPY_HEAD) return false;
  read_axes(plan, op, axes);
  from.least = from.greatest = tinyops_number(plan, op, 0);
  to.least = to.greatest = tinyops_number(plan, op, 1);
  for (axis = 0; axis < 3; axis++) {
    /* Counts of 16 bits: three of them do not pass 48. */
    if (axes[axis].count == 0 || axes[axis].count > UINT16_MAX) return false;
    values *= axes[axis].count;
    widen_by_steps(&to, axes[axis].output_step, axes[axis].count);
    if (axes[axis].input_step != TINYOPS_COPY_TABLE) {
      widen_by_steps(&from, axes[axis].input_step, axes[axis].count);
      continue;
    }
    if ((uint64_t)axes[axis].table + axes[axis].count > words) return false;
    widen_by_table(&from, plan, op, &axes[axis]);
  }
  /* More values than places would write some twice, which no compiler does: a loop has a bound. */
  return is_inside(&from, input_len) && is_inside(&to, output_len) && values <= output_len;
}
