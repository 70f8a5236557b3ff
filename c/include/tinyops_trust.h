/* Whom a device believes, and who it is: signed key sets, what its flash says of it, and how it enrols.
 * Formats: docs/formats/trust.md, provision.md and enrolment.md.
 *
 * Answers are those of the Rust crate tinyops-wire, for the same bytes. */
#ifndef TINYOPS_TRUST_H
#define TINYOPS_TRUST_H

#include "tinyops_capsule.h"
#include "tinyops_sensor.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Most keys of a role, and most root keys. */
#define TINYOPS_ROLE_KEYS_MAX 2
#define TINYOPS_ROOT_KEYS_MAX 3
/* The longest signed key set. */
#define TINYOPS_SIGNED_KEY_SET_BYTES_MAX 391
/* The longest certificate of a claim, request to enrol, and answer to one. */
#define TINYOPS_CLAIM_BYTES_MAX 254
#define TINYOPS_REQUEST_BYTES_MAX 423
#define TINYOPS_ANSWER_BYTES_MAX 518
/* Most channels of a sensor that a factory says all of. */
#define TINYOPS_FACTORY_CHANNELS_MAX 16
/* Random bytes that a request takes, and bytes by which it is known. */
#define TINYOPS_REQUEST_RANDOM_BYTES 48
#define TINYOPS_NONCE_BYTES 16
/* The longest record that a device writes of itself: of a request that has no answer. */
#define TINYOPS_PROVISION_BYTES_MAX (8 + 32 + TINYOPS_REQUEST_BYTES_MAX + 4)

/* Keys of 32 bytes each, one after another. */
typedef struct tinyops_role_keys {
  uint8_t count;
  uint8_t keys[TINYOPS_ROLE_KEYS_MAX * TINYOPS_KEY_BYTES];
} tinyops_role_keys;

/* Who may sign what, until a newer one comes. */
typedef struct tinyops_key_set {
  uint32_t sequence;
  /* Who says what is a valid model, and who says what a device shall run now. */
  tinyops_role_keys release;
  tinyops_role_keys director;
} tinyops_key_set;

/* Who may sign key sets, and how many of them it takes. */
typedef struct tinyops_roots {
  uint8_t threshold;
  uint8_t count;
  uint8_t keys[TINYOPS_ROOT_KEYS_MAX * TINYOPS_KEY_BYTES];
} tinyops_roots;

/* What is wrong with a key set. */
typedef enum tinyops_key_set_reason {
  TINYOPS_KEY_SET_SOUND = 0,
  /* No COSE_Sign with EdDSA, one signature a key. */
  TINYOPS_KEY_SET_COSE,
  /* What is signed is no CBOR of a key set. */
  TINYOPS_KEY_SET_CBOR,
  TINYOPS_KEY_SET_VERSION,
  /* One of its keys is none, or one under which anybody can sign. */
  TINYOPS_KEY_SET_KEY,
  /* Too few of the root keys have signed it. */
  TINYOPS_KEY_SET_SIGNATURES
} tinyops_key_set_reason;

/* Takes a signed key set out of its signatures, which nobody checks, from bytes that may be anything. */
tinyops_key_set_reason tinyops_key_set_read(tinyops_key_set *set, const uint8_t *bytes, size_t len);

/* The same, and checks that as many root keys as it takes have signed it. */
tinyops_key_set_reason tinyops_key_set_verify(tinyops_key_set *set, const uint8_t *bytes, size_t len,
                                              const tinyops_roots *roots, tinyops_verifier verifier,
                                              void *context);

/* Whether no key of a role was there before. */
bool tinyops_role_is_new(const tinyops_role_keys *now, const tinyops_role_keys *before);

/* What lets a device in: a class token, or a claim. */
typedef struct tinyops_credential {
  bool is_claim;
  uint64_t token;
  /* That of the token; or the seed of the key that the certificate names. */
  uint8_t secret[32];
  const uint8_t *certificate;
  size_t certificate_bytes;
} tinyops_credential;

