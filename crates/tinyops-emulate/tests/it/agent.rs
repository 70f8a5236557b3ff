//! The whole agent on an emulated board whose power is cut, whose line brings anything, and whose flash fails: the
//! capsules and the server of a few lines are those of the virtual device's own suite, the device is firmware.

mod bench;
#[path = "../../../tinyops-device/tests/it/fixture.rs"]
#[allow(
    dead_code,
    reason = "the device's own suite uses more of it than this one"
)]
mod fixture;
mod trial;
mod ways;

use std::ops::Range;

use tinyops_emulate::{AGENT_FLASH_BYTES, BoardFaults};
use tinyops_wire::frame::{Reason, UpdateState};
use tinyops_wire::sensor::{Channel, RATE_TOLERANCE_PPM, SensorContract};

use bench::{Workbench, flash_of_nobody};
use fixture::{Recipe, model_of};

/// Words written and pages erased between two cuts; `TINYOPS_ALL_CUTS=1` cuts the power at every one.
const STEP: usize = 61;

const SLOW: [f32; 4] = [0.0, 1.5, 0.0, 0.0];

fn old() -> Vec<u8> {
    let recipe = Recipe {
        ballast: 64,
        ..Recipe::numbered(2)
    };
    recipe.capsule()
}

fn new() -> Vec<u8> {
    let recipe = Recipe {
        ballast: 128,
        ..Recipe::numbered(3)
    };
    recipe.capsule()
}

/// The flash of a device that has confirmed OLD.
fn confirmed(workbench: &Workbench) -> Vec<u8> {
    let mut bench = workbench.switch_on(&flash_of_nobody(), BoardFaults::default());
    bench.install(&old());
    assert_eq!(
        bench.state(),
        Some((model_of(&old()), true)),
        "OLD is confirmed"
    );
    bench.switch_off()
}

/// Operations of the flash that an update takes, from switching on.
fn whole_update(workbench: &Workbench, flash: &[u8]) -> Range<u32> {
    let mut bench = workbench.switch_on(flash, BoardFaults::default());
    let first = bench.operations();
    bench.install(&new());
    assert_eq!(
        bench.state(),
        Some((model_of(&new()), true)),
        "NEW is confirmed"
    );
    first..bench.operations()
}

/// After the power is back, the device runs one of the two, answers as it should, and can still be updated; `before` are
/// the numbers that it has used until then.
#[track_caller]
fn check_recovery(workbench: &Workbench, (flash, mut before): (Vec<u8>, Vec<u32>), what: &str) {
    let mut bench = workbench.switch_on(&flash, BoardFaults::default());
    let (model, _) = bench
        .state()
        .unwrap_or_else(|| panic!("{what}: runs nothing"));
    let (old, new) = (model_of(&old()), model_of(&new()));
    assert!(model == old || model == new, "{what}: runs {model}");
    assert_eq!(bench.window(SLOW), "slow", "{what}: answers as it should");
    bench.install(&self::new());
    assert_eq!(
        bench.state(),
        Some((new, true)),
        "{what}: updated in the end"
    );
    before.extend(bench.sequences());
    let flash = bench.switch_off();
    let bench = workbench.switch_on(&flash, BoardFaults::default());
    assert_eq!(bench.state(), Some((new, true)), "{what}: and stays so");
    before.extend(bench.sequences());
    let rise = before.is_sorted_by(|a, b| a < b);
    assert!(rise, "{what}: no number is used twice: {before:?}");
}

/// The operations to cut the power at: one in so many, or as many as `TINYOPS_ALL_CUTS` says, which are told.
fn cuts(operations: Range<u32>, step: usize) -> impl Iterator<Item = u32> {
    let wanted = std::env::var("TINYOPS_ALL_CUTS").ok();
    let step = match &wanted {
        Some(wanted) => wanted.parse().expect("1 for each, 7 for every seventh"),
        None => step,
    };
    let cuts = operations.clone().step_by(step);
    if wanted.is_some() {
        eprintln!("{} cuts in {operations:?}", cuts.len());
    }
    cuts
}

/// The power goes there, with some bits of a word that is cut not written.
fn cut_at(cut: u32) -> BoardFaults {
    BoardFaults {
        cut: Some(cut),
        fades: 0x5aa5_3cc3_u32.rotate_left(cut),
        ..BoardFaults::default()
    }
}

#[test]
fn an_update_survives_a_power_cut_anywhere() {
    let Some(workbench) = Workbench::find() else {
        return;
    };
    let flash = confirmed(&workbench);
    let operations = whole_update(&workbench, &flash);
    assert!(operations.len() > 200, "only {operations:?}");
    for cut in cuts(operations, STEP) {
        let mut bench = workbench.switch_on(&flash, cut_at(cut));
        bench.install(&new());
        assert!(!bench.has_power(), "operation {cut} was reached");
        check_recovery(&workbench, bench.end(), &format!("operation {cut}"));
    }
}

