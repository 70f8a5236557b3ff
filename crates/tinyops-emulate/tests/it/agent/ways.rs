//! The ways that a capsule comes: one after the other, again, as a delta, to be kept, to be compared, over a link that
//! loses much, under other keys. All of it is in the virtual device's suite too.

use tinyops_emulate::BoardFaults;
use tinyops_wire::KeySet;
use tinyops_wire::downlink::{What, When};
use tinyops_wire::frame::{Reason, UpdateState};
use tinyops_wire::key_set::RoleKeys;

use super::bench::Workbench;
use super::fixture::{self, Recipe, model_of};
use super::{SLOW, check_recovery, confirmed, cut_at, cuts, new, old, whole_update};

/// Operations between two cuts.
const STEP: usize = 401;

#[test]
fn updates_alternate_between_the_slots_and_none_is_fetched_twice() {
    let Some(workbench) = Workbench::find() else {
        return;
    };
    let mut flash = confirmed(&workbench);
    for number in 3..6 {
        let capsule = Recipe::numbered(number).capsule();
        let mut bench = workbench.switch_on(&flash, BoardFaults::default());
        bench.install(&capsule);
        assert_eq!(bench.state(), Some((model_of(&capsule), true)), "{number}");
        let asked = bench.requests().len();
        bench.take(&capsule, (What::Capsule, &capsule), When::AtOnce);
        assert_eq!(bench.last_update().state, UpdateState::Confirmed);
        assert_eq!(bench.requests().len(), asked, "it is not fetched again");
        flash = bench.switch_off();
    }
}

#[test]
fn a_delta_becomes_the_model_that_runs_wherever_the_power_goes() {
    let Some(workbench) = Workbench::find() else {
        return;
    };
    let (old, new) = (old(), new());
    let delta = tinyops_compile::delta(&old, &new).expect("they are small");
    assert!(delta.len() < new.len() / 2, "{}", delta.len());
    let flash = confirmed(&workbench);
    let update = |faults| {
        let mut bench = workbench.switch_on(&flash, faults);
        let first = bench.operations();
        bench.take(&new, (What::Delta, &delta), When::AtOnce);
        (bench, first)
    };
    let (mut bench, first) = update(BoardFaults::default());
    let operations = first..bench.operations();
    bench.prove();
    assert_eq!(bench.state(), Some((model_of(&new), true)));
    // A delta of another capsule than the one that runs.
    let newer = Recipe::numbered(7).capsule();
    let other = tinyops_compile::delta(&old, &newer).expect("they are small");
    bench.take(&newer, (What::Delta, &other), When::AtOnce);
    let refused = bench.last_update();
    assert_eq!(
        (refused.state, refused.reason),
        (UpdateState::Refused, Reason::DeltaBase)
    );
    for cut in cuts(operations, STEP) {
        let (bench, _) = update(cut_at(cut));
        assert!(!bench.has_power(), "operation {cut} was reached");
        let (flash, before) = bench.end();
        // It goes on with the delta as it was, or with the capsule.
        let mut bench = workbench.switch_on(&flash, BoardFaults::default());
        if bench.state() == Some((model_of(&old), true)) {
            bench.take(&new, (What::Delta, &delta), When::AtOnce);
            let is_cut_word = bench.last_update().reason == Reason::Flash;
            let told = bench.last_update();
            assert!(
                is_cut_word || told.state != UpdateState::Refused || told.reason == Reason::Digest,
                "operation {cut}: {told:?}"
            );
        }
        let before = [&before[..], bench.sequences()].concat();
        let flash = bench.switch_off();
        check_recovery(&workbench, (flash, before), &format!("operation {cut}"));
    }
}

#[test]
fn a_second_cut_while_recovering_does_no_more_harm() {
    let Some(workbench) = Workbench::find() else {
        return;
    };
    let flash = confirmed(&workbench);
    // Two cuts at each of them would take days.
    for cut in whole_update(&workbench, &flash).step_by(STEP) {
        let mut bench = workbench.switch_on(&flash, cut_at(cut));
        bench.install(&new());
        let (flash, before) = bench.end();
        for later in [5, 140] {
            let mut bench = workbench.switch_on(&flash, cut_at(later));
            bench.install(&new());
            let (flash, more) = bench.end();
            let before = [&before[..], &more].concat();
            let what = format!("operations {cut} and {later}");
            check_recovery(&workbench, (flash, before), &what);
        }
    }
}

