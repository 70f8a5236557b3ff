/* Monitors: what windows lead to, and the sealed reports of a period. */
#include "../include/tinyops_monitor.h"

#include <stdlib.h>
#include <string.h>

#include "host.h"

/* What is read of a record, from its beginning. */
typedef struct cursor {
  const uint8_t *at;
} cursor;

static uint32_t word(cursor *from) {
  from->at += 4;
  return tinyops_check_word(from->at - 4);
}

static float real(cursor *from) {
  const uint32_t bits = word(from);
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

static void check_window(tinyops_monitor *monitor, const tinyops_baseline *baseline, size_t count,
                         cursor *from, tinyops_tally *all) {
  float *features = (float *)tinyops_check_own(NULL, count * sizeof(float));
  tinyops_observation window;
  tinyops_alarm alarm;
  uint8_t frame[TINYOPS_ALARM_BYTES];
  uint32_t class_index, expected, is, micros;
  float embedding, output;
  size_t index;
  for (index = 0; index < count; index++) features[index] = real(from);
  embedding = real(from);
  output = real(from);
  class_index = word(from);
  micros = word(from);
  tinyops_observe(&window, baseline, features, count);
  tinyops_observe_embedding(&window, baseline, embedding);
  alarm = tinyops_monitor_push(monitor, baseline, &window, output, (uint8_t)class_index);
  if (micros > 0) tinyops_monitor_cost(monitor, micros, micros, 3000000);
  tinyops_alarm_write(&alarm, frame);
  is = (uint32_t)frame[1] | (uint32_t)frame[2] << 8;
  if (!alarm.is_raised && alarm.has_fallen) tinyops_check_differs(all, "fall of no alarm", 1, 0);
  expected = word(from);
  if (is != expected) tinyops_check_differs(all, "alarm", is, expected);
  free(features);
  all->cases++;
}

/* Writes the report in each format, seals it, and opens what came out. */
static void check_reports(const tinyops_monitor *monitor, const tinyops_baseline *baseline,
                          const uint8_t key[TINYOPS_DEVICE_KEY_BYTES], cursor *from,
                          tinyops_tally *all) {
  static const tinyops_report_format formats[3] = {TINYOPS_REPORT_M6H8, TINYOPS_REPORT_M8,
                                                   TINYOPS_REPORT_M4};
  uint32_t index;
  for (index = 0; index < 3; index++) {
    uint8_t out[TINYOPS_REPORT_BYTES_MAX + TINYOPS_ENVELOPE_BYTES];
    tinyops_envelope envelope, opened;
    tinyops_report report;
    const uint8_t *body;
    size_t len, sealed, body_bytes = 0;
    const size_t expected = word(from);
    envelope.device = 0x0123456789abcdefu;
    envelope.model = report.model = word(from);
    envelope.sequence = report.sequence = word(from);
    envelope.is_down = false;
    report.format = formats[index];
    report.seed = tinyops_dither_seed(key);
    report.flags = 0x80;
    len = tinyops_report_write(monitor, baseline, &report, out + TINYOPS_ENVELOPE_HEAD_BYTES,
                               TINYOPS_REPORT_BYTES_MAX);
    sealed = tinyops_envelope_seal(&envelope, len, key, out, sizeof out);
    if (sealed != expected || memcmp(out, from->at, expected) != 0) {
      tinyops_check_differs(all, "report of format", (unsigned long)formats[index], 0);
    }
    body = tinyops_envelope_open(&opened, out, sealed, key, &body_bytes);
    if (body != out + TINYOPS_ENVELOPE_HEAD_BYTES || body_bytes != len ||
        opened.device != envelope.device || opened.model != envelope.model ||
        opened.sequence != envelope.sequence || opened.is_down) {
      tinyops_check_differs(all, "an envelope that does not open", 0, 1);
    }
    out[sealed / 2] ^= 1;
    if (tinyops_envelope_open(&opened, out, sealed, key, &body_bytes) != NULL ||
        tinyops_report_write(monitor, baseline, &report, out, len - 1) != 0 ||
        tinyops_envelope_seal(&envelope, len, key, out, sealed - 1) != 0) {
      tinyops_check_differs(all, "what should be refused", 0, 1);
    }
    from->at += expected;
  }
}

const uint8_t *tinyops_check_monitor(const tinyops_check_record *record, tinyops_tally *all) {
  uint8_t *own = (uint8_t *)tinyops_check_own(record->plan, record->plan_bytes);
  tinyops_baseline baseline;
  tinyops_monitor monitor;
  cursor from;
  const tinyops_baseline_reason reason = tinyops_baseline_read(&baseline, own, record->plan_bytes);
  from.at = record->cases;
  if ((uint32_t)reason != record->verdict) {
    tinyops_check_differs(all, "reason of a baseline", (unsigned long)reason, record->verdict);
  } else if (reason == TINYOPS_BASELINE_SOUND) {
    const uint8_t *key = from.at;
    uint32_t count, windows;
    from.at += TINYOPS_DEVICE_KEY_BYTES;
    count = word(&from);
    memset(&monitor, 0, sizeof monitor);
    for (windows = word(&from); windows > 0; windows--) {
      check_window(&monitor, &baseline, count, &from, all);
    }
    check_reports(&monitor, &baseline, key, &from, all);
    tinyops_monitor_begin_period(&monitor);
    check_reports(&monitor, &baseline, key, &from, all);
  }
  free(own);
  return from.at;
}
