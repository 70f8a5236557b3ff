/* Places along three axes of an input, each with a count and a step. */
#ifndef TINYOPS_AXES_H
#define TINYOPS_AXES_H

#include "../operator.h"

/* 32-bit numbers of a reduction: function, bias, multiplier, shift, then count and step in the input
 * of each of three axes that stay and of three that go. */
#define TINYOPS_REDUCE_NUMBERS 16u
#define TINYOPS_AXES_THAT_STAY 4u
#define TINYOPS_AXES_THAT_GO 10u

/* What a reduction makes of many values, its first number. */
enum {
  TINYOPS_REDUCE_SUM = 0,
  TINYOPS_REDUCE_MAXIMUM = 1,
  TINYOPS_REDUCE_MINIMUM = 2
};

/* Three axes, and a place on them that moves. */
typedef struct tinyops_axes {
  uint32_t counts[3];
  uint32_t steps[3];
} tinyops_axes;

static inline tinyops_axes tinyops_axes_at(const tinyops_plan *plan, const tinyops_op *op,
                                           uint32_t number) {
  tinyops_axes axes;
  uint32_t axis;
  for (axis = 0; axis < 3; axis++) {
    axes.counts[axis] = (uint32_t)tinyops_number(plan, op, number + 2 * axis);
    axes.steps[axis] = (uint32_t)tinyops_number(plan, op, number + 2 * axis + 1);
  }
  return axes;
}

/* Whether the axes make the output from the input and from nothing beyond. */
bool tinyops_reduce_is_sound(const tinyops_plan *plan, const tinyops_op *op);

#endif
