/* Values moved from place to place: slices, transposes, joins, repeats and paddings are all of it. */
#include <string.h>

#include "places.h"

static void move(const tinyops_call *call, size_t to, size_t from, size_t count) {
  memcpy(call->out + to, call->in + from, count);
}

static void run(const tinyops_call *call) {
  if ((call->op->flags & TINYOPS_FLAG_FILL) != 0) {
    memset(call->out, (uint8_t)call->op->clamp[0], call->output.len);
  }
  tinyops_copy_places(call, call->op, move);
}

const tinyops_operator tinyops_copy = {
    TINYOPS_CODE_COPY,     false, false, TINYOPS_SECOND_NONE, TINYOPS_FLAG_FILL, 0,
    tinyops_copy_is_sound, run,   NULL,
};
