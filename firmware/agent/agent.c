#include "agent.h"

#include <string.h>

#include "../../c/src/bytes.h"
#include "../../c/src/refusal.h"
#include "statement.h"

/* Kinds of frames up and of messages down, and their versions: docs/formats/frames.md. */
enum { UP_UPDATE = 7, UP_BLOCK_REQUEST = 8, UP_HELLO = 9, UP_KEYS = 10 };
enum { DOWN_OFFER = 1, DOWN_BLOCK = 2, DOWN_COMMAND = 5, DOWN_REPORT_EVERY = 6, DOWN_KEY_SET = 7 };
enum { COMMAND_REPORT = 1, COMMAND_REVERT = 2, COMMAND_REBOOT = 3 };
/* Where an update has got to. */
enum { DOWNLOADING = 1, INSTALLED = 2, CONFIRMED = 3, REVERTED = 4, REFUSED = 5 };
/* Offers with a statement, and of a delta. */
#define FEATURES 3u
/* Bytes of a downlink around a block: the envelope, and the head of the block. */
#define BLOCK_OVERHEAD (TINYOPS_ENVELOPE_BYTES + 13u)
/* Blocks of one request. */
#define WINDOW_BLOCKS 32u
/* First number of no envelope: none may be sent. */
#define NO_SEQUENCE UINT32_MAX

static void tell(tinyops_agent *agent, uint8_t state, tinyops_refusal refusal, uint32_t model,
                 uint32_t sequence) {
  agent->update.state = state;
  agent->update.refusal = refusal;
  agent->update.model = model;
  agent->update.sequence = sequence;
  agent->tells_update = true;
}

/* Tells of what has gone well: a model. */
static void tell_of(tinyops_agent *agent, uint8_t state, const tinyops_model *model) {
  tell(agent, state, tinyops_no_refusal(), tinyops_model_id(model), model->capsule.manifest.sequence);
}

/* A statement of the director for this device; with `is_verified` its signature was checked before. */
static tinyops_refusal read_statement(const tinyops_agent *agent, const uint8_t *bytes, size_t len,
                                      bool is_verified, tinyops_statement *statement) {
  const tinyops_key_set *keys = &agent->keys.in_force;
  if (bytes == NULL ||
      !tinyops_statement_verify(statement, bytes, len, keys->director.keys, keys->director.count,
                                is_verified ? NULL : tinyops_ed25519_verify, NULL)) {
    return tinyops_refusal_of(TINYOPS_REASON_STATEMENT, keys->sequence);
  }
  return tinyops_refusal_of(statement->device == agent->settings.device ? TINYOPS_REASON_NONE
                                                                : TINYOPS_REASON_OTHER_DEVICE,
                    0);
}

/* Whether the statement beside a capsule is the last one taken up, and names its manifest. */
static tinyops_refusal check_stated(const tinyops_agent *agent, const tinyops_slots *slots,
                                    tinyops_place place, const tinyops_model *model,
                                    bool is_verified) {
  const uint32_t last = slots->record.statement_counter;
  tinyops_statement statement;
  size_t len = 0;
  const uint8_t *bytes = tinyops_slots_statement(slots, place, &len);
  const tinyops_refusal refusal = read_statement(agent, bytes, len, is_verified, &statement);
  if (refusal.reason != TINYOPS_REASON_NONE) return refusal;
  if (statement.counter != last) return tinyops_refusal_of(TINYOPS_REASON_STATEMENT_OLD, last);
  if (memcmp(statement.manifest, model->capsule.manifest_digest, TINYOPS_DIGEST_BYTES) != 0) {
    return tinyops_refusal_of(TINYOPS_REASON_OTHER_MANIFEST, 0);
  }
  return tinyops_no_refusal();
}

