#include "lis2dh12.h"

/* SA0 is high on the boards that have it. */
#define ADDRESS 0x19u
#define WHO_AM_I 0x0fu
#define ITSELF 0x33u
#define CTRL_REG1 0x20u
#define CTRL_REG4 0x23u
#define OUT_X_L 0x28u
/* In the address of a register: the next byte is of the next register. */
#define FOLLOWING 0x80u
/* 100 Hz, three axes; block data update, 4 g, high resolution. */
#define RATE_100_HZ 0x57u
#define RANGE_4_G 0x98u
/* 2 mg a digit of 12 bits, which stand left in 16. */
#define G_PER_DIGIT (0.002f / 16.0f)

static void bit_out(const tinyops_i2c *bus, bool bit) {
  bus->sda(bus->context, bit);
  bus->wait(bus->context);
  bus->scl(bus->context, true);
  bus->wait(bus->context);
  bus->scl(bus->context, false);
}

static bool bit_in(const tinyops_i2c *bus) {
  bool bit;
  bus->sda(bus->context, true);
  bus->wait(bus->context);
  bus->scl(bus->context, true);
  bus->wait(bus->context);
  bit = bus->read_sda(bus->context);
  bus->scl(bus->context, false);
  return bit;
}

static void start(const tinyops_i2c *bus) {
  bus->sda(bus->context, true);
  bus->wait(bus->context);
  bus->scl(bus->context, true);
  bus->wait(bus->context);
  bus->sda(bus->context, false);
  bus->wait(bus->context);
  bus->scl(bus->context, false);
}

static void stop(const tinyops_i2c *bus) {
  bus->sda(bus->context, false);
  bus->wait(bus->context);
  bus->scl(bus->context, true);
  bus->wait(bus->context);
  bus->sda(bus->context, true);
  bus->wait(bus->context);
}

/* Whether it was acknowledged. */
static bool byte_out(const tinyops_i2c *bus, uint8_t byte) {
  uint32_t bit;
  for (bit = 8; bit > 0; bit--) bit_out(bus, (byte >> (bit - 1) & 1) != 0);
  return !bit_in(bus);
}

static uint8_t byte_in(const tinyops_i2c *bus, bool is_last) {
  uint32_t bit, byte = 0;
  for (bit = 0; bit < 8; bit++) byte = byte << 1 | (bit_in(bus) ? 1u : 0u);
  bit_out(bus, is_last);
  return (uint8_t)byte;
}

static bool write_register(const tinyops_i2c *bus, uint8_t number, uint8_t value) {
  bool is_taken;
  start(bus);
  is_taken = byte_out(bus, ADDRESS << 1) && byte_out(bus, number) && byte_out(bus, value);
  stop(bus);
  return is_taken;
}

static bool read_registers(const tinyops_i2c *bus, uint8_t first, uint8_t *values, uint32_t count) {
  uint32_t index;
  bool is_taken;
  start(bus);
  is_taken = byte_out(bus, ADDRESS << 1) && byte_out(bus, (uint8_t)(first | FOLLOWING));
  if (is_taken) {
    start(bus);
    is_taken = byte_out(bus, (uint8_t)(ADDRESS << 1 | 1u));
  }
  for (index = 0; is_taken && index < count; index++) {
    values[index] = byte_in(bus, index + 1 == count);
  }
  stop(bus);
  return is_taken;
}

bool tinyops_lis2dh12_start(const tinyops_i2c *bus) {
  uint8_t who = 0;
  return read_registers(bus, WHO_AM_I, &who, 1) && who == ITSELF &&
         write_register(bus, CTRL_REG4, RANGE_4_G) && write_register(bus, CTRL_REG1, RATE_100_HZ);
}

bool tinyops_lis2dh12_read(const tinyops_i2c *bus, float reading[3]) {
  uint8_t bytes[6];
  uint32_t axis;
  if (!read_registers(bus, OUT_X_L, bytes, sizeof bytes)) return false;
  for (axis = 0; axis < 3; axis++) {
    const int16_t raw = (int16_t)(uint16_t)((uint32_t)bytes[2 * axis] |
                                            (uint32_t)bytes[2 * axis + 1] << 8);
    reading[axis] = (float)raw * G_PER_DIGIT;
  }
  return true;
}
