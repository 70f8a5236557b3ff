/* Key sets: a COSE_Sign (RFC 9052, tag 98) in the one encoding that is accepted here. */
#include <string.h>

#include "../../include/tinyops_trust.h"
#include "../capsule/cbor.h"
#include "../capsule/curve25519.h"

#define CLAIMS 4u
#define CLAIMS_BYTES_MAX 149u
#define KEY_ID_BYTES 4u

static const uint8_t eddsa[3] = {0xa1, 0x01, 0x27};

/* A signature, and the id of the root key that made it. */
typedef struct root_signature {
  const uint8_t *key;
  const uint8_t *bytes;
} root_signature;

/* What is signed, and by whom. */
typedef struct signed_set {
  const uint8_t *claims;
  size_t claims_bytes;
  uint32_t count;
  root_signature signatures[TINYOPS_ROOT_KEYS_MAX];
} signed_set;

/* Reads a byte string of so many bytes. */
static bool read_bytes(tinyops_cbor *cbor, size_t len, const uint8_t **bytes) {
  size_t found;
  return tinyops_cbor_string(cbor, TINYOPS_CBOR_BYTES, bytes, &found) && found == len;
}

static bool is_head(tinyops_cbor *cbor, uint8_t major, uint64_t should_be) {
  uint64_t number;
  return tinyops_cbor_head(cbor, major, &number) && number == should_be;
}

static bool read_signature(tinyops_cbor *cbor, root_signature *signature) {
  const uint8_t *header;
  return is_head(cbor, TINYOPS_CBOR_ARRAY, 3) && read_bytes(cbor, sizeof eddsa, &header) &&
         memcmp(header, eddsa, sizeof eddsa) == 0 && is_head(cbor, TINYOPS_CBOR_MAP, 1) &&
         is_head(cbor, TINYOPS_CBOR_UINT, 4) && read_bytes(cbor, KEY_ID_BYTES, &signature->key) &&
         read_bytes(cbor, TINYOPS_SIGNATURE_BYTES, &signature->bytes);
}

static bool read_cose(signed_set *read, const uint8_t *bytes, size_t len) {
  tinyops_cbor cbor = tinyops_cbor_of(bytes, len);
  const uint8_t *header;
  uint64_t count;
  uint32_t index;
  if (len > TINYOPS_SIGNED_KEY_SET_BYTES_MAX || !is_head(&cbor, TINYOPS_CBOR_TAG, 98) ||
      !is_head(&cbor, TINYOPS_CBOR_ARRAY, 4) || !read_bytes(&cbor, 0, &header) ||
      !is_head(&cbor, TINYOPS_CBOR_MAP, 0) ||
      !tinyops_cbor_string(&cbor, TINYOPS_CBOR_BYTES, &read->claims, &read->claims_bytes) ||
      !tinyops_cbor_head(&cbor, TINYOPS_CBOR_ARRAY, &count) || count == 0 ||
      count > TINYOPS_ROOT_KEYS_MAX) {
    return false;
  }
  read->count = (uint32_t)count;
  for (index = 0; index < read->count; index++) {
    root_signature *signature = &read->signatures[index];
    if (!read_signature(&cbor, signature)) return false;
    /* In the order of ids, one a key. */
    if (index > 0 && memcmp(signature[-1].key, signature->key, KEY_ID_BYTES) >= 0) return false;
  }
  return cbor.is_shortest && cbor.at == cbor.end;
}

/* Passes over the name of a claim; another than it should be is found in the end. */
static bool read_name(tinyops_cbor *cbor, uint64_t name) {
  uint64_t found;
  if (!tinyops_cbor_head(cbor, TINYOPS_CBOR_UINT, &found) || found > UINT8_MAX) return false;
  if (found != name) cbor->is_shortest = false;
  return true;
}

static tinyops_key_set_reason read_role(tinyops_cbor *cbor, tinyops_role_keys *role) {
  uint64_t count;
  uint32_t index;
  if (!tinyops_cbor_head(cbor, TINYOPS_CBOR_ARRAY, &count) || count == 0 ||
      count > TINYOPS_ROLE_KEYS_MAX) {
    return TINYOPS_KEY_SET_CBOR;
  }
  role->count = (uint8_t)count;
  for (index = 0; index < role->count; index++) {
    const uint8_t *key;
    if (!read_bytes(cbor, TINYOPS_KEY_BYTES, &key)) return TINYOPS_KEY_SET_CBOR;
    if (!tinyops_ed25519_is_key(key)) return TINYOPS_KEY_SET_KEY;
    memcpy(role->keys + TINYOPS_KEY_BYTES * index, key, TINYOPS_KEY_BYTES);
  }
  /* A key that is there twice counts once, and is written once. */
  if (role->count == 2 && memcmp(role->keys, role->keys + TINYOPS_KEY_BYTES, TINYOPS_KEY_BYTES) == 0) {
    cbor->is_shortest = false;
  }
  return TINYOPS_KEY_SET_SOUND;
}

