#include "hmac.h"

#include <string.h>

void tinyops_hmac_begin(tinyops_hmac *mac, const uint8_t key[32]) {
  size_t index;
  memset(mac->block, 0x36, sizeof mac->block);
  for (index = 0; index < 32; index++) mac->block[index] ^= key[index];
  tinyops_sha256_begin(&mac->hash);
  tinyops_sha256_add(&mac->hash, mac->block, sizeof mac->block);
  for (index = 0; index < sizeof mac->block; index++) mac->block[index] ^= 0x36 ^ 0x5c;
}

void tinyops_hmac_add(tinyops_hmac *mac, const uint8_t *bytes, size_t len) {
  tinyops_sha256_add(&mac->hash, bytes, len);
}

void tinyops_hmac_end(tinyops_hmac *mac, uint8_t digest[TINYOPS_DIGEST_BYTES]) {
  tinyops_sha256_end(&mac->hash, digest);
  tinyops_sha256_begin(&mac->hash);
  tinyops_sha256_add(&mac->hash, mac->block, sizeof mac->block);
  tinyops_sha256_add(&mac->hash, digest, TINYOPS_DIGEST_BYTES);
  tinyops_sha256_end(&mac->hash, digest);
}
