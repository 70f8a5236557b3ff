/* The binary range coder of a delta: adaptive bits and even ones, read from bytes. */
#ifndef TINYOPS_CODER_H
#define TINYOPS_CODER_H

#include "../../include/tinyops_delta.h"

/* Below this the range takes in another byte. */
#define TINYOPS_RANGE_LEAST (1u << 24)
/* A place that no delta reaches: one after its last byte was asked for. */
#define TINYOPS_DELTA_LACKING UINT32_MAX

/* The coder, and the delta that it reads. */
typedef struct tinyops_coder {
  const uint8_t *delta;
  size_t len;
  uint32_t range;
  uint32_t code;
  uint32_t at;
} tinyops_coder;

/* Takes in bytes until the range is large enough. */
static inline void tinyops_coder_fill_up(tinyops_coder *coder) {
  while (coder->range < TINYOPS_RANGE_LEAST) {
    uint32_t byte = 0;
    if (coder->at < coder->len) {
      byte = coder->delta[coder->at++];
    } else {
      coder->at = TINYOPS_DELTA_LACKING;
    }
    coder->range <<= 8;
    coder->code = coder->code << 8 | byte;
  }
}

/* Learns from a bit. */
static inline void tinyops_probability_learn(tinyops_probability *probability, bool bit) {
  const uint32_t fast = probability->fast, slow = probability->slow;
  if (bit) {
    probability->fast = (uint16_t)(fast + ((65536u - fast) >> 5));
    probability->slow = (uint16_t)(slow + ((65536u - slow) >> 7));
  } else {
    probability->fast = (uint16_t)(fast - (fast >> 5));
    probability->slow = (uint16_t)(slow - (slow >> 7));
  }
}

/* Goes into the part of the range below a bound, or above it; says whether below, which is a 1. */
static inline bool tinyops_coder_split(tinyops_coder *coder, uint32_t bound) {
  const bool is_below = coder->code < bound;
  if (is_below) {
    coder->range = bound;
  } else {
    coder->code -= bound;
    coder->range -= bound;
  }
  return is_below;
}

/* A bit, without taking in bytes after it. */
static inline bool tinyops_coder_bit(tinyops_coder *coder, tinyops_probability *probability) {
  const uint32_t both = (uint32_t)probability->fast + probability->slow;
  const bool bit = tinyops_coder_split(coder, (coder->range >> 17) * both);
  tinyops_probability_learn(probability, bit);
  return bit;
}

/* How many bits are 1 before one that is 0, at most `most`; each has a probability of its own as far
 * as there are. */
uint32_t tinyops_coder_ones(tinyops_coder *coder, tinyops_probability *probabilities,
                            uint32_t count, uint32_t most);

/* So many even bits, at most 32, the highest first. */
uint32_t tinyops_coder_even(tinyops_coder *coder, uint32_t count);

/* The number of which only the bits below its highest, at length - 1, are still to be read. */
uint32_t tinyops_coder_below(tinyops_coder *coder, uint32_t length);

/* A number below 2^31 and 1 more: its length in five bits, then what is below its highest bit. */
uint32_t tinyops_coder_count(tinyops_coder *coder);

#endif
