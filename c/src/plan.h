/* What loading a plan is made of. */
#ifndef TINYOPS_PLAN_H
#define TINYOPS_PLAN_H

#include "operator.h"

/* Bytes of the arena or of the constants: from the first to before the end. */
typedef struct tinyops_range {
  uint64_t start;
  uint64_t end;
} tinyops_range;

/* Whether the kernels read and write words where the plan aligns them. */
#ifdef TINYOPS_ARM_DSP
#define TINYOPS_WORD_KERNELS 1
#else
#define TINYOPS_WORD_KERNELS 0
#endif

static inline tinyops_verdict tinyops_verdict_of(tinyops_reason reason, uint16_t index) {
  tinyops_verdict verdict;
  verdict.reason = reason;
  verdict.index = index;
  return verdict;
}

static inline bool tinyops_apart(tinyops_range a, tinyops_range b) {
  return a.end <= b.start || b.end <= a.start;
}

static inline tinyops_range tinyops_range_of(const tinyops_tensor *tensor) {
  tinyops_range range;
  range.start = tensor->offset;
  range.end = (uint64_t)tensor->offset +
              (uint64_t)tensor->len * tinyops_element_bytes(tensor->element);
  return range;
}

/* The operator of an op, or NULL if the program has none for it. */
const tinyops_operator *tinyops_plan_operator(const tinyops_plan *plan, const tinyops_op *op);

/* Where a region begins in the arena; one past the last is the arena's end. */
uint32_t tinyops_plan_region_start(const tinyops_plan *plan, uint32_t region);

/* Whether several regions are in order, and every tensor lies in the one that it names. */
tinyops_verdict tinyops_plan_check_regions(const tinyops_plan *plan);

/* The region that bytes inside the arena lie in, one or more; -1 if no single one holds them. */
int32_t tinyops_plan_region(const tinyops_plan *plan, uint64_t start, uint64_t end);

/* Checks every op, in order. */
tinyops_verdict tinyops_plan_check_ops(const tinyops_plan *plan);

/* Checks an op that reads or makes int16 values. */
tinyops_verdict tinyops_plan_check_wide(const tinyops_plan *plan, const tinyops_op *op,
                                        const tinyops_operator *operation, uint16_t index);

#endif
