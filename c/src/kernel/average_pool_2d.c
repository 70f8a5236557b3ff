/* The average of each window, halves away from zero; padding does not count. */
#include "window.h"

static int32_t average(const tinyops_window *window, uint32_t channel) {
  int32_t sum = 0;
  uint32_t row, column;
  for (row = 0; row < window->rows; row++) {
    const uint8_t *value = window->first + row * window->row_step + channel;
    for (column = 0; column < window->columns; column++, value += window->column_step) {
      sum = tinyops_add_wrapping(sum, tinyops_int8(*value));
    }
  }
  return tinyops_rounded_quotient(sum, (int32_t)(window->rows * window->columns));
}

static void run(const tinyops_call *call) {
  tinyops_pool(call, average);
}

const tinyops_operator tinyops_average_pool_2d = {
    TINYOPS_CODE_AVERAGE_POOL_2D, false, false, TINYOPS_SECOND_NONE, TINYOPS_FLAG_BACKWARD, 0,
    NULL,                         run,   NULL,
};
