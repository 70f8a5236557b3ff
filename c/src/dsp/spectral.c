/* Statistics and a spectrum of each channel, after an optional filter.
 *
 * Bands: mean, rms, skew, excess kurtosis and mean absolute difference of the signal; the logarithms of
 * its power in geometric bands; its strongest frequency; then, as flags say, seven numbers of its shape
 * and five quantiles. Norms of each three channels may follow as further channels, and correlations.
 * Max-hold: what Edge Impulse's spectral block, version 4, computes. */
#include "block.h"
#include "elementary.h"
#include "fft.h"
#include "filter.h"
#include "statistics.h"
#include "taper.h"

enum { FILTER_NONE = 0, FILTER_LOW = 1, FILTER_HIGH = 2 };
enum { BANDS = 0, MAX_HOLD = 1 };
/* Flags of bands. */
enum { SHAPE = 1, PERCENTILES = 2, MAGNITUDE = 4, CROSS = 8 };
/* Flags of max-hold. */
enum { LOG = 1, OVERLAP = 2 };

/* Numbers of a channel: before the bands and one after them; of its shape; quantiles; before the bins
 * of a max-hold spectrum. */
#define BASE_COUNT 6u
#define SHAPE_COUNT 7u
#define QUANTILE_COUNT 5u
#define MAX_HOLD_COUNT 5u

typedef tinyops_spectral_settings settings_of;

/* First and last bin. */
typedef struct bins {
  uint32_t first;
  uint32_t last;
} bins;

static void read(tinyops_settings *settings, tinyops_front_end *end) {
  settings_of *spectral = &end->settings.spectral;
  end->scale = tinyops_settings_f32(settings);
  spectral->filter_kind = tinyops_settings_choice(settings, 3);
  spectral->cutoff_hz = tinyops_settings_f32(settings);
  spectral->filter_order = tinyops_settings_u8(settings);
  spectral->analysis = tinyops_settings_choice(settings, 2);
  spectral->fft_len = tinyops_settings_u16(settings);
  if (spectral->analysis == MAX_HOLD) {
    spectral->flags = tinyops_settings_choice(settings, 4);
    return;
  }
  spectral->band_count = tinyops_settings_u8(settings);
  spectral->low_hz = tinyops_settings_f32(settings);
  spectral->high_hz = tinyops_settings_f32(settings);
  spectral->log_floor = tinyops_settings_f32(settings);
  spectral->flags = tinyops_settings_choice(settings, 16);
}

/* The settings' length of a transform, or the window's rounded up to one. */
static uint32_t fft_len_of(const tinyops_front_end *end) {
  uint32_t len = 16;
  if (end->settings.spectral.fft_len != 0) return end->settings.spectral.fft_len;
  while (len < end->window_len && len < TINYOPS_FFT_LEN_MAX) len *= 2;
  return len;
}

static uint32_t least(uint32_t a, uint32_t b) {
  return a < b ? a : b;
}

static uint32_t bin_at(float hz, uint32_t fft_len, float rate_hz) {
  return tinyops_rounded(hz * (float)fft_len / rate_hz);
}

static bins bins_of_bands(const tinyops_front_end *end) {
  const settings_of *spectral = &end->settings.spectral;
  const uint32_t fft_len = fft_len_of(end), frame_len = least(fft_len, end->window_len);
  bins all;
  if (spectral->low_hz == 0) {
    all.first = (fft_len + frame_len / 2) / frame_len;
  } else {
    all.first = bin_at(spectral->low_hz, fft_len, end->rate_hz);
    if (all.first == 0) all.first = 1;
  }
  all.last = fft_len / 2;
  if (spectral->high_hz != 0) {
    all.last = least(all.last, bin_at(spectral->high_hz, fft_len, end->rate_hz));
  }
  return all;
}

/* Those that pass the filter; bin 0 never does. */
static bins bins_of_max_hold(const tinyops_front_end *end) {
  const settings_of *spectral = &end->settings.spectral;
  const float corner = spectral->cutoff_hz * (float)spectral->fft_len / end->rate_hz;
  bins all;
  all.first = 1;
  all.last = spectral->fft_len / 2u;
  if (spectral->filter_kind == FILTER_LOW) {
    all.last = least(all.last, tinyops_whole(corner + 0.5f));
  } else if (spectral->filter_kind == FILTER_HIGH && tinyops_whole(corner - 0.5f) < all.last) {
    all.first = tinyops_whole(corner - 0.5f) + 1;
  } else if (spectral->filter_kind == FILTER_HIGH) {
    all.first = all.last + 1;
  }
  return all;
}

