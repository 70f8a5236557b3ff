/* How a device that made its own key becomes one of its server's: docs/formats/enrolment.md. */
#include <string.h>

#include "../../include/tinyops_trust.h"
#include "../bytes.h"
#include "../capsule/curve25519.h"
#include "../capsule/hmac.h"

#define VERSION 1u
#define DOWN 0x80u
#define TAG_BYTES 16u
#define NONCE_AT 46u
#define BOARD_AT 62u
#define KEY_SET_AT 47u
enum { TOKEN = 1, CLAIM = 2 };

/* What is signed and derived for; none with the zero behind it. */
static const char request_context[] = "tinyops enrolment request 1";
static const char answer_context[] = "tinyops enrolment answer 1";
static const char token_context[] = "tinyops class token 1";
static const char device_key_context[] = "tinyops device key 1";
static const char seal_context[] = "tinyops enrolment seal 1";

static void write_u64(uint8_t *at, uint64_t value) {
  tinyops_write_u32(at, (uint32_t)value);
  tinyops_write_u32(at + 4, (uint32_t)(value >> 32));
}

/* HKDF-SHA-256 (RFC 5869) to 32 bytes: the info is a text, ended by a zero, and bytes behind it. */
static void derive(const uint8_t salt[32], const uint8_t secret[32], const char *text,
                   const uint8_t *info, size_t len, uint8_t key[32]) {
  static const uint8_t first = 1;
  uint8_t extracted[TINYOPS_DIGEST_BYTES];
  size_t text_len = 0;
  tinyops_hmac mac;
  while (text[text_len] != '\0') text_len++;
  tinyops_hmac_begin(&mac, salt);
  tinyops_hmac_add(&mac, secret, 32);
  tinyops_hmac_end(&mac, extracted);
  tinyops_hmac_begin(&mac, extracted);
  tinyops_hmac_add(&mac, (const uint8_t *)text, text_len);
  tinyops_hmac_add(&mac, info, len);
  tinyops_hmac_add(&mac, &first, 1);
  tinyops_hmac_end(&mac, key);
}

/* The tag of a class token over a request. */
static void write_tag(const tinyops_credential *credential, const uint8_t *request, size_t len,
                      uint8_t tag[TAG_BYTES]) {
  static const uint8_t no_salt[32] = {0};
  uint8_t key[32], digest[TINYOPS_DIGEST_BYTES], id[8];
  tinyops_hmac mac;
  write_u64(id, credential->token);
  derive(no_salt, credential->secret, token_context, id, sizeof id, key);
  tinyops_hmac_begin(&mac, key);
  tinyops_hmac_add(&mac, (const uint8_t *)request_context, sizeof request_context - 1);
  tinyops_hmac_add(&mac, request, len);
  tinyops_hmac_end(&mac, digest);
  memcpy(tag, digest, TAG_BYTES);
}

static void sign(const tinyops_credential *credential, const uint8_t *request, size_t len,
                 uint8_t signature[TINYOPS_SIGNATURE_BYTES]) {
  uint8_t message[sizeof request_context - 1 + TINYOPS_REQUEST_BYTES_MAX];
  memcpy(message, request_context, sizeof request_context - 1);
  memcpy(message + sizeof request_context - 1, request, len);
  tinyops_ed25519_sign(credential->secret, message, sizeof request_context - 1 + len, signature);
}

bool tinyops_request_make(tinyops_asking *asking, const tinyops_factory *factory, uint32_t key_set,
                          const uint8_t random[TINYOPS_REQUEST_RANDOM_BYTES]) {
  const tinyops_credential *credential = &factory->credential;
  uint8_t *out = asking->request;
  size_t at = BOARD_AT;
  if (factory->board_bytes == 0 || factory->board_bytes > TINYOPS_TEXT_BYTES_MAX ||
      credential->certificate_bytes > TINYOPS_CLAIM_BYTES_MAX) {
    return false;
  }
  memcpy(asking->secret, random, sizeof asking->secret);
  out[0] = VERSION;
  out[1] = credential->is_claim ? CLAIM : TOKEN;
  tinyops_write_u32(out + 2, key_set);
  write_u64(out + 6, factory->device);
  tinyops_x25519_public(asking->secret, out + 14);
  memcpy(out + NONCE_AT, random + sizeof asking->secret, TINYOPS_NONCE_BYTES);
  out[at++] = (uint8_t)factory->board_bytes;
  memcpy(out + at, factory->board, factory->board_bytes);
  at += factory->board_bytes;
  if (credential->is_claim) {
    out[at++] = (uint8_t)credential->certificate_bytes;
    out[at++] = 0;
    memcpy(out + at, credential->certificate, credential->certificate_bytes);
    at += credential->certificate_bytes;
    sign(credential, out, at, out + at);
    at += TINYOPS_SIGNATURE_BYTES;
  } else {
    write_u64(out + at, credential->token);
    at += 8;
    write_tag(credential, out, at, out + at);
    at += TAG_BYTES;
  }
  asking->request_bytes = at;
  return true;
}

