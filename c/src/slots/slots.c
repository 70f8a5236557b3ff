#include "slots.h"

#include <string.h>

#include "../capsule/sha256.h"

/* Uplink sequence numbers reserved by one record of the journal. */
#define SEQUENCE_BATCH 256u

bool tinyops_slots_open(tinyops_slots *slots, const tinyops_flash *flash) {
  memset(slots, 0, sizeof *slots);
  if (!tinyops_layout_of(slots, flash)) return false;
  tinyops_journal_open(slots);
  slots->downlink_seen = slots->record.downlink_seen;
  return true;
}

uint32_t tinyops_slots_capsule_bytes(const tinyops_slots *slots) {
  return slots->slot_bytes - TINYOPS_STATEMENT_AREA_BYTES;
}

const uint8_t *tinyops_slot_block(const tinyops_slots *slots, uint32_t place, uint32_t offset,
                                  uint32_t len) {
  if (!tinyops_is_slot(place) || offset > slots->slot_bytes || len > slots->slot_bytes - offset) {
    return NULL;
  }
  return tinyops_mapped(slots, tinyops_slot_start(slots, place) + offset, len);
}

const uint8_t *tinyops_slots_capsule(const tinyops_slots *slots, tinyops_place place,
                                     size_t *len) {
  const uint8_t *bytes = slots->flash->factory;
  *len = place == TINYOPS_FACTORY ? slots->flash->factory_bytes : 0;
  if (tinyops_is_slot(place)) {
    *len = slots->record.slots[place - TINYOPS_SLOT_A].bytes;
    bytes = tinyops_slot_block(slots, place, 0, slots->record.slots[place - TINYOPS_SLOT_A].bytes);
    if (bytes == NULL) *len = 0;
  }
  return bytes;
}

const uint8_t *tinyops_slots_statement(const tinyops_slots *slots, tinyops_place place,
                                       size_t *len) {
  const uint8_t *area = tinyops_slot_block(slots, place, tinyops_slots_capsule_bytes(slots),
                                           TINYOPS_STATEMENT_AREA_BYTES);
  *len = 0;
  if (area == NULL || area[0] >= TINYOPS_STATEMENT_AREA_BYTES) return NULL;
  *len = area[0];
  return area + 1;
}

void tinyops_prefix_of(const uint8_t *bytes, size_t len, uint8_t prefix[TINYOPS_PREFIX_BYTES]) {
  static const uint8_t nothing[1] = {0};
  uint8_t digest[TINYOPS_DIGEST_BYTES];
  tinyops_sha256(bytes == NULL ? nothing : bytes, bytes == NULL ? 0 : len, digest);
  memcpy(prefix, digest, TINYOPS_PREFIX_BYTES);
}

bool tinyops_slots_prefix(const tinyops_slots *slots, uint32_t place,
                          uint8_t prefix[TINYOPS_PREFIX_BYTES]) {
  if (tinyops_is_slot(place)) {
    const tinyops_stored *stored = &slots->record.slots[place - TINYOPS_SLOT_A];
    memcpy(prefix, stored->digest, TINYOPS_PREFIX_BYTES);
    return stored->bytes > 0;
  }
  if (place != TINYOPS_FACTORY || slots->flash->factory_bytes == 0) return false;
  tinyops_prefix_of(slots->flash->factory, slots->flash->factory_bytes, prefix);
  return true;
}

/* The digest of the capsule in a place, if it is still that: what flash has damaged since it was checked
 * may go well the next time. */
static const uint8_t *sound_prefix(const tinyops_slots *slots, tinyops_place place,
                                   uint8_t prefix[TINYOPS_PREFIX_BYTES]) {
  uint8_t is[TINYOPS_PREFIX_BYTES];
  size_t len;
  const uint8_t *capsule = tinyops_slots_capsule(slots, place, &len);
  if (!tinyops_slots_prefix(slots, place, prefix)) return NULL;
  tinyops_prefix_of(capsule, len, is);
  return memcmp(is, prefix, sizeof is) == 0 ? prefix : NULL;
}

