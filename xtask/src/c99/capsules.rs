//! Capsules and signatures, sound ones and changed ones, with what `tinyops-wire` says of each.

use crate::c99::records::{Kind, Record};
use crate::chance::Chance;
use tinyops_wire::capsule::{self, Capsule, CapsuleError, HEAD_BYTES_MAX};
use tinyops_wire::crc::crc32;
use tinyops_wire::manifest::{MANIFEST_BYTES_MAX, ManifestError};
use tinyops_wire::payload::{self, PayloadError, SectionId};
use tinyops_wire::{Digest, Manifest, SigningKey, VerifyingKey};

/// Signatures on which implementations differ; its lines tell what they are.
const VECTORS: &str = include_str!("../../../testdata/golden/wire/signatures.txt");
/// The order of Ed25519's group, least byte first: S + L is the same scalar (RFC 8032, section 8.4).
const ORDER: &str = "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010";

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
    for index in 0..capsules {
        let key = key(&mut chance);
        let payload = hostile_payload(&mut chance)?;
        let bytes = sealed(&payload, &key)?;
        records.push(judged(
            format!("payload {index}"),
            bytes,
            &key.verifying_key(),
        ));
    }
    for index in 0..signatures {
        records.push(signature(index, &mut chance));
    }
    for case in VECTORS
        .lines()
        .filter_map(|line| line.strip_prefix("case "))
    {
        let words: Vec<&str> = case.splitn(5, ' ').collect();
        let [message, public, signature, _, what] = words[..] else {
            return Err(format!("signatures.txt: {case}"));
        };
        records.push(verified(
            what.to_owned(),
            hex::<32>(message).to_vec(),
            hex(public),
            hex(signature),
        ));
    }
    Ok(records)
}

/// A plan in a signed capsule, as a record that boots.
///
/// # Errors
/// When the capsule cannot be written.
pub(crate) fn of_plan(plan: &[u8]) -> Result<Record, String> {
    let key = key(&mut Chance(11));
    let mut payload = vec![0; plan.len() + 64];
    let sections = [(SectionId::Program, plan)];
    let len = payload::encode(&sections, &mut payload).map_err(|error| error.to_string())?;
    payload.truncate(len);
    let capsule = sealed(&payload, &key)?;
    Ok(judged("a boot".to_owned(), capsule, &key.verifying_key()))
}

fn key(chance: &mut Chance) -> SigningKey {
    SigningKey::from_seed(&std::array::from_fn(|_| chance.next() as u8))
}

/// A payload with a few changes in its header and its table, most of them with the checksums that then belong there, so that
/// what comes after a checksum is reached.
fn hostile_payload(chance: &mut Chance) -> Result<Vec<u8>, String> {
    let parts: Vec<Vec<u8>> = (0..chance.below(5))
        .map(|_| (0..chance.below(40)).map(|_| chance.next() as u8).collect())
        .collect();
    let ids = [
        SectionId::Program,
        SectionId::FrontEnd,
        SectionId::Labels,
        SectionId::Golden,
        SectionId::Embedding,
    ];
    let sections: Vec<(SectionId, &[u8])> = ids
        .into_iter()
        .zip(parts.iter().map(Vec::as_slice))
        .collect();
    let mut payload = vec![0; 1024];
    let len = payload::encode(&sections, &mut payload).map_err(|error| error.to_string())?;
    payload.truncate(len);
    let table = 8 + 16 * parts.len();
    for _ in 0..chance.below(3) {
        let at = chance.below(payload.len().min(table));
        match chance.below(8) {
            0 => payload.truncate(at),
            1 => payload.push(0),
            2 => payload[at] ^= 1 << chance.below(8),
            3 => payload[at] = chance.next() as u8,
            // A number of the table: an id, zero, an offset, a length or a checksum.
            _ => {
                let number = [0, 1, 2, 16, 17, 32, 64, 255, u16::MAX][chance.below(9)];
                let bytes = u16::to_le_bytes(number);
                for (place, byte) in payload.iter_mut().skip(at & !1).zip(bytes) {
                    *place = byte;
                }
            }
        }
        if payload.is_empty() {
            break;
        }
    }
    if chance.below(4) > 0 {
        correct_checksums(&mut payload);
    }
    Ok(payload)
}

