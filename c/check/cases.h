/* Runs the cases of one record over an arena. */
#ifndef TINYOPS_CHECK_CASES_H
#define TINYOPS_CHECK_CASES_H

#include "record_file.h"

/* Puts the inputs of a case into the arena, after a reset unless the case goes on; answers where its
 * expected outputs begin, or NULL where the arena does not suffice. */
const uint8_t *tinyops_check_begin(const tinyops_plan *plan, const tinyops_arena *arena,
                                   const tinyops_check_record *record, uint32_t index,
                                   const uint8_t *inputs);

/* How many bytes of the outputs in the arena are not the expected ones. */
size_t tinyops_check_wrong(const tinyops_plan *plan, const tinyops_arena *arena,
                           const uint8_t *expected);

#endif
