/* The places of a copy: three axes, each with steps in output and input, or with a table. */
#ifndef TINYOPS_PLACES_H
#define TINYOPS_PLACES_H

#include "../operator.h"

/* 32-bit numbers before the tables of a copy: both starts, then count, step of the output and step
 * of the input of each axis. */
#define TINYOPS_COPY_HEAD 11u
/* The step of an axis in the input that says: the places are in a table. */
#define TINYOPS_COPY_TABLE INT32_MIN

typedef struct tinyops_axis {
  uint32_t count;
  int32_t output_step;
  int32_t input_step;
  /* The index of the first number of the table, where the input has one. */
  uint32_t table;
} tinyops_axis;

/* Calls `move` for every run of neighbours that a copy moves: where to, where from, how many. */
void tinyops_copy_places(const tinyops_call *call, const tinyops_op *op,
                         void (*move)(const tinyops_call *call, size_t to, size_t from,
                                      size_t count));

/* Whether the numbers of a copy lie in the constants, and every place that it names in its tensors.
 * `op` is the one whose numbers come first; both tensors are counted in values. */
bool tinyops_copy_is_sound(const tinyops_plan *plan, const tinyops_op *op);

#endif
