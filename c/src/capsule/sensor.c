#include "../../include/tinyops_sensor.h"

#include <string.h>

#include "../bytes.h"
#include "../refusal.h"
#include "cbor.h"

#define TEXT_BYTES_MAX 15u
#define HEAD_BYTES 2u
#define HEAD_2_BYTES 12u
/* Where nothing is said, a rate may be off by one part in 1,000, and at most it may be by a tenth. */
#define TOLERANCE_PPM 1000u
#define TOLERANCE_PPM_MAX 100000u

/* A text of a section, not ended by a zero. */
typedef struct text {
  const uint8_t *bytes;
  size_t len;
} text;

/* What a capsule says of one channel. */
typedef struct channel {
  float full_scale;
  text unit;
  text axis;
} channel;

/* Bytes of a section that are not read yet. */
typedef struct rest {
  const uint8_t *at;
  size_t len;
} rest;

/* What a section says before its channels. */
typedef struct head {
  float rate_hz;
  uint32_t tolerance_ppm;
  uint8_t version;
  uint8_t count;
  uint8_t mounting;
} head;

/* The thousandths of a number, as far as 32 bits hold them. */
static uint32_t thousandths(float value) {
  const float all = value * 1000.0f;
  if (!(all >= 1)) return 0;
  return all >= 4294967296.0f ? UINT32_MAX : (uint32_t)all;
}

static float distance(float one, float other) {
  return one < other ? other - one : one - other;
}

static bool is_quantity(float value) {
  return tinyops_is_finite(value) && value >= 0;
}

static bool is_mounting(uint8_t code) {
  const uint32_t x = code >> 4, y = code & 15;
  return x >= 1 && x <= 6 && y >= 1 && y <= 6 && (x + 1) / 2 != (y + 1) / 2;
}

static bool read_text(rest *from, text *read) {
  if (from->len == 0 || from->len - 1 < from->at[0]) return false;
  read->len = from->at[0];
  read->bytes = from->at + 1;
  from->at += 1 + read->len;
  from->len -= 1 + read->len;
  return read->len <= TEXT_BYTES_MAX && tinyops_is_utf8(read->bytes, read->len);
}

static bool read_channel(rest *from, uint8_t version, channel *read) {
  if (from->len < 4) return false;
  read->full_scale = tinyops_read_f32(from->at);
  from->at += 4;
  from->len -= 4;
  read->axis.bytes = from->at;
  read->axis.len = 0;
  return read_text(from, &read->unit) && (version == 1 || read_text(from, &read->axis));
}

/* Reads all but the channels, to which `from` is moved. */
static bool read_head(rest *from, head *read) {
  const size_t bytes = from->len >= HEAD_BYTES && from->at[0] == 2 ? HEAD_2_BYTES : HEAD_BYTES;
  if (from->len < bytes) return false;
  read->version = from->at[0];
  read->count = from->at[1];
  read->mounting = TINYOPS_MOUNTING_NOT_SAID;
  read->tolerance_ppm = TOLERANCE_PPM;
  read->rate_hz = 0;
  if (read->version == 2) {
    read->mounting = from->at[2];
    read->rate_hz = tinyops_read_f32(from->at + 4);
    read->tolerance_ppm = tinyops_read_u32(from->at + 8);
    if ((read->mounting != TINYOPS_MOUNTING_NOT_SAID && !is_mounting(read->mounting)) ||
        from->at[3] != 0 || !is_quantity(read->rate_hz) ||
        read->tolerance_ppm > TOLERANCE_PPM_MAX) {
      return false;
    }
  } else if (read->version != 1) {
    return false;
  }
  from->at += bytes;
  from->len -= bytes;
  return true;
}

static bool are_channels(rest from, const head *read) {
  channel wanted;
  uint32_t index;
  for (index = 0; index < read->count; index++) {
    if (!read_channel(&from, read->version, &wanted) || !is_quantity(wanted.full_scale)) return false;
  }
  return from.len == 0;
}

/* Whether a contract is that of a front end, or of a sensor, with so many channels and this rate. */
static bool is_of(const head *read, uint16_t channel_count, float rate_hz) {
  return read->count == channel_count && (read->version == 1 || read->rate_hz == rate_hz);
}

/* A text that a zero ends, as far as one of a section can be equal to it. */
static text text_of(const char *stated) {
  text read = {(const uint8_t *)stated, 0};
  while (stated != NULL && read.len <= TEXT_BYTES_MAX && stated[read.len] != 0) read.len++;
  return read;
}

