#include "fixed.h"

#include "quantize.h"

static int32_t saturating_shift_left(int32_t x, uint32_t bits) {
  int32_t limit = ((int32_t)1 << (31 - bits)) - 1;
  if (x > limit) return INT32_MAX;
  if (x < -limit) return INT32_MIN;
  return tinyops_shift_left(x, bits);
}

static int32_t exp_between_minus_quarter_and_0(int32_t raw) {
  const int32_t exp_minus_eighth = 1895147668, one_third = 715827883;
  /* The Taylor polynomial of degree 4 around -1/8. */
  int32_t x = tinyops_add_wrapping(raw, (int32_t)1 << 28);
  int32_t x2 = tinyops_doubling_high_mul(x, x);
  int32_t x3 = tinyops_doubling_high_mul(x2, x);
  int32_t x4 = tinyops_doubling_high_mul(x2, x2);
  int32_t x4_over_4 = tinyops_rounding_divide(x4, 2);
  int32_t cubic = tinyops_add_wrapping(
      tinyops_doubling_high_mul(tinyops_add_wrapping(x4_over_4, x3), one_third), x2);
  int32_t rest = tinyops_rounding_divide(cubic, 1);
  return tinyops_add_wrapping(
      exp_minus_eighth,
      tinyops_doubling_high_mul(exp_minus_eighth, tinyops_add_wrapping(x, rest)));
}

int32_t tinyops_exp_of_negative(int32_t raw) {
  /* exp(-2^exponent) without integer bits, for exponents from -2 on. */
  static const int32_t powers[7] = {1672461947, 1302514674, 790015084, 290630308,
                                    39332535,   720401,     242};
  const int32_t integer_bits = 5;
  const int32_t fractional_bits = 31 - integer_bits;
  const int32_t quarter = (int32_t)1 << (fractional_bits - 2);
  int32_t below_quarter, result, remainder, power;
  if (raw == 0) return INT32_MAX;
  below_quarter = (raw & (quarter - 1)) - quarter;
  result = exp_between_minus_quarter_and_0(
      saturating_shift_left(below_quarter, (uint32_t)integer_bits));
  remainder = tinyops_sub_wrapping(below_quarter, raw);
  for (power = 0; power < 7; power++) {
    if (((uint32_t)remainder >> (fractional_bits - 2 + power) & 1) != 0) {
      result = tinyops_doubling_high_mul(result, powers[power]);
    }
  }
  return result;
}

/* 1 / (1 + x) for x in [0, 1); no integer bits in or out. */
static int32_t one_over_one_plus(int32_t x) {
  const int32_t one = (int32_t)1 << 29;
  /* 48/17 and -32/17 with two integer bits: the best line to 1 / d, before three steps of Newton
   * and Raphson's iteration with d = (1 + x) / 2. */
  const int32_t start = 1515870810, slope = -1010580540;
  int64_t sum = (int64_t)x + INT32_MAX;
  int32_t half_denominator = (int32_t)((sum + (sum >= 0 ? 1 : -1)) / 2);
  int32_t estimate =
      tinyops_add_wrapping(start, tinyops_doubling_high_mul(half_denominator, slope));
  int step;
  for (step = 0; step < 3; step++) {
    int32_t error =
        tinyops_sub_wrapping(one, tinyops_doubling_high_mul(half_denominator, estimate));
    estimate = tinyops_add_wrapping(
        estimate, saturating_shift_left(tinyops_doubling_high_mul(estimate, error), 2));
  }
  return saturating_shift_left(estimate, 1);
}

tinyops_scaled tinyops_reciprocal(int32_t x, int32_t integer_bits) {
  uint32_t headroom = tinyops_leading_zeros((uint32_t)x);
  uint32_t fraction = ((uint32_t)x << (headroom & 31)) - ((uint32_t)1 << 31);
  tinyops_scaled result;
  result.fraction = one_over_one_plus((int32_t)fraction);
  result.exponent = integer_bits - (int32_t)headroom;
  return result;
}

tinyops_scaled tinyops_inverse_square_root(int32_t x) {
  const int32_t one_and_a_half = ((int32_t)1 << 28) + ((int32_t)1 << 27);
  const int32_t half_sqrt_2 = 1518500250;
  int32_t shift = 11, pairs, half_input, estimate = (int32_t)1 << 28;
  tinyops_scaled result;
  int step;
  if (x <= 1) {
    result.fraction = INT32_MAX;
    result.exponent = 0;
    return result;
  }
  while (x >= (int32_t)1 << 29) {
    x /= 4;
    shift += 1;
  }
  pairs = ((int32_t)tinyops_leading_zeros((uint32_t)x) - 1) / 2 - 1;
  shift -= pairs;
  x = tinyops_shift_left(x, (uint32_t)(2 * pairs));
  x = tinyops_shift_right(x, 1);
  half_input = tinyops_rounding_divide(x, 1);
  /* A product of numbers with three integer bits has six; three products, nine. */
  for (step = 0; step < 5; step++) {
    int32_t square = tinyops_doubling_high_mul(estimate, estimate);
    int32_t cube = saturating_shift_left(tinyops_doubling_high_mul(square, estimate), 6);
    int32_t difference = tinyops_sub_wrapping(tinyops_doubling_high_mul(one_and_a_half, estimate),
                                              tinyops_doubling_high_mul(half_input, cube));
    estimate = saturating_shift_left(difference, 3);
  }
  result.fraction = tinyops_doubling_high_mul(estimate, half_sqrt_2);
  if (shift < 0) {
    result.fraction = tinyops_shift_left(result.fraction, (uint32_t)-shift);
    shift = 0;
  }
  result.exponent = -shift;
  return result;
}