/* The checker of the slots: loads a capsule as the candidate. */
static tinyops_refusal check(void *context, const tinyops_slots *slots, tinyops_place place,
                             const uint8_t *capsule, size_t len, bool is_new) {
  tinyops_agent *agent = (tinyops_agent *)context;
  tinyops_model *model = &agent->candidate;
  uint8_t digest[TINYOPS_DIGEST_BYTES];
  const bool is_signed = tinyops_slots_is_installed(slots, place);
  /* The factory's capsule is as good as the firmware, whose own keys it is held to. */
  const tinyops_key_set *keys =
      place == TINYOPS_FACTORY ? &agent->firmware->keys : &agent->keys.in_force;
  tinyops_refusal refusal = tinyops_model_load(model, agent->firmware, keys, agent->workspace,
                                               capsule, len, is_new, is_signed);
  /* Golden vectors leave their windows where readings were gathered. */
  if (is_new) agent->filled = 0;
  if (refusal.reason != TINYOPS_REASON_NONE || !is_new) return refusal;
  refusal = check_stated(agent, slots, place, model, is_signed);
  if (refusal.reason != TINYOPS_REASON_NONE) return refusal;
  tinyops_sha256(capsule, len, digest);
  return tinyops_slots_is_above_floor(slots, model->capsule.manifest.sequence, digest)
             ? tinyops_no_refusal()
             : tinyops_refusal_of(TINYOPS_REASON_ROLLBACK, slots->record.confirmed_sequence);
}

static uint32_t block_count(const tinyops_agent *agent) {
  const uint32_t block = agent->settings.block_bytes;
  return (agent->slots.record.wanted.bytes + block - 1) / block;
}

/* Bytes of a block of the transfer. */
static uint32_t bytes_of(const tinyops_agent *agent, uint32_t index) {
  const uint32_t block = agent->settings.block_bytes;
  const uint32_t left = agent->slots.record.wanted.bytes - block * index;
  return left < block ? left : block;
}

static bool has_block(const tinyops_agent *agent, uint32_t index) {
  return (agent->blocks[index / 8] >> (index % 8) & 1) != 0;
}

static void set_block(tinyops_agent *agent, uint32_t index) {
  agent->blocks[index / 8] = (uint8_t)(agent->blocks[index / 8] | 1u << (index % 8));
}

static bool is_transferring(const tinyops_agent *agent) {
  return agent->slots.record.transfer != TINYOPS_NO_PLACE;
}

/* The first block from `index` on that has not come. */
static uint32_t next_missing(const tinyops_agent *agent, uint32_t index) {
  const uint32_t count = block_count(agent);
  while (index < count && has_block(agent, index)) index++;
  return index;
}

static bool is_complete(const tinyops_agent *agent) {
  return next_missing(agent, 0) == block_count(agent);
}

/* Every block is there: checks the whole, and lets the next boot try it. */
static void finish_transfer(tinyops_agent *agent) {
  const tinyops_refusal refusal =
      tinyops_slots_finish_transfer(&agent->slots, (tinyops_place)agent->running, agent->is_fresh,
                                    agent->settings.tries, check, agent);
  if (refusal.reason != TINYOPS_REASON_NONE) {
    tell(agent, REFUSED, refusal, 0, 0);
    return;
  }
  tell_of(agent, INSTALLED, &agent->candidate);
  agent->wants_reset = true;
}

/* Blocks that came before a reset count, as far as flash tells. */
static void resume_transfer(tinyops_agent *agent) {
  uint32_t index;
  if (!is_transferring(agent)) return;
  if ((block_count(agent) + 7) / 8 > agent->blocks_bytes) {
    /* Begun by firmware with larger slots or smaller blocks. */
    const uint32_t wanted = agent->slots.record.wanted.bytes;
    (void)tinyops_slots_refuse_transfer(&agent->slots,
                                        tinyops_refusal_of(TINYOPS_REASON_SLOT_TOO_SMALL, wanted));
    return;
  }
  memset(agent->blocks, 0, agent->blocks_bytes);
  for (index = 0; index < block_count(agent); index++) {
    const uint32_t offset = agent->settings.block_bytes * index;
    if (tinyops_slots_has_block(&agent->slots, offset, bytes_of(agent, index))) {
      set_block(agent, index);
    }
  }
  if (is_complete(agent)) finish_transfer(agent);
}

