/* So many of the last answers must be the same before one counts. */
#ifndef TINYOPS_EI_CLASSIFIER_SMOOTH_H
#define TINYOPS_EI_CLASSIFIER_SMOOTH_H

#include "ei_run_classifier.h"

/* The most readings that are looked back at: nothing is allocated. */
#define EI_CLASSIFIER_SMOOTH_MAX 32

typedef struct ei_classifier_smooth {
  size_t n_readings;
  size_t min_readings_same;
  float classifier_confidence;
  float anomaly_confidence;
  /* Indices of classes, the oldest first; -1 uncertain, -2 anomaly. */
  int16_t last_readings[EI_CLASSIFIER_SMOOTH_MAX];
  size_t count[EI_CLASSIFIER_LABEL_COUNT > 0 ? EI_CLASSIFIER_LABEL_COUNT : 1];
} ei_classifier_smooth_t;

static inline void ei_classifier_smooth_init(ei_classifier_smooth_t *smooth, size_t n_readings,
                                             size_t min_readings_same,
                                             float classifier_confidence = 0.8f,
                                             float anomaly_confidence = 0.3f) {
  smooth->n_readings =
      n_readings > EI_CLASSIFIER_SMOOTH_MAX ? EI_CLASSIFIER_SMOOTH_MAX : n_readings;
  smooth->min_readings_same = min_readings_same;
  smooth->classifier_confidence = classifier_confidence;
  smooth->anomaly_confidence = anomaly_confidence;
  for (size_t index = 0; index < EI_CLASSIFIER_SMOOTH_MAX; index++) {
    smooth->last_readings[index] = -1;
  }
}

static inline const char *ei_classifier_smooth_update(ei_classifier_smooth_t *smooth,
                                                      const ei_impulse_result_t *result) {
  int16_t reading = -1;
  size_t same[2] = {0, 0};
  for (size_t index = 1; index < smooth->n_readings; index++) {
    smooth->last_readings[index - 1] = smooth->last_readings[index];
  }
#if EI_CLASSIFIER_LABEL_COUNT > 0
  for (size_t index = 0; index < EI_CLASSIFIER_LABEL_COUNT; index++) {
    if (result->classification[index].value >= smooth->classifier_confidence) {
      reading = static_cast<int16_t>(index);
    }
  }
#endif
#if EI_CLASSIFIER_HAS_ANOMALY
  if (result->anomaly >= smooth->anomaly_confidence) reading = -2;
#endif
  if (smooth->n_readings > 0) smooth->last_readings[smooth->n_readings - 1] = reading;
  for (size_t index = 0; index < sizeof smooth->count / sizeof smooth->count[0]; index++) {
    smooth->count[index] = 0;
  }
  for (size_t index = 0; index < smooth->n_readings; index++) {
    const int16_t last = smooth->last_readings[index];
    if (last >= 0) {
      smooth->count[last]++;
    } else {
      same[last == -2 ? 1 : 0]++;
    }
  }
#if EI_CLASSIFIER_LABEL_COUNT > 0
  for (size_t index = 0; index < EI_CLASSIFIER_LABEL_COUNT; index++) {
    if (smooth->count[index] >= smooth->min_readings_same) {
      return result->classification[index].label;
    }
  }
#endif
  return same[1] >= smooth->min_readings_same ? "anomaly" : "uncertain";
}

static inline void ei_classifier_smooth_free(ei_classifier_smooth_t *smooth) {
  (void)smooth;
}

#endif
