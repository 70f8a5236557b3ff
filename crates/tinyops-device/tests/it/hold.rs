//! What is fetched now and installed later.

use tinyops_device::Event;
use tinyops_wire::Digest;
use tinyops_wire::downlink::When;
use tinyops_wire::frame::{Frame, UpdateState};

use crate::fixture::{
    Bench, DIRECTOR, Recipe, blank_flash, config, downlink, model_of, offer, offer_when, signed,
    stated,
};

fn old() -> Vec<u8> {
    Recipe::numbered(1).capsule()
}

fn new() -> Vec<u8> {
    Recipe {
        ballast: 900,
        ..Recipe::numbered(2)
    }
    .capsule()
}

fn running_old() -> Bench {
    Bench::new(config(), blank_flash(old()))
}

fn requests(bench: &Bench) -> usize {
    bench
        .reports
        .iter()
        .filter(|report| matches!(Frame::decode(&report.body), Ok(Frame::BlockRequest(_))))
        .count()
}

#[test]
fn a_capsule_waits_through_resets_until_it_is_offered_again() {
    let (old, new) = (old(), new());
    let mut bench = running_old();
    bench.offer_when(&new, When::Later);
    assert_eq!(
        bench.states(),
        [UpdateState::Downloading, UpdateState::Held]
    );
    let held = bench.last_update();
    assert_eq!((held.model, held.sequence), (model_of(&new), 2));
    for _ in 0..5 {
        bench.boot();
        bench.window([1.0, 0.0, 0.0, 0.0]);
        assert_eq!(bench.agent.model(), Some(model_of(&old)));
        assert!(bench.agent.is_holding() && !bench.agent.is_on_trial());
    }
    // Nobody has to serve it again.
    bench.capsules.clear();
    let statement = signed(&stated(&new, 70), DIRECTOR);
    bench.send(&offer_when(&new, When::Later, &statement));
    assert_eq!(bench.last_update().state, UpdateState::Held);
    assert_eq!(bench.reboots, 0);
    bench.send(&offer(&new, &statement));
    let installed = bench.last_update();
    assert_eq!(
        (installed.state, installed.model, installed.sequence),
        (UpdateState::Installed, model_of(&new), 2)
    );
    assert_eq!(bench.reboots, 1);
    assert!(bench.agent.is_on_trial() && !bench.agent.is_holding());
    for _ in 0..2 {
        bench.window([1.0, 0.0, 0.0, 0.0]);
    }
    assert_eq!(bench.last_update().state, UpdateState::Confirmed);
    assert_eq!(bench.agent.model(), Some(model_of(&new)));
}

#[test]
fn an_old_offer_that_comes_again_installs_nothing() {
    let new = new();
    let mut bench = running_old();
    let statement = signed(&stated(&new, 1), DIRECTOR);
    let recorded = downlink(&offer(&new, &statement), 1);
    bench.downlink_sequence = 1;
    bench.offer_when(&new, When::Later);
    for _ in 0..2 {
        bench.run(Event::Downlink(&recorded));
        assert!(bench.agent.is_holding());
        bench.boot();
    }
    assert_eq!(bench.reboots, 0);
}

#[test]
fn when_it_is_to_be_installed_may_change_while_it_is_fetched() {
    for (when, other) in [(When::Later, When::AtOnce), (When::AtOnce, When::Later)] {
        let hold = when.is_later();
        let new = new();
        let mut bench = running_old();
        // Nothing is served yet.
        let statement = signed(&stated(&new, 1), DIRECTOR);
        bench.send(&offer_when(&new, other, &statement));
        bench.send(&offer_when(&new, when, &statement));
        bench.boot();
        bench.capsules.insert(Digest::of(&new), new.clone());
        bench.now_ms += 10_000;
        bench.run(Event::Tick);
        assert_eq!(bench.agent.is_holding(), hold);
        assert_eq!(bench.agent.is_on_trial(), !hold);
        let downloads = bench.states();
        let begun = |state: &&UpdateState| **state == UpdateState::Downloading;
        assert_eq!(downloads.iter().filter(begun).count(), 1, "{downloads:?}");
    }
}

#[test]
fn another_offer_takes_the_place_of_what_waits() {
    let newer = Recipe::numbered(3).capsule();
    let mut bench = running_old();
    bench.offer_when(&new(), When::Later);
    bench.offer_when(&newer, When::AtOnce);
    assert!(!bench.agent.is_holding() && bench.agent.is_on_trial());
    for _ in 0..2 {
        bench.window([1.0, 0.0, 0.0, 0.0]);
    }
    assert_eq!(bench.agent.model(), Some(model_of(&newer)));
    bench.offer_when(&new(), When::AtOnce);
    assert_eq!(bench.last_update().state, UpdateState::Refused);
}

#[test]
fn what_waits_is_checked_before_it_waits_and_named_when_it_fails() {
    let wrong = Recipe {
        golden_output: Some([0, 128, 129]),
        ..Recipe::numbered(2)
    };
    let mut bench = running_old();
    bench.offer_when(&wrong.capsule(), When::Later);
    assert_eq!(bench.last_update().state, UpdateState::Refused);
    assert!(!bench.agent.is_holding());
    assert_eq!(requests(&bench), 0, "the caller fetches");
}

#[test]
fn without_a_sensor_it_goes_back_as_any_trial_does() {
    let (old, new) = (old(), new());
    let mut bench = running_old();
    bench.offer_when(&new, When::Later);
    bench.offer_when(&new, When::AtOnce);
    for _ in 0..3 {
        assert_eq!(bench.agent.model(), Some(model_of(&new)));
        bench.boot();
    }
    assert_eq!(bench.agent.model(), Some(model_of(&old)));
    assert_eq!(bench.last_update().state, UpdateState::Reverted);
    assert!(!bench.agent.is_holding());
}
