/* Bytes of the plan as a tensor. */
#include <string.h>

#include "../operator.h"

static void run(const tinyops_call *call) {
  memcpy(call->out, call->plan->constants + call->op->weights_offset,
         tinyops_tensor_bytes(&call->output));
}

const tinyops_operator tinyops_constant = {
    TINYOPS_CODE_CONSTANT, false, true, TINYOPS_SECOND_NONE, TINYOPS_FLAG_ONE_MULTIPLIER, 0,
    NULL,                  run,   NULL,
};
