/* What the parts of the slots share. */
#ifndef TINYOPS_SLOTS_PARTS_H
#define TINYOPS_SLOTS_PARTS_H

#include "../refusal.h"
#include "journal.h"

/* Where a slot begins; places are slots. */
static inline uint32_t tinyops_slot_start(const tinyops_slots *slots, uint32_t place) {
  return 2 * slots->journal_bytes + (place - TINYOPS_SLOT_A) * slots->slot_bytes;
}

static inline bool tinyops_is_slot(uint32_t place) {
  return place == TINYOPS_SLOT_A || place == TINYOPS_SLOT_B;
}

/* Bytes of a slot at an offset, if they can be read. */
const uint8_t *tinyops_slot_block(const tinyops_slots *slots, uint32_t place, uint32_t offset,
                                  uint32_t len);

/* The record as it is now, for a change to it, and writes that. */
tinyops_journal_record tinyops_slots_record(const tinyops_slots *slots);
tinyops_refusal_reason tinyops_slots_write(tinyops_slots *slots, tinyops_journal_record *record);

/* Erases the first bytes of a slot, which are whole pages. */
tinyops_refusal_reason tinyops_slot_erase(const tinyops_slots *slots, uint32_t place, uint32_t len);

/* Writes bytes at an offset of a slot, padding the last unit with ones, and reads them back. */
tinyops_refusal_reason tinyops_slot_write(const tinyops_slots *slots, uint32_t place, uint32_t offset,
                                  const uint8_t *bytes, uint32_t len);

/* Remembers why a capsule must not be fetched again; NULL is no capsule. */
void tinyops_record_refuse(tinyops_journal_record *record, const uint8_t *digest,
                           tinyops_refusal refusal);

/* First bytes of the digest of some bytes; NULL is none. */
void tinyops_prefix_of(const uint8_t *bytes, size_t len, uint8_t prefix[TINYOPS_PREFIX_BYTES]);

/* First bytes of the digest of the capsule in a place; false if it holds none. */
bool tinyops_slots_prefix(const tinyops_slots *slots, uint32_t place,
                          uint8_t prefix[TINYOPS_PREFIX_BYTES]);

/* What has waited waits no more: the next boots shall try it. */
void tinyops_record_begin_trial(tinyops_journal_record *record, uint8_t tries);

#endif
