/* The capsule: a signed manifest and the payload that it vouches for. */
#include <string.h>

#include "../bytes.h"
#include "cbor.h"
#include "payload.h"
#include "sign1.h"

#define HEADER_BYTES 8u
#define CLAIMS 8u

/* Reads the next key and the head of an unsigned number behind it. */
static bool read_number(tinyops_cbor *cbor, uint32_t key, uint32_t *value) {
  uint64_t number;
  if (!tinyops_cbor_head(cbor, TINYOPS_CBOR_UINT, &number) || number != key ||
      !tinyops_cbor_head(cbor, TINYOPS_CBOR_UINT, &number) || number > UINT32_MAX) {
    return false;
  }
  *value = (uint32_t)number;
  return true;
}

static bool read_string(tinyops_cbor *cbor, uint32_t key, uint8_t major, const uint8_t **bytes,
                        size_t *len) {
  uint64_t number;
  return tinyops_cbor_head(cbor, TINYOPS_CBOR_UINT, &number) && number == key &&
         tinyops_cbor_string(cbor, major, bytes, len);
}

static bool read_digest(tinyops_cbor *cbor, uint32_t key, const uint8_t **digest) {
  size_t len;
  return read_string(cbor, key, TINYOPS_CBOR_BYTES, digest, &len) && len == TINYOPS_DIGEST_BYTES;
}

static tinyops_capsule_reason read_manifest(const uint8_t *bytes, size_t len,
                                            tinyops_manifest *manifest) {
  tinyops_cbor cbor = tinyops_cbor_of(bytes, len);
  size_t board_bytes, name_bytes;
  uint64_t claims;
  uint32_t version;
  if (!tinyops_cbor_head(&cbor, TINYOPS_CBOR_MAP, &claims) || claims != CLAIMS ||
      !read_number(&cbor, 1, &version)) {
    return TINYOPS_CAPSULE_MANIFEST_CBOR;
  }
  if (version != 1) return TINYOPS_CAPSULE_MANIFEST_VERSION;
  if (!read_number(&cbor, 2, &manifest->sequence) ||
      !read_string(&cbor, 3, TINYOPS_CBOR_TEXT, &manifest->board, &board_bytes) ||
      !read_digest(&cbor, 4, &manifest->payload_digest) ||
      !read_number(&cbor, 5, &manifest->payload_bytes) ||
      !read_digest(&cbor, 6, &manifest->program_digest) ||
      !read_string(&cbor, 7, TINYOPS_CBOR_TEXT, &manifest->name, &name_bytes) ||
      !read_number(&cbor, 8, &manifest->version)) {
    return TINYOPS_CAPSULE_MANIFEST_CBOR;
  }
  if (board_bytes > TINYOPS_TEXT_BYTES_MAX || name_bytes > TINYOPS_TEXT_BYTES_MAX) {
    return TINYOPS_CAPSULE_MANIFEST_TEXT;
  }
  manifest->board_bytes = (uint8_t)board_bytes;
  manifest->name_bytes = (uint8_t)name_bytes;
  /* What reads well is also written so. */
  return cbor.is_shortest && cbor.at == cbor.end ? TINYOPS_CAPSULE_VERIFIED
                                                 : TINYOPS_CAPSULE_MANIFEST_CBOR;
}

