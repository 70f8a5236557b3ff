//! Key sets: taken up, turned away, lost, and never half there.

use tinyops_device::{Config, Event};
use tinyops_wire::downlink::{KeySetPart, Offer, When};
use tinyops_wire::frame::{Frame, Hello, Keys, Reason, UpdateState};
use tinyops_wire::key_set::{RoleKeys, RootSignature};
use tinyops_wire::{Digest, Downlink, KeySet};

use crate::fixture::{
    Bench, DIRECTOR, Flash, RELEASE, ROOTS, Recipe, STRANGER, blank_flash, config, downlink,
    model_of, offer, signed, signer, stated, write,
};

/// Keys that replace those of the firmware.
const NEXT_RELEASE: u8 = 0x11;
const NEXT_DIRECTOR: u8 = 0xd2;

fn key_set(sequence: u32, release: u8, director: u8) -> KeySet {
    KeySet {
        sequence,
        release: RoleKeys::one(signer(release).verifying_key()),
        director: RoleKeys::one(signer(director).verifying_key()),
    }
}

fn signed_by(set: &KeySet, roots: &[u8]) -> Vec<u8> {
    let sign = |seed: &u8| RootSignature::new(set, &signer(*seed)).expect("sound");
    let signatures: Vec<RootSignature> = roots.iter().map(sign).collect();
    write(|out| set.encode(&signatures, out).expect("room"))
}

fn part<'a>(sequence: u32, signed: &'a [u8], at: usize, bytes: usize) -> Downlink<'a> {
    Downlink::KeySetPart(KeySetPart {
        sequence,
        total: signed.len() as u16,
        offset: at as u16,
        bytes: &signed[at..signed.len().min(at + bytes)],
    })
}

/// Hands a key set over in one part; answers with what the device says of it.
fn give(bench: &mut Bench, set: &KeySet, roots: &[u8]) -> Keys {
    let signed = signed_by(set, roots);
    bench.send(&part(set.sequence, &signed, 0, signed.len()));
    last_keys(bench)
}

fn last_keys(bench: &Bench) -> Keys {
    let mut frames = bench.reports.iter().rev();
    let found = frames.find_map(|report| match Frame::decode(&report.body) {
        Ok(Frame::Keys(keys)) => Some(keys),
        _ => None,
    });
    found.expect("a word on the key set")
}

fn hello_key_set(bench: &Bench) -> u32 {
    let mut frames = bench.reports.iter().rev();
    let found = frames.find_map(|report| match Frame::decode(&report.body) {
        Ok(Frame::Hello(Hello { trust, .. })) => trust,
        _ => None,
    });
    found.expect("a hello of version 2").key_set
}

fn newer() -> KeySet {
    key_set(2, NEXT_RELEASE, NEXT_DIRECTOR)
}

fn taken(key_set: u32) -> Keys {
    Keys {
        key_set,
        reason: Reason::None,
        detail: 0,
    }
}

/// Offers a capsule as the director of the newer key set does.
fn offer_anew(bench: &mut Bench, capsule: &[u8], counter: u32) {
    let digest = Digest::of(capsule);
    bench.capsules.insert(digest, capsule.to_vec());
    bench.send(&offer(
        capsule,
        &signed(&stated(capsule, counter), NEXT_DIRECTOR),
    ));
}

#[test]
fn a_newer_key_set_replaces_the_firmwares_for_good() {
    let mut bench = Bench::new(config(), blank_flash(Recipe::numbered(1).capsule()));
    assert_eq!(hello_key_set(&bench), 1);
    assert_eq!(give(&mut bench, &newer(), &ROOTS[..2]), taken(2));
    for _ in 0..40 {
        // So many records that both copies of the journal are written anew, more than once.
        bench.boot();
        assert_eq!(hello_key_set(&bench), 2);
    }
    let old = Recipe::numbered(2).capsule();
    bench.offer(&old);
    let refused = bench.last_update();
    assert_eq!((refused.reason, refused.detail), (Reason::Statement, 2));
    offer_anew(&mut bench, &old, 90);
    let refused = bench.last_update();
    assert_eq!((refused.reason, refused.detail), (Reason::Signature, 2));
    let new = Recipe {
        signer: NEXT_RELEASE,
        ..Recipe::numbered(2)
    }
    .capsule();
    offer_anew(&mut bench, &new, 91);
    assert_eq!(bench.last_update().state, UpdateState::Installed);
    bench.window([1.0, 0.0, 0.0, 0.0]);
    bench.window([1.0, 0.0, 0.0, 0.0]);
    assert_eq!(bench.last_update().state, UpdateState::Confirmed);
}

