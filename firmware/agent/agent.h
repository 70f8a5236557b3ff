/* The agent for firmware in C: slots, transfers by block and by delta, trials, the monitor, reports and the
 * serial link, over a port of a few functions. A state machine: it reads no clock and no pin itself.
 *
 * What it says and takes is that of the Rust crate tinyops-device, as far as README.md tells. */
#ifndef TINYOPS_AGENT_H
#define TINYOPS_AGENT_H

#include "../../c/include/tinyops_slots.h"
#include "keys.h"
#include "link.h"
#include "model.h"

/* The largest body of a frame that the agent takes: a block of 512 bytes in its envelope, and some. */
#define TINYOPS_AGENT_BODY_BYTES 608u
/* The largest envelope that it sends: a report, or its hello. */
#define TINYOPS_AGENT_OUT_BYTES 128u

/* Who a device is, and its habits. */
typedef struct tinyops_settings {
  uint64_t device;
  /* The secret that it shares with its server, and the first number of its envelopes: what its enrolment
   * told it. */
  uint8_t key[TINYOPS_DEVICE_KEY_BYTES];
  uint32_t first_uplink;
  /* Time after which blocks that do not come are asked for again. */
  uint32_t retry_after_ms;
  /* Windows of a report. */
  uint32_t report_every;
  /* Windows that a new capsule must score to stay. */
  uint32_t trial_windows;
  /* Boots that it has to do so. */
  uint8_t tries;
  /* Bytes of a block, 512 at most: whole units of the flash. */
  uint16_t block_bytes;
} tinyops_settings;

/* News of an update that are not sent yet. */
typedef struct tinyops_update {
  uint32_t model;
  uint32_t sequence;
  tinyops_refusal refusal;
  uint8_t state;
} tinyops_update;

typedef struct tinyops_agent {
  const tinyops_firmware *firmware;
  const tinyops_port *port;
  tinyops_workspace *workspace;
  /* A bit for each block of a slot. */
  uint8_t *blocks;
  size_t blocks_bytes;
  tinyops_settings settings;
  tinyops_slots slots;
  tinyops_keys keys;
  /* What came of the last key set. */
  tinyops_refusal keys_refusal;
  tinyops_model model;
  tinyops_model candidate;
  tinyops_monitor monitor;
  tinyops_link link;
  tinyops_update update;
  tinyops_alarm alarm;
  uint64_t seed;
  /* Readings of the window so far. */
  size_t filled;
  uint32_t sequence;
  uint32_t trial_left;
  uint32_t asked_at_ms;
  uint32_t outstanding;
  uint16_t line_body_bytes;
  uint8_t running;
  /* News that are not sent yet. */
  bool tells_room;
  bool tells_hello;
  bool tells_update;
  bool tells_keys;
  bool tells_alarm;
  bool tells_report;
  bool is_on_trial;
  bool is_fresh;
  bool has_asked;
  bool wants_reset;
  uint8_t frame[1 + TINYOPS_AGENT_BODY_BYTES + 4];
  uint8_t out[1 + TINYOPS_AGENT_OUT_BYTES + 4];
} tinyops_agent;

/* Boots: reads the journal, takes a try of a trial, and finds what to run. All that is lent stays where it
 * is. `blocks` has a bit for each block of a slot. False if the flash or the blocks are too small. */
bool tinyops_agent_boot(tinyops_agent *agent, const tinyops_firmware *firmware,
                        const tinyops_settings *settings, const tinyops_port *port,
                        const tinyops_flash *flash, tinyops_workspace *workspace, uint8_t *blocks,
                        size_t blocks_bytes);

/* Whether a model runs; its front end tells what it needs. */
bool tinyops_agent_runs(const tinyops_agent *agent);

/* Takes one byte of the line. */
void tinyops_agent_receive(tinyops_agent *agent, uint8_t byte, uint32_t now_ms);

/* Takes one reading of all channels of the sensor. True where it ends a window, and `answer` is what the
 * model says of it. Windows follow each other without overlap. */
bool tinyops_agent_reading(tinyops_agent *agent, const float *reading, tinyops_answer *answer);

/* Sends what is to be sent. True where the board is to reset, now that everything is said. `now_ms` may
 * wrap. */
bool tinyops_agent_tick(tinyops_agent *agent, uint32_t now_ms);

#endif
