/* Mel cepstra by frame: the orthonormal cosine transform of the logarithms of mel energies. */
#include "elementary.h"
#include "sound.h"
#include "taper.h"

#define PI 3.14159265358979323846
/* Energy of a silent frame before its logarithm is taken. */
#define SILENCE 1e-10f

static void read(tinyops_settings *settings, tinyops_front_end *end) {
  tinyops_sound_settings *sound = &end->settings.sound;
  tinyops_sound_read_framing(settings, end);
  sound->coefficient_count = tinyops_settings_u16(settings);
  sound->flags = tinyops_settings_choice(settings, 4);
  sound->floor = tinyops_settings_f32(settings);
  sound->lifter = tinyops_settings_u16(settings);
  tinyops_sound_read_timeline(settings, end);
}

static bool is_sound(const tinyops_front_end *end) {
  const tinyops_sound_settings *sound = &end->settings.sound;
  return sound->coefficient_count >= 1 && sound->coefficient_count <= sound->filter_count &&
         tinyops_is_finite(sound->floor) && sound->floor > 0 && tinyops_sound_is_sound(end);
}

/* cos(pi turns / 2n), of which the table holds the first quarter of a turn. */
static float cosine_at(const float *table, uint32_t n, uint32_t turns) {
  if (turns <= n) return table[turns];
  if (turns <= 2 * n) return -table[2 * n - turns];
  if (turns <= 3 * n) return -table[turns - 2 * n];
  return table[4 * n - turns];
}

static void transform(const tinyops_sound *sound, float *row) {
  const uint32_t n = sound->cosine_count - 1;
  const float first = tinyops_sqrtf(1.0f / (float)n), others = tinyops_sqrtf(2.0f / (float)n);
  uint32_t k, t;
  for (k = 0; k < sound->width; k++) {
    uint32_t turns = k;
    float sum = 0;
    for (t = 0; t < n; t++) {
      sum += sound->mels[t] * cosine_at(sound->cosines, n, turns);
      turns += 2 * k;
      if (turns >= 4 * n) turns -= 4 * n;
    }
    row[k] = sum * (k == 0 ? first : others);
  }
}

static void lift(const tinyops_sound *sound, uint16_t lifter) {
  uint32_t n, frame;
  for (n = 0; n < sound->width; n++) {
    const double sine = tinyops_sin(PI * (double)n / (double)lifter);
    const float weight = (float)(1.0 + (double)lifter / 2.0 * sine);
    for (frame = 0; frame < sound->frame_count; frame++) {
      sound->rows[(size_t)frame * sound->width + n] *= weight;
    }
  }
}

static void extract(const tinyops_front_end *end, const float *window, float *features,
                    float *scratch) {
  const tinyops_sound_settings *settings = &end->settings.sound;
  tinyops_sound sound = tinyops_sound_of(end, scratch);
  uint32_t channel, frame, index;
  tinyops_sound_begin(end, &sound);
  for (index = 0; index < sound.cosine_count; index++) {
    sound.cosines[index] = tinyops_cosine(index, 4 * (sound.cosine_count - 1));
  }
  for (channel = 0; channel < end->channel_count; channel++) {
    for (frame = 0; frame < sound.frame_count; frame++) {
      float *row = sound.rows + (size_t)frame * sound.width;
      tinyops_sound_frame(end, &sound, window, channel, frame);
      for (index = 0; index < settings->filter_count; index++) {
        sound.mels[index] = tinyops_logf(sound.mels[index] + settings->floor);
      }
      transform(&sound, row);
      if ((settings->flags & TINYOPS_SOUND_ENERGY) != 0) {
        const float energy = sound.energies[frame];
        row[0] = tinyops_logf(energy > SILENCE ? energy : SILENCE);
      }
    }
    if (settings->lifter > 0) lift(&sound, settings->lifter);
    tinyops_sound_finish(end, &sound, channel, features);
  }
}

const tinyops_block tinyops_mfcc = {
    4, false, read, is_sound, tinyops_sound_shape, tinyops_sound_scratch_len, extract};