/* What a trial has come to that has not led to its capsule. */
static void tell_of_boot(tinyops_agent *agent, const tinyops_begun *begun, tinyops_place place) {
  if (begun->gave_up != TINYOPS_NO_PLACE) {
    tell(agent, REVERTED, tinyops_refusal_of(TINYOPS_REASON_TRIES, 0), 0, 0);
  } else if (begun->trial != TINYOPS_NO_PLACE && place != (tinyops_place)begun->trial) {
    tell(agent, REVERTED, agent->slots.record.refusal, 0, 0);
  }
}

bool tinyops_agent_boot(tinyops_agent *agent, const tinyops_firmware *firmware,
                        const tinyops_settings *settings, const tinyops_port *port,
                        const tinyops_flash *flash, tinyops_workspace *workspace, uint8_t *blocks,
                        size_t blocks_bytes) {
  tinyops_begun begun;
  tinyops_place place;
  memset(agent, 0, sizeof *agent);
  agent->firmware = firmware;
  agent->settings = *settings;
  agent->port = port;
  agent->workspace = workspace;
  agent->blocks = blocks;
  agent->blocks_bytes = blocks_bytes;
  agent->line_body_bytes = TINYOPS_AGENT_BODY_BYTES;
  agent->link = tinyops_link_of(agent->frame, sizeof agent->frame);
  if (!tinyops_slots_open(&agent->slots, flash) ||
      strlen(firmware->board) > TINYOPS_TEXT_BYTES_MAX || settings->block_bytes == 0 ||
      settings->block_bytes + BLOCK_OVERHEAD > TINYOPS_AGENT_BODY_BYTES ||
      settings->block_bytes % flash->write_bytes != 0 ||
      tinyops_slots_capsule_bytes(&agent->slots) / settings->block_bytes / 8 + 1 > blocks_bytes) {
    return false;
  }
  agent->seed = tinyops_dither_seed(settings->key);
  begun = tinyops_slots_begin_boot(&agent->slots, settings->first_uplink);
  tinyops_keys_begin(&agent->keys, &agent->slots, &firmware->roots, &firmware->keys);
  agent->sequence = begun.sequence;
  place = tinyops_slots_choose(&agent->slots, &begun, check, agent);
  agent->running = (uint8_t)place;
  /* The last capsule that passed is the one that was chosen. */
  if (place != TINYOPS_NO_PLACE) agent->model = agent->candidate;
  agent->is_on_trial = place != TINYOPS_NO_PLACE && place == (tinyops_place)begun.trial;
  agent->trial_left = settings->trial_windows;
  tell_of_boot(agent, &begun, place);
  agent->tells_room = true;
  agent->tells_hello = true;
  resume_transfer(agent);
  return true;
}

bool tinyops_agent_runs(const tinyops_agent *agent) {
  return agent->running != TINYOPS_NO_PLACE;
}

/* What to fetch, as an offer has it. */
typedef struct offer {
  tinyops_wanted wanted;
  const uint8_t *statement;
  size_t statement_bytes;
} offer;

/* An offer of version 2 after its first byte: what u8, digest, bytes u32, statement. Devices that cannot
 * wait are sent no other. */
static bool read_offer(offer *read, const uint8_t *at, size_t len) {
  if (len < 37 || at[0] > 1) return false;
  memset(&read->wanted, 0, sizeof read->wanted);
  read->wanted.is_delta = at[0] == 1;
  memcpy(read->wanted.digest, at + 1, sizeof read->wanted.digest);
  read->wanted.bytes = tinyops_read_u32(at + 33);
  read->statement = at + 37;
  read->statement_bytes = len - 37;
  return true;
}

static bool is_wanted_already(const tinyops_agent *agent, const tinyops_wanted *wanted) {
  const tinyops_wanted *now = &agent->slots.record.wanted;
  return is_transferring(agent) && now->bytes == wanted->bytes &&
         now->is_delta == wanted->is_delta &&
         memcmp(now->digest, wanted->digest, sizeof now->digest) == 0;
}

