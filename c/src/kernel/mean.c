/* The mean over height and width: clamp(zp + rescale(sum in - count * zp_in)).
 *
 * The plan's multiplier holds scale_in / scale_out / count, its bias -count * zp_in. */
#include "../operator.h"

static void run(const tinyops_call *call) {
  const int32_t bias = tinyops_number(call->plan, call->op, 0);
  const tinyops_multiplier multiplier = tinyops_multiplier_at(call->plan, call->op, 1);
  const size_t channels = call->output.shape[3];
  size_t channel, at;
  for (channel = 0; channel < channels; channel++) {
    int32_t sum = bias;
    for (at = channel; at < call->input.len; at += channels) {
      sum = tinyops_add_wrapping(sum, tinyops_int8(call->in[at]));
    }
    call->out[channel] = tinyops_finished(call->op, call->output.zero_point,
                                          tinyops_rescale(multiplier, sum));
  }
}

static bool is_sound(const tinyops_plan *plan, const tinyops_op *op) {
  return tinyops_is_shift(tinyops_number(plan, op, 2));
}

const tinyops_operator tinyops_mean = {
    TINYOPS_CODE_MEAN, false,    false, TINYOPS_SECOND_NONE, TINYOPS_FLAG_ONE_MULTIPLIER, 12,
    is_sound,          run,      NULL,
};