#[test]
fn what_waits_when_its_director_is_replaced_is_fetched_again_under_the_new_one() {
    let new = Recipe::numbered(2).capsule();
    let mut bench = Bench::new(config(), blank_flash(Recipe::numbered(1).capsule()));
    bench.capsules.insert(Digest::of(&new), new.clone());
    let statement = signed(&stated(&new, 1), DIRECTOR);
    let Downlink::Offer(plain) = offer(&new, &statement) else {
        unreachable!("it is an offer");
    };
    bench.send(&Downlink::Offer(Offer {
        when: When::Later,
        ..plain
    }));
    assert!(bench.agent.is_holding());
    assert_eq!(
        give(&mut bench, &key_set(2, RELEASE, NEXT_DIRECTOR), &ROOTS),
        taken(2)
    );
    offer_anew(&mut bench, &new, 90);
    let states = bench.states();
    assert_eq!(
        states,
        [
            UpdateState::Downloading,
            UpdateState::Held,
            UpdateState::Downloading,
            UpdateState::Installed
        ]
    );
    bench.window([1.0, 0.0, 0.0, 0.0]);
    bench.window([1.0, 0.0, 0.0, 0.0]);
    assert_eq!(bench.last_update().state, UpdateState::Confirmed);
}

#[test]
fn parts_come_in_any_order_and_again_and_may_be_lost() {
    let set = newer();
    let bytes = signed_by(&set, &ROOTS);
    let mut bench = Bench::blank();
    let starts: Vec<usize> = (0..bytes.len()).step_by(40).collect();
    for &at in starts.iter().skip(1).rev() {
        bench.send(&part(2, &bytes, at, 40));
        bench.send(&part(2, &bytes, at, 40));
    }
    assert_eq!(hello_key_set(&bench), 1, "one part is missing");
    // A part of another key set begins anew; so do all parts of the first.
    bench.send(&part(3, &bytes, 0, 40));
    bench.send(&part(2, &bytes, 0, 40));
    bench.boot();
    assert_eq!(hello_key_set(&bench), 1);
    starts
        .iter()
        .for_each(|&at| bench.send(&part(2, &bytes, at, 40)));
    assert_eq!(last_keys(&bench), taken(2));
}

#[test]
fn key_sets_that_are_turned_away() {
    let mut bench = Bench::blank();
    let refused = |key_set, reason, detail| Keys {
        key_set,
        reason,
        detail,
    };
    let too_few = give(&mut bench, &newer(), &ROOTS[..1]);
    assert_eq!(too_few, refused(1, Reason::KeySet, 0));
    let strangers = give(&mut bench, &newer(), &[ROOTS[0], STRANGER, RELEASE]);
    assert_eq!(strangers, refused(1, Reason::KeySet, 0));
    let same = give(&mut bench, &key_set(1, STRANGER, STRANGER), &ROOTS);
    assert_eq!(same, refused(1, Reason::KeySetOld, 1));
    assert_eq!(give(&mut bench, &newer(), &ROOTS), taken(2));
    let again = give(&mut bench, &newer(), &ROOTS);
    assert_eq!(again, refused(2, Reason::KeySetOld, 2));
    let older = give(&mut bench, &key_set(1, RELEASE, DIRECTOR), &ROOTS);
    assert_eq!(older, refused(2, Reason::KeySetOld, 2));
    let mut junk = signed_by(&key_set(3, RELEASE, DIRECTOR), &ROOTS);
    junk[40] ^= 1;
    bench.send(&part(3, &junk, 0, junk.len()));
    assert_eq!(last_keys(&bench), refused(2, Reason::KeySet, 0));
    bench.send(&Downlink::KeySetPart(KeySetPart {
        sequence: 3,
        total: 20,
        offset: 19,
        bytes: b"more than there is",
    }));
    assert_eq!(last_keys(&bench), refused(2, Reason::KeySet, 0));
    bench.boot();
    assert_eq!(hello_key_set(&bench), 2);
}

