#include <string.h>

#include "baseline.h"

/* Windows that a device learns its own normal from, and the least spread that a change is measured in. */
#define OWN_WINDOWS 128u
#define OWN_SPREAD_MIN 0.25f
/* Half of the shift that the cumulative sum is tuned to find, and the sum above which it alarms. */
#define SLACK 0.25f
#define THRESHOLD 20.0f

enum { MOVED = 4, NOT_FINITE = 8 };

static float no_number(void) {
  return tinyops_float_of_bits(0x7fc00000);
}

void tinyops_observe(tinyops_observation *window, const tinyops_baseline *baseline,
                     const float *features, size_t count) {
  uint32_t channel;
  for (channel = 0; channel < TINYOPS_CHANNELS_MAX; channel++) {
    window->values[channel] = no_number();
    if (channel < baseline->channel_count) {
      const uint16_t source = tinyops_channel_source(baseline, channel);
      const bool is_feature = source < TINYOPS_SOURCE_EMBEDDING;
      if (is_feature && source < count) window->values[channel] = features[source];
    }
  }
}

void tinyops_observe_embedding(tinyops_observation *window, const tinyops_baseline *baseline,
                               float distance) {
  if (baseline->embedding != TINYOPS_NOWHERE) window->values[baseline->embedding] = distance;
}

/* How many of the edges, which ascend, are at or below a value; what is no number is below none. */
static uint32_t bin_of(const tinyops_baseline *baseline, uint32_t channel, float value) {
  uint32_t bin = 0, step;
  for (step = 4; step > 0; step /= 2) {
    const uint32_t edge = TINYOPS_CHANNEL_EDGES + bin + step - 1;
    if (!(value < tinyops_channel_number(baseline, channel, edge))) bin += step;
  }
  return bin;
}

/* The nearest whole number of steps of 1/256, of two the even one; the most of what is no number. */
static int32_t steps_of(float deviation) {
  /* From here to twice as much, numbers of single precision are the whole ones: adding it rounds. */
  static const float whole = 12582912.0f;
  const float steps = deviation * 256.0f;
  const uint32_t rounded = tinyops_bits_of_float(steps + whole) - tinyops_bits_of_float(whole);
  if (rounded + 32768u <= 65536u) return (int32_t)rounded;
  return steps <= -32768.0f ? -32768 : 32768;
}

static void count_window(tinyops_sketch *sketch, const tinyops_baseline *baseline,
                         const tinyops_observation *window, uint8_t class_index) {
  uint32_t channel;
  if (sketch->count == UINT32_MAX) return;
  sketch->count++;
  if (class_index < TINYOPS_CLASSES_MAX) sketch->class_counts[class_index]++;
  for (channel = 0; channel < baseline->channel_count; channel++) {
    tinyops_channel_sketch *counted = &sketch->channels[channel];
    const float value = window->values[channel];
    const int64_t steps = steps_of(tinyops_channel_deviation(baseline, channel, value));
    counted->bins[bin_of(baseline, channel, value)]++;
    counted->sum += steps;
    counted->sum_squares += (uint64_t)(steps * steps);
  }
}

/* Learns what the device's own values are like; true, and how far this one is from them, once that is
 * known. */
static bool own_deviation(tinyops_watched *own, float value, float *deviation) {
  float distance;
  if (own->count == OWN_WINDOWS) {
    *deviation = (value - own->centre) * own->inverse_deviation;
    return true;
  }
  if (own->count == 0) own->centre = value;
  own->count++;
  /* Sums from a value near the mean lose nothing. */
  distance = value - own->centre;
  own->sum += distance;
  own->sum_squares += distance * distance;
  if (own->count == OWN_WINDOWS) {
    const float mean = own->sum * (1.0f / (float)OWN_WINDOWS);
    const float variance = own->sum_squares * (1.0f / (float)OWN_WINDOWS) - mean * mean;
    const float spread = variance > 0 ? tinyops_sqrtf(variance) : 0;
    own->centre += mean;
    own->inverse_deviation = 1.0f / (spread > OWN_SPREAD_MIN ? spread : OWN_SPREAD_MIN);
  }
  return false;
}

/* Takes a value of a channel; whether it has moved for the first time in the period, and then whether it
 * fell. */
static bool see(tinyops_watched *watched, const tinyops_baseline *baseline, uint32_t channel,
                float value, bool *has_fallen) {
  const float deviation = tinyops_channel_deviation(baseline, channel, value);
  float z;
  bool is_down;
  if (!tinyops_is_finite(deviation) || !own_deviation(watched, deviation, &z)) return false;
  watched->up = watched->up + z - SLACK;
  if (!(watched->up > 0)) watched->up = 0;
  watched->down = watched->down - z - SLACK;
  if (!(watched->down > 0)) watched->down = 0;
  if (!(watched->up > THRESHOLD) && !(watched->down > THRESHOLD)) return false;
  is_down = !(watched->up > THRESHOLD);
  watched->up = watched->down = 0;
  if (watched->has_alarmed) return false;
  watched->has_alarmed = true;
  *has_fallen = is_down;
  return true;
}

tinyops_alarm tinyops_monitor_push(tinyops_monitor *monitor, const tinyops_baseline *baseline,
                                   const tinyops_observation *window, float output,
                                   uint8_t class_index) {
  tinyops_alarm alarm = {false, false, 0, 0};
  tinyops_observation told = *window;
  if (baseline->output != TINYOPS_NOWHERE) told.values[baseline->output] = output;
  count_window(&monitor->sketch, baseline, &told, class_index);
  if (!tinyops_is_finite(output)) {
    monitor->flags |= NOT_FINITE;
    alarm.flags = monitor->flags;
    return alarm;
  }
  if (baseline->output != TINYOPS_NOWHERE &&
      see(&monitor->output, baseline, baseline->output, output, &alarm.has_fallen)) {
    alarm.is_raised = true;
    alarm.channel = baseline->output;
  }
  /* Of two alarms in one window the one that says more is told: that windows are none that the model
   * knows. */
  if (baseline->embedding != TINYOPS_NOWHERE) {
    bool has_fallen = false;
    if (see(&monitor->embedding, baseline, baseline->embedding, told.values[baseline->embedding],
            &has_fallen)) {
      alarm.is_raised = true;
      alarm.channel = baseline->embedding;
      alarm.has_fallen = has_fallen;
    }
  }
  if (alarm.is_raised) monitor->flags |= MOVED;
  alarm.flags = monitor->flags;
  return alarm;
}

void tinyops_monitor_cost(tinyops_monitor *monitor, uint32_t micros, uint32_t ram_bytes,
                          uint32_t ram_total_bytes) {
  const float share = (float)ram_bytes / (float)(ram_total_bytes > 0 ? ram_total_bytes : 1);
  if (monitor->measured < UINT32_MAX) monitor->measured++;
  monitor->sum_us += micros;
  if (micros > monitor->max_us) monitor->max_us = micros;
  if (share > monitor->ram_share) monitor->ram_share = share;
}

void tinyops_monitor_begin_period(tinyops_monitor *monitor) {
  memset(&monitor->sketch, 0, sizeof monitor->sketch);
  monitor->sum_us = 0;
  monitor->max_us = monitor->measured = 0;
  monitor->flags = 0;
  monitor->output.has_alarmed = monitor->embedding.has_alarmed = false;
  monitor->epoch++;
}
