/* run_classifier() over a package's own functions. All memory is static: one model, one window, and the
 * answers of half a window of slices. */
#include "edge-impulse-sdk/classifier/ei_run_classifier.h"

namespace {

typedef TINYOPS_EI(model) model_t;
typedef TINYOPS_EI(answer) answer_t;
typedef TINYOPS_EI(status) status_t;

const size_t READINGS = TINYOPS_EI_UPPER(READINGS);
/* Values of an answer: the scores of the classes, a number, or how unusual the window is. */
const size_t VALUES = EI_CLASSIFIER_LABEL_COUNT > 0 ? EI_CLASSIFIER_LABEL_COUNT : 1;
/* The most answers that a moving average is over. */
const size_t AVERAGED_MAX = 32;

model_t model;
bool has_begun;
float window[READINGS];

/* Readings of the window that have come, and of continuous answers the newest, which the next one
 * follows. */
size_t filled;
float answers[AVERAGED_MAX][VALUES];
size_t answer_count;

EI_IMPULSE_ERROR error_of(status_t status) {
  switch (status) {
    case TINYOPS_EI_UPPER(OK):
      return EI_IMPULSE_OK;
    case TINYOPS_EI_UPPER(LENGTH):
      return EI_IMPULSE_ERROR_SHAPES_DONT_MATCH;
    case TINYOPS_EI_UPPER(NOT_FINITE):
      return EI_IMPULSE_DSP_ERROR;
    default:
      return EI_IMPULSE_INFERENCE_ERROR;
  }
}

void values_of(const answer_t &answer, float values[VALUES]) {
#if TINYOPS_EI_TASK == TINYOPS_EI_CLASSIFY
  for (size_t index = 0; index < VALUES; index++) values[index] = answer.scores[index];
#elif TINYOPS_EI_TASK == TINYOPS_EI_REGRESS
  values[0] = answer.value;
#else
  values[0] = answer.score;
#endif
}

void put_values(const float values[VALUES], ei_impulse_result_t *result) {
#if TINYOPS_EI_TASK == TINYOPS_EI_ANOMALY
  result->anomaly = values[0];
#else
  for (size_t index = 0; index < VALUES; index++) result->classification[index].value = values[index];
#endif
}

/* An answer without values: labels, and what it is an answer of. */
void clear(ei_impulse_result_t *result) {
  static const char digest[] = TINYOPS_EI_UPPER(DIGEST);
  memset(static_cast<void *>(result), 0, sizeof *result);
  result->model_digest = digest;
#if TINYOPS_EI_TASK != TINYOPS_EI_ANOMALY
  for (size_t index = 0; index < VALUES; index++) {
    result->classification[index].label = ei_classifier_inferencing_categories[index];
  }
#endif
}

int in_ms(int64_t us) {
  return static_cast<int>(us / 1000);
}

/* The window that is there, in its stages, each timed. */
EI_IMPULSE_ERROR classify(ei_impulse_result_t *result, float values[VALUES], bool debug) {
  answer_t answer;
  const uint64_t before = ei_read_timer_us();
  uint64_t between = before;
  if (!has_begun) {
    const status_t status = TINYOPS_EI(begin)(&model);
    if (status != TINYOPS_EI_UPPER(OK)) return error_of(status);
    has_begun = true;
  }
  if (ei_run_impulse_check_canceled() != EI_IMPULSE_OK) return EI_IMPULSE_CANCELED;
  status_t status = TINYOPS_EI(extract)(&model, window, READINGS);
  if (status == TINYOPS_EI_UPPER(OK)) status = TINYOPS_EI(quantize)(&model);
  if (status != TINYOPS_EI_UPPER(OK)) return error_of(status);
  between = ei_read_timer_us();
  result->timing.dsp_us = static_cast<int64_t>(between - before);
  if (ei_run_impulse_check_canceled() != EI_IMPULSE_OK) return EI_IMPULSE_CANCELED;
  status = TINYOPS_EI(run)(&model);
  if (status == TINYOPS_EI_UPPER(OK)) status = TINYOPS_EI(read)(&model, &answer);
  if (status != TINYOPS_EI_UPPER(OK)) return error_of(status);
  result->timing.classification_us = static_cast<int64_t>(ei_read_timer_us() - between);
  result->timing.dsp = in_ms(result->timing.dsp_us);
  result->timing.classification = in_ms(result->timing.classification_us);
  values_of(answer, values);
  if (debug) {
    ei_printf("Predictions (DSP: %d ms., Classification: %d ms.)\n", result->timing.dsp,
              result->timing.classification);
  }
  return EI_IMPULSE_OK;
}

}  // namespace