/* What whoever made the board wrote. It borrows the bytes. */
typedef struct tinyops_factory {
  tinyops_roots roots;
  /* The key set that it begins with, signed; whoever writes flash here is believed. */
  const uint8_t *key_set;
  size_t key_set_bytes;
  /* Class of its board; not ended by a zero. */
  const uint8_t *board;
  size_t board_bytes;
  /* What its sensor delivers: channels and rate; in version 2 of the record all else too, and then the
   * section is not NULL. Firmware that knows its sensor goes by its own word where the record has none. */
  tinyops_sensor sensor;
  uint32_t report_windows;
  uint32_t report_ms;
  /* The id that it asks for; 0 for any. */
  uint64_t device;
  tinyops_credential credential;
} tinyops_factory;

/* Who a device is, for life. */
typedef struct tinyops_enrolled {
  uint64_t device;
  /* The secret that it shares with its server. */
  uint8_t key[32];
  /* Its uplink numbers begin here. */
  uint32_t first_uplink;
} tinyops_enrolled;

/* A request that has no answer yet. */
typedef struct tinyops_asking {
  /* The private half of the key that the device made. */
  uint8_t secret[32];
  size_t request_bytes;
  uint8_t request[TINYOPS_REQUEST_BYTES_MAX];
} tinyops_asking;

/* Reads the record at the start of flash, from bytes that may be anything; a factory's in versions 1 and 2.
 * False if it is torn or none, of another kind, or not to be understood. */
bool tinyops_factory_read(tinyops_factory *factory, const uint8_t *flash, size_t len);
bool tinyops_asking_read(tinyops_asking *asking, const uint8_t *flash, size_t len);
bool tinyops_enrolled_read(tinyops_enrolled *enrolled, const uint8_t *flash, size_t len);

/* Writes one; answers how many bytes. */
size_t tinyops_asking_write(const tinyops_asking *asking, uint8_t out[TINYOPS_PROVISION_BYTES_MAX]);
size_t tinyops_enrolled_write(const tinyops_enrolled *enrolled,
                              uint8_t out[TINYOPS_PROVISION_BYTES_MAX]);

/* Makes a key of secret random bytes, and the request of a device that goes by the key set with this
 * number. False for a board or a certificate that no request may have. */
bool tinyops_request_make(tinyops_asking *asking, const tinyops_factory *factory, uint32_t key_set,
                          const uint8_t random[TINYOPS_REQUEST_RANDOM_BYTES]);

/* The bytes by which a request is known. */
const uint8_t *tinyops_request_nonce(const tinyops_asking *asking);

/* What is wrong with an answer. */
typedef enum tinyops_answer_reason {
  TINYOPS_ANSWER_OPENED = 0,
  TINYOPS_ANSWER_LENGTH,
  TINYOPS_ANSWER_VERSION,
  /* The server's key is in a second encoding, or of small order. */
  TINYOPS_ANSWER_PUBLIC_KEY,
  /* The key set in it is none, or too few root keys have signed it; or it is not newer. */
  TINYOPS_ANSWER_KEY_SET,
  TINYOPS_ANSWER_KEY_SET_OLD,
  /* No director key has signed the answer to this request. */
  TINYOPS_ANSWER_SIGNATURE,
  /* The seal belongs to another key or another request. */
  TINYOPS_ANSWER_SEAL
} tinyops_answer_reason;

/* Reads the answer to a device's own request, from bytes that may be anything: a director key of `keys`, or
 * of a newer key set that comes with it, has to have signed it. */
tinyops_answer_reason tinyops_answer_open(tinyops_enrolled *enrolled, const tinyops_asking *asking,
                                          const uint8_t *answer, size_t len,
                                          const tinyops_roots *roots, const tinyops_key_set *keys,
                                          tinyops_verifier verifier, void *context);

#ifdef __cplusplus
}
#endif

#endif
