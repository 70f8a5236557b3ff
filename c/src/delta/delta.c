#include "../../include/tinyops_delta.h"

#include <string.h>

#include "../../include/tinyops_capsule.h"
#include "../bytes.h"
#include "../quantize.h"
#include "coder.h"

/* Residuals by how large those before them were; the row of the lowest class, where runs of zeros are
 * counted. */
#define CLASSES 10u
#define QUIET (CLASSES - 1)
/* Lengths of a residual of one byte, and of the runs of zeros that adapt on their own. */
#define LENGTHS 8u
#define RUN_LENGTHS 8u
/* Quotients of wide residuals that adapt on their own, and the one that says that the whole follows. */
#define QUOTIENTS 12u
#define QUOTIENT_MAX 20u
/* Where the other probabilities lie: those of the bits below the highest, of runs, of quotients. */
#define TOPS (3 * (LENGTHS - 1))
#define OTHERS (TOPS + RUN_LENGTHS + QUOTIENTS)
/* Channels whose sums of residuals are kept apart; further ones share with the first. */
#define CHANNELS 64u

enum { SKIP = 0, DELTA = 1, FRESH = 2, RAW = 3 };

tinyops_delta_reason tinyops_delta_read(tinyops_delta_header *header, const uint8_t *delta,
                                        size_t len) {
  static const uint8_t magic[4] = {'T', 'O', 'P', 'D'};
  if (len < TINYOPS_DELTA_HEADER_BYTES) return TINYOPS_DELTA_TRUNCATED;
  if (memcmp(delta, magic, sizeof magic) != 0) return TINYOPS_DELTA_MAGIC;
  if (delta[4] != 2) return TINYOPS_DELTA_VERSION;
  memcpy(header->base, delta + 5, TINYOPS_DELTA_NAME_BYTES);
  memcpy(header->result, delta + 13, TINYOPS_DELTA_NAME_BYTES);
  header->bytes = tinyops_read_u32(delta + 21);
  return TINYOPS_DELTA_MADE;
}

void tinyops_delta_name(const uint8_t *image, size_t len, uint8_t name[TINYOPS_DELTA_NAME_BYTES]) {
  uint8_t digest[TINYOPS_DIGEST_BYTES] = {0};
  if (len > 0) tinyops_sha256(image, len, digest);
  memcpy(name, digest, TINYOPS_DELTA_NAME_BYTES);
}

static void set(tinyops_probability *probability, uint16_t of_65536) {
  probability->fast = probability->slow = of_65536;
}

tinyops_delta_reason tinyops_delta_begin(tinyops_delta_decoder *decoder, const uint8_t *delta,
                                         size_t len, const uint8_t name[TINYOPS_DELTA_NAME_BYTES]) {
  /* How likely it is at first that a length is greater than 0 in the highest class, than 1 there or
   * than 0 in the class below, and so on. */
  static const uint16_t greater[CLASSES + LENGTHS - 1] = {
      63536, 63536, 63536, 61636, 58336, 51736, 40036, 22936, 4936,
      336,   336,   336,   336,   336,   336,   336,   336,
  };
  tinyops_delta_header header;
  uint32_t row, length;
  const tinyops_delta_reason reason = tinyops_delta_read(&header, delta, len);
  if (reason != TINYOPS_DELTA_MADE) return reason;
  if (memcmp(header.base, name, sizeof header.base) != 0) return TINYOPS_DELTA_BASE;
  if (len < TINYOPS_DELTA_HEADER_BYTES + 4) return TINYOPS_DELTA_TRUNCATED;
  memset(decoder, 0, sizeof *decoder);
  for (row = 0; row < CLASSES; row++) {
    for (length = 0; length < LENGTHS; length++) {
      set(&decoder->lengths[row][length], greater[row + length]);
    }
  }
  for (row = 0; row < OTHERS; row++) set(&decoder->others[row], 32768);
  delta += TINYOPS_DELTA_HEADER_BYTES;
  decoder->range = UINT32_MAX;
  decoder->code = (uint32_t)delta[0] << 24 | (uint32_t)delta[1] << 16 | (uint32_t)delta[2] << 8 |
                  (uint32_t)delta[3];
  decoder->at = TINYOPS_DELTA_HEADER_BYTES + 4;
  decoder->bytes = header.bytes;
  return TINYOPS_DELTA_MADE;
}

