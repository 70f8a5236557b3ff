/* SHA-256 of bytes that come in pieces. */
#ifndef TINYOPS_SHA256_H
#define TINYOPS_SHA256_H

#include "../../include/tinyops_capsule.h"

typedef struct tinyops_sha256_state {
  uint32_t state[8];
  uint8_t block[64];
  uint64_t len;
} tinyops_sha256_state;

void tinyops_sha256_begin(tinyops_sha256_state *hash);
void tinyops_sha256_add(tinyops_sha256_state *hash, const uint8_t *bytes, size_t len);
void tinyops_sha256_end(tinyops_sha256_state *hash, uint8_t digest[TINYOPS_DIGEST_BYTES]);

#endif
