#include "cases.h"

#include <string.h>

const uint8_t *tinyops_check_begin(const tinyops_plan *plan, const tinyops_arena *arena,
                                   const tinyops_check_record *record, uint32_t index,
                                   const uint8_t *inputs) {
  tinyops_tensor tensor;
  uint16_t number;
  if ((index == 0 || record->kind != TINYOPS_CHECK_STREAM) && tinyops_plan_reset(plan, arena) != TINYOPS_RAN) {
    return NULL;
  }
  for (number = 0; tinyops_plan_input(plan, number, &tensor); number++) {
    uint8_t *place = tinyops_arena_bytes(plan, arena, &tensor);
    if (place == NULL) return NULL;
    memcpy(place, inputs, tinyops_tensor_bytes(&tensor));
    inputs += tinyops_tensor_bytes(&tensor);
  }
  return inputs;
}

size_t tinyops_check_wrong(const tinyops_plan *plan, const tinyops_arena *arena,
                           const uint8_t *expected) {
  tinyops_tensor tensor;
  size_t wrong = 0, at;
  uint16_t number;
  for (number = 0; tinyops_plan_output(plan, number, &tensor); number++) {
    const uint8_t *made = tinyops_arena_bytes(plan, arena, &tensor);
    const size_t bytes = tinyops_tensor_bytes(&tensor);
    for (at = 0; at < bytes; at++) {
      if (made == NULL || made[at] != expected[at]) wrong++;
    }
    expected += bytes;
  }
  return wrong;
}