static tinyops_refusal begin_transfer(tinyops_agent *agent, const offer *offered,
                                      const tinyops_statement *statement) {
  static const tinyops_when at_once = {false, 0};
  const uint32_t last = agent->slots.record.statement_counter;
  tinyops_refusal refusal;
  if (statement->counter <= last) return tinyops_refusal_of(TINYOPS_REASON_STATEMENT_OLD, last);
  if (agent->sequence > statement->last_uplink) {
    return tinyops_refusal_of(TINYOPS_REASON_STATEMENT_VOID, agent->sequence);
  }
  if (offered->wanted.bytes == 0 ||
      offered->wanted.bytes > tinyops_slots_capsule_bytes(&agent->slots)) {
    return tinyops_refusal_of(TINYOPS_REASON_SLOT_TOO_SMALL, offered->wanted.bytes);
  }
  refusal = tinyops_slots_begin_transfer(&agent->slots, &offered->wanted, at_once,
                                         offered->statement, offered->statement_bytes,
                                         statement->counter, (tinyops_place)agent->running);
  if (refusal.reason != TINYOPS_REASON_NONE) return refusal;
  memset(agent->blocks, 0, agent->blocks_bytes);
  agent->is_fresh = true;
  agent->has_asked = false;
  agent->outstanding = 0;
  return refusal;
}

static void take_offer(tinyops_agent *agent, const offer *offered) {
  const tinyops_journal_record *record = &agent->slots.record;
  tinyops_statement statement;
  tinyops_refusal refusal;
  /* One trial at a time; the server offers again what it still wants afterwards. */
  if (agent->is_on_trial || agent->wants_reset || is_wanted_already(agent, &offered->wanted)) return;
  if (record->refusal.reason != TINYOPS_REASON_NONE &&
      memcmp(record->refused, offered->wanted.digest, sizeof record->refused) == 0) {
    tell(agent, REFUSED, record->refusal, 0, 0);
    return;
  }
  refusal =
      read_statement(agent, offered->statement, offered->statement_bytes, false, &statement);
  if (refusal.reason == TINYOPS_REASON_NONE) {
    if (tinyops_agent_runs(agent) && memcmp(statement.manifest, agent->model.capsule.manifest_digest,
                                            sizeof statement.manifest) == 0) {
      tell_of(agent, CONFIRMED, &agent->model);
      return;
    }
    refusal = begin_transfer(agent, offered, &statement);
  }
  tell(agent, refusal.reason == TINYOPS_REASON_NONE ? DOWNLOADING : REFUSED, refusal, 0, 0);
}

/* Blocks that follow each other: those that have come before are passed over. */
static void take_block(tinyops_agent *agent, const uint8_t *at, size_t len, uint32_t now_ms) {
  const uint32_t block = agent->settings.block_bytes;
  uint32_t offset;
  bool has_stored = false;
  if (len < 12 || !is_transferring(agent) ||
      memcmp(at, agent->slots.record.wanted.digest, TINYOPS_PREFIX_BYTES) != 0) {
    return;
  }
  offset = tinyops_read_u32(at + 8);
  at += 12;
  len -= 12;
  while (len > 0 && offset % block == 0 && offset < agent->slots.record.wanted.bytes) {
    const uint32_t index = offset / block, bytes = bytes_of(agent, index);
    if (len < bytes) break;
    if (!has_block(agent, index)) {
      const tinyops_refusal_reason reason =
          tinyops_slots_write_block(&agent->slots, offset, at, bytes);
      if (reason != TINYOPS_REASON_NONE) {
        tell(agent, REFUSED, tinyops_refusal_of(reason, 0), 0, 0);
        (void)tinyops_slots_refuse_transfer(&agent->slots, tinyops_refusal_of(reason, 0));
        return;
      }
      set_block(agent, index);
      if (agent->outstanding > 0) agent->outstanding--;
      has_stored = true;
    }
    at += bytes;
    len -= bytes;
    offset += bytes;
  }
  if (!has_stored) return;
  /* While blocks come none is late. */
  agent->asked_at_ms = now_ms;
  if (is_complete(agent)) finish_transfer(agent);
}

