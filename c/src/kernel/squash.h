/* The logistic function and the hyperbolic tangent in 16 bits. */
#ifndef TINYOPS_SQUASH_H
#define TINYOPS_SQUASH_H

#include "../operator.h"

/* Values of the table. */
#define TINYOPS_SIGMOID_TABLE 256u

/* The logistic function of an argument in parts of 12,288 or, where `is_tanh`, the hyperbolic
 * tangent, as 2 * logistic(2x) - 1: interpolated between the values at every 24th of the argument,
 * in parts of 32,768.
 *
 * Source: TFLM, reference_integer_ops::Logistic and Tanh for int16_t. */
int32_t tinyops_squash(int32_t argument, const uint8_t *table, bool is_tanh);

#endif
