#include "sign1.h"

#include <string.h>

#include "cbor.h"

/* Before the context: an array, "Signature1", and the header {1: -8}. */
static const uint8_t head[16] = {0x84, 0x6a, 'S', 'i', 'g',  'n',  'a',  't',
                                 'u',  'r',  'e', '1', 0x43, 0xa1, 0x01, 0x27};
/* That header. */
#define EDDSA (head + 13)
#define EDDSA_BYTES 3u
/* What is signed before the payload: the head, the context with its own of one byte, and the payload's head
 * of two at most. */
#define BEFORE_BYTES_MAX (sizeof head + 1 + TINYOPS_SIGN1_CONTEXT_BYTES_MAX + 2)

bool tinyops_sign1_read(tinyops_sign1 *read, const uint8_t *bytes, size_t len, size_t payload_bytes_max) {
  tinyops_cbor cbor = tinyops_cbor_of(bytes, len);
  const uint8_t *header;
  size_t header_bytes, signature_bytes;
  uint64_t number;
  if (!tinyops_cbor_head(&cbor, TINYOPS_CBOR_TAG, &number) || number != 18 ||
      !tinyops_cbor_head(&cbor, TINYOPS_CBOR_ARRAY, &number) || number != 4 ||
      !tinyops_cbor_string(&cbor, TINYOPS_CBOR_BYTES, &header, &header_bytes) ||
      header_bytes != EDDSA_BYTES || memcmp(header, EDDSA, EDDSA_BYTES) != 0 ||
      !tinyops_cbor_head(&cbor, TINYOPS_CBOR_MAP, &number) || number != 0 ||
      !tinyops_cbor_string(&cbor, TINYOPS_CBOR_BYTES, &read->payload, &read->payload_bytes) ||
      !tinyops_cbor_string(&cbor, TINYOPS_CBOR_BYTES, &read->signature, &signature_bytes)) {
    return false;
  }
  /* There is one encoding. */
  return signature_bytes == TINYOPS_SIGNATURE_BYTES && cbor.is_shortest && cbor.at == cbor.end &&
         read->payload_bytes <= payload_bytes_max;
}

bool tinyops_sign1_is_by(const tinyops_sign1 *read, const char *kind, const uint8_t *keys,
                         size_t key_count, tinyops_verifier verifier, void *context) {
  uint8_t message[BEFORE_BYTES_MAX + TINYOPS_SIGN1_PAYLOAD_BYTES_MAX];
  size_t at = sizeof head, index;
  memcpy(message, head, sizeof head);
  message[at++] = 0x40;
  while (*kind != 0) {
    message[sizeof head]++;
    message[at++] = (uint8_t)*kind++;
  }
  if (read->payload_bytes < 24) {
    message[at++] = (uint8_t)(0x40 | read->payload_bytes);
  } else {
    message[at++] = 0x58;
    message[at++] = (uint8_t)read->payload_bytes;
  }
  memcpy(message + at, read->payload, read->payload_bytes);
  at += read->payload_bytes;
  for (index = 0; index < key_count; index++) {
    if (verifier(context, keys + TINYOPS_KEY_BYTES * index, message, at, read->signature)) return true;
  }
  return false;
}
