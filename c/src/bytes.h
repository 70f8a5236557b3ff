/* Numbers in bytes, little-endian whatever the processor, at any address; those of single precision in bits. */
#ifndef TINYOPS_BYTES_H
#define TINYOPS_BYTES_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static inline uint16_t tinyops_read_u16(const uint8_t *at) {
  return (uint16_t)((uint32_t)at[0] | (uint32_t)at[1] << 8);
}

static inline int32_t tinyops_read_i16(const uint8_t *at) {
  return (int32_t)(int16_t)tinyops_read_u16(at);
}

static inline uint32_t tinyops_read_u32(const uint8_t *at) {
  return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static inline uint64_t tinyops_read_u64(const uint8_t *at) {
  return (uint64_t)tinyops_read_u32(at) | (uint64_t)tinyops_read_u32(at + 4) << 32;
}

static inline int32_t tinyops_read_i32(const uint8_t *at) {
  return (int32_t)tinyops_read_u32(at);
}

static inline int64_t tinyops_read_i64(const uint8_t *at) {
  return (int64_t)tinyops_read_u64(at);
}

static inline uint32_t tinyops_bits_of_float(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}

static inline float tinyops_float_of_bits(uint32_t bits) {
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

static inline float tinyops_read_f32(const uint8_t *at) {
  return tinyops_float_of_bits(tinyops_read_u32(at));
}

/* Whether it is neither infinite nor no number. */
static inline bool tinyops_is_finite(float x) {
  return x - x == 0;
}

static inline void tinyops_write_i16(uint8_t *at, int32_t value) {
  at[0] = (uint8_t)((uint32_t)value & 0xFF);
  at[1] = (uint8_t)((uint32_t)value >> 8 & 0xFF);
}

static inline void tinyops_write_u32(uint8_t *at, uint32_t value) {
  int index;
  for (index = 0; index < 4; index++, value >>= 8) at[index] = (uint8_t)(value & 0xFF);
}

/* A byte as the int8 that it is. */
static inline int32_t tinyops_int8(uint8_t byte) {
  return (int32_t)(int8_t)byte;
}

#endif
