/* Two copies, each of which begins with the key set and goes on as a row of records. The newest whole
 * record counts. A new one goes to the next erased place of both copies, one after the other, and is read
 * back. A copy that is full, or whose key set is no longer the one in force, is erased and begun while
 * the other stands. So one copy may be torn, decay or be unreadable, and nothing is lost. */
#include "journal.h"

#include <string.h>

#include "../bytes.h"
#include "../crc.h"
#include "journal_record.h"

#define OLD_RECORD_BYTES 128u
#define KEY_SET_AREA_BYTES 512u
#define KEY_SET_HEADER_BYTES 12u
/* The first place behind the key set. */
#define FIRST_PLACE (KEY_SET_AREA_BYTES / TINYOPS_RECORD_BYTES)
/* Fewest bytes of one copy: a key set and a few records. */
#define COPY_BYTES_MIN 1024u
#define NO_RECORD UINT32_MAX

static const uint8_t key_set_magic[4] = {'T', 'O', 'P', 'K'};

/* A key set as it is written: to whole write units, and none if there are no bytes. */
typedef struct key_set_area {
  uint8_t bytes[KEY_SET_AREA_BYTES];
  uint32_t len;
} key_set_area;

bool tinyops_layout_of(tinyops_slots *slots, const tinyops_flash *flash) {
  const uint32_t page = flash->page_bytes, unit = flash->write_bytes;
  uint32_t left, own_head, journal;
  if (unit == 0 || unit > TINYOPS_WRITE_BYTES_MAX || page == 0 || page > 0x1000000u ||
      page % unit != 0 || flash->own_head_bytes > 0x1000000u) {
    return false;
  }
  own_head = tinyops_whole_units(flash->own_head_bytes, page);
  journal = tinyops_whole_units(COPY_BYTES_MIN, page);
  left = flash->bytes;
  if (own_head > 0) {
    left = left / page * page;
    left = left > 2 * own_head ? left - 2 * own_head : 0;
  }
  left = left > 2 * journal ? left - 2 * journal : 0;
  slots->flash = flash;
  slots->journal_bytes = journal;
  slots->slot_bytes = left / 2 / page * page;
  return slots->slot_bytes > TINYOPS_STATEMENT_AREA_BYTES;
}

const uint8_t *tinyops_mapped(const tinyops_slots *slots, uint32_t at, uint32_t len) {
  return slots->flash->mapped(slots->flash->context, at, len);
}

bool tinyops_is_blank(const uint8_t *bytes, uint32_t len) {
  if (bytes == NULL) return false;
  /* A boot looks at every place of the journal: sixteen bytes at a time it takes a quarter as long. */
  for (; len >= 16; len -= 16, bytes += 16) {
    const uint32_t first = tinyops_read_u32(bytes) & tinyops_read_u32(bytes + 4);
    const uint32_t last = tinyops_read_u32(bytes + 8) & tinyops_read_u32(bytes + 12);
    if ((first & last) != UINT32_MAX) return false;
  }
  for (; len > 0; len--, bytes++) {
    if (*bytes != 0xFF) return false;
  }
  return true;
}

static uint32_t place_count(const tinyops_slots *slots) {
  return slots->journal_bytes / TINYOPS_RECORD_BYTES;
}

static const uint8_t *place_at(const tinyops_slots *slots, uint32_t copy, uint32_t place,
                               uint32_t record_bytes) {
  return tinyops_mapped(slots, copy * slots->journal_bytes + place * record_bytes, record_bytes);
}

/* Reads a copy whose records have so many bytes: what is known of it, its newest record, and how many
 * damaged ones lie behind that. Places are used one after the other, so the last whole record is the
 * newest, and a gap tells of an erase that did not end. */
static const uint8_t *scan_of(const tinyops_slots *slots, uint32_t copy, uint32_t record_bytes,
                              tinyops_journal_copy *copied, uint32_t *damaged) {
  const uint32_t first_place = KEY_SET_AREA_BYTES / record_bytes;
  const uint8_t *newest = NULL;
  uint32_t used = first_place, place = slots->journal_bytes / record_bytes;
  bool has_gap = false;
  copied->newest = NO_RECORD;
  copied->key_set = copied->number = *damaged = 0;
  copied->record_bytes = record_bytes;
  while (place-- > 0) {
    const uint8_t *bytes = place_at(slots, copy, place, record_bytes);
    const bool is_blank = tinyops_is_blank(bytes, record_bytes);
    uint32_t version = 0;
    if (newest != NULL) {
      if (place >= first_place && is_blank) has_gap = true;
      continue;
    }
    if (bytes != NULL && !is_blank) version = tinyops_record_version(bytes, record_bytes);
    /* Where the key set is now, there were records in version 1 alone. */
    if (place < first_place && version != 1) continue;
    if (is_blank) {
      if (used > place) has_gap = true;
      continue;
    }
    if (used < place + 1) used = place + 1;
    if (version == 0) {
      ++*damaged;
      continue;
    }
    newest = bytes;
    copied->newest = place;
    copied->number = tinyops_read_u32(bytes + 8);
    copied->key_set = tinyops_read_u32(bytes + 108);
  }
  copied->next = has_gap || record_bytes != TINYOPS_RECORD_BYTES ? place_count(slots) : used;
  return newest;
}

