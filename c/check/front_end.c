/* Front ends: settings, the features of windows, and what scales them. */
#include "../include/tinyops_front_end.h"

#include <stdlib.h>
#include <string.h>

#include "host.h"

/* Numbers as this processor has them. */
static float *own_numbers(const uint8_t *bytes, size_t count) {
  float *numbers = (float *)tinyops_check_own(NULL, count * sizeof(float));
  size_t index;
  for (index = 0; index < count && bytes != NULL; index++) {
    const uint32_t word = tinyops_check_word(bytes + 4 * index);
    memcpy(&numbers[index], &word, sizeof word);
  }
  return numbers;
}

static unsigned long count_wrong(const float *features, const uint8_t *expected, size_t count) {
  unsigned long wrong = 0;
  size_t index;
  for (index = 0; index < count; index++) {
    uint32_t word;
    memcpy(&word, &features[index], sizeof word);
    if (word != tinyops_check_word(expected + 4 * index)) wrong++;
  }
  return wrong;
}

static const uint8_t *check_window(const tinyops_front_end *front_end, const uint8_t *at,
                                   tinyops_tally *all) {
  const size_t readings = tinyops_front_end_reading_count(front_end);
  const size_t count = tinyops_front_end_feature_count(front_end);
  const size_t scratch_len = tinyops_front_end_scratch_len(front_end);
  const uint32_t expected = tinyops_check_word(at);
  float *window = own_numbers(at + 4, readings);
  float *features = own_numbers(NULL, count), *scratch = own_numbers(NULL, scratch_len);
  const tinyops_features_status status = tinyops_front_end_extract(
      front_end, window, readings, features, count, scratch, scratch_len);
  at += 4 + 4 * readings;
  if ((uint32_t)status != expected) {
    tinyops_check_differs(all, "status of a window", (unsigned long)status, expected);
  }
  if (expected == TINYOPS_FEATURES_MADE) {
    const unsigned long wrong = count_wrong(features, at, count);
    if (wrong > 0) tinyops_check_differs(all, "wrong features", wrong, 0);
    at += 4 * count;
  }
  /* One too few of anything is refused. */
  if (tinyops_front_end_extract(front_end, window, readings - 1, features, count, scratch,
                                scratch_len) != TINYOPS_FEATURES_WINDOW ||
      tinyops_front_end_extract(front_end, window, readings, features, count - 1, scratch,
                                scratch_len) != TINYOPS_FEATURES_ROOM ||
      (scratch_len > 0 && tinyops_front_end_extract(front_end, window, readings, features, count,
                                                    scratch, scratch_len - 1) !=
                              TINYOPS_FEATURES_SCRATCH)) {
    tinyops_check_differs(all, "memory that does not suffice", 0, 1);
  }
  free(window);
  free(features);
  free(scratch);
  all->cases++;
  return at;
}

const uint8_t *tinyops_check_front_end(const tinyops_check_record *record, tinyops_tally *all) {
  uint8_t *own = (uint8_t *)tinyops_check_own(record->plan, record->plan_bytes);
  const uint8_t *at = record->cases;
  tinyops_front_end front_end;
  const tinyops_features_status status =
      tinyops_front_end_read(&front_end, own, record->plan_bytes, &tinyops_blocks_all);
  uint32_t index;
  free(own);
  if ((uint32_t)status != record->verdict) {
    tinyops_check_differs(all, "status of settings", (unsigned long)status, record->verdict);
  }
  for (index = 0; index < record->case_count; index++) at = check_window(&front_end, at, all);
  return at;
}

const uint8_t *tinyops_check_scaler(const tinyops_check_record *record, tinyops_tally *all) {
  const size_t count = tinyops_check_word(record->cases);
  const uint8_t *at = record->cases + 4;
  uint8_t *section = (uint8_t *)tinyops_check_own(record->plan, record->plan_bytes);
  float *features = own_numbers(at, count);
  const bool is_scaled = tinyops_scaler_apply(section, record->plan_bytes, features, count);
  unsigned long wrong;
  if ((is_scaled ? 1u : 0u) != record->verdict) {
    tinyops_check_differs(all, "verdict of a scaler", is_scaled ? 1 : 0, record->verdict);
  }
  /* What is refused changes nothing. */
  if (record->verdict == 1) at += 4 * count;
  wrong = count_wrong(features, at, count);
  if (wrong > 0) tinyops_check_differs(all, "wrong scaled features", wrong, 0);
  free(section);
  free(features);
  all->cases++;
  return at + 4 * count;
}