void tinyops_slots_name_keys(tinyops_slots *slots, const uint8_t *release, size_t release_count,
                             const uint8_t *director, size_t director_count) {
  const uint8_t count = (uint8_t)release_count;
  uint8_t digest[TINYOPS_DIGEST_BYTES];
  tinyops_sha256_state hash;
  tinyops_sha256_begin(&hash);
  tinyops_sha256_add(&hash, &count, 1);
  tinyops_sha256_add(&hash, release, TINYOPS_KEY_BYTES * release_count);
  tinyops_sha256_add(&hash, director, TINYOPS_KEY_BYTES * director_count);
  tinyops_sha256_end(&hash, digest);
  memcpy(slots->keys, digest, sizeof slots->keys);
}

bool tinyops_slots_is_installed(const tinyops_slots *slots, tinyops_place place) {
  static const uint8_t no_keys[TINYOPS_PREFIX_BYTES] = {0};
  const tinyops_journal_record *record = &slots->record;
  uint8_t prefix[TINYOPS_PREFIX_BYTES];
  if (!tinyops_is_slot((uint32_t)place)) return false;
  if ((record->trial == place || record->held == place) &&
      (memcmp(slots->keys, no_keys, sizeof no_keys) == 0 ||
       memcmp(slots->keys, record->checked_by, sizeof no_keys) != 0)) {
    return false;
  }
  return sound_prefix(slots, place, prefix) != NULL;
}

tinyops_journal_record tinyops_slots_record(const tinyops_slots *slots) {
  tinyops_journal_record record = slots->record;
  record.downlink_seen = slots->downlink_seen;
  return record;
}

tinyops_refusal_reason tinyops_slots_write(tinyops_slots *slots, tinyops_journal_record *record) {
  return tinyops_journal_write(slots, record) ? TINYOPS_REASON_NONE : TINYOPS_REASON_FLASH;
}

void tinyops_record_refuse(tinyops_journal_record *record, const uint8_t *digest,
                           tinyops_refusal refusal) {
  /* What was damaged on its way or in flash may go well the next time, and another statement may be
   * right; a bad capsule stays bad. */
  switch (refusal.reason) {
    case TINYOPS_REASON_DIGEST:
    case TINYOPS_REASON_FLASH:
    case TINYOPS_REASON_STATEMENT:
    case TINYOPS_REASON_STATEMENT_OLD:
    case TINYOPS_REASON_STATEMENT_VOID:
    case TINYOPS_REASON_OTHER_DEVICE:
    case TINYOPS_REASON_OTHER_MANIFEST:
    case TINYOPS_REASON_DELTA_BASE:
    case TINYOPS_REASON_WINDOW:
      return;
    default:
      break;
  }
  if (digest == NULL) return;
  memcpy(record->refused, digest, sizeof record->refused);
  record->refusal = refusal;
}

/* What waits, or is being fetched to wait, is forgotten. */
static void drop_held(tinyops_journal_record *record) {
  if (record->when.is_later) {
    record->transfer = TINYOPS_NO_PLACE;
    record->checks = 0;
  }
  record->held = TINYOPS_NO_PLACE;
  record->when.is_later = false;
  record->when.windows = 0;
}

