/* As much of an Arduino core as the sketches of a package need to compile. */
#ifndef ARDUINO_H
#define ARDUINO_H

#include <stddef.h>
#include <stdint.h>

struct Port {
  void begin(unsigned long rate);
  operator bool();
  int available();
  float parseFloat();
  size_t print(const char *text);
  size_t print(int value);
  size_t print(double value);
  size_t println();
  size_t println(const char *text);
  size_t println(int value);
};
extern Port Serial;

uint32_t micros();
int analogRead(uint8_t pin);
static const uint8_t A0 = 14;

void setup();
void loop();

#endif
