#include "keys.h"

#include <string.h>

#include "../../c/src/bytes.h"
#include "../../c/src/refusal.h"

#define PART_HEAD_BYTES 8u

static void name(const tinyops_keys *keys, tinyops_slots *slots) {
  const tinyops_key_set *set = &keys->in_force;
  tinyops_slots_name_keys(slots, set->release.keys, set->release.count, set->director.keys,
                          set->director.count);
}

void tinyops_keys_begin(tinyops_keys *keys, tinyops_slots *slots, const tinyops_roots *roots,
                        const tinyops_key_set *own) {
  const uint32_t sequence = slots->record.key_set;
  memset(keys, 0, sizeof *keys);
  keys->roots = roots;
  keys->own = own;
  keys->in_force = *own;
  if (sequence > own->sequence) {
    size_t len = 0;
    const uint8_t *bytes = tinyops_slots_key_set(slots, &len);
    if (bytes == NULL ||
        tinyops_key_set_verify(&keys->in_force, bytes, len, roots, tinyops_ed25519_verify, NULL) !=
            TINYOPS_KEY_SET_SOUND ||
        keys->in_force.sequence != sequence) {
      memset(&keys->in_force, 0, sizeof keys->in_force);
      keys->lost = sequence;
    }
  }
  name(keys, slots);
}

static bool is_whole(const tinyops_keys *keys) {
  uint32_t at;
  for (at = 0; at < keys->total; at++) {
    if ((keys->has[at / 8] >> (at % 8) & 1) == 0) return false;
  }
  return true;
}

static void forget(tinyops_keys *keys) {
  keys->sequence = 0;
  keys->total = 0;
  memset(keys->has, 0, sizeof keys->has);
}

/* The key set that has come becomes the one in force. */
static tinyops_refusal take_whole(tinyops_keys *keys, tinyops_slots *slots) {
  const tinyops_key_set *before = &keys->in_force;
  const uint32_t current = keys->lost > 0 ? keys->lost : before->sequence;
  tinyops_refusal_reason reason;
  tinyops_key_set set;
  if (tinyops_key_set_verify(&set, keys->bytes, keys->total, keys->roots, tinyops_ed25519_verify,
                             NULL) != TINYOPS_KEY_SET_SOUND) {
    return tinyops_refusal_of(TINYOPS_REASON_KEY_SET, 0);
  }
  /* What was lost may come again. */
  if (set.sequence < current || (set.sequence == current && keys->lost == 0)) {
    return tinyops_refusal_of(TINYOPS_REASON_KEY_SET_OLD, current);
  }
  reason = tinyops_slots_take_key_set(
      slots, set.sequence, keys->bytes, keys->total,
      keys->lost == 0 && tinyops_role_is_new(&set.director, &before->director),
      keys->lost == 0 && tinyops_role_is_new(&set.release, &before->release));
  if (reason != TINYOPS_REASON_NONE) return tinyops_refusal_of(reason, 0);
  keys->in_force = set;
  keys->lost = 0;
  name(keys, slots);
  return tinyops_no_refusal();
}

bool tinyops_keys_take(tinyops_keys *keys, tinyops_slots *slots, const uint8_t *part, size_t len,
                       tinyops_refusal *refusal) {
  uint32_t sequence, at;
  uint16_t total, start;
  if (len < PART_HEAD_BYTES) return false;
  sequence = tinyops_read_u32(part);
  total = tinyops_read_u16(part + 4);
  start = tinyops_read_u16(part + 6);
  len -= PART_HEAD_BYTES;
  *refusal = tinyops_refusal_of(TINYOPS_REASON_KEY_SET, 0);
  if (total > 0 && total <= sizeof keys->bytes && start <= total && len <= (size_t)(total - start)) {
    if (sequence != keys->sequence || total != keys->total) forget(keys);
    keys->sequence = sequence;
    keys->total = total;
    memcpy(keys->bytes + start, part + PART_HEAD_BYTES, len);
    for (at = start; at < start + len; at++) {
      keys->has[at / 8] = (uint8_t)(keys->has[at / 8] | 1u << (at % 8));
    }
    if (!is_whole(keys)) return false;
    *refusal = take_whole(keys, slots);
  }
  forget(keys);
  return true;
}