tinyops_begun tinyops_slots_begin_boot(tinyops_slots *slots, uint32_t first_uplink) {
  tinyops_journal_record record;
  tinyops_begun begun;
  uint32_t lost, refused;
  bool is_over;
  tinyops_journal_open(slots);
  slots->downlink_seen = slots->record.downlink_seen;
  /* A record that is lost may have reserved a batch. */
  lost = slots->lost > UINT32_MAX / SEQUENCE_BATCH ? UINT32_MAX : slots->lost * SEQUENCE_BATCH;
  begun.sequence = tinyops_add_capped(slots->record.uplink_limit, lost);
  if (begun.sequence < first_uplink) begun.sequence = first_uplink;
  begun.gave_up = begun.gave_up_shadow = TINYOPS_NO_PLACE;
  record = tinyops_slots_record(slots);
  is_over = record.tries_left == 0;
  if (is_over) begun.gave_up = record.trial;
  /* What scores windows and stops the device by it must not do so for ever. */
  if (is_over && record.when.is_later && record.when.windows > 0) {
    begun.gave_up_shadow = record.held;
  }
  refused = begun.gave_up != TINYOPS_NO_PLACE ? begun.gave_up : begun.gave_up_shadow;
  record.boot_count = tinyops_add_capped(record.boot_count, 1);
  record.uplink_limit = tinyops_add_capped(begun.sequence, SEQUENCE_BATCH);
  if (record.tries_left > 0) record.tries_left--;
  if (begun.gave_up != TINYOPS_NO_PLACE) record.trial = TINYOPS_NO_PLACE;
  if (begun.gave_up_shadow != TINYOPS_NO_PLACE) drop_held(&record);
  if (refused != TINYOPS_NO_PLACE) {
    uint8_t prefix[TINYOPS_PREFIX_BYTES];
    const bool has_one = tinyops_slots_prefix(slots, refused, prefix);
    tinyops_record_refuse(&record, has_one ? prefix : NULL,
                          tinyops_refusal_of(TINYOPS_REASON_TRIES, 0));
  }
  begun.may_shadow = tinyops_slots_write(slots, &record) == TINYOPS_REASON_NONE;
  begun.trial = begun.may_shadow ? slots->record.trial : (uint8_t)TINYOPS_NO_PLACE;
  if (!begun.may_shadow) begun.gave_up = begun.gave_up_shadow = TINYOPS_NO_PLACE;
  return begun;
}

tinyops_refusal_reason tinyops_slots_reserve_sequence(tinyops_slots *slots, uint32_t next) {
  tinyops_journal_record record;
  if (next < slots->record.uplink_limit) return TINYOPS_REASON_NONE;
  record = tinyops_slots_record(slots);
  record.uplink_limit = tinyops_add_capped(next, SEQUENCE_BATCH);
  return tinyops_slots_write(slots, &record);
}

tinyops_refusal_reason tinyops_slots_take_key_set(tinyops_slots *slots, uint32_t sequence,
                                          const uint8_t *signed_set, size_t len,
                                          bool is_director_new, bool is_release_new) {
  tinyops_journal_record record = tinyops_slots_record(slots);
  record.key_set = sequence;
  /* What was refused for want of a key may be offered again. */
  if (record.refusal.reason == TINYOPS_REASON_SIGNATURE) {
    record.refusal = tinyops_no_refusal();
  }
  if (is_director_new) record.statement_counter = 0;
  if (is_release_new) {
    record.confirmed_sequence = 0;
    memset(record.confirmed_digest, 0, sizeof record.confirmed_digest);
  }
  return tinyops_journal_write_key_set(slots, &record, signed_set, len) ? TINYOPS_REASON_NONE
                                                                        : TINYOPS_REASON_FLASH;
}

tinyops_refusal_reason tinyops_slot_erase(const tinyops_slots *slots, uint32_t place, uint32_t len) {
  const uint32_t start = tinyops_slot_start(slots, place);
  if (!slots->flash->erase(slots->flash->context, start, start + len) ||
      !tinyops_is_blank(tinyops_slot_block(slots, place, 0, len), len)) {
    return TINYOPS_REASON_FLASH;
  }
  return TINYOPS_REASON_NONE;
}

