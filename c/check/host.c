/* The conformance check on a host: every record of a file, each plan and each arena in a block of
 * its own and of its own size, so that a sanitizer sees one byte too far.
 *
 *   records <count> cases <count> wrong <count>
 *
 * after a line for each record that differs. The program ends with 1 if one does. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../include/tinyops_capsule.h"
#include "cases.h"
#include "host.h"

void *tinyops_check_own(const void *bytes, size_t len) {
  void *block = malloc(len > 0 ? len : 1);
  if (block == NULL) abort();
  if (bytes != NULL) memcpy(block, bytes, len);
  return block;
}

void tinyops_check_differs(tinyops_tally *all, const char *what, unsigned long is,
                           unsigned long should_be) {
  printf("record %lu: %s %lu, not %lu\n", all->records, what, is, should_be);
  all->wrong++;
}

static uint8_t *own_block(const uint8_t *bytes, size_t len) {
  return (uint8_t *)tinyops_check_own(bytes, len);
}

/* A block for each memory region, or one for all. */
static tinyops_arena own_arena(const tinyops_plan *plan, bool in_regions) {
  tinyops_arena arena = tinyops_arena_of(NULL, plan->arena_bytes);
  uint32_t region;
  if (in_regions) arena.count = (uint8_t)(1 + plan->more_regions);
  for (region = 0; region < arena.count; region++) {
    if (arena.count > 1) {
      const uint8_t *start = plan->more_starts + 4 * (size_t)region;
      size_t begin = region == 0 ? 0 : tinyops_check_word(start - 4);
      size_t end = region < plan->more_regions ? tinyops_check_word(start) : plan->arena_bytes;
      arena.bytes[region] = end - begin;
    }
    arena.pieces[region] = own_block(NULL, arena.bytes[region]);
    memset(arena.pieces[region], 0, arena.bytes[region]);
  }
  return arena;
}

/* Runs the cases of a sound plan; answers where the record ends. */
static const uint8_t *run_cases(const tinyops_plan *plan, const tinyops_check_record *record,
                                bool in_regions, tinyops_tally *all) {
  tinyops_arena arena = own_arena(plan, in_regions);
  const size_t inputs_bytes = tinyops_check_side_bytes(plan, false);
  const size_t outputs_bytes = tinyops_check_side_bytes(plan, true);
  const uint8_t *at = record->cases;
  uint32_t index;
  for (index = 0; index < record->case_count; index++) {
    const uint8_t *expected = tinyops_check_begin(plan, &arena, record, index, at);
    size_t wrong = outputs_bytes;
    if (expected != NULL && tinyops_plan_run(plan, &arena) == TINYOPS_RAN) {
      wrong = tinyops_check_wrong(plan, &arena, expected);
    }
    if (wrong > 0) tinyops_check_differs(all, "wrong bytes of a case", (unsigned long)wrong, 0);
    all->cases++;
    at += inputs_bytes + outputs_bytes;
  }
  for (index = 0; index < arena.count; index++) free(arena.pieces[index]);
  return at;
}

/* A capsule or a signature; answers where the record ends. */
static const uint8_t *check_signed(const tinyops_check_record *record, tinyops_tally *all) {
  const bool is_capsule = record->kind == TINYOPS_CHECK_CAPSULE;
  const uint8_t *key = record->cases;
  uint8_t *own = own_block(record->plan, record->plan_bytes);
  uint32_t verdict;
  if (is_capsule) {
    tinyops_capsule capsule;
    verdict = (uint32_t)tinyops_capsule_verify(&capsule, own, record->plan_bytes, key, 1,
                                               tinyops_ed25519_verify, NULL);
  } else {
    verdict = tinyops_ed25519_verify(NULL, key, own, record->plan_bytes, key + 32) ? 1 : 0;
  }
  if (verdict != record->verdict) tinyops_check_differs(all, "verdict", verdict, record->verdict);
  free(own);
  return key + (is_capsule ? 32 : 32 + 64);
}