static tinyops_key_set_reason read_claims(tinyops_key_set *set, const uint8_t *bytes, size_t len) {
  tinyops_cbor cbor = tinyops_cbor_of(bytes, len);
  tinyops_key_set_reason reason;
  uint64_t number;
  if (!is_head(&cbor, TINYOPS_CBOR_MAP, CLAIMS) || !is_head(&cbor, TINYOPS_CBOR_UINT, 1) ||
      !tinyops_cbor_head(&cbor, TINYOPS_CBOR_UINT, &number) || number > UINT32_MAX) {
    return TINYOPS_KEY_SET_CBOR;
  }
  if (number != 1) return TINYOPS_KEY_SET_VERSION;
  if (!read_name(&cbor, 2) || !tinyops_cbor_head(&cbor, TINYOPS_CBOR_UINT, &number) ||
      number > UINT32_MAX || !read_name(&cbor, 3)) {
    return TINYOPS_KEY_SET_CBOR;
  }
  set->sequence = (uint32_t)number;
  reason = read_role(&cbor, &set->release);
  if (reason != TINYOPS_KEY_SET_SOUND) return reason;
  if (!read_name(&cbor, 4)) return TINYOPS_KEY_SET_CBOR;
  reason = read_role(&cbor, &set->director);
  if (reason != TINYOPS_KEY_SET_SOUND) return reason;
  return cbor.is_shortest && cbor.at == cbor.end ? TINYOPS_KEY_SET_SOUND : TINYOPS_KEY_SET_CBOR;
}

static tinyops_key_set_reason read_set(tinyops_key_set *set, signed_set *read, const uint8_t *bytes,
                                       size_t len) {
  memset(set, 0, sizeof *set);
  if (!read_cose(read, bytes, len)) return TINYOPS_KEY_SET_COSE;
  return read_claims(set, read->claims, read->claims_bytes);
}

tinyops_key_set_reason tinyops_key_set_read(tinyops_key_set *set, const uint8_t *bytes, size_t len) {
  signed_set read;
  return read_set(set, &read, bytes, len);
}

/* Whether a root key has signed it. */
static bool is_by(const signed_set *read, const uint8_t *key, const uint8_t *message, size_t len,
                  tinyops_verifier verifier, void *context) {
  uint8_t id[TINYOPS_DIGEST_BYTES];
  uint32_t index;
  tinyops_sha256(key, TINYOPS_KEY_BYTES, id);
  for (index = 0; index < read->count; index++) {
    if (memcmp(read->signatures[index].key, id, KEY_ID_BYTES) == 0 &&
        verifier(context, key, message, len, read->signatures[index].bytes)) {
      return true;
    }
  }
  return false;
}

/* Whether a root key is there before: then it counts no second time. */
static bool is_before(const tinyops_roots *roots, uint32_t root) {
  uint32_t index;
  for (index = 0; index < root; index++) {
    if (memcmp(roots->keys + TINYOPS_KEY_BYTES * index, roots->keys + TINYOPS_KEY_BYTES * root,
               TINYOPS_KEY_BYTES) == 0) {
      return true;
    }
  }
  return false;
}

tinyops_key_set_reason tinyops_key_set_verify(tinyops_key_set *set, const uint8_t *bytes, size_t len,
                                              const tinyops_roots *roots, tinyops_verifier verifier,
                                              void *context) {
  /* What every root key signs, before the claims: an array, "Signature", no header, the header {1: -8}, and
   * what they are. */
  static const uint8_t head[32] = {0x85, 0x69, 'S',  'i', 'g', 'n', 'a', 't', 'u', 'r', 'e',
                                   0x40, 0x43, 0xa1, 0x01, 0x27, 0x4f, 't', 'i', 'n', 'y', 'o',
                                   'p',  's',  ' ',  'k', 'e', 'y', ' ', 's', 'e', 't'};
  uint8_t message[sizeof head + 2 + CLAIMS_BYTES_MAX];
  size_t at = sizeof head;
  uint32_t index, found = 0;
  signed_set read;
  const tinyops_key_set_reason reason = read_set(set, &read, bytes, len);
  if (reason != TINYOPS_KEY_SET_SOUND) return reason;
  memcpy(message, head, sizeof head);
  message[at++] = 0x58;
  message[at++] = (uint8_t)read.claims_bytes;
  memcpy(message + at, read.claims, read.claims_bytes);
  at += read.claims_bytes;
  for (index = 0; index < roots->count; index++) {
    const uint8_t *key = roots->keys + TINYOPS_KEY_BYTES * index;
    if (!is_before(roots, index) && is_by(&read, key, message, at, verifier, context)) found++;
  }
  return found >= roots->threshold && roots->threshold > 0 ? TINYOPS_KEY_SET_SOUND
                                                          : TINYOPS_KEY_SET_SIGNATURES;
}

bool tinyops_role_is_new(const tinyops_role_keys *now, const tinyops_role_keys *before) {
  uint32_t index, other;
  for (index = 0; index < now->count; index++) {
    for (other = 0; other < before->count; other++) {
      if (memcmp(now->keys + TINYOPS_KEY_BYTES * index, before->keys + TINYOPS_KEY_BYTES * other,
                 TINYOPS_KEY_BYTES) == 0) {
        return false;
      }
    }
  }
  return true;
}