/// What no counted operation shows: the emulator is killed at any time, in the middle of whatever it does.
#[test]
fn an_update_survives_being_killed_at_any_time() {
    let Some(workbench) = Workbench::find() else {
        return;
    };
    let flash = confirmed(&workbench);
    for blocks in 0..2 {
        let mut bench = workbench.switch_on(&flash, BoardFaults::default());
        bench.kill_after_block(&new(), blocks);
        check_recovery(
            &workbench,
            bench.end(),
            &format!("killed after block {blocks}"),
        );
    }
}

#[test]
fn a_model_that_does_not_compute_what_it_says_is_not_run() {
    let Some(workbench) = Workbench::find() else {
        return;
    };
    let mut bench = workbench.switch_on(&confirmed(&workbench), BoardFaults::default());
    let bad = [
        (
            Recipe {
                golden_output: Some([9, 9, 9]),
                ..Recipe::numbered(3)
            },
            Reason::Golden,
        ),
        (
            Recipe {
                signer: fixture::STRANGER,
                ..Recipe::numbered(4)
            },
            Reason::Signature,
        ),
        (
            Recipe {
                board: "another",
                ..Recipe::numbered(5)
            },
            Reason::Board,
        ),
        (
            Recipe {
                arena_bytes: 4 << 20,
                ..Recipe::numbered(6)
            },
            Reason::Arena,
        ),
        (Recipe::numbered(1), Reason::Rollback),
        // What the factory wrote says of the sensor: upright, in g, to 4.
        (of_a_sensor(8, "acc.y", "g", 4.0), Reason::Axis),
        (of_a_sensor(9, "acc.x", "m/s2", 4.0), Reason::Unit),
        (of_a_sensor(10, "acc.x", "g", 16.0), Reason::FullScale),
    ];
    for (recipe, reason) in bad {
        bench.install(&recipe.capsule());
        let update = bench.last_update();
        assert_eq!(
            (update.reason, bench.state()),
            (reason, Some((model_of(&old()), true)))
        );
        assert!(
            matches!(update.state, UpdateState::Refused | UpdateState::Reverted),
            "{update:?}"
        );
    }
    let sound = of_a_sensor(11, "acc.x", "g", 4.0).capsule();
    bench.install(&sound);
    assert_eq!(bench.state(), Some((model_of(&sound), true)));
}

/// A capsule whose readings were of one such channel.
fn of_a_sensor(number: u32, axis: &'static str, unit: &'static str, full_scale: f32) -> Recipe {
    let channel = Channel {
        axis,
        unit,
        full_scale,
    };
    Recipe {
        contract: Some(SensorContract {
            rate_hz: 10.0,
            rate_tolerance_ppm: RATE_TOLERANCE_PPM,
            mounting: None,
            channels: Box::leak(Box::new([channel])),
        }),
        ..Recipe::numbered(number)
    }
}

#[test]
fn whatever_the_line_brings_the_device_goes_on() {
    let Some(workbench) = Workbench::find() else {
        return;
    };
    let mut bench = workbench.switch_on(&confirmed(&workbench), BoardFaults::default());
    let new = new();
    // A block with a byte changed, in turn at every place of the first, never makes a capsule that is taken.
    for at in (0..new.len()).step_by(new.len() / 6) {
        let mut hostile = new.clone();
        hostile[at] ^= 0x10;
        bench.offer_but_serve(&new, &hostile);
        assert_eq!(bench.state(), Some((model_of(&old()), true)), "byte {at}");
        assert_eq!(bench.last_update().state, UpdateState::Refused, "byte {at}");
    }
    // One that ends early is asked for again, and nothing comes of it.
    bench.offer_but_serve(&new, &new[..new.len() / 2]);
    assert_eq!(bench.state(), Some((model_of(&old()), true)));
    // Noise, frames cut at any byte, envelopes under another key, and more than a frame may hold.
    bench.noise();
    assert_eq!(bench.window(SLOW), "slow", "it still measures");
    bench.install(&new);
    assert_eq!(
        bench.state(),
        Some((model_of(&new), true)),
        "and still updates"
    );
}

#[test]
fn flash_that_does_not_erase_or_write_costs_the_update_and_not_the_device() {
    let Some(workbench) = Workbench::find() else {
        return;
    };
    let flash = confirmed(&workbench);
    // Behind the factory's pages and the journal lie the slots, of 32 pages each; OLD is in one of them.
    let slots = 6..70;
    let erases = slots.clone().step_by(32).map(|page| BoardFaults {
        dead_page: Some(page),
        ..BoardFaults::default()
    });
    let writes = slots.step_by(32).map(|page| BoardFaults {
        stuck: Some(4096 * page + 256),
        ..BoardFaults::default()
    });
    let mut kept_old = 0;
    for faults in erases.chain(writes) {
        let mut bench = workbench.switch_on(&flash, faults);
        bench.install(&new());
        let (model, _) = bench.state().expect("runs something");
        assert_eq!(bench.window(SLOW), "slow", "{faults:?}");
        if model == model_of(&old()) {
            kept_old += 1;
            assert_eq!(bench.last_update().reason, Reason::Flash, "{faults:?}");
        }
        check_recovery(&workbench, bench.end(), &format!("{faults:?}"));
    }
    // NEW goes to one of the two slots, and that one is bad twice.
    assert_eq!(kept_old, 2);
    assert_eq!(flash.len(), AGENT_FLASH_BYTES);
}
