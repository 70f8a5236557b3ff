/* Bias, multiplier and shift of each output channel of a convolution. */
#ifndef TINYOPS_CHANNELS_H
#define TINYOPS_CHANNELS_H

#include "../operator.h"

/* Whether a function is to become part of its caller is the compiler's matter but where its sums need
 * all registers. */
#ifdef __GNUC__
#define TINYOPS_APART __attribute__((noinline))
#else
#define TINYOPS_APART
#endif

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

/* Whether a pixel of the output is of one pixel of the input, at the same place: then all pixels are one
 * row. */
static inline bool tinyops_is_pointwise(const tinyops_call *call) {
  const tinyops_op *op = call->op;
  return op->kernel[0] == 1 && op->kernel[1] == 1 && op->stride[0] == 1 && op->stride[1] == 1 &&
         op->pad[0] == 0 && op->pad[1] == 0 && call->input.shape[1] == call->output.shape[1] &&
         call->input.shape[2] == call->output.shape[2];
}

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

#ifndef TINYOPS_ARM_DSP
/* The most channels whose numbers are kept at once. */
#define TINYOPS_KEPT_MAX 128u

/* What a channel's sums are rescaled by: multiplier and shift, or, with long products, factor and power
 * of tinyops_rescale_low() where all that are kept allow it. */
typedef struct tinyops_scale {
  int32_t bias;
  int32_t factor;
  int32_t power;
} tinyops_scale;

/* Some channels of a convolution, read once for many pixels. */
typedef struct tinyops_kept {
  tinyops_scale scales[TINYOPS_KEPT_MAX];
  int32_t zero_point;
  bool is_low;
} tinyops_kept;

/* Keeps these channels and no others, at most TINYOPS_KEPT_MAX. */
void tinyops_keep(tinyops_kept *kept, const tinyops_channels *channels, uint32_t first,
                  uint32_t count);

/* A value, with 128 more, held to a byte. */
static inline uint8_t tinyops_byte_of(int32_t value) {
  return (uint8_t)(tinyops_clamp(value, 0, 255) ^ 0x80);
}

/* Rescales a sum with its bias into a byte, held to no activation. */
static inline uint8_t tinyops_finish(tinyops_scale scale, int32_t sum, int32_t zero_point) {
  tinyops_multiplier multiplier;
  multiplier.value = scale.factor;
  multiplier.shift = scale.power;
  sum = tinyops_add_saturating(tinyops_rescale(multiplier, sum), zero_point);
  return (uint8_t)(int8_t)tinyops_clamp(sum, -128, 127);
}

/* The same where tinyops_kept.is_low. */
static inline uint8_t tinyops_finish_low(tinyops_scale scale, int32_t sum, int32_t zero_point) {
  return tinyops_byte_of(tinyops_rescale_low(scale.factor, scale.power, sum, zero_point + 128));
}
#endif

/* Holds bytes to the fused activation, where it is not the whole range. */
void tinyops_clamp_bytes(const tinyops_op *op, uint8_t *bytes, size_t count);

/* Whether every shift of a convolution's channels is one that the arithmetic knows. */
bool tinyops_channels_are_sound(const tinyops_plan *plan, const tinyops_op *op);

#endif
