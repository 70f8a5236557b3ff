/* Square roots and logarithms are correctly rounded or follow FreeBSD's msun, as the Rust crate libm
 * does: the same constants, reductions and order of evaluation, since the bits are defined by them.
 *
 * Source: FreeBSD, lib/msun: e_logf.c, e_log2f.c, e_log10f.c,
 * e_powf.c, e_log.c, e_exp.c, k_sin.c, k_cos.c,
 * k_tan.c, e_rem_pio2.c. Copyright (C) 1993, 2004 by Sun Microsystems, Inc. All rights reserved.
 * Developed at SunSoft and SunPro, Sun Microsystems, Inc. businesses. Permission to use, copy, modify,
 * and distribute this software is freely granted, provided that this notice is preserved.
 *
 * tinyops_hypot: musl, src/math/hypot.c. Copyright (C) 2005-2020 Rich Felker, et al. Permission is
 * hereby granted, free of charge, to any person obtaining a copy of this software and associated
 * documentation files (the "Software"), to deal in the Software without restriction, including without
 * limitation the rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
 * copies of the Software, and to permit persons to whom the Software is furnished to do so, subject to
 * the following conditions: The above copyright notice and this permission notice shall be included in
 * all copies or substantial portions of the Software. THE SOFTWARE IS PROVIDED "AS IS", WITHOUT
 * WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF
 * MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS
 * OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF
 * CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR
 * OTHER DEALINGS IN THE SOFTWARE. */
#include "elementary.h"

static uint64_t bits_of(double x) {
  uint64_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}

