//! Ed25519 where implementations differ: every signature here is one that some of them accept.
//!
//! The vectors of [`SPECCHECK`] are those of Chalkias, Garillot and Nikolaenko, 2020, "Taming the many EdDSAs",
//! section 5, and of the `cases.json` of their ed25519-speccheck; the encodings of small-order points follow from
//! the curve's equation (RFC 8032, section 5.1).

use tinyops_wire::key::KeyError;
use tinyops_wire::{SigningKey, VerifyingKey};

/// Every encoding of a point whose order divides eight: eight that are canonical, and six that are not (y not below
/// the field's prime, or the sign of an x that is zero).
const SMALL_ORDER: [&str; 14] = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    "0100000000000000000000000000000000000000000000000000000000000080",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
];

/// Message, key, signature, and what makes it a case.
const SPECCHECK: [(&str, &str, &str, &str); 12] = [
    (
        "8c93255d71dcab10e8f379c26200f3c7bd5f09d9bc3068d3ef4edeb4853022b6",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a0000000000000000000000000000000000000000000000000000000000000000",
        "key and R of small order, S zero",
    ),
    (
        "9bd9f44f4dcc75bd531b56b2cd280b0bb38fc1cd6d1230e14861d861de092e79",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        "f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43a5bb704786be79fc476f91d3f3f89b03984d8068dcf1bb7dfc6637b45450ac04",
        "key of small order",
    ),
    (
        "aebf3f2601a0c8c5d39cc7d8911642f740b78168218da8471772b35f9d35b9ab",
        "f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa8c4bd45aecaca5b24fb97bc10ac27ac8751a7dfe1baff8b953ec9f5833ca260e",
        "R of small order",
    ),
    (
        "9bd9f44f4dcc75bd531b56b2cd280b0bb38fc1cd6d1230e14861d861de092e79",
        "cdb267ce40c5cd45306fa5d2f29731459387dbf9eb933b7bd5aed9a765b88d4d",
        "9046a64750444938de19f227bb80485e92b83fdb4b6506c160484c016cc1852f87909e14428a7a1d62e9f22f3d3ad7802db02eb2e688b6c52fcd6648a98bd009",
        "key and R of mixed order, which fulfil the equation without cofactor",
    ),
    (
        "e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec4011eaccd55b53f56c",
        "cdb267ce40c5cd45306fa5d2f29731459387dbf9eb933b7bd5aed9a765b88d4d",
        "160a1cb0dc9c0258cd0a7d23e94d8fa878bcb1925f2c64246b2dee1796bed5125ec6bc982a269b723e0668e540911a9a6a58921d6925e434ab10aa7940551a09",
        "only with the cofactor",
    ),
    (
        "e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec4011eaccd55b53f56c",
        "cdb267ce40c5cd45306fa5d2f29731459387dbf9eb933b7bd5aed9a765b88d4d",
        "21122a84e0b5fca4052f5b1235c80a537878b38f3142356b2c2384ebad4668b7e40bc836dac0f71076f9abe3a53f9c03c1ceeeddb658d0030494ace586687405",
        "only with the cofactor, the hash not reduced before",
    ),
    (
        "85e241a07d148b41e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec40",
        "442aad9f089ad9e14647b1ef9099a1ff4798d78589e66f28eca69c11f582a623",
        "e96f66be976d82e60150baecff9906684aebb1ef181f67a7189ac78ea23b6c0e547f7690a0e2ddcd04d87dbc3490dc19b3b3052f7ff0538cb68afb369ba3a514",
        "S above the group's order",
    ),
    (
        "85e241a07d148b41e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec40",
        "442aad9f089ad9e14647b1ef9099a1ff4798d78589e66f28eca69c11f582a623",
        "8ce5b96c8f26d0ab6c47958c9e68b937104cd36e13c33566acd2fe8d38aa19427e71f98a473474f2f13f06f97c20d58cc3f54b8bd0d272f42b695dd7e89a8c22",
        "S far above the group's order, so that a look at its top bits is not enough",
    ),
    (
        "9bedc267423725d473888631ebf45988bad3db83851ee85c85e241a07d148b41",
        "f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff03be9678ac102edcd92b0210bb34d7428d12ffc5df5f37e359941266a4e35f0f",
        "R not canonical, hashed as it is",
    ),
    (
        "9bedc267423725d473888631ebf45988bad3db83851ee85c85e241a07d148b41",
        "f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffca8c5b64cd208982aa38d4936621a4775aa233aa0505711d8fdcfdaa943d4908",
        "R not canonical, hashed as it should be",
    ),
    (
        "e96b7021eb39c1a163b6da4e3093dcd3f21387da4cc4572be588fafae23c155b",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "a9d55260f765261eb9b84e106f665e00b867287a761990d7135963ee0a7d59dca5bb704786be79fc476f91d3f3f89b03984d8068dcf1bb7dfc6637b45450ac04",
        "key not canonical, hashed as it is",
    ),
    (
        "39a591f5321bbe07fd5a23dc2f39d025d74526615746727ceefd6e82ae65c06f",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "a9d55260f765261eb9b84e106f665e00b867287a761990d7135963ee0a7d59dca5bb704786be79fc476f91d3f3f89b03984d8068dcf1bb7dfc6637b45450ac04",
        "key not canonical, hashed as it should be",
    ),
];

/// The one of [`SPECCHECK`] that RFC 8032 without cofactor accepts: nobody but the holder of the key makes it.
const MIXED_ORDER: usize = 3;

#[test]
fn no_point_of_small_order_is_a_key() {
    for text in SMALL_ORDER {
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
    for text in SMALL_ORDER {
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
    for (index, (message, key, signature, what)) in SPECCHECK.into_iter().enumerate() {
        let is_accepted = VerifyingKey::from_bytes(&hex(key))
            .is_ok_and(|key| key.verifies(&hex::<32>(message), &hex(signature)));
        assert_eq!(is_accepted, index == MIXED_ORDER, "case {index}: {what}");
    }
}

fn hex<const N: usize>(text: &str) -> [u8; N] {
    assert_eq!(text.len(), 2 * N);
    core::array::from_fn(|index| {
        u8::from_str_radix(&text[2 * index..2 * index + 2], 16).expect("hex digits")
    })
}
