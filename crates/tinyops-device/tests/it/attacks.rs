//! Attacks on a device, each with what it answers. `docs/threat-model.md` shows this table, and is held to it.

use std::path::Path;

use tinyops_device::flash::Flash as _;
use tinyops_device::{Action, BlockSource, Event};
use tinyops_wire::capsule::{self, Unverified};
use tinyops_wire::delta::HEADER_BYTES;
use tinyops_wire::downlink::{Block, Command, KeySetPart, Offer, What, When};
use tinyops_wire::frame::{Frame, UpdateState};
use tinyops_wire::key_set::{RoleKeys, RootSignature};
use tinyops_wire::{DeviceId, Digest, Downlink, KeySet, Statement};

use crate::delta::{delta, offer_delta};
use crate::fixture::{
    Bench, DIRECTOR, Flash, RELEASE, ROOTS, Recipe, STRANGER, blank_flash, config, downlink,
    model_of, offer, signed, signer, stated, write,
};

/// What an attacker does, and what the device makes of it.
type Attack = (&'static str, fn(&mut Bench) -> String, &'static str);

/// Every attack begins with a device that has confirmed number 5 of a model, and must leave it running that.
const ATTACKS: &[Attack] = &[
    // What runs.
    (
        "an old release, signed and stated anew",
        rollback,
        "refused rollback 5",
    ),
    (
        "an unreleased model, by whoever holds the director key alone",
        unreleased,
        "refused signature 1",
    ),
    (
        "a released model, by whoever holds the release key alone",
        undirected,
        "refused statement 1",
    ),
    (
        "a statement signed with the release key",
        release_as_director,
        "refused statement 1",
    ),
    (
        "an offer of before statements",
        downgrade,
        "refused statement 1",
    ),
    (
        "the manifest of one capsule, the payload of another",
        mix,
        "refused payload 0",
    ),
    (
        "a statement for another manifest",
        other_manifest,
        "refused other-manifest 0",
    ),
    (
        "a statement for another device",
        other_device,
        "refused other-device 0",
    ),
    (
        "a statement of before the last one",
        old_statement,
        "refused statement-old 6",
    ),
    (
        "a statement held back until later",
        held_back,
        "refused statement-void 770",
    ),
    (
        "a capsule for another class of boards",
        other_board,
        "refused board 0",
    ),
    (
        "a release key that was taken back",
        retired_release,
        "refused signature 2",
    ),
    (
        "a director key that was taken back",
        retired_director,
        "refused statement 2",
    ),
    // Who decides.
    (
        "a key set signed by one root key of the two that it takes",
        one_root,
        "key set refused key-set 0",
    ),
    (
        "a key set signed twice by one root key",
        one_root_twice,
        "key set refused key-set 0",
    ),
    (
        "a key set of before the one in force",
        old_key_set,
        "key set refused key-set-old 2",
    ),
    // What comes in.
    (
        "a manifest longer than any",
        oversized,
        "refused malformed 0",
    ),
    (
        "a program with an operator of a later version",
        later_operator,
        "refused operator 0",
    ),
    (
        "a capsule larger than a slot",
        too_large,
        "refused slot-too-small 9000",
    ),
    (
        "a delta on the wrong base",
        wrong_base,
        "refused delta-base 0",
    ),
    (
        "a delta that makes something else than it says",
        other_result,
        "refused delta 0",
    ),
    (
        "a delta that makes an unreleased model",
        unreleased_result,
        "refused signature 1",
    ),
    (
        "a delta that leaves the slot no room for what it makes",
        full_slot,
        "refused slot-too-small 5034",
    ),
    (
        "a block cut short",
        cut_block,
        "passed over, asked for again",
    ),
    (
        "blocks in another order, and twice",
        shuffled_blocks,
        "put in order",
    ),
    (
        "a block with one bit changed",
        flipped_block,
        "refused digest 0",
    ),
    (
        "a block of another capsule",
        foreign_block,
        "passed over, asked for again",
    ),
    ("a downlink played again", replayed, "dropped as a replay"),
    (
        "a downlink sealed with another key",
        forged,
        "dropped as malformed",
    ),
    (
        "the device's own report played back to it",
        reflected,
        "dropped as malformed",
    ),
    // What lies in flash.
    (
        "the slot swapped for another signed capsule before the boot",
        swapped_slot,
        "reverted other-manifest 0",
    ),
    (
        "the statement swapped for an older one before the boot",
        swapped_statement,
        "reverted statement-old 6",
    ),
    (
        "a slot changed by one bit before the boot",
        flipped_slot,
        "reverted payload 0",
    ),
    (
        "the boot of what was taken up before something newer was confirmed",
        late_activation,
        "reverted rollback 9",
    ),
];