static bool is_filter_sound(const tinyops_front_end *end) {
  const settings_of *spectral = &end->settings.spectral;
  const uint8_t order = spectral->filter_order;
  if (!tinyops_is_finite(spectral->cutoff_hz)) return false;
  if (spectral->filter_kind == FILTER_NONE) return true;
  return (order == 2 || order == 4 || order == 6 || order == 8) && spectral->cutoff_hz > 0 &&
         spectral->cutoff_hz < end->rate_hz / 2.0f;
}

static bool are_bands_sound(const tinyops_front_end *end) {
  const settings_of *spectral = &end->settings.spectral;
  const float half_hz = end->rate_hz / 2.0f;
  bins all;
  if (spectral->fft_len != 0 && (spectral->fft_len < 16 || !tinyops_is_fft_len(spectral->fft_len))) {
    return false;
  }
  if (end->window_len < 8 || spectral->band_count > 64 || !tinyops_is_finite(spectral->log_floor) ||
      !(spectral->log_floor > 0) || !(spectral->low_hz >= 0 && spectral->low_hz < half_hz) ||
      !(spectral->high_hz >= 0 && spectral->high_hz <= half_hz)) {
    return false;
  }
  all = bins_of_bands(end);
  return all.first <= all.last && spectral->band_count <= all.last + 1 - all.first;
}

static bool is_sound(const tinyops_front_end *end) {
  const settings_of *spectral = &end->settings.spectral;
  bins all;
  if (!tinyops_is_finite(end->scale) || !is_filter_sound(end)) return false;
  if (spectral->analysis == BANDS) return are_bands_sound(end);
  if (spectral->fft_len < 4 || !tinyops_is_fft_len(spectral->fft_len)) return false;
  all = bins_of_max_hold(end);
  return all.first <= all.last;
}

/* Numbers of one channel. */
static uint32_t row_len(const tinyops_front_end *end) {
  const settings_of *spectral = &end->settings.spectral;
  if (spectral->analysis == MAX_HOLD) {
    const bins all = bins_of_max_hold(end);
    return MAX_HOLD_COUNT + all.last + 1 - all.first;
  }
  return BASE_COUNT + spectral->band_count + ((spectral->flags & SHAPE) != 0 ? SHAPE_COUNT : 0) +
         ((spectral->flags & PERCENTILES) != 0 ? QUANTILE_COUNT : 0);
}

/* Channels and norms. */
static uint32_t row_count(const tinyops_front_end *end) {
  const settings_of *spectral = &end->settings.spectral;
  const bool has_norms = spectral->analysis == BANDS && (spectral->flags & MAGNITUDE) != 0;
  return end->channel_count + (has_norms ? end->channel_count / 3u : 0);
}

static bool has_correlations(const tinyops_front_end *end) {
  return end->settings.spectral.analysis == BANDS && (end->settings.spectral.flags & CROSS) != 0;
}

static void shape(const tinyops_front_end *end, uint32_t shape[3]) {
  const uint32_t channels = end->channel_count;
  const uint32_t pairs = has_correlations(end) ? channels * (channels - 1) / 2 : 0;
  tinyops_row_shape(shape, row_count(end) * row_len(end) + pairs);
}

/* The signal, its taper where there is one, a transform, and its bins. */
static size_t scratch_len(const tinyops_front_end *end) {
  const uint32_t fft_len = fft_len_of(end);
  const bool is_tapered = end->settings.spectral.analysis == BANDS;
  return (size_t)end->window_len + (is_tapered ? least(fft_len, end->window_len) : 0) + fft_len + 2 +
         fft_len / 2 + 1;
}

static void copy_norm(const tinyops_front_end *end, const float *window, uint32_t group, float *to) {
  uint32_t t, index;
  window += 3 * group;
  for (t = 0; t < end->window_len; t++, window += end->channel_count) {
    float square = 0;
    for (index = 0; index < 3; index++) {
      const float x = window[index] * end->scale;
      square += x * x;
    }
    to[t] = tinyops_sqrtf(square);
  }
}

/* |X|^2 over the energy of the taper, averaged over half-overlapping frames of the signal. */
static void mean_power(const tinyops_front_end *end, const float *signal, float mean,
                       const float *taper, float *buffer, float *power) {
  const uint32_t fft_len = fft_len_of(end), frame_len = least(fft_len, end->window_len);
  const uint32_t bin_count = fft_len / 2 + 1;
  tinyops_total weights = {0, 0, 0};
  uint32_t start, t, count = 0;
  float energy;
  for (t = 0; t < bin_count; t++) power[t] = 0;
  for (start = 0; start + frame_len <= end->window_len; start += frame_len / 2) {
    for (t = 0; t < frame_len; t++) buffer[t] = (signal[start + t] - mean) * taper[t];
    for (; t < fft_len; t++) buffer[t] = 0;
    tinyops_power_spectrum(buffer, fft_len);
    for (t = 0; t < bin_count; t++) power[t] += buffer[t];
    count++;
  }
  for (t = 0; t < frame_len; t++) tinyops_total_add(&weights, taper[t] * taper[t]);
  energy = tinyops_total_end(&weights) * (float)count;
  for (t = 0; t < bin_count; t++) power[t] /= energy;
}

