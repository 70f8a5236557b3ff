//! Deltas: the model that runs becomes the next one, without all of it going over the air.

use tinyops_device::Event;
use tinyops_wire::delta::{HEADER_BYTES, Header, Mode};
use tinyops_wire::downlink::{What, When};
use tinyops_wire::frame::{Reason, Update, UpdateState};
use tinyops_wire::{Digest, Downlink, downlink};

use crate::fixture::{Bench, DIRECTOR, Recipe, blank_flash, config, model_of, signed, stated};

/// Writes the plain bits of a delta: spans that are copied, and spans that are not.
///
/// Deltas with weights that are coded come from `tinyops-compile`, whose tests hold the decoder to them.
struct Bits {
    low: u64,
    range: u32,
    out: Vec<u8>,
}

impl Bits {
    fn even(&mut self, bits: u32, count: u32) {
        let mut left = count;
        while left > 0 {
            let now = left.min(8);
            left -= now;
            self.range >>= now;
            let part = bits >> left & ((1 << now) - 1);
            self.low += u64::from(part) * u64::from(self.range);
            while self.range < 1 << 24 {
                self.range <<= 8;
                self.shift();
            }
        }
    }

    fn shift(&mut self) {
        if self.low >> 32 != 0 {
            // A carry runs back as far as bytes are full.
            for byte in self.out.iter_mut().rev() {
                *byte = byte.wrapping_add(1);
                if *byte != 0 {
                    break;
                }
            }
        }
        self.out.push((self.low >> 24) as u8);
        self.low = self.low << 8 & 0xffff_ffff;
    }

    fn number(&mut self, number: u32) {
        let length = 32 - number.leading_zeros();
        self.even(length, 5);
        if length > 1 {
            self.even(number & !(1 << (length - 1)), length - 1);
        }
    }

    fn span(&mut self, mode: Mode, bytes: &[u8]) {
        self.even((mode as u32) << 1, 3);
        self.number(bytes.len() as u32 - 1);
        if mode == Mode::Raw {
            bytes.iter().for_each(|&byte| self.even(u32::from(byte), 8));
        }
    }
}

/// What makes `new` out of `old`, from stretches of both at the same place.
pub(crate) fn delta(old: &[u8], new: &[u8]) -> Vec<u8> {
    let header = Header {
        base: Header::base_of(old),
        result: Digest::of(new).prefix(),
        bytes: new.len() as u32,
    };
    let mut bits = Bits {
        low: 0,
        range: u32::MAX,
        out: Vec::new(),
    };
    const STRETCH: usize = 8;
    let is_same = |index: usize| {
        let end = new.len().min((index + 1) * STRETCH);
        old.get(index * STRETCH..end) == Some(&new[index * STRETCH..end])
    };
    let mut index = 0;
    while index * STRETCH < new.len() {
        let same = is_same(index);
        let start = index * STRETCH;
        while index * STRETCH < new.len() && is_same(index) == same {
            index += 1;
        }
        let mode = if same { Mode::Skip } else { Mode::Raw };
        bits.span(mode, &new[start..new.len().min(index * STRETCH)]);
    }
    for _ in 0..4 {
        bits.shift();
    }
    let mut delta = header.to_bytes().to_vec();
    delta.extend(bits.out);
    delta
}

/// A device that runs `old` from a slot.
fn running(old: &[u8]) -> Bench {
    let mut bench = Bench::new(config(), blank_flash(Recipe::numbered(1).capsule()));
    bench.install(old);
    assert_eq!(bench.agent.model(), Some(model_of(old)));
    bench
}

fn old() -> Vec<u8> {
    Recipe {
        ballast: 64,
        ..Recipe::numbered(2)
    }
    .capsule()
}

fn new() -> Vec<u8> {
    Recipe {
        ballast: 128,
        turn: 1,
        ..Recipe::numbered(3)
    }
    .capsule()
}

/// Offers a delta that is to make `capsule`, and answers what the device says last.
pub(crate) fn offer_delta(bench: &mut Bench, delta: &[u8], capsule: &[u8], counter: u32) -> Update {
    bench.capsules.insert(Digest::of(delta), delta.to_vec());
    let statement = signed(&stated(capsule, counter), DIRECTOR);
    bench.send(&Downlink::Offer(downlink::Offer {
        what: What::Delta,
        digest: Digest::of(delta),
        bytes: delta.len() as u32,
        when: When::AtOnce,
        statement: Some(&statement),
    }));
    bench.last_update()
}

