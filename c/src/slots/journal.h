/* What must survive a reset, in two copies of a few pages of flash. */
#ifndef TINYOPS_JOURNAL_H
#define TINYOPS_JOURNAL_H

#include "../../include/tinyops_slots.h"

#define TINYOPS_RECORD_BYTES 256u
/* Bytes at the end of a slot that hold the director's statement. */
#define TINYOPS_STATEMENT_AREA_BYTES 192u

/* Lays out the region; false if it has no room, or its units do not fit. */
bool tinyops_layout_of(tinyops_slots *slots, const tinyops_flash *flash);

/* Bytes of the region as they are now; NULL where they cannot be read. */
const uint8_t *tinyops_mapped(const tinyops_slots *slots, uint32_t at, uint32_t len);

/* Whether bytes can be read, and as erased flash. */
bool tinyops_is_blank(const uint8_t *bytes, uint32_t len);

/* A number, rounded up to whole units. */
static inline uint32_t tinyops_whole_units(uint32_t bytes, uint32_t unit) {
  return (bytes + unit - 1) / unit * unit;
}

/* A sum, or the greatest number if it is greater. */
static inline uint32_t tinyops_add_capped(uint32_t number, uint32_t by) {
  return number > UINT32_MAX - by ? UINT32_MAX : number + by;
}

void tinyops_record_encode(const tinyops_journal_record *record,
                           uint8_t out[TINYOPS_RECORD_BYTES]);

/* Reads the newest whole record, or that of a new device if there is none. */
void tinyops_journal_open(tinyops_slots *slots);

/* Writes a record to both copies, with the key set in force; it counts once one copy reads back as
 * written. `record` is given its number. */
bool tinyops_journal_write(tinyops_slots *slots, tinyops_journal_record *record);

/* The same with a new key set of at most TINYOPS_KEY_SET_BYTES_MAX bytes: both count, or neither. */
bool tinyops_journal_write_key_set(tinyops_slots *slots, tinyops_journal_record *record,
                                   const uint8_t *key_set, size_t len);

#endif
