/* The serial link: frames between zeros on a line of bytes. Format: docs/formats/serial.md. */
#ifndef TINYOPS_LINK_H
#define TINYOPS_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a frame is. */
enum { TINYOPS_LINK_UP = 1, TINYOPS_LINK_DOWN = 2, TINYOPS_LINK_ROOM = 3 };

/* Bytes of a frame around its body, before stuffing. */
#define TINYOPS_LINK_OVERHEAD 5u

/* What a board does for the agent. */
typedef struct tinyops_port {
  void *context;
  /* Sends bytes over the line, all of them, in order. */
  void (*send)(void *context, const uint8_t *bytes, size_t len);
} tinyops_port;

/* What has come of a frame. Kind and version, body and checksum lie in `bytes`, as long as they fit. */
typedef struct tinyops_link {
  uint8_t *bytes;
  size_t room;
  size_t len;
  /* Bytes until the next stuffed zero, and whether one is owed before it. */
  uint8_t run;
  bool owes_zero;
  bool is_broken;
} tinyops_link;

/* A link that has received nothing; `bytes` is where frames are put together. */
tinyops_link tinyops_link_of(uint8_t *bytes, size_t room);

/* Takes one byte of the line. True where it ends a whole frame: its kind, and the body, which stays until
 * the next byte. */
bool tinyops_link_push(tinyops_link *link, uint8_t byte, uint8_t *kind, const uint8_t **body,
                       size_t *body_bytes);

/* Sends a frame of this kind through `send`, in pieces. `frame` has its body from the second byte on, and
 * behind it room for a checksum of four bytes. */
void tinyops_link_send(uint8_t kind, uint8_t *frame, size_t body_bytes,
                       void (*send)(void *context, const uint8_t *bytes, size_t len),
                       void *context);

#endif