static tinyops_delta_reason next_span(tinyops_delta_decoder *decoder, tinyops_coder *coder,
                                      size_t base_len) {
  const uint32_t head = tinyops_coder_even(coder, 3), bytes = tinyops_coder_count(coder);
  const uint8_t mode = (uint8_t)(head >> 1);
  /* Spans lie side by side in the old image too, where nothing else is said. */
  uint32_t old = decoder->old + decoder->span_bytes;
  if ((head & 1) == 1) {
    /* The distance and, as its lowest bit, whether it leads back. */
    const uint32_t moved = tinyops_coder_count(coder) - 1;
    old += moved >> 1 ^ (0u - (moved & 1));
  }
  decoder->width = 1;
  decoder->has_layout = false;
  decoder->zero_point = 0;
  if (mode == DELTA || mode == FRESH) {
    const uint32_t form = tinyops_coder_even(coder, 8);
    decoder->scale = form & 31;
    decoder->width = (uint8_t)((form >> 6) + 1);
    if (form >> 5 == 1) {
      decoder->inner = tinyops_coder_count(coder);
      decoder->channels = tinyops_coder_count(coder);
      decoder->times = tinyops_coder_count(coder);
      decoder->has_layout = true;
      memset(decoder->sums, 0, sizeof decoder->sums);
    } else if ((form >> 5 & 1) == 1) {
      decoder->zero_point = (int8_t)(uint8_t)tinyops_coder_even(coder, 8);
    }
  }
  /* Nothing is left of a span that is refused. */
  decoder->span_bytes = decoder->done = 0;
  if (coder->at == TINYOPS_DELTA_LACKING) return TINYOPS_DELTA_TRUNCATED;
  if (bytes > decoder->bytes - decoder->made ||
      ((mode == SKIP || mode == DELTA) && (uint64_t)old + bytes > base_len) ||
      ((mode == SKIP || mode == DELTA) && (uint64_t)old + bytes > UINT32_MAX)) {
    return TINYOPS_DELTA_SPAN;
  }
  decoder->mode = mode;
  decoder->span_bytes = bytes;
  decoder->old = old;
  decoder->magnitude = decoder->scale < 30 ? 4u << decoder->scale : 0;
  decoder->has_run = false;
  return TINYOPS_DELTA_MADE;
}

/* The row of the lengths' probabilities: QUIET where all were zero for a while, then one less for each
 * doubling; CLASSES for what no encoder writes. */
static uint32_t row_of(uint32_t magnitude) {
  uint32_t row = QUIET;
  if (magnitude < 4 || magnitude >= 8u << QUIET) return CLASSES;
  for (; magnitude >= 8; magnitude >>= 1) row--;
  return row;
}

/* The amount of a residual of one byte that is more than 1. */
static uint32_t longer(tinyops_coder *coder, tinyops_probability *lengths,
                       tinyops_probability *others) {
  uint32_t left = tinyops_coder_ones(coder, lengths, LENGTHS - 2, LENGTHS - 2);
  uint32_t top = 3 * left, amount = 1, count = left > 0 ? 2 : 1;
  for (; count > 0; count--) {
    const uint32_t bit = tinyops_coder_ones(coder, &others[top], 1, 1);
    amount = amount << 1 | bit;
    top += 1 + bit;
  }
  if (left > 0) left--;
  return amount << left | tinyops_coder_even(coder, left);
}

/* The channel that a weight of the span belongs to. */
static uint32_t channel_of(const tinyops_delta_decoder *decoder, uint32_t index) {
  const uint32_t turn = index / decoder->inner;
  const uint32_t group = turn / decoder->channels / decoder->times;
  return group * decoder->channels + turn % decoder->channels;
}

