/* A few statistics of each channel: mean, least, greatest, rms, deviation, skewness, kurtosis. */
#include "block.h"
#include "statistics.h"

#define STATISTICS 7u

static void read(tinyops_settings *settings, tinyops_front_end *end) {
  end->scale = tinyops_settings_f32(settings);
  end->statistics = tinyops_settings_choice(settings, 1u << STATISTICS);
}

static bool is_sound(const tinyops_front_end *end) {
  return tinyops_is_finite(end->scale);
}

static void shape(const tinyops_front_end *end, uint32_t shape[3]) {
  uint32_t index, chosen = 0;
  for (index = 0; index < STATISTICS; index++) chosen += (uint32_t)end->statistics >> index & 1;
  tinyops_row_shape(shape, chosen * end->channel_count);
}

static size_t scratch_len(const tinyops_front_end *end) {
  return end->window_len;
}

static void extract(const tinyops_front_end *end, const float *window, float *features,
                    float *scratch) {
  uint32_t channel, index;
  for (channel = 0; channel < end->channel_count; channel++) {
    float all[STATISTICS];
    tinyops_moments moments;
    tinyops_copy_channel(end, window, channel, scratch);
    moments = tinyops_moments_of(scratch, end->window_len);
    all[0] = moments.mean;
    tinyops_extremes(scratch, end->window_len, &all[1], &all[2]);
    all[3] = tinyops_rms(scratch, end->window_len);
    all[4] = moments.deviation;
    all[5] = moments.skewness;
    all[6] = moments.kurtosis;
    for (index = 0; index < STATISTICS; index++) {
      if ((end->statistics >> index & 1) != 0) *features++ = all[index];
    }
  }
}

const tinyops_block tinyops_flatten = {1, true, read, is_sound, shape, scratch_len, extract};
