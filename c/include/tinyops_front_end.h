/* The front end: one window of readings in, its features out. Format: docs/formats/front-end.md.
 *
 * The features are those of the Rust crate tinyops-dsp, bit for bit: single precision, evaluated as
 * such, and mathematics of its own. Which blocks a program has, it says itself, as it does of
 * operators: what it does not name, the linker leaves out. */
#ifndef TINYOPS_FRONT_END_H
#define TINYOPS_FRONT_END_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The version of the settings that this runtime reads. */
#define TINYOPS_FRONT_END_VERSION 1

/* Why a front end cannot be, or cannot do what is asked. The numbers are the same in every version. */
typedef enum tinyops_features_status {
  TINYOPS_FEATURES_MADE = 0,
  /* A setting lies outside its range. */
  TINYOPS_FEATURES_SETTING = 1,
  /* The settings end too early, or too late. */
  TINYOPS_FEATURES_TRUNCATED = 2,
  /* A version of the settings that this runtime does not know. */
  TINYOPS_FEATURES_VERSION = 3,
  /* A block or choice that does not exist, or that is not among the caller's. */
  TINYOPS_FEATURES_TAG = 4,
  /* The window has another number of readings than the front end takes. */
  TINYOPS_FEATURES_WINDOW = 5,
  /* The room for the features is not as long as they are. */
  TINYOPS_FEATURES_ROOM = 6,
  /* The scratch memory is shorter than the front end needs. */
  TINYOPS_FEATURES_SCRATCH = 7,
  /* A reading is not a number, or beyond 1e15 after scaling. */
  TINYOPS_FEATURES_NOT_FINITE = 8
} tinyops_features_status;

/* A way to make features. Its inside is no part of the interface. */
typedef struct tinyops_block tinyops_block;

/* The blocks of a program, in any order. */
typedef struct tinyops_blocks {
  const tinyops_block *const *list;
  size_t count;
} tinyops_blocks;

/* Every block there is. */
extern const tinyops_blocks tinyops_blocks_all;

/* The readings themselves. */
extern const tinyops_block tinyops_raw;
/* A few statistics of each channel. */
extern const tinyops_block tinyops_flatten;
/* Statistics and spectra of each channel, for vibration and motion. */
extern const tinyops_block tinyops_spectral;
/* Log mel energies by frame, for sound. */
extern const tinyops_block tinyops_mfe;
/* Mel cepstra by frame, for speech. */
extern const tinyops_block tinyops_mfcc;
/* Pixels, shrunk and scaled. */
extern const tinyops_block tinyops_image;

/* Settings of each block, named as in docs/formats/front-end.md; flags have the first in the lowest
 * bit. */
typedef struct tinyops_spectral_settings {
  float cutoff_hz;
  float low_hz;
  float high_hz;
  float log_floor;
  uint16_t fft_len;
  uint8_t filter_kind;
  uint8_t filter_order;
  uint8_t analysis;
  uint8_t band_count;
  uint8_t flags;
} tinyops_spectral_settings;

typedef struct tinyops_sound_settings {
  float pre_emphasis;
  float low_hz;
  float high_hz;
  /* Of mfe, the number of its level; of mfcc, its log_floor. */
  float floor;
  float trim_db;
  uint16_t frame_len;
  uint16_t stride;
  uint16_t fft_len;
  uint16_t filter_count;
  uint16_t coefficient_count;
  uint16_t lifter;
  uint16_t span;
  uint16_t stretch_count;
  uint8_t taper;
  uint8_t level;
  uint8_t normalize;
  uint8_t timeline;
  uint8_t flags;
} tinyops_sound_settings;

typedef struct tinyops_image_settings {
  float offset;
  float scale;
  uint16_t source_height;
  uint16_t source_width;
  uint16_t height;
  uint16_t width;
  bool is_grey;
} tinyops_image_settings;

/* A front end that has been checked. */
typedef struct tinyops_front_end {
  const tinyops_block *block;
  /* Readings per second and channel; 0 where time plays no part. */
  float rate_hz;
  /* The factor on every reading. */
  float scale;
  /* Readings per window and channel. */
  uint32_t window_len;
  uint16_t channel_count;
  /* Which statistics flatten makes. */
  uint8_t statistics;
  union {
    tinyops_spectral_settings spectral;
    tinyops_sound_settings sound;
    tinyops_image_settings image;
  } settings;
} tinyops_front_end;

/* Reads and checks settings: the section FRONT_END of a capsule, whose bytes nothing may follow.
 * `front_end` is written in any case, and of no use if the answer is not TINYOPS_FEATURES_MADE. */
tinyops_features_status tinyops_front_end_read(tinyops_front_end *front_end, const uint8_t *bytes,
                                               size_t len, const tinyops_blocks *blocks);

/* Extents of the features, in order of memory: height, width, channels. */
void tinyops_front_end_shape(const tinyops_front_end *front_end, uint16_t shape[3]);

/* How many features, readings of a window over all channels, and floats of scratch memory. */
size_t tinyops_front_end_feature_count(const tinyops_front_end *front_end);
size_t tinyops_front_end_reading_count(const tinyops_front_end *front_end);
size_t tinyops_front_end_scratch_len(const tinyops_front_end *front_end);

/* Computes the features of one window, whose readings stand channel by channel, reading by reading
 * (x0 y0 z0 x1 y1 z1 ...). */
tinyops_features_status tinyops_front_end_extract(const tinyops_front_end *front_end,
                                                  const float *window, size_t reading_count,
                                                  float *features, size_t feature_count,
                                                  float *scratch, size_t scratch_len);

/* Standardises features in place by the section SCALER of a capsule: (x - mean[g]) * inverse[g] with
 * g = i mod groups; without groups they stay. False, and nothing changed, if the section is no scaler. */
bool tinyops_scaler_apply(const uint8_t *section, size_t len, float *features, size_t count);

#ifdef __cplusplus
}
#endif

#endif
