/* Sections SENSOR against sensors. Behind the section: channel count of the front end and of the sensor
 * u16 each, both rates f32, mounting u32, whether there is a section u32, whether channels are said
 * u32, per channel of the sensor its full scale f32, unit and axis, 16 bytes each, ended by zeros. The
 * verdict is the reason and, shifted left by 8 bits, the lowest 24 bits of the detail. */
#include <stdlib.h>
#include <string.h>

#include "../include/tinyops_sensor.h"
#include "../src/bytes.h"
#include "host.h"

#define CHANNEL_BYTES 36u
#define HEAD_BYTES 24u

const uint8_t *tinyops_check_sensor(const tinyops_check_record *record, tinyops_tally *all) {
  const uint8_t *at = record->cases;
  uint8_t *own = (uint8_t *)tinyops_check_own(record->plan, record->plan_bytes);
  const uint8_t *channels_at = at + HEAD_BYTES;
  tinyops_channel *channels;
  tinyops_sensor sensor;
  tinyops_refusal refusal;
  uint32_t verdict;
  uint16_t index;
  sensor.channel_count = tinyops_read_u16(at + 2);
  sensor.rate_hz = tinyops_read_f32(at + 8);
  sensor.mounting = (uint8_t)tinyops_check_word(at + 12);
  sensor.section = NULL;
  sensor.section_bytes = 0;
  channels = (tinyops_channel *)tinyops_check_own(NULL, sizeof *channels * sensor.channel_count);
  for (index = 0; index < sensor.channel_count; index++) {
    const uint8_t *bytes = channels_at + CHANNEL_BYTES * index;
    channels[index].full_scale = tinyops_read_f32(bytes);
    channels[index].unit = (const char *)bytes + 4;
    channels[index].axis = (const char *)bytes + 20;
  }
  sensor.channels = tinyops_check_word(at + 20) != 0 ? channels : NULL;
  refusal = tinyops_sensor_check(&sensor, tinyops_read_u16(at), tinyops_read_f32(at + 4),
                                 tinyops_check_word(at + 16) != 0 ? own : NULL, record->plan_bytes);
  verdict = (uint32_t)refusal.reason | refusal.detail << 8;
  if (verdict != record->verdict) {
    tinyops_check_differs(all, "refusal of a sensor", verdict, record->verdict);
  }
  free(channels);
  free(own);
  return channels_at + (size_t)CHANNEL_BYTES * sensor.channel_count;
}