#[test]
fn what_is_confirmed_goes_on_when_its_key_is_taken_back() {
    let confirmed = Recipe::numbered(2).capsule();
    let mut bench = Bench::new(config(), blank_flash(Recipe::numbered(1).capsule()));
    bench.install(&confirmed);
    give(&mut bench, &newer(), &ROOTS);
    for _ in 0..3 {
        bench.boot();
        assert_eq!(bench.agent.model(), Some(model_of(&confirmed)));
    }
    // But only these very bytes: one bit of its signature, and the factory's runs.
    let mut flash = bench.agent.into_flash();
    let at = find(&flash, &confirmed)[0] + 150;
    flash = with_byte(flash, at, |byte| byte ^ 1);
    let bench = Bench::new(config(), flash);
    assert_eq!(
        bench.agent.model(),
        Some(model_of(&Recipe::numbered(1).capsule())),
        "the factory's is held to the firmware's own keys"
    );
    assert_eq!(bench.last_update().state, UpdateState::Reverted);
}

#[test]
fn a_trial_does_not_outlive_its_key() {
    let old = Recipe::numbered(1).capsule();
    let mut bench = Bench::new(config(), blank_flash(old.clone()));
    bench.offer(&Recipe::numbered(2).capsule());
    assert!(bench.agent.is_on_trial());
    give(&mut bench, &newer(), &ROOTS);
    assert_eq!(bench.agent.model(), Some(model_of(&old)));
    let reverted = bench.last_update();
    assert_eq!(
        (reverted.state, reverted.reason),
        (UpdateState::Reverted, Reason::Signature)
    );
}

#[test]
fn a_trial_is_checked_again_by_other_keys_and_goes_on_if_its_own_are_among_them() {
    let new = Recipe::numbered(2).capsule();
    let mut bench = Bench::new(config(), blank_flash(Recipe::numbered(1).capsule()));
    bench.offer(&new);
    let renumbered = key_set(2, RELEASE, DIRECTOR);
    assert_eq!(give(&mut bench, &renumbered, &ROOTS), taken(2));
    assert_eq!(
        bench.agent.counters().signatures,
        0,
        "they are the same keys"
    );
    let beside = KeySet {
        release: RoleKeys::two(
            signer(NEXT_RELEASE).verifying_key(),
            signer(RELEASE).verifying_key(),
        ),
        ..key_set(3, RELEASE, DIRECTOR)
    };
    assert_eq!(give(&mut bench, &beside, &ROOTS), taken(3));
    assert!(bench.agent.is_on_trial());
    assert_eq!(bench.agent.counters().signatures, 1);
    assert_eq!(bench.agent.model(), Some(model_of(&new)));
}

#[test]
fn a_trial_does_not_outlive_the_keys_of_its_firmware() {
    let old = Recipe::numbered(1).capsule();
    let firmware = |release, director| Config {
        keys: key_set(1, release, director),
        ..config()
    };
    for (release, director, reason) in [
        (NEXT_RELEASE, DIRECTOR, Reason::Signature),
        (RELEASE, NEXT_DIRECTOR, Reason::Statement),
    ] {
        let mut bench = Bench::new(firmware(RELEASE, DIRECTOR), blank_flash(Vec::new()));
        bench.install(&old);
        bench.offer(&Recipe::numbered(2).capsule());
        assert!(bench.agent.is_on_trial());
        let bench = Bench::new(firmware(release, director), bench.agent.into_flash());
        assert_eq!(bench.agent.model(), Some(model_of(&old)));
        assert_eq!(bench.last_update().reason, reason);
    }
}

