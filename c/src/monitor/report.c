#include <string.h>

#include "baseline.h"

enum { KIND_ALARM = 1 };

/* The versions of a frame, in the upper four bits of its first byte. */
#define VERSION 0x10u
#define VERSION_WITH_COSTS 0x20u
#define COST_BYTES 3u
/* Tells the dither of the costs from that of the summary: "cost". */
#define COST_STREAM 0x636f7374u
#define HEARTBEAT 0x7Fu
#define DOWN 0x80u

/* Reproducible noise that sender and receiver both know: added before rounding, taken away after.
 *
 * Source: Roberts, 1962; SplitMix64 (Steele, Lea and Flood, 2014). */
typedef struct dither {
  uint64_t state;
} dither;

static uint64_t next(dither *noise) {
  uint64_t z;
  noise->state += 0x9e3779b97f4a7c15u;
  z = noise->state;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return z ^ z >> 31;
}

static dither dither_of(uint64_t seed, uint32_t sequence) {
  dither noise;
  noise.state = seed ^ ((uint64_t)sequence << 32 | (uint64_t)(uint32_t)~sequence);
  /* Neighbouring sequence numbers must not start alike. */
  (void)next(&noise);
  return noise;
}

/* A code of so many bits for a value of a range. */
static uint32_t code_of(dither *noise, uint32_t bits, float low, float high, float value) {
  const float top = (float)((1u << bits) - 1);
  const float offset = (float)(next(noise) >> 40) / 16777216.0f - 0.5f;
  float position;
  if (!(value == value)) return (uint32_t)top;
  value = value < low ? low : value > high ? high : value;
  position = (value - low) * (top / (high - low)) + offset;
  if (position < 0) return 0;
  return position > top ? (uint32_t)top : tinyops_rounded(position);
}

/* Bits that are written one after another, the lowest first. */
typedef struct bit_writer {
  uint8_t *bytes;
  uint32_t at;
} bit_writer;

static void put(bit_writer *writer, uint32_t value, uint32_t count) {
  for (; count > 0; count--, value >>= 1, writer->at++) {
    if ((value & 1) != 0) {
      uint8_t *byte = &writer->bytes[writer->at / 8];
      *byte = (uint8_t)(*byte | 1u << writer->at % 8);
    }
  }
}

/* Bits of a moment, and of a class. */
static uint32_t moment_bits(tinyops_report_format format) {
  return format == TINYOPS_REPORT_M6H8 ? 6 : format == TINYOPS_REPORT_M8 ? 8 : 4;
}

static uint32_t class_bits(tinyops_report_format format) {
  return format == TINYOPS_REPORT_M4 ? 2 : 6;
}

static uint32_t header_bytes(tinyops_report_format format) {
  return format == TINYOPS_REPORT_M6H8 ? 7 : format == TINYOPS_REPORT_M8 ? 3 : 1;
}

/* The mean deviation of so many values, and the logarithm of their spread. */
static float mean_of(const tinyops_channel_sketch *channel, uint32_t count) {
  if (count == 0) return 0;
  return (float)((double)channel->sum / (double)count) / 256.0f;
}

static float log_spread_of(const tinyops_channel_sketch *channel, uint32_t count) {
  double mean, variance, spread;
  if (count < 2) return 0;
  mean = (double)channel->sum / (double)count;
  variance = (double)channel->sum_squares / (double)count - mean * mean;
  /* Half a step is what rounding alone makes of a constant. */
  spread = variance > 0.25 ? tinyops_sqrt(variance) : 0.5;
  return (float)tinyops_log(spread / 256.0);
}

/* The roots of the shares of some counts, as codes. */
static void put_shares(bit_writer *writer, dither *noise, const uint32_t *counts, uint32_t count,
                       uint32_t of_all, uint32_t bits, float high) {
  uint64_t sum = 0;
  uint32_t index;
  for (index = 0; index < of_all; index++) sum += counts[index];
  for (index = 0; index < count; index++) {
    const float share = sum == 0 ? 0 : (float)((double)counts[index] / (double)sum);
    put(writer, code_of(noise, bits, 0, high, tinyops_sqrtf(share)), bits);
  }
}

/* A power of two, of what may be 0. */
static float log2_of(float value) {
  return value > 0 ? tinyops_log2f(value) : -1e30f;
}

