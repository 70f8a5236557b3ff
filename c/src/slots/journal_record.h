/* The bytes of a record of the journal; tinyops_record_encode() of journal.h makes them. */
#ifndef TINYOPS_JOURNAL_RECORD_H
#define TINYOPS_JOURNAL_RECORD_H

#include "../../include/tinyops_slots.h"

/* What a new device remembers. */
void tinyops_record_new(tinyops_journal_record *record);

/* The version of a whole record of 256 bytes, or of 128 as they were before version 4; 0 if it is none. */
uint32_t tinyops_record_version(const uint8_t *bytes, uint32_t len);

/* Reads a record that has a version. */
void tinyops_record_decode(tinyops_journal_record *record, const uint8_t *bytes, uint32_t len);

#endif
