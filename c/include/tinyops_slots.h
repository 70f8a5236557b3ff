/* Two slots, a journal and the factory's capsule: which of them the device boots. Format:
 * docs/formats/blocks.md.
 *
 * Every byte of flash is that of the Rust crate tinyops-device, after every operation and after every
 * one that failed half way. */
#ifndef TINYOPS_SLOTS_H
#define TINYOPS_SLOTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* First bytes of a digest by which the journal knows a capsule. */
#define TINYOPS_PREFIX_BYTES 8
/* The longest statement, and the longest signed key set. */
#define TINYOPS_STATEMENT_BYTES_MAX 191
#define TINYOPS_KEY_SET_BYTES_MAX 500
/* The largest unit in which flash is written. */
#define TINYOPS_WRITE_BYTES_MAX 64

/* The region of flash that belongs to the agent. Offsets begin with it. */
typedef struct tinyops_flash {
  void *context;
  /* Bytes of the region: whole pages, which are what is erased at once, and are whole write units of
   * at most TINYOPS_WRITE_BYTES_MAX bytes. */
  uint32_t bytes;
  uint32_t page_bytes;
  uint32_t write_bytes;
  /* Bytes at the end of the region for each of two copies of a head of the device's own, 0 for none. It
   * never changes for a device. */
  uint32_t own_head_bytes;
  /* The capsule that came with the firmware, if any. */
  const uint8_t *factory;
  size_t factory_bytes;
  /* Bytes of the region as they are now, read in place; NULL where they cannot be read. A port for
   * parts that trap on a word whose error correction gives up must turn the trap into NULL, or into any
   * bytes at all, or the device would reset at every boot. */
  const uint8_t *(*mapped)(void *context, uint32_t at, uint32_t len);
  /* Sets whole pages to ones; writes whole units, each erased before. False where it did not. */
  bool (*erase)(void *context, uint32_t from, uint32_t to);
  bool (*write)(void *context, uint32_t at, const uint8_t *bytes, uint32_t len);
} tinyops_flash;

/* Where a capsule lies. */
typedef enum tinyops_place {
  TINYOPS_FACTORY = 0,
  TINYOPS_SLOT_A = 1,
  TINYOPS_SLOT_B = 2,
  TINYOPS_NO_PLACE = 255
} tinyops_place;

/* Why a capsule is not installed. The numbers are those of the frames (docs/formats/frames.md). */
typedef enum tinyops_refusal_reason {
  TINYOPS_REASON_NONE = 0,
  TINYOPS_REASON_SIGNATURE = 1,
  TINYOPS_REASON_DIGEST = 2,
  TINYOPS_REASON_SLOT_TOO_SMALL = 3,
  TINYOPS_REASON_MALFORMED = 4,
  TINYOPS_REASON_BOARD = 5,
  TINYOPS_REASON_ARENA = 6,
  TINYOPS_REASON_CHANNELS = 7,
  TINYOPS_REASON_RATE = 8,
  TINYOPS_REASON_MEMORY = 9,
  TINYOPS_REASON_PLAN = 10,
  TINYOPS_REASON_GOLDEN = 11,
  TINYOPS_REASON_ROLLBACK = 12,
  TINYOPS_REASON_TRIES = 13,
  TINYOPS_REASON_FLASH = 14,
  TINYOPS_REASON_COMMANDED = 15,
  TINYOPS_REASON_STATEMENT = 16,
  TINYOPS_REASON_STATEMENT_OLD = 17,
  TINYOPS_REASON_STATEMENT_VOID = 18,
  TINYOPS_REASON_OTHER_DEVICE = 19,
  TINYOPS_REASON_OTHER_MANIFEST = 20,
  TINYOPS_REASON_PAYLOAD = 21,
  TINYOPS_REASON_KEY_SET = 22,
  TINYOPS_REASON_KEY_SET_OLD = 23,
  TINYOPS_REASON_DELTA_BASE = 24,
  TINYOPS_REASON_DELTA = 25,
  TINYOPS_REASON_OPERATOR = 26,
  TINYOPS_REASON_UNIT = 27,
  TINYOPS_REASON_FULL_SCALE = 28,
  TINYOPS_REASON_OUTPUT = 29,
  TINYOPS_REASON_WINDOW = 30,
  TINYOPS_REASON_AXIS = 31,
  TINYOPS_REASON_MOUNTING = 32
} tinyops_refusal_reason;

/* A reason and the number that it is about; no reason is no refusal. */
typedef struct tinyops_refusal {
  tinyops_refusal_reason reason;
  uint32_t detail;
} tinyops_refusal;

/* A whole capsule in a slot; no bytes are none. */
typedef struct tinyops_stored {
  uint32_t bytes;
  uint8_t digest[TINYOPS_PREFIX_BYTES];
} tinyops_stored;

