/* Padding of height and width with the zero point. */
#include <string.h>

#include "../operator.h"

static void run(const tinyops_call *call) {
  const tinyops_op *op = call->op;
  const size_t channels = call->input.shape[3];
  const size_t line_bytes = call->input.shape[2] * channels;
  const size_t row_bytes = call->output.shape[2] * channels;
  const uint8_t *line = call->in;
  uint8_t *row = call->out + op->pad[0] * row_bytes + op->pad[1] * channels;
  uint32_t y;
  memset(call->out, (uint8_t)call->output.zero_point, call->output.len);
  for (y = 0; y < call->input.shape[1]; y++, line += line_bytes, row += row_bytes) {
    memcpy(row, line, line_bytes);
  }
}

const tinyops_operator tinyops_pad = {
    TINYOPS_CODE_PAD, false, false, TINYOPS_SECOND_NONE, TINYOPS_FLAG_ONE_MULTIPLIER, 0,
    NULL,             run,   NULL,
};
