/* The conformance check on an emulated machine: the record that the loader has put into memory. It
 * answers line by line, in the form that the Rust program for the same purpose has:
 *
 *   tinyops-bench 1
 *   load <instructions>
 *   arena <bytes that the plan claims>
 *   run <instructions>   one for each case
 *   wrong <bytes>        one for each case
 *   stack 0
 *   touched 0
 *   end
 *
 * or, after the first line, `refused <reason>` or `lacks <bytes needed> RAM`. */
#include "../cases.h"
#include "board.h"

static void say_number(const char *name, uint32_t value) {
  char digits[12];
  size_t at = sizeof digits - 2;
  digits[sizeof digits - 1] = 0;
  digits[at] = '\n';
  do {
    digits[--at] = (char)('0' + value % 10);
    value /= 10;
  } while (value > 0);
  tinyops_board_say(name);
  tinyops_board_say(" ");
  tinyops_board_say(digits + at);
}

static int run_cases(const tinyops_plan *plan, const tinyops_check_record *record,
                     const tinyops_arena *arena) {
  const size_t bytes =
      tinyops_check_side_bytes(plan, false) + tinyops_check_side_bytes(plan, true);
  const uint8_t *at = record->cases;
  int status = 0;
  uint32_t index;
  for (index = 0; index < record->case_count; index++, at += bytes) {
    const uint8_t *expected = tinyops_check_begin(plan, arena, record, index, at);
    uint32_t instructions;
    size_t wrong;
    tinyops_run_status ran;
    tinyops_board_count_from_now();
    ran = tinyops_plan_run(plan, arena);
    instructions = tinyops_board_count();
    if (expected == NULL || ran != TINYOPS_RAN) {
      tinyops_board_say("refused the plan does not run\n");
      return 1;
    }
    wrong = tinyops_check_wrong(plan, arena, expected);
    say_number("run", instructions);
    say_number("wrong", (uint32_t)wrong);
    if (wrong > 0) status = 1;
  }
  tinyops_board_say("stack 0\ntouched 0\nend\n");
  return status;
}

void tinyops_board_main(void) {
  const tinyops_check_record record =
      tinyops_check_record_at((const uint8_t *)(uintptr_t)TINYOPS_LOADED);
  const size_t room = (size_t)(tinyops_board_free_end - tinyops_board_free);
  tinyops_plan plan;
  tinyops_arena arena;
  tinyops_verdict verdict;
  uint32_t instructions;
  tinyops_board_say("tinyops-bench 1\n");
  tinyops_board_count_from_now();
  verdict = tinyops_plan_load(&plan, record.plan, record.plan_bytes, &tinyops_operators_all);
  instructions = tinyops_board_count();
  if (tinyops_check_verdict(verdict) != record.verdict || verdict.reason != TINYOPS_SOUND) {
    tinyops_board_say("refused the verdict on the plan is another\n");
    tinyops_board_stop(1);
  }
  say_number("load", instructions);
  say_number("arena", plan.arena_bytes);
  if (plan.arena_bytes > room) {
    tinyops_board_say("lacks ");
    say_number("", plan.arena_bytes);
    tinyops_board_stop(1);
  }
  arena = tinyops_arena_of(tinyops_board_free, plan.arena_bytes);
  tinyops_board_stop(run_cases(&plan, &record, &arena));
}
