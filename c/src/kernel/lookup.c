/* A function of one value, as a table of 256 bytes. */
#include "../operator.h"

static void run(const tinyops_call *call) {
  const uint8_t *table = call->plan->constants + call->op->weights_offset;
  uint32_t index;
  for (index = 0; index < call->output.len; index++) {
    call->out[index] = table[call->in[index] ^ 0x80];
  }
}

const tinyops_operator tinyops_lookup = {
    TINYOPS_CODE_LOOKUP, false, true, TINYOPS_SECOND_NONE, TINYOPS_FLAG_ONE_MULTIPLIER, 0,
    NULL,                run,   NULL,
};
