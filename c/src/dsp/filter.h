/* A Butterworth filter of even order as second-order sections. */
#ifndef TINYOPS_FILTER_H
#define TINYOPS_FILTER_H

#include "../exact.h"

#include <stdbool.h>
#include <stdint.h>

#define TINYOPS_SECTIONS_MAX 4u

/* (b0 + b1 z^-1 + b2 z^-2) / (1 + a1 z^-1 + a2 z^-2). */
typedef struct tinyops_filter_section {
  float b[3];
  float a[2];
} tinyops_filter_section;

typedef struct tinyops_filter {
  tinyops_filter_section sections[TINYOPS_SECTIONS_MAX];
  uint32_t count;
} tinyops_filter;

/* Designs a filter of order 2, 4, 6 or 8 that passes what lies below a corner, or above, which is a
 * fraction of half the rate between 0 and 1.
 *
 * Source: Butterworth, 1930; bilinear transform with a prewarped corner, sections ordered as
 * scipy.signal.butter(output="sos") does. */
tinyops_filter tinyops_filter_of(uint32_t order, double corner, bool is_high);

/* Filters in place from zero state: direct form II transposed. */
void tinyops_filter_run(const tinyops_filter *filter, float *signal, uint32_t len);

#endif