const uint8_t *tinyops_request_nonce(const tinyops_asking *asking) {
  return asking->request + NONCE_AT;
}

/* Whether a director has signed an answer, of which these are the bytes before the signature. */
static bool is_by_director(const tinyops_role_keys *director, const uint8_t digest[TINYOPS_DIGEST_BYTES],
                           const uint8_t *answer, size_t len, tinyops_verifier verifier, void *context) {
  uint8_t message[sizeof answer_context - 1 + TINYOPS_DIGEST_BYTES + TINYOPS_ANSWER_BYTES_MAX];
  size_t at = sizeof answer_context - 1;
  uint32_t index;
  memcpy(message, answer_context, at);
  memcpy(message + at, digest, TINYOPS_DIGEST_BYTES);
  at += TINYOPS_DIGEST_BYTES;
  memcpy(message + at, answer, len);
  at += len;
  for (index = 0; index < director->count; index++) {
    if (verifier(context, director->keys + TINYOPS_KEY_BYTES * index, message, at, answer + len)) {
      return true;
    }
  }
  return false;
}

/* Whether the seal, 16 bytes behind so many, is that of a key. */
static bool is_sealed(const uint8_t key[32], const uint8_t *answer, size_t len) {
  uint8_t digest[TINYOPS_DIGEST_BYTES], difference = 0;
  tinyops_hmac mac;
  size_t index;
  tinyops_hmac_begin(&mac, key);
  tinyops_hmac_add(&mac, answer, len);
  tinyops_hmac_end(&mac, digest);
  for (index = 0; index < TAG_BYTES; index++) {
    difference = (uint8_t)(difference | (digest[index] ^ answer[len + index]));
  }
  return difference == 0;
}

tinyops_answer_reason tinyops_answer_open(tinyops_enrolled *enrolled, const tinyops_asking *asking,
                                          const uint8_t *answer, size_t len,
                                          const tinyops_roots *roots, const tinyops_key_set *keys,
                                          tinyops_verifier verifier, void *context) {
  uint8_t digest[TINYOPS_DIGEST_BYTES], shared[32], seal[32], info[40];
  tinyops_key_set newer = *keys;
  size_t set_bytes, signed_bytes;
  if (len < 1) return TINYOPS_ANSWER_LENGTH;
  if (answer[0] != (VERSION | DOWN)) return TINYOPS_ANSWER_VERSION;
  if (len < 33) return TINYOPS_ANSWER_LENGTH;
  if (!tinyops_x25519_is_key(answer + 1)) return TINYOPS_ANSWER_PUBLIC_KEY;
  if (len < KEY_SET_AT) return TINYOPS_ANSWER_LENGTH;
  set_bytes = tinyops_read_u16(answer + 45);
  signed_bytes = KEY_SET_AT + set_bytes;
  if (len != signed_bytes + TINYOPS_SIGNATURE_BYTES + TAG_BYTES) return TINYOPS_ANSWER_LENGTH;
  if (set_bytes > 0) {
    if (tinyops_key_set_verify(&newer, answer + KEY_SET_AT, set_bytes, roots, verifier, context) !=
        TINYOPS_KEY_SET_SOUND) {
      return TINYOPS_ANSWER_KEY_SET;
    }
    if (newer.sequence <= keys->sequence) return TINYOPS_ANSWER_KEY_SET_OLD;
  }
  tinyops_sha256(asking->request, asking->request_bytes, digest);
  if (!is_by_director(&newer.director, digest, answer, signed_bytes, verifier, context)) {
    return TINYOPS_ANSWER_SIGNATURE;
  }
  if (!tinyops_x25519(asking->secret, answer + 1, shared)) return TINYOPS_ANSWER_PUBLIC_KEY;
  /* The server's key and the id. */
  memcpy(info, answer + 1, sizeof info);
  derive(digest, shared, seal_context, info, sizeof info, seal);
  if (!is_sealed(seal, answer, signed_bytes + TINYOPS_SIGNATURE_BYTES)) return TINYOPS_ANSWER_SEAL;
  derive(digest, shared, device_key_context, info, sizeof info, enrolled->key);
  enrolled->device = tinyops_read_u64(answer + 33);
  enrolled->first_uplink = tinyops_read_u32(answer + 41);
  return TINYOPS_ANSWER_OPENED;
}