tinyops_refusal_reason tinyops_slot_write(const tinyops_slots *slots, uint32_t place, uint32_t offset,
                                  const uint8_t *bytes, uint32_t len) {
  const uint32_t unit = slots->flash->write_bytes;
  const uint8_t *stored = tinyops_slot_block(slots, place, offset, len);
  uint32_t there = 0, start, whole;
  if (stored == NULL) return TINYOPS_REASON_FLASH;
  while (there < len) {
    const uint32_t word = unit < len - there ? unit : len - there;
    if (memcmp(bytes + there, stored + there, word) != 0) break;
    there += word;
  }
  /* No word is written twice. */
  if (!tinyops_is_blank(stored + there, len - there)) return TINYOPS_REASON_FLASH;
  start = tinyops_slot_start(slots, place) + offset + there;
  whole = (len - there) / unit * unit;
  if (whole > 0 && !slots->flash->write(slots->flash->context, start, bytes + there, whole)) {
    return TINYOPS_REASON_FLASH;
  }
  if (there + whole < len) {
    uint8_t padded[TINYOPS_WRITE_BYTES_MAX];
    memset(padded, 0xFF, sizeof padded);
    memcpy(padded, bytes + there + whole, len - there - whole);
    if (!slots->flash->write(slots->flash->context, start + whole, padded, unit)) {
      return TINYOPS_REASON_FLASH;
    }
  }
  stored = tinyops_slot_block(slots, place, offset, len);
  return stored != NULL && memcmp(stored, bytes, len) == 0 ? TINYOPS_REASON_NONE
                                                           : TINYOPS_REASON_FLASH;
}

void tinyops_record_begin_trial(tinyops_journal_record *record, uint8_t tries) {
  record->trial = record->held;
  record->held = TINYOPS_NO_PLACE;
  record->tries_left = tries;
  record->when.is_later = false;
  record->when.windows = 0;
}

tinyops_refusal_reason tinyops_slots_try_held(tinyops_slots *slots, uint8_t tries) {
  tinyops_journal_record record = tinyops_slots_record(slots);
  tinyops_record_begin_trial(&record, tries);
  return tinyops_slots_write(slots, &record);
}

tinyops_refusal_reason tinyops_slots_hold(tinyops_slots *slots, tinyops_when when, uint8_t tries) {
  tinyops_journal_record record = tinyops_slots_record(slots);
  record.when = when;
  record.tries_left = tries;
  return tinyops_slots_write(slots, &record);
}

tinyops_refusal_reason tinyops_slots_drop_held(tinyops_slots *slots, tinyops_place place,
                                       tinyops_refusal refusal) {
  tinyops_journal_record record = tinyops_slots_record(slots);
  uint8_t prefix[TINYOPS_PREFIX_BYTES];
  drop_held(&record);
  tinyops_record_refuse(&record, sound_prefix(slots, place, prefix), refusal);
  return tinyops_slots_write(slots, &record);
}

bool tinyops_slots_is_above_floor(const tinyops_slots *slots, uint32_t sequence,
                                  const uint8_t digest[TINYOPS_PREFIX_BYTES]) {
  const tinyops_journal_record *record = &slots->record;
  return sequence > record->confirmed_sequence ||
         (sequence == record->confirmed_sequence &&
          memcmp(digest, record->confirmed_digest, TINYOPS_PREFIX_BYTES) == 0);
}

/* What choosing answers where nothing runs is no place: a record that names it would count as damaged. */
static bool is_place(tinyops_place place) {
  return place == TINYOPS_FACTORY || tinyops_is_slot((uint32_t)place);
}

tinyops_refusal_reason tinyops_slots_confirm(tinyops_slots *slots, tinyops_place place,
                                     uint32_t sequence) {
  tinyops_journal_record record = tinyops_slots_record(slots);
  if (!is_place(place)) return TINYOPS_REASON_FLASH;
  if (!tinyops_slots_prefix(slots, place, record.confirmed_digest)) {
    memset(record.confirmed_digest, 0, sizeof record.confirmed_digest);
  }
  record.previous = record.active;
  record.active = (uint8_t)place;
  record.trial = TINYOPS_NO_PLACE;
  record.tries_left = 0;
  if (record.confirmed_sequence < sequence) record.confirmed_sequence = sequence;
  return tinyops_slots_write(slots, &record);
}