#[test]
fn every_attack_has_its_answer() {
    let mut failed = Vec::new();
    for (name, attack, expected) in ATTACKS {
        let mut bench = Bench::new(config(), blank_flash(Recipe::numbered(1).capsule()));
        bench.install(&confirmed());
        assert_eq!(bench.agent.model(), Some(model_of(&confirmed())));
        let answer = attack(&mut bench);
        if answer != *expected {
            failed.push(format!("{name}: {answer}, not {expected}"));
        }
        bench.boot();
        let runs = bench.agent.model();
        if runs != Some(model_of(&confirmed())) || bench.agent.is_on_trial() {
            failed.push(format!("{name}: runs {runs:?} now"));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn the_threat_model_shows_this_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/threat-model.md");
    let text = std::fs::read_to_string(&path).expect("the page is in the repository");
    let table: Vec<String> = ATTACKS
        .iter()
        .map(|(name, _, answer)| format!("| {name} | {answer} |"))
        .collect();
    let shown: Vec<&str> = text
        .lines()
        .skip_while(|line| !line.starts_with("| attack | the device's answer |"))
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .collect();
    assert_eq!(shown, table, "{}", path.display());
}

fn confirmed() -> Vec<u8> {
    Recipe::numbered(5).capsule()
}

fn newer() -> Vec<u8> {
    Recipe::numbered(6).capsule()
}

/// The counter of the device's last statement is 1 after its first install.
fn last_update(bench: &Bench) -> String {
    let update = bench.last_update();
    format!("{} {} {}", update.state, update.reason, update.detail)
}

fn last_keys(bench: &Bench) -> String {
    let mut frames = bench.reports.iter().rev();
    let found = frames.find_map(|report| match Frame::decode(&report.body) {
        Ok(Frame::Keys(keys)) => Some(keys),
        _ => None,
    });
    let keys = found.expect("a word on the key set");
    format!("key set refused {} {}", keys.reason, keys.detail)
}

/// Offers a capsule with any bytes as its statement, and serves its blocks.
fn offer_as(bench: &mut Bench, capsule: &[u8], statement: &[u8]) -> String {
    bench.capsules.insert(Digest::of(capsule), capsule.to_vec());
    bench.send(&offer(capsule, statement));
    last_update(bench)
}

/// Offers what the director truly stated.
fn offer_stated(bench: &mut Bench, capsule: &[u8]) -> String {
    bench.offer(capsule);
    last_update(bench)
}

fn rollback(bench: &mut Bench) -> String {
    offer_stated(bench, &Recipe::numbered(4).capsule())
}

fn unreleased(bench: &mut Bench) -> String {
    let capsule = Recipe {
        signer: DIRECTOR,
        ..Recipe::numbered(6)
    };
    offer_stated(bench, &capsule.capsule())
}

fn undirected(bench: &mut Bench) -> String {
    let statement = signed(&stated(&newer(), 6), STRANGER);
    offer_as(bench, &newer(), &statement)
}

fn release_as_director(bench: &mut Bench) -> String {
    let statement = signed(&stated(&newer(), 6), RELEASE);
    offer_as(bench, &newer(), &statement)
}

fn downgrade(bench: &mut Bench) -> String {
    let capsule = newer();
    bench.capsules.insert(Digest::of(&capsule), capsule.clone());
    // Whoever may just not have heard the device's hello is told it four times; then it is an attack.
    for _ in 0..5 {
        bench.send(&Downlink::Offer(Offer {
            what: What::Capsule,
            digest: Digest::of(&capsule),
            bytes: capsule.len() as u32,
            when: When::AtOnce,
            statement: None,
        }));
    }
    last_update(bench)
}

fn mix(bench: &mut Bench) -> String {
    let mut capsule = newer();
    let other = Recipe {
        golden_output: Some([0, 128, 129]),
        ..Recipe::numbered(6)
    }
    .capsule();
    assert_eq!(other.len(), capsule.len());
    let head = payload_offset(&capsule);
    capsule[head..].copy_from_slice(&other[head..]);
    offer_stated(bench, &capsule)
}

fn other_manifest(bench: &mut Bench) -> String {
    let statement = signed(&stated(&Recipe::numbered(7).capsule(), 6), DIRECTOR);
    offer_as(bench, &newer(), &statement)
}

fn other_device(bench: &mut Bench) -> String {
    let statement = Statement {
        device: DeviceId(0xd1),
        ..stated(&newer(), 6)
    };
    offer_as(bench, &newer(), &signed(&statement, DIRECTOR))
}

fn old_statement(bench: &mut Bench) -> String {
    // The device takes number 6 up and turns the model away; number 5 was kept by whoever reads its mail and has its
    // key, and is of the same model as before.
    let recalled = Recipe {
        arena_bytes: 65,
        ..Recipe::numbered(7)
    };
    bench.offer_with(&recalled.capsule(), &stated(&recalled.capsule(), 6));
    offer_as(bench, &newer(), &signed(&stated(&newer(), 5), DIRECTOR))
}

fn held_back(bench: &mut Bench) -> String {
    // It was stated while the device was below uplink 300; since then it has booted twice.
    let statement = Statement {
        last_uplink: 300,
        ..stated(&newer(), 6)
    };
    (0..2).for_each(|_| bench.boot());
    offer_as(bench, &newer(), &signed(&statement, DIRECTOR))
}

fn other_board(bench: &mut Bench) -> String {
    let capsule = Recipe {
        board: "esp-eye",
        ..Recipe::numbered(6)
    };
    offer_stated(bench, &capsule.capsule())
}

const NEXT_RELEASE: u8 = 0x11;
const NEXT_DIRECTOR: u8 = 0xd2;

fn key_set(sequence: u32, release: u8, director: u8) -> KeySet {
    KeySet {
        sequence,
        release: RoleKeys::one(signer(release).verifying_key()),
        director: RoleKeys::one(signer(director).verifying_key()),
    }
}

/// Hands a key set over with these signatures.
fn give(bench: &mut Bench, set: &KeySet, signatures: &[RootSignature]) -> String {
    let signed = write(|out| set.encode(signatures, out).expect("room"));
    bench.send(&Downlink::KeySetPart(KeySetPart {
        sequence: set.sequence,
        total: signed.len() as u16,
        offset: 0,
        bytes: &signed,
    }));
    last_keys(bench)
}

fn by_root(set: &KeySet, seed: u8) -> RootSignature {
    RootSignature::new(set, &signer(seed)).expect("sound")
}

fn rotate(bench: &mut Bench) {
    let set = key_set(2, NEXT_RELEASE, NEXT_DIRECTOR);
    let signatures = [by_root(&set, ROOTS[0]), by_root(&set, ROOTS[1])];
    assert_eq!(give(bench, &set, &signatures), "key set refused none 0");
}

fn retired_release(bench: &mut Bench) -> String {
    rotate(bench);
    let statement = signed(&stated(&newer(), 6), NEXT_DIRECTOR);
    offer_as(bench, &newer(), &statement)
}

fn retired_director(bench: &mut Bench) -> String {
    rotate(bench);
    let capsule = Recipe {
        signer: NEXT_RELEASE,
        ..Recipe::numbered(6)
    };
    offer_stated(bench, &capsule.capsule())
}

fn one_root(bench: &mut Bench) -> String {
    let set = key_set(2, STRANGER, STRANGER);
    let signatures = [by_root(&set, ROOTS[0]), by_root(&set, STRANGER)];
    give(bench, &set, &signatures)
}

fn one_root_twice(bench: &mut Bench) -> String {
    let set = key_set(2, STRANGER, STRANGER);
    let own = by_root(&set, ROOTS[0]);
    let again = RootSignature {
        key: signer(ROOTS[1]).verifying_key().id(),
        ..own
    };
    give(bench, &set, &[own, again])
}

fn old_key_set(bench: &mut Bench) -> String {
    rotate(bench);
    let set = key_set(1, RELEASE, DIRECTOR);
    let signatures = [by_root(&set, ROOTS[0]), by_root(&set, ROOTS[2])];
    give(bench, &set, &signatures)
}

/// A capsule whose signed part says of itself that it is longer.
fn oversized(bench: &mut Bench) -> String {
    let capsule = newer();
    let cose_len = usize::from(u16::from_le_bytes([capsule[6], capsule[7]]));
    let mut longer = capsule[..8 + cose_len - 66].to_vec();
    // A ninth claim, of 100 bytes, behind the eight.
    longer.extend([9, 0x58, 100]);
    longer.extend([0; 100]);
    longer.extend(&capsule[8 + cose_len - 66..8 + cose_len]);
    let cose_len = longer.len() - 8;
    longer[6..8].copy_from_slice(&(cose_len as u16).to_le_bytes());
    let manifest_len = longer[8 + 8];
    assert_eq!(longer[8 + 7], 0x58, "the head of the manifest");
    longer[8 + 8] = manifest_len + 103;
    longer.resize(longer.len().next_multiple_of(16), 0);
    longer.extend(&capsule[payload_offset(&capsule)..]);
    offer_stated(bench, &longer)
}

fn later_operator(bench: &mut Bench) -> String {
    let recipe = Recipe {
        later_operator: true,
        ..Recipe::numbered(6)
    };
    offer_stated(bench, &recipe.capsule())
}

fn too_large(bench: &mut Bench) -> String {
    let statement = signed(&stated(&newer(), 6), DIRECTOR);
    bench.send(&Downlink::Offer(Offer {
        what: What::Capsule,
        digest: Digest::of(&newer()),
        bytes: 9000,
        when: When::AtOnce,
        statement: Some(&statement),
    }));
    last_update(bench)
}

/// Offers a delta to a capsule that the director truly stated.
fn offer_packed(bench: &mut Bench, delta: &[u8], capsule: &[u8]) -> String {
    offer_delta(bench, delta, capsule, 6);
    last_update(bench)
}

fn wrong_base(bench: &mut Bench) -> String {
    let from_another = delta(&Recipe::numbered(4).capsule(), &newer());
    offer_packed(bench, &from_another, &newer())
}

fn other_result(bench: &mut Bench) -> String {
    let other = Recipe::numbered(7).capsule();
    let mut mixed = delta(&confirmed(), &other);
    mixed[..HEADER_BYTES].copy_from_slice(&delta(&confirmed(), &newer())[..HEADER_BYTES]);
    offer_packed(bench, &mixed, &newer())
}

fn unreleased_result(bench: &mut Bench) -> String {
    let capsule = Recipe {
        signer: DIRECTOR,
        ..Recipe::numbered(6)
    };
    let capsule = capsule.capsule();
    offer_packed(bench, &delta(&confirmed(), &capsule), &capsule)
}

fn full_slot(bench: &mut Bench) -> String {
    let capsule = Recipe {
        ballast: 1700,
        ..Recipe::numbered(6)
    };
    let capsule = capsule.capsule();
    offer_packed(bench, &delta(&confirmed(), &capsule), &capsule)
}

/// A device whose blocks come from these tests, one by one.
fn by_hand(bench: &mut Bench) -> Bench {
    let mut config = config();
    config.blocks = BlockSource::Server;
    let flash = bench.agent.flash_mut().clone();
    let mut by_hand = Bench::new(config, flash);
    by_hand.run(Event::Downlink(&downlink(
        &offer(&newer(), &signed(&stated(&newer(), 6), DIRECTOR)),
        50,
    )));
    by_hand
}

fn blocks(capsule: &[u8]) -> Vec<(u32, Vec<u8>)> {
    let size = usize::from(config().block_bytes);
    let offsets = (0..).step_by(size);
    offsets
        .zip(capsule.chunks(size).map(<[u8]>::to_vec))
        .collect()
}

fn hand(bench: &mut Bench, capsule: &[u8], offset: u32, bytes: &[u8]) {
    let digest = Digest::of(capsule).prefix();
    let block = Downlink::Block(Block {
        digest,
        offset,
        bytes,
    });
    bench.run(Event::Downlink(&downlink(&block, 1)));
}

/// What the device asks for once more after a while.
fn asked_again(bench: &mut Bench, from: u32) -> String {
    let before = bench.reports.len();
    bench.now_ms += 10_000;
    bench.run(Event::Tick);
    let asked = bench.reports[before..].iter().any(|report| {
        matches!(Frame::decode(&report.body), Ok(Frame::BlockRequest(request)) if request.offset == from)
    });
    let answer = if asked {
        "passed over, asked for again"
    } else {
        "not asked for again"
    };
    answer.to_owned()
}

fn cut_block(bench: &mut Bench) -> String {
    let mut by_hand = by_hand(bench);
    let (offset, bytes) = blocks(&newer()).swap_remove(1);
    hand(&mut by_hand, &newer(), offset, &bytes[..bytes.len() - 4]);
    hand(&mut by_hand, &newer(), 0, &blocks(&newer())[0].1);
    asked_again(&mut by_hand, offset)
}

fn foreign_block(bench: &mut Bench) -> String {
    let mut by_hand = by_hand(bench);
    let other = Recipe::numbered(7).capsule();
    hand(&mut by_hand, &other, 0, &blocks(&other)[0].1);
    asked_again(&mut by_hand, 0)
}

fn shuffled_blocks(bench: &mut Bench) -> String {
    let mut by_hand = by_hand(bench);
    for (offset, bytes) in blocks(&newer()).iter().rev() {
        hand(&mut by_hand, &newer(), *offset, bytes);
        hand(&mut by_hand, &newer(), *offset, bytes);
    }
    assert_eq!(by_hand.last_update().state, UpdateState::Installed);
    assert_eq!(by_hand.agent.model(), Some(model_of(&newer())));
    "put in order".to_owned()
}

fn flipped_block(bench: &mut Bench) -> String {
    let mut by_hand = by_hand(bench);
    for (offset, mut bytes) in blocks(&newer()) {
        bytes[17] ^= u8::from(offset > 0);
        hand(&mut by_hand, &newer(), offset, &bytes);
    }
    last_update(&by_hand)
}

fn replayed(bench: &mut Bench) -> String {
    let command = downlink(&Downlink::Command(Command::Revert), 1);
    bench.run(Event::Downlink(&command));
    dropped(bench)
}

fn forged(bench: &mut Bench) -> String {
    let mut command = downlink(&Downlink::Command(Command::Revert), 90);
    *command.last_mut().expect("a tag") ^= 1;
    bench.run(Event::Downlink(&command));
    dropped(bench)
}

fn reflected(bench: &mut Bench) -> String {
    bench.send(&Downlink::Command(Command::ReportNow));
    let Action::Send(report) = bench.agent.step(0, Event::Boot) else {
        panic!("a hello");
    };
    let report = report.to_vec();
    bench.run(Event::Downlink(&report));
    dropped(bench)
}

fn dropped(bench: &Bench) -> String {
    let counters = bench.agent.counters();
    match (counters.replayed, counters.malformed) {
        (1, 0) => "dropped as a replay".to_owned(),
        (0, 1) => "dropped as malformed".to_owned(),
        counted => format!("{counted:?}"),
    }
}

/// A device that has taken number 6 up and is about to boot it: its flash, in the attacker's hands.
fn before_the_boot(bench: &mut Bench) -> Flash {
    let capsule = newer();
    let statement = signed(&stated(&capsule, 6), DIRECTOR);
    let message = downlink(&offer(&capsule, &statement), 50);
    let mut event = Some(Event::Downlink(&message));
    loop {
        let action = bench.agent.step(0, event.take().unwrap_or(Event::Tick));
        match action {
            Action::Fetch(fetch) => {
                let blocks: Vec<(u32, Vec<u8>)> = fetch
                    .request
                    .cut(&capsule)
                    .map(|(offset, bytes)| (offset, bytes.to_vec()))
                    .collect();
                for (offset, bytes) in &blocks {
                    let event = Event::Block {
                        offset: *offset,
                        bytes,
                    };
                    if bench.agent.step(0, event) == Action::Reboot {
                        return bench.agent.flash_mut().clone();
                    }
                }
            }
            Action::Reboot => return bench.agent.flash_mut().clone(),
            Action::Idle => panic!("it was to install"),
            _ => {}
        }
    }
}

/// Changes bytes of a flash behind its device's back, boots it, and says what the device says of it.
fn tamper(bench: &mut Bench, change: impl Fn(&mut Vec<u8>)) -> String {
    let flash = before_the_boot(bench);
    let mut bytes = flash.bytes().to_vec();
    change(&mut bytes);
    let flash = Flash::new(bytes, flash.factory().to_vec());
    *bench = Bench::new(config(), flash);
    last_update(bench)
}

fn position(bytes: &[u8], part: &[u8]) -> usize {
    let mut places = bytes.windows(part.len());
    places.position(|found| found == part).expect("it is there")
}

fn swapped_slot(bench: &mut Bench) -> String {
    tamper(bench, |bytes| {
        let at = position(bytes, &newer());
        let other = Recipe::numbered(8).capsule();
        assert_eq!(other.len(), newer().len());
        bytes[at..at + other.len()].copy_from_slice(&other);
    })
}

fn swapped_statement(bench: &mut Bench) -> String {
    tamper(bench, |bytes| {
        let at = position(bytes, &signed(&stated(&newer(), 6), DIRECTOR));
        let older = signed(&stated(&newer(), 4), DIRECTOR);
        bytes[at..at + older.len()].copy_from_slice(&older);
    })
}

fn flipped_slot(bench: &mut Bench) -> String {
    tamper(bench, |bytes| {
        let at = position(bytes, &newer());
        bytes[at + newer().len() - 1] ^= 1;
    })
}

/// The journal of a device that has confirmed number 9 in the meantime, by a record with its CRC in order.
fn late_activation(bench: &mut Bench) -> String {
    tamper(bench, |bytes| {
        let number =
            |record: &[u8]| u32::from_le_bytes([record[8], record[9], record[10], record[11]]);
        let places = (0..2048).step_by(256);
        let newest = places
            .filter(|at| bytes[*at..].starts_with(b"TOPJ"))
            .max_by_key(|at| number(&bytes[*at..]))
            .expect("a record");
        bytes[newest + 24..newest + 28].copy_from_slice(&9_u32.to_le_bytes());
        let crc = tinyops_wire::crc::crc32(&bytes[newest..newest + 252]);
        bytes[newest + 252..newest + 256].copy_from_slice(&crc.to_le_bytes());
    })
}

fn payload_offset(capsule: &[u8]) -> usize {
    let cose_len = usize::from(u16::from_le_bytes([capsule[6], capsule[7]]));
    assert!(Unverified::parse(capsule).is_ok());
    assert!(8 + cose_len <= capsule::HEAD_BYTES_MAX);
    (8 + cose_len).next_multiple_of(16)
}
