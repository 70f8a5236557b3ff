#include "cbor.h"

bool tinyops_cbor_head(tinyops_cbor *cbor, uint8_t major, uint64_t *value) {
  static const uint64_t greatest_shorter[4] = {23, 0xFF, 0xFFFF, 0xFFFFFFFF};
  uint32_t low, bytes;
  if (cbor->at == cbor->end || *cbor->at >> 5 != major) return false;
  low = *cbor->at++ & 31;
  *value = low;
  if (low < 24) return true;
  if (low > 27) return false;
  *value = 0;
  for (bytes = (uint32_t)1 << (low - 24); bytes > 0; bytes--) {
    if (cbor->at == cbor->end) return false;
    *value = *value << 8 | *cbor->at++;
  }
  if (*value <= greatest_shorter[low - 24]) cbor->is_shortest = false;
  return true;
}

/* How many bytes of UTF-8 begin here, of at most `len`; 0 if none do. */
static size_t character_bytes(const uint8_t *at, size_t len) {
  size_t count, index;
  uint8_t least = 0x80, greatest = 0xBF;
  if (at[0] < 0x80) return 1;
  if (at[0] < 0xC2 || at[0] > 0xF4) return 0;
  count = at[0] < 0xE0 ? 2 : at[0] < 0xF0 ? 3 : 4;
  /* Neither longer than need be, nor half of a pair, nor above the last character. */
  if (at[0] == 0xE0) least = 0xA0;
  if (at[0] == 0xED) greatest = 0x9F;
  if (at[0] == 0xF0) least = 0x90;
  if (at[0] == 0xF4) greatest = 0x8F;
  if (len < count || at[1] < least || at[1] > greatest) return 0;
  for (index = 2; index < count; index++) {
    if (at[index] < 0x80 || at[index] > 0xBF) return 0;
  }
  return count;
}

bool tinyops_is_utf8(const uint8_t *bytes, size_t len) {
  while (len > 0) {
    const size_t some = character_bytes(bytes, len);
    if (some == 0) return false;
    bytes += some;
    len -= some;
  }
  return true;
}

bool tinyops_cbor_string(tinyops_cbor *cbor, uint8_t major, const uint8_t **bytes, size_t *len) {
  uint64_t count;
  if (!tinyops_cbor_head(cbor, major, &count) || count > (uint64_t)(cbor->end - cbor->at)) {
    return false;
  }
  *bytes = cbor->at;
  *len = (size_t)count;
  cbor->at += *len;
  return major != TINYOPS_CBOR_TEXT || tinyops_is_utf8(*bytes, *len);
}
