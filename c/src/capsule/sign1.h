/* COSE_Sign1 (RFC 9052, tag 18) in the one encoding that is accepted here: Ed25519, attached payload. */
#ifndef TINYOPS_SIGN1_H
#define TINYOPS_SIGN1_H

#include "../../include/tinyops_capsule.h"

/* The longest payload, and the longest context. */
#define TINYOPS_SIGN1_PAYLOAD_BYTES_MAX TINYOPS_MANIFEST_BYTES_MAX
#define TINYOPS_SIGN1_CONTEXT_BYTES_MAX 23u

/* A payload and the signature over it, which nobody has checked. */
typedef struct tinyops_sign1 {
  const uint8_t *payload;
  size_t payload_bytes;
  const uint8_t *signature;
} tinyops_sign1;

/* Takes one apart, from bytes that may be anything, with a payload of at most so many bytes. False if it
 * is none, or in another encoding. */
bool tinyops_sign1_read(tinyops_sign1 *read, const uint8_t *bytes, size_t len, size_t payload_bytes_max);

/* Whether one of `keys` (32 bytes each, one after another) has signed it as a thing of this kind: the
 * context is a text of at most TINYOPS_SIGN1_CONTEXT_BYTES_MAX bytes, which is signed and not sent. */
bool tinyops_sign1_is_by(const tinyops_sign1 *read, const char *kind, const uint8_t *keys,
                         size_t key_count, tinyops_verifier verifier, void *context);

#endif
