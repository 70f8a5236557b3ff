/* The agent as a process: flash is a file, the line a TCP stream to `tinyops gateway --listen`, the sensor a
 * sine. For tests, and to see the agent at work without a board: kill it, and power has gone.
 *
 *   agent FLASH PORT FACTORY MOUNTING
 *
 * FACTORY is a file with the factory's record (docs/formats/provision.md), MOUNTING the code of one: what the
 * program states of its sensor where the record does not say. It enrols by the record if its flash does not
 * say who it is. A line on stdout says of each window which model answered
 * what. */
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
#include "../enrol.h"

#define FLASH_BYTES (256u * 1024u)
#define PAGE_BYTES 4096u
/* Behind the agent's region: a request without an answer, and who the device is. */
#define IDENTITY_BYTES (2u * PAGE_BYTES)
#define ALL_BYTES (FLASH_BYTES + IDENTITY_BYTES)
#define WRITE_BYTES 4u
#define CHANNELS 3u
#define RATE_HZ 100.0f

static uint8_t *mapping;
static int line;

static const uint8_t *mapped(void *context, uint32_t at, uint32_t len) {
  (void)len;
  return (const uint8_t *)context + at;
}

static bool erase(void *context, uint32_t from, uint32_t to) {
  memset((uint8_t *)context + from, 0xFF, to - from);
  return true;
}

