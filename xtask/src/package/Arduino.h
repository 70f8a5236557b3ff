/* As much of an Arduino core as the sketch of a package needs to compile. */
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

void setup();
void loop();

#endif
