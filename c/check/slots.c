/* Slots and journal on flash that fails: after every step of a schedule the answers, the record and every
 * byte of flash.
 *
 * A flash is page, write unit, own head, region and factory bytes as u32, a seed of 64 bits, the factory's
 * capsule and the region. Behind it stand the count of steps and, for each, what is done, three numbers, what
 * flash does meanwhile (kind, from which operation, how often), bytes that follow, what it shall answer
 * (reason, detail, two numbers, operations of flash so far, CRC-32 of the record), a hash of the region of
 * 64 bits, and the bytes. */
#include "../include/tinyops_slots.h"

#include <stdlib.h>
#include <string.h>

#include "../include/tinyops_capsule.h"
#include "../src/crc.h"
#include "../src/slots/journal.h"
#include "host.h"
#include "worn.h"

#define HEAD_WORDS 7u
#define STEP_WORDS 16u
#define ANSWERS 6u
/* What a capsule that must not run begins with. */
#define BAD 0xBAu

enum {
  BOOT,
  RESERVE,
  BEGIN,
  BLOCK,
  FINISH,
  CONFIRM,
  REVERT,
  DROP_HELD,
  GO_BACK,
  TAKE_KEY_SET,
  ROT,
  SEE_DOWNLINK,
  TRY_HELD,
  HOLD,
  BLOCKS,
  UNREADABLE,
  READ
};

/* The device: its flash, its slots, and what the last boot chose. */
typedef struct device {
  tinyops_worn worn;
  tinyops_slots slots;
  tinyops_place running;
} device;

typedef struct step {
  uint32_t op;
  uint32_t numbers[3];
  const uint8_t *bytes;
  uint32_t len;
} step;

static tinyops_refusal refusal_of(uint32_t reason, uint32_t detail) {
  tinyops_refusal refusal;
  refusal.reason = (tinyops_refusal_reason)reason;
  refusal.detail = detail;
  return refusal;
}

/* Whether a capsule may run: nothing of it is looked at but its first byte, and its number where it is
 * new. */
static tinyops_refusal checker(void *context, const tinyops_slots *slots, tinyops_place place,
                               const uint8_t *capsule, size_t len, bool is_new) {
  uint8_t digest[TINYOPS_DIGEST_BYTES];
  (void)context;
  (void)place;
  if (len < 2) return refusal_of(TINYOPS_REASON_MALFORMED, 0);
  if (capsule[0] == BAD) return refusal_of(TINYOPS_REASON_GOLDEN, is_new ? 1 : 0);
  tinyops_sha256(capsule, len, digest);
  if (is_new && !tinyops_slots_is_above_floor(slots, capsule[1], digest)) {
    return refusal_of(TINYOPS_REASON_ROLLBACK, slots->record.confirmed_sequence);
  }
  return refusal_of(TINYOPS_REASON_NONE, 0);
}

static tinyops_when when_of(uint32_t flags) {
  tinyops_when when;
  when.is_later = (flags & 1) != 0;
  when.windows = (uint16_t)(flags >> 16);
  return when;
}

static tinyops_refusal boot(device *of, uint32_t first_uplink, uint32_t told[2]) {
  tinyops_begun begun;
  of->worn.has_power = true;
  /* Of what it had in memory nothing is left. */
  memset(&of->slots, 0xA5, sizeof of->slots);
  if (!tinyops_slots_open(&of->slots, &of->worn.flash)) {
    return refusal_of(TINYOPS_REASON_MEMORY, 0);
  }
  begun = tinyops_slots_begin_boot(&of->slots, first_uplink);
  of->running = tinyops_slots_choose(&of->slots, &begun, checker, NULL);
  told[0] = begun.sequence;
  told[1] = (uint32_t)begun.trial | (uint32_t)begun.gave_up << 8 |
            (uint32_t)begun.gave_up_shadow << 16 | (uint32_t)of->running << 24;
  return refusal_of(begun.may_shadow ? TINYOPS_REASON_NONE : TINYOPS_REASON_FLASH, 0);
}

