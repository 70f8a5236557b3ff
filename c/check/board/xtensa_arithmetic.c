/* What the compiler calls for where this core has no instruction, and Debian's package of it has an
 * empty library: products of 64 bits, quotients and rests. Written here so that none of them is
 * compiled into a call of itself. */
#include <stdint.h>

uint64_t __muldi3(uint64_t a, uint64_t b);
uint32_t __udivsi3(uint32_t a, uint32_t b);
uint32_t __umodsi3(uint32_t a, uint32_t b);
int32_t __divsi3(int32_t a, int32_t b);
uint64_t __udivdi3(uint64_t a, uint64_t b);

uint64_t __muldi3(uint64_t a, uint64_t b) {
  const uint32_t a_low = (uint32_t)a, b_low = (uint32_t)b;
  const uint32_t a0 = a_low & 0xFFFF, a1 = a_low >> 16, b0 = b_low & 0xFFFF, b1 = b_low >> 16;
  const uint32_t low = a0 * b0, middle = a1 * b0 + (low >> 16);
  const uint32_t other = a0 * b1 + (middle & 0xFFFF);
  const uint32_t high = a1 * b1 + (middle >> 16) + (other >> 16);
  const uint32_t crossed = (uint32_t)(a >> 32) * b_low + a_low * (uint32_t)(b >> 32);
  return (uint64_t)(high + crossed) << 32 | (other << 16 | (low & 0xFFFF));
}

static uint32_t divide(uint32_t a, uint32_t b, uint32_t *rest) {
  uint32_t quotient = 0, bit = 1;
  while (b < a && (b & 0x80000000u) == 0) {
    b <<= 1;
    bit <<= 1;
  }
  for (; bit != 0; bit >>= 1, b >>= 1) {
    if (a >= b) {
      a -= b;
      quotient |= bit;
    }
  }
  *rest = a;
  return quotient;
}

uint32_t __udivsi3(uint32_t a, uint32_t b) {
  uint32_t rest;
  return divide(a, b, &rest);
}

uint32_t __umodsi3(uint32_t a, uint32_t b) {
  uint32_t rest;
  (void)divide(a, b, &rest);
  return rest;
}

int32_t __divsi3(int32_t a, int32_t b) {
  uint32_t rest;
  const uint32_t quotient =
      divide(a < 0 ? 0u - (uint32_t)a : (uint32_t)a, b < 0 ? 0u - (uint32_t)b : (uint32_t)b, &rest);
  return (int32_t)((a < 0) != (b < 0) ? 0u - quotient : quotient);
}

uint64_t __udivdi3(uint64_t a, uint64_t b) {
  uint64_t quotient = 0, bit = 1;
  while (b < a && (b >> 63) == 0) {
    b <<= 1;
    bit <<= 1;
  }
  for (; bit != 0; bit >>= 1, b >>= 1) {
    if (a >= b) {
      a -= b;
      quotient |= bit;
    }
  }
  return quotient;
}