#[test]
fn what_is_kept_for_later_waits_through_power_cuts_and_is_not_fetched_again() {
    let Some(workbench) = Workbench::find() else {
        return;
    };
    let mut bench = workbench.switch_on(&confirmed(&workbench), BoardFaults::default());
    bench.take(&new(), (What::Capsule, &new()), When::Later);
    assert_eq!(bench.last_update().state, UpdateState::Held);
    let mut flash = bench.switch_off();
    for _ in 0..2 {
        let mut bench = workbench.switch_on(&flash, BoardFaults::default());
        bench.prove();
        assert_eq!(bench.state(), Some((model_of(&old()), true)));
        flash = bench.switch_off();
    }
    let mut bench = workbench.switch_on(&flash, BoardFaults::default());
    bench.take(&new(), (What::Capsule, &new()), When::AtOnce);
    assert!(bench.requests().is_empty(), "{:?}", bench.requests());
    bench.prove();
    assert_eq!(bench.state(), Some((model_of(&new()), true)));
}

#[test]
fn a_candidate_is_compared_with_what_runs_and_then_installed() {
    let Some(workbench) = Workbench::find() else {
        return;
    };
    let candidate = Recipe {
        turn: 1,
        ..Recipe::numbered(3)
    };
    let candidate = candidate.capsule();
    let compare = When::Shadow { windows: 5 };
    let mut bench = workbench.switch_on(&confirmed(&workbench), BoardFaults::default());
    bench.take(&candidate, (What::Capsule, &candidate), compare);
    assert_eq!(bench.last_update().state, UpdateState::Held);
    for _ in 0..3 {
        // What it answers is what the model that runs says.
        assert_eq!(bench.window(SLOW), "slow");
    }
    // A power cut begins its windows anew.
    let flash = bench.switch_off();
    let mut bench = workbench.switch_on(&flash, BoardFaults::default());
    assert_eq!(bench.state(), Some((model_of(&old()), true)));
    for _ in 0..5 {
        assert_eq!(bench.window(SLOW), "slow");
    }
    bench.report();
    let told = bench.shadows().last().copied();
    assert_eq!(told, Some((model_of(&candidate), 5, true)));
    let asked = bench.requests().len();
    bench.take(&candidate, (What::Capsule, &candidate), When::AtOnce);
    assert_eq!(bench.requests().len(), asked, "it is there already");
    bench.prove();
    assert_eq!(bench.state(), Some((model_of(&candidate), true)));
}

#[test]
fn a_transfer_goes_on_over_a_link_that_loses_much_and_carries_less() {
    let Some(workbench) = Workbench::find() else {
        return;
    };
    let long = Recipe {
        ballast: 2500,
        ..Recipe::numbered(3)
    };
    let long = long.capsule();
    let mut bench = workbench.switch_on(&confirmed(&workbench), BoardFaults::default());
    bench.set_room(1000);
    bench.serve_some(&long, 2);
    assert_eq!(bench.requests().last(), Some(&896), "seven blocks of 128");
    let flash = bench.switch_off();
    let mut bench = workbench.switch_on(&flash, BoardFaults::default());
    bench.set_room(200);
    bench.install(&long);
    assert_eq!(bench.requests().last(), Some(&128));
    assert_eq!(bench.state(), Some((model_of(&long), true)));
}

#[test]
fn newer_keys_replace_those_of_the_factory_for_good_wherever_the_power_goes() {
    let Some(workbench) = Workbench::find() else {
        return;
    };
    // The director stays: the statements of this suite are its.
    let newer = KeySet {
        sequence: 2,
        release: RoleKeys::one(fixture::signer(0x11).verifying_key()),
        ..fixture::config().keys
    };
    let flash = confirmed(&workbench);
    let mut bench = workbench.switch_on(&flash, BoardFaults::default());
    let first = bench.operations();
    assert_eq!(bench.give_keys(&newer, 64), Some(2));
    // Operations are told with the model alone.
    bench.take(&new(), (What::Capsule, &new()), When::AtOnce);
    let refused = bench.last_update();
    assert_eq!(
        (refused.state, refused.reason),
        (UpdateState::Refused, Reason::Signature),
        "it is signed by a key of before"
    );
    let kept = bench.switch_off();
    let mut bench = workbench.switch_on(&kept, BoardFaults::default());
    assert_eq!(bench.key_set(), Some(2), "and it stays so");
    let signed_anew = Recipe {
        signer: 0x11,
        ..Recipe::numbered(4)
    };
    let signed_anew = signed_anew.capsule();
    bench.install(&signed_anew);
    let model = tinyops_wire::capsule::Unverified::parse(&signed_anew);
    let model = model.expect("a capsule").model();
    assert_eq!(bench.state(), Some((model, true)));

    for cut in cuts(first..first + 60, 19) {
        let mut bench = workbench.switch_on(&flash, cut_at(cut));
        bench.give_keys(&newer, 64);
        assert!(!bench.has_power(), "operation {cut} was reached");
        let flash = bench.switch_off();
        let mut bench = workbench.switch_on(&flash, BoardFaults::default());
        let has = bench.key_set();
        assert!(has == Some(1) || has == Some(2), "operation {cut}: {has:?}");
        assert_eq!(bench.state(), Some((model_of(&old()), true)));
        assert_eq!(bench.give_keys(&newer, 64), Some(2), "operation {cut}");
    }
}
