//! Ed25519 where implementations differ: every signature here is one that some of them accept.

use tinyops_wire::key::KeyError;
use tinyops_wire::{SigningKey, VerifyingKey};

/// Its lines tell what they are.
const VECTORS: &str = include_str!("../../../../testdata/golden/wire/signatures.txt");

/// Every encoding of a point whose order divides eight.
fn small_order() -> impl Iterator<Item = &'static str> {
    VECTORS
        .lines()
        .filter_map(|line| line.strip_prefix("small "))
}

#[test]
fn no_point_of_small_order_is_a_key() {
    for text in small_order() {
        let refused = VerifyingKey::from_bytes(&hex(text)).err();
        let is_refused = matches!(refused, Some(KeyError::Weak | KeyError::NotAPoint));
        assert!(is_refused, "{text}: {refused:?}");
    }
}

#[test]
fn no_second_encoding_is_a_key() {
    // y from the prime up, of either sign: those that are points and not of small order would be second names.
    let mut seen = 0;
    for low in 0xed..=0xff_u8 {
        for top in [0x7f, 0xff] {
            let mut bytes = [0xff; 32];
            (bytes[0], bytes[31]) = (low, top);
            match VerifyingKey::from_bytes(&bytes) {
                Err(KeyError::NotCanonical) => seen += 1,
                Err(_) => {}
                Ok(_) => panic!("{bytes:02x?} is a key"),
            }
        }
    }
    assert!(seen > 0, "some are points");
    let not_a_point = core::array::from_fn(|index| if index == 0 { 2 } else { 0 });
    assert_eq!(
        VerifyingKey::from_bytes(&not_a_point).err(),
        Some(KeyError::NotAPoint)
    );
}

#[test]
fn zeros_sign_nothing() {
    // An implementation that lets small orders pass takes this for a signature: a point of order four, S zero.
    let keys = VerifyingKey::from_bytes(&[0; 32]);
    assert_eq!(keys.err(), Some(KeyError::Weak));
    let key = SigningKey::from_seed(&[1; 32]).verifying_key();
    assert!(!key.verifies(&[0; 32], &[0; 64]));
}

#[test]
fn a_first_half_of_small_order_is_no_signature() {
    let signer = SigningKey::from_seed(&[1; 32]);
    let (message, key) = (b"message", signer.verifying_key());
    let good = signer.sign(message);
    assert!(key.verifies(message, &good));
    for text in small_order() {
        let mut signature = good;
        signature[..32].copy_from_slice(&hex::<32>(text));
        assert!(!key.verifies(message, &signature), "{text}");
        signature[32..].fill(0);
        assert!(!key.verifies(message, &signature), "{text}, S zero");
    }
}

#[test]
fn a_signature_cannot_be_turned_into_another() {
    // The group's order, least byte first: S + L is the same scalar (RFC 8032, section 8.4).
    let order: [u8; 32] = hex("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
    let signer = SigningKey::from_seed(&[1; 32]);
    let (message, key) = (b"message", signer.verifying_key());
    let mut signature = signer.sign(message);
    let mut carry = 0;
    for (byte, add) in signature[32..].iter_mut().zip(order) {
        let sum = u16::from(*byte) + u16::from(add) + carry;
        (*byte, carry) = (sum as u8, sum >> 8);
    }
    assert_eq!(carry, 0, "32 bytes hold it");
    assert!(!key.verifies(message, &signature));
}

#[test]
fn the_cases_on_which_implementations_differ() {
    let cases = VECTORS
        .lines()
        .filter_map(|line| line.strip_prefix("case "));
    let mut count = 0;
    for case in cases {
        let words: Vec<&str> = case.splitn(5, ' ').collect();
        let [message, key, signature, verdict, what] = words[..] else {
            panic!("{case}");
        };
        let is_accepted = VerifyingKey::from_bytes(&hex(key))
            .is_ok_and(|key| key.verifies(&hex::<32>(message), &hex(signature)));
        assert_eq!(is_accepted, verdict == "accepted", "{what}");
        count += 1;
    }
    assert_eq!(count, 12);
}

fn hex<const N: usize>(text: &str) -> [u8; N] {
    assert_eq!(text.len(), 2 * N);
    core::array::from_fn(|index| {
        u8::from_str_radix(&text[2 * index..2 * index + 2], 16).expect("hex digits")
    })
}
