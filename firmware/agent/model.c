#include "model.h"

#include <string.h>

#include "../../c/src/bytes.h"
#include "../../c/src/monitor/baseline.h"
#include "../../c/src/refusal.h"

#define DECISION_BYTES 12u
/* Kinds of golden vectors. */
enum { TENSOR = 0, WINDOW = 1, SCORE = 2 };

uint32_t tinyops_model_id(const tinyops_model *model) {
  return tinyops_read_u32(model->capsule.manifest_digest);
}

static bool is_board(const tinyops_manifest *manifest, const char *board) {
  return strlen(board) == manifest->board_bytes &&
         memcmp(board, manifest->board, manifest->board_bytes) == 0;
}

/* How many names a section LABELS has; false if it is none. */
static bool count_labels(const uint8_t *section, size_t len, uint8_t *count) {
  size_t at = 1, index;
  if (section == NULL || len == 0) return false;
  for (index = 0; index < section[0]; index++) {
    if (at >= len || len - at - 1 < section[at]) return false;
    at += 1u + section[at];
  }
  *count = section[0];
  return at == len;
}

static bool read_decision(tinyops_model *model, const uint8_t *section, size_t len) {
  if (section == NULL || len != DECISION_BYTES || section[0] != 1 || section[3] != 0) return false;
  model->task = section[1];
  model->body = section[2];
  model->threshold = tinyops_read_f32(section + 4);
  model->min_confidence = tinyops_read_f32(section + 8);
  /* An anomaly is no network's class, and a class no distance. */
  return model->task <= TINYOPS_ANOMALY && model->body <= 2 && model->threshold == model->threshold &&
         model->min_confidence == model->min_confidence &&
         (model->task == TINYOPS_ANOMALY) == (model->body != TINYOPS_BODY_NETWORK);
}

/* Whether the scaler's groups go into the features, and the baseline watches what there is. */
static bool is_of_features(const tinyops_model *model, size_t features) {
  const uint32_t groups = model->scaler_bytes < 4 ? 0 : tinyops_read_u32(model->scaler);
  uint32_t channel;
  if (groups > 0 && features % groups != 0) return false;
  for (channel = 0; channel < model->baseline.channel_count; channel++) {
    const uint16_t source = tinyops_channel_source(&model->baseline, channel);
    if (source < TINYOPS_SOURCE_EMBEDDING && source >= features) return false;
    if (source == TINYOPS_SOURCE_EMBEDDING && model->embedding.class_count == 0) return false;
  }
  return true;
}

/* Whether the distance of embeddings, if there is one, is of this network's and its classes. */
static bool measures_its_own(const tinyops_model *model) {
  tinyops_tensor embedding;
  if (model->embedding.class_count == 0) return true;
  return model->task == TINYOPS_CLASSIFY && tinyops_plan_embedding(&model->plan, &embedding) &&
         embedding.len == model->embedding.embedding_len &&
         model->class_count == model->embedding.class_count;
}

/* Whether answers are what the decision says, and every part is of the same features. */
static bool is_coherent(tinyops_model *model, bool is_distance) {
  const size_t features = tinyops_front_end_feature_count(&model->front_end);
  tinyops_tensor input;
  if (!is_of_features(model, features)) return false;
  if (is_distance != (model->body == TINYOPS_BODY_DISTANCE)) return false;
  if (is_distance) {
    return model->distance.feature_count == features && model->embedding.class_count == 0;
  }
  if (!measures_its_own(model)) return false;
  if (!tinyops_plan_input(&model->plan, 0, &input) ||
      !tinyops_plan_output(&model->plan, 0, &model->output) || input.len != features) {
    return false;
  }
  switch (model->task) {
    case TINYOPS_CLASSIFY:
      return model->class_count == model->output.len &&
             (model->baseline.class_count == model->class_count ||
              model->baseline.class_count == 0);
    case TINYOPS_ANOMALY:
      return model->body == TINYOPS_BODY_AUTOENCODER &&
             tinyops_plan_input_is_kept(&model->plan) && input.len == model->output.len;
    default:
      return true;
  }
}

