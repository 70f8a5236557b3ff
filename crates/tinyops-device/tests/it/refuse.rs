//! Capsules that a device turns away, each with its own reason.

use tinyops_device::Event;
use tinyops_wire::Digest;
use tinyops_wire::frame::{Reason, Update, UpdateState};
use tinyops_wire::section::Channel;

use crate::fixture::{
    Bench, Buffers, DIRECTOR, Recipe, STRANGER, blank_flash, config, model_of, offer, signed,
    stated,
};

#[test]
fn a_capsule_signed_by_a_stranger() {
    check(
        &Recipe {
            signer: STRANGER,
            ..newer()
        },
        Reason::Signature,
        1,
    );
}

#[test]
fn a_capsule_for_another_board() {
    check(
        &Recipe {
            board: "esp-eye",
            ..newer()
        },
        Reason::Board,
        0,
    );
}

#[test]
fn a_capsule_for_another_sensor() {
    check(
        &Recipe {
            channels: 2,
            ..newer()
        },
        Reason::Channels,
        2,
    );
    check(
        &Recipe {
            rate_hz: 20.0,
            ..newer()
        },
        Reason::Rate,
        20_000,
    );
}

const G: Channel<'_> = Channel {
    unit: "g",
    full_scale: 4.0,
};

/// Offers a capsule measured in `wanted` to a device that measures in `own`; the last update tells.
fn offer_measured(wanted: &'static [Channel<'_>], own: &'static [Channel<'_>]) -> Update {
    let mut config = config();
    config.sensor.channels = own;
    let mut bench = Bench::new(config, blank_flash(Recipe::numbered(1).capsule()));
    let recipe = Recipe {
        measured: wanted,
        ..newer()
    };
    bench.offer(&recipe.capsule());
    bench.last_update()
}

#[test]
fn a_capsule_for_readings_in_another_unit() {
    const MS2: Channel<'_> = Channel { unit: "m/s2", ..G };
    let refused = offer_measured(&[MS2], &[G]);
    assert_eq!(
        (refused.state, refused.reason, refused.detail),
        (UpdateState::Refused, Reason::Unit, 0)
    );
}

#[test]
fn a_capsule_for_readings_of_another_full_scale() {
    const WIDE: Channel<'_> = Channel {
        full_scale: 16.0,
        ..G
    };
    let refused = offer_measured(&[WIDE], &[G]);
    assert_eq!(
        (refused.state, refused.reason, refused.detail),
        (UpdateState::Refused, Reason::FullScale, 16_000)
    );
}

#[test]
fn what_is_not_known_of_a_sensor_stands_in_nobodys_way() {
    const UNKNOWN: Channel<'_> = Channel {
        unit: "",
        full_scale: 0.0,
    };
    for (wanted, own) in [
        (&[G][..], &[G][..]),
        (&[G], &[]),
        (&[], &[G]),
        (&[UNKNOWN], &[G]),
        (&[G], &[UNKNOWN]),
    ] {
        let update = offer_measured(wanted, own);
        assert_eq!(
            update.state,
            UpdateState::Installed,
            "{wanted:?} on {own:?}"
        );
    }
}

#[test]
fn a_capsule_that_tells_of_more_channels_than_it_has() {
    assert_eq!(offer_measured(&[G, G], &[]).reason, Reason::Plan);
}

#[test]
fn a_model_too_large_for_the_arena() {
    check(
        &Recipe {
            arena_bytes: 65,
            ..newer()
        },
        Reason::Arena,
        65,
    );
}

#[test]
fn a_model_whose_golden_vector_comes_out_otherwise() {
    check(
        &Recipe {
            golden_output: Some([0, 128, 129]),
            ..newer()
        },
        Reason::Golden,
        0,
    );
}

#[test]
fn a_model_that_cannot_prove_itself() {
    check(
        &Recipe {
            golden_count: 0,
            ..newer()
        },
        Reason::Golden,
        0,
    );
}

#[test]
fn a_capsule_older_than_the_confirmed_one() {
    let mut bench = Bench::blank();
    let confirmed = Recipe::numbered(5).capsule();
    bench.install(&confirmed);
    for sequence in [4, 5] {
        // The same sequence number over other bytes is no newer either.
        bench.offer(
            &Recipe {
                sequence,
                ballast: 64,
                ..Recipe::default()
            }
            .capsule(),
        );
        let refused = bench.last_update();
        assert_eq!(
            (refused.state, refused.reason),
            (UpdateState::Refused, Reason::Rollback)
        );
        assert_eq!((refused.detail, refused.sequence), (5, sequence));
    }
    assert_eq!(bench.agent.model(), Some(model_of(&confirmed)));
}

#[test]
fn a_capsule_larger_than_a_slot() {
    let recipe = Recipe {
        ballast: 5000,
        ..newer()
    };
    let bytes = recipe.capsule().len() as u32;
    check(&recipe, Reason::SlotTooSmall, bytes);
}

#[test]
fn a_window_larger_than_the_memory_for_it() {
    let memory = Buffers {
        features: vec![0.0; 3],
        ..Buffers::default()
    };
    let mut bench = Bench::with_memory(config(), blank_flash(Vec::new()), memory);
    bench.offer(&newer().capsule());
    let refused = bench.last_update();
    assert_eq!((refused.reason, refused.detail), (Reason::Memory, 4));
}

#[test]
fn a_transfer_of_other_bytes_than_offered_may_be_tried_again() {
    let capsule = newer().capsule();
    let mut damaged = capsule.clone();
    damaged[700] ^= 1;
    let mut bench = Bench::blank();
    let digest = Digest::of(&capsule);
    bench.capsules.insert(digest, damaged);
    let offer_numbered = |bench: &mut Bench, counter| {
        bench.send(&offer(
            &capsule,
            &signed(&stated(&capsule, counter), DIRECTOR),
        ));
    };
    offer_numbered(&mut bench, 1);
    assert_eq!(bench.last_update().reason, Reason::Digest);
    bench.capsules.insert(digest, capsule.clone());
    offer_numbered(&mut bench, 2);
    assert_eq!(bench.agent.model(), Some(model_of(&capsule)));
}

#[test]
fn bytes_that_are_no_capsule() {
    let mut bench = Bench::blank();
    bench.offer(&[0x55; 300]);
    assert_eq!(bench.last_update().reason, Reason::Malformed);
    bench.run(Event::Tick);
    assert_eq!(bench.agent.model(), None);
}

fn newer() -> Recipe {
    Recipe::numbered(2)
}

/// Offers a capsule to a device that runs another, twice: it is refused, once fetched, and nothing changes.
#[track_caller]
fn check(recipe: &Recipe, reason: Reason, detail: u32) {
    let old = Recipe::numbered(1).capsule();
    let capsule = recipe.capsule();
    let mut bench = Bench::new(config(), blank_flash(old.clone()));
    for _ in 0..2 {
        bench.offer(&capsule);
        let refused = bench.last_update();
        assert_eq!(
            (refused.state, refused.reason),
            (UpdateState::Refused, reason)
        );
        assert_eq!(refused.detail, detail);
        assert_eq!(bench.agent.model(), Some(model_of(&old)));
    }
    let downloads = bench
        .states()
        .iter()
        .filter(|&&state| state == UpdateState::Downloading)
        .count();
    assert!(downloads <= 1, "a refused capsule is not fetched again");
    assert_eq!(bench.reboots, 0);
    bench.boot();
    assert_eq!(bench.agent.model(), Some(model_of(&old)));
}
