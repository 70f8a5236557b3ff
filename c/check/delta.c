/* Deltas: the image that is made of another, whole and in pieces. */
#include "../include/tinyops_delta.h"

#include <stdlib.h>
#include <string.h>

#include "host.h"

/* Makes an image in pieces, of which there is at least one; answers the first refusal. */
static tinyops_delta_reason make_in_pieces(tinyops_delta_decoder *decoder, const uint8_t *delta,
                                           size_t len, const uint8_t *base, size_t base_len,
                                           uint8_t *out, size_t room, size_t piece) {
  uint8_t name[TINYOPS_DELTA_NAME_BYTES];
  tinyops_delta_reason reason;
  size_t at = 0;
  tinyops_delta_name(base, base_len, name);
  reason = tinyops_delta_begin(decoder, delta, len, name);
  if (reason == TINYOPS_DELTA_MADE && decoder->bytes > room) return TINYOPS_DELTA_ROOM;
  while (reason == TINYOPS_DELTA_MADE) {
    size_t filled, some = piece < room - at ? piece : room - at;
    uint8_t *own = (uint8_t *)tinyops_check_own(NULL, some);
    reason = tinyops_delta_fill(decoder, delta, len, base, base_len, own, some, &filled);
    memcpy(out + at, own, filled);
    at += filled;
    free(own);
    if (at >= decoder->bytes) break;
  }
  return reason;
}

const uint8_t *tinyops_check_delta(const tinyops_check_record *record, tinyops_tally *all) {
  const size_t base_len = tinyops_check_word(record->cases);
  const size_t made = tinyops_check_word(record->cases + 4);
  const size_t room = tinyops_check_word(record->cases + 8);
  const size_t piece = tinyops_check_word(record->cases + 12);
  const uint32_t in_pieces = tinyops_check_word(record->cases + 16);
  const uint8_t *base_bytes = record->cases + 20, *expected = base_bytes + base_len;
  uint8_t *delta = (uint8_t *)tinyops_check_own(record->plan, record->plan_bytes);
  uint8_t *base = (uint8_t *)tinyops_check_own(base_bytes, base_len);
  uint8_t *out = (uint8_t *)tinyops_check_own(NULL, room);
  tinyops_delta_decoder decoder;
  tinyops_delta_reason reason =
      tinyops_delta_apply(&decoder, delta, record->plan_bytes, base, base_len, out, room);
  if ((uint32_t)reason != record->verdict) {
    tinyops_check_differs(all, "reason of a delta", (unsigned long)reason, record->verdict);
  } else if (reason == TINYOPS_DELTA_MADE && memcmp(out, expected, made) != 0) {
    tinyops_check_differs(all, "bytes of an image", 0, 1);
  }
  memset(out, 0, room);
  reason = make_in_pieces(&decoder, delta, record->plan_bytes, base, base_len, out, room, piece);
  if ((uint32_t)reason != in_pieces) {
    tinyops_check_differs(all, "reason of a delta in pieces", (unsigned long)reason, in_pieces);
  } else if (record->verdict == TINYOPS_DELTA_MADE && memcmp(out, expected, made) != 0) {
    tinyops_check_differs(all, "bytes of an image in pieces", 0, 1);
  }
  free(delta);
  free(base);
  free(out);
  all->cases++;
  return expected + made;
}