/* What a transfer fetches: the capsule, or a delta that makes it. */
typedef struct tinyops_wanted {
  uint8_t digest[32];
  uint32_t bytes;
  bool is_delta;
} tinyops_wanted;

/* When what is fetched is installed: at once, later, or later and meanwhile it scores so many windows
 * beside what runs. */
typedef struct tinyops_when {
  bool is_later;
  uint16_t windows;
} tinyops_when;

/* Everything that survives a reset, but the key set. Places are a tinyops_place. */
typedef struct tinyops_journal_record {
  uint32_t number;
  uint32_t boot_count;
  /* Uplink sequence numbers below this may have been used. */
  uint32_t uplink_limit;
  uint32_t downlink_seen;
  /* The version floor: no capsule below it is installed, nor another under it. */
  uint32_t confirmed_sequence;
  uint32_t statement_counter;
  /* Sequence number of the key set in force, 0 for the firmware's own. */
  uint32_t key_set;
  tinyops_stored slots[2];
  tinyops_wanted wanted;
  tinyops_refusal refusal;
  uint8_t refused[TINYOPS_PREFIX_BYTES];
  uint8_t confirmed_digest[TINYOPS_PREFIX_BYTES];
  /* By which keys the capsule was checked that is tried or waits; zeros where that is not known. */
  uint8_t checked_by[TINYOPS_PREFIX_BYTES];
  tinyops_when when;
  uint8_t active;
  uint8_t trial;
  uint8_t tries_left;
  uint8_t previous;
  /* Where a transfer goes to, and where a whole capsule waits. */
  uint8_t transfer;
  uint8_t held;
  /* Checks of the transfer's capsule that have begun. */
  uint8_t checks;
  /* What this runtime keeps and does not read: budgets, what is normal, how features are moved. */
  uint8_t rest[128];
} tinyops_journal_record;

/* What is known of one copy of the journal. */
typedef struct tinyops_journal_copy {
  uint32_t key_set;
  /* Place and number of its newest whole record; UINT32_MAX where there is none. */
  uint32_t newest;
  uint32_t number;
  /* The place for the next record; at the copy's end it must be erased first. */
  uint32_t next;
  uint32_t record_bytes;
} tinyops_journal_copy;

/* Flash and what the journal says of it. */
typedef struct tinyops_slots {
  const tinyops_flash *flash;
  uint32_t journal_bytes;
  uint32_t slot_bytes;
  /* Greatest downlink sequence number seen: the caller's to raise; it goes into the journal with the
   * next record. */
  uint32_t downlink_seen;
  /* Names the keys that signatures are checked by: the caller's to set, see tinyops_slots_name_keys(). */
  uint8_t keys[TINYOPS_PREFIX_BYTES];
  tinyops_journal_record record;
  /* Records that may have been newer than the newest whole one; the greatest number one may bear. */
  uint32_t lost;
  uint32_t attempted;
  tinyops_journal_copy copies[2];
} tinyops_slots;

/* How a boot begins. Places are a tinyops_place. */
typedef struct tinyops_begun {
  /* The first uplink sequence number that is surely new. */
  uint32_t sequence;
  /* What the boot is a trial of. */
  uint8_t trial;
  /* What a trial was of that has used up its boots, and what scored windows and has. */
  uint8_t gave_up;
  uint8_t gave_up_shadow;
  /* Whether a capsule that waits may score windows in this boot. */
  bool may_shadow;
} tinyops_begun;

/* Reads the journal. False if the region has no room for two journals and two slots of at least a page,
 * or its units do not fit. `flash` stays where it is. */
bool tinyops_slots_open(tinyops_slots *slots, const tinyops_flash *flash);

/* Room for a capsule in one slot. */
uint32_t tinyops_slots_capsule_bytes(const tinyops_slots *slots);

/* The bytes of the capsule in a place; none, and NULL or not, if it holds none. */
const uint8_t *tinyops_slots_capsule(const tinyops_slots *slots, tinyops_place place, size_t *len);

/* The statement that lies beside the capsule of a slot, whatever it is. */
const uint8_t *tinyops_slots_statement(const tinyops_slots *slots, tinyops_place place,
                                       size_t *len);

/* The signed key set in force; NULL while it is the firmware's own, or if the flash has lost it. */
const uint8_t *tinyops_slots_key_set(const tinyops_slots *slots, size_t *len);

/* Reads the journal anew, counts the boot and takes one try of a trial, in one record. If that cannot
 * be written there is no trial, nor a shadow. Uplink numbers begin at `first_uplink` or later. */
tinyops_begun tinyops_slots_begin_boot(tinyops_slots *slots, uint32_t first_uplink);

/* Checks the capsule in a place all the way: signature (unless it is_installed), board, plan, and where
 * `is_new` the statement beside it, the golden vectors and tinyops_slots_is_above_floor(). */
typedef tinyops_refusal (*tinyops_checker)(void *context, const tinyops_slots *slots,
                                           tinyops_place place, const uint8_t *capsule, size_t len,
                                           bool is_new);

