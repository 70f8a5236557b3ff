/* Statistics of a signal, and of two. */
#ifndef TINYOPS_STATISTICS_H
#define TINYOPS_STATISTICS_H

#include "../exact.h"

#include <stddef.h>
#include <stdint.h>

/* Values that stand `step` apart. */
typedef struct tinyops_signal {
  const float *at;
  uint32_t len;
  uint32_t step;
} tinyops_signal;

/* Mean and central moments, in their population forms; no skew and no kurtosis of a constant. */
typedef struct tinyops_moments {
  float mean;
  float deviation;
  float skewness;
  float kurtosis;
} tinyops_moments;

tinyops_moments tinyops_moments_of(const float *signal, uint32_t len);

/* The mean, taken about the first value, so that a constant has exactly its level. */
float tinyops_mean_of(tinyops_signal signal);

/* The root of the mean square. */
float tinyops_rms(const float *signal, uint32_t len);

/* Least and greatest value. */
void tinyops_extremes(const float *signal, uint32_t len, float *least, float *greatest);

/* How often the signal changes sides of a level; a value at the level counts as above. */
uint32_t tinyops_crossings(const float *signal, uint32_t len, float level);

/* The mean of |x[t] - x[t - 1]|, of two values or more. */
float tinyops_mean_absolute_difference(const float *signal, uint32_t len);

/* The sum of (x[t] - mean) (x[t + lag] - mean). */
float tinyops_lagged_product(const float *signal, uint32_t len, float mean, uint32_t lag);

/* The autocorrelation at a lag; 0 for a constant. */
float tinyops_autocorrelation(const float *signal, uint32_t len, float mean, uint32_t lag);

/* Puts values in ascending order. */
void tinyops_sort(float *values, uint32_t len);

/* The quantile at a share of ascending values, by linear interpolation. */
float tinyops_quantile(const float *sorted, uint32_t len, float share);

/* The correlation of two signals of one length; 0 where either is constant. */
float tinyops_correlation(tinyops_signal a, tinyops_signal b);

#endif
