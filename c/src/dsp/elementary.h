/* The functions of real numbers that the front end needs, each for the arguments that it meets there.
 *
 * They give the bits of the Rust crate libm 0.2, whatever library the program is linked with. */
#ifndef TINYOPS_ELEMENTARY_H
#define TINYOPS_ELEMENTARY_H

#include "../exact.h"

#include <float.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "../bytes.h"

#if defined(FLT_EVAL_METHOD) && FLT_EVAL_METHOD != 0 && FLT_EVAL_METHOD != 16
#error "float must be evaluated as float: -fexcess-precision=fast, on 32-bit x86 -msse2 -mfpmath=sse"
#endif

/* Single precision. Square roots are of numbers that are not negative; logarithms of positive ones. */
float tinyops_sqrtf(float x);
float tinyops_logf(float x);
float tinyops_log10f(float x);
float tinyops_log2f(float x);
/* x^y for a finite x >= 1 and a finite y. */
float tinyops_powf(float x, float y);

/* Double precision: settings are turned into filters and banks by it, sums into moments. Logarithms and
 * roots are of normal positive numbers. */
double tinyops_sqrt(double x);
double tinyops_log(double x);
/* For x from 0 to 700. */
double tinyops_exp(double x);
/* For arguments below 2^20 quarter turns. */
double tinyops_sin(double x);
double tinyops_cos(double x);
double tinyops_tan(double x);
double tinyops_hypot(double x, double y);

static inline float tinyops_absf(float x) {
  return x < 0 ? -x : x;
}

/* The whole number below, from 0 to the largest there is. */
static inline uint32_t tinyops_whole(float x) {
  return !(x > 0) ? 0 : x >= 4294967296.0f ? UINT32_MAX : (uint32_t)x;
}

/* The nearest whole number of what is not negative, halves up. */
static inline uint32_t tinyops_rounded(float x) {
  return tinyops_whole(x + 0.49999997f);
}

/* A sum in blocks of 64 values, so that its error grows slowly; the order never depends on the target. */
typedef struct tinyops_total {
  float all;
  float block;
  uint32_t filled;
} tinyops_total;

static inline void tinyops_total_add(tinyops_total *total, float x) {
  total->block += x;
  total->filled++;
  if (total->filled == 64) {
    total->all += total->block;
    total->block = 0;
    total->filled = 0;
  }
}

static inline float tinyops_total_end(const tinyops_total *total) {
  return total->all + total->block;
}

#endif
