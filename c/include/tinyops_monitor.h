/* What a device watches between two reports, and what it tells of it. Formats: the section BASELINE of
 * docs/formats/capsule.md, docs/formats/frames.md.
 *
 * Counts, alarms and frames are those of the Rust crates tinyops-sketch, tinyops-device and
 * tinyops-wire, bit for bit. */
#ifndef TINYOPS_MONITOR_H
#define TINYOPS_MONITOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Bins of a channel, and the most channels and classes. */
#define TINYOPS_BINS 8
#define TINYOPS_CHANNELS_MAX 9
#define TINYOPS_CLASSES_MAX 32
/* A class that the model does not name. */
#define TINYOPS_NO_CLASS 255
/* The longest report: nine channels, 32 classes, the costs. */
#define TINYOPS_REPORT_BYTES_MAX 75
#define TINYOPS_ALARM_BYTES 3
/* Bytes around a body: version, device, model and sequence number before it, a tag behind it. */
#define TINYOPS_ENVELOPE_HEAD_BYTES 17
#define TINYOPS_ENVELOPE_BYTES 25
#define TINYOPS_DEVICE_KEY_BYTES 32

/* Why bytes are not a baseline. The numbers are the same in every version. */
typedef enum tinyops_baseline_reason {
  TINYOPS_BASELINE_SOUND = 0,
  /* Too many channels, too many classes. */
  TINYOPS_BASELINE_CHANNELS = 1,
  TINYOPS_BASELINE_CLASSES = 2,
  /* Too few bytes, or bytes left over. */
  TINYOPS_BASELINE_LENGTH = 3,
  /* A spread, edge or share that no training can have given. */
  TINYOPS_BASELINE_NUMBER = 4,
  /* A version that this runtime does not know. */
  TINYOPS_BASELINE_VERSION = 5
} tinyops_baseline_reason;

/* What training saw. It borrows the bytes, which stay where and as they are. */
typedef struct tinyops_baseline {
  const uint8_t *channels;
  uint8_t channel_count;
  uint8_t class_count;
  /* The channels of the model's output and of the embedding's distance; 255 if there is none. */
  uint8_t output;
  uint8_t embedding;
} tinyops_baseline;

/* Reads and checks the section BASELINE. `baseline` is of no use if the answer is not
 * TINYOPS_BASELINE_SOUND. */
tinyops_baseline_reason tinyops_baseline_read(tinyops_baseline *baseline, const uint8_t *bytes,
                                              size_t len);

/* The values of one window on the channels of a baseline: what was not told is no number. */
typedef struct tinyops_observation {
  float values[TINYOPS_CHANNELS_MAX];
} tinyops_observation;

/* The monitored among the features, before scaling overwrites them. */
void tinyops_observe(tinyops_observation *window, const tinyops_baseline *baseline,
                     const float *features, size_t count);
/* Adds how far the window's embedding lies from those of the factory. */
void tinyops_observe_embedding(tinyops_observation *window, const tinyops_baseline *baseline,
                               float distance);

/* Most values of an embedding whose distance is measured. */
#define TINYOPS_EMBEDDING_LEN_MAX 64

/* Where the embeddings of training lie, section EMBEDDING. It borrows the bytes. */
typedef struct tinyops_embedding_distance {
  const uint8_t *shifts;
  const uint8_t *blocks;
  const uint8_t *means;
  uint8_t class_count;
  uint8_t embedding_len;
} tinyops_embedding_distance;

/* Reads and checks a section EMBEDDING. */
bool tinyops_embedding_distance_read(tinyops_embedding_distance *distance, const uint8_t *section,
                                     size_t len);

/* How far an embedding, as it lies in the arena, is from the mean of the class that the network gave, in
 * octaves: what tinyops_observe_embedding() takes. False for a class or a length that is not there. */
bool tinyops_embedding_octaves(const tinyops_embedding_distance *distance, size_t class_index,
                               const uint8_t *embedding, size_t len, float *octaves);

/* The values of one channel, in 1/256 of the baseline's standard deviation from its mean. */
typedef struct tinyops_channel_sketch {
  int64_t sum;
  uint64_t sum_squares;
  uint32_t bins[TINYOPS_BINS];
} tinyops_channel_sketch;

/* A live stream, counted against a baseline: whole numbers, which add up in any order. */
typedef struct tinyops_sketch {
  tinyops_channel_sketch channels[TINYOPS_CHANNELS_MAX];
  uint32_t class_counts[TINYOPS_CLASSES_MAX];
  uint32_t count;
} tinyops_sketch;

/* A channel that the device itself watches for a change: what its own values are like, and the
 * evidence that they have moved. */
