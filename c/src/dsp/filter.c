#include "filter.h"

#include "elementary.h"

#define POLES_MAX (2 * TINYOPS_SECTIONS_MAX)
#define PI 3.14159265358979323846

typedef struct complex_number {
  double re;
  double im;
} complex_number;

static complex_number times(complex_number a, complex_number b) {
  complex_number product;
  product.re = a.re * b.re - a.im * b.im;
  product.im = a.re * b.im + a.im * b.re;
  return product;
}

static complex_number inverse(complex_number a) {
  const double square = a.re * a.re + a.im * a.im;
  complex_number result;
  result.re = a.re / square;
  result.im = -a.im / square;
  return result;
}

/* Poles in the upper half of the z plane: complex ones first, then real ones, each by ascending real
 * part. */
typedef struct poles {
  complex_number list[POLES_MAX];
  uint32_t count;
} poles;

static bool stands_before(const complex_number *a, const complex_number *b) {
  if ((a->im == 0) != (b->im == 0)) return b->im == 0;
  return a->re < b->re;
}

static void put(poles *all, complex_number pole) {
  uint32_t at;
  if (pole.im <= 1e-14 && pole.im >= -1e-14) pole.im = 0;
  if (pole.im < 0) return;
  for (at = all->count; at > 0 && stands_before(&pole, &all->list[at - 1]); at--) {
    all->list[at] = all->list[at - 1];
  }
  all->list[at] = pole;
  all->count++;
}

static double distance_from_circle(const complex_number *pole) {
  const double distance = 1.0 - tinyops_hypot(pole->re, pole->im);
  return distance < 0 ? -distance : distance;
}

/* Takes the pole nearest the unit circle, of all or of the real ones. */
static complex_number take_nearest(poles *all, bool only_real) {
  uint32_t at, nearest = 0;
  double least = 0;
  bool is_any = false;
  complex_number pole;
  for (at = 0; at < all->count; at++) {
    const double distance = distance_from_circle(&all->list[at]);
    if (only_real && all->list[at].im != 0) continue;
    if (!is_any || distance < least) {
      nearest = at;
      least = distance;
      is_any = true;
    }
  }
  pole = all->list[nearest];
  all->count--;
  for (at = nearest; at < all->count; at++) all->list[at] = all->list[at + 1];
  return pole;
}

/* The image of an analog pole under the bilinear transform at rate 2, s = 4 (z - 1) / (z + 1);
 * multiplies the denominator of the gain by 4 - pole. */
static complex_number transform(complex_number pole, complex_number *denominator) {
  complex_number below, above;
  below.re = 4.0 - pole.re;
  below.im = -pole.im;
  above.re = 4.0 + pole.re;
  above.im = pole.im;
  *denominator = times(*denominator, below);
  return times(above, inverse(below));
}

tinyops_filter tinyops_filter_of(uint32_t order, double corner, bool is_high) {
  const double warped = 4.0 * tinyops_tan(PI / 2.0 * corner);
  /* Every zero lies where nothing passes. */
  const double zero = is_high ? 1.0 : -1.0;
  complex_number denominator = {1.0, 0.0};
  tinyops_filter filter;
  double gain = 1.0;
  poles all;
  uint32_t m, index;
  all.count = 0;
  for (m = 0; m < order; m++) {
    const double angle = PI * (2.0 * (double)m + 1.0 - (double)order) / (double)(2 * order);
    complex_number pole;
    pole.re = -tinyops_cos(angle);
    pole.im = -tinyops_sin(angle);
    if (is_high) pole = inverse(pole);
    pole.re *= warped;
    pole.im *= warped;
    gain *= is_high ? 4.0 : warped;
    put(&all, transform(pole, &denominator));
  }
  gain /= denominator.re;
  filter.count = order / 2;
  for (index = filter.count; index > 0; index--) {
    tinyops_filter_section *section = &filter.sections[index - 1];
    const complex_number first = take_nearest(&all, false);
    const double share = index == 1 ? gain : 1.0;
    double sum = 2.0 * first.re, product = first.re * first.re + first.im * first.im;
    if (first.im == 0) {
      const complex_number second = take_nearest(&all, true);
      sum = first.re + second.re;
      product = first.re * second.re;
    }
    section->b[0] = (float)share;
    section->b[1] = (float)(-share * (zero + zero));
    section->b[2] = (float)(share * zero * zero);
    section->a[0] = (float)-sum;
    section->a[1] = (float)product;
  }
  return filter;
}

void tinyops_filter_run(const tinyops_filter *filter, float *signal, uint32_t len) {
  uint32_t index, t;
  for (index = 0; index < filter->count; index++) {
    const tinyops_filter_section *section = &filter->sections[index];
    float first = 0, second = 0;
    for (t = 0; t < len; t++) {
      const float x = signal[t], y = section->b[0] * x + first;
      first = section->b[1] * x - section->a[0] * y + second;
      second = section->b[2] * x - section->a[1] * y;
      signal[t] = y;
    }
  }
}
