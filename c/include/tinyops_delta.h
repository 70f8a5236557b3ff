/* A delta: what makes a new image out of an old one. Format: docs/formats/delta.md.
 *
 * The decoder is that of the Rust crate tinyops-wire, byte for byte and refusal for refusal. */
#ifndef TINYOPS_DELTA_H
#define TINYOPS_DELTA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Bytes of a digest by which a delta knows an image. */
#define TINYOPS_DELTA_NAME_BYTES 8
/* Bytes before the coded spans. */
#define TINYOPS_DELTA_HEADER_BYTES 25

/* Why bytes are not a delta of this image. The numbers are the same in every version. */
typedef enum tinyops_delta_reason {
  TINYOPS_DELTA_MADE = 0,
  /* It is for another old image. */
  TINYOPS_DELTA_BASE = 1,
  /* Some bytes are not those that were written. */
  TINYOPS_DELTA_DAMAGED = 2,
  /* The bytes begin otherwise. */
  TINYOPS_DELTA_MAGIC = 3,
  /* What it makes is not what it promised. */
  TINYOPS_DELTA_RESULT = 4,
  /* The new image has more bytes than there is room for. */
  TINYOPS_DELTA_ROOM = 5,
  /* A span leaves the new image or the old one. */
  TINYOPS_DELTA_SPAN = 6,
  /* Bytes are left over. */
  TINYOPS_DELTA_TRAILING = 7,
  /* The bytes end before the delta does. */
  TINYOPS_DELTA_TRUNCATED = 8,
  /* A version that this runtime does not know. */
  TINYOPS_DELTA_VERSION = 9
} tinyops_delta_reason;

/* What a delta says before its spans. */
typedef struct tinyops_delta_header {
  /* The old image: zeros if there is none. */
  uint8_t base[TINYOPS_DELTA_NAME_BYTES];
  /* The new image. */
  uint8_t result[TINYOPS_DELTA_NAME_BYTES];
  /* Its bytes. */
  uint32_t bytes;
} tinyops_delta_header;

/* How likely a bit is 1, as two estimates that forget at different speeds. */
typedef struct tinyops_probability {
  uint16_t fast;
  uint16_t slow;
} tinyops_probability;

/* Where a decoder is: 680 bytes and no pointer. It may be given up and begun anew at any time. */
typedef struct tinyops_delta_decoder {
  tinyops_probability lengths[10][8];
  tinyops_probability others[41];
  int16_t sums[64];
  uint32_t range;
  uint32_t code;
  /* The next byte of the delta. */
  uint32_t at;
  /* Bytes of the new image, and how many are made. */
  uint32_t bytes;
  uint32_t made;
  /* The span: its bytes, how many are made, where they lie in the old image, and its layout. */
  uint32_t span_bytes;
  uint32_t done;
  uint32_t old;
  uint32_t inner;
  uint32_t channels;
  uint32_t times;
  uint32_t scale;
  uint32_t magnitude;
  uint32_t run;
  int32_t number;
  int8_t zero_point;
  uint8_t mode;
  uint8_t width;
  bool has_layout;
  bool has_run;
} tinyops_delta_decoder;

/* Reads the header of a delta. */
tinyops_delta_reason tinyops_delta_read(tinyops_delta_header *header, const uint8_t *delta,
                                        size_t len);

/* The name by which a delta knows an image. */
void tinyops_delta_name(const uint8_t *image, size_t len, uint8_t name[TINYOPS_DELTA_NAME_BYTES]);

/* Begins with a delta and the name of the old image that the caller has, whatever was made before. */
tinyops_delta_reason tinyops_delta_begin(tinyops_delta_decoder *decoder, const uint8_t *delta,
                                         size_t len, const uint8_t name[TINYOPS_DELTA_NAME_BYTES]);

/* Makes the next bytes of the new image: `room` of them, or fewer at its end, and says how many. The
 * delta and the old image are the same in every call, of which there is at least one, also for an image
 * of no bytes: it finds what is left over. The work is bounded by the room, whatever the
 * bytes; `made` counts the bytes of the image so far. That all are made does not say that they are the
 * right ones: that says the name of the new image. */
tinyops_delta_reason tinyops_delta_fill(tinyops_delta_decoder *decoder, const uint8_t *delta,
                                        size_t len, const uint8_t *base, size_t base_len,
                                        uint8_t *out, size_t room, size_t *filled);

/* Makes the whole new image, and holds it against the delta's name for it. `decoder` is memory to
 * work in. */
tinyops_delta_reason tinyops_delta_apply(tinyops_delta_decoder *decoder, const uint8_t *delta,
                                         size_t len, const uint8_t *base, size_t base_len,
                                         uint8_t *out, size_t room);

#ifdef __cplusplus
}
#endif

#endif
