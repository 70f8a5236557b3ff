/* The checksum of sections and of journal records. */
#ifndef TINYOPS_CRC_H
#define TINYOPS_CRC_H

#include <stddef.h>
#include <stdint.h>

/* The CRC-32 of IEEE 802.3. */
uint32_t tinyops_crc32(const uint8_t *bytes, size_t len);

#endif