static float *put_bands(const tinyops_front_end *end, const float *power, float *row) {
  const settings_of *spectral = &end->settings.spectral;
  const bins all = bins_of_bands(end);
  const uint32_t count = spectral->band_count;
  float ratio = 1.0f, edge = (float)all.first;
  uint32_t index, bin, start = all.first;
  if (count > 0) {
    ratio = tinyops_powf((float)(all.last + 1) / (float)all.first, 1.0f / (float)count);
  }
  for (index = 0; index < count; index++) {
    /* At least one bin for this band and for each that follows. */
    const uint32_t latest = all.last + 1 - (count - 1 - index);
    tinyops_total total = {0, 0, 0};
    uint32_t stop = latest;
    edge *= ratio;
    if (index + 1 < count) {
      stop = tinyops_whole(edge);
      if (stop < start + 1) stop = start + 1;
      if (stop > latest) stop = latest;
    }
    for (bin = start; bin < stop; bin++) tinyops_total_add(&total, power[bin]);
    *row++ = tinyops_log10f(tinyops_total_end(&total) / (float)(stop - start) + spectral->log_floor);
    start = stop;
  }
  return row;
}

/* The bin with the largest power but bin 0; 0 for silence. */
static uint32_t largest_bin(const float *power, uint32_t count) {
  uint32_t bin, largest = 0;
  float height = 0;
  for (bin = 1; bin < count; bin++) {
    if (power[bin] > height) {
      height = power[bin];
      largest = bin;
    }
  }
  return largest;
}

/* Centroid in bins and entropy (0 a tone, 1 white) of all bins but bin 0; zeros for silence. */
static void spectral_shape(const float *power, uint32_t count, float *centroid, float *entropy) {
  tinyops_total total = {0, 0, 0}, weighted = {0, 0, 0}, surprise = {0, 0, 0};
  float all;
  uint32_t bin;
  for (bin = 1; bin < count; bin++) tinyops_total_add(&total, power[bin]);
  all = tinyops_total_end(&total);
  *centroid = *entropy = 0;
  if (all <= 0) return;
  for (bin = 1; bin < count; bin++) {
    const float share = power[bin] / all;
    tinyops_total_add(&weighted, power[bin] * (float)bin);
    if (share > 0) tinyops_total_add(&surprise, share * tinyops_logf(share));
  }
  *centroid = tinyops_total_end(&weighted) / all;
  *entropy = -tinyops_total_end(&surprise) / tinyops_logf((float)(count - 1));
}

/* Height of the first local maximum of the autocorrelation past its first zero; 0 if there is none. */
static float first_peak(const float *signal, uint32_t len, float mean) {
  const float total = tinyops_lagged_product(signal, len, mean, 0);
  float before = 1.0f, here;
  bool is_below = false;
  uint32_t lag;
  if (total <= 0) return 0;
  here = tinyops_lagged_product(signal, len, mean, 1) / total;
  for (lag = 2; lag <= len / 2; lag++) {
    const float after = tinyops_lagged_product(signal, len, mean, lag) / total;
    if (here < 0) is_below = true;
    if (is_below && here > 0 && here > before && here >= after) return here;
    before = here;
    here = after;
  }
  return 0;
}

/* The numbers of one signal by bands; the signal is not kept. */
static void describe_bands(const tinyops_front_end *end, float *signal, const float *taper,
                           float *buffer, float *row) {
  static const float quantiles[QUANTILE_COUNT] = {0.05f, 0.25f, 0.5f, 0.75f, 0.95f};
  const uint32_t fft_len = fft_len_of(end), bin_count = fft_len / 2 + 1, len = end->window_len;
  const float bin_hz = end->rate_hz / (float)fft_len;
  const tinyops_moments moments = tinyops_moments_of(signal, len);
  float *power = buffer + fft_len + 2;
  mean_power(end, signal, moments.mean, taper, buffer, power);
  *row++ = moments.mean;
  *row++ = moments.deviation;
  *row++ = moments.skewness;
  *row++ = moments.kurtosis;
  *row++ = tinyops_mean_absolute_difference(signal, len);
  row = put_bands(end, power, row);
  *row++ = (float)largest_bin(power, bin_count) * bin_hz;
  if ((end->settings.spectral.flags & SHAPE) != 0) {
    tinyops_extremes(signal, len, &row[0], &row[1]);
    row[2] = (float)tinyops_crossings(signal, len, moments.mean) / ((float)len / end->rate_hz);
    row[3] = tinyops_autocorrelation(signal, len, moments.mean, 1);
    row[4] = first_peak(signal, len, moments.mean);
    spectral_shape(power, bin_count, &row[5], &row[6]);
    row[5] *= bin_hz;
    row += SHAPE_COUNT;
  }
  if ((end->settings.spectral.flags & PERCENTILES) != 0) {
    uint32_t index;
    tinyops_sort(signal, len);
    for (index = 0; index < QUANTILE_COUNT; index++) {
      *row++ = tinyops_quantile(signal, len, quantiles[index]);
    }
  }
}

