/* Readings of an accelerometer in a window that moves on with each, and an answer that several windows
 * must agree on. What reads the sensor is the board's; here a counter stands for it. */
#include <model_inferencing.h>

#define CONVERT_G_TO_MS2 9.80665f

static bool debug_nn = false;
static float buffer[EI_CLASSIFIER_DSP_INPUT_FRAME_SIZE] = {0};
static float inference_buffer[EI_CLASSIFIER_DSP_INPUT_FRAME_SIZE];
static int reading = 0;

static void read_acceleration(float *x, float *y, float *z) {
  *x = (float)(reading % 7) / 7.0f;
  *y = (float)(reading % 11) / 11.0f;
  *z = 1.0f;
  reading++;
}

void setup() {
  ei_serial_set_baudrate(115200);
  if (EI_CLASSIFIER_RAW_SAMPLES_PER_FRAME != 3) {
    ei_printf("ERR: EI_CLASSIFIER_RAW_SAMPLES_PER_FRAME should be equal to 3 (the 3 sensor axes)\n");
  }
  ei_printf("Interval: %.2f ms.\n", (double)EI_CLASSIFIER_INTERVAL_MS);
}

void loop() {
  ei_classifier_smooth_t smooth;
  ei_classifier_smooth_init(&smooth, 10 /* no. of readings */, 7 /* min. readings the same */,
                            0.8 /* min. confidence */, 0.3 /* max anomaly */);
  for (int window = 0; window < 10; window++) {
    for (size_t ix = 0; ix < EI_CLASSIFIER_RAW_SAMPLE_COUNT; ix++) {
      numpy::roll(buffer, EI_CLASSIFIER_DSP_INPUT_FRAME_SIZE, -3);
      float *last = &buffer[EI_CLASSIFIER_DSP_INPUT_FRAME_SIZE - 3];
      read_acceleration(&last[0], &last[1], &last[2]);
      last[0] *= CONVERT_G_TO_MS2;
      last[1] *= CONVERT_G_TO_MS2;
      last[2] *= CONVERT_G_TO_MS2;
    }
    memcpy(inference_buffer, buffer, EI_CLASSIFIER_DSP_INPUT_FRAME_SIZE * sizeof(float));
    signal_t signal;
    int err = numpy::signal_from_buffer(inference_buffer, EI_CLASSIFIER_DSP_INPUT_FRAME_SIZE, &signal);
    if (err != 0) {
      ei_printf("Failed to create signal from buffer (%d)\n", err);
      return;
    }
    ei_impulse_result_t result = {0};
    err = run_classifier(&signal, &result, debug_nn);
    if (err != EI_IMPULSE_OK) {
      ei_printf("ERR: Failed to run classifier (%d)\n", err);
      return;
    }
    const char *prediction = ei_classifier_smooth_update(&smooth, &result);
    ei_printf("%s\n", prediction);
  }
  ei_classifier_smooth_free(&smooth);
}