/* Passes over zeros of a quiet stretch, at most `left`; answers how many. */
static uint32_t pass_zeros(tinyops_delta_decoder *decoder, tinyops_coder *coder, uint32_t left) {
  uint32_t zeros = decoder->run, here;
  if (!decoder->has_run) {
    zeros = tinyops_coder_below(
        coder, tinyops_coder_ones(coder, decoder->others + TOPS, RUN_LENGTHS, 31));
  }
  here = zeros < left ? zeros : left;
  /* Once a run is over, what follows is not zero. */
  decoder->has_run = here > 0;
  decoder->run = zeros - here;
  return here;
}

/* Adds residuals to numbers of one byte, and to the sums of their channels. */
static void add_narrow(tinyops_delta_decoder *decoder, tinyops_coder *coder, uint8_t *out,
                       uint32_t count) {
  uint32_t index = 0;
  while (index < count) {
    const uint32_t row = row_of(decoder->magnitude);
    tinyops_probability *lengths;
    uint32_t amount = 1, both;
    bool is_negative, is_longer;
    if (row == CLASSES) return;
    lengths = decoder->lengths[row];
    if (row == QUIET) {
      const uint32_t zeros = pass_zeros(decoder, coder, count - index);
      index += zeros;
      if (zeros > 0) continue;
    } else {
      decoder->magnitude -= decoder->magnitude >> 3;
      if (!tinyops_coder_bit(coder, &lengths[0])) {
        tinyops_coder_fill_up(coder);
        index++;
        continue;
      }
    }
    /* The sign, and whether the amount is more than 1. */
    coder->range >>= 1;
    is_negative = coder->code >= coder->range;
    if (is_negative) coder->code -= coder->range;
    both = (uint32_t)lengths[1].fast + lengths[1].slow;
    is_longer = tinyops_coder_split(coder, (coder->range >> 9) * ((both + 128) >> 8));
    tinyops_probability_learn(&lengths[1], is_longer);
    tinyops_coder_fill_up(coder);
    if (is_longer) amount = longer(coder, lengths + 2, decoder->others);
    decoder->magnitude += (amount < 63 ? amount : 63) << 3;
    if (is_negative) amount = 0u - amount;
    if (decoder->has_layout) {
      int16_t *sum = &decoder->sums[channel_of(decoder, decoder->done + index) % CHANNELS];
      *sum = (int16_t)(uint16_t)(((uint32_t)*sum + amount) & 0xFFFF);
    }
    out[index] = (uint8_t)((out[index] + amount) & 0xFF);
    index++;
  }
}

/* A residual of more bytes: its quotient by a power of two, and the rest. */
static uint32_t wide_residual(tinyops_delta_decoder *decoder, tinyops_coder *coder) {
  const uint32_t quotient =
      tinyops_coder_ones(coder, decoder->others + TOPS + RUN_LENGTHS, QUOTIENTS, QUOTIENT_MAX);
  const uint32_t folded =
      quotient < QUOTIENT_MAX
          ? quotient << decoder->scale | tinyops_coder_even(coder, decoder->scale)
          : tinyops_coder_even(coder, 32);
  /* Signs lie in the lowest bit. */
  return folded >> 1 ^ (0u - (folded & 1));
}

/* Adds residuals to numbers of more bytes, one of which may have been begun. */
static void add_wide(tinyops_delta_decoder *decoder, tinyops_coder *coder, uint8_t *out,
                     uint32_t count) {
  uint32_t at;
  for (at = 0; at < count; at++) {
    const uint32_t index = decoder->done + at;
    int32_t sum;
    if (index % decoder->width == 0) {
      const int32_t of_channel = decoder->sums[index / decoder->width % CHANNELS];
      const int32_t folded = decoder->zero_point * of_channel;
      decoder->number = (int32_t)(wide_residual(decoder, coder) - (uint32_t)folded);
    }
    /* A carry goes to the next byte. */
    sum = (int32_t)((uint32_t)decoder->number + out[at]);
    out[at] = (uint8_t)((uint32_t)sum & 0xFF);
    decoder->number = tinyops_shift_right(sum, 8);
  }
}

