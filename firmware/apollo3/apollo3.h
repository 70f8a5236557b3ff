/* The registers of the Apollo3 Blue that this firmware touches, by the datasheet (revision 1.0, chapters
 * named below), and the functions of its boot ROM that write flash. */
#ifndef TINYOPS_APOLLO3_H
#define TINYOPS_APOLLO3_H

#include <stdint.h>

#define APOLLO3_REGISTER(address) (*(volatile uint32_t *)(uintptr_t)(address))

/* Power control: which peripherals have power, and whether they have it yet. */
#define PWRCTRL_DEVPWREN APOLLO3_REGISTER(0x40021008u)
#define PWRCTRL_DEVPWRSTATUS APOLLO3_REGISTER(0x40021018u)
#define DEVPWREN_UART0 (1u << 7)
/* The domain of the UARTs. */
#define DEVPWRSTATUS_HCPA (1u << 2)

/* GPIO: a byte of PADREG and four bits of CFG a pad, unlocked by a key. */
#define GPIO_PADREG(pad) (*(volatile uint8_t *)(uintptr_t)(0x40010000u + (pad)))
#define GPIO_CFG(pad) APOLLO3_REGISTER(0x40010040u + 4u * ((pad) / 8u))
#define GPIO_PADKEY APOLLO3_REGISTER(0x40010060u)
#define GPIO_RD(pad) APOLLO3_REGISTER(0x40010080u + 4u * ((pad) / 32u))
#define GPIO_WTS(pad) APOLLO3_REGISTER(0x40010090u + 4u * ((pad) / 32u))
#define GPIO_WTC(pad) APOLLO3_REGISTER(0x40010098u + 4u * ((pad) / 32u))
#define GPIO_ENS(pad) APOLLO3_REGISTER(0x400100a8u + 4u * ((pad) / 32u))
#define GPIO_ENC(pad) APOLLO3_REGISTER(0x400100b4u + 4u * ((pad) / 32u))
#define PADKEY 0x73u
#define PADREG_INPUT (1u << 1)
#define PADREG_PULLUP (1u << 0)
#define PADREG_FUNCTION(number) ((uint8_t)((number) << 3))
#define PADREG_GPIO PADREG_FUNCTION(3u)
/* Output that is enabled by ENS and ENC alone, which makes open drains. */
#define CFG_TRISTATE (3u << 1)

/* UART0: a PL011 with a clock of its own. */
#define UART0_DR APOLLO3_REGISTER(0x4001c000u)
#define UART0_FR APOLLO3_REGISTER(0x4001c018u)
#define UART0_IBRD APOLLO3_REGISTER(0x4001c024u)
#define UART0_FBRD APOLLO3_REGISTER(0x4001c028u)
#define UART0_LCRH APOLLO3_REGISTER(0x4001c02cu)
#define UART0_CR APOLLO3_REGISTER(0x4001c030u)
#define FR_BUSY (1u << 3)
#define FR_RX_EMPTY (1u << 4)
#define FR_TX_FULL (1u << 5)
#define LCRH_FIFO (1u << 4)
#define LCRH_8_BITS (3u << 5)
#define CR_ENABLE (1u << 0)
#define CR_CLOCK (1u << 3)
#define CR_CLOCK_24MHZ (1u << 4)
#define CR_TX (1u << 8)
#define CR_RX (1u << 9)
#define UART0_CLOCK_HZ 24000000u

/* The system timer, here at 3 MHz. */
#define STIMER_CFG APOLLO3_REGISTER(0x40008140u)
#define STIMER_NOW APOLLO3_REGISTER(0x40008144u)
#define STCFG_3MHZ 1u
#define STIMER_PER_MS 3000u

/* The watchdog, on a clock of 16 Hz. */
#define WDT_CFG APOLLO3_REGISTER(0x40024000u)
#define WDT_RESTART APOLLO3_REGISTER(0x40024004u)
#define WDT_ENABLE (1u << 0)
#define WDT_RESET_ENABLE (1u << 2)
#define WDT_RESET_AT(ticks) ((ticks) << 8)
#define WDT_CLOCK_16HZ (2u << 24)
#define WDT_RESTART_KEY 0xb2u

/* Resets. */
#define RSTGEN_CFG APOLLO3_REGISTER(0x40000000u)
#define RSTGEN_SOFTWARE_RESET APOLLO3_REGISTER(0x40000008u)
#define RSTGEN_WATCHDOG (1u << 1)
#define RSTGEN_SOFTWARE_RESET_KEY 0xd4u

/* Flash: two instances of 64 pages of 8 KB. The boot ROM erases a page and programs words; code that runs
 * from flash waits meanwhile, and interrupts are off. */
#define FLASH_PAGE_BYTES 8192u
#define FLASH_INSTANCE_BYTES (512u * 1024u)
#define FLASH_KEY 0x12344321u
#define ROM_PAGE_ERASE ((int (*)(uint32_t key, uint32_t instance, uint32_t page))(uintptr_t)0x08000051u)
#define ROM_PROGRAM                                                                              \
  ((int (*)(uint32_t key, uint32_t *from, uint32_t *to, uint32_t words))(uintptr_t)0x08000055u)

#endif
