/* ESP-EYE: the microphone at 16 kHz, the agent, UART0 (the USB bridge) as its line, a partition of 512 KB for
 * journal and slots, and the task watchdog. For ESP-IDF 5. */
#include <string.h>

#include "../../agent/agent.h"
#include "driver/i2s_std.h"
#include "driver/uart.h"
#include "esp_attr.h"
#include "esp_partition.h"
#include "esp_system.h"
#include "esp_task_wdt.h"
#include "esp_timer.h"
#include IDENTITY
#include "../../agent/board.h"

#define PORT UART_NUM_0
#define BAUD 115200
#define RATE_HZ 16000
/* The pins of the microphone: clock, word, data. */
#define BCLK_PIN 26
#define WS_PIN 32
#define DATA_PIN 33
#define READINGS 256

static const esp_partition_t *partition;
static const uint8_t *region;

static const uint8_t *mapped(void *context, uint32_t at, uint32_t len) {
  (void)context;
  (void)len;
  return region + at;
}

static bool erase(void *context, uint32_t from, uint32_t to) {
  (void)context;
  esp_task_wdt_reset();
  return esp_partition_erase_range(partition, from, to - from) == ESP_OK;
}

static bool program(void *context, uint32_t at, const uint8_t *bytes, uint32_t len) {
  (void)context;
  return esp_partition_write(partition, at, bytes, len) == ESP_OK;
}

static void send(void *context, const uint8_t *bytes, size_t len) {
  (void)context;
  uart_write_bytes(PORT, bytes, len);
}

static uint32_t now_ms(void) {
  return (uint32_t)(esp_timer_get_time() / 1000);
}

static bool start_microphone(i2s_chan_handle_t *microphone) {
  const i2s_chan_config_t channel = I2S_CHANNEL_DEFAULT_CONFIG(I2S_NUM_0, I2S_ROLE_MASTER);
  const i2s_std_config_t config = {
      .clk_cfg = I2S_STD_CLK_DEFAULT_CONFIG(RATE_HZ),
      .slot_cfg = I2S_STD_PHILIPS_SLOT_DEFAULT_CONFIG(I2S_DATA_BIT_WIDTH_32BIT, I2S_SLOT_MODE_MONO),
      .gpio_cfg = {.mclk = I2S_GPIO_UNUSED,
                   .bclk = BCLK_PIN,
                   .ws = WS_PIN,
                   .dout = I2S_GPIO_UNUSED,
                   .din = DATA_PIN},
  };
  return i2s_new_channel(&channel, NULL, microphone) == ESP_OK &&
         i2s_channel_init_std_mode(*microphone, &config) == ESP_OK &&
         i2s_channel_enable(*microphone) == ESP_OK;
}

/* Parts of full scale: what a WAV file of training holds. */
static const tinyops_channel channels[1] = {{"mic", "FS", 1.0f}};
static const tinyops_sensor sensor = {(float)RATE_HZ, 1, TINYOPS_MOUNTING_NOT_SAID, channels, NULL, 0};
/* The arena lies in the chip's own RAM; all of it together would not, so the rest lies in the board's PSRAM. */
static uint8_t arena[96 * 1024], blocks[256];
EXT_RAM_BSS_ATTR static float window[RATE_HZ], features[2048], scratch[4096];
static tinyops_agent agent;

void app_main(void) {
  static const tinyops_port port = {NULL, send};
  static tinyops_firmware firmware;
  static tinyops_settings settings;
  static tinyops_workspace workspace;
  static tinyops_flash flash;
  static int32_t samples[READINGS];
  const uart_config_t line = {.baud_rate = BAUD,
                              .data_bits = UART_DATA_8_BITS,
                              .parity = UART_PARITY_DISABLE,
                              .stop_bits = UART_STOP_BITS_1,
                              .flow_ctrl = UART_HW_FLOWCTRL_DISABLE};
  esp_partition_mmap_handle_t handle;
  i2s_chan_handle_t microphone = NULL;
  const void *start = NULL;
  bool has_sensor;
  partition = esp_partition_find_first(ESP_PARTITION_TYPE_DATA, 0x40, "tinyops");
  if (partition == NULL || esp_partition_mmap(partition, 0, partition->size, ESP_PARTITION_MMAP_DATA,
                                              &start, &handle) != ESP_OK) {
    esp_restart();
  }
  region = (const uint8_t *)start;
  uart_driver_install(PORT, 4096, 0, 0, NULL, 0);
  uart_param_config(PORT, &line);
  firmware.board = "esp-eye";
  firmware.sensor = &sensor;
  tinyops_board_believe(&firmware);
  tinyops_board_settle(&settings);
  TINYOPS_BOARD_LEND(&workspace, arena, window, features, scratch);
  flash.bytes = partition->size;
  flash.page_bytes = 4096;
  flash.write_bytes = 4;
  flash.mapped = mapped;
  flash.erase = erase;
  flash.write = program;
  esp_task_wdt_add(NULL);
  has_sensor = start_microphone(&microphone);
  if (!tinyops_agent_boot(&agent, &firmware, &settings, &port, &flash, &workspace, blocks,
                          sizeof blocks)) {
    esp_restart();
  }
  while (!tinyops_agent_tick(&agent, now_ms())) {
    uint8_t bytes[256];
    size_t index, read_bytes = 0;
    const int got = uart_read_bytes(PORT, bytes, sizeof bytes, 0);
    esp_task_wdt_reset();
    for (index = 0; got > 0 && index < (size_t)got; index++) {
      tinyops_agent_receive(&agent, bytes[index], now_ms());
    }
    if (!has_sensor) continue;
    (void)i2s_channel_read(microphone, samples, sizeof samples, &read_bytes, 20);
    for (index = 0; index < read_bytes / sizeof *samples; index++) {
      const float reading = (float)samples[index] / 2147483648.0f;
      tinyops_answer answer;
      (void)tinyops_agent_reading(&agent, &reading, &answer);
    }
  }
  uart_wait_tx_done(PORT, 1000);
  esp_restart();
}