/* Takes a capsule apart. */
static tinyops_capsule_reason parse(tinyops_capsule *capsule, const uint8_t *bytes, size_t len,
                                    tinyops_sign1 *read) {
  static const uint8_t magic[4] = {'T', 'O', 'P', 'C'};
  tinyops_capsule_reason reason;
  size_t cose_bytes, index;
  if (len < 4 || memcmp(bytes, magic, sizeof magic) != 0) return TINYOPS_CAPSULE_MAGIC;
  if (len < 6) return TINYOPS_CAPSULE_LENGTH;
  if (bytes[4] != 1 || bytes[5] != 1) return TINYOPS_CAPSULE_VERSION;
  if (len < HEADER_BYTES) return TINYOPS_CAPSULE_LENGTH;
  cose_bytes = tinyops_read_u16(bytes + 6);
  if (len - HEADER_BYTES < cose_bytes) return TINYOPS_CAPSULE_LENGTH;
  if (!tinyops_sign1_read(read, bytes + HEADER_BYTES, cose_bytes, TINYOPS_MANIFEST_BYTES_MAX)) {
    return TINYOPS_CAPSULE_COSE;
  }
  reason = read_manifest(read->payload, read->payload_bytes, &capsule->manifest);
  if (reason != TINYOPS_CAPSULE_VERIFIED) return reason;
  capsule->payload_offset = (HEADER_BYTES + cose_bytes + TINYOPS_CAPSULE_ALIGN - 1) /
                            TINYOPS_CAPSULE_ALIGN * TINYOPS_CAPSULE_ALIGN;
  if (len < capsule->payload_offset) return TINYOPS_CAPSULE_LENGTH;
  for (index = HEADER_BYTES + cose_bytes; index < capsule->payload_offset; index++) {
    if (bytes[index] != 0) return TINYOPS_CAPSULE_COSE;
  }
  capsule->payload = bytes + capsule->payload_offset;
  capsule->payload_bytes = len - capsule->payload_offset;
  return capsule->payload_bytes == capsule->manifest.payload_bytes ? TINYOPS_CAPSULE_VERIFIED
                                                                   : TINYOPS_CAPSULE_LENGTH;
}

/* Everything behind the signature. */
static tinyops_capsule_reason check_payload(tinyops_capsule *capsule, const tinyops_sign1 *read) {
  uint8_t digest[TINYOPS_DIGEST_BYTES];
  tinyops_sha256(capsule->payload, capsule->payload_bytes, digest);
  if (memcmp(digest, capsule->manifest.payload_digest, sizeof digest) != 0) {
    return TINYOPS_CAPSULE_DIGEST;
  }
  tinyops_sha256(read->payload, read->payload_bytes, capsule->manifest_digest);
  return tinyops_payload_check(capsule->payload, capsule->payload_bytes, true);
}

/* What is not verified has no payload. */
static tinyops_capsule_reason closed(tinyops_capsule *capsule, tinyops_capsule_reason reason) {
  if (reason != TINYOPS_CAPSULE_VERIFIED) {
    capsule->payload = NULL;
    capsule->payload_bytes = 0;
  }
  return reason;
}

tinyops_capsule_reason tinyops_capsule_verify(tinyops_capsule *capsule, const uint8_t *bytes,
                                              size_t len, const uint8_t *keys, size_t key_count,
                                              tinyops_verifier verifier, void *context) {
  tinyops_sign1 read;
  tinyops_capsule_reason reason;
  memset(capsule, 0, sizeof *capsule);
  reason = parse(capsule, bytes, len, &read);
  if (reason == TINYOPS_CAPSULE_VERIFIED &&
      !tinyops_sign1_is_by(&read, "", keys, key_count, verifier, context)) {
    reason = TINYOPS_CAPSULE_SIGNATURE;
  }
  if (reason == TINYOPS_CAPSULE_VERIFIED) reason = check_payload(capsule, &read);
  return closed(capsule, reason);
}

tinyops_capsule_reason tinyops_capsule_verify_payload(tinyops_capsule *capsule,
                                                      const uint8_t *bytes, size_t len) {
  tinyops_sign1 read;
  tinyops_capsule_reason reason;
  memset(capsule, 0, sizeof *capsule);
  reason = parse(capsule, bytes, len, &read);
  if (reason == TINYOPS_CAPSULE_VERIFIED) reason = check_payload(capsule, &read);
  return closed(capsule, reason);
}

tinyops_capsule_reason tinyops_capsule_open(tinyops_capsule *capsule, const uint8_t *bytes,
                                            size_t len) {
  tinyops_sign1 read;
  tinyops_capsule_reason reason;
  memset(capsule, 0, sizeof *capsule);
  reason = parse(capsule, bytes, len, &read);
  if (reason == TINYOPS_CAPSULE_VERIFIED) {
    reason = tinyops_payload_check(capsule->payload, capsule->payload_bytes, false);
    tinyops_sha256(read.payload, read.payload_bytes, capsule->manifest_digest);
  }
  return closed(capsule, reason);
}