static tinyops_refusal begin(device *of, const step *now) {
  tinyops_wanted wanted;
  memcpy(wanted.digest, now->bytes, sizeof wanted.digest);
  wanted.bytes = now->numbers[0];
  wanted.is_delta = (now->numbers[1] & 2) != 0;
  return tinyops_slots_begin_transfer(&of->slots, &wanted, when_of(now->numbers[1]),
                                      now->bytes + sizeof wanted.digest,
                                      now->len - sizeof wanted.digest, now->numbers[2],
                                      of->running);
}

/* Which of the first 64 blocks have come. */
static void find_blocks(const device *of, uint32_t told[2]) {
  uint32_t index;
  if (of->slots.record.transfer == TINYOPS_NO_PLACE) return;
  for (index = 0; index < 64; index++) {
    const uint32_t all = of->slots.record.wanted.bytes, at = 64 * index;
    const uint32_t len = at < all ? (all - at < 64 ? all - at : 64) : 0;
    if (tinyops_slots_has_block(&of->slots, at, len)) told[index / 32] |= 1u << index % 32;
  }
}

/* What can be read of a place. */
static void read_place(device *of, tinyops_place place, uint32_t keys, uint32_t told[2]) {
  size_t len = 0;
  const uint8_t *bytes = tinyops_slots_capsule(&of->slots, place, &len);
  told[0] = tinyops_crc32(bytes, len);
  bytes = tinyops_slots_statement(&of->slots, place, &len);
  told[0] ^= tinyops_crc32(bytes, len);
  memset(of->slots.keys, (int)keys, sizeof of->slots.keys);
  if (tinyops_slots_is_installed(&of->slots, place)) told[0] ^= 1;
  bytes = tinyops_slots_key_set(&of->slots, &len);
  told[1] = bytes == NULL ? 1 : tinyops_crc32(bytes, len);
}

static tinyops_refusal take(device *of, const step *now, uint32_t told[2]) {
  const uint32_t a = now->numbers[0], b = now->numbers[1], c = now->numbers[2];
  tinyops_slots *slots = &of->slots;
  tinyops_refusal_reason reason = TINYOPS_REASON_NONE;
  switch (now->op) {
    case BOOT:
      return boot(of, a, told);
    case BEGIN:
      return begin(of, now);
    case FINISH:
      memset(slots->keys, (int)c, sizeof slots->keys);
      return tinyops_slots_finish_transfer(slots, of->running, b != 0, (uint8_t)a, checker, NULL);
    case RESERVE:
      reason = tinyops_slots_reserve_sequence(slots, a);
      break;
    case BLOCK:
      reason = tinyops_slots_write_block(slots, a, now->bytes, now->len);
      break;
    case CONFIRM:
      reason = tinyops_slots_confirm(slots, (tinyops_place)a, b);
      break;
    case REVERT:
      reason = tinyops_slots_revert_trial(slots, (tinyops_place)a, refusal_of(b, c));
      break;
    case DROP_HELD:
      reason = tinyops_slots_drop_held(slots, (tinyops_place)a, refusal_of(b, c));
      break;
    case GO_BACK: {
      const tinyops_place place = tinyops_slots_fallback(slots);
      if (place != TINYOPS_NO_PLACE) reason = tinyops_slots_go_back(slots, place, refusal_of(a, b));
      if (reason == TINYOPS_REASON_NONE) told[0] = (uint32_t)place;
      break;
    }
    case TAKE_KEY_SET:
      reason = tinyops_slots_take_key_set(slots, a, now->bytes, now->len, (b & 1) != 0,
                                          (b & 2) != 0);
      break;
    case ROT:
      of->worn.bytes[a] = (uint8_t)(of->worn.bytes[a] ^ b);
      break;
    case SEE_DOWNLINK:
      slots->downlink_seen = a;
      break;
    case TRY_HELD:
      reason = tinyops_slots_try_held(slots, (uint8_t)a);
      break;
    case HOLD:
      reason = tinyops_slots_hold(slots, when_of(b), (uint8_t)a);
      break;
    case BLOCKS:
      find_blocks(of, told);
      break;
    case UNREADABLE:
      of->worn.unreadable = a;
      of->worn.unreadable_end = a + b;
      break;
    default:
      read_place(of, (tinyops_place)a, b, told);
      break;
  }
  return refusal_of((uint32_t)reason, 0);
}