static tinyops_refusal_reason reason_of(tinyops_capsule_reason reason) {
  switch (reason) {
    case TINYOPS_CAPSULE_SIGNATURE:
      return TINYOPS_REASON_SIGNATURE;
    case TINYOPS_CAPSULE_DIGEST:
      return TINYOPS_REASON_PAYLOAD;
    default:
      return TINYOPS_REASON_MALFORMED;
  }
}

static tinyops_refusal load_program(tinyops_model *model, const tinyops_firmware *firmware,
                                    const uint8_t *program, size_t len) {
  tinyops_verdict verdict;
  if (tinyops_is_distance(program, len)) {
    const bool is_sound = tinyops_distance_load(&model->distance, program, len);
    return tinyops_refusal_of(is_sound ? TINYOPS_REASON_NONE : TINYOPS_REASON_PLAN, 0);
  }
  verdict = tinyops_plan_load(&model->plan, program, len, firmware->operators);
  switch (verdict.reason) {
    case TINYOPS_SOUND:
      return tinyops_no_refusal();
    case TINYOPS_OP:
      return tinyops_refusal_of(TINYOPS_REASON_OPERATOR, (uint32_t)verdict.index);
    case TINYOPS_HEADER:
      return tinyops_refusal_of(TINYOPS_REASON_OPERATOR, 65535);
    default:
      return tinyops_refusal_of(TINYOPS_REASON_PLAN, 0);
  }
}

/* Takes the sections apart. */
static tinyops_refusal read_sections(tinyops_model *model, const tinyops_firmware *firmware) {
  const tinyops_refusal malformed = tinyops_refusal_of(TINYOPS_REASON_MALFORMED, 0);
  const tinyops_capsule *capsule = &model->capsule;
  const uint8_t *section, *labels, *program;
  size_t len, labels_bytes = 0, program_bytes = 0;
  tinyops_refusal refusal;
  section = tinyops_capsule_section(capsule, TINYOPS_SECTION_FRONT_END, &len);
  if (section == NULL) return malformed;
  if (tinyops_front_end_read(&model->front_end, section, len, firmware->blocks) !=
      TINYOPS_FEATURES_MADE) {
    return tinyops_refusal_of(TINYOPS_REASON_PLAN, 0);
  }
  model->scaler =
      tinyops_capsule_section(capsule, TINYOPS_SECTION_SCALER, &model->scaler_bytes);
  program = tinyops_capsule_section(capsule, TINYOPS_SECTION_PROGRAM, &program_bytes);
  if (model->scaler == NULL || program == NULL) return malformed;
  refusal = load_program(model, firmware, program, program_bytes);
  if (refusal.reason != TINYOPS_REASON_NONE) return refusal;
  section = tinyops_capsule_section(capsule, TINYOPS_SECTION_DECISION, &len);
  labels = tinyops_capsule_section(capsule, TINYOPS_SECTION_LABELS, &labels_bytes);
  if (!read_decision(model, section, len) ||
      !count_labels(labels, labels_bytes, &model->class_count)) {
    return malformed;
  }
  section = tinyops_capsule_section(capsule, TINYOPS_SECTION_BASELINE, &len);
  model->golden =
      tinyops_capsule_section(capsule, TINYOPS_SECTION_GOLDEN, &model->golden_bytes);
  if (section == NULL || model->golden == NULL ||
      tinyops_baseline_read(&model->baseline, section, len) != TINYOPS_BASELINE_SOUND) {
    return malformed;
  }
  section = tinyops_capsule_section(capsule, TINYOPS_SECTION_EMBEDDING, &len);
  model->embedding.class_count = 0;
  if (section != NULL && !tinyops_embedding_distance_read(&model->embedding, section, len)) {
    return malformed;
  }
  return is_coherent(model, tinyops_is_distance(program, program_bytes))
             ? refusal
             : tinyops_refusal_of(TINYOPS_REASON_PLAN, 0);
}

