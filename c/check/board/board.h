/* What the conformance check needs of an emulated machine. Each machine's file implements it. */
#ifndef TINYOPS_CHECK_BOARD_H
#define TINYOPS_CHECK_BOARD_H

#include <stddef.h>
#include <stdint.h>

/* Where the emulator's loader has put the record, and the memory that is free for an arena: set by
 * whoever builds the program, see xtask/src/c99/boards.rs. */
#ifndef TINYOPS_LOADED
#error "TINYOPS_LOADED is the address that the record is loaded to"
#endif

/* The free memory between the program's data and its stack. */
extern uint8_t tinyops_board_free[];
extern uint8_t tinyops_board_free_end[];

/* Sends a text to whoever watches the emulator. */
void tinyops_board_say(const char *text);

/* Ends the emulation; 0 for a check that has found nothing wrong. */
void tinyops_board_stop(int status);

/* Starts counting, and reads how many instructions have run since: modulo 2^32, and exact to what
 * the machine's timer can tell. */
void tinyops_board_count_from_now(void);
uint32_t tinyops_board_count(void);

/* The check itself, called by the machine's start-up code. */
void tinyops_board_main(void);

#endif
