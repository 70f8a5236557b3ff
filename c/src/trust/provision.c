/* What the flash of a board says of who the device is: docs/formats/provision.md. */
#include <string.h>

#include "../../include/tinyops_trust.h"
#include "../bytes.h"
#include "../capsule/cbor.h"
#include "../capsule/curve25519.h"
#include "../crc.h"

#define VERSION 1u
/* Of a factory's record that says all of the sensor. */
#define VERSION_SENSOR 2u
#define HEAD_BYTES 8u
#define ENROLLED_BYTES 44u
enum { FACTORY = 1, ASKING = 2, ENROLLED = 3 };
enum { TOKEN = 1, CLAIM = 2 };

static const uint8_t magic[4] = {'T', 'O', 'P', 'B'};

/* What is left of a body. */
typedef struct reader {
  const uint8_t *at;
  size_t left;
  bool is_short;
} reader;

/* The next bytes; NULL, and too short for good, where there are fewer. */
static const uint8_t *take(reader *from, size_t len) {
  const uint8_t *bytes = from->at;
  if (from->is_short || from->left < len) {
    from->is_short = true;
    return NULL;
  }
  from->at += len;
  from->left -= len;
  return bytes;
}

static uint8_t take_u8(reader *from) {
  const uint8_t *at = take(from, 1);
  return at == NULL ? 0 : *at;
}

static uint16_t take_u16(reader *from) {
  const uint8_t *at = take(from, 2);
  return at == NULL ? 0 : tinyops_read_u16(at);
}

static uint32_t take_u32(reader *from) {
  const uint8_t *at = take(from, 4);
  return at == NULL ? 0 : tinyops_read_u32(at);
}

static uint64_t take_u64(reader *from) {
  const uint8_t *at = take(from, 8);
  return at == NULL ? 0 : tinyops_read_u64(at);
}

static void take_into(reader *from, uint8_t *to, size_t len) {
  const uint8_t *at = take(from, len);
  if (at != NULL) memcpy(to, at, len);
}

/* The body of a record of this kind. */
static bool begin(reader *from, uint8_t kind, const uint8_t *flash, size_t len) {
  if (len < HEAD_BYTES || memcmp(flash, magic, sizeof magic) != 0) return false;
  from->at = flash + HEAD_BYTES;
  from->left = tinyops_read_u16(flash + 6);
  from->is_short = false;
  return len - HEAD_BYTES >= from->left + 4 &&
         tinyops_crc32(flash, HEAD_BYTES + from->left) == tinyops_read_u32(from->at + from->left) &&
         (flash[4] == VERSION || (flash[4] == VERSION_SENSOR && kind == FACTORY)) && flash[5] == kind;
}

static bool is_whole(const reader *from) {
  return !from->is_short && from->left == 0;
}

/* A key that is there twice counts once. */
static bool read_roots(reader *from, tinyops_roots *roots) {
  uint32_t count, index;
  roots->threshold = take_u8(from);
  count = take_u8(from);
  if (count == 0 || count > TINYOPS_ROOT_KEYS_MAX || roots->threshold == 0) return false;
  for (; count > 0; count--) {
    uint8_t *key = roots->keys + TINYOPS_KEY_BYTES * roots->count;
    bool is_new = true;
    take_into(from, key, TINYOPS_KEY_BYTES);
    if (from->is_short || !tinyops_ed25519_is_key(key)) return false;
    for (index = 0; index < roots->count; index++) {
      is_new = is_new && memcmp(roots->keys + TINYOPS_KEY_BYTES * index, key, TINYOPS_KEY_BYTES) != 0;
    }
    if (is_new) roots->count++;
  }
  return roots->threshold <= roots->count;
}

static bool read_credential(reader *from, tinyops_credential *credential) {
  const uint8_t kind = take_u8(from);
  if (kind != TOKEN && kind != CLAIM) return false;
  credential->is_claim = kind == CLAIM;
  if (credential->is_claim) {
    credential->certificate_bytes = take_u16(from);
    credential->certificate = take(from, credential->certificate_bytes);
  } else {
    credential->token = take_u64(from);
  }
  take_into(from, credential->secret, sizeof credential->secret);
  return true;
}

