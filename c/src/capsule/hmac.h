/* HMAC-SHA-256 (RFC 2104) under a key of 32 bytes, of bytes that come in pieces. */
#ifndef TINYOPS_HMAC_H
#define TINYOPS_HMAC_H

#include "sha256.h"

typedef struct tinyops_hmac {
  tinyops_sha256_state hash;
  /* The key, as the outer hash takes it. */
  uint8_t block[64];
} tinyops_hmac;

void tinyops_hmac_begin(tinyops_hmac *mac, const uint8_t key[32]);
void tinyops_hmac_add(tinyops_hmac *mac, const uint8_t *bytes, size_t len);
void tinyops_hmac_end(tinyops_hmac *mac, uint8_t digest[TINYOPS_DIGEST_BYTES]);

#endif
