/* SHA-512, as Ed25519 needs it. */
#ifndef TINYOPS_SHA512_H
#define TINYOPS_SHA512_H

#include <stddef.h>
#include <stdint.h>

/* Bytes that come in pieces. */
typedef struct tinyops_sha512 {
  uint64_t state[8];
  uint8_t block[128];
  size_t filled;
  uint64_t len;
} tinyops_sha512;

void tinyops_sha512_begin(tinyops_sha512 *hash);
void tinyops_sha512_add(tinyops_sha512 *hash, const uint8_t *bytes, size_t len);
void tinyops_sha512_end(tinyops_sha512 *hash, uint8_t digest[64]);

#endif
