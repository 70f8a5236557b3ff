/* Weak forms of what a platform gives: on Arduino by its own functions, elsewhere by the C library, and
 * time stands still where nothing tells it. */
#include "edge-impulse-sdk/porting/ei_classifier_porting.h"

#include <stdarg.h>
#include <stdio.h>

#ifdef ARDUINO
#include <Arduino.h>
#endif

#ifdef __GNUC__
#define TINYOPS_EI_WEAK __attribute__((weak))
#else
#define TINYOPS_EI_WEAK
#endif

TINYOPS_EI_WEAK EI_IMPULSE_ERROR ei_run_impulse_check_canceled() {
  return EI_IMPULSE_OK;
}

#ifdef ARDUINO
TINYOPS_EI_WEAK void ei_serial_set_baudrate(int baudrate) {
  Serial.begin(static_cast<unsigned long>(baudrate));
}

TINYOPS_EI_WEAK EI_IMPULSE_ERROR ei_sleep(int32_t time_ms) {
  delay(static_cast<unsigned long>(time_ms));
  return EI_IMPULSE_OK;
}

TINYOPS_EI_WEAK uint64_t ei_read_timer_ms() {
  return millis();
}

TINYOPS_EI_WEAK uint64_t ei_read_timer_us() {
  return micros();
}

TINYOPS_EI_WEAK void ei_putchar(char c) {
  Serial.write(c);
}

TINYOPS_EI_WEAK char ei_getchar(void) {
  const int next = Serial.read();
  return next < 0 ? 0 : static_cast<char>(next);
}

TINYOPS_EI_WEAK void ei_printf(const char *format, ...) {
  char text[256];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  Serial.print(text);
}

TINYOPS_EI_WEAK void ei_printf_float(float value) {
  Serial.print(value, 6);
}
#else
TINYOPS_EI_WEAK void ei_serial_set_baudrate(int baudrate) {
  (void)baudrate;
}

TINYOPS_EI_WEAK EI_IMPULSE_ERROR ei_sleep(int32_t time_ms) {
  (void)time_ms;
  return EI_IMPULSE_OK;
}

TINYOPS_EI_WEAK uint64_t ei_read_timer_ms() {
  return 0;
}

TINYOPS_EI_WEAK uint64_t ei_read_timer_us() {
  return 0;
}

TINYOPS_EI_WEAK void ei_putchar(char c) {
  putchar(c);
}

TINYOPS_EI_WEAK char ei_getchar(void) {
  const int next = getchar();
  return next < 0 ? 0 : static_cast<char>(next);
}

TINYOPS_EI_WEAK void ei_printf(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vprintf(format, arguments);
  va_end(arguments);
}

TINYOPS_EI_WEAK void ei_printf_float(float value) {
  ei_printf("%f", static_cast<double>(value));
}
#endif
