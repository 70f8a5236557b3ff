/* The real Fourier transform for powers of two. */
#ifndef TINYOPS_FFT_H
#define TINYOPS_FFT_H

#include "../exact.h"

#include <stdbool.h>
#include <stdint.h>

/* The longest transform, and the shortest. */
#define TINYOPS_FFT_LEN_MAX 4096u
#define TINYOPS_FFT_LEN_MIN 2u

extern const float tinyops_quarter_wave[TINYOPS_FFT_LEN_MAX / 4 + 1];

static inline bool tinyops_is_fft_len(uint32_t len) {
  return len >= TINYOPS_FFT_LEN_MIN && len <= TINYOPS_FFT_LEN_MAX && (len & (len - 1)) == 0;
}

/* Transforms `len` readings and writes |X|^2 of the len / 2 + 1 bins over them. The buffer has
 * len + 2 numbers, whose last two are written.
 *
 * Source: Cooley and Tukey, 1965, by a complex transform of half the length. */
void tinyops_power_spectrum(float *buffer, uint32_t len);

#endif
