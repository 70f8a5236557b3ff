//! Capsules that a device turns away, each with its own reason.

use tinyops_device::{Event, Sensor};
use tinyops_dsp::{Block, FrontEnd, Raw};
use tinyops_wire::Digest;
use tinyops_wire::frame::{Reason, Update, UpdateState};
use tinyops_wire::sensor::{Channel, Mounting, RATE_TOLERANCE_PPM, SensorContract, SensorSection};

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
    axis: "",
    unit: "g",
    full_scale: 4.0,
};
const ACC: [Channel<'_>; 1] = [Channel { axis: "acc.x", ..G }];
const PLAIN: SensorContract<'_> = SensorContract {
    rate_hz: 10.0,
    rate_tolerance_ppm: RATE_TOLERANCE_PPM,
    mounting: None,
    channels: &[G],
};

/// Offers a capsule with this contract to a device that states the same but for `differ`; the last update tells.
fn offer_measured(wanted: SensorContract<'static>, differ: impl FnOnce(&mut Sensor)) -> Update {
    let mut config = config();
    config.sensor.mounting = wanted.mounting;
    config.sensor.channels = wanted.channels;
    differ(&mut config.sensor);
    let mut bench = Bench::new(config, blank_flash(Recipe::numbered(1).capsule()));
    let recipe = Recipe {
        contract: Some(wanted),
        ..newer()
    };
    bench.offer(&recipe.capsule());
    bench.last_update()
}

/// A mounting by its name.
fn mounting(name: &str) -> Option<Mounting> {
    Some(name.parse().expect("a mounting"))
}

#[test]
fn a_capsule_for_readings_of_another_kind_names_what_differs() {
    const MS2: [Channel<'_>; 1] = [Channel { unit: "m/s2", ..G }];
    const WIDE: [Channel<'_>; 1] = [Channel {
        full_scale: 16.0,
        ..G
    }];
    const GYRO: [Channel<'_>; 1] = [Channel {
        axis: "gyro.x",
        ..G
    }];
    let upright = SensorContract {
        mounting: Some(Mounting::UPRIGHT),
        channels: &ACC,
        ..PLAIN
    };
    let told = |wanted, differ: &dyn Fn(&mut Sensor)| {
        let update = offer_measured(wanted, differ);
        (update.state, update.reason, update.detail)
    };
    let refused = |reason, detail| (UpdateState::Refused, reason, detail);
    assert_eq!(
        told(PLAIN, &|own| own.channels = &MS2),
        refused(Reason::Unit, 0)
    );
    let wide = SensorContract {
        channels: &WIDE,
        ..PLAIN
    };
    assert_eq!(
        told(wide, &|own| own.channels = &[G]),
        refused(Reason::FullScale, 16_000)
    );
    assert_eq!(
        told(upright, &|own| own.channels = &GYRO),
        refused(Reason::Axis, 0)
    );
    assert_eq!(
        told(upright, &|own| own.mounting = mounting("y -x z")),
        refused(Reason::Mounting, 0x13)
    );
    // The rate is the front end's, and how far off it may be is the contract's to say.
    let tight = SensorContract {
        rate_tolerance_ppm: 100,
        ..PLAIN
    };
    let off = |own: &mut Sensor| own.rate_hz = 10.005;
    assert_eq!(told(PLAIN, &off).0, UpdateState::Installed);
    assert_eq!(told(tight, &off), refused(Reason::Rate, 10_000));
    assert_eq!(told(upright, &|_| ()).0, UpdateState::Installed);
}

#[test]
fn axes_in_another_order_are_other_axes() {
    const XY: [Channel<'_>; 2] = [
        Channel { axis: "acc.x", ..G },
        Channel { axis: "acc.y", ..G },
    ];
    const YX: [Channel<'_>; 2] = [XY[1], XY[0]];
    const TEMPERATURE: [Channel<'_>; 2] = [
        XY[0],
        Channel {
            axis: "temperature",
            ..G
        },
    ];
    let mut config = config();
    config.sensor.channel_count = 2;
    let front_end = FrontEnd {
        channel_count: 2,
        rate_hz: 10.0,
        window_len: 8,
        block: Block::Raw(Raw { scale: 1.0 }),
    };
    let wanted = SensorContract {
        channels: &XY,
        ..PLAIN
    };
    let mut bytes = [0; 64];
    let len = wanted.encode(&mut bytes).expect("room");
    let section = SensorSection::decode(&bytes[..len]).expect("a section");
    let mut check = |own| {
        config.sensor.channels = own;
        let told = config.sensor.check(&front_end, Some(&section));
        told.map_err(|refusal| (refusal.reason, refusal.detail))
    };
    assert_eq!(check(&XY), Ok(()));
    assert_eq!(check(&YX), Err((Reason::Axis, 0)));
    assert_eq!(check(&TEMPERATURE), Err((Reason::Axis, 1)));
}

#[test]
fn what_is_not_known_of_a_sensor_stands_in_nobodys_way() {
    const UNKNOWN: [Channel<'_>; 1] = [Channel {
        axis: "",
        unit: "",
        full_scale: 0.0,
    }];
    let wanted = SensorContract {
        mounting: Some(Mounting::UPRIGHT),
        channels: &ACC,
        ..PLAIN
    };
    let unknown = SensorContract {
        mounting: None,
        channels: &UNKNOWN,
        ..PLAIN
    };
    let silent = |own: &mut Sensor| (own.mounting, own.channels) = (None, &[]);
    let told = [
        offer_measured(wanted, silent),
        offer_measured(wanted, |own| {
            (own.mounting, own.channels) = (None, &UNKNOWN)
        }),
        offer_measured(unknown, |own| {
            (own.mounting, own.channels) = (mounting("-x -y z"), &ACC);
        }),
    ];
    for update in told {
        assert_eq!(update.state, UpdateState::Installed, "{update:?}");
    }
}

#[test]
fn a_contract_that_is_not_that_of_its_front_end() {
    let told = |contract| offer_measured(contract, |own| own.channels = &[]).reason;
    let of_two = SensorContract {
        channels: &[G, G],
        ..PLAIN
    };
    assert_eq!(told(of_two), Reason::Plan);
    let of_another_rate = SensorContract {
        rate_hz: 20.0,
        mounting: Some(Mounting::UPRIGHT),
        ..PLAIN
    };
    assert_eq!(told(of_another_rate), Reason::Plan);
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
