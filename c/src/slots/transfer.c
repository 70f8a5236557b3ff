/* Fetching a capsule into a slot, block by block, across resets. A delta is staged at the slot's end, from
 * the start of a page, and stays there until the capsule at its beginning is whole. */
#include <string.h>

#include "../../include/tinyops_capsule.h"
#include "../../include/tinyops_delta.h"
#include "slots.h"

/* Bytes made at a time: whole write units of any flash. */
#define PIECE_BYTES (4 * TINYOPS_WRITE_BYTES_MAX)

/* The slot that a new capsule goes to: never the one that is read in place, nor the one that boots unless
 * it is what keeps the device from booting it. */
static uint8_t target(const tinyops_slots *slots, tinyops_place running) {
  const uint32_t keep = tinyops_is_slot(running) ? (uint32_t)running : slots->record.active;
  return keep == TINYOPS_SLOT_A ? TINYOPS_SLOT_B : TINYOPS_SLOT_A;
}

/* Where in a slot the bytes of a transfer go. */
static uint32_t start_of(const tinyops_slots *slots, const tinyops_wanted *wanted) {
  const uint32_t room = tinyops_slots_capsule_bytes(slots), page = slots->flash->page_bytes;
  if (!wanted->is_delta || wanted->bytes > room) return 0;
  return (room - wanted->bytes) / page * page;
}

/* Empties a slot for a transfer. */
static tinyops_refusal_reason clear(tinyops_slots *slots, uint8_t place, tinyops_place running) {
  tinyops_journal_record record = tinyops_slots_record(slots);
  tinyops_refusal_reason reason;
  /* The journal forgets what the slot held before the slot does. */
  memset(&record.slots[place - TINYOPS_SLOT_A], 0, sizeof record.slots[0]);
  record.transfer = record.held = TINYOPS_NO_PLACE;
  record.when.is_later = false;
  record.when.windows = 0;
  record.checks = 0;
  if (record.previous == place) record.previous = TINYOPS_NO_PLACE;
  /* It could not be run, or it would not be emptied. */
  if (record.active == place) {
    record.active = (uint8_t)(running == TINYOPS_NO_PLACE ? TINYOPS_FACTORY : running);
  }
  reason = tinyops_slots_write(slots, &record);
  if (reason != TINYOPS_REASON_NONE) return reason;
  return tinyops_slot_erase(slots, place, slots->slot_bytes);
}

/* Writes a statement beside where the capsule of an emptied slot will be: its length in one byte, then
 * itself. */
static tinyops_refusal_reason write_statement(const tinyops_slots *slots, uint8_t place,
                                      const uint8_t *statement, uint32_t len) {
  const uint32_t at = tinyops_slot_start(slots, place) + tinyops_slots_capsule_bytes(slots);
  const uint32_t bytes = tinyops_whole_units(1 + len, slots->flash->write_bytes);
  uint8_t area[TINYOPS_STATEMENT_AREA_BYTES];
  const uint8_t *stored;
  if (bytes > sizeof area) return TINYOPS_REASON_FLASH;
  memset(area, 0xFF, sizeof area);
  area[0] = (uint8_t)len;
  if (len > 0) memcpy(area + 1, statement, len);
  if (!slots->flash->write(slots->flash->context, at, area, bytes)) return TINYOPS_REASON_FLASH;
  stored = tinyops_mapped(slots, at, bytes);
  return stored != NULL && memcmp(stored, area, bytes) == 0 ? TINYOPS_REASON_NONE
                                                            : TINYOPS_REASON_FLASH;
}

tinyops_refusal tinyops_slots_begin_transfer(tinyops_slots *slots, const tinyops_wanted *wanted,
                                             tinyops_when when, const uint8_t *statement,
                                             size_t statement_bytes, uint32_t counter,
                                             tinyops_place running) {
  const uint8_t place = target(slots, running);
  tinyops_journal_record record;
  tinyops_refusal refusal = tinyops_refusal_of(TINYOPS_REASON_SLOT_TOO_SMALL, 0);
  refusal.detail = wanted->bytes;
  if (wanted->bytes > tinyops_slots_capsule_bytes(slots) || wanted->bytes == 0) return refusal;
  if (statement_bytes > TINYOPS_STATEMENT_BYTES_MAX) {
    return tinyops_refusal_of(TINYOPS_REASON_STATEMENT, 0);
  }
  refusal = tinyops_refusal_of(clear(slots, place, running), 0);
  if (refusal.reason != TINYOPS_REASON_NONE) return refusal;
  refusal.reason = write_statement(slots, place, statement, (uint32_t)statement_bytes);
  if (refusal.reason != TINYOPS_REASON_NONE) return refusal;
  record = tinyops_slots_record(slots);
  record.transfer = place;
  record.wanted = *wanted;
  record.when = when;
  if (!when.is_later) record.when.windows = 0;
  record.statement_counter = counter;
  refusal.reason = tinyops_slots_write(slots, &record);
  return refusal;
}

