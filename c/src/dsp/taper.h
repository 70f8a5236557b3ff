/* Cosines of fractions of a turn, of which tapers and cosine transforms are made. */
#ifndef TINYOPS_TAPER_H
#define TINYOPS_TAPER_H

#include "../exact.h"

#include <stdint.h>

/* cos(2 pi t / period) for t up to the period, to within 1e-7; the same bits on every target. */
float tinyops_cosine(uint32_t t, uint32_t period);

/* Fills a taper: base - swing cos(2 pi t / len). */
void tinyops_fill_taper(float *weights, uint32_t len, float base, float swing);

#endif
