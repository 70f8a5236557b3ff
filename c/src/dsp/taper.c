#include "taper.h"

/* An eighth of a turn and two short series suffice, since the fraction is exact. */
float tinyops_cosine(uint32_t t, uint32_t period) {
  uint32_t part = t < period - t ? t : period - t;
  float sign = 1.0f, angle, square, value;
  if (4 * part > period) {
    part = period - 2 * part;
    sign = -1.0f;
  } else {
    part = 2 * part;
  }
  /* Now the angle is pi part / period, up to a quarter turn. */
  if (4 * part <= period) {
    angle = 3.14159265f * ((float)part / (float)period);
    square = angle * angle;
    value = 1.0f - square * (0.5f - square * (1.0f / 24.0f -
                                              square * (1.0f / 720.0f - square * (1.0f / 40320.0f))));
  } else {
    angle = 3.14159265f * ((float)(period - 2 * part) / (float)(2 * period));
    square = angle * angle;
    value = angle * (1.0f - square * (1.0f / 6.0f -
                                      square * (1.0f / 120.0f -
                                                square * (1.0f / 5040.0f - square * (1.0f / 362880.0f)))));
  }
  return sign * value;
}

void tinyops_fill_taper(float *weights, uint32_t len, float base, float swing) {
  uint32_t t;
  for (t = 0; t < len; t++) weights[t] = base - swing * tinyops_cosine(t, len);
}
