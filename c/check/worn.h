/* Flash that fails, as xtask/src/c99/worn.rs is in Rust, fault for fault. */
#ifndef TINYOPS_CHECK_WORN_H
#define TINYOPS_CHECK_WORN_H

#include "../include/tinyops_slots.h"

/* What happens to a word written or a page erased. */
enum {
  /* The power goes in the middle of it. */
  TINYOPS_WORN_CUT = 1,
  /* It is half done, and flash says so; is not done, and flash says so; is half done, and flash says that
   * it is done. */
  TINYOPS_WORN_TORN = 2,
  TINYOPS_WORN_REFUSED = 3,
  TINYOPS_WORN_SILENT = 4,
  /* The fault hits erasing alone, or writing alone. */
  TINYOPS_WORN_ERASES = 16,
  TINYOPS_WORN_WRITES = 32
};

typedef struct tinyops_worn {
  tinyops_flash flash;
  uint8_t *bytes;
  uint64_t seed;
  /* What happens, from which operation on, to how many. */
  uint32_t kind;
  uint32_t at;
  uint32_t count;
  /* What cannot be read until it is erased. */
  uint32_t unreadable;
  uint32_t unreadable_end;
  uint32_t operations;
  bool has_power;
} tinyops_worn;

/* Gives the flash of `worn` what works on its bytes. */
void tinyops_worn_begin(tinyops_worn *worn);

/* FNV-1a of all bytes, of 64 bits. */
uint64_t tinyops_worn_hash(const tinyops_worn *worn);

#endif
