/* The agent as a process: flash is a file, the line a TCP stream to `tinyops gateway --listen`, the sensor a
 * sine. For tests, and to see the agent at work without a board: kill it, and power has gone.
 *
 *   agent FLASH PORT DEVICE KEY RELEASE DIRECTOR BOARD FIRST_UPLINK MOUNTING
 *
 * DEVICE is a number in hexadecimal, keys are 64 digits, MOUNTING the code of one. A line on stdout says of
 * each window which model answered what. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "../agent.h"

#define FLASH_BYTES (256u * 1024u)
#define PAGE_BYTES 4096u
#define WRITE_BYTES 4u
#define CHANNELS 3u
#define RATE_HZ 100.0f

static uint8_t *mapping;
static int line;

static const uint8_t *mapped(void *context, uint32_t at, uint32_t len) {
  (void)context;
  (void)len;
  return mapping + at;
}

static bool erase(void *context, uint32_t from, uint32_t to) {
  (void)context;
  memset(mapping + from, 0xFF, to - from);
  return true;
}

/* As NOR flash does: bits only go to zero. */
static bool program(void *context, uint32_t at, const uint8_t *bytes, uint32_t len) {
  uint32_t index;
  (void)context;
  for (index = 0; index < len; index++) mapping[at + index] &= bytes[index];
  return true;
}

static void say(void *context, const uint8_t *bytes, size_t len) {
  (void)context;
  while (len > 0) {
    const ssize_t sent = send(line, bytes, len, MSG_NOSIGNAL);
    if (sent <= 0) exit(1);
    bytes += sent;
    len -= (size_t)sent;
  }
}

static uint32_t now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint32_t)((uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_nsec / 1000000u);
}

static void read_key(const char *text, uint8_t key[32]) {
  unsigned byte;
  int index;
  for (index = 0; index < 32; index++) {
    if (sscanf(text + 2 * index, "%2x", &byte) != 1) exit(2);
    key[index] = (uint8_t)byte;
  }
}

static void open_flash(const char *path) {
  const int file = open(path, O_RDWR | O_CREAT, 0600);
  const off_t bytes = file < 0 ? -1 : lseek(file, 0, SEEK_END);
  if (file < 0 || bytes < 0 || (bytes == 0 && ftruncate(file, (off_t)FLASH_BYTES) != 0)) exit(2);
  mapping = (uint8_t *)mmap(NULL, FLASH_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (mapping == MAP_FAILED) exit(2);
  if (bytes == 0) memset(mapping, 0xFF, FLASH_BYTES);
  close(file);
}

static void open_line(const char *port) {
  struct sockaddr_in address;
  memset(&address, 0, sizeof address);
  address.sin_family = AF_INET;
  address.sin_port = htons((uint16_t)atoi(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  line = socket(AF_INET, SOCK_STREAM, 0);
  if (line < 0 || connect(line, (struct sockaddr *)&address, sizeof address) != 0) exit(2);
}

/* A machine that turns seven times a second: sine, cosine, and nothing. */
static void next_reading(float reading[CHANNELS]) {
  static float sine = 0, cosine = 1;
  const float step = 2.0f * 3.14159265f * 7.0f / RATE_HZ;
  sine += step * cosine;
  cosine -= step * sine;
  reading[0] = sine;
  reading[1] = cosine;
  reading[2] = 0;
}

int main(int count, char **arguments) {
  static uint8_t arena[32 * 1024], blocks[256];
  static float window[2048], features[512], scratch[2048];
  static const tinyops_channel channels[CHANNELS] = {
      {"acc.x", "g", 0.0f}, {"acc.y", "g", 0.0f}, {"acc.z", "g", 0.0f}};
  static tinyops_agent agent;
  tinyops_sensor sensor = {RATE_HZ, CHANNELS, TINYOPS_MOUNTING_NOT_SAID, channels};
  uint8_t release[32], director[32];
  tinyops_firmware firmware;
  tinyops_settings settings;
  tinyops_workspace workspace;
  tinyops_flash flash;
  tinyops_port port;
  memset(&firmware, 0, sizeof firmware);
  memset(&settings, 0, sizeof settings);
  memset(&workspace, 0, sizeof workspace);
  memset(&flash, 0, sizeof flash);
  if (count != 10) {
    fprintf(stderr, "agent FLASH PORT DEVICE KEY RELEASE DIRECTOR BOARD FIRST_UPLINK MOUNTING\n");
    return 2;
  }
  open_flash(arguments[1]);
  open_line(arguments[2]);
  settings.device = strtoull(arguments[3], NULL, 16);
  read_key(arguments[4], settings.key);
  read_key(arguments[5], release);
  read_key(arguments[6], director);
  settings.first_uplink = (uint32_t)strtoul(arguments[8], NULL, 10);
  settings.retry_after_ms = 1000;
  settings.report_every = 8;
  settings.trial_windows = 4;
  settings.tries = 3;
  settings.block_bytes = 512;
  sensor.mounting = (uint8_t)strtoul(arguments[9], NULL, 10);
  firmware.board = arguments[7];
  firmware.sensor = &sensor;
  firmware.operators = &tinyops_operators_all;
  firmware.blocks = &tinyops_blocks_all;
  firmware.key_set = 1;
  firmware.release_keys = release;
  firmware.release_key_count = 1;
  firmware.director_keys = director;
  firmware.director_key_count = 1;
  workspace.arena = tinyops_arena_of(arena, sizeof arena);
  workspace.arena_bytes = sizeof arena;
  workspace.window = window;
  workspace.window_len = sizeof window / sizeof *window;
  workspace.features = features;
  workspace.features_len = sizeof features / sizeof *features;
  workspace.scratch = scratch;
  workspace.scratch_len = sizeof scratch / sizeof *scratch;
  flash.bytes = FLASH_BYTES;
  flash.page_bytes = PAGE_BYTES;
  flash.write_bytes = WRITE_BYTES;
  flash.mapped = mapped;
  flash.erase = erase;
  flash.write = program;
  port.context = NULL;
  port.send = say;
  for (;;) {
    if (!tinyops_agent_boot(&agent, &firmware, &settings, &port, &flash, &workspace, blocks,
                            sizeof blocks)) {
      return 3;
    }
    for (;;) {
      struct pollfd waits = {line, POLLIN, 0};
      uint8_t bytes[256];
      float reading[CHANNELS];
      tinyops_answer answer;
      if (tinyops_agent_tick(&agent, now_ms())) break;
      if (poll(&waits, 1, 1) > 0) {
        const ssize_t got = recv(line, bytes, sizeof bytes, 0);
        ssize_t index;
        if (got <= 0) return 1;
        for (index = 0; index < got; index++) tinyops_agent_receive(&agent, bytes[index], now_ms());
      }
      next_reading(reading);
      if (tinyops_agent_reading(&agent, reading, &answer)) {
        const uint8_t *id = agent.model.capsule.manifest_digest;
        printf("{\"model\": \"%02x%02x%02x%02x\", \"sequence\": %lu, \"class\": %u, \"output\": %.6f}\n",
               id[0], id[1], id[2], id[3], (unsigned long)agent.model.capsule.manifest.sequence,
               answer.class_index, (double)answer.output);
        fflush(stdout);
      }
    }
  }
}