/* Makes some bytes of the span. */
static void make(tinyops_delta_decoder *decoder, tinyops_coder *coder, const uint8_t *base,
                 uint8_t *out, uint32_t count) {
  if (decoder->mode == SKIP || decoder->mode == DELTA) {
    memcpy(out, base + decoder->old + decoder->done, count);
  } else {
    memset(out, 0, count);
  }
  if (decoder->mode == RAW) {
    uint32_t index;
    for (index = 0; index < count; index++) out[index] = (uint8_t)tinyops_coder_even(coder, 8);
  } else if (decoder->mode != SKIP && decoder->width > 1) {
    add_wide(decoder, coder, out, count);
  } else if (decoder->mode != SKIP) {
    add_narrow(decoder, coder, out, count);
  }
  decoder->done += count;
  decoder->made += count;
}

tinyops_delta_reason tinyops_delta_fill(tinyops_delta_decoder *decoder, const uint8_t *delta,
                                        size_t len, const uint8_t *base, size_t base_len,
                                        uint8_t *out, size_t room, size_t *filled) {
  const uint32_t left = decoder->bytes - decoder->made;
  const uint32_t wanted = room < left ? (uint32_t)room : left;
  tinyops_coder coder;
  uint32_t at = 0;
  coder.delta = delta;
  coder.len = len;
  coder.range = decoder->range;
  coder.code = decoder->code;
  coder.at = decoder->at;
  *filled = 0;
  while (at < wanted) {
    uint32_t count;
    if (decoder->done == decoder->span_bytes) {
      const tinyops_delta_reason reason = next_span(decoder, &coder, base_len);
      if (reason != TINYOPS_DELTA_MADE) return reason;
    }
    count = decoder->span_bytes - decoder->done;
    if (count > wanted - at) count = wanted - at;
    make(decoder, &coder, base, out + at, count);
    at += count;
  }
  decoder->range = coder.range;
  decoder->code = coder.code;
  decoder->at = coder.at;
  if (coder.at == TINYOPS_DELTA_LACKING) return TINYOPS_DELTA_TRUNCATED;
  if (decoder->made == decoder->bytes) {
    if (coder.at != len) return TINYOPS_DELTA_TRAILING;
    /* The encoder ends on the least code that means what it wrote. */
    if (coder.code != 0) return TINYOPS_DELTA_DAMAGED;
  }
  *filled = wanted;
  return TINYOPS_DELTA_MADE;
}

tinyops_delta_reason tinyops_delta_apply(tinyops_delta_decoder *decoder, const uint8_t *delta,
                                         size_t len, const uint8_t *base, size_t base_len,
                                         uint8_t *out, size_t room) {
  uint8_t name[TINYOPS_DELTA_NAME_BYTES], digest[TINYOPS_DIGEST_BYTES];
  tinyops_delta_header header;
  tinyops_delta_reason reason;
  size_t filled;
  tinyops_delta_name(base, base_len, name);
  reason = tinyops_delta_begin(decoder, delta, len, name);
  if (reason != TINYOPS_DELTA_MADE) return reason;
  if (decoder->bytes > room) return TINYOPS_DELTA_ROOM;
  reason = tinyops_delta_fill(decoder, delta, len, base, base_len, out, decoder->bytes, &filled);
  if (reason != TINYOPS_DELTA_MADE) return reason;
  (void)tinyops_delta_read(&header, delta, len);
  /* An image of no bytes has a digest too, where an old one of none has no name. */
  tinyops_sha256(out, header.bytes, digest);
  return memcmp(digest, header.result, sizeof name) == 0 ? TINYOPS_DELTA_MADE
                                                         : TINYOPS_DELTA_RESULT;
}
