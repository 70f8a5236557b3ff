/* A sum of two tensors, which goes over its values in pieces: a convolution may make one of its
 * operands meanwhile, in the sum's own place. */
#ifndef TINYOPS_SUM_H
#define TINYOPS_SUM_H

#include "operator.h"

typedef struct tinyops_sum {
  /* First operand, second operand, and the sum's own. */
  const uint8_t *first;
  const uint8_t *second;
  uint8_t *output;
  tinyops_multiplier multipliers[3];
  /* What is added to an operand before, and to the result after. */
  int32_t offsets[3];
  int32_t least;
  int32_t greatest;
  /* Bytes that a convolution makes before they are added: whole blocks of pixels, but for the last
   * piece. */
  size_t lag;
  /* tinyops_sum_add(), through a pointer: a program without sums shall not have its code. */
  void (*add)(const struct tinyops_sum *sum, size_t start, size_t count);
} tinyops_sum;

/* clamp(zp + rescale_out(rescale_a(a - zp_a) + rescale_b(b - zp_b))) of some values; may write over
 * an input. */
void tinyops_sum_add(const tinyops_sum *sum, size_t start, size_t count);

#endif
