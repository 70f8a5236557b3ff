/* Capsules: what a device installs, checked before it runs. Format: docs/formats/capsule.md.
 *
 * The checks, their order and their reasons are those of the Rust crate tinyops-wire. */
#ifndef TINYOPS_CAPSULE_H
#define TINYOPS_CAPSULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TINYOPS_DIGEST_BYTES 32
#define TINYOPS_KEY_BYTES 32
#define TINYOPS_SIGNATURE_BYTES 64
/* The longest manifest. */
#define TINYOPS_MANIFEST_BYTES_MAX 180
/* The longest class of a board and name of a model, in bytes of UTF-8. */
#define TINYOPS_TEXT_BYTES_MAX 40

/* Why bytes are not a capsule to run. The numbers are the same in every version. */
typedef enum tinyops_capsule_reason {
  TINYOPS_CAPSULE_VERIFIED = 0,
  /* The bytes begin otherwise. */
  TINYOPS_CAPSULE_MAGIC = 1,
  /* Too few bytes, or bytes left over. */
  TINYOPS_CAPSULE_LENGTH = 2,
  /* A version that this runtime does not know. */
  TINYOPS_CAPSULE_VERSION = 3,
  /* What holds the manifest is not a COSE_Sign1 with EdDSA. */
  TINYOPS_CAPSULE_COSE = 4,
  /* The manifest: not its CBOR, too long, a text too long, an unknown version. */
  TINYOPS_CAPSULE_MANIFEST_CBOR = 5,
  TINYOPS_CAPSULE_MANIFEST_TEXT = 6,
  TINYOPS_CAPSULE_MANIFEST_VERSION = 7,
  /* None of the keys has signed it. */
  TINYOPS_CAPSULE_SIGNATURE = 8,
  /* The payload is not the one that was signed. */
  TINYOPS_CAPSULE_DIGEST = 9,
  /* The payload: it begins otherwise, too few bytes or too many, an unknown version, sections that
   * overlap, repeat or are out of order, a damaged section. */
  TINYOPS_CAPSULE_PAYLOAD_MAGIC = 10,
  TINYOPS_CAPSULE_PAYLOAD_LENGTH = 11,
  TINYOPS_CAPSULE_PAYLOAD_VERSION = 12,
  TINYOPS_CAPSULE_PAYLOAD_SECTIONS = 13,
  TINYOPS_CAPSULE_PAYLOAD_CRC = 14
} tinyops_capsule_reason;

/* What a section holds. */
typedef enum tinyops_section {
  TINYOPS_SECTION_PROGRAM = 1,
  TINYOPS_SECTION_FRONT_END = 2,
  TINYOPS_SECTION_SCALER = 3,
  TINYOPS_SECTION_LABELS = 4,
  TINYOPS_SECTION_BASELINE = 5,
  TINYOPS_SECTION_DECISION = 6,
  TINYOPS_SECTION_GOLDEN = 7,
  TINYOPS_SECTION_SENSOR = 8,
  TINYOPS_SECTION_PRIOR = 9,
  TINYOPS_SECTION_EMBEDDING = 10
} tinyops_section;

/* What a capsule is. Texts are not ended by a zero. */
typedef struct tinyops_manifest {
  const uint8_t *board;
  const uint8_t *name;
  const uint8_t *payload_digest;
  const uint8_t *program_digest;
  /* Rises with every release; a device refuses one that is not above its last confirmed one. */
  uint32_t sequence;
  uint32_t payload_bytes;
  /* The version of the model in the registry. */
  uint32_t version;
  uint8_t board_bytes;
  uint8_t name_bytes;
} tinyops_manifest;

/* A capsule that has been checked. It borrows the bytes, which stay where and as they are. */
typedef struct tinyops_capsule {
  tinyops_manifest manifest;
  /* Digest of the manifest's bytes; the first four are the model id that reports carry. */
  uint8_t manifest_digest[TINYOPS_DIGEST_BYTES];
  const uint8_t *payload;
  size_t payload_bytes;
  /* Where the payload begins. */
  size_t payload_offset;
} tinyops_capsule;

/* Whether a key has signed a message: Ed25519 of RFC 8032 without cofactor, strictly: S below the
 * group's order, R canonical and not of small order, the key neither of small order nor in another
 * than its canonical encoding. tinyops_ed25519_verify() is one; a platform's own cryptography is
 * another, if it is as strict. `context` is the caller's. */
typedef bool (*tinyops_verifier)(void *context, const uint8_t key[TINYOPS_KEY_BYTES],
                                 const uint8_t *message, size_t len,
                                 const uint8_t signature[TINYOPS_SIGNATURE_BYTES]);

bool tinyops_ed25519_verify(void *context, const uint8_t key[TINYOPS_KEY_BYTES],
                            const uint8_t *message, size_t len,
                            const uint8_t signature[TINYOPS_SIGNATURE_BYTES]);

/* Checks a capsule all the way: structure, signature under one of `keys` (32 bytes each, one after
 * another), payload digest, sections. Bytes after its payload are refused. `capsule` is written in
 * any case; unless the answer is TINYOPS_CAPSULE_VERIFIED it has no payload, and no section. */
tinyops_capsule_reason tinyops_capsule_verify(tinyops_capsule *capsule, const uint8_t *bytes,
                                              size_t len, const uint8_t *keys, size_t key_count,
                                              tinyops_verifier verifier, void *context);

/* Checks all but the signature: of a capsule that was verified when it was installed and is known by its
 * digest since, see tinyops_slots_is_installed(). A signature is checked once per install. */
tinyops_capsule_reason tinyops_capsule_verify_payload(tinyops_capsule *capsule,
                                                      const uint8_t *bytes, size_t len);

/* Takes a capsule apart, and holds its sections to its length but not to their checksums: for a boot
 * that must be quick, of a slot in flash that nobody else writes. A plan is checked anew by
 * tinyops_plan_load() in any case. */
tinyops_capsule_reason tinyops_capsule_open(tinyops_capsule *capsule, const uint8_t *bytes,
                                            size_t len);

/* The bytes of a section, or NULL if the payload has it not. */
const uint8_t *tinyops_capsule_section(const tinyops_capsule *capsule, tinyops_section id,
                                       size_t *len);

/* SHA-256 of some bytes. */
void tinyops_sha256(const uint8_t *bytes, size_t len, uint8_t digest[TINYOPS_DIGEST_BYTES]);

#ifdef __cplusplus
}
#endif

#endif
