#include "statement.h"

#include <string.h>

#include "../../c/src/capsule/cbor.h"
#include "../../c/src/capsule/sign1.h"

#define CLAIMS 5u
/* The claims: a head, and five keys with a number of 1, 9, 34, 5 and 5 bytes. */
#define CLAIMS_BYTES_MAX 60u

/* Reads the next key and the head of an unsigned number behind it. */
static bool read_number(tinyops_cbor *cbor, uint32_t key, uint64_t most, uint64_t *value) {
  uint64_t number;
  return tinyops_cbor_head(cbor, TINYOPS_CBOR_UINT, &number) && number == key &&
         tinyops_cbor_head(cbor, TINYOPS_CBOR_UINT, value) && *value <= most;
}

static bool read_claims(tinyops_statement *statement, const uint8_t *bytes, size_t len) {
  tinyops_cbor cbor = tinyops_cbor_of(bytes, len);
  const uint8_t *manifest;
  size_t manifest_bytes;
  uint64_t number, version, counter, last_uplink;
  if (!tinyops_cbor_head(&cbor, TINYOPS_CBOR_MAP, &number) || number != CLAIMS ||
      !read_number(&cbor, 1, 1, &version) || version != 1 ||
      !read_number(&cbor, 2, UINT64_MAX, &statement->device) ||
      !tinyops_cbor_head(&cbor, TINYOPS_CBOR_UINT, &number) || number != 3 ||
      !tinyops_cbor_string(&cbor, TINYOPS_CBOR_BYTES, &manifest, &manifest_bytes) ||
      manifest_bytes != TINYOPS_DIGEST_BYTES || !read_number(&cbor, 4, UINT32_MAX, &counter) ||
      !read_number(&cbor, 5, UINT32_MAX, &last_uplink)) {
    return false;
  }
  memcpy(statement->manifest, manifest, TINYOPS_DIGEST_BYTES);
  statement->counter = (uint32_t)counter;
  statement->last_uplink = (uint32_t)last_uplink;
  /* There is one encoding. */
  return cbor.is_shortest && cbor.at == cbor.end;
}

bool tinyops_statement_verify(tinyops_statement *statement, const uint8_t *bytes, size_t len,
                              const uint8_t *keys, size_t key_count, tinyops_verifier verifier,
                              void *context) {
  tinyops_sign1 read;
  if (!tinyops_sign1_read(&read, bytes, len, CLAIMS_BYTES_MAX) ||
      !read_claims(statement, read.payload, read.payload_bytes)) {
    return false;
  }
  return verifier == NULL ||
         tinyops_sign1_is_by(&read, "tinyops statement", keys, key_count, verifier, context);
}
