/* Functions of two values: what is common to those over int8 and over int16. */
#ifndef TINYOPS_PAIRS_H
#define TINYOPS_PAIRS_H

#include "../operator.h"

/* 32-bit numbers of the op: function, zero points of both operands, three multipliers with their
 * shifts, the steps of the first operand and those of the second along height, width, channels. */
#define TINYOPS_BINARY_NUMBERS 15u

/* What a function of two values computes, its first number. */
enum {
  TINYOPS_BINARY_ADD = 0,
  TINYOPS_BINARY_SUBTRACT = 1,
  TINYOPS_BINARY_SUBTRACT_FROM = 2,
  TINYOPS_BINARY_MULTIPLY = 3,
  TINYOPS_BINARY_MAXIMUM = 4,
  TINYOPS_BINARY_MINIMUM = 5,
  TINYOPS_BINARY_PRELU = 6,
  TINYOPS_BINARY_SQUARED_DIFFERENCE = 7
};

/* What the function makes of two values, before zero point and clamp. */
typedef struct tinyops_pair_rule {
  int32_t function;
  int32_t zero_points[2];
  tinyops_multiplier multipliers[3];
  /* Bits that a sum, and a difference before it is squared, keeps below the point. */
  uint32_t sum_bits;
  uint32_t square_bits;
} tinyops_pair_rule;

tinyops_pair_rule tinyops_pair_rule_of(const tinyops_plan *plan, const tinyops_op *op,
                                       uint32_t sum_bits, uint32_t square_bits);

int32_t tinyops_pair_apply(const tinyops_pair_rule *rule, int32_t first, int32_t second);

/* The step of an operand along height, width or channels. */
static inline uint32_t tinyops_pair_step(const tinyops_plan *plan, const tinyops_op *op,
                                         uint32_t operand, uint32_t axis) {
  return (uint32_t)tinyops_number(plan, op, 9 + 3 * operand + axis);
}

/* Whether the numbers of the op are such that no sum overflows and no operand is left. The second
 * operand has so many values. */
bool tinyops_pairs_are_sound(const tinyops_plan *plan, const tinyops_op *op, uint64_t second_len);

#endif