static void write_costs(const tinyops_monitor *monitor, const tinyops_report *report,
                        uint8_t out[COST_BYTES]) {
  dither noise = dither_of(report->seed ^ COST_STREAM, report->sequence);
  const float mean = (float)monitor->sum_us / (float)monitor->measured;
  out[0] = (uint8_t)code_of(&noise, 8, 1.0f, 25.0f, log2_of(mean));
  out[1] = (uint8_t)code_of(&noise, 8, 1.0f, 25.0f, log2_of((float)monitor->max_us));
  out[2] = 0;
  if (monitor->ram_share > 0) {
    out[2] = (uint8_t)code_of(&noise, 8, -8.0f, 0.0f, log2_of(monitor->ram_share));
    if (out[2] == 0) out[2] = 1;
  }
}

static void write_header(const tinyops_monitor *monitor, const tinyops_report *report, uint8_t *out) {
  const float code = 8.0f * log2_of((float)monitor->sketch.count + 1.0f);
  const uint8_t count_code = code >= 255.0f ? 255 : (uint8_t)tinyops_rounded(code);
  out[0] = (uint8_t)((uint32_t)report->format | VERSION);
  if (report->format == TINYOPS_REPORT_M6H8) {
    out[1] = (uint8_t)(report->model & 0xFF);
    out[2] = (uint8_t)(report->model >> 8 & 0xFF);
    out[3] = (uint8_t)(monitor->epoch & 0xFF);
    out[4] = (uint8_t)(monitor->epoch >> 8);
    out[5] = count_code;
    out[6] = monitor->flags | report->flags;
  } else if (report->format == TINYOPS_REPORT_M8) {
    out[1] = (uint8_t)(monitor->epoch & 0xFF);
    out[2] = count_code;
  }
}

size_t tinyops_report_write(const tinyops_monitor *monitor, const tinyops_baseline *baseline,
                            const tinyops_report *report, uint8_t *out, size_t room) {
  const tinyops_sketch *sketch = &monitor->sketch;
  const uint32_t of_moment = moment_bits(report->format), of_class = class_bits(report->format);
  const bool has_bins = report->format == TINYOPS_REPORT_M6H8;
  const bool has_costs = monitor->measured > 0 && report->format != TINYOPS_REPORT_M4;
  const uint32_t bits = baseline->channel_count * (2 * of_moment + (has_bins ? 24u : 0)) +
                        baseline->class_count * of_class;
  const uint32_t head = header_bytes(report->format), len = head + (bits + 7) / 8;
  dither noise = dither_of(report->seed, report->sequence);
  bit_writer writer;
  uint32_t channel;
  if (room < len + (has_costs ? COST_BYTES : 0)) return 0;
  memset(out, 0, len);
  write_header(monitor, report, out);
  writer.bytes = out + head;
  writer.at = 0;
  for (channel = 0; channel < baseline->channel_count; channel++) {
    const tinyops_channel_sketch *counted = &sketch->channels[channel];
    put(&writer, code_of(&noise, of_moment, -2.0f, 2.0f, mean_of(counted, sketch->count)), of_moment);
    put(&writer, code_of(&noise, of_moment, -1.0f, 1.0f, log_spread_of(counted, sketch->count)),
        of_moment);
    if (has_bins) {
      put_shares(&writer, &noise, counted->bins, TINYOPS_BINS, TINYOPS_BINS, 3, 0.70710678f);
    }
  }
  put_shares(&writer, &noise, sketch->class_counts, baseline->class_count, TINYOPS_CLASSES_MAX,
             of_class, 1.0f);
  if (!has_costs) return len;
  write_costs(monitor, report, out + len);
  out[0] = (uint8_t)((uint32_t)report->format | VERSION_WITH_COSTS);
  return len + COST_BYTES;
}

void tinyops_alarm_write(const tinyops_alarm *alarm, uint8_t out[TINYOPS_ALARM_BYTES]) {
  out[0] = KIND_ALARM | VERSION;
  out[1] = alarm->flags;
  out[2] = HEARTBEAT;
  if (alarm->is_raised) {
    out[2] = (uint8_t)((alarm->channel & HEARTBEAT) | (alarm->has_fallen ? DOWN : 0));
  }
}
