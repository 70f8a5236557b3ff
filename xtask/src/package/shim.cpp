/* Says of each window on standard input what `run_classifier()` says: its labels with their values. */
#include <stdio.h>

#include "fan_inferencing.h"

static float readings[EI_CLASSIFIER_DSP_INPUT_FRAME_SIZE];

int main() {
  size_t count = 0;
  while (scanf("%f", &readings[count]) == 1) {
    signal_t signal;
    ei_impulse_result_t result;
    if (++count < EI_CLASSIFIER_DSP_INPUT_FRAME_SIZE) continue;
    count = 0;
    if (numpy::signal_from_buffer(readings, EI_CLASSIFIER_DSP_INPUT_FRAME_SIZE, &signal) != 0) return 1;
    if (run_classifier(&signal, &result) != EI_IMPULSE_OK) return 1;
    for (size_t label = 0; label < EI_CLASSIFIER_LABEL_COUNT; label++) {
      printf("%s %.9g ", result.classification[label].label, (double)result.classification[label].value);
    }
    printf("\n");
  }
  return count == 0 ? 0 : 1;
}
