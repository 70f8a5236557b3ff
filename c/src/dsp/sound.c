#include "sound.h"

#include "elementary.h"
#include "fft.h"
#include "taper.h"

enum { TAPER_RECTANGULAR = 0, TAPER_HANN = 1, TAPER_HAMMING = 2 };
enum { NORMALIZE_NONE = 0, NORMALIZE_MEAN = 1, NORMALIZE_VARIANCE = 2, NORMALIZE_SLIDING = 3 };
enum { TIMELINE_FRAMES = 0, TIMELINE_MOMENTS = 1, TIMELINE_STRETCHES = 2 };

/* The longest span of a sliding normalisation, in frames. */
#define SPAN_MAX 1001u
/* Frames on either side that a slope is taken over. */
#define REACH 2u

typedef tinyops_sound_settings settings_of;

void tinyops_sound_read_framing(tinyops_settings *settings, tinyops_front_end *end) {
  settings_of *sound = &end->settings.sound;
  end->scale = tinyops_settings_f32(settings);
  sound->frame_len = tinyops_settings_u16(settings);
  sound->stride = tinyops_settings_u16(settings);
  sound->fft_len = tinyops_settings_u16(settings);
  sound->taper = tinyops_settings_choice(settings, 3);
  sound->pre_emphasis = tinyops_settings_f32(settings);
  sound->filter_count = tinyops_settings_u16(settings);
  sound->low_hz = tinyops_settings_f32(settings);
  sound->high_hz = tinyops_settings_f32(settings);
}

void tinyops_sound_read_timeline(tinyops_settings *settings, tinyops_front_end *end) {
  settings_of *sound = &end->settings.sound;
  sound->normalize = tinyops_settings_choice(settings, 4);
  if (sound->normalize == NORMALIZE_SLIDING) sound->span = tinyops_settings_u16(settings);
  sound->timeline = tinyops_settings_choice(settings, 3);
  if (sound->timeline == TIMELINE_STRETCHES) {
    sound->stretch_count = tinyops_settings_u16(settings);
    sound->trim_db = tinyops_settings_f32(settings);
  }
}

static uint32_t frame_count_of(const tinyops_front_end *end) {
  const settings_of *sound = &end->settings.sound;
  if (end->window_len < sound->frame_len) return 0;
  return 1 + (end->window_len - sound->frame_len) / sound->stride;
}

static float high_hz_of(const tinyops_front_end *end) {
  const float high_hz = end->settings.sound.high_hz;
  return high_hz == 0 ? end->rate_hz / 2.0f : high_hz;
}

static bool is_framing_sound(const settings_of *sound) {
  return sound->fft_len >= 16 && tinyops_is_fft_len(sound->fft_len) && sound->frame_len >= 1 &&
         sound->frame_len <= sound->fft_len && sound->stride >= 1 &&
         tinyops_absf(sound->pre_emphasis) <= 1.0f;
}

bool tinyops_sound_is_sound(const tinyops_front_end *end) {
  const settings_of *sound = &end->settings.sound;
  uint32_t frames;
  if (!tinyops_is_finite(end->scale) || !is_framing_sound(sound)) return false;
  if (sound->filter_count < 1 || sound->filter_count > 128 || !(sound->low_hz >= 0) ||
      !(sound->low_hz < high_hz_of(end)) || !(high_hz_of(end) <= end->rate_hz / 2.0f)) {
    return false;
  }
  frames = frame_count_of(end);
  if (frames < 1 || frames > UINT16_MAX) return false;
  if (sound->normalize == NORMALIZE_SLIDING && (sound->span % 2 != 1 || sound->span > SPAN_MAX)) {
    return false;
  }
  return sound->timeline != TIMELINE_STRETCHES ||
         (sound->stretch_count >= 1 && tinyops_is_finite(sound->trim_db) && sound->trim_db >= 0);
}

/* So many numbers of the scratch memory. */
static float *take(float **at, size_t count) {
  float *taken = *at;
  if (taken != NULL) *at += count;
  return taken;
}

