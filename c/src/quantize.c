/* Real numbers to int8 and int16, and back. */
#include "quantize.h"

#include "../include/tinyops.h"

/* The nearest whole number, halves away from zero, saturating; 0 of what is not a number. It needs
 * no library: cut off, a number leaves a rest that single precision holds exactly. */
static int32_t round_saturating(float value) {
  int32_t whole;
  float rest;
  if (!(value == value)) return 0;
  if (value >= 2147483648.0f) return INT32_MAX;
  if (value <= -2147483648.0f) return INT32_MIN;
  whole = (int32_t)value;
  rest = value - (float)whole;
  if (rest >= 0.5f) return whole + 1;
  if (rest <= -0.5f) return whole - 1;
  return whole;
}

int8_t tinyops_quantize(float real, float scale, int8_t zero_point) {
  int32_t steps = round_saturating(real / scale);
  return (int8_t)tinyops_clamp(tinyops_add_saturating(steps, zero_point), INT8_MIN, INT8_MAX);
}

int16_t tinyops_quantize_int16(float real, float scale) {
  return (int16_t)tinyops_clamp(round_saturating(real / scale), INT16_MIN, INT16_MAX);
}

float tinyops_dequantize(int32_t q, float scale, int8_t zero_point) {
  return scale * (float)(q - zero_point);
}
