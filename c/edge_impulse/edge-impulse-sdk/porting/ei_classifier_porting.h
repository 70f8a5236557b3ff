/* What a platform gives. Each has a weak form in tinyops_ei.cpp; a sketch or a port may define its own. */
#ifndef TINYOPS_EI_PORTING_H
#define TINYOPS_EI_PORTING_H

#include <stddef.h>
#include <stdint.h>

/* Numbers of the outcomes that the shim has. */
typedef enum {
  EI_IMPULSE_OK = 0,
  EI_IMPULSE_ERROR_SHAPES_DONT_MATCH = -1,
  EI_IMPULSE_CANCELED = -2,
  EI_IMPULSE_TFLITE_ERROR = -3,
  EI_IMPULSE_DSP_ERROR = -5,
  EI_IMPULSE_TFLITE_ARENA_ALLOC_FAILED = -6,
  EI_IMPULSE_ALLOC_FAILED = -8,
  EI_IMPULSE_OUT_OF_MEMORY = -11,
  EI_IMPULSE_INFERENCE_ERROR = -22
} EI_IMPULSE_ERROR;

/* Anything but EI_IMPULSE_OK ends a classification. */
EI_IMPULSE_ERROR ei_run_impulse_check_canceled();

void ei_serial_set_baudrate(int baudrate);
EI_IMPULSE_ERROR ei_sleep(int32_t time_ms);
uint64_t ei_read_timer_ms();
uint64_t ei_read_timer_us();
void ei_putchar(char c);
char ei_getchar(void);

void ei_printf(const char *format, ...)
#ifdef __GNUC__
    __attribute__((format(printf, 1, 2)))
#endif
    ;
void ei_printf_float(float value);

/* The shim calls none of these. */
void *ei_malloc(size_t size);
void *ei_calloc(size_t count, size_t size);
void ei_free(void *memory);

#endif
