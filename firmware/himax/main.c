/* Himax WE-I Plus: its accelerometer, the agent, its UART as the line. What is declared here of the vendor's
 * SDK is linked from its binary libraries. Slots and journal are in RAM, for the SDK has no function that
 * writes flash: README.md says what that means. */
#include <string.h>

#include "../agent/agent.h"
#include IDENTITY
#include "../agent/board.h"

/* Of hx_drv_tflm.h: 0 is a pass, and 3 a rate of 115,200 baud. */
extern int hx_drv_uart_initial(int baud);
extern int hx_drv_uart_getchar(uint8_t *byte);
extern int hx_drv_uart_print(const char *format, ...);
extern int hx_drv_accelerometer_initial(void);
extern uint8_t hx_drv_accelerometer_available_count(void);
extern int hx_drv_accelerometer_receive(float *x, float *y, float *z);
extern int hx_drv_tick_start(void);
extern int hx_drv_tick_get(uint32_t *tick);

#define PASS 0
#define BAUD_115200 3
#define TICKS_PER_MS 400000u
#define REGION_BYTES (256u * 1024u)
#define PAGE_BYTES 4096u

static uint8_t region[REGION_BYTES];

static const uint8_t *mapped(void *context, uint32_t at, uint32_t len) {
  (void)context;
  (void)len;
  return region + at;
}

static bool erase(void *context, uint32_t from, uint32_t to) {
  (void)context;
  memset(region + from, 0xff, to - from);
  return true;
}

static bool program(void *context, uint32_t at, const uint8_t *bytes, uint32_t len) {
  (void)context;
  memcpy(region + at, bytes, len);
  return true;
}

static void send(void *context, const uint8_t *bytes, size_t len) {
  size_t index;
  (void)context;
  for (index = 0; index < len; index++) (void)hx_drv_uart_print("%c", bytes[index]);
}

/* Milliseconds of a tick counter that wraps every eleven seconds. */
static uint32_t now_ms(void) {
  static uint32_t last, rest, total;
  uint32_t tick = 0;
  (void)hx_drv_tick_get(&tick);
  rest += tick - last;
  last = tick;
  total += rest / TICKS_PER_MS;
  rest %= TICKS_PER_MS;
  return total;
}

/* Unit and range are not said: the SDK does not tell in what its readings are. */
static const tinyops_channel channels[3] = {{"acc.x", "", 0}, {"acc.y", "", 0}, {"acc.z", "", 0}};
static const tinyops_sensor sensor = {119.0f, 3, TINYOPS_UPRIGHT, channels, NULL, 0};
static uint8_t arena[256 * 1024], blocks[128];
static float window[3 * 512], features[256], scratch[2048];
static tinyops_agent agent;

int main(void) {
  static const tinyops_port port = {NULL, send};
  static tinyops_firmware firmware;
  static tinyops_settings settings;
  static tinyops_workspace workspace;
  static tinyops_flash flash;
  bool has_sensor;
  firmware.board = "himax-we-i-plus";
  firmware.sensor = &sensor;
  tinyops_board_believe(&firmware);
  tinyops_board_settle(&settings);
  TINYOPS_BOARD_LEND(&workspace, arena, window, features, scratch);
  flash.bytes = REGION_BYTES;
  flash.page_bytes = PAGE_BYTES;
  flash.write_bytes = 4;
  flash.mapped = mapped;
  flash.erase = erase;
  flash.write = program;
  (void)hx_drv_uart_initial(BAUD_115200);
  (void)hx_drv_tick_start();
  has_sensor = hx_drv_accelerometer_initial() == PASS;
  (void)erase(NULL, 0, REGION_BYTES);
  for (;;) {
    if (!tinyops_agent_boot(&agent, &firmware, &settings, &port, &flash, &workspace, blocks,
                            sizeof blocks)) {
      return 1;
    }
    /* A reset is a boot of the agent, for RAM would not outlast one of the chip. */
    while (!tinyops_agent_tick(&agent, now_ms())) {
      uint8_t byte;
      uint32_t count;
      while (hx_drv_uart_getchar(&byte) == PASS) tinyops_agent_receive(&agent, byte, now_ms());
      count = has_sensor ? hx_drv_accelerometer_available_count() : 0;
      for (; count > 0; count--) {
        float reading[3];
        tinyops_answer answer;
        if (hx_drv_accelerometer_receive(&reading[0], &reading[1], &reading[2]) != PASS) break;
        (void)tinyops_agent_reading(&agent, reading, &answer);
      }
    }
  }
}
