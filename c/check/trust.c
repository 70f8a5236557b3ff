/* Key sets, what flash says of a device, and enrolment.
 *
 * A key set: root keys (threshold and count u32 each, three keys of 32 bytes), and what comes of it if it is
 * sound: sequence u32, for the release and the director keys their count u32 and two keys. The verdict is a
 * tinyops_key_set_reason.
 * Flash: the kind of record asked for u32; for a factory's the number of a key set u32, 48 random bytes, the
 * length u32 of the request that it makes and TINYOPS_REQUEST_BYTES_MAX bytes; whether it says all of its
 * sensor u32, channel count u16 and rate f32 of a front end, what its sensor comes to there u32 (the reason
 * and, shifted left by 8 bits, the lowest 24 bits of the detail), length u16 of a section SENSOR and the
 * section. The verdict is 1 if it is that record; a record that a device writes comes out as it went in.
 * An answer: root keys as above, the secret of 32 bytes, length u32 and TINYOPS_REQUEST_BYTES_MAX bytes of
 * the request, length u32 and TINYOPS_SIGNED_KEY_SET_BYTES_MAX bytes of the device's own signed key set, and
 * what comes of it: device u64, key of 32 bytes, first uplink u32. The verdict is a tinyops_answer_reason. */
#include <stdlib.h>
#include <string.h>

#include "../include/tinyops_trust.h"
#include "../src/bytes.h"
#include "host.h"

#define ROOTS_BYTES (8u + TINYOPS_ROOT_KEYS_MAX * TINYOPS_KEY_BYTES)
#define ROLE_BYTES (4u + TINYOPS_ROLE_KEYS_MAX * TINYOPS_KEY_BYTES)
enum { FACTORY = 1, ASKING = 2 };

static tinyops_roots roots_at(const uint8_t *at) {
  tinyops_roots roots;
  roots.threshold = (uint8_t)tinyops_check_word(at);
  roots.count = (uint8_t)tinyops_check_word(at + 4);
  memcpy(roots.keys, at + 8, sizeof roots.keys);
  return roots;
}

static bool is_role(const tinyops_role_keys *role, const uint8_t *at) {
  return role->count == tinyops_check_word(at) &&
         memcmp(role->keys, at + 4, (size_t)TINYOPS_KEY_BYTES * role->count) == 0;
}

const uint8_t *tinyops_check_key_set(const tinyops_check_record *record, tinyops_tally *all) {
  const uint8_t *at = record->cases, *expected = at + ROOTS_BYTES;
  uint8_t *own = (uint8_t *)tinyops_check_own(record->plan, record->plan_bytes);
  const tinyops_roots roots = roots_at(at);
  tinyops_key_set set;
  const tinyops_key_set_reason reason = tinyops_key_set_verify(
      &set, own, record->plan_bytes, &roots, tinyops_ed25519_verify, NULL);
  if ((uint32_t)reason != record->verdict) {
    tinyops_check_differs(all, "key set", reason, record->verdict);
  } else if (reason == TINYOPS_KEY_SET_SOUND &&
             (set.sequence != tinyops_check_word(expected) || !is_role(&set.release, expected + 4) ||
              !is_role(&set.director, expected + 4 + ROLE_BYTES))) {
    tinyops_check_differs(all, "keys of a set", set.sequence, tinyops_check_word(expected));
  }
  free(own);
  return expected + 4 + 2 * ROLE_BYTES;
}

/* Whether the request of a factory's record is the one that it should be. */
static bool makes_request(const tinyops_factory *factory, const uint8_t *at) {
  const size_t len = tinyops_check_word(at + 52);
  tinyops_asking asking;
  memset(&asking, 0, sizeof asking);
  if (!tinyops_request_make(&asking, factory, tinyops_check_word(at), at + 4)) return len == 0;
  return asking.request_bytes == len && memcmp(asking.request, at + 56, len) == 0 &&
         memcmp(asking.secret, at + 4, sizeof asking.secret) == 0;
}