/* What version 2 says of the sensor, of whose channels and rate the record has told. */
static bool read_sensor(reader *from, tinyops_sensor *sensor) {
  const size_t len = take_u16(from);
  const uint8_t *section = take(from, len);
  return section != NULL && sensor->channel_count <= TINYOPS_FACTORY_CHANNELS_MAX &&
         tinyops_sensor_read(sensor, sensor->channel_count, sensor->rate_hz, section, len);
}

bool tinyops_factory_read(tinyops_factory *factory, const uint8_t *flash, size_t len) {
  uint32_t bits;
  reader from;
  memset(factory, 0, sizeof *factory);
  if (!begin(&from, FACTORY, flash, len) || !read_roots(&from, &factory->roots)) return false;
  factory->key_set_bytes = take_u16(&from);
  factory->key_set = take(&from, factory->key_set_bytes);
  factory->board_bytes = take_u8(&from);
  factory->board = take(&from, factory->board_bytes);
  factory->sensor.channel_count = take_u16(&from);
  bits = take_u32(&from);
  memcpy(&factory->sensor.rate_hz, &bits, sizeof factory->sensor.rate_hz);
  factory->report_windows = take_u32(&from);
  factory->report_ms = take_u32(&from);
  factory->device = take_u64(&from);
  if (!read_credential(&from, &factory->credential)) return false;
  if (flash[4] == VERSION_SENSOR && !read_sensor(&from, &factory->sensor)) return false;
  return is_whole(&from) && factory->board_bytes > 0 &&
         factory->board_bytes <= TINYOPS_TEXT_BYTES_MAX &&
         tinyops_is_utf8(factory->board, factory->board_bytes);
}

bool tinyops_asking_read(tinyops_asking *asking, const uint8_t *flash, size_t len) {
  reader from;
  if (!begin(&from, ASKING, flash, len)) return false;
  take_into(&from, asking->secret, sizeof asking->secret);
  asking->request_bytes = from.left;
  if (from.left > sizeof asking->request) return false;
  take_into(&from, asking->request, from.left);
  return is_whole(&from);
}

bool tinyops_enrolled_read(tinyops_enrolled *enrolled, const uint8_t *flash, size_t len) {
  reader from;
  if (!begin(&from, ENROLLED, flash, len)) return false;
  enrolled->device = take_u64(&from);
  take_into(&from, enrolled->key, sizeof enrolled->key);
  enrolled->first_uplink = take_u32(&from);
  return is_whole(&from);
}

/* Writes what stands around a body. */
static size_t finish(uint8_t kind, size_t body_bytes, uint8_t *out) {
  memcpy(out, magic, sizeof magic);
  out[4] = VERSION;
  out[5] = kind;
  out[6] = (uint8_t)(body_bytes & 0xFF);
  out[7] = (uint8_t)(body_bytes >> 8);
  tinyops_write_u32(out + HEAD_BYTES + body_bytes, tinyops_crc32(out, HEAD_BYTES + body_bytes));
  return HEAD_BYTES + body_bytes + 4;
}

size_t tinyops_asking_write(const tinyops_asking *asking, uint8_t out[TINYOPS_PROVISION_BYTES_MAX]) {
  memcpy(out + HEAD_BYTES, asking->secret, sizeof asking->secret);
  memcpy(out + HEAD_BYTES + sizeof asking->secret, asking->request, asking->request_bytes);
  return finish(ASKING, sizeof asking->secret + asking->request_bytes, out);
}

size_t tinyops_enrolled_write(const tinyops_enrolled *enrolled,
                              uint8_t out[TINYOPS_PROVISION_BYTES_MAX]) {
  uint8_t *body = out + HEAD_BYTES;
  tinyops_write_u32(body, (uint32_t)enrolled->device);
  tinyops_write_u32(body + 4, (uint32_t)(enrolled->device >> 32));
  memcpy(body + 8, enrolled->key, sizeof enrolled->key);
  tinyops_write_u32(body + 40, enrolled->first_uplink);
  return finish(ENROLLED, ENROLLED_BYTES, out);
}
