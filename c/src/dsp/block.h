/* What every block of the front end is made of. */
#ifndef TINYOPS_BLOCK_H
#define TINYOPS_BLOCK_H

#include "../exact.h"
#include "../../include/tinyops_front_end.h"
#include "../bytes.h"

/* The most features of a window. */
#define TINYOPS_FEATURES_MAX (1u << 20)

/* Settings that are read from their beginning. The first failure stays, and zeros are read after it. */
typedef struct tinyops_settings {
  const uint8_t *at;
  size_t left;
  tinyops_features_status status;
} tinyops_settings;

uint8_t tinyops_settings_u8(tinyops_settings *settings);
uint16_t tinyops_settings_u16(tinyops_settings *settings);
uint32_t tinyops_settings_u32(tinyops_settings *settings);
float tinyops_settings_f32(tinyops_settings *settings);
/* A number below `count`: a choice, or flags. */
uint8_t tinyops_settings_choice(tinyops_settings *settings, uint32_t count);

struct tinyops_block {
  uint8_t tag;
  /* Whether a signal without a rate will do. */
  bool is_timeless;
  void (*read)(tinyops_settings *settings, tinyops_front_end *end);
  /* Whether the settings are in range; nothing else is called before. */
  bool (*is_sound)(const tinyops_front_end *end);
  /* Height, width and channels; 0 for one that 16 bits cannot hold. */
  void (*shape)(const tinyops_front_end *end, uint32_t shape[3]);
  size_t (*scratch_len)(const tinyops_front_end *end);
  void (*extract)(const tinyops_front_end *end, const float *window, float *features,
                  float *scratch);
};

static inline size_t tinyops_no_scratch(const tinyops_front_end *end) {
  (void)end;
  return 0;
}

/* A row of features. */
static inline void tinyops_row_shape(uint32_t shape[3], uint32_t width) {
  shape[0] = shape[2] = 1;
  shape[1] = width;
}

/* Copies a channel out of a window, scaled. */
static inline void tinyops_copy_channel(const tinyops_front_end *end, const float *window,
                                        uint32_t channel, float *to) {
  uint32_t t;
  window += channel;
  for (t = 0; t < end->window_len; t++, window += end->channel_count) to[t] = *window * end->scale;
}

#endif
