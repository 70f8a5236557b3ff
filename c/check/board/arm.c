/* Cortex-M: start-up, semihosting, and SysTick as a counter of instructions.
 *
 * Under `-icount shift=0` an instruction takes one nanosecond of virtual time; how many of them are
 * a tick of this machine's clock shows a loop of known length. */
#include "board.h"

#define CALIBRATION 4000000u
#define SYST_CONTROL (*(volatile uint32_t *)0xE000E010u)
#define SYST_RELOAD (*(volatile uint32_t *)0xE000E014u)
#define SYST_CURRENT (*(volatile uint32_t *)0xE000E018u)
#define CPACR (*(volatile uint32_t *)0xE000ED88u)

extern uint32_t tinyops_board_stack_top[];
extern uint32_t tinyops_board_data[], tinyops_board_data_end[], tinyops_board_data_load[];
extern uint32_t tinyops_board_bss[], tinyops_board_bss_end[];

static uint32_t ticks_before, ticks_of_calibration;

static int semihost(int operation, const void *argument) {
  register int r0 __asm__("r0") = operation;
  register const void *r1 __asm__("r1") = argument;
  __asm__ volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
  return r0;
}

void tinyops_board_say(const char *text) {
  (void)semihost(0x04, text);
}

void tinyops_board_stop(int status) {
  const uint32_t block[2] = {0x20026u, (uint32_t)status};
  for (;;) (void)semihost(0x20, block);
}

static uint32_t ticks(void) {
  return (ticks_before - SYST_CURRENT) & 0x00FFFFFFu;
}

static void begin(void) {
  SYST_CURRENT = 0;
  /* A cleared timer reads 0 until its next tick loads it again. */
  while (SYST_CURRENT == 0) {
  }
  ticks_before = SYST_CURRENT;
}

static void calibrate(void) {
  uint32_t left = CALIBRATION / 2;
  SYST_RELOAD = 0x00FFFFFFu;
  SYST_CONTROL = 5;
  begin();
  __asm__ volatile(".syntax unified\n1: subs %0, %0, #1\nbne 1b" : "+l"(left) : : "cc");
  ticks_of_calibration = ticks();
}

void tinyops_board_count_from_now(void) {
  begin();
}

uint32_t tinyops_board_count(void) {
  return (uint32_t)((uint64_t)ticks() * CALIBRATION / ticks_of_calibration);
}

__attribute__((noreturn)) void tinyops_board_start(void);

void tinyops_board_start(void) {
  uint32_t *to = tinyops_board_data;
  const uint32_t *from = tinyops_board_data_load;
#ifdef __ARM_FP
  CPACR |= 0xFu << 20;
  __asm__ volatile("dsb\nisb");
#endif
  while (to < tinyops_board_data_end) *to++ = *from++;
  for (to = tinyops_board_bss; to < tinyops_board_bss_end; to++) *to = 0;
  calibrate();
  tinyops_board_main();
  for (;;) {
  }
}

static void fault(void) {
  tinyops_board_say("refused a fault\n");
  tinyops_board_stop(1);
}

__attribute__((section(".start"), used)) static const void *const vectors[16] = {
    tinyops_board_stack_top, (const void *)tinyops_board_start, (const void *)fault, (const void *)fault,
    (const void *)fault,     (const void *)fault, (const void *)fault,
};