static const uint8_t *scan(const tinyops_slots *slots, uint32_t copy,
                           tinyops_journal_copy *copied, uint32_t *damaged) {
  tinyops_journal_copy old;
  uint32_t old_damaged;
  const uint8_t *newest = scan_of(slots, copy, TINYOPS_RECORD_BYTES, copied, damaged);
  if (newest != NULL) return newest;
  /* A copy of before version 4 has to be erased before it is written. */
  newest = scan_of(slots, copy, OLD_RECORD_BYTES, &old, &old_damaged);
  if (newest != NULL) {
    *copied = old;
    *damaged = old_damaged;
  }
  return newest;
}

void tinyops_journal_open(tinyops_slots *slots) {
  tinyops_journal_record *record = &slots->record;
  uint32_t damaged[2], copy;
  bool is_any = false;
  tinyops_record_new(record);
  for (copy = 0; copy < 2; copy++) {
    const uint8_t *newest = scan(slots, copy, &slots->copies[copy], &damaged[copy]);
    if (newest == NULL || (is_any && slots->copies[copy].number < record->number)) continue;
    tinyops_record_decode(record, newest, slots->copies[copy].record_bytes);
    is_any = true;
  }
  slots->attempted = record->number;
  for (copy = 0; copy < 2; copy++) {
    tinyops_journal_copy *copied = &slots->copies[copy];
    const bool has_one = copied->newest != NO_RECORD;
    const uint32_t most = tinyops_add_capped(has_one ? copied->number : record->number, damaged[copy]);
    if (most > slots->attempted) slots->attempted = most;
    /* A copy that lags by more than the record being written was being erased, and flash that is erased
     * in part can look blank. */
    if (!has_one || tinyops_add_capped(copied->number, 1) < record->number) {
      copied->next = place_count(slots);
    }
  }
  slots->lost = slots->attempted - record->number;
}

/* The signed key set in force, as a copy has it. */
static const uint8_t *key_set_of(const tinyops_slots *slots, uint32_t copy, size_t *len) {
  const uint8_t *area;
  uint32_t bytes;
  if (slots->copies[copy].key_set != slots->record.key_set) return NULL;
  area = tinyops_mapped(slots, copy * slots->journal_bytes, KEY_SET_AREA_BYTES);
  if (area == NULL || memcmp(area, key_set_magic, sizeof key_set_magic) != 0) return NULL;
  bytes = tinyops_read_u16(area + 4);
  if (bytes > TINYOPS_KEY_SET_BYTES_MAX || tinyops_read_u16(area + 6) != 0) return NULL;
  if (tinyops_crc32(area + KEY_SET_HEADER_BYTES, bytes) != tinyops_read_u32(area + 8)) return NULL;
  *len = bytes;
  return area + KEY_SET_HEADER_BYTES;
}

const uint8_t *tinyops_slots_key_set(const tinyops_slots *slots, size_t *len) {
  const uint8_t *first;
  if (slots->record.key_set == 0) return NULL;
  first = key_set_of(slots, 0, len);
  return first != NULL ? first : key_set_of(slots, 1, len);
}

/* Whether a copy holds the key set in force, if it is not the firmware's own. */
static bool has_keys(const tinyops_slots *slots, uint32_t copy) {
  size_t len;
  return slots->record.key_set == 0 || key_set_of(slots, copy, &len) != NULL;
}

/* Whether a copy holds the newest record, and can be read. */
static bool has_newest(const tinyops_slots *slots, uint32_t copy) {
  const tinyops_journal_copy *copied = &slots->copies[copy];
  const uint8_t *bytes;
  if (copied->newest == NO_RECORD || copied->number != slots->record.number) return false;
  bytes = place_at(slots, copy, copied->newest, copied->record_bytes);
  return bytes != NULL && tinyops_record_version(bytes, copied->record_bytes) != 0 &&
         tinyops_read_u32(bytes + 8) == slots->record.number;
}

/* Whether a copy cannot take a record under a key set as it is. */
static bool must_erase(const tinyops_slots *slots, uint32_t copy, uint32_t key_set) {
  const tinyops_journal_copy *copied = &slots->copies[copy];
  return copied->next >= place_count(slots) || copied->key_set != key_set ||
         (!has_keys(slots, copy) && has_keys(slots, 1 - copy));
}

/* Writes bytes and reads them back. */
static bool write_whole(const tinyops_slots *slots, uint32_t at, const uint8_t *bytes,
                        uint32_t len) {
  const uint8_t *stored;
  if (!slots->flash->write(slots->flash->context, at, bytes, len)) return false;
  stored = tinyops_mapped(slots, at, len);
  return stored != NULL && memcmp(stored, bytes, len) == 0;
}

