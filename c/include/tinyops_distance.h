/* Anomalies without a network: the distance of features to clusters or to a distribution, a program of
 * its own beside plans. Format: docs/formats/capsule.md, section PROGRAM. Bit for bit what the Rust runtime
 * makes. */
#ifndef TINYOPS_DISTANCE_H
#define TINYOPS_DISTANCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A distance over features. It borrows the bytes, which stay where and as they are. */
typedef struct tinyops_distance {
  const uint8_t *numbers;
  uint32_t feature_count;
  uint32_t centre_count;
  /* 0 the least distance to a cluster's rim (k-means), 1 that of Mahalanobis (1936). */
  uint8_t kind;
} tinyops_distance;

/* Whether a section PROGRAM is meant to be a distance, and no plan. */
bool tinyops_is_distance(const uint8_t *program, size_t len);

/* Reads and checks a section PROGRAM that is one; bytes after its end are ignored. False if it is of a
 * version that this runtime does not know, or cut short. */
bool tinyops_distance_load(tinyops_distance *distance, const uint8_t *program, size_t len);

/* How strange the features, feature_count of them, are; greater is stranger. */
float tinyops_distance_score(const tinyops_distance *distance, const float *features);

#ifdef __cplusplus
}
#endif

#endif
