/* How a device without an identity gets one: it asks over its line until its server answers
 * (docs/formats/enrolment.md), by what its factory wrote (docs/formats/provision.md). */
#ifndef TINYOPS_ENROL_H
#define TINYOPS_ENROL_H

#include "../../c/include/tinyops_slots.h"
#include "../../c/include/tinyops_trust.h"
#include "link.h"

/* How far it has come. */
typedef enum tinyops_enrolment {
  TINYOPS_ENROL_ASKS,
  TINYOPS_ENROL_DONE,
  /* The flash does not take what it must remember, there is nothing to guess by, or the factory's record makes
   * no request. */
  TINYOPS_ENROL_STUCK
} tinyops_enrolment;

typedef struct tinyops_enroller {
  const tinyops_factory *factory;
  const tinyops_key_set *keys;
  const tinyops_port *port;
  /* Two pages: the request that has no answer, and who the device is. */
  const tinyops_flash *flash;
  /* Secret random bytes; false if there are none. */
  bool (*random)(void *context, uint8_t *bytes, size_t len);
  tinyops_enrolled enrolled;
  tinyops_asking asking;
  tinyops_link link;
  uint32_t asked_at_ms;
  tinyops_enrolment state;
  bool has_request;
  bool waits;
  uint8_t frame[1 + TINYOPS_NONCE_BYTES + TINYOPS_ANSWER_BYTES_MAX + 4];
  uint8_t out[1 + TINYOPS_REQUEST_BYTES_MAX + 4];
} tinyops_enroller;

/* Looks who the device is. All that is lent stays where it is; `keys` are those of the factory's key set. */
void tinyops_enroller_begin(tinyops_enroller *enroller, const tinyops_factory *factory,
                            const tinyops_key_set *keys, const tinyops_port *port,
                            const tinyops_flash *flash,
                            bool (*random)(void *context, uint8_t *bytes, size_t len));

/* Takes one byte of the line. */
void tinyops_enroller_receive(tinyops_enroller *enroller, uint8_t byte, uint32_t now_ms);

/* Sends what is to be sent, and says how far it has come: `enrolled` is who the device is once it is done.
 * `now_ms` may wrap. */
tinyops_enrolment tinyops_enroller_tick(tinyops_enroller *enroller, uint32_t now_ms);

#endif