/* Back to what ran before. */
static void revert(tinyops_agent *agent) {
  const tinyops_refusal refusal = tinyops_refusal_of(TINYOPS_REASON_COMMANDED, 0);
  const tinyops_place place = (tinyops_place)agent->running;
  const tinyops_place fallback = tinyops_slots_fallback(&agent->slots);
  tinyops_refusal_reason reason;
  if (agent->is_on_trial) {
    reason = tinyops_slots_revert_trial(&agent->slots, place, refusal);
  } else if (!tinyops_agent_runs(agent) || fallback == TINYOPS_NO_PLACE) {
    return;
  } else {
    reason = tinyops_slots_go_back(&agent->slots, fallback, refusal);
  }
  if (reason != TINYOPS_REASON_NONE) {
    tell(agent, REFUSED, tinyops_refusal_of(reason, 0), 0, 0);
    return;
  }
  tell(agent, REVERTED, refusal, tinyops_model_id(&agent->model),
       agent->model.capsule.manifest.sequence);
  agent->wants_reset = true;
}

static void take_command(tinyops_agent *agent, uint8_t command) {
  /* It must not come twice, not even across a reset: the number seen goes into the journal first. */
  if (tinyops_slots_reserve_sequence(&agent->slots, agent->slots.record.uplink_limit) !=
      TINYOPS_REASON_NONE) {
    return;
  }
  if (command == COMMAND_REPORT) agent->tells_report = true;
  if (command == COMMAND_REVERT) revert(agent);
  if (command == COMMAND_REBOOT) agent->wants_reset = true;
}

static void take_key_set(tinyops_agent *agent, const uint8_t *part, size_t len) {
  if (!tinyops_keys_take(&agent->keys, &agent->slots, part, len, &agent->keys_refusal)) return;
  agent->tells_keys = true;
  /* What is being tried was checked by the keys of before; the boot checks it again. */
  if (agent->keys_refusal.reason == TINYOPS_REASON_NONE && agent->is_on_trial) {
    agent->wants_reset = true;
  }
}

static void take_envelope(tinyops_agent *agent, const uint8_t *bytes, size_t len, uint32_t now_ms) {
  tinyops_envelope envelope;
  size_t body_bytes;
  const uint8_t *body =
      tinyops_envelope_open(&envelope, bytes, len, agent->settings.key, &body_bytes);
  offer offered;
  if (body == NULL || !envelope.is_down || envelope.device != agent->settings.device ||
      body_bytes == 0) {
    return;
  }
  /* A block that comes again does no harm, and many may share the moment of their sending. */
  if (body[0] == (DOWN_BLOCK | 1u << 4)) {
    take_block(agent, body + 1, body_bytes - 1, now_ms);
    return;
  }
  /* So does a part of a key set, whose own number rises. */
  if (body[0] == (DOWN_KEY_SET | 1u << 4)) {
    take_key_set(agent, body + 1, body_bytes - 1);
    return;
  }
  if (envelope.sequence <= agent->slots.downlink_seen) return;
  agent->slots.downlink_seen = envelope.sequence;
  if (body[0] == (DOWN_OFFER | 2u << 4) && read_offer(&offered, body + 1, body_bytes - 1)) {
    take_offer(agent, &offered);
  } else if (body[0] == (DOWN_OFFER | 1u << 4)) {
    /* Who offers so has not heard what this device takes. */
    agent->tells_hello = true;
  } else if (body[0] == (DOWN_COMMAND | 1u << 4) && body_bytes == 2) {
    take_command(agent, body[1]);
  } else if (body[0] == (DOWN_REPORT_EVERY | 1u << 4) && body_bytes == 5) {
    agent->settings.report_every = tinyops_read_u32(body + 1);
  }
}

void tinyops_agent_receive(tinyops_agent *agent, uint8_t byte, uint32_t now_ms) {
  const uint8_t *body;
  size_t body_bytes;
  uint8_t kind;
  if (!tinyops_link_push(&agent->link, byte, &kind, &body, &body_bytes)) return;
  if (kind == TINYOPS_LINK_DOWN) take_envelope(agent, body, body_bytes, now_ms);
  if (kind == TINYOPS_LINK_ROOM && body_bytes == 2) {
    agent->line_body_bytes = tinyops_read_u16(body);
  }
}