#[test]
fn a_refusal_for_want_of_a_key_ends_with_the_key() {
    let mut bench = Bench::blank();
    let capsule = Recipe {
        signer: NEXT_RELEASE,
        ..Recipe::numbered(1)
    }
    .capsule();
    bench.offer(&capsule);
    assert_eq!(bench.last_update().reason, Reason::Signature);
    give(&mut bench, &newer(), &ROOTS);
    offer_anew(&mut bench, &capsule, 50);
    assert_eq!(bench.last_update().state, UpdateState::Installed);
}

#[test]
fn numbers_that_a_thief_ran_to_their_end_begin_anew_with_new_keys() {
    let mut bench = Bench::new(config(), blank_flash(Recipe::numbered(1).capsule()));
    let last = Recipe::numbered(u32::MAX).capsule();
    bench.offer_with(&last, &stated(&last, u32::MAX));
    bench.window([1.0, 0.0, 0.0, 0.0]);
    bench.window([1.0, 0.0, 0.0, 0.0]);
    assert_eq!(bench.last_update().state, UpdateState::Confirmed);
    let good = Recipe {
        signer: NEXT_RELEASE,
        ..Recipe::numbered(2)
    }
    .capsule();
    bench.offer(&good);
    assert_eq!(bench.last_update().reason, Reason::StatementOld);
    // While an old key is valid beside the new one, what it signed is still in the way.
    let beside = KeySet {
        release: RoleKeys::two(
            signer(NEXT_RELEASE).verifying_key(),
            signer(RELEASE).verifying_key(),
        ),
        ..key_set(2, RELEASE, NEXT_DIRECTOR)
    };
    give(&mut bench, &beside, &ROOTS);
    offer_anew(&mut bench, &good, 20);
    let refused = bench.last_update();
    assert_eq!(
        (refused.reason, refused.detail),
        (Reason::Rollback, u32::MAX)
    );
    let alone = KeySet {
        director: beside.director,
        ..key_set(3, STRANGER, NEXT_DIRECTOR)
    };
    give(&mut bench, &alone, &ROOTS);
    let good = Recipe {
        signer: STRANGER,
        ..Recipe::numbered(2)
    }
    .capsule();
    offer_anew(&mut bench, &good, 20);
    assert_eq!(
        bench.last_update().reason,
        Reason::StatementOld,
        "one director"
    );
    offer_anew(&mut bench, &good, 21);
    assert_eq!(bench.last_update().state, UpdateState::Installed);
    // Nor does the thief's own come back.
    bench.window([1.0, 0.0, 0.0, 0.0]);
    bench.window([1.0, 0.0, 0.0, 0.0]);
    bench.offer_with(&last, &stated(&last, u32::MAX));
    assert_eq!(bench.last_update().reason, Reason::Statement);
}

#[test]
fn a_lost_key_set_is_not_replaced_by_an_older_one() {
    let confirmed = Recipe::numbered(2).capsule();
    let mut bench = Bench::new(config(), blank_flash(Vec::new()));
    bench.install(&confirmed);
    let set = newer();
    give(&mut bench, &set, &ROOTS);
    let mut flash = bench.agent.into_flash();
    let copies = find(&flash, &signed_by(&set, &ROOTS)[..64]);
    assert_eq!(copies.len(), 2);
    let damage = |flash, at| with_byte(flash, at + 100, |byte| byte & byte.wrapping_sub(1));
    flash = damage(flash, copies[0]);
    let mut bench = Bench::new(config(), flash);
    assert_eq!(hello_key_set(&bench), 2, "the other copy stands");
    // The record of the boot has mended the first copy: once more, and then both.
    let mut flash = bench.agent.into_flash();
    let mended = find(&flash, &signed_by(&set, &ROOTS)[..64]);
    assert_eq!(mended, copies);
    flash = damage(damage(flash, copies[0]), copies[1]);
    bench = Bench::new(config(), flash);
    bench.downlink_sequence = 50;
    assert_eq!(
        hello_key_set(&bench),
        0,
        "so that the server sends it again"
    );
    assert_eq!(bench.agent.model(), Some(model_of(&confirmed)));
    bench.offer(&Recipe::numbered(3).capsule());
    assert_eq!(bench.last_update().reason, Reason::Statement);
    let older = give(&mut bench, &key_set(1, RELEASE, DIRECTOR), &ROOTS);
    assert_eq!((older.reason, older.detail), (Reason::KeySetOld, 2));
    assert_eq!(give(&mut bench, &set, &ROOTS), taken(2));
    bench.boot();
    assert_eq!(hello_key_set(&bench), 2);
}