typedef struct tinyops_watched {
  float centre;
  float sum;
  float sum_squares;
  float inverse_deviation;
  float up;
  float down;
  uint32_t count;
  bool has_alarmed;
} tinyops_watched;

/* The sketch of a report period, and the alarm that does not wait for its end. All zeros are one that
 * has seen nothing. */
typedef struct tinyops_monitor {
  tinyops_sketch sketch;
  tinyops_watched output;
  tinyops_watched embedding;
  /* Sum of the microseconds from a window to its answer; the longest; windows measured; the most
   * memory in use, of all there is. */
  uint64_t sum_us;
  uint32_t max_us;
  uint32_t measured;
  float ram_share;
  /* Counts the reports of this model. */
  uint16_t epoch;
  /* Facts of the period, as in the frames: 4 a value has moved, 8 something was no finite number. */
  uint8_t flags;
} tinyops_monitor;

/* What a window has led to. */
typedef struct tinyops_alarm {
  /* Whether there is one, of a channel, and whether that fell; the flags are those of the period so far
   * in any case, as a heartbeat tells them. */
  bool is_raised;
  bool has_fallen;
  uint8_t channel;
  uint8_t flags;
} tinyops_alarm;

/* Counts one scored window: what it was, what the model said of it (its confidence, score or value),
 * and its class, or TINYOPS_NO_CLASS. An alarm is raised at most once a period and channel. */
tinyops_alarm tinyops_monitor_push(tinyops_monitor *monitor, const tinyops_baseline *baseline,
                                   const tinyops_observation *window, float output,
                                   uint8_t class_index);

/* Counts what a window has cost. */
void tinyops_monitor_cost(tinyops_monitor *monitor, uint32_t micros, uint32_t ram_bytes,
                          uint32_t ram_total_bytes);

/* Begins the next period, once a report is on its way. */
void tinyops_monitor_begin_period(tinyops_monitor *monitor);

/* How much a report says of each channel. */
typedef enum tinyops_report_format {
  /* Moments of 6 bits and histograms of 8 x 3 bits. */
  TINYOPS_REPORT_M6H8 = 2,
  /* Moments of 8 bits. */
  TINYOPS_REPORT_M8 = 3,
  /* Moments of 4 bits, for links of 11 bytes. */
  TINYOPS_REPORT_M4 = 4
} tinyops_report_format;

/* What a report needs besides the monitor. */
typedef struct tinyops_report {
  tinyops_report_format format;
  /* The first four bytes of the manifest's digest, little-endian. */
  uint32_t model;
  /* Of the device's key (tinyops_dither_seed), and the envelope's number. */
  uint64_t seed;
  uint32_t sequence;
  /* Facts that the monitor does not know, such as 128 for a battery that is low. */
  uint8_t flags;
} tinyops_report;

/* Writes the summary of the period, of at most TINYOPS_REPORT_BYTES_MAX bytes; answers how many, or 0
 * if there is too little room. */
size_t tinyops_report_write(const tinyops_monitor *monitor, const tinyops_baseline *baseline,
                            const tinyops_report *report, uint8_t *out, size_t room);

/* Writes an alarm, or a heartbeat where none is raised. */
void tinyops_alarm_write(const tinyops_alarm *alarm, uint8_t out[TINYOPS_ALARM_BYTES]);

/* The seed of the dither in a device's reports. */
uint64_t tinyops_dither_seed(const uint8_t key[TINYOPS_DEVICE_KEY_BYTES]);

/* Who says something, about which model, in which order. */
typedef struct tinyops_envelope {
  uint64_t device;
  uint32_t model;
  uint32_t sequence;
  /* Whether it goes down to the device. */
  bool is_down;
} tinyops_envelope;

/* Seals a body of so many bytes, which stands at TINYOPS_ENVELOPE_HEAD_BYTES of `out`; answers the
 * bytes of all, which are TINYOPS_ENVELOPE_BYTES more, or 0 if there is too little room. */
size_t tinyops_envelope_seal(const tinyops_envelope *envelope, size_t body_bytes,
                             const uint8_t key[TINYOPS_DEVICE_KEY_BYTES], uint8_t *out,
                             size_t room);

/* Opens an envelope: the body, or NULL if it is none or its tag is not the key's. Whether it goes the
 * right way and its number rises is the caller's to see. */
const uint8_t *tinyops_envelope_open(tinyops_envelope *envelope, const uint8_t *bytes, size_t len,
                                     const uint8_t key[TINYOPS_DEVICE_KEY_BYTES],
                                     size_t *body_bytes);

#ifdef __cplusplus
}
#endif

#endif
