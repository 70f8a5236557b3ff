//! Updates that go well, and those that a trial ends.

use tinyops_device::{BlockSource, Event};
use tinyops_wire::block::BlockRequest;
use tinyops_wire::downlink::{Block, Command};
use tinyops_wire::frame::{Frame, Reason, UpdateState};
use tinyops_wire::{Digest, Downlink};

use crate::fixture::{
    Bench, Buffers, DIRECTOR, Flash, Recipe, blank_flash, config, downlink, model_of, offer,
    signed, stated,
};

#[test]
fn an_offer_becomes_the_model_that_runs() {
    let capsule = Recipe::default().capsule();
    let mut bench = Bench::blank();
    bench.offer(&capsule);
    assert_eq!(
        bench.states(),
        [UpdateState::Downloading, UpdateState::Installed]
    );
    assert_eq!(bench.reboots, 1);
    assert_eq!(bench.agent.model(), Some(model_of(&capsule)));
    assert!(bench.agent.is_on_trial());
    bench.window([1.0, 0.0, 0.0, 0.0]);
    assert!(bench.agent.is_on_trial(), "one window of two");
    bench.window([1.0, 0.0, 0.0, 0.0]);
    assert!(!bench.agent.is_on_trial());
    let confirmed = bench.last_update();
    assert_eq!(
        (confirmed.state, confirmed.reason),
        (UpdateState::Confirmed, Reason::None)
    );
    assert_eq!(
        (confirmed.model, confirmed.sequence),
        (model_of(&capsule), 1)
    );
    bench.boot();
    assert_eq!(bench.agent.model(), Some(model_of(&capsule)));
}

#[test]
fn a_boot_of_what_is_confirmed_checks_no_signature() {
    let capsule = Recipe::default().capsule();
    let mut bench = Bench::blank();
    bench.install(&capsule);
    for _ in 0..3 {
        bench.boot();
        assert_eq!(bench.agent.model(), Some(model_of(&capsule)));
        assert_eq!(bench.agent.counters().signatures, 0);
    }
}

#[test]
fn a_trial_of_what_was_checked_when_it_was_installed_checks_no_signature() {
    let capsule = Recipe::default().capsule();
    let mut bench = Bench::blank();
    bench.offer(&capsule);
    assert!(bench.agent.is_on_trial());
    assert_eq!(bench.agent.counters().signatures, 0);
    bench.window([1.0, 0.0, 0.0, 0.0]);
    bench.boot();
    assert!(bench.agent.is_on_trial());
    assert_eq!(bench.agent.counters().signatures, 0);
    // Bytes that are others since are held to a key again, and have none.
    let flash = bench.agent.into_flash();
    let at = flash
        .bytes()
        .windows(8)
        .position(|at| at == &capsule[150..158]);
    let mut bytes = flash.bytes().to_vec();
    bytes[at.expect("it is there")] ^= 1;
    let bench = Bench::new(config(), Flash::new(bytes, Vec::new()));
    assert_ne!(bench.agent.counters().signatures, 0);
    assert_eq!(bench.last_update().reason, Reason::Signature);
    assert_eq!(bench.agent.model(), None);
}

#[test]
fn updates_alternate_between_the_slots() {
    let mut bench = Bench::new(config(), blank_flash(Recipe::numbered(1).capsule()));
    for sequence in 2..9 {
        let capsule = Recipe::numbered(sequence).capsule();
        bench.install(&capsule);
        bench.boot();
        assert_eq!(
            bench.agent.model(),
            Some(model_of(&capsule)),
            "update {sequence}"
        );
    }
}

#[test]
fn the_same_offer_again_is_answered_and_not_fetched() {
    let capsule = Recipe::default().capsule();
    let mut bench = Bench::blank();
    bench.install(&capsule);
    bench.offer(&capsule);
    assert_eq!(bench.last_update().state, UpdateState::Confirmed);
    assert_eq!(bench.reboots, 1);
}

#[test]
fn a_trial_that_scores_nothing_is_reverted_when_its_boots_are_used_up() {
    let old = Recipe::numbered(1).capsule();
    let new = Recipe::numbered(2).capsule();
    let mut bench = Bench::new(config(), blank_flash(old.clone()));
    bench.offer(&new);
    for _ in 0..2 {
        assert_eq!(bench.agent.model(), Some(model_of(&new)));
        bench.boot();
    }
    assert_eq!(
        bench.agent.model(),
        Some(model_of(&new)),
        "the third and last try"
    );
    bench.boot();
    assert_eq!(bench.agent.model(), Some(model_of(&old)));
    let reverted = bench.last_update();
    assert_eq!(
        (reverted.state, reverted.reason),
        (UpdateState::Reverted, Reason::Tries)
    );
    assert_eq!(reverted.model, model_of(&new), "what it has left is named");
    bench.offer(&new);
    let refused = bench.last_update();
    assert_eq!(
        (refused.state, refused.reason),
        (UpdateState::Refused, Reason::Tries)
    );
}

