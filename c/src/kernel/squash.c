#include "squash.h"

static int32_t entry(const uint8_t *table, uint32_t at) {
  return (int32_t)tinyops_read_u16(table + 2 * at);
}

int32_t tinyops_squash(int32_t argument, const uint8_t *table, bool is_tanh) {
  const uint32_t bits = is_tanh ? 8 : 9;
  const bool is_negative = argument < 0;
  const uint32_t magnitude = is_negative ? 0u - (uint32_t)argument : (uint32_t)argument;
  const uint32_t place = magnitude >> bits;
  int32_t value;
  if (place < TINYOPS_SIGMOID_TABLE - 1) {
    int32_t fraction = (int32_t)(magnitude & (((uint32_t)1 << bits) - 1));
    int32_t here = entry(table, place);
    value = tinyops_shift_left(here, bits) + fraction * (entry(table, place + 1) - here);
  } else {
    value = is_tanh ? (int32_t)0xFFFF << 8 : (int32_t)0x7FFF << 10;
  }
  if (is_tanh) {
    value -= (int32_t)1 << 23;
    if (is_negative) value = -value - 1;
    return tinyops_shift_right(value + (1 << 7), 8);
  }
  if (is_negative) value = ((int32_t)1 << 25) - value - 1;
  return tinyops_shift_right(value + (1 << 9), 10);
}
