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

/* Bias and multiplier of one channel. */
typedef struct tinyops_channel {
  tinyops_multiplier multiplier;
  int32_t bias;
} tinyops_channel;

tinyops_channel tinyops_channels_at(const tinyops_channels *channels, uint32_t channel);

/* Adds the bias of a channel to a sum, rescales and clamps it into a byte. */
static inline uint8_t tinyops_channel_finish(const tinyops_channels *channels,
                                             const tinyops_channel *channel, int32_t sum) {
  const int32_t biased = tinyops_add_wrapping(channel->bias, sum);
  const int32_t value = tinyops_add_saturating(tinyops_rescale(channel->multiplier, biased),
                                               channels->zero_point);
  return (uint8_t)(int8_t)tinyops_clamp(value, channels->least, channels->greatest);
}

/* The same of one channel of some pixels, whose bytes lie `step` apart. */
void tinyops_channels_finish_pixels(const tinyops_channels *channels, uint32_t channel,
                                    const int32_t *sums, uint32_t pixels, uint8_t *out,
                                    size_t step);

/* Whether every shift of a convolution's channels is one that the arithmetic knows. */
bool tinyops_channels_are_sound(const tinyops_plan *plan, const tinyops_op *op);

#endif