static double of_bits(uint64_t bits) {
  double x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

/* One digit after another; a root of an even power of two times a whole number is never half-way. */
float tinyops_sqrtf(float x) {
  uint32_t bits = tinyops_bits_of_float(x), mantissa = bits & 0x7FFFFF, root = 0, rest = 0;
  int32_t exponent = (int32_t)(bits >> 23) - 150, step;
  if (!(x > 0) || bits >= 0x7F800000) return x;
  if (bits < 0x800000) {
    exponent = -149;
    while (mantissa < 0x800000) {
      mantissa <<= 1;
      exponent--;
    }
  }
  /* In [2^24, 2^26), times an even power of two. */
  mantissa = (mantissa | 0x800000) << 1;
  exponent--;
  if (exponent % 2 != 0) {
    mantissa <<= 1;
    exponent--;
  }
  for (step = 24; step > -26; step -= 2) {
    const uint32_t trial = root << 2 | 1;
    rest = rest << 2 | (step >= 0 ? mantissa >> step & 3 : 0);
    root <<= 1;
    if (rest >= trial) {
      rest -= trial;
      root |= 1;
    }
  }
  return tinyops_float_of_bits(((uint32_t)(exponent / 2 + 138) << 23) + ((root + 1) >> 1));
}

double tinyops_sqrt(double x) {
  const uint64_t bits = bits_of(x);
  uint64_t mantissa = (bits & 0xFFFFFFFFFFFFFu) | 0x10000000000000u, root = 0, rest = 0;
  int32_t exponent = (int32_t)(bits >> 52) - 1075, step;
  if (exponent % 2 != 0) {
    mantissa <<= 1;
    exponent--;
  }
  for (step = 52; step > -56; step -= 2) {
    const uint64_t trial = root << 2 | 1;
    rest = rest << 2 | (step >= 0 ? mantissa >> step & 3 : 0);
    root <<= 1;
    if (rest >= trial) {
      rest -= trial;
      root |= 1;
    }
  }
  return of_bits(((uint64_t)(exponent / 2 + 1048) << 52) + ((root + 1) >> 1));
}

/* x as 2^k (1 + f), with 1 + f between the roots of 1/2 and 2, and what both logarithms take of f. */
typedef struct logarithm {
  float k;
  float f;
  float half_square;
  /* s * (half_square + R). */
  float tail;
} logarithm;

static logarithm logarithm_of(float x) {
  logarithm parts;
  uint32_t bits = tinyops_bits_of_float(x);
  int32_t k = 0;
  float s, z, w, r;
  if (bits < 0x00800000) {
    k = -25;
    bits = tinyops_bits_of_float(x * 33554432.0f);
  }
  bits += 0x3f800000 - 0x3f3504f3;
  k += (int32_t)(bits >> 23) - 0x7f;
  parts.k = (float)k;
  parts.f = tinyops_float_of_bits((bits & 0x007fffff) + 0x3f3504f3) - 1.0f;
  s = parts.f / (2.0f + parts.f);
  z = s * s;
  w = z * z;
  r = z * (0.66666662693f + w * 0.28498786688f) + w * (0.40000972152f + w * 0.24279078841f);
  parts.half_square = 0.5f * parts.f * parts.f;
  parts.tail = s * (parts.half_square + r);
  return parts;
}

float tinyops_logf(float x) {
  const logarithm parts = logarithm_of(x);
  if (x == 1.0f) return 0;
  return parts.tail + parts.k * 9.0580006145e-06f - parts.half_square + parts.f +
         parts.k * 6.9313812256e-01f;
}

/* The upper bits of a number, so that a product of two such is exact. */
static float upper(float x) {
  return tinyops_float_of_bits(tinyops_bits_of_float(x) & 0xfffff000);
}

float tinyops_log2f(float x) {
  const logarithm parts = logarithm_of(x);
  const float high = upper(parts.f - parts.half_square);
  const float low = parts.f - high - parts.half_square + parts.tail;
  if (x == 1.0f) return 0;
  return (low + high) * -1.7605285393e-04f + low * 1.4428710938e+00f + high * 1.4428710938e+00f +
         parts.k;
}

float tinyops_log10f(float x) {
  const logarithm parts = logarithm_of(x);
  const float high = upper(parts.f - parts.half_square);
  const float low = parts.f - high - parts.half_square + parts.tail;
  if (x == 1.0f) return 0;
  return parts.k * 7.9034151668e-07f + (low + high) * -3.1689971365e-05f +
         low * 4.3432617188e-01f + high * 4.3432617188e-01f + parts.k * 3.0102920532e-01f;
}

/* 2^(high + low), where the sum lies between -150 and 128. */
static float power_of_two(float high, float low) {
  const float z = low + high;
  const uint32_t bits = tinyops_bits_of_float(z), size = bits & 0x7fffffff;
  int32_t n = 0, exponent;
  float t, u, v, w, t1, r;
  if (size > 0x3f000000) {
    /* The nearest whole number. */
    const uint32_t nearest = bits + (0x00800000u >> ((size >> 23) - 0x7e));
    const uint32_t k = ((nearest & 0x7fffffff) >> 23) - 0x7f;
    t = tinyops_float_of_bits(nearest & ~(0x007fffffu >> k));
    n = (int32_t)(((nearest & 0x007fffff) | 0x00800000) >> (23 - k));
    if (bits >> 31 != 0) n = -n;
    high -= t;
  }
  t = low + high;
  t = tinyops_float_of_bits(tinyops_bits_of_float(t) & 0xffff8000);
  u = t * 6.93145752e-01f;
  v = (low - (t - high)) * 6.9314718246e-01f + t * 1.42860654e-06f;
  w = v - ((u + v) - u);
  r = u + v;
  t = r * r;
  t1 = r - t * (1.6666667163e-01f +
                t * (-2.7777778450e-03f +
                     t * (6.6137559770e-05f + t * (-1.6533901999e-06f + t * 4.1381369442e-08f))));
  t = (r * t1) / (t1 - 2.0f) - (w + r * w);
  r = 1.0f - (t - r);
  exponent = (int32_t)(tinyops_bits_of_float(r) >> 23) + n;
  if (exponent > 0) return tinyops_float_of_bits(tinyops_bits_of_float(r) + ((uint32_t)n << 23));
  /* Below the normal numbers: an exact product, and one that rounds. */
  if (n < -126) {
    r *= tinyops_float_of_bits((127 - 102) << 23);
    n += 102;
  }
  return r * tinyops_float_of_bits((uint32_t)(n + 127) << 23);
}

/* log2(x) as high + low, for a normal number. */
static float binary_logarithm(float x, float *low) {
  static const float base[2] = {1.0f, 1.5f}, of_base_high[2] = {0.0f, 5.84960938e-01f};
  static const float of_base_low[2] = {0.0f, 1.56322085e-06f};
  uint32_t bits = tinyops_bits_of_float(x), fraction = bits & 0x007fffff, k = 0;
  int32_t n = (int32_t)(bits >> 23) - 0x7f;
  float u, v, s, s_high, s_low, t_high, t_low, square, r, p_high, p_low, z_high, z_low, high;
  bits = fraction | 0x3f800000;
  if (fraction > 0x1cc471 && fraction < 0x5db3d7) {
    k = 1;
  } else if (fraction > 0x1cc471) {
    n++;
    bits -= 0x00800000;
  }
  x = tinyops_float_of_bits(bits);
  /* s = (x - base) / (x + base). */
  u = x - base[k];
  v = 1.0f / (x + base[k]);
  s = u * v;
  s_high = upper(s);
  t_high = tinyops_float_of_bits(((bits >> 1 & 0xfffff000) | 0x20000000) + 0x00400000 + (k << 21));
  t_low = x - (t_high - base[k]);
  s_low = v * ((u - s_high * t_high) - s_high * t_low);
  square = s * s;
  r = square * square *
      (6.0000002384e-01f +
       square *
           (4.2857143283e-01f +
            square * (3.3333334327e-01f +
                      square * (2.7272811532e-01f +
                                square * (2.3066075146e-01f + square * 2.0697501302e-01f)))));
  r += s_low * (s_high + s);
  square = s_high * s_high;
  t_high = upper(3.0f + square + r);
  t_low = r - ((t_high - 3.0f) - square);
  u = s_high * t_high;
  v = s_low * t_high + t_low * s;
  p_high = upper(u + v);
  p_low = v - (p_high - u);
  /* 2 / (3 ln 2) in two parts. */
  z_high = 9.6191406250e-01f * p_high;
  z_low = -1.1736857402e-04f * p_high + p_low * 9.6179670095e-01f + of_base_low[k];
  high = upper(((z_high + z_low) + of_base_high[k]) + (float)n);
  *low = z_low - (((high - (float)n) - of_base_high[k]) - z_high);
  return high;
}

float tinyops_powf(float x, float y) {
  const float y_high = upper(y);
  float high, low, z;
  if (y == 0 || x == 1.0f) return 1.0f;
  if (y == 1.0f) return x;
  if (y == -1.0f) return 1.0f / x;
  if (y == 2.0f) return x * x;
  if (y == 0.5f) return tinyops_sqrtf(x);
  /* Beyond 2^27 whatever is not nearly 1 has left the numbers. */
  if (y > 134217728.0f) return tinyops_float_of_bits(0x7f800000);
  if (y < -134217728.0f) return 0;
  high = binary_logarithm(x, &low);
  low = (y - y_high) * high + y * low;
  high = y_high * high;
  z = low + high;
  if (z > 128.0f || (z == 128.0f && low + 4.2995665694e-08f > z - high)) {
    return tinyops_float_of_bits(0x7f800000);
  }
  if (z < -150.0f || (z == -150.0f && low <= z - high)) return 0;
  return power_of_two(high, low);
}

double tinyops_log(double x) {
  uint64_t bits = bits_of(x);
  uint32_t upper_word = (uint32_t)(bits >> 32) + 0x3ff00000 - 0x3fe6a09e;
  const double k = (double)((int32_t)(upper_word >> 20) - 0x3ff);
  double f, half_square, s, z, w, r;
  if (x == 1.0) return 0;
  upper_word = (upper_word & 0x000fffff) + 0x3fe6a09e;
  f = of_bits((uint64_t)upper_word << 32 | (bits & 0xffffffff)) - 1.0;
  half_square = 0.5 * f * f;
  s = f / (2.0 + f);
  z = s * s;
  w = z * z;
  r = z * (6.666666666666735130e-01 +
           w * (2.857142874366239149e-01 +
                w * (1.818357216161805012e-01 + w * 1.479819860511658591e-01))) +
      w * (3.999999999940941908e-01 + w * (2.222219843214978396e-01 + w * 1.531383769920937332e-01));
  return s * (half_square + r) + k * 1.90821492927058770002e-10 - half_square + f +
         k * 6.93147180369123816490e-01;
}

double tinyops_exp(double x) {
  const uint32_t upper_word = (uint32_t)(bits_of(x) >> 32);
  int32_t k = 0;
  double high = x, low = 0, square, c, y;
  if (upper_word <= 0x3e300000) return 1.0 + x;
  if (upper_word > 0x3fd62e42) {
    k = upper_word >= 0x3ff0a2b2 ? (int32_t)(1.44269504088896338700e+00 * x + 0.5) : 1;
    high = x - (double)k * 6.93147180369123816490e-01;
    low = (double)k * 1.90821492927058770002e-10;
    x = high - low;
  }
  square = x * x;
  c = x - square * (1.66666666666666019037e-01 +
                    square * (-2.77777777770155933842e-03 +
                              square * (6.61375632143793436117e-05 +
                                        square * (-1.65339022054652515390e-06 +
                                                  square * 4.13813679705723846039e-08))));
  y = 1.0 + (x * c / (2.0 - c) - low + high);
  return y * of_bits((uint64_t)(k + 1023) << 52);
}

/* An angle less n quarter turns, as the sum of two numbers. */
typedef struct rest_of_turn {
  double high;
  double low;
  int32_t n;
} rest_of_turn;

static int32_t exponent_of(double x) {
  return (int32_t)(bits_of(x) >> 52 & 0x7ff);
}

/* In as many steps as cancellation needs. */
static rest_of_turn reduce_by_rounding(double x) {
  static const double to_whole = 1.5 / 2.2204460492503131e-16;
  /* A quarter turn in three parts, and what each leaves. */
  static const double parts[3] = {1.57079632673412561417e+00, 6.07710050630396597660e-11,
                                  2.02226624871116645580e-21};
  static const double tails[3] = {6.07710050650619224932e-11, 2.02226624879595063154e-21,
                                  8.47842766036889956997e-32};
  static const int32_t lost_bits[2] = {16, 49};
  const double n = x * 6.36619772367581382433e-01 + to_whole - to_whole;
  double r = x - n * parts[0], w = n * tails[0];
  rest_of_turn rest;
  int step;
  rest.high = r - w;
  for (step = 0; step < 2 && exponent_of(x) - exponent_of(rest.high) > lost_bits[step]; step++) {
    const double before = r;
    w = n * parts[step + 1];
    r = before - w;
    w = n * tails[step + 1] - ((before - r) - w);
    rest.high = r - w;
  }
  rest.low = (r - rest.high) - w;
  rest.n = (int32_t)n;
  return rest;
}

/* Of an angle beyond an eighth of a turn. */
static rest_of_turn reduce(double x) {
  /* Upper words of odd eighths of a turn, and of the quarters between them. */
  static const uint32_t ends[4] = {0x4002d97c, 0x400f6a7a, 0x4015fdbc, 0x401c463b};
  static const uint32_t quarters[4] = {0x3ff921fb, 0x400921fb, 0x4012d97c, 0x401921fb};
  const uint32_t size = (uint32_t)(bits_of(x) >> 32) & 0x7fffffff;
  const double sign = x < 0 ? -1.0 : 1.0;
  rest_of_turn rest;
  int n;
  for (n = 0; n < 4 && size > ends[n]; n++) {
  }
  if (n == 4 || size == quarters[n]) return reduce_by_rounding(x);
  {
    const double whole = sign * ((double)(n + 1) * 1.57079632673412561417e+00);
    const double tail = sign * ((double)(n + 1) * 6.07710050650619224932e-11);
    const double z = x - whole;
    rest.high = z - tail;
    rest.low = (z - rest.high) - tail;
    rest.n = x < 0 ? -(n + 1) : n + 1;
  }
  return rest;
}

/* The sine of x + y, up to an eighth of a turn; without y where there is none. */
static double sine_near_0(double x, double y, bool has_y) {
  static const double s1 = -1.66666666666666324348e-01;
  const double z = x * x, w = z * z, v = z * x;
  const double r = 8.33333333332248946124e-03 +
                   z * (-1.98412698298579493134e-04 + z * 2.75573137070700676789e-06) +
                   z * w * (-2.50507602534068634195e-08 + z * 1.58969099521155010221e-10);
  return has_y ? x - ((z * (0.5 * y - v * r) - y) - v * s1) : x + v * (s1 + z * r);
}

static double cosine_near_0(double x, double y) {
  const double z = x * x, square = z * z, half = 0.5 * z, w = 1.0 - half;
  const double r = z * (4.16666666666666019037e-02 +
                        z * (-1.38888888888741095749e-03 + z * 2.48015872894767294178e-05)) +
                   square * square *
                       (-2.75573143513906633035e-07 +
                        z * (2.08757232129817482790e-09 + z * -1.13596475577881948265e-11));
  return w + (((1.0 - w) - half) + (z * r - x * y));
}

static bool is_up_to_an_eighth(double x) {
  return ((uint32_t)(bits_of(x) >> 32) & 0x7fffffff) <= 0x3fe921fb;
}

double tinyops_sin(double x) {
  rest_of_turn rest;
  double value;
  if (is_up_to_an_eighth(x)) {
    return exponent_of(x) < 0x3e5 ? x : sine_near_0(x, 0, false);
  }
  rest = reduce(x);
  value = rest.n % 2 == 0 ? sine_near_0(rest.high, rest.low, true)
                          : cosine_near_0(rest.high, rest.low);
  return ((uint32_t)rest.n & 2) != 0 ? -value : value;
}

double tinyops_cos(double x) {
  rest_of_turn rest;
  double value;
  if (is_up_to_an_eighth(x)) return cosine_near_0(x, 0);
  rest = reduce(x);
  value = rest.n % 2 == 0 ? cosine_near_0(rest.high, rest.low)
                          : sine_near_0(rest.high, rest.low, true);
  return ((uint32_t)(rest.n + 1) & 2) != 0 ? -value : value;
}

static double upper_word_of(double x) {
  return of_bits(bits_of(x) & 0xFFFFFFFF00000000u);
}

/* The tangent of x + y, up to an eighth of a turn; of a quarter turn more, if `is_odd`. */
static double tangent_near_0(double x, double y, bool is_odd) {
  static const double t[13] = {
      3.33333333333334091986e-01,  1.33333333333201242699e-01,  5.39682539762260521377e-02,
      2.18694882948595424599e-02,  8.86323982359930005737e-03,  3.59207910759131235356e-03,
      1.45620945432529025516e-03,  5.88041240820264096874e-04,  2.46463134818469906812e-04,
      7.81794442939557092300e-05,  7.14072491382608190305e-05,  -1.85586374855275456654e-05,
      2.59073051863633712884e-05,
  };
  const bool is_negative = x < 0;
  const bool is_large = ((uint32_t)(bits_of(x) >> 32) & 0x7fffffff) >= 0x3FE59428;
  double z, w, r, v, s, quotient, upper_w, upper_quotient;
  if (is_large) {
    x = (7.85398163397448278999e-01 - (is_negative ? -x : x)) +
        (3.06161699786838301793e-17 - (is_negative ? -y : y));
    y = 0;
  }
  z = x * x;
  w = z * z;
  r = t[1] + w * (t[3] + w * (t[5] + w * (t[7] + w * (t[9] + w * t[11]))));
  v = z * (t[2] + w * (t[4] + w * (t[6] + w * (t[8] + w * (t[10] + w * t[12])))));
  s = z * x;
  r = y + z * (s * (r + v) + y) + s * t[0];
  w = x + r;
  if (is_large) {
    s = is_odd ? -1.0 : 1.0;
    v = s - 2.0 * (x + (r - w * w / (w + s)));
    return is_negative ? -v : v;
  }
  if (!is_odd) return w;
  /* -1 / w, accurately. */
  upper_w = upper_word_of(w);
  v = r - (upper_w - x);
  quotient = -1.0 / w;
  upper_quotient = upper_word_of(quotient);
  return upper_quotient + quotient * (1.0 + upper_quotient * upper_w + upper_quotient * v);
}

double tinyops_tan(double x) {
  rest_of_turn rest;
  if (is_up_to_an_eighth(x)) {
    return exponent_of(x) < 0x3e4 ? x : tangent_near_0(x, 0, false);
  }
  rest = reduce(x);
  return tangent_near_0(rest.high, rest.low, rest.n % 2 != 0);
}

/* x^2 as the sum of two numbers. */
static double exact_square(double x, double *low) {
  const double split = x * 134217729.0, high = x - split + split, rest = x - high, product = x * x;
  *low = high * high - product + 2.0 * high * rest + rest * rest;
  return product;
}

double tinyops_hypot(double x, double y) {
  double high_x, low_x, high_y, low_y;
  x = of_bits(bits_of(x) & 0x7FFFFFFFFFFFFFFFu);
  y = of_bits(bits_of(y) & 0x7FFFFFFFFFFFFFFFu);
  if (x < y) {
    const double other = x;
    x = y;
    y = other;
  }
  if (y == 0) return x;
  if (exponent_of(x) - exponent_of(y) > 64) return x + y;
  high_x = exact_square(x, &low_x);
  high_y = exact_square(y, &low_y);
  return tinyops_sqrt(low_y + low_x + high_y + high_x);
}