/* Whether the sensor is that one, and the memory suffices. */
static tinyops_refusal check_room(const tinyops_model *model, const tinyops_firmware *firmware,
                                  const tinyops_workspace *workspace) {
  const tinyops_front_end *front_end = &model->front_end;
  const size_t features = tinyops_front_end_feature_count(front_end);
  const size_t scratch = tinyops_front_end_scratch_len(front_end);
  const size_t readings = tinyops_front_end_reading_count(front_end);
  size_t len = 0;
  const uint8_t *section =
      tinyops_capsule_section(&model->capsule, TINYOPS_SECTION_SENSOR, &len);
  const tinyops_refusal refusal = tinyops_sensor_check(
      firmware->sensor, front_end->channel_count, front_end->rate_hz, section, len);
  if (refusal.reason != TINYOPS_REASON_NONE) return refusal;
  if (model->body != TINYOPS_BODY_DISTANCE && model->plan.arena_bytes > workspace->arena_bytes) {
    return tinyops_refusal_of(TINYOPS_REASON_ARENA, model->plan.arena_bytes);
  }
  if (features > workspace->features_len) return tinyops_refusal_of(TINYOPS_REASON_MEMORY, (uint32_t)features);
  if (scratch > workspace->scratch_len) return tinyops_refusal_of(TINYOPS_REASON_MEMORY, (uint32_t)scratch);
  if (readings > workspace->window_len) return tinyops_refusal_of(TINYOPS_REASON_MEMORY, (uint32_t)readings);
  return refusal;
}

/* Standardised features of the workspace into the plan's input, if there is a plan. */
static bool take_features(const tinyops_model *model, tinyops_workspace *workspace, size_t count) {
  return tinyops_scaler_apply(model->scaler, model->scaler_bytes, workspace->features, count) &&
         (model->body == TINYOPS_BODY_DISTANCE ||
          (tinyops_plan_reset(&model->plan, &workspace->arena) == TINYOPS_RAN &&
           tinyops_plan_set_input(&model->plan, workspace->features, count, &workspace->arena) ==
               TINYOPS_RAN));
}

/* The window of the workspace as features that are to be scored; `observed` may be NULL. */
static bool prepare(const tinyops_model *model, tinyops_workspace *workspace,
                    tinyops_observation *observed) {
  const tinyops_front_end *front_end = &model->front_end;
  const size_t count = tinyops_front_end_feature_count(front_end);
  if (tinyops_front_end_extract(front_end, workspace->window,
                                tinyops_front_end_reading_count(front_end), workspace->features,
                                count, workspace->scratch,
                                workspace->scratch_len) != TINYOPS_FEATURES_MADE) {
    return false;
  }
  if (observed != NULL) {
    tinyops_observe(observed, &model->baseline, workspace->features, count);
  }
  return take_features(model, workspace, count);
}

/* A golden vector of a distance: features, and a score that may differ by a part in 10,000, as
 * tinyops_nn::golden has it. */
static bool is_golden_score(const tinyops_model *model, tinyops_workspace *workspace,
                            const uint8_t *input, size_t input_bytes, const uint8_t *output,
                            size_t output_bytes) {
  const size_t count = tinyops_front_end_feature_count(&model->front_end);
  float expected, allowed, difference;
  size_t index;
  if (model->body != TINYOPS_BODY_DISTANCE || input_bytes != 4 * count || output_bytes != 4) {
    return false;
  }
  for (index = 0; index < count; index++) {
    workspace->features[index] = tinyops_read_f32(input + 4 * index);
  }
  if (!take_features(model, workspace, count)) return false;
  expected = tinyops_read_f32(output);
  allowed = expected < 0 ? -expected : expected;
  allowed = 1e-4f * (allowed > 1e-3f ? allowed : 1e-3f);
  difference = tinyops_distance_score(&model->distance, workspace->features) - expected;
  return difference <= allowed && -difference <= allowed;
}