tinyops_sound tinyops_sound_of(const tinyops_front_end *end, float *scratch) {
  const settings_of *settings = &end->settings.sound;
  const uint32_t filters = settings->filter_count;
  /* Of cepstra alone there is a count, and it is 1 at least. */
  const bool has_cosines = settings->coefficient_count > 0;
  const uint32_t width = has_cosines ? settings->coefficient_count : filters;
  tinyops_sound sound;
  sound.frame_count = frame_count_of(end);
  sound.width = width;
  sound.cosine_count = has_cosines ? filters + 1 : 0;
  sound.has_slopes = (settings->flags & TINYOPS_SOUND_SLOPES) != 0;
  sound.taper = take(&scratch, settings->frame_len);
  sound.edges = take(&scratch, filters + 2);
  sound.buffer = take(&scratch, (size_t)settings->fft_len + 2);
  sound.mels = take(&scratch, filters);
  sound.cosines = take(&scratch, sound.cosine_count);
  sound.energies = take(&scratch, sound.frame_count);
  sound.rows = take(&scratch, (size_t)sound.frame_count * width);
  sound.removed = scratch;
  return sound;
}

size_t tinyops_sound_scratch_len(const tinyops_front_end *end) {
  const settings_of *settings = &end->settings.sound;
  const tinyops_sound sound = tinyops_sound_of(end, NULL);
  const size_t rows = (size_t)sound.frame_count * sound.width;
  return (size_t)settings->frame_len + settings->fft_len + 2 * (size_t)settings->filter_count + 4 +
         sound.cosine_count + sound.frame_count + rows +
         (settings->normalize == NORMALIZE_SLIDING ? rows : 0);
}

void tinyops_sound_shape(const tinyops_front_end *end, uint32_t shape[3]) {
  const settings_of *settings = &end->settings.sound;
  const tinyops_sound sound = tinyops_sound_of(end, NULL);
  shape[0] = settings->timeline == TIMELINE_FRAMES    ? sound.frame_count
             : settings->timeline == TIMELINE_MOMENTS ? 2
                                                      : settings->stretch_count;
  shape[1] = sound.width * (sound.has_slopes ? 2 : 1);
  shape[2] = end->channel_count;
}

static double mel_of(float hz) {
  return 1127.0 * tinyops_log(1.0 + (double)hz / 700.0);
}

static double hz_of(double mel) {
  return 700.0 * (tinyops_exp(mel / 1127.0) - 1.0);
}

void tinyops_sound_begin(const tinyops_front_end *end, tinyops_sound *sound) {
  const settings_of *settings = &end->settings.sound;
  const double low = mel_of(settings->low_hz), high = mel_of(high_hz_of(end));
  const double step = (high - low) / (double)(settings->filter_count + 1);
  const double bins_per_hz = (double)settings->fft_len / (double)end->rate_hz;
  const bool is_hann = settings->taper == TAPER_HANN, is_flat = settings->taper == TAPER_RECTANGULAR;
  uint32_t index;
  tinyops_fill_taper(sound->taper, settings->frame_len,
                     is_flat ? 1.0f : is_hann ? 0.5f : 0.54f,
                     is_flat ? 0.0f : is_hann ? 0.5f : 0.46f);
  for (index = 0; index < settings->filter_count + 2u; index++) {
    sound->edges[index] = (float)(hz_of(low + step * (double)index) * bins_per_hz);
  }
}

/* Power under the triangle over three edges in bins; one too narrow to hold a bin reads the spectrum
 * at its peak. */
static float triangle_energy(const float *power, uint32_t bin_count, const float *edges) {
  const float left = edges[0], middle = edges[1], right = edges[2];
  uint32_t first = tinyops_whole(left) + 1, last = tinyops_whole(right), bin;
  float rise, fall, energy = 0;
  if ((float)last < right) last++;
  if (last > bin_count) last = bin_count;
  if (first >= last) {
    uint32_t below = tinyops_whole(middle), above;
    if (below > bin_count - 1) below = bin_count - 1;
    above = below + 1 < bin_count ? below + 1 : below;
    return power[below] + (power[above] - power[below]) * (middle - (float)below);
  }
  rise = 1.0f / (middle - left);
  fall = 1.0f / (right - middle);
  for (bin = first; bin < last; bin++) {
    const float up = ((float)bin - left) * rise, down = (right - (float)bin) * fall;
    energy += power[bin] * (up < down ? up : down);
  }
  return energy;
}

