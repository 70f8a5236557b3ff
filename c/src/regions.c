/* The memory regions of a plan. */
#include "plan.h"

static uint32_t more_start(const tinyops_plan *plan, uint32_t index) {
  return tinyops_read_u32(plan->more_starts + (size_t)index * TINYOPS_REGION_BYTES);
}

uint32_t tinyops_plan_region_start(const tinyops_plan *plan, uint32_t region) {
  if (region == 0) return 0;
  return region <= plan->more_regions ? more_start(plan, region - 1) : plan->arena_bytes;
}

tinyops_verdict tinyops_plan_check_regions(const tinyops_plan *plan) {
  uint32_t least = 0, index;
  if (plan->more_regions == 0) return tinyops_verdict_of(TINYOPS_SOUND, 0);
  for (index = 0; index < plan->more_regions; index++) {
    uint32_t start = more_start(plan, index);
    if (start < least || start > plan->arena_bytes || start % TINYOPS_REGION_ALIGN != 0) {
      return tinyops_verdict_of(TINYOPS_REGIONS, 0);
    }
    least = start;
  }
  for (index = 0; index < plan->tensor_count; index++) {
    tinyops_tensor tensor = tinyops_plan_view(plan, (uint16_t)index);
    tinyops_range range = tinyops_range_of(&tensor);
    if (tinyops_plan_region(plan, range.start, range.end) != (int32_t)tensor.region) {
      return tinyops_verdict_of(TINYOPS_TENSOR, (uint16_t)index);
    }
  }
  return tinyops_verdict_of(TINYOPS_SOUND, 0);
}

int32_t tinyops_plan_region(const tinyops_plan *plan, uint64_t start, uint64_t end) {
  /* Of regions without bytes that begin at one place, the last counts: it may have some. */
  int32_t of_start = 0, of_end = 0;
  uint32_t index;
  for (index = 0; index < plan->more_regions; index++) {
    uint32_t at = more_start(plan, index);
    if (at <= start) of_start++;
    if (at < end) of_end++;
  }
  return of_start == of_end ? of_start : -1;
}
