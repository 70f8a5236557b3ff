#include "layout.h"

bool tinyops_op_is_dense(const tinyops_op *op, const uint16_t output[4]) {
  return op->code == TINYOPS_CODE_CONV_2D && output[1] == 1 && output[2] == 1 &&
         op->kernel[0] == 1 && op->kernel[1] == 1 && op->pad[0] == 0 && op->pad[1] == 0;
}

static uint64_t window(const tinyops_op *op) {
  return (uint32_t)op->kernel[0] * op->kernel[1];
}

uint64_t tinyops_op_taps(const tinyops_op *op, const uint16_t input[4]) {
  return window(op) * input[3];
}

uint64_t tinyops_op_filter_bytes(const tinyops_op *op, const uint16_t input[4],
                                 const uint16_t output[4]) {
  uint64_t outputs = output[3];
  if (op->code == TINYOPS_CODE_CONV_2D) {
    uint64_t row = tinyops_round_up(tinyops_op_taps(op, input), TINYOPS_QUAD);
    if (tinyops_op_is_dense(op, output)) {
      return tinyops_round_up(outputs, TINYOPS_GROUP_ROWS) * row;
    }
    return outputs * row;
  }
  return op->code == TINYOPS_CODE_DEPTHWISE_CONV_2D ? window(op) * outputs : 0;
}

uint64_t tinyops_op_scratch_bytes(const tinyops_op *op, const uint16_t input[4],
                                  const uint16_t output[4]) {
  uint64_t row;
  if (op->code != TINYOPS_CODE_CONV_2D || tinyops_op_is_dense(op, output)) return 0;
  row = tinyops_round_up(tinyops_op_taps(op, input), TINYOPS_QUAD);
  return 2 * TINYOPS_BLOCK_PIXELS * row + (input[3] % TINYOPS_QUAD == 0 ? 0 : row);
}

/* Along one axis, the least distance in bytes from where an output begins to the first input that it
 * needs, over outputs `from` to the last; INT64_MAX of none. The distance is convex, so it is least
 * at an end or where padding ends. */
static int64_t least_distance(const tinyops_op *op, int axis, uint32_t from,
                              const uint16_t input[4], const uint16_t output[4]) {
  uint32_t last = (uint32_t)output[1 + axis] - 1;
  uint32_t stride = op->stride[axis], pad = op->pad[axis];
  uint32_t kink = pad / stride;
  int64_t read = input[3], written = output[3], least = INT64_MAX;
  uint32_t places[4];
  int place;
  if (from > last) return INT64_MAX;
  if (axis == 0) {
    read *= input[2];
    written *= output[2];
  }
  kink = kink < from ? from : kink > last ? last : kink;
  places[0] = from;
  places[1] = kink;
  places[2] = kink + 1 < last ? kink + 1 : last;
  places[3] = last;
  for (place = 0; place < 4; place++) {
    uint32_t start = places[place] * stride;
    int64_t needed = start > pad ? (int64_t)(start - pad) : 0;
    int64_t distance = needed * read - (int64_t)places[place] * written;
    if (distance < least) least = distance;
  }
  return least;
}

static bool keeps_to_rows(uint8_t code) {
  return code == TINYOPS_CODE_DEPTHWISE_CONV_2D || code == TINYOPS_CODE_MAX_POOL_2D ||
         code == TINYOPS_CODE_AVERAGE_POOL_2D;
}

static int64_t row_lead(const tinyops_op *op, const uint16_t input[4], const uint16_t output[4]) {
  return least_distance(op, 0, 0, input, output) - (int64_t)output[2] * output[3];
}

static int64_t row_lag(const tinyops_op *op, const uint16_t input[4], const uint16_t output[4]) {
  uint32_t height = input[1], last = (uint32_t)output[1] - 1;
  uint32_t stride = op->stride[0], pad = op->pad[0];
  uint32_t reach = ((uint32_t)op->kernel[0] - 1) * op->dilation[0] + 1;
  int64_t read = (int64_t)input[2] * input[3], written = (int64_t)output[2] * output[3];
  int64_t greatest = INT64_MIN;
  /* Straight up to the row whose window ends with the input, and straight after it. */
  uint32_t kink = height + pad > reach ? (height + pad - reach) / stride : 0;
  uint32_t rows[4];
  int place;
  if (kink > last) kink = last;
  rows[0] = 0;
  rows[1] = kink;
  rows[2] = kink + 1 < last ? kink + 1 : last;
  rows[3] = last;
  for (place = 0; place < 4; place++) {
    uint32_t end = rows[place] * stride + reach;
    int64_t distance;
    end = end > pad ? end - pad : 0;
    if (end > height) end = height;
    distance = (int64_t)end * read - (int64_t)rows[place] * written;
    if (distance > greatest) greatest = distance;
  }
  return greatest;
}

static tinyops_distance distance_of(bool may_overlap, int64_t bytes) {
  tinyops_distance distance;
  distance.may_overlap = may_overlap;
  distance.bytes = bytes;
  return distance;
}

tinyops_distance tinyops_op_overlap_lead(const tinyops_op *op, const uint16_t input[4],
                                         const uint16_t output[4]) {
  if (op->code == TINYOPS_CODE_CONV_2D && !tinyops_op_is_dense(op, output)) {
    /* The next pixel of the same row, and the first one of the next row. */
    int64_t next_row = least_distance(op, 0, 1, input, output);
    int64_t along = least_distance(op, 1, 1, input, output);
    /* A single pixel has no later one: nothing of its input is needed any more. */
    if (along == INT64_MAX) return distance_of(true, next_row);
    /* In the first row the distance is 0. */
    if (next_row < 0) along += next_row;
    return distance_of(true, next_row < along ? next_row : along);
  }
  if (keeps_to_rows(op->code)) return distance_of(true, row_lead(op, input, output));
  return distance_of(false, 0);
}

tinyops_distance tinyops_op_overlap_lag(const tinyops_op *op, const uint16_t input[4],
                                        const uint16_t output[4]) {
  if (!keeps_to_rows(op->code)) return distance_of(false, 0);
  return distance_of(true, row_lag(op, input, output));
}

bool tinyops_op_wide_keeps_to_rows(const tinyops_op *op, const uint16_t output[4]) {
  bool is_convolution = op->code == TINYOPS_CODE_CONV_2D && !tinyops_op_is_dense(op, output);
  return is_convolution || keeps_to_rows(op->code);
}

tinyops_distance tinyops_op_wide_overlap(const tinyops_op *op, const uint16_t input[4],
                                         const uint16_t output[4]) {
  if (!tinyops_op_wide_keeps_to_rows(op, output)) return distance_of(false, 0);
  if ((op->flags & TINYOPS_FLAG_BACKWARD) != 0) {
    return distance_of(true, 2 * row_lag(op, input, output));
  }
  return distance_of(true, 2 * row_lead(op, input, output));
}
