/* Whom the device believes now: its firmware's keys, or those of a key set that came later. */
#ifndef TINYOPS_AGENT_KEYS_H
#define TINYOPS_AGENT_KEYS_H

#include "../../c/include/tinyops_slots.h"
#include "../../c/include/tinyops_trust.h"

/* The keys that count, and a key set on its way in, whose parts come in any order. */
typedef struct tinyops_keys {
  /* Of the firmware. */
  const tinyops_roots *roots;
  const tinyops_key_set *own;
  /* No keys, and the number 0, where flash has lost a key set that was newer than the firmware's own: nothing
   * new is believed until it, or a newer one, comes again. */
  tinyops_key_set in_force;
  uint32_t lost;
  uint32_t sequence;
  uint16_t total;
  uint8_t bytes[TINYOPS_SIGNED_KEY_SET_BYTES_MAX];
  /* A bit for each byte. */
  uint8_t has[(TINYOPS_SIGNED_KEY_SET_BYTES_MAX + 7) / 8];
} tinyops_keys;

/* Finds the keys in force, and names them to the slots, whose journal has been read. */
void tinyops_keys_begin(tinyops_keys *keys, tinyops_slots *slots, const tinyops_roots *roots,
                        const tinyops_key_set *own);

/* Takes a part of a key set: its number, the bytes of the whole, where the part begins, and the part. True
 * where that is to be told: the key set is there and in force from now on, or is refused. */
bool tinyops_keys_take(tinyops_keys *keys, tinyops_slots *slots, const uint8_t *part, size_t len,
                       tinyops_refusal *refusal);

#endif
