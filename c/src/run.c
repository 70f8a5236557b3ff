/* The memory that a plan works in, and the run over it. */
#include <string.h>

#include "plan.h"
#include "sum.h"

tinyops_arena tinyops_arena_of(uint8_t *bytes, size_t len) {
  tinyops_arena arena;
  memset(&arena, 0, sizeof arena);
  arena.pieces[0] = bytes;
  arena.bytes[0] = len;
  arena.count = 1;
  return arena;
}

/* The pieces of an arena, and where each begins in the arena of the plan that runs. */
typedef struct lent {
  uint8_t *pieces[TINYOPS_REGIONS_MAX];
  uint32_t starts[TINYOPS_REGIONS_MAX];
  uint32_t count;
} lent;

/* How many of the pieces a plan works in. */
static uint32_t piece_count(const tinyops_plan *plan, const tinyops_arena *arena) {
  return arena->count == 1 ? 1 : 1 + (uint32_t)plan->more_regions;
}

static tinyops_run_status lend(const tinyops_plan *plan, const tinyops_arena *arena, lent *memory) {
  uint32_t region;
  memory->count = piece_count(plan, arena);
  for (region = 0; region < memory->count; region++) {
    uint32_t end = plan->arena_bytes;
    memory->starts[region] = tinyops_plan_region_start(plan, region);
    memory->pieces[region] = region < arena->count ? arena->pieces[region] : NULL;
    if (memory->count > 1) end = tinyops_plan_region_start(plan, region + 1);
    if (end - memory->starts[region] > (region < arena->count ? arena->bytes[region] : 0)) {
      return TINYOPS_ARENA_TOO_SMALL;
    }
  }
  return TINYOPS_RAN;
}

static tinyops_run_status aligned(const lent *memory) {
  uint32_t region;
  for (region = 0; region < memory->count; region++) {
    if (TINYOPS_WORD_KERNELS && (uintptr_t)memory->pieces[region] % 4 != 0) {
      return TINYOPS_ARENA_MISALIGNED;
    }
  }
  return TINYOPS_RAN;
}

/* Where bytes lie that the plan has found to be in one region. Of regions without bytes that begin
 * at one place, the last counts. */
static uint8_t *place_of(const lent *memory, uint32_t offset) {
  uint32_t region = memory->count - 1;
  while (region > 0 && memory->starts[region] > offset) region--;
  return memory->pieces[region] + (offset - memory->starts[region]);
}

uint8_t *tinyops_arena_bytes(const tinyops_plan *plan, const tinyops_arena *arena,
                             const tinyops_tensor *tensor) {
  lent memory;
  if (lend(plan, arena, &memory) != TINYOPS_RAN) return NULL;
  return place_of(&memory, tensor->offset);
}

tinyops_run_status tinyops_plan_set_input(const tinyops_plan *plan, const float *features,
                                          size_t count, const tinyops_arena *arena) {
  tinyops_tensor input = tinyops_plan_view(plan, plan->input);
  uint8_t *place = tinyops_arena_bytes(plan, arena, &input);
  size_t index;
  if (place == NULL) return TINYOPS_ARENA_TOO_SMALL;
  if (count > input.len) count = input.len;
  for (index = 0; index < count; index++) {
    if (input.element == TINYOPS_INT16) {
      tinyops_write_i16(place + 2 * index, tinyops_quantize_int16(features[index], input.scale));
    } else {
      place[index] = (uint8_t)tinyops_quantize(features[index], input.scale, input.zero_point);
    }
  }
  return TINYOPS_RAN;
}

tinyops_run_status tinyops_plan_reset(const tinyops_plan *plan, const tinyops_arena *arena) {
  lent memory;
  uint32_t index;
  tinyops_run_status status = lend(plan, arena, &memory);
  if (status != TINYOPS_RAN) return status;
  for (index = 0; index < plan->tensor_count; index++) {
    tinyops_tensor tensor = tinyops_plan_view(plan, (uint16_t)index);
    if (!tensor.is_state) continue;
    memset(place_of(&memory, tensor.offset), (uint8_t)tensor.zero_point, tinyops_tensor_bytes(&tensor));
  }
  return TINYOPS_RAN;
}

static void read_op(const tinyops_plan *plan, uint32_t index, tinyops_op *op) {
  (void)tinyops_op_read(plan->ops + (size_t)index * TINYOPS_OP_BYTES, op);
}

static bool is_merged(const tinyops_op *op, uint8_t code) {
  return op->code == code && (op->flags & TINYOPS_FLAG_SUM) != 0;
}

/* What an op's kernel sees of its tensors. */
static tinyops_call call_of(const tinyops_plan *plan, const tinyops_op *op, const lent *memory) {
  tinyops_call call;
  memset(&call, 0, sizeof call);
  call.plan = plan;
  call.op = op;
  call.input = tinyops_plan_view(plan, op->inputs[0]);
  call.output = tinyops_plan_view(plan, op->output);
  call.in = place_of(memory, call.input.offset);
  call.out = place_of(memory, call.output.offset);
  if (op->inputs[1] != TINYOPS_NONE) {
    tinyops_tensor second = tinyops_plan_view(plan, op->inputs[1]);
    call.second = place_of(memory, second.offset);
  }
  if (tinyops_op_scratch_bytes(op, call.input.shape, call.output.shape) > 0) {
    call.scratch = place_of(memory, op->scratch_offset);
  }
  return call;
}

/* Runs one op; a convolution that goes into a sum runs with that. */
static void execute(const tinyops_plan *plan, uint32_t index, const lent *memory) {
  tinyops_op op, conv;
  tinyops_call call;
  const tinyops_operator *operation;
  tinyops_sum sum;
  read_op(plan, index, &op);
  if (is_merged(&op, TINYOPS_CODE_CONV_2D)) return;
  operation = tinyops_plan_operator(plan, &op);
  /* Loading has found an operator for every op. */
  if (operation == NULL) return;
  call = call_of(plan, &op, memory);
  if (is_merged(&op, TINYOPS_CODE_ADD) && index > 0 && operation->begin_sum != NULL) {
    operation->begin_sum(&call, &sum);
    read_op(plan, index - 1, &conv);
    operation = tinyops_plan_operator(plan, &conv);
    if (operation == NULL) return;
    call = call_of(plan, &conv, memory);
    call.sum = &sum;
  }
  operation->run(&call);
}

tinyops_run_status tinyops_plan_run(const tinyops_plan *plan, const tinyops_arena *arena) {
  lent memory;
  uint32_t index;
  tinyops_run_status status = lend(plan, arena, &memory);
  if (status == TINYOPS_RAN) status = aligned(&memory);
  if (status != TINYOPS_RAN) return status;
  for (index = 0; index < plan->op_count; index++) execute(plan, index, &memory);
  return TINYOPS_RAN;
}
