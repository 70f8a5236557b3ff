/* The sensor contract: what readings a model was trained on, against what the firmware's sensor
 * delivers. Format: docs/formats/capsule.md, section SENSOR.
 *
 * What differs, and in which order, is that of the Rust crate tinyops-device. */
#ifndef TINYOPS_SENSOR_H
#define TINYOPS_SENSOR_H

#include "tinyops_slots.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Where a sensor's axis points, in axes of its machine; a minus is another way. */
enum {
  TINYOPS_PLUS_X = 1,
  TINYOPS_MINUS_X = 2,
  TINYOPS_PLUS_Y = 3,
  TINYOPS_MINUS_Y = 4,
  TINYOPS_PLUS_Z = 5,
  TINYOPS_MINUS_Z = 6
};

/* A mounting by where the sensor's x and y axes point; z follows, for sensors are right-handed. */
#define TINYOPS_MOUNTING(x, y) ((uint8_t)((x) << 4 | (y)))
#define TINYOPS_MOUNTING_NOT_SAID 0
#define TINYOPS_UPRIGHT TINYOPS_MOUNTING(TINYOPS_PLUS_X, TINYOPS_PLUS_Y)

/* One channel of a sensor. Texts end with a zero; an empty one, and a full scale of 0, say nothing. */
typedef struct tinyops_channel {
  /* Such as "acc.x". */
  const char *axis;
  /* Such as "g". */
  const char *unit;
  /* The greatest reading, in that unit. */
  float full_scale;
} tinyops_channel;

/* What the firmware states of its sensor. */
typedef struct tinyops_sensor {
  float rate_hz;
  uint16_t channel_count;
  /* TINYOPS_MOUNTING(), or TINYOPS_MOUNTING_NOT_SAID. */
  uint8_t mounting;
  /* As many as channel_count; NULL says nothing of them. */
  const tinyops_channel *channels;
  /* What says the channels instead, where it is not NULL: a section SENSOR that tinyops_sensor_read took. */
  const uint8_t *section;
  size_t section_bytes;
} tinyops_sensor;

/* Makes a sensor of what a section SENSOR says, from bytes that may be anything: those of a factory's record,
 * which stay where they are. False if it is none, or not of so many channels and this rate. */
bool tinyops_sensor_read(tinyops_sensor *sensor, uint16_t channel_count, float rate_hz,
                         const uint8_t *section, size_t len);

/* Whether readings of a sensor mean to a model what those of its training did, as far as both say.
 * `channel_count` and `rate_hz` are those of the model's front end; `section` is the section SENSOR of
 * its capsule, NULL where there is none. The answer names the field that differs. */
tinyops_refusal tinyops_sensor_check(const tinyops_sensor *sensor, uint16_t channel_count,
                                     float rate_hz, const uint8_t *section, size_t len);

#ifdef __cplusplus
}
#endif

#endif
