//! Trials that come to nothing: the board goes back by itself to what it ran before, or because it is told to.

use tinyops_emulate::BoardFaults;
use tinyops_wire::ModelId;
use tinyops_wire::downlink::{What, When};
use tinyops_wire::frame::{Reason, UpdateState};

use super::bench::{Bench, Workbench};
use super::fixture::{Recipe, model_of};
use super::{SLOW, confirmed, cut_at, cuts, new, old};

/// Boots that a trial may take, as the firmware has it.
const TRIES: usize = 3;
/// Operations between two cuts: going back takes few.
const STEP: usize = 41;

/// The state of a board that goes back: OLD, confirmed.
fn back() -> Option<(ModelId, bool)> {
    Some((model_of(&old()), true))
}

fn on_trial() -> Option<(ModelId, bool)> {
    Some((model_of(&new()), false))
}

/// The flash of a device that has confirmed OLD and tries NEW, which has scored nothing yet.
fn trying(workbench: &Workbench) -> Vec<u8> {
    let mut bench = workbench.switch_on(&confirmed(workbench), BoardFaults::default());
    take(&mut bench, &new());
    assert_eq!(bench.state(), on_trial());
    bench.switch_off()
}

fn take(bench: &mut Bench, capsule: &[u8]) {
    bench.take(capsule, (What::Capsule, capsule), When::AtOnce);
}

/// It works with what it has gone back to, wants nothing more of what it left, and takes what is newer.
#[track_caller]
fn check_that_it_is_left(bench: &mut Bench, reason: Reason, what: &str) {
    assert_eq!(bench.state(), back(), "{what}");
    assert_eq!(bench.window(SLOW), "slow", "{what}: it still measures");
    take(bench, &new());
    let refused = bench.last_update();
    assert_eq!(
        (refused.state, refused.reason),
        (UpdateState::Refused, reason),
        "{what}"
    );
    let newer = Recipe::numbered(7).capsule();
    bench.install(&newer);
    assert_eq!(bench.state(), Some((model_of(&newer), true)), "{what}");
}

#[test]
fn a_trial_that_scores_nothing_goes_back_when_its_boots_are_used_up() {
    let Some(workbench) = Workbench::find() else {
        return;
    };
    let mut flash = trying(&workbench);
    for boot in 1..TRIES {
        let bench = workbench.switch_on(&flash, BoardFaults::default());
        assert_eq!(bench.state(), on_trial(), "power cut {boot}");
        flash = bench.switch_off();
    }
    let mut bench = workbench.switch_on(&flash, BoardFaults::default());
    assert_eq!(bench.state(), back());
    let last = bench.operations();
    let reverted = bench.reverted();
    assert_eq!(
        (reverted.state, reverted.reason, reverted.model),
        (UpdateState::Reverted, Reason::Tries, model_of(&new()))
    );
    check_that_it_is_left(&mut bench, Reason::Tries, "boots");

    // Wherever the power goes while it goes back, the next boot has gone back.
    for cut in cuts(0..last, STEP) {
        let mut bench = workbench.switch_on(&flash, cut_at(cut));
        bench.settle();
        assert!(!bench.has_power(), "operation {cut} was reached");
        let flash = bench.switch_off();
        let mut bench = workbench.switch_on(&flash, BoardFaults::default());
        bench.settle();
        let what = format!("operation {cut}");
        check_that_it_is_left(&mut bench, Reason::Tries, &what);
    }
}

/// A boot whose number could not be written down runs no trial, or a model that ends the power by itself would for ever.
#[test]
fn a_trial_whose_boots_are_cut_short_goes_back_all_the_same() {
    let Some(workbench) = Workbench::find() else {
        return;
    };
    let flash = trying(&workbench);
    let bench = workbench.switch_on(&flash, BoardFaults::default());
    let operations = bench.operations();
    drop(bench);
    for cut in cuts(0..operations, 2 * STEP) {
        let mut flash = flash.clone();
        for life in 0..=TRIES + 1 {
            // The first lives end in the middle of their boot.
            let faults = match life {
                0 | 1 => cut_at(cut),
                _ => BoardFaults::default(),
            };
            let bench = workbench.switch_on(&flash, faults);
            let state = bench.state();
            let is_well = state.is_none() || state == on_trial() || state == back();
            assert!(is_well, "operation {cut}, life {life}: {state:?}");
            flash = bench.switch_off();
        }
        let mut bench = workbench.switch_on(&flash, BoardFaults::default());
        bench.settle();
        assert_eq!(bench.state(), back(), "operation {cut}");
        assert_eq!(bench.window(SLOW), "slow", "operation {cut}");
    }
}

/// The program hangs with a model that its golden vectors did not show anything of: nobody but the watchdog helps.
#[test]
fn a_model_that_the_program_hangs_with_is_left_by_the_watchdog() {
    let Some(workbench) = Workbench::find() else {
        return;
    };
    let hangs = BoardFaults {
        hangs: Some(model_of(&new())),
        ..BoardFaults::default()
    };
    let trying = trying(&workbench);
    // The power goes after the first bite, or not at all.
    for is_cut in [false, true] {
        // The first of its boots was that of `trying`, the second is this one.
        let mut bench = workbench.switch_on(&trying, hangs);
        assert_eq!(bench.state(), on_trial());
        bench.hang();
        assert_eq!(bench.state(), on_trial(), "its last boot");
        if is_cut {
            let flash = bench.switch_off();
            bench = workbench.switch_on(&flash, hangs);
            bench.settle();
        } else {
            bench.hang();
        }
        let reverted = bench.reverted();
        assert_eq!(
            (reverted.state, reverted.reason, reverted.model),
            (UpdateState::Reverted, Reason::Tries, model_of(&new()))
        );
        check_that_it_is_left(&mut bench, Reason::Tries, "watchdog");
    }
}

#[test]
fn the_server_sends_a_board_back_from_a_trial_and_from_what_is_confirmed() {
    let Some(workbench) = Workbench::find() else {
        return;
    };
    let mut bench = workbench.switch_on(&trying(&workbench), BoardFaults::default());
    bench.send_back();
    let reverted = bench.reverted();
    assert_eq!(
        (reverted.state, reverted.reason, reverted.model),
        (UpdateState::Reverted, Reason::Commanded, model_of(&new()))
    );
    check_that_it_is_left(&mut bench, Reason::Commanded, "a trial");

    let mut bench = workbench.switch_on(&confirmed(&workbench), BoardFaults::default());
    bench.install(&new());
    let flash = bench.switch_off();
    let go_back = |faults| {
        let mut bench = workbench.switch_on(&flash, faults);
        let first = bench.operations();
        bench.send_back();
        (bench, first)
    };
    let (mut bench, first) = go_back(BoardFaults::default());
    let last = bench.operations();
    assert_eq!(bench.reverted().reason, Reason::Commanded);
    check_that_it_is_left(&mut bench, Reason::Commanded, "what was confirmed");
    for cut in cuts(first..last, STEP) {
        let (bench, _) = go_back(cut_at(cut));
        assert!(!bench.has_power(), "operation {cut} was reached");
        let flash = bench.switch_off();
        let mut bench = workbench.switch_on(&flash, BoardFaults::default());
        bench.settle();
        // What it was told is lost where it was not written down, and is told again.
        if bench.state() != back() {
            assert_eq!(bench.state(), Some((model_of(&new()), true)));
            bench.send_back();
        }
        let what = format!("operation {cut}");
        check_that_it_is_left(&mut bench, Reason::Commanded, &what);
    }
}
