#include "payload.h"

#include <string.h>

#include "../bytes.h"
#include "../crc.h"

#define HEADER_BYTES 8u
#define ENTRY_BYTES 16u
#define SECTIONS_MAX 16u

/* Where an entry of the table says that its section is. */
typedef struct entry {
  uint64_t start;
  uint64_t end;
  uint32_t crc;
  uint16_t id;
  uint16_t zero;
} entry;

static entry read_entry(const uint8_t *bytes, size_t index) {
  const uint8_t *at = bytes + HEADER_BYTES + ENTRY_BYTES * index;
  entry read;
  read.id = tinyops_read_u16(at);
  read.zero = tinyops_read_u16(at + 2);
  read.start = tinyops_read_u32(at + 4);
  read.end = read.start + tinyops_read_u32(at + 8);
  read.crc = tinyops_read_u32(at + 12);
  return read;
}

tinyops_capsule_reason tinyops_payload_check(const uint8_t *bytes, size_t len, bool has_crcs) {
  static const uint8_t magic[4] = {'T', 'O', 'P', 'P'};
  size_t count, index;
  uint64_t end;
  uint16_t last = 0;
  if (len < 4 || memcmp(bytes, magic, sizeof magic) != 0) return TINYOPS_CAPSULE_PAYLOAD_MAGIC;
  if (len < 6) return TINYOPS_CAPSULE_PAYLOAD_LENGTH;
  if (tinyops_read_u16(bytes + 4) != 1) return TINYOPS_CAPSULE_PAYLOAD_VERSION;
  if (len < HEADER_BYTES) return TINYOPS_CAPSULE_PAYLOAD_LENGTH;
  count = tinyops_read_u16(bytes + 6);
  if (count > SECTIONS_MAX) return TINYOPS_CAPSULE_PAYLOAD_SECTIONS;
  end = HEADER_BYTES + ENTRY_BYTES * count;
  for (index = 0; index < count; index++) {
    entry section;
    if (len < HEADER_BYTES + ENTRY_BYTES * (index + 1)) return TINYOPS_CAPSULE_PAYLOAD_LENGTH;
    section = read_entry(bytes, index);
    if (section.zero != 0) return TINYOPS_CAPSULE_PAYLOAD_LENGTH;
    if (section.id <= last || section.start % TINYOPS_CAPSULE_ALIGN != 0 || section.start < end) {
      return TINYOPS_CAPSULE_PAYLOAD_SECTIONS;
    }
    if (section.end > len) return TINYOPS_CAPSULE_PAYLOAD_LENGTH;
    if (has_crcs &&
        tinyops_crc32(bytes + section.start, (size_t)(section.end - section.start)) != section.crc) {
      return TINYOPS_CAPSULE_PAYLOAD_CRC;
    }
    last = section.id;
    end = section.end;
  }
  return end == len ? TINYOPS_CAPSULE_VERIFIED : TINYOPS_CAPSULE_PAYLOAD_LENGTH;
}

const uint8_t *tinyops_capsule_section(const tinyops_capsule *capsule, tinyops_section id,
                                       size_t *len) {
  size_t count, index;
  if (capsule->payload == NULL) return NULL;
  count = tinyops_read_u16(capsule->payload + 6);
  for (index = 0; index < count; index++) {
    const entry section = read_entry(capsule->payload, index);
    if (section.id == (uint16_t)id) {
      *len = (size_t)(section.end - section.start);
      return capsule->payload + section.start;
    }
  }
  return NULL;
}
