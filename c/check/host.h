/* What the conformance check of a host is made of: a function for each kind of record, which answers
 * where the record ends. */
#ifndef TINYOPS_CHECK_HOST_H
#define TINYOPS_CHECK_HOST_H

#include "record_file.h"

typedef struct tinyops_tally {
  unsigned long records;
  unsigned long cases;
  unsigned long wrong;
} tinyops_tally;

/* A copy of some bytes in a block of its own size, so that a sanitizer sees one byte too far; NULL
 * copies nothing. Never NULL itself. */
void *tinyops_check_own(const void *bytes, size_t len);

/* Says that a record came out otherwise than it should. */
void tinyops_check_differs(tinyops_tally *all, const char *what, unsigned long is,
                           unsigned long should_be);

const uint8_t *tinyops_check_front_end(const tinyops_check_record *record, tinyops_tally *all);
const uint8_t *tinyops_check_scaler(const tinyops_check_record *record, tinyops_tally *all);
const uint8_t *tinyops_check_delta(const tinyops_check_record *record, tinyops_tally *all);
const uint8_t *tinyops_check_monitor(const tinyops_check_record *record, tinyops_tally *all);
const uint8_t *tinyops_check_sensor(const tinyops_check_record *record, tinyops_tally *all);
const uint8_t *tinyops_check_slots(const tinyops_check_record *record, tinyops_tally *all);
const uint8_t *tinyops_check_key_set(const tinyops_check_record *record, tinyops_tally *all);
const uint8_t *tinyops_check_provision(const tinyops_check_record *record, tinyops_tally *all);
const uint8_t *tinyops_check_answer(const tinyops_check_record *record, tinyops_tally *all);
const uint8_t *tinyops_check_distance(const tinyops_check_record *record, tinyops_tally *all);
const uint8_t *tinyops_check_embedding(const tinyops_check_record *record, tinyops_tally *all);

#endif
