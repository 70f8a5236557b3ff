/* Signals over buffers. */
#ifndef TINYOPS_EI_NUMPY_HPP
#define TINYOPS_EI_NUMPY_HPP

#include "numpy_types.h"

#define EIDSP_OK 0

namespace ei {

class numpy {
 public:
  /* A signal over floats, which stay where they are. */
  static int signal_from_buffer(const float *data, size_t data_size, signal_t *signal) {
    signal->total_length = data_size;
    signal->get_data = [data](size_t offset, size_t length, float *out) -> int {
      memcpy(out, data + offset, length * sizeof(float));
      return EIDSP_OK;
    };
    return EIDSP_OK;
  }

  /* Turns an array round: by -3 the fourth value comes first. */
  static int roll(float *input, size_t input_size, int shift) {
    size_t by;
    if (input_size == 0) return EIDSP_OK;
    by = static_cast<size_t>(shift < 0 ? -shift : shift) % input_size;
    if (shift > 0) by = (input_size - by) % input_size;
    reverse(input, by);
    reverse(input + by, input_size - by);
    reverse(input, input_size);
    return EIDSP_OK;
  }

  /* Samples as numbers, as they are: nothing is divided by 32768. */
  static int int16_to_float(const int16_t *input, float *output, size_t length) {
    for (size_t index = 0; index < length; index++) output[index] = static_cast<float>(input[index]);
    return EIDSP_OK;
  }

  static int int8_to_float(const int8_t *input, float *output, size_t length) {
    for (size_t index = 0; index < length; index++) output[index] = static_cast<float>(input[index]);
    return EIDSP_OK;
  }

 private:
  static void reverse(float *values, size_t count) {
    for (size_t index = 0; index < count / 2; index++) {
      const float value = values[index];
      values[index] = values[count - 1 - index];
      values[count - 1 - index] = value;
    }
  }
};

}  // namespace ei

#endif