#[test]
fn a_delta_becomes_the_model_that_runs() {
    let (old, new) = (old(), new());
    let delta = delta(&old, &new);
    assert!(delta.len() < new.len(), "{}", delta.len());
    let mut bench = running(&old);
    assert_eq!(
        offer_delta(&mut bench, &delta, &new, 50).state,
        UpdateState::Installed
    );
    assert_eq!(bench.agent.model(), Some(model_of(&new)));
    bench.window([1.0, 0.0, 0.0, 0.0]);
    bench.window([1.0, 0.0, 0.0, 0.0]);
    assert!(!bench.agent.is_on_trial());
    bench.boot();
    assert_eq!(bench.agent.model(), Some(model_of(&new)));
    let again = offer_delta(&mut bench, &delta, &new, 60);
    assert_eq!(
        again.state,
        UpdateState::Confirmed,
        "and is not fetched again"
    );
    // From the other slot into the first.
    let newest = Recipe::numbered(4).capsule();
    let delta = self::delta(&new, &newest);
    offer_delta(&mut bench, &delta, &newest, 70);
    assert_eq!(bench.agent.model(), Some(model_of(&newest)));
}

#[test]
fn a_device_without_a_model_takes_a_packed_one() {
    let new = new();
    let mut bench = Bench::blank();
    offer_delta(&mut bench, &delta(&[], &new), &new, 50);
    assert_eq!(bench.agent.model(), Some(model_of(&new)));
}

#[test]
fn a_delta_comes_from_the_factorys_capsule_too() {
    let (factory, new) = (old(), new());
    let mut bench = Bench::new(config(), blank_flash(factory.clone()));
    offer_delta(&mut bench, &delta(&factory, &new), &new, 50);
    assert_eq!(bench.agent.model(), Some(model_of(&new)));
}

#[test]
fn a_delta_on_the_wrong_base_is_refused_and_the_whole_capsule_is_not() {
    let (old, new) = (old(), new());
    let other = Recipe {
        ballast: 64,
        turn: 2,
        ..Recipe::numbered(2)
    }
    .capsule();
    let mut bench = running(&old);
    let refused = offer_delta(&mut bench, &delta(&other, &new), &new, 50);
    assert_eq!(
        (refused.state, refused.reason),
        (UpdateState::Refused, Reason::DeltaBase)
    );
    assert_eq!(bench.agent.model(), Some(model_of(&old)));
    bench.offer_with(&new, &stated(&new, 60));
    assert_eq!(bench.agent.model(), Some(model_of(&new)));
}

#[test]
fn a_delta_that_is_not_sound_is_refused() {
    let (old, new) = (old(), new());
    let sound = delta(&old, &new);
    let mut results = Header::parse(&sound).expect("sound");
    results.result[0] ^= 1;
    let cases = [
        ("no delta", vec![0x55; 300]),
        ("cut short", sound[..sound.len() - 1].to_vec()),
        ("with bytes behind it", [&sound[..], &[0]].concat()),
        (
            "that makes something else",
            [&results.to_bytes(), &sound[HEADER_BYTES..]].concat(),
        ),
    ];
    for (what, delta) in cases {
        let mut bench = running(&old);
        let refused = offer_delta(&mut bench, &delta, &new, 50);
        assert_eq!(
            (refused.state, refused.reason),
            (UpdateState::Refused, Reason::Delta),
            "{what}"
        );
        bench.boot();
        assert_eq!(bench.agent.model(), Some(model_of(&old)), "{what}");
    }
}

#[test]
fn a_delta_whose_capsule_has_no_room_before_it_is_refused() {
    let old = old();
    let new = Recipe {
        ballast: 1700,
        ..Recipe::numbered(3)
    }
    .capsule();
    let factory = Recipe::numbered(1).capsule();
    let delta = delta(&factory, &new);
    let mut bench = Bench::new(config(), blank_flash(factory));
    let refused = offer_delta(&mut bench, &delta, &new, 50);
    assert_eq!(refused.reason, Reason::SlotTooSmall);
    assert_eq!(refused.detail as usize, new.len() + delta.len());
    bench.offer_with(&old, &stated(&old, 60));
    assert_eq!(bench.agent.model(), Some(model_of(&old)));
}

#[test]
fn what_a_delta_makes_is_checked_as_any_capsule() {
    let old = old();
    let refused = |capsule: Vec<u8>| {
        let mut bench = running(&old);
        let refused = offer_delta(&mut bench, &delta(&old, &capsule), &capsule, 50);
        assert_eq!(refused.state, UpdateState::Refused);
        bench.run(Event::Tick);
        assert_eq!(bench.agent.model(), Some(model_of(&old)));
        refused.reason
    };
    let stranger = Recipe {
        signer: crate::fixture::STRANGER,
        ..Recipe::numbered(3)
    };
    assert_eq!(refused(stranger.capsule()), Reason::Signature);
    let wrong = Recipe {
        golden_output: Some([0, 128, 129]),
        ..Recipe::numbered(3)
    };
    assert_eq!(refused(wrong.capsule()), Reason::Golden);
    assert_eq!(refused(Recipe::numbered(1).capsule()), Reason::Rollback);
}
