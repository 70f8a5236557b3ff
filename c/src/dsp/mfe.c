/* Mel energies by frame, as logarithms, decibels or levels. */
#include "elementary.h"
#include "sound.h"

enum { LEVEL_NATURAL = 0, LEVEL_DECIBEL = 1, LEVEL_QUANTIZED = 2 };

/* Energy of a silent frame before its logarithm is taken, and of a silent level. */
#define SILENCE 1e-10f
#define SILENT_LEVEL 1e-30f
/* The level in decibels that becomes 1. */
#define LOUDEST_DB 12.0f

static void read(tinyops_settings *settings, tinyops_front_end *end) {
  uint8_t level;
  tinyops_sound_read_framing(settings, end);
  level = tinyops_settings_u8(settings);
  end->settings.sound.floor = tinyops_settings_f32(settings);
  if (level > LEVEL_QUANTIZED && settings->status == TINYOPS_FEATURES_MADE) {
    settings->status = TINYOPS_FEATURES_TAG;
  }
  end->settings.sound.level = level;
  tinyops_sound_read_timeline(settings, end);
}

static bool is_sound(const tinyops_front_end *end) {
  const float floor = end->settings.sound.floor;
  const bool is_quantized = end->settings.sound.level == LEVEL_QUANTIZED;
  return tinyops_is_finite(floor) && (is_quantized ? floor < LOUDEST_DB : floor > 0) &&
         tinyops_sound_is_sound(end);
}

static float decibel(float power, float floor) {
  return 10.0f * tinyops_log10f(power > floor ? power : floor);
}

static void scale_levels(const tinyops_sound_settings *settings, float *values, size_t count) {
  const float floor = settings->floor;
  float loudest = -3.40282347e+38f, share;
  size_t index;
  for (index = 0; index < count; index++) {
    if (settings->level == LEVEL_NATURAL) {
      values[index] = tinyops_logf(values[index] + floor);
    } else if (settings->level == LEVEL_DECIBEL) {
      values[index] = decibel(values[index], SILENCE);
      if (values[index] > loudest) loudest = values[index];
    } else {
      share = (decibel(values[index], SILENT_LEVEL) - floor) / (LOUDEST_DB - floor);
      share = share < 0 ? 0 : share > 1.0f ? 1.0f : share;
      values[index] = (float)tinyops_rounded(share * 256.0f) / 256.0f;
    }
  }
  if (settings->level != LEVEL_DECIBEL) return;
  for (index = 0; index < count; index++) {
    if (values[index] < loudest - floor) values[index] = loudest - floor;
  }
}

static void extract(const tinyops_front_end *end, const float *window, float *features,
                    float *scratch) {
  tinyops_sound sound = tinyops_sound_of(end, scratch);
  uint32_t channel, frame;
  tinyops_sound_begin(end, &sound);
  for (channel = 0; channel < end->channel_count; channel++) {
    for (frame = 0; frame < sound.frame_count; frame++) {
      tinyops_sound_frame(end, &sound, window, channel, frame);
      memcpy(sound.rows + (size_t)frame * sound.width, sound.mels, sound.width * sizeof(float));
    }
    scale_levels(&end->settings.sound, sound.rows, (size_t)sound.frame_count * sound.width);
    tinyops_sound_finish(end, &sound, channel, features);
  }
}

const tinyops_block tinyops_mfe = {
    3, false, read, is_sound, tinyops_sound_shape, tinyops_sound_scratch_len, extract};