/* Erases a copy and begins it with the key set. */
static bool begin_copy(tinyops_slots *slots, uint32_t copy, uint32_t key_set,
                       const key_set_area *area) {
  const uint32_t start = copy * slots->journal_bytes, other = 1 - copy;
  tinyops_journal_copy *copied = &slots->copies[copy];
  /* Whatever fails next, a copy must stand that is no worse. */
  if (!(has_newest(slots, other) || !has_newest(slots, copy)) ||
      !(has_keys(slots, other) || !has_keys(slots, copy))) {
    return false;
  }
  copied->key_set = key_set;
  copied->newest = NO_RECORD;
  copied->number = 0;
  copied->next = place_count(slots);
  copied->record_bytes = TINYOPS_RECORD_BYTES;
  if (!slots->flash->erase(slots->flash->context, start, start + slots->journal_bytes) ||
      !tinyops_is_blank(tinyops_mapped(slots, start, slots->journal_bytes),
                        slots->journal_bytes)) {
    return false;
  }
  if (area->len > 0 && !write_whole(slots, start, area->bytes, area->len)) return false;
  copied->next = FIRST_PLACE;
  return true;
}

/* Writes a record, whose bytes are these. */
static bool write_copy(tinyops_slots *slots, uint32_t copy, const tinyops_journal_record *record,
                       const uint8_t bytes[TINYOPS_RECORD_BYTES], const key_set_area *area) {
  tinyops_journal_copy *copied = &slots->copies[copy];
  uint32_t place;
  if (must_erase(slots, copy, record->key_set) &&
      !begin_copy(slots, copy, record->key_set, area)) {
    return false;
  }
  place = copied->next++;
  if (!write_whole(slots, copy * slots->journal_bytes + place * TINYOPS_RECORD_BYTES, bytes,
                   TINYOPS_RECORD_BYTES)) {
    return false;
  }
  copied->newest = place;
  copied->number = record->number;
  return true;
}

/* How much a copy is the one to be written last: the one that must be erased, that is sound, that holds a
 * record before the newest should that be lost. */
static uint32_t rank_of(const tinyops_slots *slots, uint32_t copy, uint32_t key_set) {
  const uint32_t newest = slots->copies[copy].newest;
  const bool is_sound = has_keys(slots, copy) && has_newest(slots, copy);
  const bool has_older = newest != NO_RECORD && newest > FIRST_PLACE;
  return (must_erase(slots, copy, key_set) ? 4u : 0u) + (is_sound ? 2u : 0u) +
         (has_older ? 1u : 0u);
}

static bool write_with(tinyops_slots *slots, tinyops_journal_record *record,
                       const key_set_area *area) {
  uint8_t bytes[TINYOPS_RECORD_BYTES];
  uint32_t first, turn;
  bool is_written = false;
  /* A number is used once, though what bore it may never be seen: two records of one number could not be
   * told apart after a reset. */
  slots->attempted = tinyops_add_capped(slots->attempted, 1);
  record->number = slots->attempted;
  tinyops_record_encode(record, bytes);
  first = rank_of(slots, 1, record->key_set) < rank_of(slots, 0, record->key_set) ? 1 : 0;
  for (turn = 0; turn < 2; turn++) {
    const uint32_t copy = turn == 0 ? first : 1 - first, other = 1 - copy;
    /* A copy that has just been begun holds nothing but this record, and once only: it gets it once more
     * before the other copy is erased too. */
    if (is_written && slots->copies[other].newest == FIRST_PLACE &&
        must_erase(slots, copy, record->key_set)) {
      (void)write_copy(slots, other, record, bytes, area);
    }
    /* A place that fails is spoilt; one more attempt goes behind it. */
    if (write_copy(slots, copy, record, bytes, area) ||
        write_copy(slots, copy, record, bytes, area)) {
      is_written = true;
      slots->record = *record;
    }
  }
  return is_written;
}

static void lay_out(key_set_area *area, const uint8_t *key_set, size_t len) {
  memset(area->bytes, 0xFF, sizeof area->bytes);
  memcpy(area->bytes, key_set_magic, sizeof key_set_magic);
  tinyops_write_u32(area->bytes + 4, (uint32_t)len);
  tinyops_write_u32(area->bytes + 8, tinyops_crc32(key_set, len));
  memcpy(area->bytes + KEY_SET_HEADER_BYTES, key_set, len);
  area->len = tinyops_whole_units(KEY_SET_HEADER_BYTES + (uint32_t)len, TINYOPS_WRITE_BYTES_MAX);
}

bool tinyops_journal_write(tinyops_slots *slots, tinyops_journal_record *record) {
  key_set_area area;
  size_t len = 0;
  const uint8_t *key_set = tinyops_slots_key_set(slots, &len);
  area.len = 0;
  if (key_set != NULL) lay_out(&area, key_set, len);
  return write_with(slots, record, &area);
}

bool tinyops_journal_write_key_set(tinyops_slots *slots, tinyops_journal_record *record,
                                   const uint8_t *key_set, size_t len) {
  key_set_area area;
  if (len > TINYOPS_KEY_SET_BYTES_MAX) return false;
  lay_out(&area, key_set, len);
  /* It goes before the records: each copy is begun anew. */
  slots->copies[0].next = slots->copies[1].next = place_count(slots);
  return write_with(slots, record, &area);
}
