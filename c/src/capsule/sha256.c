/* SHA-256. Source: FIPS 180-4, section 6.2. */
#include <string.h>

#include "sha256.h"

static const uint32_t round_constants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static uint32_t rotate(uint32_t word, uint32_t bits) {
  return word >> bits | word << (32 - bits);
}

static uint32_t read_word(const uint8_t *at) {
  return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | (uint32_t)at[3];
}

/* Fills the schedule from a block. */
static void schedule(const uint8_t *block, uint32_t words[64]) {
  int index;
  for (index = 0; index < 16; index++) words[index] = read_word(block + 4 * index);
  for (; index < 64; index++) {
    const uint32_t far = words[index - 15], near = words[index - 2];
    const uint32_t s0 = rotate(far, 7) ^ rotate(far, 18) ^ far >> 3;
    const uint32_t s1 = rotate(near, 17) ^ rotate(near, 19) ^ near >> 10;
    words[index] = words[index - 16] + s0 + words[index - 7] + s1;
  }
}

static void compress(uint32_t state[8], const uint8_t *block) {
  uint32_t words[64], v[8];
  int round, index;
  schedule(block, words);
  memcpy(v, state, sizeof v);
  for (round = 0; round < 64; round++) {
    const uint32_t s1 = rotate(v[4], 6) ^ rotate(v[4], 11) ^ rotate(v[4], 25);
    const uint32_t choice = (v[4] & v[5]) ^ (~v[4] & v[6]);
    const uint32_t first = v[7] + s1 + choice + round_constants[round] + words[round];
    const uint32_t s0 = rotate(v[0], 2) ^ rotate(v[0], 13) ^ rotate(v[0], 22);
    const uint32_t majority = (v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]);
    for (index = 7; index > 0; index--) v[index] = v[index - 1];
    v[4] += first;
    v[0] = first + s0 + majority;
  }
  for (index = 0; index < 8; index++) state[index] += v[index];
}

void tinyops_sha256_begin(tinyops_sha256_state *hash) {
  static const uint32_t start[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                    0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  memcpy(hash->state, start, sizeof start);
  hash->len = 0;
}

void tinyops_sha256_add(tinyops_sha256_state *hash, const uint8_t *bytes, size_t len) {
  while (len > 0) {
    const size_t filled = (size_t)(hash->len % 64), room = 64 - filled;
    const size_t some = len < room ? len : room;
    if (filled == 0 && len >= 64) {
      compress(hash->state, bytes);
    } else {
      memcpy(hash->block + filled, bytes, some);
      if (some == room) compress(hash->state, hash->block);
    }
    hash->len += some;
    bytes += some;
    len -= some;
  }
}

void tinyops_sha256_end(tinyops_sha256_state *hash, uint8_t digest[TINYOPS_DIGEST_BYTES]) {
  static const uint8_t padding[64] = {0x80};
  const uint64_t bits = hash->len * 8;
  uint8_t length[8];
  size_t index;
  for (index = 0; index < 8; index++) length[index] = (uint8_t)(bits >> (56 - 8 * index) & 0xFF);
  tinyops_sha256_add(hash, padding, 1 + (size_t)((119 - hash->len % 64) % 64));
  tinyops_sha256_add(hash, length, sizeof length);
  for (index = 0; index < 32; index++) {
    digest[index] = (uint8_t)(hash->state[index / 4] >> (24 - 8 * (index % 4)) & 0xFF);
  }
}

void tinyops_sha256(const uint8_t *bytes, size_t len, uint8_t digest[TINYOPS_DIGEST_BYTES]) {
  tinyops_sha256_state hash;
  tinyops_sha256_begin(&hash);
  tinyops_sha256_add(&hash, bytes, len);
  tinyops_sha256_end(&hash, digest);
}
