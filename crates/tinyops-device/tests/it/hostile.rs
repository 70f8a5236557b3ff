//! Bytes from anybody never stop a device.

use proptest::prelude::*;
use tinyops_device::Event;
use tinyops_wire::Digest;
use tinyops_wire::Downlink;
use tinyops_wire::downlink::{Command, Offer, StatisticsRequest, What, When};

use crate::fixture::{
    Bench, DIRECTOR, Recipe, blank_flash, config, downlink, model_of, signed, stated,
};

#[test]
fn downlinks_that_are_malformed_or_replayed_are_counted_and_dropped() {
    let capsule = Recipe::default().capsule();
    let mut bench = Bench::new(config(), blank_flash(capsule.clone()));
    let command = Downlink::Command(Command::Revert);
    let mut bytes = downlink(&command, 7);
    bench.run(Event::Downlink(&bytes));
    bench.run(Event::Downlink(&bytes));
    bench.run(Event::Downlink(&downlink(&command, 6)));
    assert_eq!(bench.agent.counters().replayed, 2);
    *bytes.last_mut().expect("a tag") ^= 1;
    bench.run(Event::Downlink(&bytes));
    bench.run(Event::Downlink(&[]));
    assert_eq!(bench.agent.counters().malformed, 2);
    assert_eq!(bench.agent.model(), Some(model_of(&capsule)));
}

#[test]
fn what_was_seen_before_a_reset_is_a_replay_after_it() {
    let mut bench = Bench::new(config(), blank_flash(Recipe::default().capsule()));
    let bytes = downlink(&Downlink::Command(Command::Reboot), 7);
    bench.run(Event::Downlink(&bytes));
    assert_eq!(bench.reboots, 1);
    bench.boot();
    bench.run(Event::Downlink(&bytes));
    assert_eq!((bench.reboots, bench.agent.counters().replayed), (1, 1));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn no_bytes_stop_a_device(
        junk in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 1..20),
        offsets in prop::collection::vec(any::<u32>(), 1..20),
        round: u16,
        frame_bytes: u16,
        bytes: u32,
    ) {
        let capsule = Recipe::default().capsule();
        let mut bench = Bench::new(config(), blank_flash(capsule.clone()));
        let statement = signed(&stated(&[3; 300], 1), DIRECTOR);
        let offer = Offer {
            what: What::Capsule,
            digest: Digest([3; 32]),
            bytes: bytes % 6000,
            when: match bytes % 3 {
                0 => When::AtOnce,
                1 => When::Later,
                _ => When::Shadow { windows: 2 },
            },
            statement: Some(&statement),
        };
        bench.send(&Downlink::Offer(offer));
        for (junk, offset) in junk.iter().zip(offsets.into_iter().cycle()) {
            bench.run(Event::Downlink(junk));
            bench.run(Event::Block { offset: offset % 8192, bytes: junk });
            let window: Vec<f32> = junk.iter().map(|&byte| f32::from(byte)).collect();
            bench.run(Event::Window(&window));
            bench.run(Event::Reading(&window));
        }
        bench.send(&Downlink::StatisticsRequest(StatisticsRequest { round, frame_bytes, forget: true }));
        bench.window([1.0, 0.0, 0.0, 0.0]);
        prop_assert_eq!(bench.agent.model(), Some(model_of(&capsule)));
        prop_assert!(!bench.predictions.is_empty());
    }
}
