/* RISC-V of 32 bits, QEMU's `virt`: start-up, semihosting, and the counter of retired instructions. */
#include "board.h"

extern uint32_t tinyops_board_bss[], tinyops_board_bss_end[];

static uint32_t before;

static long semihost(long operation, const void *argument) {
  register long a0 __asm__("a0") = operation;
  register const void *a1 __asm__("a1") = argument;
  __asm__ volatile(
      ".option push\n.option norvc\n.balign 16\nslli x0, x0, 0x1f\nebreak\nsrai x0, x0, 7\n"
      ".option pop"
      : "+r"(a0)
      : "r"(a1)
      : "memory");
  return a0;
}

void tinyops_board_say(const char *text) {
  (void)semihost(0x04, text);
}

void tinyops_board_stop(int status) {
  const uint32_t block[2] = {0x20026u, (uint32_t)status};
  for (;;) (void)semihost(0x20, block);
}

static uint32_t retired(void) {
  uint32_t count;
  __asm__ volatile("csrr %0, minstret" : "=r"(count));
  return count;
}

void tinyops_board_count_from_now(void) {
  before = retired();
}

uint32_t tinyops_board_count(void) {
  return retired() - before;
}

__attribute__((noreturn, used)) static void begin(void) {
  uint32_t *at;
  for (at = tinyops_board_bss; at < tinyops_board_bss_end; at++) *at = 0;
  tinyops_board_main();
  for (;;) {
  }
}

__attribute__((naked, noreturn, section(".start"), used)) void tinyops_board_start(void) {
  __asm__ volatile(
      ".option push\n.option norelax\nla gp, __global_pointer$\n.option pop\n"
      "la sp, tinyops_board_stack_top\nj %0"
      :
      : "i"(begin));
}