#[test]
fn the_server_can_send_a_device_back() {
    let old = Recipe::numbered(1).capsule();
    let new = Recipe::numbered(2).capsule();
    let mut bench = Bench::blank();
    bench.install(&old);
    bench.install(&new);
    bench.send(&Downlink::Command(Command::Revert));
    assert_eq!(bench.agent.model(), Some(model_of(&old)));
    let reverted = bench.last_update();
    assert_eq!(
        (reverted.state, reverted.reason),
        (UpdateState::Reverted, Reason::Commanded)
    );
    assert_eq!(reverted.model, model_of(&new));
    bench.offer(&new);
    assert_eq!(
        bench.last_update().state,
        UpdateState::Refused,
        "it was sent back from this one"
    );
    let newer = Recipe::numbered(3).capsule();
    bench.install(&newer);
    assert_eq!(bench.agent.model(), Some(model_of(&newer)));
}

#[test]
fn a_trial_ends_on_command_too() {
    let old = Recipe::numbered(1).capsule();
    let mut bench = Bench::new(config(), blank_flash(old.clone()));
    bench.offer(&Recipe::numbered(2).capsule());
    bench.send(&Downlink::Command(Command::Revert));
    assert_eq!(bench.agent.model(), Some(model_of(&old)));
    assert_eq!(bench.last_update().state, UpdateState::Reverted);
}

#[test]
fn blocks_may_come_from_the_server_in_envelopes() {
    let capsule = Recipe {
        ballast: 1500,
        ..Recipe::default()
    }
    .capsule();
    let mut config = config();
    config.blocks = BlockSource::Server;
    let mut bench = Bench::new(config, blank_flash(Vec::new()));
    let digest = Digest::of(&capsule);
    bench.send(&offer(&capsule, &signed(&stated(&capsule, 1), DIRECTOR)));
    for round in 0..100 {
        if bench.agent.model().is_some() {
            break;
        }
        let request = last_request(&bench);
        let blocks: Vec<(u32, &[u8])> = request.cut(&capsule).collect();
        for (index, (offset, bytes)) in blocks.into_iter().enumerate() {
            if (index + round) % 3 == 0 {
                continue; // A lossy link.
            }
            let block = Block {
                digest: digest.prefix(),
                offset,
                bytes,
            };
            let bytes = downlink(&Downlink::Block(block), 1);
            bench.run(Event::Downlink(&bytes));
            bench.run(Event::Downlink(&bytes));
        }
        bench.now_ms += 1000;
        bench.run(Event::Tick);
    }
    assert_eq!(bench.agent.model(), Some(model_of(&capsule)));
}

#[test]
fn an_interrupted_transfer_goes_on_where_it_was() {
    let capsule = Recipe {
        ballast: 2500,
        ..Recipe::default()
    }
    .capsule();
    let mut config = config();
    config.blocks = BlockSource::Server;
    let mut bench = Bench::new(config, blank_flash(Vec::new()));
    bench.send(&offer(&capsule, &signed(&stated(&capsule, 1), DIRECTOR)));
    let first = last_request(&bench);
    let count = first.wanted.count_ones();
    for (offset, bytes) in first.cut(&capsule).skip(1).step_by(2) {
        bench.run(Event::Block { offset, bytes });
    }
    bench.boot();
    let second = last_request(&bench);
    assert_eq!(
        second.wanted.count_ones(),
        count.div_ceil(2),
        "only what is missing"
    );
    for (offset, bytes) in second.cut(&capsule) {
        bench.run(Event::Block { offset, bytes });
    }
    assert_eq!(bench.agent.model(), Some(model_of(&capsule)));
}

fn last_request(bench: &Bench) -> BlockRequest {
    let mut frames = bench
        .reports
        .iter()
        .rev()
        .filter_map(|report| Frame::decode(&report.body).ok());
    let request = frames.find_map(|frame| match frame {
        Frame::BlockRequest(request) => Some(request),
        _ => None,
    });
    request.expect("a request")
}

#[test]
fn a_transfer_goes_on_over_a_link_that_carries_more_or_less() {
    let capsule = Recipe {
        ballast: 2500,
        ..Recipe::default()
    }
    .capsule();
    let mut config = config();
    config.blocks = BlockSource::Server;
    config.block_bytes = 16;
    let memory = Buffers {
        blocks: vec![0; 32],
        ..Buffers::default()
    };
    let mut bench = Bench::with_memory(config, blank_flash(Vec::new()), memory);
    bench.send(&offer(&capsule, &signed(&stated(&capsule, 1), DIRECTOR)));
    let mut came = std::collections::BTreeSet::new();
    // Rooms of links from the slowest radio to a socket, the rest of each window lost at every change.
    for (round, room) in [48, 1000, 20, 222, 5, 115, 64, 4000]
        .into_iter()
        .cycle()
        .take(400)
        .enumerate()
    {
        if bench.agent.model().is_some() {
            break;
        }
        if round % 5 == 4 {
            bench.boot();
        }
        bench.agent.set_link_room(room);
        bench.run(Event::Tick);
        let request = last_request(&bench);
        assert!(usize::from(request.block_bytes) <= room.max(16));
        assert_eq!(request.block_bytes % 16, 0);
        for (offset, bytes) in request.cut(&capsule).take(3).skip(round % 2) {
            came.extend(offset..offset + bytes.len() as u32);
            bench.run(Event::Block { offset, bytes });
            if bench.agent.model().is_some() {
                break;
            }
        }
    }
    assert_eq!(bench.agent.model(), Some(model_of(&capsule)));
    assert_eq!(came.len(), capsule.len());
}
