#include "channels.h"

tinyops_channels tinyops_channels_of(const tinyops_call *call) {
  const tinyops_op *op = call->op;
  size_t count = call->output.shape[3];
  tinyops_channels channels;
  channels.words = call->plan->constants + op->numbers_offset;
  channels.multipliers = channels.words + 4 * count;
  channels.rest = channels.words + tinyops_channel_words(op, count);
  channels.zero_point = call->output.zero_point;
  channels.least = op->clamp[0];
  channels.greatest = op->clamp[1];
  channels.shift_max = op->shift;
  channels.is_packed = (op->flags & TINYOPS_FLAG_PACKED) != 0;
  channels.is_one = (op->flags & TINYOPS_FLAG_ONE_MULTIPLIER) != 0;
  return channels;
}

/* Of a packed channel the two top bits of a multiplier are always 01, and its word has the distance
 * of the shift to the greatest of the op in their place; the bias has 24 bits. */
tinyops_channel tinyops_channels_at(const tinyops_channels *channels, uint32_t channel) {
  const uint32_t own = channels->is_one ? 0 : channel;
  tinyops_channel read;
  if (channels->is_packed) {
    const uint8_t *bias = channels->rest + 3 * (size_t)channel;
    const uint32_t word = tinyops_read_u32(channels->words + 4 * (size_t)channel);
    const uint32_t wide =
        (uint32_t)bias[0] << 8 | (uint32_t)bias[1] << 16 | (uint32_t)bias[2] << 24;
    read.multiplier.value = (int32_t)((word & 0x3FFFFFFFu) | 0x40000000u);
    read.multiplier.shift = channels->shift_max - (int32_t)(word >> 30);
    read.bias = tinyops_shift_right((int32_t)wide, 8);
    return read;
  }
  read.multiplier.value = tinyops_read_i32(channels->multipliers + 4 * (size_t)own);
  read.multiplier.shift = tinyops_int8(channels->rest[own]);
  read.bias = tinyops_read_i32(channels->words + 4 * (size_t)channel);
  return read;
}

#ifndef TINYOPS_ARM_DSP
void tinyops_keep(tinyops_kept *kept, const tinyops_channels *channels, uint32_t first,
                  uint32_t count) {
  uint32_t index;
  kept->zero_point = channels->zero_point;
  kept->is_low = true;
  for (index = 0; index < count; index++) {
    const tinyops_channel own = tinyops_channels_at(channels, first + index);
    kept->scales[index].bias = own.bias;
    kept->scales[index].factor = own.multiplier.value;
    kept->scales[index].power = own.multiplier.shift;
    if (own.multiplier.value < (int32_t)1 << 30 || own.multiplier.shift > -2) kept->is_low = false;
  }
  if (!TINYOPS_LONG_PRODUCTS || !kept->is_low) return;
  for (index = 0; index < count; index++) {
    tinyops_scale *scale = &kept->scales[index];
    scale->factor = (int32_t)((uint32_t)scale->factor << 1);
    scale->power = (int32_t)((uint32_t)1 << (32 + scale->power));
  }
}
#endif

void tinyops_clamp_bytes(const tinyops_op *op, uint8_t *bytes, size_t count) {
  const uint8_t *end = bytes + count;
  if (op->clamp[0] == -128 && op->clamp[1] == 127) return;
  for (; bytes < end; bytes++) {
    *bytes = (uint8_t)(int8_t)tinyops_clamp(tinyops_int8(*bytes), op->clamp[0], op->clamp[1]);
  }
}

bool tinyops_channels_are_sound(const tinyops_plan *plan, const tinyops_op *op) {
  size_t count = tinyops_plan_view(plan, op->output).shape[3], index;
  const uint8_t *shifts;
  if ((op->flags & TINYOPS_FLAG_PACKED) != 0) {
    return count <= TINYOPS_UNPACKED_MAX &&
           tinyops_in_range(op->shift, TINYOPS_STEP_MAX - 31, 30);
  }
  shifts = plan->constants + op->numbers_offset + tinyops_channel_words(op, count);
  for (index = 0; index < tinyops_channel_rest(op, count); index++) {
    if (!tinyops_is_shift(tinyops_int8(shifts[index]))) return false;
  }
  return true;
}