/* One golden vector: its kind, what goes in and what must come out. */
static bool is_golden(const tinyops_model *model, tinyops_workspace *workspace, uint8_t kind,
                      const uint8_t *input, size_t input_bytes, const uint8_t *output,
                      size_t output_bytes) {
  tinyops_tensor tensor;
  uint8_t *at;
  size_t index;
  if (kind == SCORE) {
    return is_golden_score(model, workspace, input, input_bytes, output, output_bytes);
  }
  if (model->body == TINYOPS_BODY_DISTANCE) return false;
  if (kind == TENSOR) {
    if (tinyops_plan_reset(&model->plan, &workspace->arena) != TINYOPS_RAN ||
        !tinyops_plan_input(&model->plan, 0, &tensor) ||
        tinyops_tensor_bytes(&tensor) != input_bytes) {
      return false;
    }
    at = tinyops_arena_bytes(&model->plan, &workspace->arena, &tensor);
    if (at == NULL) return false;
    memcpy(at, input, input_bytes);
  } else if (kind == WINDOW) {
    if (input_bytes != 4 * tinyops_front_end_reading_count(&model->front_end)) return false;
    for (index = 0; index < input_bytes / 4; index++) {
      workspace->window[index] = tinyops_read_f32(input + 4 * index);
    }
    if (!prepare(model, workspace, NULL)) return false;
  } else {
    return false;
  }
  if (tinyops_plan_run(&model->plan, &workspace->arena) != TINYOPS_RAN) return false;
  at = tinyops_arena_bytes(&model->plan, &workspace->arena, &model->output);
  return at != NULL && tinyops_tensor_bytes(&model->output) == output_bytes &&
         memcmp(at, output, output_bytes) == 0;
}

static tinyops_refusal check_golden(const tinyops_model *model, tinyops_workspace *workspace) {
  const uint8_t *at = model->golden;
  size_t left = model->golden_bytes, count, index;
  if (left < 4 || at[0] != 1 || at[1] != 0) return tinyops_refusal_of(TINYOPS_REASON_MALFORMED, 0);
  count = tinyops_read_u16(at + 2);
  at += 4;
  left -= 4;
  /* A capsule without one cannot prove itself. */
  if (count == 0) return tinyops_refusal_of(TINYOPS_REASON_GOLDEN, 0);
  for (index = 0; index < count; index++) {
    size_t input_bytes, output_bytes;
    if (left < 8) return tinyops_refusal_of(TINYOPS_REASON_MALFORMED, 0);
    input_bytes = tinyops_read_u32(at) & 0xFFFFFF;
    output_bytes = tinyops_read_u32(at + 4);
    if (left - 8 < input_bytes || left - 8 - input_bytes < output_bytes) {
      return tinyops_refusal_of(TINYOPS_REASON_MALFORMED, 0);
    }
    if (!is_golden(model, workspace, at[3], at + 8, input_bytes, at + 8 + input_bytes,
                   output_bytes)) {
      return tinyops_refusal_of(TINYOPS_REASON_GOLDEN, (uint32_t)index);
    }
    at += 8 + input_bytes + output_bytes;
    left -= 8 + input_bytes + output_bytes;
  }
  return tinyops_refusal_of(left == 0 ? TINYOPS_REASON_NONE : TINYOPS_REASON_MALFORMED, 0);
}

tinyops_refusal tinyops_model_load(tinyops_model *model, const tinyops_firmware *firmware,
                                   const tinyops_key_set *keys, tinyops_workspace *workspace,
                                   const uint8_t *capsule, size_t len, bool is_new, bool is_signed) {
  const tinyops_capsule_reason reason =
      is_signed ? tinyops_capsule_verify_payload(&model->capsule, capsule, len)
                : tinyops_capsule_verify(&model->capsule, capsule, len, keys->release.keys,
                                         keys->release.count, tinyops_ed25519_verify, NULL);
  tinyops_refusal refusal;
  if (reason != TINYOPS_CAPSULE_VERIFIED) {
    return tinyops_refusal_of(reason_of(reason),
                      reason == TINYOPS_CAPSULE_SIGNATURE ? keys->sequence : 0);
  }
  if (!is_board(&model->capsule.manifest, firmware->board)) {
    return tinyops_refusal_of(TINYOPS_REASON_BOARD, 0);
  }
  refusal = read_sections(model, firmware);
  if (refusal.reason == TINYOPS_REASON_NONE) refusal = check_room(model, firmware, workspace);
  if (refusal.reason == TINYOPS_REASON_NONE && is_new) refusal = check_golden(model, workspace);
  return refusal;
}