static void prove(tinyops_agent *agent) {
  if (!agent->is_on_trial || agent->wants_reset || agent->trial_left > 0) return;
  /* If the journal cannot be written now, the next window tries again. */
  if (tinyops_slots_confirm(&agent->slots, (tinyops_place)agent->running,
                            agent->model.capsule.manifest.sequence) == TINYOPS_REASON_NONE) {
    agent->is_on_trial = false;
    tell_of(agent, CONFIRMED, &agent->model);
  }
}

bool tinyops_agent_reading(tinyops_agent *agent, const float *reading, tinyops_answer *answer) {
  const tinyops_front_end *front_end = &agent->model.front_end;
  tinyops_observation observed;
  tinyops_alarm alarm;
  size_t channel;
  if (!tinyops_agent_runs(agent)) return false;
  for (channel = 0; channel < front_end->channel_count; channel++) {
    agent->workspace->window[agent->filled++] = reading[channel];
  }
  if (agent->filled < tinyops_front_end_reading_count(front_end)) return false;
  agent->filled = 0;
  if (!tinyops_model_score(&agent->model, agent->workspace, &observed, answer)) {
    agent->monitor.flags = (uint8_t)(agent->monitor.flags | 8u);
    return false;
  }
  alarm = tinyops_monitor_push(&agent->monitor, &agent->model.baseline, &observed, answer->output,
                               answer->class_index);
  if (alarm.is_raised) {
    agent->alarm = alarm;
    agent->tells_alarm = true;
  }
  if (agent->trial_left > 0 && tinyops_is_finite(answer->output)) agent->trial_left--;
  prove(agent);
  if (agent->settings.report_every > 0 &&
      agent->monitor.sketch.count >= agent->settings.report_every) {
    agent->tells_report = true;
  }
  return true;
}

/* Where the body of the next envelope goes. */
static uint8_t *body_of(tinyops_agent *agent) {
  return agent->out + 1 + TINYOPS_ENVELOPE_HEAD_BYTES;
}

/* Seals a body of so many bytes and sends it; without a number that is surely new nothing is sent. */
static bool send(tinyops_agent *agent, size_t body_bytes) {
  tinyops_envelope envelope;
  size_t len;
  envelope.device = agent->settings.device;
  envelope.model = tinyops_agent_runs(agent) ? tinyops_model_id(&agent->model) : 0;
  envelope.sequence = agent->sequence;
  envelope.is_down = false;
  len = tinyops_envelope_seal(&envelope, body_bytes, agent->settings.key, agent->out + 1,
                              TINYOPS_AGENT_OUT_BYTES);
  if (len == 0) return false;
  tinyops_link_send(TINYOPS_LINK_UP, agent->out, len, agent->port->send, agent->port->context);
  agent->sequence++;
  return true;
}

static bool has_number(tinyops_agent *agent) {
  return agent->sequence != NO_SEQUENCE &&
         tinyops_slots_reserve_sequence(&agent->slots, agent->sequence) == TINYOPS_REASON_NONE;
}

static void put_update(tinyops_agent *agent) {
  const tinyops_update *update = &agent->update;
  uint8_t *body = body_of(agent);
  body[0] = UP_UPDATE | 1u << 4;
  body[1] = update->state;
  body[2] = (uint8_t)update->refusal.reason;
  tinyops_write_u32(body + 3, update->model);
  tinyops_write_u32(body + 7, update->sequence);
  tinyops_write_u32(body + 11, update->refusal.detail);
  agent->tells_update = !send(agent, 15);
}

static void put_hello(tinyops_agent *agent) {
  const char *board = agent->firmware->board;
  const size_t board_bytes = strlen(board);
  uint8_t *body = body_of(agent);
  body[0] = UP_HELLO | 2u << 4;
  tinyops_write_u32(body + 1, agent->slots.record.boot_count);
  tinyops_write_u32(body + 5,
                    tinyops_agent_runs(agent) ? agent->model.capsule.manifest.sequence : 0);
  tinyops_write_u32(body + 9, (uint32_t)agent->workspace->arena_bytes);
  tinyops_write_u32(body + 13, tinyops_slots_capsule_bytes(&agent->slots));
  tinyops_write_u32(body + 17, agent->keys.in_force.sequence);
  body[21] = FEATURES;
  body[22] = (uint8_t)board_bytes;
  memcpy(body + 23, board, board_bytes);
  agent->tells_hello = !send(agent, 23 + board_bytes);
}