static void check_step(device *of, const step *now, const uint8_t *expected, unsigned long number,
                       tinyops_tally *all) {
  static const char *const what[ANSWERS] = {
      "reason of a step",          "detail of a step",           "first number of a step",
      "second number of a step",   "operations after a step",    "record after a step"};
  uint8_t record[TINYOPS_RECORD_BYTES];
  uint32_t answers[ANSWERS] = {0, 0, 0, 0, 0, 0}, index;
  const tinyops_refusal refusal = take(of, now, answers + 2);
  const unsigned long wrong_before = all->wrong;
  uint64_t hash;
  answers[0] = (uint32_t)refusal.reason;
  answers[1] = refusal.detail;
  answers[4] = of->worn.operations;
  tinyops_record_encode(&of->slots.record, record);
  answers[5] = tinyops_crc32(record, sizeof record);
  for (index = 0; index < ANSWERS; index++) {
    const uint32_t should_be = tinyops_check_word(expected + 4 * index);
    if (answers[index] != should_be) {
      tinyops_check_differs(all, what[index], answers[index], should_be);
    }
  }
  expected += 4 * ANSWERS;
  hash = (uint64_t)tinyops_check_word(expected) | (uint64_t)tinyops_check_word(expected + 4) << 32;
  if (tinyops_worn_hash(&of->worn) != hash) {
    tinyops_check_differs(all, "flash after a step", 0, 1);
  }
  if (all->wrong > wrong_before) {
    tinyops_check_differs(all, "which is the step, and what it does:", number, now->op);
  }
}

const uint8_t *tinyops_check_slots(const tinyops_check_record *record, tinyops_tally *all) {
  const uint8_t *head = record->plan, *at = record->cases;
  const uint32_t count = tinyops_check_word(at);
  uint32_t index;
  device of;
  uint8_t *factory;
  memset(&of, 0, sizeof of);
  of.worn.flash.page_bytes = tinyops_check_word(head);
  of.worn.flash.write_bytes = tinyops_check_word(head + 4);
  of.worn.flash.own_head_bytes = tinyops_check_word(head + 8);
  of.worn.flash.bytes = tinyops_check_word(head + 12);
  of.worn.flash.factory_bytes = tinyops_check_word(head + 16);
  of.worn.seed =
      (uint64_t)tinyops_check_word(head + 20) | (uint64_t)tinyops_check_word(head + 24) << 32;
  head += 4 * HEAD_WORDS;
  factory = (uint8_t *)tinyops_check_own(head, of.worn.flash.factory_bytes);
  of.worn.flash.factory = factory;
  of.worn.bytes = (uint8_t *)tinyops_check_own(head + of.worn.flash.factory_bytes,
                                               of.worn.flash.bytes);
  of.running = TINYOPS_NO_PLACE;
  tinyops_worn_begin(&of.worn);
  if ((tinyops_slots_open(&of.slots, &of.worn.flash) ? 1u : 0u) != record->verdict) {
    tinyops_check_differs(all, "room for slots", 0, 1);
  }
  at += 4;
  for (index = 0; index < count; index++) {
    step now;
    uint32_t number;
    now.op = tinyops_check_word(at);
    for (number = 0; number < 3; number++) {
      now.numbers[number] = tinyops_check_word(at + 4 + 4 * number);
    }
    of.worn.kind = tinyops_check_word(at + 16);
    of.worn.at = tinyops_check_word(at + 20);
    of.worn.count = tinyops_check_word(at + 24);
    now.len = tinyops_check_word(at + 28);
    now.bytes = at + 4 * STEP_WORDS;
    check_step(&of, &now, at + 32, index, all);
    at = now.bytes + now.len;
    all->cases++;
  }
  free(factory);
  free(of.worn.bytes);
  return at;
}
