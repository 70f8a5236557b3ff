#include "fft.h"

static void swap(float *a, float *b) {
  const float held = *a;
  *a = *b;
  *b = held;
}

static void reverse_bits(float *pairs, uint32_t count) {
  uint32_t i, j = 0, bit;
  for (i = 1; i < count; i++) {
    for (bit = count / 2; (j & bit) != 0; bit /= 2) j ^= bit;
    j |= bit;
    if (i < j) {
      swap(pairs + 2 * i, pairs + 2 * j);
      swap(pairs + 2 * i + 1, pairs + 2 * j + 1);
    }
  }
}

/* The first two stages turn by quarters only: no products. */
static void first_stages(float *four) {
  const float sum_re = four[0] + four[2], sum_im = four[1] + four[3];
  const float rest_re = four[0] - four[2], rest_im = four[1] - four[3];
  const float other_re = four[4] + four[6], other_im = four[5] + four[7];
  const float turn_re = four[4] - four[6], turn_im = four[5] - four[7];
  four[0] = sum_re + other_re;
  four[1] = sum_im + other_im;
  four[2] = rest_re + turn_im;
  four[3] = rest_im - turn_re;
  four[4] = sum_re - other_re;
  four[5] = sum_im - other_im;
  four[6] = rest_re - turn_im;
  four[7] = rest_im + turn_re;
}

static void butterfly(float *low, float *high, float turned_re, float turned_im) {
  const float re = low[0], im = low[1];
  low[0] = re + turned_re;
  low[1] = im + turned_im;
  high[0] = re - turned_re;
  high[1] = im - turned_im;
}

/* A stage over one block of 2 * half pairs. The second half of either part turns a further quarter:
 * one look-up serves two butterflies. */
static void stage(float *block, uint32_t half) {
  const uint32_t step = TINYOPS_FFT_LEN_MAX / (2 * half);
  uint32_t at, turn = 0;
  for (at = 0; at < half; at += 2, turn += step) {
    const float cosine = tinyops_quarter_wave[TINYOPS_FFT_LEN_MAX / 4 - turn];
    const float sine = tinyops_quarter_wave[turn];
    float *low = block + at, *high = block + 2 * half + at;
    butterfly(low, high, high[0] * cosine + high[1] * sine, high[1] * cosine - high[0] * sine);
    low += half;
    high += half;
    butterfly(low, high, high[1] * cosine - high[0] * sine, -(high[0] * cosine + high[1] * sine));
  }
}

static void complex_transform(float *pairs, uint32_t count) {
  uint32_t at, half;
  reverse_bits(pairs, count);
  for (at = 0; at + 4 <= count; at += 4) first_stages(pairs + 2 * at);
  if (count == 2) butterfly(pairs, pairs + 2, pairs[2], pairs[3]);
  for (half = 4; half < count; half *= 2) {
    for (at = 0; at < count; at += 2 * half) stage(pairs + 2 * at, half);
  }
}

/* Turns the half-length complex transform of a real signal into its len / 2 + 1 bins. */
static void unfold(float *buffer, uint32_t len) {
  const uint32_t count = len / 2, step = TINYOPS_FFT_LEN_MAX / len;
  const float re = buffer[0], im = buffer[1];
  uint32_t k;
  buffer[0] = re + im;
  buffer[1] = 0;
  buffer[len] = re - im;
  buffer[len + 1] = 0;
  for (k = 1; k <= count / 2; k++) {
    float *a = buffer + 2 * k, *b = buffer + 2 * (count - k);
    const float cosine = tinyops_quarter_wave[TINYOPS_FFT_LEN_MAX / 4 - k * step];
    const float sine = tinyops_quarter_wave[k * step];
    const float even_re = (a[0] + b[0]) * 0.5f, even_im = (a[1] - b[1]) * 0.5f;
    const float odd_re = (a[1] + b[1]) * 0.5f, odd_im = (b[0] - a[0]) * 0.5f;
    const float turned_re = odd_re * cosine + odd_im * sine;
    const float turned_im = odd_im * cosine - odd_re * sine;
    a[0] = even_re + turned_re;
    a[1] = even_im + turned_im;
    b[0] = even_re - turned_re;
    b[1] = turned_im - even_im;
  }
}

void tinyops_power_spectrum(float *buffer, uint32_t len) {
  uint32_t bin;
  complex_transform(buffer, len / 2);
  unfold(buffer, len);
  for (bin = 0; bin <= len / 2; bin++) {
    const float re = buffer[2 * bin], im = buffer[2 * bin + 1];
    buffer[bin] = re * re + im * im;
  }
}