static void put_keys(tinyops_agent *agent) {
  uint8_t *body = body_of(agent);
  body[0] = UP_KEYS | 1u << 4;
  tinyops_write_u32(body + 1, agent->keys.in_force.sequence);
  body[5] = (uint8_t)agent->keys_refusal.reason;
  tinyops_write_u32(body + 6, agent->keys_refusal.detail);
  agent->tells_keys = !send(agent, 10);
}

static void put_alarm(tinyops_agent *agent) {
  tinyops_alarm_write(&agent->alarm, body_of(agent));
  agent->tells_alarm = !send(agent, TINYOPS_ALARM_BYTES);
}

static void put_report(tinyops_agent *agent) {
  tinyops_report report;
  size_t len;
  if (!tinyops_agent_runs(agent)) {
    memset(&agent->alarm, 0, sizeof agent->alarm);
    put_alarm(agent);
    agent->tells_report = false;
    return;
  }
  report.format = TINYOPS_REPORT_M6H8;
  report.model = tinyops_model_id(&agent->model);
  report.seed = agent->seed;
  report.sequence = agent->sequence;
  report.flags = 0;
  len = tinyops_report_write(&agent->monitor, &agent->model.baseline, &report, body_of(agent),
                             TINYOPS_AGENT_OUT_BYTES - TINYOPS_ENVELOPE_BYTES);
  agent->tells_report = false;
  if (len > 0 && send(agent, len)) tinyops_monitor_begin_period(&agent->monitor);
}

/* Asks for the next blocks, if none are on their way or they are late. */
static void ask(tinyops_agent *agent, uint32_t now_ms) {
  const bool is_late =
      !agent->has_asked || now_ms - agent->asked_at_ms >= agent->settings.retry_after_ms;
  uint8_t *body = body_of(agent);
  uint32_t first, bit, bits = 0, count = 0;
  if (!is_transferring(agent) || (agent->outstanding > 0 && !is_late)) return;
  first = next_missing(agent, 0);
  for (bit = 0; bit < WINDOW_BLOCKS && first + bit < block_count(agent); bit++) {
    if (has_block(agent, first + bit)) continue;
    bits |= (uint32_t)1 << bit;
    count++;
  }
  if (count == 0 || agent->settings.block_bytes + BLOCK_OVERHEAD > agent->line_body_bytes) return;
  body[0] = UP_BLOCK_REQUEST | 1u << 4;
  memcpy(body + 1, agent->slots.record.wanted.digest, TINYOPS_PREFIX_BYTES);
  tinyops_write_u32(body + 9, agent->settings.block_bytes * first);
  body[13] = (uint8_t)(agent->settings.block_bytes & 0xFF);
  body[14] = (uint8_t)(agent->settings.block_bytes >> 8);
  tinyops_write_u32(body + 15, bits);
  if (!send(agent, 19)) return;
  agent->has_asked = true;
  agent->asked_at_ms = now_ms;
  agent->outstanding = count;
}

bool tinyops_agent_tick(tinyops_agent *agent, uint32_t now_ms) {
  if (agent->tells_room) {
    agent->out[1] = (uint8_t)(TINYOPS_AGENT_BODY_BYTES & 0xFF);
    agent->out[2] = (uint8_t)(TINYOPS_AGENT_BODY_BYTES >> 8);
    tinyops_link_send(TINYOPS_LINK_ROOM, agent->out, 2, agent->port->send, agent->port->context);
    agent->tells_room = false;
  }
  if (agent->tells_update && has_number(agent)) put_update(agent);
  if (agent->tells_keys && has_number(agent)) put_keys(agent);
  if (agent->tells_hello && has_number(agent)) put_hello(agent);
  if (agent->tells_alarm && has_number(agent)) put_alarm(agent);
  if (agent->tells_report && has_number(agent)) put_report(agent);
  if (is_transferring(agent) && has_number(agent)) ask(agent, now_ms);
  return agent->wants_reset;
}
