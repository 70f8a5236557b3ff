/* One window that lies in the program: what a model answers, without a sensor. */
#include <model_inferencing.h>

static const float features[] = {
#include "features.inc"
};

int raw_feature_get_data(size_t offset, size_t length, float *out_ptr) {
  memcpy(out_ptr, features + offset, length * sizeof(float));
  return 0;
}

void print_inference_result(ei_impulse_result_t result);

void setup() {
  ei_serial_set_baudrate(115200);
}

void loop() {
  ei_impulse_result_t result = {0};
  signal_t features_signal;
  if (sizeof(features) / sizeof(float) != EI_CLASSIFIER_DSP_INPUT_FRAME_SIZE) {
    ei_printf("The array has %lu items, %lu are needed\n",
              (unsigned long)(sizeof(features) / sizeof(float)),
              (unsigned long)EI_CLASSIFIER_DSP_INPUT_FRAME_SIZE);
    ei_sleep(1000);
    return;
  }
  features_signal.total_length = sizeof(features) / sizeof(features[0]);
  features_signal.get_data = &raw_feature_get_data;
  EI_IMPULSE_ERROR res = run_classifier(&features_signal, &result, false /* debug */);
  if (res != EI_IMPULSE_OK) {
    ei_printf("ERR: Failed to run classifier (%d)\n", res);
    return;
  }
  ei_printf("run_classifier returned: %d\r\n", res);
  print_inference_result(result);
  ei_sleep(1000);
}

void print_inference_result(ei_impulse_result_t result) {
#if EI_CLASSIFIER_OBJECT_DETECTION == 1
  for (uint32_t i = 0; i < result.bounding_boxes_count; i++) {
    ei_impulse_result_bounding_box_t bb = result.bounding_boxes[i];
    if (bb.value != 0) ei_printf("  %s (%f)\n", bb.label, bb.value);
  }
#else
  for (uint16_t i = 0; i < EI_CLASSIFIER_LABEL_COUNT; i++) {
    ei_printf("  %s: ", ei_classifier_inferencing_categories[i]);
    ei_printf("%.5f\r\n", result.classification[i].value);
  }
#endif
#if EI_CLASSIFIER_HAS_ANOMALY
  ei_printf("Anomaly prediction: %.3f\r\n", result.anomaly);
#endif
}
