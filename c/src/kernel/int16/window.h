/* The windows of a pool over int16. */
#ifndef TINYOPS_INT16_WINDOW_H
#define TINYOPS_INT16_WINDOW_H

#include "../window.h"

/* Makes every pixel of a pool, row after row, by a function of a window and the first byte of its
 * value. */
static inline void tinyops_wide_pool(const tinyops_call *call,
                                     int32_t (*of_window)(const tinyops_window *window)) {
  const int32_t from = tinyops_wide_least(call->plan, call->op);
  const int32_t to = tinyops_wide_greatest(call->plan, call->op);
  const uint32_t height = call->output.shape[1], width = call->output.shape[2];
  const uint32_t channels = call->output.shape[3];
  uint32_t index, x, channel;
  for (index = 0; index < height; index++) {
    const uint32_t y = tinyops_row(call->op, index, height);
    for (x = 0; x < width; x++) {
      tinyops_window window = tinyops_window_at(call, y, x);
      uint8_t *pixel = call->out + 2 * ((size_t)y * width + x) * channels;
      /* Counted in values; each has two bytes. */
      window.first = call->in + 2 * (size_t)(window.first - call->in);
      window.row_step *= 2;
      window.column_step *= 2;
      for (channel = 0; channel < channels; channel++, window.first += 2) {
        tinyops_write_i16(pixel + 2 * (size_t)channel,
                          tinyops_clamp(of_window(&window), from, to));
      }
    }
  }
}

#endif
