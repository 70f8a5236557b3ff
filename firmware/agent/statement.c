#include "statement.h"

#include <string.h>

#include "../../c/src/capsule/cbor.h"

#define CLAIMS 5u
/* The claims: a head, and five keys with a number of 1, 9, 34, 5 and 5 bytes. */
#define CLAIMS_BYTES_MAX 60u

static const uint8_t eddsa[3] = {0xa1, 0x01, 0x27};

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
  /* What is signed before the claims: an array, "Signature1", the header {1: -8}, and what they are. */
  static const uint8_t head[34] = {0x84, 0x6a, 'S', 'i', 'g', 'n', 'a',  't',  'u', 'r', 'e', '1',
                                   0x43, 0xa1, 0x01, 0x27, 0x51, 't', 'i', 'n', 'y', 'o', 'p', 's',
                                   ' ',  's',  't', 'a', 't', 'e', 'm', 'e', 'n', 't'};
  uint8_t message[sizeof head + 2 + CLAIMS_BYTES_MAX];
  tinyops_cbor cbor = tinyops_cbor_of(bytes, len);
  const uint8_t *header, *claims, *signature;
  size_t header_bytes, claims_bytes, signature_bytes, at = sizeof head, index;
  uint64_t number;
  if (!tinyops_cbor_head(&cbor, TINYOPS_CBOR_TAG, &number) || number != 18 ||
      !tinyops_cbor_head(&cbor, TINYOPS_CBOR_ARRAY, &number) || number != 4 ||
      !tinyops_cbor_string(&cbor, TINYOPS_CBOR_BYTES, &header, &header_bytes) ||
      header_bytes != sizeof eddsa || memcmp(header, eddsa, sizeof eddsa) != 0 ||
      !tinyops_cbor_head(&cbor, TINYOPS_CBOR_MAP, &number) || number != 0 ||
      !tinyops_cbor_string(&cbor, TINYOPS_CBOR_BYTES, &claims, &claims_bytes) ||
      !tinyops_cbor_string(&cbor, TINYOPS_CBOR_BYTES, &signature, &signature_bytes) ||
      signature_bytes != TINYOPS_SIGNATURE_BYTES || !cbor.is_shortest || cbor.at != cbor.end ||
      claims_bytes > CLAIMS_BYTES_MAX || !read_claims(statement, claims, claims_bytes)) {
    return false;
  }
  memcpy(message, head, sizeof head);
  if (claims_bytes >= 24) message[at++] = 0x58;
  message[at++] = (uint8_t)(claims_bytes < 24 ? 0x40 | claims_bytes : claims_bytes);
  memcpy(message + at, claims, claims_bytes);
  at += claims_bytes;
  for (index = 0; index < key_count; index++) {
    if (verifier(context, keys + TINYOPS_KEY_BYTES * index, message, at, signature)) return true;
  }
  return false;
}
