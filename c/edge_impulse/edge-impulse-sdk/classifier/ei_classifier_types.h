/* What a classification answers. */
#ifndef TINYOPS_EI_CLASSIFIER_TYPES_H
#define TINYOPS_EI_CLASSIFIER_TYPES_H

#include <stddef.h>
#include <stdint.h>

#include "model-parameters/model_metadata.h"

typedef struct {
  const char *label;
  float value;
} ei_impulse_result_classification_t;

typedef struct {
  const char *label;
  uint32_t x;
  uint32_t y;
  uint32_t width;
  uint32_t height;
  float value;
} ei_impulse_result_bounding_box_t;

/* Time taken, in ms, and in us to the end. */
typedef struct {
  int sampling;
  int dsp;
  int classification;
  int anomaly;
  int postprocessing;
  int64_t dsp_us;
  int64_t classification_us;
  int64_t anomaly_us;
  int64_t postprocessing_us;
} ei_impulse_result_timing_t;

typedef struct {
  /* Never any. */
  ei_impulse_result_bounding_box_t *bounding_boxes;
  uint32_t bounding_boxes_count;
#if EI_CLASSIFIER_LABEL_COUNT > 0
  ei_impulse_result_classification_t classification[EI_CLASSIFIER_LABEL_COUNT];
#else
  ei_impulse_result_classification_t classification[1];
#endif
  /* How unusual the window is; 0 of a model that does not say. */
  float anomaly;
  ei_impulse_result_timing_t timing;
  /* The digest of the payload, in hexadecimal: what this is an answer of. */
  const char *model_digest;
} ei_impulse_result_t;

#endif