void tinyops_sound_frame(const tinyops_front_end *end, tinyops_sound *sound, const float *window,
                         uint32_t channel, uint32_t frame) {
  const settings_of *settings = &end->settings.sound;
  const size_t start = (size_t)frame * settings->stride;
  const uint32_t channels = end->channel_count, bin_count = settings->fft_len / 2u + 1;
  const float fft_len = (float)settings->fft_len;
  const float *at = window + start * channels + channel;
  float previous = (start > 0 ? *(at - channels) : *at) * end->scale;
  tinyops_total total = {0, 0, 0};
  uint32_t t;
  for (t = 0; t < settings->frame_len; t++, at += channels) {
    const float x = *at * end->scale;
    sound->buffer[t] = (x - settings->pre_emphasis * previous) * sound->taper[t];
    previous = x;
  }
  for (; t < settings->fft_len; t++) sound->buffer[t] = 0;
  tinyops_power_spectrum(sound->buffer, settings->fft_len);
  for (t = 0; t < settings->filter_count; t++) {
    sound->mels[t] = triangle_energy(sound->buffer, bin_count, sound->edges + t) / fft_len;
  }
  for (t = 0; t < bin_count; t++) tinyops_total_add(&total, sound->buffer[t]);
  sound->energies[frame] = tinyops_total_end(&total) / fft_len;
}

/* Rows from a first to before an end. */
typedef struct active_rows {
  float *at;
  uint32_t count;
} active_rows;

/* From the first to the last frame whose energy is less than the trim below the loudest; all of a
 * silent window. */
static active_rows active_of(const tinyops_front_end *end, const tinyops_sound *sound) {
  const settings_of *settings = &end->settings.sound;
  uint32_t first = 0, stop = sound->frame_count;
  active_rows active;
  if (settings->timeline == TIMELINE_STRETCHES && settings->trim_db > 0) {
    float floor = 0;
    uint32_t frame;
    for (frame = 0; frame < sound->frame_count; frame++) {
      if (sound->energies[frame] > floor) floor = sound->energies[frame];
    }
    floor *= tinyops_powf(10.0f, -settings->trim_db / 10.0f);
    while (first < stop && !(sound->energies[first] >= floor)) first++;
    while (stop > first && !(sound->energies[stop - 1] >= floor)) stop--;
    if (first == stop) {
      first = 0;
      stop = sound->frame_count;
    }
  }
  active.at = sound->rows + (size_t)first * sound->width;
  active.count = stop - first;
  return active;
}

/* A sum over a column, of the numbers or of their squares. */
static float column_sum(const float *at, uint32_t count, uint32_t width, bool of_squares) {
  tinyops_total total = {0, 0, 0};
  for (; count > 0; count--, at += width) tinyops_total_add(&total, of_squares ? *at * *at : *at);
  return tinyops_total_end(&total);
}

static void normalize_column(float *column, uint32_t count, uint32_t width, bool of_variance) {
  const float mean = column_sum(column, count, width, false) / (float)count;
  float deviation, factor;
  uint32_t row;
  for (row = 0; row < count; row++) column[(size_t)row * width] -= mean;
  if (!of_variance) return;
  deviation = tinyops_sqrtf(column_sum(column, count, width, true) / (float)count);
  /* A constant column stays 0 rather than becoming the noise of its mean. */
  factor = deviation > 1e-5f ? 1.0f / deviation : 0.0f;
  for (row = 0; row < count; row++) column[(size_t)row * width] *= factor;
}

/* The row that a place of the endless mirror of `count` rows shows. */
static uint32_t mirrored(uint32_t place, uint32_t count, uint32_t half) {
  place = (place + 2 * count * (half / (2 * count) + 1) - half) % (2 * count);
  return place < count ? place : 2 * count - 1 - place;
}

/* Removes the mean of a sliding span of rows and divides by their deviation.
 *
 * Source: speechpy, cmvnw, with its small constant 2^-30 under the division. */
