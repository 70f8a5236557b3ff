#include "coder.h"

#define EVEN_BITS 8u

uint32_t tinyops_coder_ones(tinyops_coder *coder, tinyops_probability *probabilities,
                            uint32_t count, uint32_t most) {
  uint32_t ones;
  for (ones = 0; ones < most; ones++) {
    const uint32_t index = ones < count ? ones : count - 1;
    const bool bit = tinyops_coder_bit(coder, &probabilities[index]);
    tinyops_coder_fill_up(coder);
    if (!bit) break;
  }
  return ones;
}

uint32_t tinyops_coder_even(tinyops_coder *coder, uint32_t count) {
  uint32_t bits = 0;
  while (count > 0) {
    const uint32_t now = count < EVEN_BITS ? count : EVEN_BITS, greatest = (1u << now) - 1;
    uint32_t part;
    coder->range >>= now;
    /* The encoder never goes beyond the last: what the division leaves over stands for nothing. */
    part = coder->code / coder->range;
    if (part > greatest) part = greatest;
    coder->code -= part * coder->range;
    tinyops_coder_fill_up(coder);
    bits = bits << now | part;
    count -= now;
  }
  return bits;
}

uint32_t tinyops_coder_below(tinyops_coder *coder, uint32_t length) {
  return length == 0 ? 0 : 1u << (length - 1) | tinyops_coder_even(coder, length - 1);
}

uint32_t tinyops_coder_count(tinyops_coder *coder) {
  return 1 + tinyops_coder_below(coder, tinyops_coder_even(coder, 5));
}