/* What a boot runs: what it is a trial of, if it passes the check; else the active capsule, the one
 * before it, the factory's, the first that does. A trial that does not pass is over, and refused. */
tinyops_place tinyops_slots_choose(tinyops_slots *slots, const tinyops_begun *begun,
                                   tinyops_checker checker, void *context);

/* Names the keys that signatures are checked by from now on: release and director keys of 32 bytes each, one
 * after another. To be said before what asks for a check, and anew when they change; a boot that opens what
 * is confirmed, and asks no tinyops_slots_is_installed(), need not, for it hashes them. */
void tinyops_slots_name_keys(tinyops_slots *slots, const uint8_t *release, size_t release_count,
                             const uint8_t *director, size_t director_count);

/* Whether the bytes in a slot are those that were checked when they were installed: then no signature over
 * them need be checked again. Of what is tried or waits, which nobody has confirmed, only if the keys are
 * those of then, and have a name. Never of the factory's. */
bool tinyops_slots_is_installed(const tinyops_slots *slots, tinyops_place place);

/* Whether a capsule is no step back: above the newest confirmed one, or that one itself. */
bool tinyops_slots_is_above_floor(const tinyops_slots *slots, uint32_t sequence,
                                  const uint8_t digest[TINYOPS_PREFIX_BYTES]);

/* What follows answers TINYOPS_REASON_NONE where it is done. Else the record is as before, here and
 * after a reset. */

/* Reserves more uplink sequence numbers when `next` is the first that is not. On refusal `next` must not
 * be used. */
tinyops_refusal_reason tinyops_slots_reserve_sequence(tinyops_slots *slots, uint32_t next);

/* Puts a key set in force. `signed_set` has been verified, and its sequence is above the one in force. In
 * a role in which no key was there before the numbers begin anew. */
tinyops_refusal_reason tinyops_slots_take_key_set(tinyops_slots *slots, uint32_t sequence,
                                          const uint8_t *signed_set, size_t len,
                                          bool is_director_new, bool is_release_new);

/* Empties the slot that is neither read in place nor booted, puts the statement beside it and notes
 * what is fetched. `running` is what is read in place. */
tinyops_refusal tinyops_slots_begin_transfer(tinyops_slots *slots, const tinyops_wanted *wanted,
                                             tinyops_when when, const uint8_t *statement,
                                             size_t statement_bytes, uint32_t counter,
                                             tinyops_place running);

/* Writes bytes of what is fetched at their offset, padding the last unit with ones, and reads them
 * back. Words that are there already stay as they are. */
tinyops_refusal_reason tinyops_slots_write_block(tinyops_slots *slots, uint32_t offset,
                                         const uint8_t *bytes, uint32_t len);

/* Whether a block has come before a reset: its last word is not erased. */
bool tinyops_slots_has_block(const tinyops_slots *slots, uint32_t offset, uint32_t len);

/* Every block is there: holds the bytes against their digest, makes the capsule if they are a delta
 * (`is_fresh` says that no reset has interrupted the transfer), has it checked as new, and lets the
 * next boots try it, or wait. Otherwise the transfer is over and what it fetched is refused. */
tinyops_refusal tinyops_slots_finish_transfer(tinyops_slots *slots, tinyops_place running,
                                              bool is_fresh, uint8_t tries,
                                              tinyops_checker checker, void *context);

/* Ends a transfer whose capsule was turned away. */
tinyops_refusal_reason tinyops_slots_refuse_transfer(tinyops_slots *slots, tinyops_refusal refusal);

/* The capsule that waits is tried by the next boots; or goes on waiting in another way. */
tinyops_refusal_reason tinyops_slots_try_held(tinyops_slots *slots, uint8_t tries);
tinyops_refusal_reason tinyops_slots_hold(tinyops_slots *slots, tinyops_when when, uint8_t tries);

/* Lets go of the capsule that waits. */
tinyops_refusal_reason tinyops_slots_drop_held(tinyops_slots *slots, tinyops_place place,
                                       tinyops_refusal refusal);

/* Ends a trial well: its capsule is the one that boots, and no older one may be installed. */
tinyops_refusal_reason tinyops_slots_confirm(tinyops_slots *slots, tinyops_place place, uint32_t sequence);

/* Ends a trial badly. */
tinyops_refusal_reason tinyops_slots_revert_trial(tinyops_slots *slots, tinyops_place place,
                                          tinyops_refusal refusal);

/* What runs if the active capsule must not; TINYOPS_NO_PLACE if nothing can. */
tinyops_place tinyops_slots_fallback(const tinyops_slots *slots);

/* Goes back from the active capsule to another place. */
tinyops_refusal_reason tinyops_slots_go_back(tinyops_slots *slots, tinyops_place place,
                                     tinyops_refusal refusal);

#ifdef __cplusplus
}
#endif

#endif
