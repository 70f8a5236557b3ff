#include "worn.h"

#include <string.h>

/* Which bits of an interrupted operation are done, by SplitMix64. */
static uint8_t bits(uint64_t *state) {
  uint64_t z;
  *state += 0x9e3779b97f4a7c15u;
  z = *state;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return (uint8_t)(z >> 56);
}

/* Does an operation to so many bytes; they become those of `done`, or ones where that is NULL. Answers
 * whether flash says that it did. */
static bool operate(tinyops_worn *worn, uint32_t at, const uint8_t *done, uint32_t len) {
  const uint32_t operation = worn->operations++;
  const uint32_t other = done == NULL ? TINYOPS_WORN_WRITES : TINYOPS_WORN_ERASES;
  const bool is_hit = operation >= worn->at && operation - worn->at < worn->count &&
                      (worn->kind & other) == 0;
  const uint32_t kind = is_hit ? worn->kind & 15 : 0;
  uint64_t state = worn->seed ^ (uint64_t)operation * 0x9e3779b9u;
  uint32_t index;
  if (kind == TINYOPS_WORN_REFUSED) return false;
  for (index = 0; index < len; index++) {
    uint8_t *stored = &worn->bytes[at + index];
    const uint8_t torn = kind == 0 ? 0 : bits(&state);
    if (kind == 0) {
      *stored = done == NULL ? 0xFF : done[index];
    } else if (done == NULL) {
      *stored = (uint8_t)(*stored | torn);
    } else {
      *stored = (uint8_t)(*stored & (done[index] | torn));
    }
  }
  if (kind == TINYOPS_WORN_CUT) worn->has_power = false;
  return kind == 0 || kind == TINYOPS_WORN_SILENT;
}

/* Whether bytes are whole units of the region. */
static bool are_whole(const tinyops_worn *worn, uint32_t at, uint32_t len, uint32_t unit) {
  return at % unit == 0 && len % unit == 0 && at <= worn->flash.bytes &&
         len <= worn->flash.bytes - at;
}

static const uint8_t *mapped(void *context, uint32_t at, uint32_t len) {
  const tinyops_worn *worn = (const tinyops_worn *)context;
  if (worn->unreadable < at + len && at < worn->unreadable_end) return NULL;
  if (at > worn->flash.bytes || len > worn->flash.bytes - at) return NULL;
  return worn->bytes + at;
}

static bool erase(void *context, uint32_t from, uint32_t to) {
  tinyops_worn *worn = (tinyops_worn *)context;
  const uint32_t page = worn->flash.page_bytes;
  if (from > to || !are_whole(worn, from, to - from, page)) return false;
  for (; from < to; from += page) {
    if (!worn->has_power) return false;
    if (worn->unreadable < from + page && from < worn->unreadable_end) {
      worn->unreadable = worn->unreadable_end = 0;
    }
    if (!operate(worn, from, NULL, page)) return false;
  }
  return true;
}

static bool write(void *context, uint32_t at, const uint8_t *bytes, uint32_t len) {
  tinyops_worn *worn = (tinyops_worn *)context;
  const uint32_t unit = worn->flash.write_bytes;
  uint32_t done, index;
  if (!are_whole(worn, at, len, unit)) return false;
  for (done = 0; done < len; done += unit) {
    if (!worn->has_power) return false;
    for (index = 0; index < unit; index++) {
      if (worn->bytes[at + done + index] != 0xFF) return false;
    }
    if (!operate(worn, at + done, bytes + done, unit)) return false;
  }
  return true;
}

void tinyops_worn_begin(tinyops_worn *worn) {
  worn->flash.context = worn;
  worn->flash.mapped = mapped;
  worn->flash.erase = erase;
  worn->flash.write = write;
  worn->kind = worn->at = worn->count = worn->operations = 0;
  worn->unreadable = worn->unreadable_end = 0;
  worn->has_power = true;
}

uint64_t tinyops_worn_hash(const tinyops_worn *worn) {
  uint64_t hash = 0xcbf29ce484222325u;
  uint32_t index;
  for (index = 0; index < worn->flash.bytes; index++) {
    hash = (hash ^ worn->bytes[index]) * 0x100000001b3u;
  }
  return hash;
}