tinyops_refusal_reason tinyops_slots_write_block(tinyops_slots *slots, uint32_t offset,
                                         const uint8_t *bytes, uint32_t len) {
  const tinyops_journal_record *record = &slots->record;
  if (record->transfer == TINYOPS_NO_PLACE || offset > record->wanted.bytes ||
      len > record->wanted.bytes - offset) {
    return TINYOPS_REASON_FLASH;
  }
  return tinyops_slot_write(slots, record->transfer, start_of(slots, &record->wanted) + offset,
                            bytes, len);
}

bool tinyops_slots_has_block(const tinyops_slots *slots, uint32_t offset, uint32_t len) {
  const tinyops_journal_record *record = &slots->record;
  const uint32_t unit = slots->flash->write_bytes;
  uint32_t last;
  if (record->transfer == TINYOPS_NO_PLACE || len == 0 || offset > record->wanted.bytes ||
      len > record->wanted.bytes - offset) {
    return false;
  }
  /* Words are written in order: one whose last word is blank may lack more, and comes again. */
  last = start_of(slots, &record->wanted) + offset + tinyops_whole_units(len, unit) - unit;
  return !tinyops_is_blank(tinyops_slot_block(slots, record->transfer, last, unit), unit);
}

/* Holds what was fetched against its digest. */
static bool is_as_wanted(const tinyops_slots *slots, uint8_t place, const tinyops_wanted *wanted) {
  uint8_t digest[TINYOPS_DIGEST_BYTES];
  const uint8_t *bytes =
      tinyops_slot_block(slots, place, start_of(slots, wanted), wanted->bytes);
  if (bytes == NULL) return false;
  tinyops_sha256(bytes, wanted->bytes, digest);
  return memcmp(digest, wanted->digest, sizeof digest) == 0;
}

/* Makes the capsule piece by piece. */
static tinyops_refusal_reason make(tinyops_slots *slots, tinyops_delta_decoder *decoder, uint8_t place,
                           uint32_t start, const tinyops_wanted *wanted, tinyops_place base) {
  uint32_t made = 0;
  while (made < decoder->bytes) {
    uint8_t piece[PIECE_BYTES];
    size_t filled, old_len;
    const uint8_t *old = tinyops_slots_capsule(slots, base, &old_len);
    const uint8_t *delta = tinyops_slot_block(slots, place, start, wanted->bytes);
    tinyops_refusal_reason reason;
    if (delta == NULL) return TINYOPS_REASON_FLASH;
    if (tinyops_delta_fill(decoder, delta, wanted->bytes, old, old_len, piece, sizeof piece,
                           &filled) != TINYOPS_DELTA_MADE) {
      return TINYOPS_REASON_DELTA;
    }
    reason = tinyops_slot_write(slots, place, made, piece, (uint32_t)filled);
    if (reason != TINYOPS_REASON_NONE) return reason;
    made += (uint32_t)filled;
  }
  return TINYOPS_REASON_NONE;
}

/* Makes a capsule out of the delta staged in a slot and the capsule that runs. What is before the delta is
 * erased first, unless it has been since the last reset: flash whose erasing was interrupted can read as if
 * it were blank. */
static tinyops_refusal unpack(tinyops_slots *slots, uint8_t place, const tinyops_wanted *wanted,
                              tinyops_place base, bool is_erased, tinyops_stored *stored) {
  const uint32_t start = start_of(slots, wanted);
  const uint8_t *delta = tinyops_slot_block(slots, place, start, wanted->bytes), *result;
  uint8_t name[TINYOPS_PREFIX_BYTES];
  tinyops_delta_header header;
  tinyops_delta_decoder decoder;
  tinyops_refusal refusal = tinyops_refusal_of(TINYOPS_REASON_DELTA, 0);
  tinyops_refusal_reason reason;
  if (!tinyops_slots_prefix(slots, base, name)) memset(name, 0, sizeof name);
  if (delta == NULL) return tinyops_refusal_of(TINYOPS_REASON_FLASH, 0);
  if (tinyops_delta_read(&header, delta, wanted->bytes) != TINYOPS_DELTA_MADE) return refusal;
  if (memcmp(header.base, name, sizeof name) != 0) {
    return tinyops_refusal_of(TINYOPS_REASON_DELTA_BASE, 0);
  }
  if (header.bytes > start) {
    refusal.reason = TINYOPS_REASON_SLOT_TOO_SMALL;
    refusal.detail = tinyops_add_capped(header.bytes, wanted->bytes);
    return refusal;
  }
  if (tinyops_delta_begin(&decoder, delta, wanted->bytes, name) != TINYOPS_DELTA_MADE) {
    return refusal;
  }
  if (!is_erased && start > 0) {
    reason = tinyops_slot_erase(slots, place, start);
    if (reason != TINYOPS_REASON_NONE) return tinyops_refusal_of(reason, 0);
  }
  reason = make(slots, &decoder, place, start, wanted, base);
  if (reason != TINYOPS_REASON_NONE) return tinyops_refusal_of(reason, 0);
  result = tinyops_slot_block(slots, place, 0, header.bytes);
  tinyops_prefix_of(result, header.bytes, stored->digest);
  stored->bytes = header.bytes;
  /* Else the old capsule is not what it was, or the delta never was right. */
  return memcmp(stored->digest, header.result, sizeof header.result) == 0
             ? tinyops_no_refusal()
             : refusal;
}

