/* Starts main() on an emulated Cortex-M whose loader has put everything where it belongs, and hands
 * what it answers to the emulator. */
extern int main(void);
extern void initialise_monitor_handles(void);

static void reset(void);

static void fault(void) {
  for (;;) {
  }
}

__attribute__((section(".vectors"), used)) static void *const vectors[16] = {
    (void *)0x203FFFF0, (void *)reset, (void *)fault, (void *)fault,
    (void *)fault,      (void *)fault, (void *)fault,
};

static void reset(void) {
  unsigned block[2] = {0x20026u, 1};
  /* The floating-point unit, where there is one. */
  *(volatile unsigned *)0xE000ED88u |= 0xFu << 20;
  __asm__ volatile("dsb\nisb");
  initialise_monitor_handles();
  block[1] = (unsigned)main();
  for (;;) {
    register int r0 __asm__("r0") = 0x20;
    register void *r1 __asm__("r1") = block;
    __asm__ volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
  }
}
