#include "../exact.h"

#include "../../include/tinyops_monitor.h"
#include "../bytes.h"
#include "../quantize.h"

#define HEADER_BYTES 4u
#define VERSION 1
#define SHIFT_MAX 31
/* Rows and columns of a block of the factor. */
#define SIDE 4u
#define BLOCKS_MAX (TINYOPS_EMBEDDING_LEN_MAX / SIDE)
/* Parts of a step of the embedding that means are in, and of an octave that offsets are in. */
#define MEAN_PARTS 64
#define OFFSET_PARTS 256.0f
/* A squared distance of 1, of which this is the logarithm to base 2. */
#define ONE 256u
#define ONE_LOG 8

bool tinyops_embedding_distance_read(tinyops_embedding_distance *distance, const uint8_t *section,
                                     size_t len) {
  uint32_t values, across, blocks, index;
  if (len < HEADER_BYTES || section[0] != VERSION) return false;
  values = tinyops_read_u16(section + 2);
  if (section[1] == 0 || values == 0 || values > TINYOPS_EMBEDDING_LEN_MAX) return false;
  across = (values + SIDE - 1) / SIDE;
  blocks = across * (across + 1) / 2;
  if (len != HEADER_BYTES + SIDE * across + SIDE * SIDE * blocks + 2u * section[1] * (values + 1)) {
    return false;
  }
  distance->class_count = section[1];
  distance->embedding_len = (uint8_t)values;
  distance->shifts = section + HEADER_BYTES;
  distance->blocks = distance->shifts + SIDE * across;
  distance->means = distance->blocks + SIDE * SIDE * blocks;
  for (index = 0; index < SIDE * across; index++) {
    if (distance->shifts[index] > SHIFT_MAX) return false;
  }
  return true;
}

/* The squared distance, in 1/256: the sum of the squares of what each row of the factor makes. */
static uint64_t squared(const tinyops_embedding_distance *distance, const int32_t *deltas) {
  const uint32_t across = (distance->embedding_len + SIDE - 1) / SIDE;
  const uint8_t *block = distance->blocks;
  uint32_t down, right, row, column;
  uint64_t sum = 0;
  for (down = 0; down < across; down++) {
    /* At most 64 products of 7 and 17 binary digits in each. */
    int32_t roots[SIDE] = {0, 0, 0, 0};
    for (right = down; right < across; right++, block += SIDE * SIDE) {
      for (row = 0; row < SIDE; row++) {
        for (column = 0; column < SIDE; column++) {
          roots[row] += tinyops_int8(block[SIDE * row + column]) * deltas[SIDE * right + column];
        }
      }
    }
    for (row = 0; row < SIDE; row++) {
      const int64_t root =
          tinyops_shift_right(roots[row], distance->shifts[SIDE * down + row]);
      sum += (uint64_t)(root * root);
    }
  }
  return sum;
}

/* The logarithm to base 2 of one more than a squared distance, straight between powers of two. */
static float octaves_of(uint64_t square) {
  uint64_t whole = square + ONE;
  int32_t exponent = 63 - ONE_LOG;
  for (; (whole >> 63) == 0; whole <<= 1) exponent--;
  /* 24 binary digits, of which the first is the one before the point. */
  return (float)exponent + ((float)(uint32_t)(whole >> 40) * (1.0f / 8388608.0f) - 1.0f);
}

bool tinyops_embedding_octaves(const tinyops_embedding_distance *distance, size_t class_index,
                               const uint8_t *embedding, size_t len, float *octaves) {
  int32_t deltas[SIDE * BLOCKS_MAX] = {0};
  const uint8_t *means, *offset;
  size_t index;
  if (class_index >= distance->class_count || len != distance->embedding_len) return false;
  means = distance->means + 2 * len * class_index;
  offset = distance->means + 2 * len * distance->class_count + 2 * class_index;
  for (index = 0; index < len; index++) {
    deltas[index] = tinyops_int8(embedding[index]) * MEAN_PARTS - tinyops_read_i16(means + 2 * index);
  }
  *octaves = octaves_of(squared(distance, deltas)) -
             (float)tinyops_read_i16(offset) * (1.0f / OFFSET_PARTS);
  return true;
}
