/* Xtensa LX106, QEMU's `sim`: start-up, simulator calls, and CCOUNT as a counter.
 *
 * CCOUNT runs with the machine's clock, and under `-icount shift=0` an instruction takes one
 * nanosecond of virtual time; how many of them are a tick shows a loop of known length. */
#include "board.h"

#define CALIBRATION 4000000u

extern uint32_t tinyops_board_bss[], tinyops_board_bss_end[];

static uint32_t before, ticks_of_calibration;

static int simcall(int operation, int a, const void *b, size_t c) {
  register int a2 __asm__("a2") = operation;
  register int a3 __asm__("a3") = a;
  register const void *a4 __asm__("a4") = b;
  register size_t a5 __asm__("a5") = c;
  __asm__ volatile("simcall" : "+r"(a2), "+r"(a3) : "r"(a4), "r"(a5) : "memory");
  return a2;
}

void tinyops_board_say(const char *text) {
  size_t len = 0;
  while (text[len] != 0) len++;
  (void)simcall(4, 1, text, len);
}

void tinyops_board_stop(int status) {
  for (;;) (void)simcall(1, status, NULL, 0);
}

static uint32_t ccount(void) {
  uint32_t count;
  __asm__ volatile("rsr %0, ccount" : "=r"(count));
  return count;
}

void tinyops_board_count_from_now(void) {
  before = ccount();
}

uint32_t tinyops_board_count(void) {
  return (uint32_t)((uint64_t)(ccount() - before) * CALIBRATION / ticks_of_calibration);
}

__attribute__((noreturn, used)) static void begin(void) {
  uint32_t *at, left = CALIBRATION / 2;
  for (at = tinyops_board_bss; at < tinyops_board_bss_end; at++) *at = 0;
  before = ccount();
  __asm__ volatile("1: addi %0, %0, -1\nbnez %0, 1b" : "+r"(left));
  ticks_of_calibration = ccount() - before;
  tinyops_board_main();
  for (;;) {
  }
}

/* The reset vector, which has no room for the constants that the code after it is preceded by; a
 * stack that is a multiple of 16, and no windows in this core. */
__asm__(
    ".section .reset, \"ax\"\n"
    "j tinyops_board_start\n"
    ".section .start, \"ax\"\n"
    ".literal_position\n"
    ".global tinyops_board_start\n"
    ".align 4\n"
    "tinyops_board_start:\n"
    "movi a1, tinyops_board_stack_top\n"
    "movi a0, begin\n"
    "jx a0\n"
    ".text\n");
