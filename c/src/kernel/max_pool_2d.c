/* The greatest value of each window; padding takes no part. */
#include "window.h"

static int32_t greatest(const tinyops_window *window, uint32_t channel) {
  int32_t result = INT8_MIN;
  uint32_t row, column;
  for (row = 0; row < window->rows; row++) {
    const uint8_t *value = window->first + row * window->row_step + channel;
    for (column = 0; column < window->columns; column++, value += window->column_step) {
      if (tinyops_int8(*value) > result) result = tinyops_int8(*value);
    }
  }
  return result;
}

static void run(const tinyops_call *call) {
  tinyops_pool(call, greatest);
}

const tinyops_operator tinyops_max_pool_2d = {
    TINYOPS_CODE_MAX_POOL_2D, false, false, TINYOPS_SECOND_NONE, TINYOPS_FLAG_BACKWARD, 0,
    NULL,                     run,   NULL,
};
