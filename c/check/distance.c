/* Distances of features and of embeddings. Behind a section PROGRAM that is a distance: count of cases
 * u32, and for each the features and the score, f32; its verdict is 1 if it is sound. Behind a section
 * EMBEDDING: the same, and for each case its class u32, the length of the embedding u32, the embedding
 * with zeros to a multiple of 4, whether there is an answer u32, and that, f32. */
#include <stdlib.h>

#include "../include/tinyops_distance.h"
#include "../include/tinyops_monitor.h"
#include "../src/bytes.h"
#include "host.h"

static void check_bits(float is, const uint8_t *should_be, const char *what, tinyops_tally *all) {
  const uint32_t bits = tinyops_bits_of_float(is);
  if (bits != tinyops_check_word(should_be)) {
    tinyops_check_differs(all, what, bits, tinyops_check_word(should_be));
  }
  all->cases++;
}

static void check_verdict(bool is_sound, const tinyops_check_record *record, tinyops_tally *all) {
  if ((is_sound ? 1u : 0u) != record->verdict) {
    tinyops_check_differs(all, "soundness of a distance", is_sound, record->verdict);
  }
}

const uint8_t *tinyops_check_distance(const tinyops_check_record *record, tinyops_tally *all) {
  uint8_t *own = (uint8_t *)tinyops_check_own(record->plan, record->plan_bytes);
  const uint32_t count = tinyops_check_word(record->cases);
  const uint8_t *at = record->cases + 4;
  tinyops_distance distance;
  const bool is_sound = tinyops_distance_load(&distance, own, record->plan_bytes);
  uint32_t index, feature;
  check_verdict(is_sound, record, all);
  for (index = 0; is_sound && index < count; index++) {
    float *features = (float *)tinyops_check_own(NULL, sizeof *features * distance.feature_count);
    for (feature = 0; feature < distance.feature_count; feature++, at += 4) {
      features[feature] = tinyops_read_f32(at);
    }
    check_bits(tinyops_distance_score(&distance, features), at, "distance", all);
    at += 4;
    free(features);
  }
  free(own);
  return at;
}

const uint8_t *tinyops_check_embedding(const tinyops_check_record *record, tinyops_tally *all) {
  uint8_t *own = (uint8_t *)tinyops_check_own(record->plan, record->plan_bytes);
  const uint32_t count = tinyops_check_word(record->cases);
  const uint8_t *at = record->cases + 4;
  tinyops_embedding_distance distance;
  const bool is_sound = tinyops_embedding_distance_read(&distance, own, record->plan_bytes);
  uint32_t index;
  check_verdict(is_sound, record, all);
  for (index = 0; is_sound && index < count; index++) {
    const uint32_t len = tinyops_check_word(at + 4);
    uint8_t *embedding = (uint8_t *)tinyops_check_own(at + 8, len);
    float octaves = 0;
    const bool is_there =
        tinyops_embedding_octaves(&distance, tinyops_check_word(at), embedding, len, &octaves);
    at += 8 + (len + 3) / 4 * 4;
    if ((is_there ? 1u : 0u) != tinyops_check_word(at)) {
      tinyops_check_differs(all, "whether there is a distance", is_there, tinyops_check_word(at));
    }
    check_bits(octaves, at + 4, "distance of an embedding", all);
    at += 8;
    free(embedding);
  }
  free(own);
  return at;
}
