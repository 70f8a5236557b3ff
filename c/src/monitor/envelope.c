#include <string.h>

#include "../../include/tinyops_monitor.h"
#include "../bytes.h"
#include "../capsule/hmac.h"

#define VERSION 1u
#define DOWN 0x80u
#define TAG_BYTES 8u

static void authenticate(const uint8_t key[TINYOPS_DEVICE_KEY_BYTES], const uint8_t *bytes,
                         size_t len, uint8_t digest[TINYOPS_DIGEST_BYTES]) {
  tinyops_hmac mac;
  tinyops_hmac_begin(&mac, key);
  tinyops_hmac_add(&mac, bytes, len);
  tinyops_hmac_end(&mac, digest);
}

static void write_number(uint8_t *at, uint64_t value, uint32_t bytes) {
  for (; bytes > 0; bytes--, at++, value >>= 8) *at = (uint8_t)(value & 0xFF);
}

uint64_t tinyops_dither_seed(const uint8_t key[TINYOPS_DEVICE_KEY_BYTES]) {
  static const uint8_t of_what[14] = {'t', 'i', 'n', 'y', 'o', 'p', 's',
                                      ' ', 'd', 'i', 't', 'h', 'e', 'r'};
  uint8_t digest[TINYOPS_DIGEST_BYTES];
  authenticate(key, of_what, sizeof of_what, digest);
  return tinyops_read_u64(digest);
}

size_t tinyops_envelope_seal(const tinyops_envelope *envelope, size_t body_bytes,
                             const uint8_t key[TINYOPS_DEVICE_KEY_BYTES], uint8_t *out,
                             size_t room) {
  uint8_t digest[TINYOPS_DIGEST_BYTES];
  if (room < TINYOPS_ENVELOPE_BYTES || room - TINYOPS_ENVELOPE_BYTES < body_bytes) return 0;
  out[0] = (uint8_t)(VERSION | (envelope->is_down ? DOWN : 0));
  write_number(out + 1, envelope->device, 8);
  write_number(out + 9, envelope->model, 4);
  write_number(out + 13, envelope->sequence, 4);
  authenticate(key, out, TINYOPS_ENVELOPE_HEAD_BYTES + body_bytes, digest);
  memcpy(out + TINYOPS_ENVELOPE_HEAD_BYTES + body_bytes, digest, TAG_BYTES);
  return body_bytes + TINYOPS_ENVELOPE_BYTES;
}

const uint8_t *tinyops_envelope_open(tinyops_envelope *envelope, const uint8_t *bytes, size_t len,
                                     const uint8_t key[TINYOPS_DEVICE_KEY_BYTES],
                                     size_t *body_bytes) {
  uint8_t digest[TINYOPS_DIGEST_BYTES], difference = 0;
  size_t index;
  if (len < TINYOPS_ENVELOPE_BYTES || (bytes[0] & ~DOWN) != VERSION) return NULL;
  authenticate(key, bytes, len - TAG_BYTES, digest);
  /* Every byte is looked at, so that no time tells how many were right. */
  for (index = 0; index < TAG_BYTES; index++) {
    difference |= digest[index] ^ bytes[len - TAG_BYTES + index];
  }
  if (difference != 0) return NULL;
  envelope->is_down = (bytes[0] & DOWN) != 0;
  envelope->device = tinyops_read_u64(bytes + 1);
  envelope->model = tinyops_read_u32(bytes + 9);
  envelope->sequence = tinyops_read_u32(bytes + 13);
  *body_bytes = len - TINYOPS_ENVELOPE_BYTES;
  return bytes + TINYOPS_ENVELOPE_HEAD_BYTES;
}
