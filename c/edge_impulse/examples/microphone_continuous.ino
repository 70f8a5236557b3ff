/* Sound in slices, each of which gives an answer about the newest window. */
#define EI_CLASSIFIER_SLICES_PER_MODEL_WINDOW 4
#include <model_inferencing.h>

static int16_t samples[EI_CLASSIFIER_SLICE_SIZE];
static bool debug_nn = false;
static int print_results = -(EI_CLASSIFIER_SLICES_PER_MODEL_WINDOW);

static bool microphone_inference_record(void) {
  static int16_t next = 0;
  for (size_t i = 0; i < EI_CLASSIFIER_SLICE_SIZE; i++) samples[i] = (int16_t)(next++ % 200 - 100);
  return true;
}

static int microphone_audio_signal_get_data(size_t offset, size_t length, float *out_ptr) {
  numpy::int16_to_float(&samples[offset], out_ptr, length);
  return 0;
}

void setup() {
  ei_serial_set_baudrate(115200);
  run_classifier_init();
}

void loop() {
  if (!microphone_inference_record()) {
    ei_printf("ERR: Failed to record audio...\n");
    return;
  }
  signal_t signal;
  signal.total_length = EI_CLASSIFIER_SLICE_SIZE;
  signal.get_data = &microphone_audio_signal_get_data;
  ei_impulse_result_t result = {0};
  EI_IMPULSE_ERROR r = run_classifier_continuous(&signal, &result, debug_nn);
  if (r != EI_IMPULSE_OK) {
    ei_printf("ERR: Failed to run classifier (%d)\n", r);
    return;
  }
  if (++print_results >= (EI_CLASSIFIER_SLICES_PER_MODEL_WINDOW)) {
    for (size_t ix = 0; ix < EI_CLASSIFIER_LABEL_COUNT; ix++) {
      ei_printf("    %s: %.5f\n", result.classification[ix].label, result.classification[ix].value);
    }
    print_results = 0;
  }
}
