/* How long a boot takes: a capsule is installed and confirmed in slots that lie in RAM; then the same
 * slots are booted, up to where the first op of the network would run. The record is a capsule and its
 * key. It answers line by line:
 *
 *   tinyops-boot 1
 *   install <signatures checked until the capsule was confirmed, its trial and all>
 *   quick <instructions> <signatures checked>   structure of the capsule, and the plan
 *   digest <instructions> <signatures checked>  also every byte of it
 *   end
 */
#include <string.h>

#include "../../include/tinyops_capsule.h"
#include "../../include/tinyops_slots.h"
#include "../record_file.h"
#include "board.h"

#define PAGE_BYTES 4096u
#define BLOCK_BYTES 256u

/* What a boot makes ready, and how it checks. */
typedef struct booted {
  const uint8_t *key;
  bool is_quick;
  uint32_t signatures;
  tinyops_capsule capsule;
  tinyops_plan plan;
} booted;

static uint8_t *region_of(void *context, uint32_t at) {
  return (uint8_t *)context + at;
}

static const uint8_t *mapped(void *context, uint32_t at, uint32_t len) {
  (void)len;
  return region_of(context, at);
}

static bool erase(void *context, uint32_t from, uint32_t to) {
  memset(region_of(context, from), 0xFF, to - from);
  return true;
}

static bool write(void *context, uint32_t at, const uint8_t *bytes, uint32_t len) {
  memcpy(region_of(context, at), bytes, len);
  return true;
}

static bool verify(void *context, const uint8_t key[TINYOPS_KEY_BYTES], const uint8_t *message,
                   size_t len, const uint8_t signature[TINYOPS_SIGNATURE_BYTES]) {
  ((booted *)context)->signatures++;
  return tinyops_ed25519_verify(NULL, key, message, len, signature);
}

static tinyops_refusal check(void *context, const tinyops_slots *slots, tinyops_place place,
                             const uint8_t *capsule, size_t len, bool is_new) {
  booted *into = (booted *)context;
  tinyops_refusal refusal = {TINYOPS_REASON_NONE, 0};
  tinyops_capsule_reason reason;
  const uint8_t *program;
  size_t bytes = 0;
  if (!is_new && into->is_quick) {
    reason = tinyops_capsule_open(&into->capsule, capsule, len);
  } else if (tinyops_slots_is_installed(slots, place)) {
    reason = tinyops_capsule_verify_payload(&into->capsule, capsule, len);
  } else {
    reason = tinyops_capsule_verify(&into->capsule, capsule, len, into->key, 1, verify, into);
  }
  if (reason != TINYOPS_CAPSULE_VERIFIED) {
    refusal.reason = TINYOPS_REASON_MALFORMED;
    return refusal;
  }
  program = tinyops_capsule_section(&into->capsule, TINYOPS_SECTION_PROGRAM, &bytes);
  if (program == NULL ||
      tinyops_plan_load(&into->plan, program, bytes, &tinyops_operators_all).reason != TINYOPS_SOUND) {
    refusal.reason = TINYOPS_REASON_PLAN;
  }
  return refusal;
}

static tinyops_place boot(tinyops_slots *slots, tinyops_flash *flash, booted *into) {
  tinyops_begun begun;
  into->signatures = 0;
  if (!tinyops_slots_open(slots, flash)) return TINYOPS_NO_PLACE;
  begun = tinyops_slots_begin_boot(slots, 1);
  /* Naming keys hashes them, and nobody asks for the name where a capsule that is confirmed is opened. */
  if (begun.trial != TINYOPS_NO_PLACE || !into->is_quick) {
    tinyops_slots_name_keys(slots, into->key, 1, NULL, 0);
  }
  return tinyops_slots_choose(slots, &begun, check, into);
}

