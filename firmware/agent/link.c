#include "link.h"

#include "../../c/src/bytes.h"
#include "../../c/src/crc.h"

#define VERSION 1u
/* The longest run of bytes without a zero that one code byte leads. */
#define RUN_MAX 254u

tinyops_link tinyops_link_of(uint8_t *bytes, size_t room) {
  tinyops_link link;
  link.bytes = bytes;
  link.room = room;
  link.len = 0;
  link.run = 0;
  link.owes_zero = false;
  link.is_broken = false;
  return link;
}

static void put(tinyops_link *link, uint8_t byte) {
  if (link->len == link->room) {
    link->is_broken = true;
  } else {
    link->bytes[link->len++] = byte;
  }
}

bool tinyops_link_push(tinyops_link *link, uint8_t byte, uint8_t *kind, const uint8_t **body,
                       size_t *body_bytes) {
  size_t len;
  bool is_whole;
  if (byte != 0) {
    if (link->run == 0) {
      if (link->owes_zero) put(link, 0);
      link->run = (uint8_t)(byte - 1);
      link->owes_zero = byte <= RUN_MAX;
    } else {
      put(link, byte);
      link->run--;
    }
    return false;
  }
  len = link->len;
  is_whole = !link->is_broken && link->run == 0 && len >= TINYOPS_LINK_OVERHEAD &&
             tinyops_crc32(link->bytes, len - 4) == tinyops_read_u32(link->bytes + len - 4) &&
             link->bytes[0] >> 4 == VERSION;
  *link = tinyops_link_of(link->bytes, link->room);
  if (!is_whole) return false;
  *kind = link->bytes[0] & 15;
  *body = link->bytes + 1;
  *body_bytes = len - TINYOPS_LINK_OVERHEAD;
  return true;
}

/* A run on its way: its code and what it leads. */
typedef struct run {
  uint8_t bytes[1 + RUN_MAX];
  size_t len;
  void (*send)(void *context, const uint8_t *bytes, size_t len);
  void *context;
} run;

static void flush(run *out) {
  out->bytes[0] = (uint8_t)(out->len + 1);
  out->send(out->context, out->bytes, 1 + out->len);
  out->len = 0;
}

static void stuff(run *out, const uint8_t *bytes, size_t len) {
  size_t index;
  for (index = 0; index < len; index++) {
    /* A full run leads no zero, so it goes out only when something follows it. */
    if (out->len == RUN_MAX) flush(out);
    if (bytes[index] == 0) {
      flush(out);
    } else {
      out->bytes[1 + out->len++] = bytes[index];
    }
  }
}

void tinyops_link_send(uint8_t kind, uint8_t *frame, size_t body_bytes,
                       void (*send)(void *context, const uint8_t *bytes, size_t len),
                       void *context) {
  static const uint8_t zero = 0;
  run out;
  out.len = 0;
  out.send = send;
  out.context = context;
  frame[0] = (uint8_t)(kind | VERSION << 4);
  tinyops_write_u32(frame + 1 + body_bytes, tinyops_crc32(frame, 1 + body_bytes));
  send(context, &zero, 1);
  stuff(&out, frame, body_bytes + TINYOPS_LINK_OVERHEAD);
  flush(&out);
  send(context, &zero, 1);
}
