/* The greatest int16 value of each window; padding takes no part. */
#include "window.h"

static int32_t greatest(const tinyops_window *window) {
  int32_t result = INT16_MIN;
  uint32_t row, column;
  for (row = 0; row < window->rows; row++) {
    for (column = 0; column < window->columns; column++) {
      const int32_t value = tinyops_read_i16(window->first + row * window->row_step +
                                             column * window->column_step);
      if (value > result) result = value;
    }
  }
  return result;
}

static void run(const tinyops_call *call) {
  tinyops_wide_pool(call, greatest);
}

const tinyops_operator tinyops_max_pool_2d_int16 = {
    TINYOPS_CODE_MAX_POOL_2D, true, false, TINYOPS_SECOND_NONE, 0, 0, NULL, run, NULL,
};
