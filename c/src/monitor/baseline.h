/* The channels of a baseline, read where they lie. */
#ifndef TINYOPS_BASELINE_H
#define TINYOPS_BASELINE_H

#include "../../include/tinyops_monitor.h"
#include "../bytes.h"
#include "../dsp/elementary.h"

/* Bytes of a channel, and where its numbers begin: mean, deviation, edges, shares, noise. */
#define TINYOPS_CHANNEL_BYTES 82u
#define TINYOPS_CHANNEL_MEAN 0u
#define TINYOPS_CHANNEL_DEVIATION 1u
#define TINYOPS_CHANNEL_EDGES 2u
#define TINYOPS_CHANNEL_SHARES 9u
#define TINYOPS_CHANNEL_NOISE 17u
/* No channel. */
#define TINYOPS_NOWHERE 255u

/* Where the values of a channel come from: the index of a feature, or one of these. */
#define TINYOPS_SOURCE_EMBEDDING 0xFFFEu
#define TINYOPS_SOURCE_OUTPUT 0xFFFFu

static inline uint16_t tinyops_channel_source(const tinyops_baseline *baseline, uint32_t channel) {
  return tinyops_read_u16(baseline->channels + TINYOPS_CHANNEL_BYTES * channel);
}

static inline float tinyops_channel_number(const tinyops_baseline *baseline, uint32_t channel,
                                           uint32_t number) {
  return tinyops_read_f32(baseline->channels + TINYOPS_CHANNEL_BYTES * channel + 2 + 4 * number);
}

/* How far a value is from the mean of its channel, in its standard deviations. */
static inline float tinyops_channel_deviation(const tinyops_baseline *baseline, uint32_t channel,
                                              float value) {
  return (value - tinyops_channel_number(baseline, channel, TINYOPS_CHANNEL_MEAN)) *
         (1.0f / tinyops_channel_number(baseline, channel, TINYOPS_CHANNEL_DEVIATION));
}

#endif