#if TINYOPS_EI_TASK == TINYOPS_EI_CLASSIFY
const char *const *const ei_classifier_inferencing_categories = TINYOPS_EI(class_names);
#else
static const char *const value_names[1] = {"value"};
const char *const *const ei_classifier_inferencing_categories = value_names;
#endif

ei_impulse_handle_t ei_default_impulse = {0};

EI_IMPULSE_ERROR run_classifier(ei::signal_t *signal, ei_impulse_result_t *result, bool debug) {
  float values[VALUES];
  clear(result);
  if (signal->total_length != READINGS) return EI_IMPULSE_ERROR_SHAPES_DONT_MATCH;
  /* What slices have left in the window is gone. */
  run_classifier_init();
  if (signal->get_data(0, READINGS, window) != 0) return EI_IMPULSE_DSP_ERROR;
  const EI_IMPULSE_ERROR error = classify(result, values, debug);
  if (error == EI_IMPULSE_OK) put_values(values, result);
  return error;
}

void run_classifier_init() {
  filled = 0;
  answer_count = 0;
}

EI_IMPULSE_ERROR run_classifier_continuous(ei::signal_t *signal, ei_impulse_result_t *result,
                                           bool debug, bool enable_maf) {
  const size_t length = signal->total_length;
  clear(result);
  if (length == 0 || length > READINGS) return EI_IMPULSE_ERROR_SHAPES_DONT_MATCH;
  if (filled + length > READINGS) {
    const size_t gone = filled + length - READINGS;
    memmove(window, window + gone, (filled - gone) * sizeof(float));
    filled -= gone;
  }
  if (signal->get_data(0, length, window + filled) != 0) return EI_IMPULSE_DSP_ERROR;
  filled += length;
  if (filled < READINGS) return EI_IMPULSE_OK;
  size_t averaged = READINGS / length / 2;
  if (!enable_maf || averaged == 0) averaged = 1;
  if (averaged > AVERAGED_MAX) averaged = AVERAGED_MAX;
  const EI_IMPULSE_ERROR error = classify(result, answers[answer_count % averaged], debug);
  if (error != EI_IMPULSE_OK) return error;
  answer_count++;
  const size_t count = answer_count < averaged ? answer_count : averaged;
  float means[VALUES];
  for (size_t value = 0; value < VALUES; value++) {
    float sum = 0.0f;
    for (size_t index = 0; index < count; index++) sum += answers[index][value];
    means[value] = sum / static_cast<float>(count);
  }
  put_values(means, result);
  return EI_IMPULSE_OK;
}

void run_classifier_deinit() {
  run_classifier_init();
}

EI_IMPULSE_ERROR run_classifier(ei_impulse_handle_t *, ei::signal_t *signal,
                                ei_impulse_result_t *result, bool debug) {
  return run_classifier(signal, result, debug);
}

EI_IMPULSE_ERROR process_impulse(ei_impulse_handle_t *, ei::signal_t *signal,
                                 ei_impulse_result_t *result, bool debug) {
  return run_classifier(signal, result, debug);
}

void run_classifier_init(ei_impulse_handle_t *) {
  run_classifier_init();
}

EI_IMPULSE_ERROR init_impulse(ei_impulse_handle_t *) {
  run_classifier_init();
  return EI_IMPULSE_OK;
}

EI_IMPULSE_ERROR run_classifier_continuous(ei_impulse_handle_t *, ei::signal_t *signal,
                                           ei_impulse_result_t *result, bool debug,
                                           bool enable_maf) {
  return run_classifier_continuous(signal, result, debug, enable_maf);
}

void run_classifier_deinit(ei_impulse_handle_t *) {
  run_classifier_deinit();
}