tinyops_refusal_reason tinyops_slots_revert_trial(tinyops_slots *slots, tinyops_place place,
                                          tinyops_refusal refusal) {
  tinyops_journal_record record = tinyops_slots_record(slots);
  uint8_t prefix[TINYOPS_PREFIX_BYTES];
  record.trial = TINYOPS_NO_PLACE;
  record.tries_left = 0;
  tinyops_record_refuse(&record, sound_prefix(slots, place, prefix), refusal);
  return tinyops_slots_write(slots, &record);
}

/* The place, if it holds a capsule and is not the one that boots. */
static tinyops_place other_than_active(const tinyops_slots *slots, uint32_t place) {
  size_t len;
  if (place == slots->record.active) return TINYOPS_NO_PLACE;
  (void)tinyops_slots_capsule(slots, (tinyops_place)place, &len);
  return len > 0 ? (tinyops_place)place : TINYOPS_NO_PLACE;
}

tinyops_place tinyops_slots_fallback(const tinyops_slots *slots) {
  const tinyops_place previous = other_than_active(slots, slots->record.previous);
  return previous != TINYOPS_NO_PLACE ? previous : other_than_active(slots, TINYOPS_FACTORY);
}

tinyops_refusal_reason tinyops_slots_go_back(tinyops_slots *slots, tinyops_place place,
                                     tinyops_refusal refusal) {
  tinyops_journal_record record = tinyops_slots_record(slots);
  uint8_t prefix[TINYOPS_PREFIX_BYTES];
  const bool has_one = tinyops_slots_prefix(slots, record.active, prefix);
  if (!is_place(place)) return TINYOPS_REASON_FLASH;
  record.active = (uint8_t)place;
  record.previous = TINYOPS_NO_PLACE;
  memset(record.confirmed_digest, 0, sizeof record.confirmed_digest);
  tinyops_record_refuse(&record, has_one ? prefix : NULL, refusal);
  return tinyops_slots_write(slots, &record);
}

static bool passes(tinyops_slots *slots, uint32_t place, bool is_new, tinyops_checker checker,
                   void *context, tinyops_refusal *refusal) {
  size_t len;
  const uint8_t *capsule = tinyops_slots_capsule(slots, (tinyops_place)place, &len);
  *refusal = checker(context, slots, (tinyops_place)place, capsule, len, is_new);
  return refusal->reason == TINYOPS_REASON_NONE;
}

tinyops_place tinyops_slots_choose(tinyops_slots *slots, const tinyops_begun *begun,
                                   tinyops_checker checker, void *context) {
  const tinyops_place active = (tinyops_place)slots->record.active;
  tinyops_refusal refusal;
  tinyops_place place;
  if (begun->trial != TINYOPS_NO_PLACE) {
    place = (tinyops_place)begun->trial;
    if (passes(slots, place, true, checker, context, &refusal)) return place;
    /* If this cannot be written the tries run out instead. */
    (void)tinyops_slots_revert_trial(slots, place, refusal);
  }
  if (passes(slots, active, false, checker, context, &refusal)) return active;
  /* A new device without a factory's capsule waits for its first. */
  if (active == TINYOPS_FACTORY && slots->flash->factory_bytes == 0) return TINYOPS_NO_PLACE;
  place = other_than_active(slots, slots->record.previous);
  if (place != TINYOPS_NO_PLACE && passes(slots, place, false, checker, context, &refusal)) {
    return place;
  }
  place = other_than_active(slots, TINYOPS_FACTORY);
  if (place != TINYOPS_NO_PLACE && passes(slots, place, false, checker, context, &refusal)) {
    return place;
  }
  return TINYOPS_NO_PLACE;
}
