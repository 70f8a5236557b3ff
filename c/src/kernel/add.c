/* Sum of two tensors of one shape and different scales. */
#include "../sum.h"
#include "arm_dsp/arm_dsp.h"

/* Extra bits of each addend, so that rescaling loses nothing that the sum would show. */
#define LEFT_SHIFT 20u

#ifdef TINYOPS_ARM_DSP
void tinyops_sum_add(const tinyops_sum *sum, size_t start, size_t count) {
  tinyops_dsp_sum(sum, start, count);
}
#else
static int32_t addend(const tinyops_sum *sum, int operand, uint8_t value) {
  int32_t centred = tinyops_int8(value) + sum->offsets[operand];
  return tinyops_rescale(sum->multipliers[operand], tinyops_shift_left(centred, LEFT_SHIFT));
}

void tinyops_sum_add(const tinyops_sum *sum, size_t start, size_t count) {
  size_t index;
  for (index = start; index < start + count; index++) {
    int32_t both = tinyops_add_wrapping(addend(sum, 0, sum->first[index]),
                                        addend(sum, 1, sum->second[index]));
    int32_t value = tinyops_rescale(sum->multipliers[2], both);
    value = tinyops_add_saturating(value, sum->offsets[2]);
    sum->output[index] = (uint8_t)(int8_t)tinyops_clamp(value, sum->least, sum->greatest);
  }
}
#endif

static void begin(const tinyops_call *call, tinyops_sum *sum) {
  const tinyops_op *op = call->op;
  uint16_t tensors[3];
  uint32_t index;
  sum->first = call->in;
  sum->second = call->second;
  sum->output = call->out;
  sum->least = op->clamp[0];
  sum->greatest = op->clamp[1];
  sum->lag = call->output.len;
  sum->add = tinyops_sum_add;
  tensors[0] = op->inputs[0];
  tensors[1] = op->inputs[1];
  tensors[2] = op->output;
  for (index = 0; index < 3; index++) {
    tinyops_tensor tensor = tinyops_plan_view(call->plan, tensors[index]);
    sum->multipliers[index] = tinyops_multiplier_at(call->plan, op, 2 * index);
    sum->offsets[index] = index < 2 ? -tensor.zero_point : tensor.zero_point;
    /* An operand that lies below lies apart. */
    if (tensor.offset > call->output.offset &&
        tensor.offset - call->output.offset < call->output.len) {
      size_t distance = tensor.offset - call->output.offset;
      sum->lag = distance - distance % ((size_t)TINYOPS_BLOCK_PIXELS * call->output.shape[3]);
    }
  }
}

static void run(const tinyops_call *call) {
  tinyops_sum sum;
  begin(call, &sum);
  tinyops_sum_add(&sum, 0, call->output.len);
}

/* Factors of a half or less. */
static bool is_sound(const tinyops_plan *plan, const tinyops_op *op) {
  const int32_t half = (int32_t)1 << 30;
  uint32_t pair;
  for (pair = 0; pair < 3; pair++) {
    tinyops_multiplier multiplier = tinyops_multiplier_at(plan, op, 2 * pair);
    bool is_low = multiplier.value >= half && tinyops_in_range(multiplier.shift, -31, -1);
    bool is_half = pair < 2 && multiplier.value == half && multiplier.shift == 0;
    if (!is_low && !is_half) return false;
  }
  return true;
}

const tinyops_operator tinyops_add = {
    TINYOPS_CODE_ADD, false,    true, TINYOPS_SECOND_TENSOR, TINYOPS_FLAG_SUM, 24,
    is_sound,         run,      begin,
};
