/* SparkFun Edge 2: the accelerometer at 100 Hz, the agent, UART0 as its line, 288 KB of the internal flash
 * for journal and slots, and a watchdog of eight seconds. */
#include <string.h>

#include "../agent/agent.h"
#include "../agent/lis2dh12.h"
#include "apollo3.h"
#include IDENTITY
#include "../agent/board.h"

#define TX_PAD 48u
#define RX_PAD 49u
#define SCL_PAD 39u
#define SDA_PAD 40u
#define LED_PAD 19u
#define BAUD 115200u
#define RATE_HZ 100u

extern uint32_t data_start, data_end, data_loaded, bss_start, bss_end;
extern const uint8_t agent_start[], agent_bytes[];

static uint32_t now(void) {
  return STIMER_NOW;
}

/* Milliseconds, which wrap with the timer once a day and half a day again. */
static uint32_t now_ms(void) {
  static uint32_t last, rest, total;
  const uint32_t counted = now();
  rest += counted - last;
  last = counted;
  total += rest / STIMER_PER_MS;
  rest %= STIMER_PER_MS;
  return total;
}

static void set_pad(uint32_t pad, uint8_t padreg, uint32_t cfg) {
  const uint32_t shift = 4u * (pad % 8u);
  GPIO_PADKEY = PADKEY;
  GPIO_PADREG(pad) = padreg;
  GPIO_CFG(pad) = (GPIO_CFG(pad) & ~(15u << shift)) | cfg << shift;
  GPIO_PADKEY = 0;
}

/* Open drains: low, or let go. */
static void drive(uint32_t pad, bool is_high) {
  GPIO_WTC(pad) = 1u << (pad % 32u);
  if (is_high) {
    GPIO_ENC(pad) = 1u << (pad % 32u);
  } else {
    GPIO_ENS(pad) = 1u << (pad % 32u);
  }
}

static void scl(void *context, bool is_high) {
  (void)context;
  drive(SCL_PAD, is_high);
}

static void sda(void *context, bool is_high) {
  (void)context;
  drive(SDA_PAD, is_high);
}

static bool read_sda(void *context) {
  (void)context;
  return (GPIO_RD(SDA_PAD) >> (SDA_PAD % 32u) & 1u) != 0;
}

/* Half a bit at 100 kHz. */
static void wait(void *context) {
  const uint32_t begun = now();
  (void)context;
  while (now() - begun < STIMER_PER_MS / 200u) continue;
}

static void send(void *context, const uint8_t *bytes, size_t len) {
  size_t index;
  (void)context;
  for (index = 0; index < len; index++) {
    while ((UART0_FR & FR_TX_FULL) != 0) continue;
    UART0_DR = bytes[index];
  }
}

static const uint8_t *mapped(void *context, uint32_t at, uint32_t len) {
  (void)context;
  (void)len;
  return agent_start + at;
}

static bool erase(void *context, uint32_t from, uint32_t to) {
  (void)context;
  for (; from < to; from += FLASH_PAGE_BYTES) {
    const uint32_t address = (uint32_t)(uintptr_t)agent_start + from;
    WDT_RESTART = WDT_RESTART_KEY;
    if (ROM_PAGE_ERASE(FLASH_KEY, address / FLASH_INSTANCE_BYTES,
                       address % FLASH_INSTANCE_BYTES / FLASH_PAGE_BYTES) != 0) {
      return false;
    }
  }
  return true;
}

/* A word at a time from the stack: the source of the ROM's function must be aligned, and in RAM. */
static bool program(void *context, uint32_t at, const uint8_t *bytes, uint32_t len) {
  uint32_t word, index;
  (void)context;
  WDT_RESTART = WDT_RESTART_KEY;
  for (index = 0; index < len; index += 4) {
    memcpy(&word, bytes + index, sizeof word);
    if (ROM_PROGRAM(FLASH_KEY, &word, (uint32_t *)(uintptr_t)(agent_start + at + index), 1) != 0) {
      return false;
    }
  }
  return true;
}