/* The numbers of one signal by max-hold; the signal is not kept. */
static void describe_max_hold(const tinyops_front_end *end, float *signal, float *buffer,
                              float *row) {
  const settings_of *spectral = &end->settings.spectral;
  const uint32_t fft_len = spectral->fft_len, bin_count = fft_len / 2 + 1, len = end->window_len;
  const uint32_t hop = (spectral->flags & OVERLAP) != 0 ? fft_len / 2 : fft_len;
  const tinyops_moments moments = tinyops_moments_of(signal, len);
  const bins all = bins_of_max_hold(end);
  float *held = buffer + fft_len + 2;
  tinyops_moments of_spectrum;
  uint32_t start, t;
  for (t = 0; t < len; t++) signal[t] -= moments.mean;
  for (t = 0; t < bin_count; t++) held[t] = 0;
  for (start = 0; start <= len; start += hop) {
    for (t = 0; t < fft_len; t++) buffer[t] = t < len - start ? signal[start + t] : 0;
    tinyops_power_spectrum(buffer, fft_len);
    for (t = 0; t < bin_count; t++) {
      const float power = buffer[t] / (float)fft_len;
      if (power > held[t]) held[t] = power;
    }
  }
  of_spectrum = tinyops_moments_of(held, bin_count);
  *row++ = moments.deviation;
  *row++ = moments.skewness;
  *row++ = moments.kurtosis;
  *row++ = of_spectrum.skewness;
  *row++ = of_spectrum.kurtosis;
  for (t = all.first; t <= all.last; t++) {
    const bool is_log = (spectral->flags & LOG) != 0;
    *row++ = !is_log ? held[t] : held[t] == 0 ? -10.0f : tinyops_log10f(held[t]);
  }
}

static void put_correlations(const tinyops_front_end *end, const float *window, float *features) {
  tinyops_signal a, b;
  uint32_t first, second;
  a.len = b.len = end->window_len;
  a.step = b.step = end->channel_count;
  for (first = 0; first < end->channel_count; first++) {
    for (second = first + 1; second < end->channel_count; second++) {
      a.at = window + first;
      b.at = window + second;
      *features++ = tinyops_correlation(a, b);
    }
  }
}

static void extract(const tinyops_front_end *end, const float *window, float *features,
                    float *scratch) {
  const settings_of *spectral = &end->settings.spectral;
  const uint32_t rows = row_count(end), len = row_len(end);
  float *signal = scratch, *taper = scratch + end->window_len, *buffer = taper;
  tinyops_filter filter;
  uint32_t row;
  filter.count = 0;
  if (spectral->filter_kind != FILTER_NONE) {
    const double corner = 2.0 * (double)spectral->cutoff_hz / (double)end->rate_hz;
    filter = tinyops_filter_of(spectral->filter_order, corner, spectral->filter_kind == FILTER_HIGH);
  }
  if (spectral->analysis == BANDS) {
    const uint32_t frame_len = least(fft_len_of(end), end->window_len);
    tinyops_fill_taper(taper, frame_len, 0.5f, 0.5f);
    buffer += frame_len;
  }
  for (row = 0; row < rows; row++, features += len) {
    if (row < end->channel_count) {
      tinyops_copy_channel(end, window, row, signal);
    } else {
      copy_norm(end, window, row - end->channel_count, signal);
    }
    tinyops_filter_run(&filter, signal, end->window_len);
    if (spectral->analysis == BANDS) {
      describe_bands(end, signal, taper, buffer, features);
    } else {
      describe_max_hold(end, signal, buffer, features);
    }
  }
  if (has_correlations(end)) put_correlations(end, window, features);
}

const tinyops_block tinyops_spectral = {2, false, read, is_sound, shape, scratch_len, extract};
