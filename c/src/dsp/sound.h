/* Frames of sound, their mel energies, and what becomes of rows of numbers over a window: what is
 * common to mfe and mfcc. */
#ifndef TINYOPS_SOUND_H
#define TINYOPS_SOUND_H

#include "block.h"

/* Flags of cepstra: the first is the energy, and slopes stand beside the numbers. */
enum { TINYOPS_SOUND_ENERGY = 1, TINYOPS_SOUND_SLOPES = 2 };

/* The scratch memory, cut up. */
typedef struct tinyops_sound {
  float *taper;
  /* Places of the triangles' edges, in bins. */
  float *edges;
  float *buffer;
  float *mels;
  /* For a cosine transform; of length 0 without. */
  float *cosines;
  /* Energy of each frame. */
  float *energies;
  /* Frame by frame the numbers of one channel, and as much again where the normalisation slides. */
  float *rows;
  float *removed;
  uint32_t frame_count;
  /* Numbers of a frame, before slopes. */
  uint32_t width;
  uint32_t cosine_count;
  bool has_slopes;
} tinyops_sound;

void tinyops_sound_read_framing(tinyops_settings *settings, tinyops_front_end *end);
void tinyops_sound_read_timeline(tinyops_settings *settings, tinyops_front_end *end);

/* Whether framing, bank, normalisation and timeline are in range. */
bool tinyops_sound_is_sound(const tinyops_front_end *end);

/* How the scratch memory is cut: for cepstra where the settings have coefficients. NULL cuts nothing and
 * only counts. */
tinyops_sound tinyops_sound_of(const tinyops_front_end *end, float *scratch);
size_t tinyops_sound_scratch_len(const tinyops_front_end *end);
void tinyops_sound_shape(const tinyops_front_end *end, uint32_t shape[3]);

/* Fills taper and edges. */
void tinyops_sound_begin(const tinyops_front_end *end, tinyops_sound *sound);

/* Makes the mel energies of a frame, and keeps its whole energy. */
void tinyops_sound_frame(const tinyops_front_end *end, tinyops_sound *sound, const float *window,
                         uint32_t channel, uint32_t frame);

/* Normalises the rows of a channel and writes its share of the features. */
void tinyops_sound_finish(const tinyops_front_end *end, tinyops_sound *sound, uint32_t channel,
                          float *features);

#endif
