/* A record of the journal, as docs/formats/blocks.md and the Rust journal.rs lay it out. */
#include <string.h>

#include "../bytes.h"
#include "../crc.h"
#include "journal.h"
#include "journal_record.h"

#define VERSION 6u
/* The first that tells by which keys a capsule was checked. */
#define KEYS_VERSION 6u
#define LONG_VERSION 4u
#define CRC_AT (TINYOPS_RECORD_BYTES - 4)
/* What is to wait, beside the place of what waits. */
#define HOLD 0x80u
#define REST_AT 124u
/* Within the rest: a byte that is always zero, and an order to move features, which is none unless its
 * first byte is from 1 to 16; its second belongs to another field. */
#define REST_ZERO 15u
#define REST_ORDER 120u
#define ORDER_BYTES 8u

static const uint8_t magic[4] = {'T', 'O', 'P', 'J'};

void tinyops_record_new(tinyops_journal_record *record) {
  memset(record, 0, sizeof *record);
  record->uplink_limit = 1;
  record->trial = record->previous = record->transfer = record->held = TINYOPS_NO_PLACE;
}

/* Whether there is a capsule that was checked and that nobody has confirmed. */
static bool has_keys(const tinyops_journal_record *record) {
  return record->transfer == TINYOPS_NO_PLACE &&
         (record->trial != TINYOPS_NO_PLACE || record->held != TINYOPS_NO_PLACE);
}

void tinyops_record_encode(const tinyops_journal_record *record,
                           uint8_t out[TINYOPS_RECORD_BYTES]) {
  uint32_t index;
  memset(out, 0, TINYOPS_RECORD_BYTES);
  memcpy(out, magic, sizeof magic);
  out[4] = VERSION;
  out[5] = record->active;
  out[6] = record->trial;
  out[7] = record->tries_left;
  tinyops_write_u32(out + 8, record->number);
  tinyops_write_u32(out + 12, record->boot_count);
  tinyops_write_u32(out + 16, record->uplink_limit);
  tinyops_write_u32(out + 20, record->downlink_seen);
  tinyops_write_u32(out + 24, record->confirmed_sequence);
  out[28] = record->previous;
  out[29] = record->transfer;
  for (index = 0; index < 2; index++) {
    const tinyops_stored *stored = &record->slots[index];
    if (stored->bytes == 0) continue;
    tinyops_write_u32(out + 32 + 12 * index, stored->bytes);
    memcpy(out + 36 + 12 * index, stored->digest, sizeof stored->digest);
  }
  if (record->transfer != TINYOPS_NO_PLACE) {
    out[31] = record->wanted.is_delta ? 1 : 0;
    memcpy(out + 56, record->wanted.digest, sizeof record->wanted.digest);
    tinyops_write_u32(out + 88, record->wanted.bytes);
  }
  if (has_keys(record)) memcpy(out + 56, record->checked_by, sizeof record->checked_by);
  if (record->refusal.reason != TINYOPS_REASON_NONE) {
    out[30] = (uint8_t)record->refusal.reason;
    memcpy(out + 92, record->refused, sizeof record->refused);
    tinyops_write_u32(out + 100, record->refusal.detail);
  }
  tinyops_write_u32(out + 104, record->statement_counter);
  tinyops_write_u32(out + 108, record->key_set);
  out[112] = record->checks;
  /* A capsule never waits in the factory's place, whose code is that of none. */
  out[113] = record->held == TINYOPS_NO_PLACE ? 0 : record->held;
  if (record->when.is_later) {
    out[113] = (uint8_t)(out[113] | HOLD);
    out[114] = (uint8_t)(record->when.windows & 0xFF);
    out[115] = (uint8_t)(record->when.windows >> 8);
  }
  memcpy(out + 116, record->confirmed_digest, sizeof record->confirmed_digest);
  memcpy(out + REST_AT, record->rest, sizeof record->rest);
  tinyops_write_u32(out + CRC_AT, tinyops_crc32(out, CRC_AT));
}

uint32_t tinyops_record_version(const uint8_t *bytes, uint32_t len) {
  const uint32_t first = len == TINYOPS_RECORD_BYTES ? LONG_VERSION : 1;
  const uint32_t last = len == TINYOPS_RECORD_BYTES ? VERSION : LONG_VERSION - 1;
  if (memcmp(bytes, magic, sizeof magic) != 0 || bytes[4] < first || bytes[4] > last) return 0;
  /* The active place, the reason of the last refusal, what is transferred. */
  if (bytes[5] > TINYOPS_SLOT_B || bytes[30] > TINYOPS_REASON_MOUNTING || bytes[31] > 1) return 0;
  if (tinyops_crc32(bytes, len - 4) != tinyops_read_u32(bytes + len - 4)) return 0;
  return bytes[4];
}

static uint8_t place_of(uint8_t code) {
  return code <= TINYOPS_SLOT_B ? code : (uint8_t)TINYOPS_NO_PLACE;
}

void tinyops_record_decode(tinyops_journal_record *record, const uint8_t *bytes, uint32_t len) {
  uint32_t index;
  memset(record, 0, sizeof *record);
  record->active = bytes[5];
  record->trial = place_of(bytes[6]);
  record->tries_left = bytes[7];
  record->number = tinyops_read_u32(bytes + 8);
  record->boot_count = tinyops_read_u32(bytes + 12);
  record->uplink_limit = tinyops_read_u32(bytes + 16);
  record->downlink_seen = tinyops_read_u32(bytes + 20);
  record->confirmed_sequence = tinyops_read_u32(bytes + 24);
  record->previous = place_of(bytes[28]);
  record->transfer = place_of(bytes[29]);
  for (index = 0; index < 2; index++) {
    tinyops_stored *stored = &record->slots[index];
    stored->bytes = tinyops_read_u32(bytes + 32 + 12 * index);
    memcpy(stored->digest, bytes + 36 + 12 * index, sizeof stored->digest);
  }
  record->wanted.is_delta = bytes[31] == 1;
  memcpy(record->wanted.digest, bytes + 56, sizeof record->wanted.digest);
  record->wanted.bytes = tinyops_read_u32(bytes + 88);
  record->refusal.reason = (tinyops_refusal_reason)bytes[30];
  record->refusal.detail = tinyops_read_u32(bytes + 100);
  memcpy(record->refused, bytes + 92, sizeof record->refused);
  record->statement_counter = tinyops_read_u32(bytes + 104);
  record->key_set = tinyops_read_u32(bytes + 108);
  record->checks = bytes[112];
  record->held = place_of(bytes[113] & ~HOLD & 0xFF);
  if (record->held == TINYOPS_FACTORY) record->held = TINYOPS_NO_PLACE;
  record->when.is_later = (bytes[113] & HOLD) != 0;
  if (record->when.is_later) record->when.windows = tinyops_read_u16(bytes + 114);
  if (has_keys(record) && bytes[4] >= KEYS_VERSION) {
    memcpy(record->checked_by, bytes + 56, sizeof record->checked_by);
  }
  memcpy(record->confirmed_digest, bytes + 116, sizeof record->confirmed_digest);
  if (len == TINYOPS_RECORD_BYTES) {
    uint8_t *order = record->rest + REST_ORDER;
    const uint8_t beside = bytes[REST_AT + REST_ORDER + 1];
    memcpy(record->rest, bytes + REST_AT, sizeof record->rest);
    record->rest[REST_ZERO] = 0;
    if (order[0] < 1 || order[0] > 16) memset(order, 0, ORDER_BYTES);
    order[1] = beside;
  }
}