/* Installs a capsule and confirms it; answers how many signatures were checked. */
static uint32_t install(tinyops_slots *slots, tinyops_flash *flash, booted *into,
                        const uint8_t *capsule, uint32_t bytes) {
  tinyops_wanted wanted;
  tinyops_when when = {false, 0};
  tinyops_place place = boot(slots, flash, into);
  uint32_t at, checked;
  tinyops_sha256(capsule, bytes, wanted.digest);
  wanted.bytes = bytes;
  wanted.is_delta = false;
  if (tinyops_slots_begin_transfer(slots, &wanted, when, NULL, 0, 1, place).reason != 0) return 0;
  for (at = 0; at < bytes; at += BLOCK_BYTES) {
    const uint32_t len = bytes - at < BLOCK_BYTES ? bytes - at : BLOCK_BYTES;
    if (tinyops_slots_write_block(slots, at, capsule + at, len) != 0) return 0;
  }
  if (tinyops_slots_finish_transfer(slots, place, true, 3, check, into).reason != 0) return 0;
  checked = into->signatures;
  place = boot(slots, flash, into);
  checked += into->signatures;
  return tinyops_slots_confirm(slots, place, into->capsule.manifest.sequence) == 0 ? checked : 0;
}

static void say_number(uint32_t value) {
  char digits[12];
  size_t at = sizeof digits - 1;
  digits[at] = 0;
  do {
    digits[--at] = (char)('0' + value % 10);
    value /= 10;
  } while (value > 0);
  tinyops_board_say(digits + at);
}

static void say_boot(const char *name, tinyops_slots *slots, tinyops_flash *flash, booted *into,
                     uint8_t *memory, size_t room) {
  tinyops_arena arena;
  tinyops_tensor input;
  uint8_t *values = NULL;
  tinyops_place place;
  uint32_t instructions;
  tinyops_board_count_from_now();
  place = boot(slots, flash, into);
  arena = tinyops_arena_of(memory, room);
  (void)tinyops_plan_reset(&into->plan, &arena);
  /* One value of the input as it lies there: not every board here has what quantizing a real number calls. */
  if (tinyops_plan_input(&into->plan, 0, &input)) {
    values = tinyops_arena_bytes(&into->plan, &arena, &input);
  }
  if (values != NULL) values[0] = (uint8_t)input.zero_point;
  instructions = tinyops_board_count();
  if ((place != TINYOPS_SLOT_A && place != TINYOPS_SLOT_B) || values == NULL) {
    tinyops_board_say("refused nothing boots\n");
    tinyops_board_stop(1);
  }
  tinyops_board_say(name);
  say_number(instructions);
  tinyops_board_say(" ");
  say_number(into->signatures);
  tinyops_board_say("\n");
}

void tinyops_board_main(void) {
  const tinyops_check_record record =
      tinyops_check_record_at((const uint8_t *)(uintptr_t)TINYOPS_LOADED);
  const uint32_t pages = (uint32_t)(record.plan_bytes / PAGE_BYTES) + 2;
  static tinyops_slots slots;
  static booted into;
  tinyops_flash flash = {NULL, 0, PAGE_BYTES, 4, 0, NULL, 0, mapped, erase, write};
  uint8_t *memory;
  tinyops_board_say("tinyops-boot 1\n");
  flash.context = tinyops_board_free;
  flash.bytes = (2 * pages + 8) * PAGE_BYTES;
  memory = tinyops_board_free + flash.bytes;
  memset(tinyops_board_free, 0xFF, flash.bytes);
  into.key = record.cases;
  tinyops_board_say("install ");
  say_number(install(&slots, &flash, &into, record.plan, (uint32_t)record.plan_bytes));
  tinyops_board_say("\n");
  into.is_quick = true;
  say_boot("quick ", &slots, &flash, &into, memory, (size_t)(tinyops_board_free_end - memory));
  into.is_quick = false;
  say_boot("digest ", &slots, &flash, &into, memory, (size_t)(tinyops_board_free_end - memory));
  tinyops_board_say("end\n");
  tinyops_board_stop(0);
}
