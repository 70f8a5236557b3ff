/* Bias, multiplier and shift of each output channel of a convolution over int16. */
#ifndef TINYOPS_INT16_CHANNELS_H
#define TINYOPS_INT16_CHANNELS_H

#include "../../operator.h"

typedef struct tinyops_wide_channels {
  const uint8_t *biases;
  const uint8_t *multipliers;
  const uint8_t *shifts;
  int32_t least;
  int32_t greatest;
  /* How many multipliers and shifts there are. */
  uint32_t multiplier_count;
  bool has_wide_biases;
  bool has_narrow_sums;
} tinyops_wide_channels;

tinyops_wide_channels tinyops_wide_channels_of(const tinyops_plan *plan, const tinyops_op *op);

/* Adds the bias of a channel to its sum, rescales and clamps it. */
int32_t tinyops_wide_channels_finish(const tinyops_wide_channels *channels, uint32_t channel,
                                     int64_t sum);

/* Whether every multiplier and shift is one that the arithmetic knows. */
bool tinyops_wide_channels_are_sound(const tinyops_plan *plan, const tinyops_op *op);

#endif