#[test]
fn a_newer_firmware_brings_a_newer_key_set() {
    let mut bench = Bench::blank();
    give(&mut bench, &newer(), &ROOTS);
    let mut config = config();
    config.keys = key_set(5, NEXT_RELEASE, DIRECTOR);
    let mut bench = Bench::new(config, bench.agent.into_flash());
    assert_eq!(hello_key_set(&bench), 5);
    let older = give(&mut bench, &key_set(4, RELEASE, DIRECTOR), &ROOTS);
    assert_eq!(older.reason, Reason::KeySetOld);
}

#[test]
fn a_key_set_survives_a_power_cut_anywhere() {
    let confirmed = Recipe::numbered(2).capsule();
    let mut bench = Bench::new(config(), blank_flash(Recipe::numbered(1).capsule()));
    bench.install(&confirmed);
    give(&mut bench, &newer(), &ROOTS[..2]);
    let flash = bench.agent.into_flash();
    let newest = key_set(3, STRANGER, NEXT_DIRECTOR);
    let signed = signed_by(&newest, &ROOTS);
    let take = |flash: Flash| {
        let mut bench = Bench::new(config(), flash);
        let bytes = downlink(&part(3, &signed, 0, signed.len()), 1);
        bench.run(Event::Downlink(&bytes));
        // Boots write records behind it, until the copy turns again.
        (0..5).for_each(|_| bench.boot());
        bench
    };
    let first = flash.operations();
    let whole = take(flash.clone());
    assert_eq!(hello_key_set(&whole), 3);
    let last = whole.agent.into_flash().operations();
    assert!(last - first > 250, "only {} operations", last - first);
    for operation in first..last {
        let mut cut = flash.clone();
        cut.cut_power_at(operation, operation);
        let mut cut = take(cut).agent.into_flash();
        assert!(!cut.has_power(), "operation {operation} was reached");
        cut.restore_power();
        let mut bench = Bench::new(config(), cut);
        let holds = hello_key_set(&bench);
        assert!(holds == 2 || holds == 3, "operation {operation}: {holds}");
        assert_eq!(bench.agent.model(), Some(model_of(&confirmed)));
        if holds == 2 {
            assert_eq!(give(&mut bench, &newest, &ROOTS), taken(3));
        }
        bench.boot();
        assert_eq!(hello_key_set(&bench), 3, "operation {operation}");
    }
}

/// Where some bytes lie in the flash.
fn find(flash: &Flash, bytes: &[u8]) -> Vec<usize> {
    let places = flash.bytes().windows(bytes.len()).enumerate();
    let found = places.filter(|(_, part)| *part == bytes);
    found.map(|(at, _)| at).collect()
}

/// The same flash with one byte changed, as wear or an attacker with a probe would.
fn with_byte(flash: Flash, at: usize, change: impl Fn(u8) -> u8) -> Flash {
    use tinyops_device::flash::Flash as _;
    let mut bytes = flash.bytes().to_vec();
    bytes[at] = change(bytes[at]);
    Flash::new(bytes, flash.factory().to_vec())
}
