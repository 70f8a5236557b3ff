/* The payload of a capsule: sections with ids, read in place. */
#ifndef TINYOPS_PAYLOAD_H
#define TINYOPS_PAYLOAD_H

#include "../../include/tinyops_capsule.h"

/* Where a section and the payload begin: a multiple of this. */
#define TINYOPS_CAPSULE_ALIGN 16u

tinyops_capsule_reason tinyops_payload_check(const uint8_t *bytes, size_t len, bool has_crcs);

#endif
