#include "dsp/elementary.h"

#include "../include/tinyops_distance.h"

#define HEADER_BYTES 16u
#define VERSION 1u
#define INFINITE 0x7F800000u

enum { K_MEANS = 0, MAHALANOBIS = 1 };

bool tinyops_is_distance(const uint8_t *program, size_t len) {
  return len >= 4 && memcmp(program, "TDST", 4) == 0;
}

bool tinyops_distance_load(tinyops_distance *distance, const uint8_t *program, size_t len) {
  uint64_t features, count;
  if (len < HEADER_BYTES || !tinyops_is_distance(program, len) ||
      tinyops_read_u16(program + 4) != VERSION || program[7] != 0) {
    return false;
  }
  distance->kind = program[6];
  distance->feature_count = tinyops_read_u32(program + 8);
  distance->centre_count = tinyops_read_u32(program + 12);
  distance->numbers = program + HEADER_BYTES;
  features = distance->feature_count;
  if (features == 0 || distance->centre_count == 0) return false;
  /* Neither product exceeds 64 bits. */
  if (distance->kind == K_MEANS) {
    count = distance->centre_count * (features + 1);
  } else if (distance->kind == MAHALANOBIS && distance->centre_count == 1) {
    count = features + features * (features + 1) / 2;
  } else {
    return false;
  }
  return count <= (len - HEADER_BYTES) / 4;
}

static float number(const tinyops_distance *distance, size_t index) {
  return tinyops_read_f32(distance->numbers + 4 * index);
}

/* The least of |x - centre| - radius. */
static float k_means(const tinyops_distance *distance, const float *features) {
  const size_t count = distance->feature_count;
  float least = tinyops_float_of_bits(INFINITE);
  uint32_t centre;
  size_t index;
  for (centre = 0; centre < distance->centre_count; centre++) {
    const size_t at = centre * (count + 1);
    float square = 0, score;
    for (index = 0; index < count; index++) {
      const float difference = features[index] - number(distance, at + index);
      square += difference * difference;
    }
    score = tinyops_sqrtf(square) - number(distance, at + count);
    /* What is no number is not less. */
    if (score < least) least = score;
  }
  return least;
}

static float mahalanobis(const tinyops_distance *distance, const float *features) {
  const size_t count = distance->feature_count;
  size_t at = count, row, column;
  float sum = 0;
  for (row = 0; row < count; row++) {
    float products = 0;
    /* The matrix is symmetric: what stands right of the diagonal counts twice. */
    for (column = row; column < count; column++, at++) {
      const float product =
          number(distance, at) * (features[column] - number(distance, column));
      products += column == row ? product : 2.0f * product;
    }
    sum += (features[row] - number(distance, row)) * products;
  }
  return tinyops_sqrtf(sum > 0 ? sum : 0);
}

float tinyops_distance_score(const tinyops_distance *distance, const float *features) {
  return distance->kind == K_MEANS ? k_means(distance, features) : mahalanobis(distance, features);
}