/// Writes into each entry of the table the checksum of the bytes that it names, where they are there.
fn correct_checksums(payload: &mut [u8]) {
    let word = |payload: &[u8], at: usize| {
        let bytes = payload.get(at..at + 4)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?) as usize)
    };
    for entry in 0..16 {
        let at = 8 + 16 * entry;
        let (Some(start), Some(len)) = (word(payload, at + 4), word(payload, at + 8)) else {
            return;
        };
        let Some(section) = payload.get(start..start.saturating_add(len)) else {
            continue;
        };
        let crc = crc32(section).to_le_bytes();
        if let Some(place) = payload.get_mut(at + 12..at + 16) {
            place.copy_from_slice(&crc);
        }
    }
}

/// A capsule around a payload that may be anything: [`capsule::encode`] refuses what is not sound, a signer need not.
fn sealed(payload: &[u8], key: &SigningKey) -> Result<Vec<u8>, String> {
    let manifest = Manifest {
        sequence: 7,
        board: "board",
        payload_digest: Digest::of(payload),
        payload_bytes: payload.len() as u32,
        program_digest: Digest::of(b""),
        name: "name",
        version: 1,
    };
    let mut claims = [0; MANIFEST_BYTES_MAX];
    let len = manifest
        .encode(&mut claims)
        .map_err(|error| error.to_string())?;
    // The heads of byte strings of 24 to 255 bytes, which a manifest with two digests has.
    let claims = [&[0x58, len as u8][..], &claims[..len]].concat();
    let header = [0x43, 0xa1, 0x01, 0x27];
    let message = [&[0x84, 0x6a][..], b"Signature1", &header, &[0x40], &claims].concat();
    let signature = key.sign(&message);
    let cose = [
        &[0xd2, 0x84][..],
        &header,
        &[0xa0],
        &claims,
        &[0x58, 0x40],
        &signature,
    ]
    .concat();
    let mut bytes = [
        b"TOPC",
        &[1, 1][..],
        &(cose.len() as u16).to_le_bytes(),
        &cose,
    ]
    .concat();
    bytes.resize(bytes.len().next_multiple_of(16), 0);
    bytes.extend(payload);
    Ok(bytes)
}

/// A signed capsule, whose payload may be damaged.
fn drawn(chance: &mut Chance) -> Result<(Vec<u8>, VerifyingKey), String> {
    let key = key(chance);
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
    let key = key(chance);
    let mut message: Vec<u8> = (0..=chance.below(300))
        .map(|_| chance.next() as u8)
        .collect();
    let mut public = key.verifying_key().to_bytes();
    let mut signature = key.sign(&message);
    let small: Vec<&str> = VECTORS
        .lines()
        .filter_map(|line| line.strip_prefix("small "))
        .collect();
    let small = |chance: &mut Chance| hex(small[chance.below(small.len())]);
    match chance.below(7) {
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
        5 => add_order(&mut signature[32..]),
        _ => {}
    }
    verified(format!("signature {index}"), message, public, signature)
}

/// Adds the group's order to a scalar, whose meaning stays.
fn add_order(scalar: &mut [u8]) {
    let mut carry = 0;
    for (byte, add) in scalar.iter_mut().zip(hex::<32>(ORDER)) {
        let sum = u16::from(*byte) + u16::from(add) + carry;
        (*byte, carry) = (sum as u8, sum >> 8);
    }
}

fn verified(name: String, message: Vec<u8>, public: [u8; 32], signature: [u8; 64]) -> Record {
    let is_accepted =
        VerifyingKey::from_bytes(&public).is_ok_and(|public| public.verifies(&message, &signature));
    let behind = [&public[..], &signature[..]].concat();
    Record::of_bytes(
        name,
        Kind::Signature,
        message,
        behind,
        u32::from(is_accepted),
    )
}

fn hex<const N: usize>(text: &str) -> [u8; N] {
    let digit = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).expect("hex digits");
    std::array::from_fn(|index| digit(2 * index))
}
