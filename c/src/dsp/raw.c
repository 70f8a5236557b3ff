/* The readings themselves: x * scale. */
#include "block.h"

static void read(tinyops_settings *settings, tinyops_front_end *end) {
  end->scale = tinyops_settings_f32(settings);
}

static bool is_sound(const tinyops_front_end *end) {
  return tinyops_is_finite(end->scale) && end->window_len <= UINT16_MAX;
}

static void shape(const tinyops_front_end *end, uint32_t shape[3]) {
  shape[0] = 1;
  shape[1] = end->window_len;
  shape[2] = end->channel_count;
}

static void extract(const tinyops_front_end *end, const float *window, float *features,
                    float *scratch) {
  const size_t count = tinyops_front_end_reading_count(end);
  size_t index;
  (void)scratch;
  for (index = 0; index < count; index++) features[index] = window[index] * end->scale;
}

const tinyops_block tinyops_raw = {0, true, read, is_sound, shape, tinyops_no_scratch, extract};
