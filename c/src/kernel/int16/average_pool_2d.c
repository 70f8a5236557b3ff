/* The average of each window of int16 values, halves away from zero; padding does not count. */
#include "window.h"

static int32_t average(const tinyops_window *window) {
  int32_t sum = 0;
  uint32_t row, column;
  for (row = 0; row < window->rows; row++) {
    for (column = 0; column < window->columns; column++) {
      sum = tinyops_add_wrapping(sum, tinyops_read_i16(window->first + row * window->row_step +
                                                       column * window->column_step));
    }
  }
  return tinyops_rounded_quotient(sum, (int32_t)(window->rows * window->columns));
}

static void run(const tinyops_call *call) {
  tinyops_wide_pool(call, average);
}

const tinyops_operator tinyops_average_pool_2d_int16 = {
    TINYOPS_CODE_AVERAGE_POOL_2D, true, false, TINYOPS_SECOND_NONE, 0, 0, NULL, run, NULL,
};
