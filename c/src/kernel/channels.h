/* Bias, multiplier and shift of each output channel of a convolution. */
#ifndef TINYOPS_CHANNELS_H
#define TINYOPS_CHANNELS_H

#include "../operator.h"

typedef struct tinyops_channels {
  /* Biases, or words of packed channels. */
  const uint8_t *words;
  const uint8_t *multipliers;
  /* Shifts, or biases of packed channels. */
  const uint8_t *rest;
  int32_t zero_point;
  int32_t least;
  int32_t greatest;
  int8_t shift_max;
  bool is_packed;
  bool is_one;
} tinyops_channels;

tinyops_channels tinyops_channels_of(const tinyops_call *call);

/* Adds the biases to some sums, from channel `first` on, rescales and clamps them into bytes. */
void tinyops_channels_finish(const tinyops_channels *channels, uint32_t first, const int32_t *sums,
                             uint32_t count, uint8_t *out);

/* The same of one channel of some pixels, whose bytes lie `step` apart. */
void tinyops_channels_finish_pixels(const tinyops_channels *channels, uint32_t channel,
                                    const int32_t *sums, uint32_t pixels, uint8_t *out,
                                    size_t step);

/* Whether every shift of a convolution's channels is one that the arithmetic knows. */
bool tinyops_channels_are_sound(const tinyops_plan *plan, const tinyops_op *op);

#endif
