//! A device whose firmware is newer than what its flash holds.

use tinyops_device::flash::Flash as _;
use tinyops_device::sim::RamFlash;
use tinyops_device::{Action, Agent, Event, OwnHeadState};
use tinyops_wire::crc::crc32;
use tinyops_wire::envelope::Direction;
use tinyops_wire::frame::{Frame, Hello};
use tinyops_wire::{Digest, Sealed};

use crate::fixture::{self, Bench, Buffers, Recipe, config, key, model_of};

type Flash = RamFlash<Vec<u8>, Vec<u8>, PAGE>;
const PAGE: usize = 1024;

/// A record of version 1, as `docs/formats/blocks.md` had it: slot A is active and number 5 is confirmed.
fn first_version(number: u32, capsule: &[u8]) -> [u8; 128] {
    let mut record = [0; 128];
    record[..8].copy_from_slice(b"TOPJ\x01\x01\xff\x00");
    for (at, value) in [
        (8, number),
        (12, 3),
        (16, 700),
        (20, 40),
        (24, 5),
        (32, capsule.len() as u32),
    ] {
        record[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }
    // Neither a place before the active one nor a transfer.
    record[28..30].fill(0xff);
    record[36..44].copy_from_slice(&Digest::of(capsule).prefix::<8>());
    let crc = crc32(&record[..124]);
    record[124..].copy_from_slice(&crc.to_le_bytes());
    record
}

/// Flash as firmware of before key sets left it: eight places of each page were records.
fn before_key_sets(capsule: &[u8]) -> Flash {
    let mut bytes = vec![0xff; Flash::bytes_for(4096)];
    bytes[..128].copy_from_slice(&first_version(11, capsule));
    bytes[128..256].copy_from_slice(&first_version(12, capsule));
    // The other page was begun before it, and is full.
    for (place, number) in (3..11).enumerate() {
        bytes[PAGE + 128 * place..][..128].copy_from_slice(&first_version(number, capsule));
    }
    bytes[2 * PAGE..][..capsule.len()].copy_from_slice(capsule);
    Flash::new(bytes, Vec::new())
}

/// Flash as firmware of versions 2 and 3 left it: records behind where key sets are. What these say of what waits is
/// written into them.
fn before_shadows(version: u8, capsule: &[u8], waits: impl Fn(&mut [u8; 128])) -> Flash {
    let mut bytes = vec![0xff; Flash::bytes_for(4096)];
    for (copy, place) in [(0, 4), (0, 5), (1, 4), (1, 5)] {
        let mut record = first_version(6 + place, capsule);
        record[4] = version;
        waits(&mut record);
        let crc = crc32(&record[..124]);
        record[124..].copy_from_slice(&crc.to_le_bytes());
        bytes[PAGE * copy + 128 * place as usize..][..128].copy_from_slice(&record);
    }
    bytes[2 * PAGE..][..capsule.len()].copy_from_slice(capsule);
    Flash::new(bytes, Vec::new())
}

#[test]
fn a_journal_of_version_2_is_begun_anew() {
    let capsule = Recipe::numbered(5).capsule();
    let flash = before_shadows(2, &capsule, |_| {});
    let mut agent = Agent::new(config(), flash, Buffers::default());
    assert_eq!(boot(&mut agent), (700, 4));
    assert_eq!(agent.model(), Some(model_of(&capsule)));
    assert!(!agent.is_holding());
    are_begun_anew(&agent.into_flash());
}

#[test]
fn a_journal_of_version_3_is_read_with_what_waits() {
    let capsule = Recipe::numbered(5).capsule();
    let newer = Recipe::numbered(6).capsule();
    let flash = before_shadows(3, &capsule, |record| {
        record[44..48].copy_from_slice(&(newer.len() as u32).to_le_bytes());
        record[48..56].copy_from_slice(&Digest::of(&newer).prefix::<8>());
        // Slot B waits to be installed.
        record[113] = 2 | 1 << 7;
    });
    let mut agent = Agent::new(config(), flash, Buffers::default());
    for boots in 4..7 {
        let (number, counted) = boot(&mut agent);
        assert!((number >= 700, counted) == (true, boots));
        assert_eq!(agent.model(), Some(model_of(&capsule)));
        assert!(agent.is_holding() && !agent.is_shadowing());
    }
    are_begun_anew(&agent.into_flash());
}

#[test]
fn a_journal_of_version_4_or_5_is_gone_on_with_and_asks_for_no_head() {
    for version in [4, 5] {
        is_gone_on_with(version);
    }
}

#[test]
fn a_trial_of_a_journal_of_version_5_is_checked_again() {
    let capsule = Recipe::numbered(5).capsule();
    let mut bench = Bench::blank();
    bench.offer(&capsule);
    let mut bytes = bench.agent.into_flash().bytes().to_vec();
    // That version had zeros here; whatever stands there, it names no keys.
    for place in bytes.chunks_exact_mut(256) {
        if place.starts_with(b"TOPJ") {
            place[4] = 5;
            let crc = crc32(&place[..252]);
            place[252..].copy_from_slice(&crc.to_le_bytes());
        }
    }
    let bench = Bench::new(config(), fixture::Flash::new(bytes, Vec::new()));
    assert!(bench.agent.is_on_trial());
    assert_eq!(bench.agent.counters().signatures, 1);
    assert_eq!(bench.agent.model(), Some(model_of(&capsule)));
}

fn is_gone_on_with(version: u8) {
    let capsule = Recipe::numbered(5).capsule();
    let mut agent = Agent::new(config(), before_key_sets(&capsule), Buffers::default());
    (0..6).for_each(|_| {
        boot(&mut agent);
    });
    let (number, boots) = boot(&mut agent);
    let mut bytes = agent.into_flash().bytes().to_vec();
    for place in bytes[..2 * PAGE].chunks_exact_mut(256) {
        if place.starts_with(b"TOPJ\x06") {
            place[4] = version;
            let crc = crc32(&place[..252]);
            place[252..].copy_from_slice(&crc.to_le_bytes());
        }
    }
    let mut agent = Agent::new(config(), Flash::new(bytes, Vec::new()), Buffers::default());
    let (next, counted) = boot(&mut agent);
    assert_eq!((next, counted), (number + 256, boots + 1));
    assert_eq!(agent.model(), Some(model_of(&capsule)));
    assert_eq!(agent.own_head(), OwnHeadState::Off);
    // A copy holds records of both.
    let flash = agent.into_flash();
    let versions = |version: u8| {
        let places = flash.bytes()[..PAGE].chunks_exact(256);
        places
            .filter(|place| place.starts_with(&[b'T', b'O', b'P', b'J', version]))
            .count()
    };
    assert!(versions(6) >= 1 && versions(version) + versions(6) >= 2);
}

fn are_begun_anew(flash: &Flash) {
    for copy in 0..2 {
        let journal = flash
            .mapped(PAGE * copy..PAGE * (copy + 1))
            .expect("it can be read");
        let versions: Vec<u8> = journal
            .chunks(128)
            .filter(|place| place.starts_with(b"TOPJ"))
            .map(|place| place[4])
            .collect();
        assert!(!versions.is_empty(), "copy {copy}");
        assert!(
            versions.iter().all(|version| *version == 6),
            "copy {copy}: {versions:?}"
        );
    }
}

/// Boots; answers with the number of the envelope that says hello, and the boots that it tells.
fn boot(agent: &mut Agent<Flash, Buffers>) -> (u32, u32) {
    let Action::Send(bytes) = agent.step(0, Event::Boot) else {
        panic!("a hello");
    };
    let envelope = Sealed::parse(bytes)
        .and_then(|sealed| sealed.open(&key(), Direction::Up))
        .expect("an envelope");
    let Ok(Frame::Hello(Hello { boot_count, .. })) = Frame::decode(envelope.body) else {
        panic!("a hello");
    };
    (envelope.sequence, boot_count)
}

#[test]
fn a_journal_of_version_1_is_read_and_gone_on_with() {
    let capsule = Recipe::numbered(5).capsule();
    let mut agent = Agent::new(config(), before_key_sets(&capsule), Buffers::default());
    let (mut number, mut boots) = boot(&mut agent);
    assert_eq!((number, boots), (700, 4), "numbers go on where they were");
    assert_eq!(agent.model(), Some(model_of(&capsule)));
    for _ in 0..12 {
        // Until both copies have been begun anew.
        let (next, counted) = boot(&mut agent);
        assert_eq!((next > number, counted), (true, boots + 1));
        (number, boots) = (next, counted);
        assert_eq!(agent.model(), Some(model_of(&capsule)));
    }
    let flash = agent.into_flash();
    let journal = flash.mapped(0..2 * PAGE).expect("it can be read");
    let versions = journal
        .chunks(128)
        .filter(|place| place.starts_with(b"TOPJ"));
    assert!(versions.clone().all(|place| place[4] == 6));
    assert!(versions.count() > 2);
}

#[test]
fn power_may_go_while_a_journal_of_version_1_is_left_behind() {
    let capsule = Recipe::numbered(5).capsule();
    let flash = before_key_sets(&capsule);
    let boots = |flash: Flash| {
        let mut agent = Agent::new(config(), flash, Buffers::default());
        for _ in 0..10 {
            agent.step(0, Event::Boot);
        }
        agent.into_flash()
    };
    let last = boots(flash.clone()).operations();
    for operation in 0..last {
        let mut cut = flash.clone();
        cut.cut_power_at(operation, operation);
        let mut cut = boots(cut);
        assert!(!cut.has_power(), "operation {operation} was reached");
        cut.restore_power();
        let mut agent = Agent::new(config(), cut, Buffers::default());
        let (number, _) = boot(&mut agent);
        assert!(number >= 700, "operation {operation}: {number}");
        assert_eq!(
            agent.model(),
            Some(model_of(&capsule)),
            "operation {operation}"
        );
    }
}
