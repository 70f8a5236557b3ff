/* The CBOR (RFC 8949) that manifests and signatures are written in. */
#ifndef TINYOPS_CBOR_H
#define TINYOPS_CBOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Major types. */
enum {
  TINYOPS_CBOR_UINT = 0,
  TINYOPS_CBOR_BYTES = 2,
  TINYOPS_CBOR_TEXT = 3,
  TINYOPS_CBOR_ARRAY = 4,
  TINYOPS_CBOR_MAP = 5,
  TINYOPS_CBOR_TAG = 6
};

/* Bytes that are read from their beginning. */
typedef struct tinyops_cbor {
  const uint8_t *at;
  const uint8_t *end;
  /* Whether every number so far was as short as it can be. */
  bool is_shortest;
} tinyops_cbor;

static inline tinyops_cbor tinyops_cbor_of(const uint8_t *bytes, size_t len) {
  tinyops_cbor cbor;
  cbor.at = bytes;
  cbor.end = bytes + len;
  cbor.is_shortest = true;
  return cbor;
}

/* Reads a head of this major type; false if another stands there, or one of no definite length. */
bool tinyops_cbor_head(tinyops_cbor *cbor, uint8_t major, uint64_t *value);

/* Reads a string of this major type; false if there is none, or a text is not UTF-8. */
bool tinyops_cbor_string(tinyops_cbor *cbor, uint8_t major, const uint8_t **bytes, size_t *len);

/* Whether some bytes are UTF-8. */
bool tinyops_is_utf8(const uint8_t *bytes, size_t len);

#endif