static void normalize_sliding(float *rows, float *removed, uint32_t count, uint32_t width,
                              uint32_t span) {
  const uint32_t half = span / 2, len = 2 * half + 1;
  uint32_t row, column, at;
  for (row = 0; row < count; row++) {
    for (column = 0; column < width; column++) {
      tinyops_total total = {0, 0, 0};
      for (at = 0; at < len; at++) {
        tinyops_total_add(&total, rows[(size_t)mirrored(row + at, count, half) * width + column]);
      }
      removed[(size_t)row * width + column] =
          rows[(size_t)row * width + column] - tinyops_total_end(&total) / (float)len;
    }
  }
  for (row = 0; row < count; row++) {
    for (column = 0; column < width; column++) {
      tinyops_total total = {0, 0, 0}, squares = {0, 0, 0};
      float mean;
      for (at = 0; at < len; at++) {
        tinyops_total_add(&total, removed[(size_t)mirrored(row + at, count, half) * width + column]);
      }
      mean = tinyops_total_end(&total) / (float)len;
      for (at = 0; at < len; at++) {
        const float d = removed[(size_t)mirrored(row + at, count, half) * width + column] - mean;
        tinyops_total_add(&squares, d * d);
      }
      rows[(size_t)row * width + column] =
          removed[(size_t)row * width + column] /
          (tinyops_sqrtf(tinyops_total_end(&squares) / (float)len) + 9.3132257e-10f);
    }
  }
}

static void normalize(const settings_of *settings, const tinyops_sound *sound, active_rows active) {
  uint32_t column;
  if (settings->normalize == NORMALIZE_NONE) return;
  if (settings->normalize == NORMALIZE_SLIDING) {
    normalize_sliding(active.at, sound->removed, active.count, sound->width, settings->span);
    return;
  }
  for (column = 0; column < sound->width; column++) {
    normalize_column(active.at + column, active.count, sound->width,
                     settings->normalize == NORMALIZE_VARIANCE);
  }
}

/* A number of a row; behind the numbers their least-squares slopes over five frames, the first and the
 * last held beyond the ends. */
static float number_at(const tinyops_sound *sound, active_rows active, uint32_t row,
                       uint32_t column) {
  float slope = 0;
  uint32_t reach;
  if (column < sound->width) return active.at[(size_t)row * sound->width + column];
  column -= sound->width;
  for (reach = 1; reach <= REACH; reach++) {
    const uint32_t later = row + reach < active.count ? row + reach : active.count - 1;
    const uint32_t earlier = row > reach ? row - reach : 0;
    slope += (float)reach * (active.at[(size_t)later * sound->width + column] -
                             active.at[(size_t)earlier * sound->width + column]);
  }
  return slope / 10.0f;
}

/* The mean of a column from one row to before another. */
static float mean_of_rows(const tinyops_sound *sound, active_rows active, uint32_t start,
                          uint32_t stop, uint32_t column) {
  tinyops_total total = {0, 0, 0};
  uint32_t row;
  for (row = start; row < stop; row++) tinyops_total_add(&total, number_at(sound, active, row, column));
  return tinyops_total_end(&total) / (float)(stop - start);
}

static float deviation_of_rows(const tinyops_sound *sound, active_rows active, float mean,
                               uint32_t column) {
  tinyops_total squares = {0, 0, 0};
  uint32_t row;
  for (row = 0; row < active.count; row++) {
    const float d = number_at(sound, active, row, column) - mean;
    tinyops_total_add(&squares, d * d);
  }
  return tinyops_sqrtf(tinyops_total_end(&squares) / (float)active.count);
}

void tinyops_sound_finish(const tinyops_front_end *end, tinyops_sound *sound, uint32_t channel,
                          float *features) {
  const settings_of *settings = &end->settings.sound;
  const active_rows active = active_of(end, sound);
  const uint32_t width = sound->width * (sound->has_slopes ? 2 : 1);
  const uint32_t stretches = settings->stretch_count;
  const size_t step = end->channel_count;
  uint32_t row, column;
  normalize(settings, sound, active);
  features += channel;
  if (settings->timeline == TIMELINE_MOMENTS) {
    for (column = 0; column < width; column++) {
      const float mean = mean_of_rows(sound, active, 0, active.count, column);
      features[column * step] = mean;
      features[(width + column) * step] = deviation_of_rows(sound, active, mean, column);
    }
    return;
  }
  for (row = 0; row < (settings->timeline == TIMELINE_FRAMES ? active.count : stretches); row++) {
    for (column = 0; column < width; column++, features += step) {
      if (settings->timeline == TIMELINE_FRAMES) {
        *features = number_at(sound, active, row, column);
      } else {
        const uint32_t start = row * active.count / stretches;
        const uint32_t stop = (row + 1) * active.count / stretches;
        *features = mean_of_rows(sound, active, start, stop > start ? stop : start + 1, column);
      }
    }
  }
}
