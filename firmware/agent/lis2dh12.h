/* The accelerometer LIS2DH12 of ST, over two lines that a board drives: I2C by hand, for a board whose
 * controller has no driver here. */
#ifndef TINYOPS_LIS2DH12_H
#define TINYOPS_LIS2DH12_H

#include <stdbool.h>
#include <stdint.h>

/* Two open drains with pull-ups. */
typedef struct tinyops_i2c {
  void *context;
  void (*scl)(void *context, bool is_high);
  void (*sda)(void *context, bool is_high);
  bool (*read_sda)(void *context);
  /* Half the time of a bit. */
  void (*wait)(void *context);
} tinyops_i2c;

/* Starts it at 100 Hz, 4 g, 12 bits. False if it does not answer as itself. */
bool tinyops_lis2dh12_start(const tinyops_i2c *bus);

/* The newest reading, in g. */
bool tinyops_lis2dh12_read(const tinyops_i2c *bus, float reading[3]);

#endif
