/* Int16 values moved from place to place. */
#include <string.h>

#include "../places.h"

static void move(const tinyops_call *call, size_t to, size_t from, size_t count) {
  memcpy(call->out + 2 * to, call->in + 2 * from, 2 * count);
}

static void run(const tinyops_call *call) {
  const tinyops_op inner = tinyops_after_clamp(call->op);
  if ((call->op->flags & TINYOPS_FLAG_FILL) != 0) {
    const int32_t least = tinyops_wide_least(call->plan, call->op);
    uint32_t index;
    for (index = 0; index < call->output.len; index++) {
      tinyops_write_i16(call->out + 2 * (size_t)index, least);
    }
  }
  tinyops_copy_places(call, &inner, move);
}

static bool is_sound(const tinyops_plan *plan, const tinyops_op *op) {
  const tinyops_op inner = tinyops_after_clamp(op);
  return tinyops_copy_is_sound(plan, &inner);
}

const tinyops_operator tinyops_copy_int16 = {
    TINYOPS_CODE_COPY, true, false, TINYOPS_SECOND_NONE, TINYOPS_FLAG_FILL, 0, is_sound, run, NULL,
};
