#include "enrol.h"

#include <string.h>

/* A request without an answer is sent again after this long, and one that is turned away is made anew. */
#define ASK_AGAIN_AFTER_MS 30000u
/* Frames: a request, and its answer. */
enum { LINK_ENROL = 4, LINK_ENROLLED = 5 };
/* Pages. */
enum { ASKING = 0, ENROLLED = 1 };

static const uint8_t *page(const tinyops_enroller *enroller, uint32_t which) {
  const tinyops_flash *flash = enroller->flash;
  return flash->mapped(flash->context, which * flash->page_bytes, flash->page_bytes);
}

static bool erase(const tinyops_enroller *enroller, uint32_t which) {
  const tinyops_flash *flash = enroller->flash;
  return flash->erase(flash->context, which * flash->page_bytes, (which + 1) * flash->page_bytes);
}

/* Writes a record to its page, in whole units, and reads it back. */
static bool keep(const tinyops_enroller *enroller, uint32_t which, const uint8_t *bytes, size_t len) {
  const tinyops_flash *flash = enroller->flash;
  const uint8_t *stored;
  size_t at;
  if (len > flash->page_bytes || !erase(enroller, which)) return false;
  for (at = 0; at < len; at += flash->write_bytes) {
    uint8_t unit[TINYOPS_WRITE_BYTES_MAX];
    const size_t some = len - at < flash->write_bytes ? len - at : flash->write_bytes;
    memset(unit, 0xFF, sizeof unit);
    memcpy(unit, bytes + at, some);
    if (!flash->write(flash->context, which * flash->page_bytes + (uint32_t)at, unit,
                      flash->write_bytes)) {
      return false;
    }
  }
  stored = page(enroller, which);
  return stored != NULL && memcmp(stored, bytes, len) == 0;
}

/* The private half is of no use any more. */
static bool forget_request(tinyops_enroller *enroller) {
  const uint8_t *bytes = page(enroller, ASKING);
  uint32_t index;
  enroller->has_request = false;
  memset(&enroller->asking, 0, sizeof enroller->asking);
  for (index = 0; bytes != NULL && index < enroller->flash->page_bytes; index++) {
    if (bytes[index] != 0xFF) return erase(enroller, ASKING);
  }
  return bytes != NULL;
}

void tinyops_enroller_begin(tinyops_enroller *enroller, const tinyops_factory *factory,
                            const tinyops_key_set *keys, const tinyops_port *port,
                            const tinyops_flash *flash,
                            bool (*random)(void *context, uint8_t *bytes, size_t len)) {
  const uint8_t *bytes;
  memset(enroller, 0, sizeof *enroller);
  enroller->factory = factory;
  enroller->keys = keys;
  enroller->port = port;
  enroller->flash = flash;
  enroller->random = random;
  enroller->link = tinyops_link_of(enroller->frame, sizeof enroller->frame);
  enroller->state = TINYOPS_ENROL_ASKS;
  bytes = page(enroller, ENROLLED);
  if (bytes != NULL && tinyops_enrolled_read(&enroller->enrolled, bytes, flash->page_bytes)) {
    /* The power may have gone before the private half was forgotten. */
    enroller->state = forget_request(enroller) ? TINYOPS_ENROL_DONE : TINYOPS_ENROL_STUCK;
    return;
  }
  bytes = page(enroller, ASKING);
  enroller->has_request =
      bytes != NULL && tinyops_asking_read(&enroller->asking, bytes, flash->page_bytes);
}

/* Makes a key and a request, and keeps both before anything is sent. */
static bool make_request(tinyops_enroller *enroller) {
  uint8_t random[TINYOPS_REQUEST_RANDOM_BYTES], record[TINYOPS_PROVISION_BYTES_MAX];
  enroller->has_request =
      enroller->random(enroller->port->context, random, sizeof random) &&
      tinyops_request_make(&enroller->asking, enroller->factory, enroller->keys->sequence, random) &&
      keep(enroller, ASKING, record, tinyops_asking_write(&enroller->asking, record));
  return enroller->has_request;
}

/* The server's answer to the request; none of it is a refusal. */
static void take_answer(tinyops_enroller *enroller, const uint8_t *answer, size_t len, uint32_t now_ms) {
  uint8_t record[TINYOPS_PROVISION_BYTES_MAX];
  if (len == 0) {
    /* Not at once again: whoever turns it away may do so for long. */
    if (!forget_request(enroller)) enroller->state = TINYOPS_ENROL_STUCK;
    enroller->waits = true;
    enroller->asked_at_ms = now_ms;
    return;
  }
  /* What is no answer of its server's is none at all: the real one may come still. */
  if (tinyops_answer_open(&enroller->enrolled, &enroller->asking, answer, len, &enroller->factory->roots,
                          enroller->keys, tinyops_ed25519_verify, NULL) != TINYOPS_ANSWER_OPENED) {
    return;
  }
  enroller->state =
      keep(enroller, ENROLLED, record, tinyops_enrolled_write(&enroller->enrolled, record)) &&
              forget_request(enroller)
          ? TINYOPS_ENROL_DONE
          : TINYOPS_ENROL_STUCK;
}

void tinyops_enroller_receive(tinyops_enroller *enroller, uint8_t byte, uint32_t now_ms) {
  const uint8_t *body;
  size_t body_bytes;
  uint8_t kind;
  if (!tinyops_link_push(&enroller->link, byte, &kind, &body, &body_bytes) || kind != LINK_ENROLLED ||
      body_bytes < TINYOPS_NONCE_BYTES || !enroller->has_request ||
      enroller->state != TINYOPS_ENROL_ASKS ||
      memcmp(body, tinyops_request_nonce(&enroller->asking), TINYOPS_NONCE_BYTES) != 0) {
    return;
  }
  take_answer(enroller, body + TINYOPS_NONCE_BYTES, body_bytes - TINYOPS_NONCE_BYTES, now_ms);
}

tinyops_enrolment tinyops_enroller_tick(tinyops_enroller *enroller, uint32_t now_ms) {
  const tinyops_asking *asking = &enroller->asking;
  if (enroller->state != TINYOPS_ENROL_ASKS ||
      (enroller->waits && now_ms - enroller->asked_at_ms < ASK_AGAIN_AFTER_MS)) {
    return enroller->state;
  }
  if (!enroller->has_request && !make_request(enroller)) {
    enroller->state = TINYOPS_ENROL_STUCK;
    return enroller->state;
  }
  memcpy(enroller->out + 1, asking->request, asking->request_bytes);
  tinyops_link_send(LINK_ENROL, enroller->out, asking->request_bytes, enroller->port->send,
                    enroller->port->context);
  enroller->waits = true;
  enroller->asked_at_ms = now_ms;
  return enroller->state;
}
