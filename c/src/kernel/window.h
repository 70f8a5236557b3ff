/* The windows of a pool over int8. */
#ifndef TINYOPS_WINDOW_H
#define TINYOPS_WINDOW_H

#include "../operator.h"

/* The part of one window that lies inside the input: its first byte, its rows and columns. */
typedef struct tinyops_window {
  const uint8_t *first;
  uint32_t rows;
  uint32_t columns;
  /* Bytes from row to row, and from column to column. */
  size_t row_step;
  size_t column_step;
} tinyops_window;

static inline tinyops_window tinyops_window_at(const tinyops_call *call, uint32_t y, uint32_t x) {
  const tinyops_op *op = call->op;
  const int32_t top = tinyops_window_start(op, 0, y), left = tinyops_window_start(op, 1, x);
  const tinyops_taps rows = tinyops_taps_inside(top, op->kernel[0], 1, call->input.shape[1]);
  const tinyops_taps columns = tinyops_taps_inside(left, op->kernel[1], 1, call->input.shape[2]);
  tinyops_window window;
  window.rows = (uint32_t)(rows.end - rows.first);
  window.columns = (uint32_t)(columns.end - columns.first);
  window.column_step = call->input.shape[3];
  window.row_step = (size_t)call->input.shape[2] * window.column_step;
  window.first = call->in;
  if (window.rows > 0 && window.columns > 0) {
    window.first += (size_t)(top + rows.first) * window.row_step +
                    (size_t)(left + columns.first) * window.column_step;
  }
  return window;
}

/* Makes every pixel of a pool, row after row, by a function of a window, a channel and the op. */
static inline void tinyops_pool(const tinyops_call *call,
                                int32_t (*of_window)(const tinyops_window *window,
                                                     uint32_t channel)) {
  const uint32_t height = call->output.shape[1], width = call->output.shape[2];
  const uint32_t channels = call->output.shape[3];
  uint32_t index, x, channel;
  for (index = 0; index < height; index++) {
    uint32_t y = tinyops_row(call->op, index, height);
    for (x = 0; x < width; x++) {
      tinyops_window window = tinyops_window_at(call, y, x);
      uint8_t *pixel = call->out + ((size_t)y * width + x) * channels;
      for (channel = 0; channel < channels; channel++) {
        /* Input and output have one scale and zero point here, so nothing is rescaled. */
        pixel[channel] = tinyops_finished(call->op, 0, of_window(&window, channel));
      }
    }
  }
}

/* sum / count to the nearest, halves away from zero; 0 of nothing. */
static inline int32_t tinyops_rounded_quotient(int32_t sum, int32_t count) {
  if (count <= 0) return 0;
  return tinyops_add_wrapping(sum, sum > 0 ? count / 2 : -(count / 2)) / count;
}

#endif
