//! Capsules and signatures, sound ones and changed ones, with what `tinyops-wire` says of each.

use crate::c99::records::{Kind, Record};
use crate::chance::Chance;
use tinyops_wire::capsule::{self, Capsule, CapsuleError, HEAD_BYTES_MAX};
use tinyops_wire::manifest::ManifestError;
use tinyops_wire::payload::{self, PayloadError, SectionId};
use tinyops_wire::{Digest, Manifest, SigningKey, VerifyingKey};

/// Every encoding of a point whose order divides eight, canonical or not.
///
/// # Source
/// They follow from the curve's equation (RFC 8032, section 5.1).
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

/// So many capsules and so many signatures, the sound ones among them.
///
/// # Errors
/// When a capsule cannot be written.
pub(crate) fn records(capsules: usize, signatures: usize) -> Result<Vec<Record>, String> {
    let mut chance = Chance(7);
    let mut records = Vec::new();
    for index in 0..capsules {
        let (mut bytes, key) = drawn(&mut chance)?;
        for _ in 0..chance.below(3) {
            let at = chance.below(bytes.len().min(360));
            match chance.below(6) {
                0 => bytes.truncate(at.max(1)),
                1 => bytes[at] ^= 1 << chance.below(8),
                2 => bytes.push(0),
                _ => bytes[at] = chance.next() as u8,
            }
        }
        records.push(judged(format!("capsule {index}"), bytes, &key));
    }
    for index in 0..signatures {
        records.push(signature(index, &mut chance));
    }
    Ok(records)
}

/// A signed capsule, whose payload may be damaged.
fn drawn(chance: &mut Chance) -> Result<(Vec<u8>, VerifyingKey), String> {
    let mut seed = [0; 32];
    seed.fill_with(|| chance.next() as u8);
    let key = SigningKey::from_seed(&seed);
    let bytes = |chance: &mut Chance| -> Vec<u8> {
        (0..chance.below(70)).map(|_| chance.next() as u8).collect()
    };
    let (program, labels) = (bytes(chance), bytes(chance));
    let sections = [
        (SectionId::Program, &program[..]),
        (SectionId::Labels, &labels[..]),
    ];
    let mut payload = vec![0; 512];
    let len = payload::encode(&sections, &mut payload).map_err(|error| error.to_string())?;
    payload.truncate(len);
    let text = |chance: &mut Chance| {
        "sensor-\u{e4}\u{20ac}\u{1f980}-0123456789-abcdefgh"
            .chars()
            .take(chance.below(28))
            .collect::<String>()
    };
    let (board, name) = (text(chance), text(chance));
    let manifest = Manifest {
        sequence: chance.next() as u32 >> chance.below(32),
        board: &board,
        payload_digest: Digest::of(&payload),
        payload_bytes: payload.len() as u32,
        program_digest: Digest::of(&program),
        name: &name,
        version: chance.below(300) as u32,
    };
    let mut out = vec![0; payload.len() + HEAD_BYTES_MAX];
    let len =
        capsule::encode(&manifest, &payload, &key, &mut out).map_err(|error| error.to_string())?;
    out.truncate(len);
    Ok((out, key.verifying_key()))
}

fn judged(name: String, bytes: Vec<u8>, key: &VerifyingKey) -> Record {
    let verdict = match Capsule::verify(&bytes, &[*key]) {
        Ok(_) => 0,
        Err(error) => reason(&error),
    };
    Record::of_bytes(name, Kind::Capsule, bytes, key.to_bytes().to_vec(), verdict)
}

/// The number of a reason in `c/include/tinyops_capsule.h`.
fn reason(error: &CapsuleError) -> u32 {
    match error {
        CapsuleError::Magic => 1,
        CapsuleError::Length => 2,
        CapsuleError::Version { .. } => 3,
        CapsuleError::Cose => 4,
        CapsuleError::Manifest(ManifestError::Text) => 6,
        CapsuleError::Manifest(ManifestError::Version { .. }) => 7,
        CapsuleError::Manifest(_) => 5,
        CapsuleError::Signature => 8,
        CapsuleError::Digest => 9,
        CapsuleError::Payload(PayloadError::Magic) => 10,
        CapsuleError::Payload(PayloadError::Length) => 11,
        CapsuleError::Payload(PayloadError::Version { .. }) => 12,
        CapsuleError::Payload(PayloadError::Sections) => 13,
        CapsuleError::Payload(PayloadError::Crc { .. }) => 14,
        // A reason that the C runtime has no number for: it cannot be equal.
        _ => 255,
    }
}

/// A message, a key and a signature: a sound one, one changed in a bit, or points of small order.
fn signature(index: usize, chance: &mut Chance) -> Record {
    let mut seed = [0; 32];
    seed.fill_with(|| chance.next() as u8);
    let key = SigningKey::from_seed(&seed);
    let mut message: Vec<u8> = (0..=chance.below(300))
        .map(|_| chance.next() as u8)
        .collect();
    let mut public = key.verifying_key().to_bytes();
    let mut signature = key.sign(&message);
    let small = |chance: &mut Chance| point(SMALL_ORDER[chance.below(SMALL_ORDER.len())]);
    match chance.below(6) {
        0 => public[chance.below(32)] ^= 1 << chance.below(8),
        1 => signature[chance.below(64)] ^= 1 << chance.below(8),
        2 => message[0] ^= 1,
        3 => public = small(chance),
        4 => {
            signature[..32].copy_from_slice(&small(chance));
            if chance.below(2) == 0 {
                public = small(chance);
                signature[32..].fill(0);
            }
        }
        _ => {}
    }
    let is_accepted =
        VerifyingKey::from_bytes(&public).is_ok_and(|public| public.verifies(&message, &signature));
    let behind = [&public[..], &signature[..]].concat();
    let name = format!("signature {index}");
    Record::of_bytes(
        name,
        Kind::Signature,
        message,
        behind,
        u32::from(is_accepted),
    )
}

fn point(text: &str) -> [u8; 32] {
    let digit = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).expect("hex digits");
    std::array::from_fn(|index| digit(2 * index))
}