static tinyops_refusal_reason settle(tinyops_slots *slots, uint8_t place, const tinyops_stored *stored,
                             uint8_t tries) {
  tinyops_journal_record record = tinyops_slots_record(slots);
  const bool waits = record.when.is_later;
  record.slots[place - TINYOPS_SLOT_A] = *stored;
  record.transfer = TINYOPS_NO_PLACE;
  record.checks = 0;
  record.held = place;
  memcpy(record.checked_by, slots->keys, sizeof record.checked_by);
  record.tries_left = tries;
  if (!waits) tinyops_record_begin_trial(&record, tries);
  return tinyops_slots_write(slots, &record);
}

static tinyops_refusal check(tinyops_slots *slots, uint8_t place, tinyops_place running,
                             bool is_fresh, tinyops_checker checker, void *context,
                             tinyops_stored *stored) {
  const tinyops_wanted wanted = slots->record.wanted;
  tinyops_refusal refusal = tinyops_no_refusal();
  const uint8_t *capsule;
  if (!is_as_wanted(slots, place, &wanted)) return tinyops_refusal_of(TINYOPS_REASON_DIGEST, 0);
  memcpy(stored->digest, wanted.digest, sizeof stored->digest);
  stored->bytes = wanted.bytes;
  if (wanted.is_delta) refusal = unpack(slots, place, &wanted, running, is_fresh, stored);
  if (refusal.reason != TINYOPS_REASON_NONE) return refusal;
  capsule = tinyops_slot_block(slots, place, 0, stored->bytes);
  if (capsule == NULL) return tinyops_refusal_of(TINYOPS_REASON_FLASH, 0);
  return checker(context, slots, (tinyops_place)place, capsule, stored->bytes, true);
}

tinyops_refusal tinyops_slots_finish_transfer(tinyops_slots *slots, tinyops_place running,
                                              bool is_fresh, uint8_t tries,
                                              tinyops_checker checker, void *context) {
  const uint8_t place = slots->record.transfer;
  tinyops_journal_record record = tinyops_slots_record(slots);
  tinyops_refusal refusal;
  tinyops_stored stored;
  if (place == TINYOPS_NO_PLACE) return tinyops_refusal_of(TINYOPS_REASON_FLASH, 0);
  record.checks = record.checks < 255 ? (uint8_t)(record.checks + 1) : record.checks;
  refusal = tinyops_refusal_of(tinyops_slots_write(slots, &record), 0);
  if (refusal.reason == TINYOPS_REASON_NONE) {
    const uint32_t most = tries < 255 ? tries + 1u : 255u;
    /* Checking it has stopped the device each time. */
    refusal = slots->record.checks > most
                  ? tinyops_refusal_of(TINYOPS_REASON_TRIES, 0)
                  : check(slots, place, running, is_fresh, checker, context, &stored);
  }
  if (refusal.reason == TINYOPS_REASON_NONE) {
    refusal.reason = settle(slots, place, &stored, tries);
  }
  /* If this cannot be written, the next boot finds the transfer and turns it away again. */
  if (refusal.reason != TINYOPS_REASON_NONE) (void)tinyops_slots_refuse_transfer(slots, refusal);
  return refusal;
}

tinyops_refusal_reason tinyops_slots_refuse_transfer(tinyops_slots *slots, tinyops_refusal refusal) {
  tinyops_journal_record record = tinyops_slots_record(slots);
  record.transfer = TINYOPS_NO_PLACE;
  record.checks = 0;
  tinyops_record_refuse(&record, slots->record.wanted.digest, refusal);
  return tinyops_slots_write(slots, &record);
}
