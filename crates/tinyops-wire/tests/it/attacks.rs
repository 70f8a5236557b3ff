//! Bytes that somebody made on purpose, each refused with its own reason.

use proptest::prelude::*;
use tinyops_wire::capsule::CapsuleError;
use tinyops_wire::envelope::{Direction, EnvelopeError};
use tinyops_wire::{Capsule, DeviceKey, Sealed, SigningKey};

use crate::samples;

#[test]
fn a_capsule_of_another_signer_is_refused() {
    let stranger = SigningKey::from_seed(&[9; 32]);
    let capsule = samples::capsule_signed_by(&stranger);
    check(&capsule, CapsuleError::Signature);
    let both = [
        samples::signing_key().verifying_key(),
        stranger.verifying_key(),
    ];
    assert!(
        Capsule::verify(&capsule, &both).is_ok(),
        "while one key replaces the other"
    );
    assert_eq!(
        Capsule::verify(&capsule, &[]).err(),
        Some(CapsuleError::Signature)
    );
}

#[test]
fn an_empty_signature_is_refused() {
    let mut capsule = samples::capsule();
    let at = capsule
        .windows(2)
        .position(|pair| pair == [0x58, 64])
        .expect("a signature")
        + 2;
    capsule[at..at + 64].fill(0);
    check(&capsule, CapsuleError::Signature);
}

#[test]
fn bytes_after_the_payload_are_refused() {
    let mut capsule = samples::capsule();
    capsule.push(0);
    check(&capsule, CapsuleError::Length);
}

#[test]
fn a_report_sent_back_is_not_a_command() {
    let up = samples::envelope(Direction::Up, b"frame");
    let sealed = Sealed::parse(&up).expect("an envelope");
    assert_eq!(
        sealed.open(&samples::KEY, Direction::Down),
        Err(EnvelopeError::Direction)
    );
    let other = DeviceKey([8; 32]);
    assert_eq!(sealed.open(&other, Direction::Up), Err(EnvelopeError::Tag));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_bit_of_a_capsule_can_be_changed(at in any::<prop::sample::Index>(), bit in 0..8_u8) {
        let mut capsule = samples::capsule();
        let at = at.index(capsule.len());
        capsule[at] ^= 1 << bit;
        let keys = [samples::signing_key().verifying_key()];
        prop_assert!(Capsule::verify(&capsule, &keys).is_err(), "bit {bit} of byte {at}");
    }

    #[test]
    fn a_capsule_cannot_be_cut_short(len in any::<prop::sample::Index>()) {
        let mut capsule = samples::capsule();
        capsule.truncate(len.index(capsule.len()));
        let keys = [samples::signing_key().verifying_key()];
        prop_assert!(Capsule::verify(&capsule, &keys).is_err());
    }

    #[test]
    fn no_bit_of_an_envelope_can_be_changed(at in any::<prop::sample::Index>(), bit in 0..8_u8) {
        let mut bytes = samples::envelope(Direction::Up, b"frame");
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let opened = Sealed::parse(&bytes).and_then(|sealed| sealed.open(&samples::KEY, Direction::Up));
        prop_assert!(opened.is_err(), "bit {bit} of byte {at}");
    }
}

#[track_caller]
fn check(capsule: &[u8], expected: CapsuleError) {
    let keys = [samples::signing_key().verifying_key()];
    assert_eq!(Capsule::verify(capsule, &keys).err(), Some(expected));
}