/* As NOR flash does: bits only go to zero. */
static bool program(void *context, uint32_t at, const uint8_t *bytes, uint32_t len) {
  uint8_t *region = (uint8_t *)context + at;
  uint32_t index;
  for (index = 0; index < len; index++) region[index] &= bytes[index];
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

static bool guess(void *context, uint8_t *bytes, size_t len) {
  FILE *file = fopen("/dev/urandom", "rb");
  const bool is_whole = file != NULL && fread(bytes, 1, len, file) == len;
  (void)context;
  if (file != NULL) fclose(file);
  return is_whole;
}

static void open_flash(const char *path) {
  const int file = open(path, O_RDWR | O_CREAT, 0600);
  const off_t bytes = file < 0 ? -1 : lseek(file, 0, SEEK_END);
  if (file < 0 || bytes < 0 || (bytes == 0 && ftruncate(file, (off_t)ALL_BYTES) != 0)) exit(2);
  mapping = (uint8_t *)mmap(NULL, ALL_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (mapping == MAP_FAILED) exit(2);
  if (bytes == 0) memset(mapping, 0xFF, ALL_BYTES);
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

static tinyops_flash flash_at(uint8_t *region, uint32_t bytes) {
  tinyops_flash flash;
  memset(&flash, 0, sizeof flash);
  flash.context = region;
  flash.bytes = bytes;
  flash.page_bytes = PAGE_BYTES;
  flash.write_bytes = WRITE_BYTES;
  flash.mapped = mapped;
  flash.erase = erase;
  flash.write = program;
  return flash;
}

/* What the factory wrote, and its key set. */
static void read_factory(const char *path, tinyops_factory *factory, tinyops_key_set *keys) {
  static uint8_t bytes[2048];
  FILE *file = fopen(path, "rb");
  const size_t len = file == NULL ? 0 : fread(bytes, 1, sizeof bytes, file);
  if (!tinyops_factory_read(factory, bytes, len) ||
      tinyops_key_set_read(keys, factory->key_set, factory->key_set_bytes) != TINYOPS_KEY_SET_SOUND) {
    exit(2);
  }
  fclose(file);
}

/* Bytes that have come over the line, after a millisecond at most. */
static size_t receive(uint8_t *bytes, size_t room) {
  struct pollfd waits = {line, POLLIN, 0};
  ssize_t got;
  if (poll(&waits, 1, 1) <= 0) return 0;
  got = recv(line, bytes, room, 0);
  if (got <= 0) exit(1);
  return (size_t)got;
}

/* Who the device is: as its flash says, or as its server does after it has asked. */
static tinyops_enrolled enrol(const tinyops_factory *factory, const tinyops_key_set *keys,
                              const tinyops_port *port) {
  static tinyops_enroller enroller;
  const tinyops_flash flash = flash_at(mapping + FLASH_BYTES, IDENTITY_BYTES);
  tinyops_enrolment state;
  tinyops_enroller_begin(&enroller, factory, keys, port, &flash, guess);
  while ((state = tinyops_enroller_tick(&enroller, now_ms())) == TINYOPS_ENROL_ASKS) {
    uint8_t bytes[256];
    const size_t got = receive(bytes, sizeof bytes);
    size_t index;
    for (index = 0; index < got; index++) tinyops_enroller_receive(&enroller, bytes[index], now_ms());
  }
  if (state == TINYOPS_ENROL_STUCK) exit(3);
  return enroller.enrolled;
}

int main(int count, char **arguments) {
  static uint8_t arena[32 * 1024], blocks[256];
  static float window[2048], features[512], scratch[2048];
  static const tinyops_channel channels[CHANNELS] = {
      {"acc.x", "g", 0.0f}, {"acc.y", "g", 0.0f}, {"acc.z", "g", 0.0f}};
  static const tinyops_port port = {NULL, say};
  static tinyops_agent agent;
  static char board[TINYOPS_TEXT_BYTES_MAX + 1];
  tinyops_sensor sensor = {RATE_HZ, CHANNELS, TINYOPS_MOUNTING_NOT_SAID, channels, NULL, 0};
  tinyops_factory factory;
  tinyops_firmware firmware;
  tinyops_settings settings;
  tinyops_workspace workspace;
  tinyops_enrolled enrolled;
  tinyops_flash flash;
  memset(&firmware, 0, sizeof firmware);
  memset(&settings, 0, sizeof settings);
  memset(&workspace, 0, sizeof workspace);
  if (count != 5) {
    fprintf(stderr, "agent FLASH PORT FACTORY MOUNTING\n");
    return 2;
  }
  open_flash(arguments[1]);
  open_line(arguments[2]);
  read_factory(arguments[3], &factory, &firmware.keys);
  enrolled = enrol(&factory, &firmware.keys, &port);
  settings.device = enrolled.device;
  memcpy(settings.key, enrolled.key, sizeof settings.key);
  settings.first_uplink = enrolled.first_uplink;
  settings.retry_after_ms = 1000;
  settings.report_every = 8;
  settings.trial_windows = 4;
  settings.tries = 3;
  settings.block_bytes = 512;
  sensor.mounting = (uint8_t)strtoul(arguments[4], NULL, 10);
  memcpy(board, factory.board, factory.board_bytes);
  firmware.board = board;
  firmware.sensor = factory.sensor.section != NULL ? &factory.sensor : &sensor;
  firmware.operators = &tinyops_operators_all;
  firmware.blocks = &tinyops_blocks_all;
  firmware.roots = factory.roots;
  workspace.arena = tinyops_arena_of(arena, sizeof arena);
  workspace.arena_bytes = sizeof arena;
  workspace.window = window;
  workspace.window_len = sizeof window / sizeof *window;
  workspace.features = features;
  workspace.features_len = sizeof features / sizeof *features;
  workspace.scratch = scratch;
  workspace.scratch_len = sizeof scratch / sizeof *scratch;
  flash = flash_at(mapping, FLASH_BYTES);
  for (;;) {
    if (!tinyops_agent_boot(&agent, &firmware, &settings, &port, &flash, &workspace, blocks,
                            sizeof blocks)) {
      return 3;
    }
    for (;;) {
      uint8_t bytes[256];
      float reading[CHANNELS];
      tinyops_answer answer;
      size_t got, index;
      if (tinyops_agent_tick(&agent, now_ms())) break;
      got = receive(bytes, sizeof bytes);
      for (index = 0; index < got; index++) tinyops_agent_receive(&agent, bytes[index], now_ms());
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