/* What a sensor says of a channel: `said` is at the channel of its section, if it has one, and moves on. */
static bool own_channel(const tinyops_sensor *sensor, rest *said, uint8_t version, uint32_t index,
                        channel *own) {
  if (sensor->section != NULL) return read_channel(said, version, own);
  if (sensor->channels == NULL) return false;
  own->axis = text_of(sensor->channels[index].axis);
  own->unit = text_of(sensor->channels[index].unit);
  own->full_scale = sensor->channels[index].full_scale;
  return true;
}

/* Whether both say a text, and not the same. */
static bool differs(text wanted, text own) {
  return wanted.len > 0 && own.len > 0 &&
         (wanted.len != own.len || memcmp(wanted.bytes, own.bytes, own.len) != 0);
}

static tinyops_refusal check_channels(const tinyops_sensor *sensor, rest from, const head *read) {
  uint32_t index;
  head own_head;
  rest said;
  said.at = sensor->section;
  said.len = sensor->section_bytes;
  memset(&own_head, 0, sizeof own_head);
  if (sensor->section != NULL) (void)read_head(&said, &own_head);
  for (index = 0; index < read->count; index++) {
    channel wanted, own;
    if (!read_channel(&from, read->version, &wanted) ||
        !own_channel(sensor, &said, own_head.version, index, &own)) {
      break;
    }
    if (differs(wanted.axis, own.axis)) return tinyops_refusal_of(TINYOPS_REASON_AXIS, index);
    if (differs(wanted.unit, own.unit)) return tinyops_refusal_of(TINYOPS_REASON_UNIT, index);
    if (wanted.full_scale > 0 && own.full_scale > 0 &&
        distance(wanted.full_scale, own.full_scale) > 1e-3f * wanted.full_scale) {
      return tinyops_refusal_of(TINYOPS_REASON_FULL_SCALE, thousandths(wanted.full_scale));
    }
  }
  if (read->mounting != TINYOPS_MOUNTING_NOT_SAID &&
      sensor->mounting != TINYOPS_MOUNTING_NOT_SAID && read->mounting != sensor->mounting) {
    return tinyops_refusal_of(TINYOPS_REASON_MOUNTING, read->mounting);
  }
  return tinyops_refusal_of(TINYOPS_REASON_NONE, 0);
}

bool tinyops_sensor_read(tinyops_sensor *sensor, uint16_t channel_count, float rate_hz,
                         const uint8_t *section, size_t len) {
  rest from;
  head read;
  from.at = section;
  from.len = len;
  if (!read_head(&from, &read) || !are_channels(from, &read) || !is_of(&read, channel_count, rate_hz)) {
    return false;
  }
  sensor->rate_hz = rate_hz;
  sensor->channel_count = channel_count;
  sensor->mounting = read.mounting;
  sensor->channels = NULL;
  sensor->section = section;
  sensor->section_bytes = len;
  return true;
}

tinyops_refusal tinyops_sensor_check(const tinyops_sensor *sensor, uint16_t channel_count,
                                     float rate_hz, const uint8_t *section, size_t len) {
  rest from;
  head read;
  from.at = section;
  from.len = len;
  memset(&read, 0, sizeof read);
  read.tolerance_ppm = TOLERANCE_PPM;
  if (section != NULL) {
    if (!read_head(&from, &read) || !are_channels(from, &read)) {
      return tinyops_refusal_of(TINYOPS_REASON_MALFORMED, 0);
    }
    if (!is_of(&read, channel_count, rate_hz)) return tinyops_refusal_of(TINYOPS_REASON_PLAN, 0);
  }
  if (channel_count != sensor->channel_count) {
    return tinyops_refusal_of(TINYOPS_REASON_CHANNELS, channel_count);
  }
  /* What was trained on pictures has no rate, and takes any. */
  if (rate_hz != 0 && !(distance(rate_hz, sensor->rate_hz) <=
                        (float)read.tolerance_ppm * 1e-6f * distance(rate_hz, 0))) {
    return tinyops_refusal_of(TINYOPS_REASON_RATE, thousandths(rate_hz));
  }
  if (section == NULL) return tinyops_refusal_of(TINYOPS_REASON_NONE, 0);
  return check_channels(sensor, from, &read);
}
