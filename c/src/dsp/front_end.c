#include "block.h"

#include "elementary.h"

/* The longest window over all channels: beyond it a count is not exact in single precision. */
#define READINGS_MAX (1u << 24)
#define CHANNELS_MAX 256u
/* The largest reading after scaling: the power of a full transform of it still is a number. */
#define READING_MAX 1e15f

static const uint8_t *take(tinyops_settings *settings, size_t count) {
  static const uint8_t zeros[4] = {0, 0, 0, 0};
  const uint8_t *at = settings->at;
  if (settings->status != TINYOPS_FEATURES_MADE) return zeros;
  if (settings->left < count) {
    settings->status = TINYOPS_FEATURES_TRUNCATED;
    return zeros;
  }
  settings->at += count;
  settings->left -= count;
  return at;
}

uint8_t tinyops_settings_u8(tinyops_settings *settings) {
  return *take(settings, 1);
}

uint16_t tinyops_settings_u16(tinyops_settings *settings) {
  return tinyops_read_u16(take(settings, 2));
}

uint32_t tinyops_settings_u32(tinyops_settings *settings) {
  return tinyops_read_u32(take(settings, 4));
}

float tinyops_settings_f32(tinyops_settings *settings) {
  return tinyops_float_of_bits(tinyops_settings_u32(settings));
}

uint8_t tinyops_settings_choice(tinyops_settings *settings, uint32_t count) {
  const uint8_t choice = tinyops_settings_u8(settings);
  if (choice < count) return choice;
  if (settings->status == TINYOPS_FEATURES_MADE) settings->status = TINYOPS_FEATURES_TAG;
  return 0;
}

static const tinyops_block *block_of(const tinyops_blocks *blocks, uint8_t tag) {
  size_t index;
  for (index = 0; index < blocks->count; index++) {
    if (blocks->list[index]->tag == tag) return blocks->list[index];
  }
  return NULL;
}

/* How many features there are; 0 for none, or too many. */
static uint32_t feature_count(const tinyops_front_end *end) {
  uint32_t shape[3], index;
  uint64_t count = 1;
  end->block->shape(end, shape);
  for (index = 0; index < 3; index++) {
    if (shape[index] > UINT16_MAX) return 0;
    count *= shape[index];
  }
  return count <= TINYOPS_FEATURES_MAX ? (uint32_t)count : 0;
}

static bool is_sound(const tinyops_front_end *end) {
  const bool is_rate = end->rate_hz > 0 || (end->block->is_timeless && end->rate_hz == 0);
  return tinyops_is_finite(end->rate_hz) && is_rate && end->channel_count >= 1 &&
         end->channel_count <= CHANNELS_MAX && end->window_len >= 1 &&
         end->window_len <= READINGS_MAX / end->channel_count && end->block->is_sound(end) &&
         feature_count(end) > 0;
}

tinyops_features_status tinyops_front_end_read(tinyops_front_end *end, const uint8_t *bytes,
                                               size_t len, const tinyops_blocks *blocks) {
  tinyops_settings settings;
  uint8_t version, tag;
  settings.at = bytes;
  settings.left = len;
  settings.status = TINYOPS_FEATURES_MADE;
  memset(end, 0, sizeof *end);
  version = tinyops_settings_u8(&settings);
  if (settings.status != TINYOPS_FEATURES_MADE) return settings.status;
  if (version != TINYOPS_FRONT_END_VERSION) return TINYOPS_FEATURES_VERSION;
  end->rate_hz = tinyops_settings_f32(&settings);
  end->channel_count = tinyops_settings_u16(&settings);
  end->window_len = tinyops_settings_u32(&settings);
  tag = tinyops_settings_u8(&settings);
  if (settings.status != TINYOPS_FEATURES_MADE) return settings.status;
  end->block = block_of(blocks, tag);
  if (end->block == NULL) return TINYOPS_FEATURES_TAG;
  end->block->read(&settings, end);
  if (settings.status != TINYOPS_FEATURES_MADE) return settings.status;
  if (!is_sound(end)) return TINYOPS_FEATURES_SETTING;
  return settings.left == 0 ? TINYOPS_FEATURES_MADE : TINYOPS_FEATURES_TRUNCATED;
}

void tinyops_front_end_shape(const tinyops_front_end *end, uint16_t shape[3]) {
  uint32_t wide[3], index;
  end->block->shape(end, wide);
  for (index = 0; index < 3; index++) shape[index] = (uint16_t)wide[index];
}

size_t tinyops_front_end_feature_count(const tinyops_front_end *end) {
  return feature_count(end);
}

size_t tinyops_front_end_reading_count(const tinyops_front_end *end) {
  return (size_t)end->window_len * end->channel_count;
}

size_t tinyops_front_end_scratch_len(const tinyops_front_end *end) {
  return end->block->scratch_len(end);
}

tinyops_features_status tinyops_front_end_extract(const tinyops_front_end *end, const float *window,
                                                  size_t reading_count, float *features,
                                                  size_t count, float *scratch,
                                                  size_t scratch_len) {
  size_t index;
  if (reading_count != tinyops_front_end_reading_count(end)) return TINYOPS_FEATURES_WINDOW;
  if (count != feature_count(end)) return TINYOPS_FEATURES_ROOM;
  if (scratch_len < end->block->scratch_len(end)) return TINYOPS_FEATURES_SCRATCH;
  for (index = 0; index < reading_count; index++) {
    /* Not so of what is no number either. */
    if (!(tinyops_absf(window[index] * end->scale) <= READING_MAX)) {
      return TINYOPS_FEATURES_NOT_FINITE;
    }
  }
  end->block->extract(end, window, features, scratch);
  return TINYOPS_FEATURES_MADE;
}

static float section_number(const uint8_t *section, size_t index) {
  return tinyops_read_f32(section + 4 + 4 * index);
}

bool tinyops_scaler_apply(const uint8_t *section, size_t len, float *features, size_t count) {
  size_t groups, index, group = 0;
  if (len < 4 || (len - 4) % 8 != 0 || tinyops_read_u32(section) != (len - 4) / 8) return false;
  groups = (len - 4) / 8;
  if (groups > 0 && count % groups != 0) return false;
  for (index = 0; index < 2 * groups; index++) {
    if (!tinyops_is_finite(section_number(section, index))) return false;
  }
  for (index = 0; index < count && groups > 0; index++) {
    features[index] = (features[index] - section_number(section, group)) *
                      section_number(section, groups + group);
    if (++group == groups) group = 0;
  }
  return true;
}
