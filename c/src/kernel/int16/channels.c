#include "channels.h"

tinyops_wide_channels tinyops_wide_channels_of(const tinyops_plan *plan, const tinyops_op *op) {
  const size_t count = tinyops_plan_view(plan, op->output).shape[3];
  tinyops_wide_channels channels;
  channels.has_wide_biases = (op->flags & TINYOPS_FLAG_WIDE_BIAS) != 0;
  channels.has_narrow_sums = (op->flags & TINYOPS_FLAG_NARROW_SUM) != 0;
  channels.multiplier_count = (uint32_t)tinyops_channel_rest(op, count);
  channels.least = tinyops_wide_least(plan, op);
  channels.greatest = tinyops_wide_greatest(plan, op);
  channels.biases = plan->constants + op->numbers_offset + TINYOPS_CLAMP_BYTES;
  channels.multipliers = channels.biases + (channels.has_wide_biases ? 8 : 4) * count;
  channels.shifts = channels.multipliers + 4 * (size_t)channels.multiplier_count;
  return channels;
}

static tinyops_multiplier multiplier_of(const tinyops_wide_channels *channels, uint32_t index) {
  tinyops_multiplier multiplier;
  multiplier.value = tinyops_read_i32(channels->multipliers + 4 * (size_t)index);
  multiplier.shift = tinyops_int8(channels->shifts[index]);
  return multiplier;
}

int32_t tinyops_wide_channels_finish(const tinyops_wide_channels *channels, uint32_t channel,
                                     int64_t sum) {
  const tinyops_multiplier multiplier =
      multiplier_of(channels, channels->multiplier_count == 1 ? 0 : channel);
  const int64_t bias = channels->has_wide_biases
                           ? tinyops_read_i64(channels->biases + 8 * (size_t)channel)
                           : tinyops_read_i32(channels->biases + 4 * (size_t)channel);
  int32_t value;
  sum = (int64_t)((uint64_t)sum + (uint64_t)bias);
  value = channels->has_narrow_sums ? tinyops_rescale(multiplier, (int32_t)(uint32_t)(uint64_t)sum)
                                    : tinyops_rescale_wide(multiplier, sum);
  return tinyops_clamp(value, channels->least, channels->greatest);
}

bool tinyops_wide_channels_are_sound(const tinyops_plan *plan, const tinyops_op *op) {
  const tinyops_wide_channels channels = tinyops_wide_channels_of(plan, op);
  const int32_t most = channels.has_narrow_sums ? 30 : 7;
  uint32_t index;
  for (index = 0; index < channels.multiplier_count; index++) {
    tinyops_multiplier multiplier = multiplier_of(&channels, index);
    if (multiplier.value < 0 || !tinyops_in_range(multiplier.shift, -31, most)) return false;
  }
  return true;
}
