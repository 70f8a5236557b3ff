/* Holds the shim for Edge Impulse's sketches to the functions of its package: answers 0 if all is equal. */
#include <stdio.h>

#include "fan_inferencing.h"

static float readings[FAN_READINGS];
static bool is_canceled = false;
static int wrong = 0;

/* In place of the weak one. */
EI_IMPULSE_ERROR ei_run_impulse_check_canceled() {
  return is_canceled ? EI_IMPULSE_CANCELED : EI_IMPULSE_OK;
}

static void expect(bool is_so, const char *what) {
  if (is_so) return;
  printf("wrong: %s\n", what);
  wrong++;
}

static int get_data(size_t offset, size_t length, float *out) {
  memcpy(out, readings + offset, length * sizeof(float));
  return 0;
}

/* Whether an answer has the package's own values. */
static bool is_equal(const ei_impulse_result_t &result) {
  static fan_model model;
  fan_answer answer;
  bool equal = true;
  if (fan_begin(&model) != FAN_OK) return false;
#if TINYOPS_EI_TASK == TINYOPS_EI_CLASSIFY
  if (fan_classify(&model, readings, FAN_READINGS, &answer) != FAN_OK) return false;
  for (int index = 0; index < FAN_CLASSES; index++) {
    equal = equal && result.classification[index].value == answer.scores[index] &&
            strcmp(result.classification[index].label, fan_class_names[index]) == 0 &&
            ei_classifier_inferencing_categories[index] == fan_class_names[index];
  }
#elif TINYOPS_EI_TASK == TINYOPS_EI_REGRESS
  if (fan_regress(&model, readings, FAN_READINGS, &answer) != FAN_OK) return false;
  equal = result.classification[0].value == answer.value;
#else
  if (fan_score(&model, readings, FAN_READINGS, &answer) != FAN_OK) return false;
  equal = result.anomaly == answer.score;
#endif
  return equal && strcmp(result.model_digest, FAN_DIGEST) == 0;
}

int main() {
  ei_impulse_result_t result;
  signal_t signal;
  unsigned seed = 7;
  for (int round = 0; round < 20; round++) {
    for (size_t index = 0; index < FAN_READINGS; index++) {
      seed = seed * 1664525u + 1013904223u;
      readings[index] = (float)(int)(seed >> 20) / 512.0f - 4.0f;
    }
    signal.total_length = EI_CLASSIFIER_DSP_INPUT_FRAME_SIZE;
    signal.get_data = &get_data;
    expect(run_classifier(&signal, &result) == EI_IMPULSE_OK && is_equal(result), "a function");
    expect(numpy::signal_from_buffer(readings, FAN_READINGS, &signal) == 0, "a buffer");
    expect(run_classifier(&ei_default_impulse, &signal, &result) == EI_IMPULSE_OK && is_equal(result), "a buffer");
    /* The whole window as one slice, and without averages. */
    run_classifier_init();
    expect(run_classifier_continuous(&signal, &result, false, false) == EI_IMPULSE_OK && is_equal(result), "a slice");
  }
  /* Slices of one reading each: the last one makes the window whole. */
  run_classifier_init();
  for (size_t index = 0; index < FAN_READINGS; index++) {
    const float *one = readings + index;
    expect(numpy::signal_from_buffer(one, 1, &signal) == 0, "a slice");
    expect(run_classifier_continuous(&signal, &result, false, false) == EI_IMPULSE_OK, "a slice");
  }
  expect(is_equal(result), "slices");
  signal.total_length = FAN_READINGS + 1;
  expect(run_classifier(&signal, &result) == EI_IMPULSE_ERROR_SHAPES_DONT_MATCH, "a length");
  signal.total_length = FAN_READINGS;
  signal.get_data = [](size_t, size_t, float *) -> int { return 1; };
  expect(run_classifier(&signal, &result) == EI_IMPULSE_DSP_ERROR, "a signal that fails");
  signal.get_data = &get_data;
  is_canceled = true;
  expect(run_classifier(&signal, &result) == EI_IMPULSE_CANCELED, "a cancelled one");
  is_canceled = false;
  readings[0] = readings[0] / 0.0f;
  if (readings[0] != 0.0f) {
    expect(run_classifier(&signal, &result) == EI_IMPULSE_DSP_ERROR, "a reading that is no number");
  }
  float turned[5] = {1, 2, 3, 4, 5};
  numpy::roll(turned, 5, -2);
  expect(turned[0] == 3 && turned[2] == 5 && turned[4] == 2, "a turn");
  numpy::roll(turned, 5, 2);
  expect(turned[0] == 1 && turned[4] == 5, "a turn back");
  ei_classifier_smooth_t smooth;
  ei_classifier_smooth_init(&smooth, 3, 2);
  expect(strcmp(ei_classifier_smooth_update(&smooth, &result), "uncertain") == 0, "a first reading");
  ei_classifier_smooth_free(&smooth);
  printf("%d wrong\n", wrong);
  return wrong == 0 ? 0 : 1;
}
