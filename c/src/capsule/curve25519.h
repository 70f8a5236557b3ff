/* What is secret of Ed25519 (RFC 8032), and X25519 (RFC 7748); tinyops_ed25519_verify() is public. */
#ifndef TINYOPS_CURVE25519_H
#define TINYOPS_CURVE25519_H

#include "../../include/tinyops_capsule.h"

/* Whether 32 bytes are a public key: a point in its one encoding, and not of small order. */
bool tinyops_ed25519_is_key(const uint8_t key[TINYOPS_KEY_BYTES]);

/* Signs with the key of a seed. */
void tinyops_ed25519_sign(const uint8_t seed[32], const uint8_t *message, size_t len,
                          uint8_t signature[TINYOPS_SIGNATURE_BYTES]);

/* Whether 32 bytes are a public half in its one encoding. */
bool tinyops_x25519_is_key(const uint8_t public_key[32]);

/* The public half of 32 secret random bytes. */
void tinyops_x25519_public(const uint8_t secret[32], uint8_t public_key[32]);

/* The secret shared with the other's public half; false if that is not in its one encoding, or of small
 * order. */
bool tinyops_x25519(const uint8_t secret[32], const uint8_t public_key[32], uint8_t shared[32]);

#endif
