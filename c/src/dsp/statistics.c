#include "statistics.h"

#include "elementary.h"

/* Four times the distance from 1 to the next number: what lies below is the rounding of a mean. */
#define NOISE (4.0f * 1.1920929e-07f)

float tinyops_mean_of(tinyops_signal signal) {
  tinyops_total rest = {0, 0, 0};
  const float first = signal.at[0];
  uint32_t t;
  for (t = 1; t < signal.len; t++) {
    tinyops_total_add(&rest, signal.at[(size_t)t * signal.step] - first);
  }
  return first + tinyops_total_end(&rest) / (float)signal.len;
}

static tinyops_signal whole(const float *at, uint32_t len) {
  tinyops_signal signal;
  signal.at = at;
  signal.len = len;
  signal.step = 1;
  return signal;
}

tinyops_moments tinyops_moments_of(const float *signal, uint32_t len) {
  tinyops_total second = {0, 0, 0}, third = {0, 0, 0}, fourth = {0, 0, 0};
  tinyops_moments moments = {0, 0, 0, 0};
  float square;
  uint32_t t;
  moments.mean = tinyops_mean_of(whole(signal, len));
  for (t = 0; t < len; t++) {
    const float d = signal[t] - moments.mean;
    tinyops_total_add(&second, d * d);
  }
  square = tinyops_total_end(&second) / (float)len;
  moments.deviation = tinyops_sqrtf(square);
  if (moments.deviation <= NOISE * tinyops_absf(moments.mean) || square <= 0) return moments;
  /* Powers of the standardised signal: the fourth power of a small one would underflow. */
  for (t = 0; t < len; t++) {
    const float z = (signal[t] - moments.mean) / moments.deviation;
    tinyops_total_add(&third, z * z * z);
    tinyops_total_add(&fourth, z * z * z * z);
  }
  moments.skewness = tinyops_total_end(&third) / (float)len;
  moments.kurtosis = tinyops_total_end(&fourth) / (float)len - 3.0f;
  return moments;
}

float tinyops_rms(const float *signal, uint32_t len) {
  tinyops_total squares = {0, 0, 0};
  uint32_t t;
  for (t = 0; t < len; t++) tinyops_total_add(&squares, signal[t] * signal[t]);
  return tinyops_sqrtf(tinyops_total_end(&squares) / (float)len);
}

void tinyops_extremes(const float *signal, uint32_t len, float *least, float *greatest) {
  uint32_t t;
  *least = *greatest = signal[0];
  for (t = 1; t < len; t++) {
    if (signal[t] < *least) *least = signal[t];
    if (signal[t] > *greatest) *greatest = signal[t];
  }
}

uint32_t tinyops_crossings(const float *signal, uint32_t len, float level) {
  uint32_t t, count = 0;
  for (t = 1; t < len; t++) {
    if ((signal[t - 1] >= level) != (signal[t] >= level)) count++;
  }
  return count;
}

float tinyops_mean_absolute_difference(const float *signal, uint32_t len) {
  tinyops_total total = {0, 0, 0};
  uint32_t t;
  for (t = 1; t < len; t++) tinyops_total_add(&total, tinyops_absf(signal[t] - signal[t - 1]));
  return tinyops_total_end(&total) / (float)(len - 1);
}

float tinyops_lagged_product(const float *signal, uint32_t len, float mean, uint32_t lag) {
  tinyops_total total = {0, 0, 0};
  uint32_t t;
  for (t = lag; t < len; t++) {
    tinyops_total_add(&total, (signal[t - lag] - mean) * (signal[t] - mean));
  }
  return tinyops_total_end(&total);
}

float tinyops_autocorrelation(const float *signal, uint32_t len, float mean, uint32_t lag) {
  const float total = tinyops_lagged_product(signal, len, mean, 0);
  const float product = tinyops_lagged_product(signal, len, mean, lag);
  return total > 0 ? product / total : 0;
}

/* Whether a stands before b, where -0 stands before 0. */
static bool is_before(float a, float b) {
  if (a < b) return true;
  return a == b && tinyops_bits_of_float(a) >> 31 > tinyops_bits_of_float(b) >> 31;
}

/* Lets a value sink in a heap whose greatest stands first. */
static void sink(float *values, uint32_t at, uint32_t len) {
  const float value = values[at];
  uint32_t child;
  while ((child = 2 * at + 1) < len) {
    if (child + 1 < len && is_before(values[child], values[child + 1])) child++;
    if (!is_before(value, values[child])) break;
    values[at] = values[child];
    at = child;
  }
  values[at] = value;
}

void tinyops_sort(float *values, uint32_t len) {
  uint32_t at;
  for (at = len / 2; at > 0; at--) sink(values, at - 1, len);
  for (at = len; at > 1; at--) {
    const float greatest = values[0];
    values[0] = values[at - 1];
    values[at - 1] = greatest;
    sink(values, 0, at - 1);
  }
}

float tinyops_quantile(const float *sorted, uint32_t len, float share) {
  const uint32_t last = len - 1;
  const float place = share * (float)last;
  const uint32_t whole_place = tinyops_whole(place), index = whole_place < last ? whole_place : last;
  const uint32_t next = index < last ? index + 1 : last;
  return sorted[index] + (sorted[next] - sorted[index]) * (place - (float)index);
}

float tinyops_correlation(tinyops_signal a, tinyops_signal b) {
  tinyops_total aa = {0, 0, 0}, bb = {0, 0, 0}, ab = {0, 0, 0};
  const float mean_a = tinyops_mean_of(a), mean_b = tinyops_mean_of(b);
  float of_a, of_b, share;
  uint32_t t;
  for (t = 0; t < a.len; t++) {
    const float x = a.at[(size_t)t * a.step] - mean_a, y = b.at[(size_t)t * b.step] - mean_b;
    tinyops_total_add(&aa, x * x);
    tinyops_total_add(&bb, y * y);
    tinyops_total_add(&ab, x * y);
  }
  of_a = tinyops_sqrtf(tinyops_total_end(&aa) / (float)a.len);
  of_b = tinyops_sqrtf(tinyops_total_end(&bb) / (float)a.len);
  if (of_a <= NOISE * tinyops_absf(mean_a) || of_b <= NOISE * tinyops_absf(mean_b)) return 0;
  if (!(of_a * of_b > 0)) return 0;
  share = tinyops_total_end(&ab) / (float)a.len / (of_a * of_b);
  return share > 1.0f ? 1.0f : share < -1.0f ? -1.0f : share;
}
