#include "arm_dsp.h"

#ifdef TINYOPS_ARM_DSP
void tinyops_table_fill(tinyops_table *table, const tinyops_channels *channels, uint32_t first,
                        uint32_t count) {
  uint32_t *word = table->words, last = 0, index;
  table->count = count;
  table->is_low = table->is_normal = true;
  for (index = 0; index < count; index++, word += 3) {
    const tinyops_channel own = tinyops_channels_at(channels, first + index);
    word[0] = (uint32_t)own.bias;
    word[1] = last;
    word[2] = tinyops_factor(own.multiplier.shift);
    if (!tinyops_is_normal(&own)) table->is_normal = false;
    if (own.multiplier.shift >= 0) {
      table->is_low = false;
      word[2] = (uint32_t)own.multiplier.shift;
    }
    last = tinyops_doubled(own.multiplier.value);
  }
  word[1] = last;
}
#endif