static const uint8_t *check_plan(const tinyops_check_record *given, tinyops_tally *all) {
  const tinyops_check_record record = *given;
  uint8_t *own = own_block(record.plan, record.plan_bytes);
  const uint8_t *end = record.cases;
  tinyops_plan plan;
  const tinyops_verdict verdict =
      tinyops_plan_load(&plan, own, record.plan_bytes, &tinyops_operators_all);
  if (tinyops_check_verdict(verdict) != record.verdict) {
    tinyops_check_differs(all, "reason", tinyops_check_verdict(verdict), record.verdict);
  }
  if (verdict.reason == TINYOPS_SOUND && record.case_count > 0) {
    if (plan.more_regions > 0) (void)run_cases(&plan, &record, true, all);
    end = run_cases(&plan, &record, false, all);
  }
  free(own);
  return end;
}

static const uint8_t *check_record(const uint8_t *bytes, tinyops_tally *all) {
  const tinyops_check_record record = tinyops_check_record_at(bytes);
  switch (record.kind) {
    case TINYOPS_CHECK_CAPSULE:
    case TINYOPS_CHECK_SIGNATURE:
      return check_signed(&record, all);
    case TINYOPS_CHECK_FRONT_END:
      return tinyops_check_front_end(&record, all);
    case TINYOPS_CHECK_SCALER:
      return tinyops_check_scaler(&record, all);
    case TINYOPS_CHECK_DELTA:
      return tinyops_check_delta(&record, all);
    case TINYOPS_CHECK_MONITOR:
      return tinyops_check_monitor(&record, all);
    case TINYOPS_CHECK_SENSOR:
      return tinyops_check_sensor(&record, all);
    case TINYOPS_CHECK_SLOTS:
      return tinyops_check_slots(&record, all);
    case TINYOPS_CHECK_KEY_SET:
      return tinyops_check_key_set(&record, all);
    case TINYOPS_CHECK_PROVISION:
      return tinyops_check_provision(&record, all);
    case TINYOPS_CHECK_ANSWER:
      return tinyops_check_answer(&record, all);
    case TINYOPS_CHECK_DISTANCE:
      return tinyops_check_distance(&record, all);
    case TINYOPS_CHECK_EMBEDDING:
      return tinyops_check_embedding(&record, all);
    default:
      return check_plan(&record, all);
  }
}

/* The whole of a file, or NULL: a part of it would be read as if it were all. */
static uint8_t *read_file(const char *path, size_t *len) {
  FILE *file = fopen(path, "rb");
  uint8_t *bytes = NULL;
  long end;
  if (file == NULL) return NULL;
  if (fseek(file, 0, SEEK_END) == 0 && (end = ftell(file)) >= 0 && fseek(file, 0, SEEK_SET) == 0) {
    *len = (size_t)end;
    bytes = own_block(NULL, *len);
    if (fread(bytes, 1, *len, file) != *len) {
      free(bytes);
      bytes = NULL;
    }
  }
  fclose(file);
  return bytes;
}

int main(int count, char **arguments) {
  size_t len = 0;
  uint8_t *bytes = count == 2 ? read_file(arguments[1], &len) : NULL;
  const uint8_t *at = bytes;
  tinyops_tally all = {0, 0, 0};
  if (bytes == NULL) {
    fprintf(stderr, "usage: %s FILE, which holds records of the conformance check\n",
            count > 0 ? arguments[0] : "host");
    return 2;
  }
  while (len - (size_t)(at - bytes) >= TINYOPS_CHECK_HEADER_BYTES && tinyops_check_word(at) > 0) {
    const uint8_t *end = check_record(at, &all);
    all.records++;
    at = bytes + ((size_t)(end - bytes) + 15) / 16 * 16;
  }
  printf("records %lu cases %lu wrong %lu\n", all.records, all.cases, all.wrong);
  free(bytes);
  return all.wrong == 0 ? 0 : 1;
}
