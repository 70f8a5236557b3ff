/* A capsule as a model: checked once, then window in, answer out. */
#ifndef TINYOPS_MODEL_H
#define TINYOPS_MODEL_H

#include "../../c/include/tinyops.h"
#include "../../c/include/tinyops_capsule.h"
#include "../../c/include/tinyops_distance.h"
#include "../../c/include/tinyops_trust.h"
#include "../../c/include/tinyops_front_end.h"
#include "../../c/include/tinyops_monitor.h"
#include "../../c/include/tinyops_sensor.h"

/* What a model answers, and how it comes to it: section DECISION. */
enum { TINYOPS_CLASSIFY = 0, TINYOPS_REGRESS = 1, TINYOPS_ANOMALY = 2 };
enum { TINYOPS_BODY_NETWORK = 0, TINYOPS_BODY_AUTOENCODER = 1, TINYOPS_BODY_DISTANCE = 2 };

/* What firmware is for: whose capsules it takes, and what its sensor delivers. */
typedef struct tinyops_firmware {
  /* Class of its board, ended by a zero. */
  const char *board;
  const tinyops_sensor *sensor;
  /* What is linked. */
  const tinyops_operators *operators;
  const tinyops_blocks *blocks;
  /* Who may sign key sets, none where it takes no newer one, and the firmware's own. */
  tinyops_roots roots;
  tinyops_key_set keys;
} tinyops_firmware;

/* Memory that scoring works in. */
typedef struct tinyops_workspace {
  tinyops_arena arena;
  size_t arena_bytes;
  float *window;
  size_t window_len;
  float *features;
  size_t features_len;
  float *scratch;
  size_t scratch_len;
} tinyops_workspace;

/* A model whose parts are sound and fit each other. It borrows the capsule's bytes. */
typedef struct tinyops_model {
  tinyops_capsule capsule;
  /* What is scored by: a plan, or a distance where the body is one. */
  tinyops_plan plan;
  tinyops_distance distance;
  tinyops_front_end front_end;
  tinyops_baseline baseline;
  tinyops_tensor output;
  /* Where the embeddings of training lie; no class where the capsule does not say. */
  tinyops_embedding_distance embedding;
  const uint8_t *scaler;
  size_t scaler_bytes;
  const uint8_t *golden;
  size_t golden_bytes;
  float threshold;
  float min_confidence;
  uint8_t task;
  uint8_t body;
  uint8_t class_count;
} tinyops_model;

/* What a model says of a window. */
typedef struct tinyops_answer {
  /* Confidence in the class, the score, or the value. */
  float output;
  /* The class, or TINYOPS_NO_CLASS. */
  uint8_t class_index;
  /* Whether the confidence reaches the model's least; whether a score exceeds its threshold. */
  bool is_sure;
  bool is_alarm;
} tinyops_answer;

/* The id that reports of a model carry: the first bytes of its manifest's digest. */
uint32_t tinyops_model_id(const tinyops_model *model);

/* Checks a capsule all the way, by the release keys of a set, and whether this firmware with this memory can run it; with `is_new` its
 * golden vectors, too. With `is_signed` the signature is taken for granted: the bytes are those whose
 * signature was checked when they were installed. */
tinyops_refusal tinyops_model_load(tinyops_model *model, const tinyops_firmware *firmware,
                                   const tinyops_key_set *keys, tinyops_workspace *workspace,
                                   const uint8_t *capsule, size_t len, bool is_new, bool is_signed);

/* Scores the window of the workspace, and writes what it is on the channels of the baseline. False if it
 * could not be scored. */
bool tinyops_model_score(const tinyops_model *model, tinyops_workspace *workspace,
                         tinyops_observation *observed, tinyops_answer *answer);

#endif
