/* What the boards' main.c do alike. Included behind IDENTITY, whose names it uses. */
#ifndef TINYOPS_BOARD_H
#define TINYOPS_BOARD_H

#include <string.h>

#include "agent.h"

/* Whom the firmware believes, and everything that is linked. */
static inline void tinyops_board_believe(tinyops_firmware *firmware) {
  firmware->operators = &tinyops_operators_all;
  firmware->blocks = &tinyops_blocks_all;
  firmware->roots.threshold = identity_root_threshold;
  firmware->roots.count = identity_root_count;
  memcpy(firmware->roots.keys, identity_root_keys, sizeof firmware->roots.keys);
  firmware->keys.sequence = identity_key_set;
  firmware->keys.release.count = firmware->keys.director.count = 1;
  memcpy(firmware->keys.release.keys, identity_release_key, sizeof identity_release_key);
  memcpy(firmware->keys.director.keys, identity_director_key, sizeof identity_director_key);
}

/* Who the device is, and the habits of a board. */
static inline void tinyops_board_settle(tinyops_settings *settings) {
  settings->device = identity_device;
  memcpy(settings->key, identity_key, sizeof settings->key);
  settings->first_uplink = identity_first_uplink;
  settings->retry_after_ms = 10000;
  settings->report_every = 128;
  settings->trial_windows = 8;
  settings->tries = 3;
  settings->block_bytes = 512;
}

/* Lends arrays: an arena of bytes, and numbers for a window, features and scratch. */
#define TINYOPS_BOARD_LEND(workspace, arena_of, window_of, features_of, scratch_of)    \
  do {                                                                                 \
    (workspace)->arena = tinyops_arena_of(arena_of, sizeof(arena_of));                 \
    (workspace)->arena_bytes = sizeof(arena_of);                                       \
    (workspace)->window = window_of;                                                   \
    (workspace)->window_len = sizeof(window_of) / sizeof *(window_of);                 \
    (workspace)->features = features_of;                                               \
    (workspace)->features_len = sizeof(features_of) / sizeof *(features_of);           \
    (workspace)->scratch = scratch_of;                                                 \
    (workspace)->scratch_len = sizeof(scratch_of) / sizeof *(scratch_of);              \
  } while (0)

#endif