static int32_t value_at(const tinyops_tensor *tensor, const uint8_t *bytes, size_t index) {
  if (tensor->element == TINYOPS_INT16) return tinyops_read_i16(bytes + 2 * index);
  return tinyops_int8(bytes[index]);
}

static float real_at(const tinyops_tensor *tensor, const uint8_t *bytes, size_t index) {
  return tinyops_dequantize(value_at(tensor, bytes, index), tensor->scale, tensor->zero_point);
}

/* The greatest score's class, of equals the first; of two, the second from the threshold on. */
static void classify(const tinyops_model *model, const uint8_t *scores, tinyops_answer *answer) {
  const tinyops_tensor *output = &model->output;
  size_t best = 0, index;
  for (index = 1; index < output->len; index++) {
    if (value_at(output, scores, index) > value_at(output, scores, best)) best = index;
  }
  if (output->len == 2 && model->threshold > 0) {
    best = real_at(output, scores, 1) >= model->threshold ? 1 : 0;
  }
  answer->class_index = (uint8_t)best;
  answer->output = real_at(output, scores, best);
  if (answer->output < 0) answer->output = 0;
  if (answer->output > 1) answer->output = 1;
  answer->is_sure = answer->output >= model->min_confidence;
}

/* Mean squared difference of what went in and what came out. */
static float reconstruction_error(const tinyops_model *model, const tinyops_workspace *workspace,
                                  const uint8_t *scores) {
  tinyops_tensor input;
  const uint8_t *before;
  float sum = 0;
  size_t index;
  (void)tinyops_plan_input(&model->plan, 0, &input);
  before = tinyops_arena_bytes(&model->plan, &workspace->arena, &input);
  for (index = 0; index < input.len; index++) {
    const float difference =
        real_at(&model->output, scores, index) - real_at(&input, before, index);
    sum += difference * difference;
  }
  return sum / (float)input.len;
}

/* How far the window's embedding lies from those of training, where the monitor watches it. */
static void observe_embedding(const tinyops_model *model, const tinyops_workspace *workspace,
                              uint8_t class_index, tinyops_observation *observed) {
  tinyops_tensor tensor;
  const uint8_t *embedding;
  float octaves;
  if (model->embedding.class_count == 0 || !tinyops_plan_embedding(&model->plan, &tensor)) return;
  embedding = tinyops_arena_bytes(&model->plan, &workspace->arena, &tensor);
  if (embedding != NULL && tinyops_embedding_octaves(&model->embedding, class_index, embedding,
                                                     tinyops_tensor_bytes(&tensor), &octaves)) {
    tinyops_observe_embedding(observed, &model->baseline, octaves);
  }
}

static void say_anomaly(const tinyops_model *model, float score, tinyops_answer *answer) {
  answer->output = score;
  answer->is_alarm = score > model->threshold;
}

bool tinyops_model_score(const tinyops_model *model, tinyops_workspace *workspace,
                         tinyops_observation *observed, tinyops_answer *answer) {
  const uint8_t *scores;
  answer->class_index = TINYOPS_NO_CLASS;
  answer->is_sure = true;
  answer->is_alarm = false;
  if (!prepare(model, workspace, observed)) return false;
  if (model->body == TINYOPS_BODY_DISTANCE) {
    say_anomaly(model, tinyops_distance_score(&model->distance, workspace->features), answer);
    return true;
  }
  if (tinyops_plan_run(&model->plan, &workspace->arena) != TINYOPS_RAN) return false;
  scores = tinyops_arena_bytes(&model->plan, &workspace->arena, &model->output);
  if (scores == NULL) return false;
  if (model->task == TINYOPS_CLASSIFY) {
    classify(model, scores, answer);
    if (observed != NULL) observe_embedding(model, workspace, answer->class_index, observed);
  } else if (model->task == TINYOPS_ANOMALY) {
    say_anomaly(model, reconstruction_error(model, workspace, scores), answer);
  } else {
    answer->output = real_at(&model->output, scores, 0);
  }
  return true;
}
