/* run_classifier() and its family over the C99 runtime of TinyOps. */
#ifndef TINYOPS_EI_RUN_CLASSIFIER_H
#define TINYOPS_EI_RUN_CLASSIFIER_H

#include "edge-impulse-sdk/dsp/numpy.hpp"
#include "edge-impulse-sdk/porting/ei_classifier_porting.h"
#include "ei_classifier_types.h"
#include "model-parameters/model_metadata.h"

/* The classes, in the order of ei_impulse_result_t.classification. */
extern const char *const *const ei_classifier_inferencing_categories;

/* There is one model in a program; the handle stands for it. */
typedef struct ei_impulse_handle_t {
  int number;
} ei_impulse_handle_t;
extern ei_impulse_handle_t ei_default_impulse;

/* One window. Its length is EI_CLASSIFIER_DSP_INPUT_FRAME_SIZE. */
EI_IMPULSE_ERROR run_classifier(ei::signal_t *signal, ei_impulse_result_t *result,
                                bool debug = false);
EI_IMPULSE_ERROR run_classifier(ei_impulse_handle_t *impulse, ei::signal_t *signal,
                                ei_impulse_result_t *result, bool debug = false);
EI_IMPULSE_ERROR process_impulse(ei_impulse_handle_t *impulse, ei::signal_t *signal,
                                 ei_impulse_result_t *result, bool debug = false);

/* Slices after each other: the newest window is classified once there is one, in which features are
 * those of the whole window. Until then every value is 0. With the moving average a value is the mean of
 * half a window's answers. A slice may be any part of a window; its length counts
 * the readings of all channels. */
void run_classifier_init();
void run_classifier_init(ei_impulse_handle_t *impulse);
EI_IMPULSE_ERROR init_impulse(ei_impulse_handle_t *impulse);
EI_IMPULSE_ERROR run_classifier_continuous(ei::signal_t *signal, ei_impulse_result_t *result,
                                           bool debug = false, bool enable_maf = true);
EI_IMPULSE_ERROR run_classifier_continuous(ei_impulse_handle_t *impulse, ei::signal_t *signal,
                                           ei_impulse_result_t *result, bool debug = false,
                                           bool enable_maf = true);
void run_classifier_deinit();
void run_classifier_deinit(ei_impulse_handle_t *impulse);

#endif
