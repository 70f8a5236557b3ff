/* Fixed-point functions of the exponential family: a number with n integer bits is raw / 2^(31 - n).
 *
 * Source: gemmlowp, fixedpoint/fixedpoint.h: the same constants and order of operations, since the
 * int8 kernels of the specification are defined by them. */
#ifndef TINYOPS_FIXED_H
#define TINYOPS_FIXED_H

#include <stdint.h>

/* A fraction without integer bits, and a power of two. */
typedef struct tinyops_scaled {
  int32_t fraction;
  int32_t exponent;
} tinyops_scaled;

/* exp(raw / 2^26) for raw <= 0, without integer bits. */
int32_t tinyops_exp_of_negative(int32_t raw);

/* 1 / x for a positive x with so many integer bits; the exponent is how many bits x had above 1. */
tinyops_scaled tinyops_reciprocal(int32_t x, int32_t integer_bits);

/* 1 / sqrt(x) for an integer that is not negative.
 *
 * Source: TensorFlow Lite, GetInvSqrtQuantizedMultiplierExp. */
tinyops_scaled tinyops_inverse_square_root(int32_t x);

#endif