/* Whether a factory's sensor is the one that it should be. */
static bool is_sensor(const tinyops_factory *factory, const uint8_t *at, const uint8_t *section,
                      size_t len) {
  const tinyops_refusal refusal = tinyops_sensor_check(&factory->sensor, tinyops_read_u16(at + 4),
                                                       tinyops_read_f32(at + 6), section, len);
  return (factory->sensor.section != NULL) == (tinyops_check_word(at) != 0) &&
         ((uint32_t)refusal.reason | refusal.detail << 8) == tinyops_check_word(at + 10);
}

const uint8_t *tinyops_check_provision(const tinyops_check_record *record, tinyops_tally *all) {
  const uint8_t *at = record->cases;
  uint8_t *own = (uint8_t *)tinyops_check_own(record->plan, record->plan_bytes);
  const uint32_t kind = tinyops_check_word(at);
  uint8_t out[TINYOPS_PROVISION_BYTES_MAX] = {0};
  size_t len = 0;
  tinyops_factory factory;
  tinyops_enrolled enrolled;
  tinyops_asking asking;
  bool is_read, is_same = true;
  at += 4;
  if (kind == FACTORY) {
    const uint8_t *request = at, *sensor = at + 56 + TINYOPS_REQUEST_BYTES_MAX;
    const size_t section_bytes = tinyops_read_u16(sensor + 14);
    uint8_t *section = (uint8_t *)tinyops_check_own(sensor + 16, section_bytes);
    is_read = tinyops_factory_read(&factory, own, record->plan_bytes);
    if (is_read) {
      is_same = makes_request(&factory, request) && is_sensor(&factory, sensor, section, section_bytes);
    }
    free(section);
    at = sensor + 16 + section_bytes;
  } else if (kind == ASKING) {
    is_read = tinyops_asking_read(&asking, own, record->plan_bytes);
    if (is_read) len = tinyops_asking_write(&asking, out);
  } else {
    is_read = tinyops_enrolled_read(&enrolled, own, record->plan_bytes);
    if (is_read) len = tinyops_enrolled_write(&enrolled, out);
  }
  is_same = is_same && memcmp(out, own, len) == 0;
  if ((is_read ? 1u : 0u) != record->verdict) {
    tinyops_check_differs(all, "record of a flash", is_read ? 1 : 0, record->verdict);
  } else if (!is_same) {
    tinyops_check_differs(all, "what a record of a flash becomes", 0, 1);
  }
  free(own);
  return at;
}

const uint8_t *tinyops_check_answer(const tinyops_check_record *record, tinyops_tally *all) {
  const uint8_t *at = record->cases;
  uint8_t *own = (uint8_t *)tinyops_check_own(record->plan, record->plan_bytes);
  const tinyops_roots roots = roots_at(at);
  tinyops_answer_reason reason;
  tinyops_enrolled enrolled;
  tinyops_asking asking;
  tinyops_key_set keys;
  at += ROOTS_BYTES;
  memcpy(asking.secret, at, sizeof asking.secret);
  at += sizeof asking.secret;
  asking.request_bytes = tinyops_check_word(at);
  memcpy(asking.request, at + 4, sizeof asking.request);
  at += 4 + sizeof asking.request;
  if (tinyops_key_set_read(&keys, at + 4, tinyops_check_word(at)) != TINYOPS_KEY_SET_SOUND) {
    tinyops_check_differs(all, "own key set", 0, 1);
  }
  at += 4 + TINYOPS_SIGNED_KEY_SET_BYTES_MAX;
  reason = tinyops_answer_open(&enrolled, &asking, own, record->plan_bytes, &roots, &keys,
                               tinyops_ed25519_verify, NULL);
  if ((uint32_t)reason != record->verdict) {
    tinyops_check_differs(all, "answer", reason, record->verdict);
  } else if (reason == TINYOPS_ANSWER_OPENED &&
             (enrolled.device != tinyops_read_u64(at) ||
              memcmp(enrolled.key, at + 8, sizeof enrolled.key) != 0 ||
              enrolled.first_uplink != tinyops_read_u32(at + 40))) {
    tinyops_check_differs(all, "who an answer makes a device", 0, 1);
  }
  free(own);
  return at + 44;
}
