#include "crc.h"

/* A bit at a time: it is computed when a capsule is installed and when the journal is read. */
uint32_t tinyops_crc32(const uint8_t *bytes, size_t len) {
  uint32_t crc = 0xFFFFFFFFu;
  int bit;
  for (; len > 0; len--, bytes++) {
    crc ^= *bytes;
    for (bit = 0; bit < 8; bit++) crc = (crc & 1) != 0 ? crc >> 1 ^ 0xEDB88320u : crc >> 1;
  }
  return ~crc;
}