__attribute__((noinline)) static void start_board(void) {
  STIMER_CFG = STCFG_3MHZ;
  PWRCTRL_DEVPWREN |= DEVPWREN_UART0;
  while ((PWRCTRL_DEVPWRSTATUS & DEVPWRSTATUS_HCPA) == 0) continue;
  set_pad(TX_PAD, PADREG_FUNCTION(0u), 0);
  set_pad(RX_PAD, PADREG_FUNCTION(0u) | PADREG_INPUT, 0);
  set_pad(SCL_PAD, PADREG_GPIO | PADREG_INPUT | PADREG_PULLUP, CFG_TRISTATE);
  set_pad(SDA_PAD, PADREG_GPIO | PADREG_INPUT | PADREG_PULLUP, CFG_TRISTATE);
  set_pad(LED_PAD, PADREG_GPIO, CFG_TRISTATE);
  UART0_CR = CR_CLOCK | CR_CLOCK_24MHZ;
  /* The divisor in 64ths, rounded. */
  UART0_IBRD = UART0_CLOCK_HZ * 4u / BAUD / 64u;
  UART0_FBRD = UART0_CLOCK_HZ * 4u / BAUD % 64u;
  UART0_LCRH = LCRH_FIFO | LCRH_8_BITS;
  UART0_CR = CR_CLOCK | CR_CLOCK_24MHZ | CR_ENABLE | CR_TX | CR_RX;
  RSTGEN_CFG |= RSTGEN_WATCHDOG;
  WDT_CFG = WDT_CLOCK_16HZ | WDT_RESET_AT(128u) | WDT_RESET_ENABLE | WDT_ENABLE;
  WDT_RESTART = WDT_RESTART_KEY;
}

static const tinyops_channel channels[3] = {
    {"acc.x", "g", 4.0f}, {"acc.y", "g", 4.0f}, {"acc.z", "g", 4.0f}};
static const tinyops_sensor sensor = {(float)RATE_HZ, 3, TINYOPS_UPRIGHT, channels, NULL, 0};
static uint8_t arena[64 * 1024], blocks[128];
static float window[3 * 512], features[256], scratch[2048];
static tinyops_agent agent;

__attribute__((noinline)) static void run(void) {
  static const tinyops_i2c bus = {NULL, scl, sda, read_sda, wait};
  static const tinyops_port port = {NULL, send};
  static tinyops_firmware firmware;
  static tinyops_settings settings;
  static tinyops_workspace workspace;
  static tinyops_flash flash;
  uint32_t due_ms;
  bool has_sensor;
  firmware.board = "sparkfun-edge-2";
  firmware.sensor = &sensor;
  tinyops_board_believe(&firmware);
  tinyops_board_settle(&settings);
  TINYOPS_BOARD_LEND(&workspace, arena, window, features, scratch);
  flash.bytes = (uint32_t)(uintptr_t)agent_bytes;
  flash.page_bytes = FLASH_PAGE_BYTES;
  flash.write_bytes = 4;
  flash.mapped = mapped;
  flash.erase = erase;
  flash.write = program;
  has_sensor = tinyops_lis2dh12_start(&bus);
  if (!tinyops_agent_boot(&agent, &firmware, &settings, &port, &flash, &workspace, blocks,
                          sizeof blocks)) {
    return;
  }
  due_ms = now_ms();
  while (!tinyops_agent_tick(&agent, now_ms())) {
    float reading[3];
    tinyops_answer answer;
    WDT_RESTART = WDT_RESTART_KEY;
    while ((UART0_FR & FR_RX_EMPTY) == 0) {
      tinyops_agent_receive(&agent, (uint8_t)(UART0_DR & 0xff), now_ms());
    }
    if ((int32_t)(now_ms() - due_ms) < 0) continue;
    due_ms += 1000u / RATE_HZ;
    if (has_sensor && tinyops_lis2dh12_read(&bus, reading) &&
        tinyops_agent_reading(&agent, reading, &answer)) {
      drive(LED_PAD, answer.class_index != 0 || answer.is_alarm);
    }
  }
}

void reset(void);
void stuck(void);

/* The vectors that this firmware has: it takes no interrupt. */
extern uint32_t stack_top;
typedef void (*handler)(void);
__attribute__((section(".vectors"), used)) static const handler vectors[16] = {
    (handler)(uintptr_t)&stack_top, reset, stuck, stuck, stuck, stuck, stuck, stuck, stuck, stuck,
    stuck, stuck, stuck, stuck, stuck, stuck};

/* What cannot go on waits for the watchdog. */
void stuck(void) {
  for (;;) continue;
}

void reset(void) {
  uint32_t *from = &data_loaded, *to = &data_start;
  /* Before the first float: the coprocessor of the M4F is off after a reset. */
  APOLLO3_REGISTER(0xe000ed88u) |= 15u << 20;
  __asm volatile("dsb\n\tisb");
  while (to < &data_end) *to++ = *from++;
  for (to = &bss_start; to < &bss_end; to++) *to = 0;
  start_board();
  run();
  /* What was said last is on its way still. */
  while ((UART0_FR & FR_BUSY) != 0) continue;
  RSTGEN_SOFTWARE_RESET = RSTGEN_SOFTWARE_RESET_KEY;
  stuck();
}
