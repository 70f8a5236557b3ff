/* The records that the conformance check gives to the runtime, on a host and on a board.
 *
 *   plan_bytes u32, case_count u32, kind u32, verdict u32, the plan, zeros to a multiple of 16,
 *   case_count times the inputs and the expected outputs, zeros to a multiple of 16
 *
 * The verdict is the reason of tinyops_plan_load(), and the index shifted left by 8 bits. Other kinds
 * than plans have other bytes, and behind them no cases: a capsule the key of 32 bytes that it should
 * be signed by, its verdict a tinyops_capsule_reason; a message its key and a signature of 64 bytes,
 * its verdict 1 if that is sound; settings of a front end behind them, for each case, the status of a
 * window as u32, its readings and, if there are any, its features, their verdict a
 * tinyops_features_status; a delta five words, bytes of the old image, of the new one if it is made,
 * of the room for it and of a piece, and the reason in pieces, and both images, its verdict a tinyops_delta_reason; a baseline,
 * if it is sound, windows with their alarms and reports, as monitor.c reads them, its verdict a
 * tinyops_baseline_reason; a flash a schedule of steps, as slots.c reads them, its verdict 1; a scaler
 * the count of features as u32, these and, if they are scaled, what they become, its verdict 1 if they
 * are; a section SENSOR a sensor, as sensor.c reads it; a
 * key set, flash and an answer to who enrols what trust.c reads; a distance, of features or of
 * embeddings, what distance.c reads. Records stand after each other; one without bytes ends them. */
#ifndef TINYOPS_CHECK_RECORD_FILE_H
#define TINYOPS_CHECK_RECORD_FILE_H

#include "../include/tinyops.h"

#define TINYOPS_CHECK_HEADER_BYTES 16u

enum {
  TINYOPS_CHECK_PLAN = 0,
  /* Each case goes on where the one before ended. */
  TINYOPS_CHECK_STREAM = 1,
  TINYOPS_CHECK_CAPSULE = 2,
  TINYOPS_CHECK_SIGNATURE = 3,
  TINYOPS_CHECK_FRONT_END = 4,
  TINYOPS_CHECK_DELTA = 5,
  TINYOPS_CHECK_MONITOR = 6,
  TINYOPS_CHECK_SLOTS = 7,
  TINYOPS_CHECK_SCALER = 8,
  TINYOPS_CHECK_SENSOR = 9,
  TINYOPS_CHECK_KEY_SET = 10,
  TINYOPS_CHECK_PROVISION = 11,
  TINYOPS_CHECK_ANSWER = 12,
  TINYOPS_CHECK_DISTANCE = 13,
  TINYOPS_CHECK_EMBEDDING = 14
};

typedef struct tinyops_check_record {
  const uint8_t *plan;
  size_t plan_bytes;
  const uint8_t *cases;
  uint32_t case_count;
  uint32_t kind;
  uint32_t verdict;
} tinyops_check_record;

static inline uint32_t tinyops_check_word(const uint8_t *at) {
  return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static inline tinyops_check_record tinyops_check_record_at(const uint8_t *bytes) {
  tinyops_check_record record;
  record.plan_bytes = tinyops_check_word(bytes);
  record.case_count = tinyops_check_word(bytes + 4);
  record.kind = tinyops_check_word(bytes + 8);
  record.verdict = tinyops_check_word(bytes + 12);
  record.plan = bytes + TINYOPS_CHECK_HEADER_BYTES;
  record.cases = record.plan + (record.plan_bytes + 15) / 16 * 16;
  return record;
}

static inline uint32_t tinyops_check_verdict(tinyops_verdict verdict) {
  return (uint32_t)verdict.reason | (uint32_t)verdict.index << 8;
}

/* The bytes of all inputs of a case, or of all outputs. */
static inline size_t tinyops_check_side_bytes(const tinyops_plan *plan, bool of_outputs) {
  tinyops_tensor tensor;
  size_t bytes = 0;
  uint16_t number;
  for (number = 0; of_outputs ? tinyops_plan_output(plan, number, &tensor)
                              : tinyops_plan_input(plan, number, &tensor);
       number++) {
    bytes += tinyops_tensor_bytes(&tensor);
  }
  return bytes;
}

#endif
