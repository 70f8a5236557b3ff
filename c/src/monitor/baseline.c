#include "baseline.h"

#define HEADER_BYTES 8u
#define CALIBRATION_BYTES 40u
#define HAS_CALIBRATION 1u

static bool are_shares(const uint8_t *at, uint32_t count) {
  float sum = 0;
  uint32_t index;
  for (index = 0; index < count; index++) {
    const float share = tinyops_read_f32(at + 4 * index);
    if (!(share >= 0)) return false;
    sum += share;
  }
  return tinyops_absf(sum - 1.0f) < 1e-3f;
}

static bool is_channel_sound(const tinyops_baseline *baseline, uint32_t channel, bool has_embedding) {
  const float deviation = tinyops_channel_number(baseline, channel, TINYOPS_CHANNEL_DEVIATION);
  float before = -3.40282347e+38f;
  uint32_t index;
  if (tinyops_channel_source(baseline, channel) == TINYOPS_SOURCE_EMBEDDING && !has_embedding) {
    return false;
  }
  if (!tinyops_is_finite(tinyops_channel_number(baseline, channel, TINYOPS_CHANNEL_MEAN)) ||
      !(deviation > 0) || !tinyops_is_finite(deviation) || !tinyops_is_finite(1.0f / deviation)) {
    return false;
  }
  for (index = 0; index < 3; index++) {
    if (!tinyops_is_finite(
            tinyops_channel_number(baseline, channel, TINYOPS_CHANNEL_NOISE + index))) {
      return false;
    }
  }
  for (index = 0; index < TINYOPS_BINS - 1; index++) {
    const float edge = tinyops_channel_number(baseline, channel, TINYOPS_CHANNEL_EDGES + index);
    if (!tinyops_is_finite(edge) || edge < before) return false;
    before = edge;
  }
  return are_shares(
      baseline->channels + TINYOPS_CHANNEL_BYTES * channel + 2 + 4 * TINYOPS_CHANNEL_SHARES,
      TINYOPS_BINS);
}

static bool is_calibration_sound(const uint8_t *at) {
  uint32_t bin, windows = 0;
  for (bin = 0; bin < TINYOPS_BINS; bin++) {
    const uint32_t of_bin = tinyops_read_u16(at + 2 * bin);
    if (tinyops_read_u16(at + 2 * (TINYOPS_BINS + bin)) > of_bin) return false;
    windows += of_bin;
  }
  at += 4 * TINYOPS_BINS;
  return windows > 0 && tinyops_is_finite(tinyops_read_f32(at)) &&
         tinyops_is_finite(tinyops_read_f32(at + 4)) && tinyops_read_f32(at + 4) >= 0;
}

tinyops_baseline_reason tinyops_baseline_read(tinyops_baseline *baseline, const uint8_t *bytes,
                                              size_t len) {
  bool has_calibration, is_sound;
  size_t channels_end, classes_end, needed;
  uint32_t index;
  if (len < 4) return TINYOPS_BASELINE_LENGTH;
  if (bytes[0] != 1 && (bytes[0] != 2 || bytes[3] > HAS_CALIBRATION)) {
    return TINYOPS_BASELINE_VERSION;
  }
  if (len < HEADER_BYTES) return TINYOPS_BASELINE_LENGTH;
  has_calibration = bytes[0] == 2 && bytes[3] == HAS_CALIBRATION;
  baseline->channels = bytes + HEADER_BYTES;
  baseline->channel_count = bytes[1];
  baseline->class_count = bytes[2];
  baseline->output = baseline->embedding = TINYOPS_NOWHERE;
  if (baseline->channel_count > TINYOPS_CHANNELS_MAX) return TINYOPS_BASELINE_CHANNELS;
  channels_end = HEADER_BYTES + TINYOPS_CHANNEL_BYTES * (size_t)baseline->channel_count;
  if (len < channels_end) return TINYOPS_BASELINE_LENGTH;
  if (baseline->class_count > TINYOPS_CLASSES_MAX) return TINYOPS_BASELINE_CLASSES;
  classes_end = channels_end + 4 * (size_t)baseline->class_count;
  needed = classes_end + (has_calibration ? CALIBRATION_BYTES : 0);
  if (len != needed) return TINYOPS_BASELINE_LENGTH;
  is_sound = (baseline->class_count == 0 ||
              are_shares(bytes + channels_end, baseline->class_count)) &&
             (!has_calibration || is_calibration_sound(bytes + classes_end));
  for (index = 0; index < baseline->channel_count && is_sound; index++) {
    const uint16_t source = tinyops_channel_source(baseline, index);
    is_sound = is_channel_sound(baseline, index, bytes[0] == 2);
    if (source == TINYOPS_SOURCE_OUTPUT) baseline->output = (uint8_t)index;
    if (source == TINYOPS_SOURCE_EMBEDDING) baseline->embedding = (uint8_t)index;
  }
  return is_sound ? TINYOPS_BASELINE_SOUND : TINYOPS_BASELINE_NUMBER;
}
