/* The director's statement: what one device shall run now. Format: docs/formats/trust.md. */
#ifndef TINYOPS_STATEMENT_H
#define TINYOPS_STATEMENT_H

#include "../../c/include/tinyops_capsule.h"

/* A statement that has been read. */
typedef struct tinyops_statement {
  uint64_t device;
  /* Digest of the manifest of the capsule that it shall run. */
  uint8_t manifest[TINYOPS_DIGEST_BYTES];
  /* Rises with every statement for a device. */
  uint32_t counter;
  /* Void once the device has sent an envelope with a greater number. */
  uint32_t last_uplink;
} tinyops_statement;

/* Reads a statement that one of `keys` (32 bytes each, one after another) has signed, from bytes that
 * may be anything; without a verifier nobody looks at the signature. False if it is none. */
bool tinyops_statement_verify(tinyops_statement *statement, const uint8_t *bytes, size_t len,
                              const uint8_t *keys, size_t key_count, tinyops_verifier verifier,
                              void *context);

#endif
