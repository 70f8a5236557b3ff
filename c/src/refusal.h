/* A refusal, and none. */
#ifndef TINYOPS_REFUSAL_H
#define TINYOPS_REFUSAL_H

#include "../include/tinyops_slots.h"

static inline tinyops_refusal tinyops_refusal_of(tinyops_refusal_reason reason, uint32_t detail) {
  tinyops_refusal refusal;
  refusal.reason = reason;
  refusal.detail = detail;
  return refusal;
}

static inline tinyops_refusal tinyops_no_refusal(void) {
  return tinyops_refusal_of(TINYOPS_REASON_NONE, 0);
}

#endif
