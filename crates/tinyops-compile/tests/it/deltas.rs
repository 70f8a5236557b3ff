//! Deltas: what they make, how large they are, and what is refused.

use std::path::Path;

use proptest::prelude::*;
use tinyops_compile::{DELTA_EXCESS_MAX, Update, compile, delta, payload};
use tinyops_model::{Body, Data, Graph, Model, OpKind, Task};
use tinyops_wire::capsule::{self, HEAD_BYTES_MAX};
use tinyops_wire::delta::{Decoder, DeltaError, HEADER_BYTES, Header, apply};
use tinyops_wire::{Capsule, Digest, Manifest, SigningKey};

use crate::networks::{Random, classifier, model, network};

/// Makes `new` from the delta in pieces of so many bytes.
fn in_pieces(delta: &[u8], old: &[u8], piece: usize) -> Result<Vec<u8>, DeltaError> {
    let mut decoder = Decoder::IDLE;
    decoder.begin(delta, Header::base_of(old))?;
    let mut new = Vec::new();
    loop {
        let mut out = vec![0; piece];
        let made = decoder.fill(delta, old, &mut out)?;
        new.extend(&out[..made]);
        if made < piece {
            return Ok(new);
        }
    }
}

#[track_caller]
fn assert_makes(old: &[u8], new: &[u8]) -> Vec<u8> {
    let written = delta(old, new).expect("small images");
    assert!(
        written.len() <= new.len() + DELTA_EXCESS_MAX,
        "{} bytes for {}",
        written.len(),
        new.len()
    );
    let mut out = vec![0; new.len()];
    assert_eq!(apply(&written, old, &mut out), Ok(new.len()));
    assert!(out == new, "the delta makes other bytes");
    for piece in [1, 7, 64] {
        assert!(in_pieces(&written, old, piece).as_deref() == Ok(new));
    }
    written
}

fn payload_of(model: &Model) -> Vec<u8> {
    payload(model, &compile(model).expect("compiles"), &[]).expect("writes")
}

/// The graph with some of its weights and biases moved by up to so much.
fn moved(graph: &Graph, random: &mut Random, most: u64) -> Graph {
    let mut moved = graph.clone();
    let by = |random: &mut Random| random.below(2 * most + 1) as i32 - most as i32;
    for tensor in &mut moved.tensors {
        match &mut tensor.data {
            Some(Data::Int8(values)) => values
                .iter_mut()
                .for_each(|value| *value = (i32::from(*value) + by(random)).clamp(-127, 127) as i8),
            Some(Data::Int32(values)) => {
                values.iter_mut().for_each(|value| *value += by(random));
            }
            _ => {}
        }
    }
    moved
}

#[test]
fn a_fine_tuned_model_costs_a_part_of_itself() {
    let graph = classifier();
    let old = payload_of(&model(Body::Network(graph.clone()), Task::Classify));
    let new = moved(&graph, &mut Random::new(1), 1);
    let new = payload_of(&model(Body::Network(new), Task::Classify));
    let (changed, fresh) = (assert_makes(&old, &new), assert_makes(&[], &new));
    assert!(changed.len() < fresh.len() && fresh.len() < new.len());
    // Nothing changed: header, one span, what the coder holds back.
    assert!(assert_makes(&new, &new).len() <= HEADER_BYTES + 4 + 3);
}

#[test]
fn random_networks_come_through_whatever_changes() {
    for seed in 0..60 {
        let random = &mut Random::new(seed);
        let (graph, other) = (network(seed), network(seed + 1));
        let task = |graph| tinyops_compile::model_of("network", graph);
        let Ok(old) = task(graph.clone()) else {
            continue;
        };
        let old = payload_of(&old);
        let most = 1 + random.below(250);
        for graph in [moved(&graph, random, most), other] {
            if let Ok(new) = task(graph) {
                assert_makes(&old, &payload_of(&new));
            }
        }
    }
}

#[test]
fn a_bias_follows_from_the_weights_before_it() {
    // A zero point other than 0 is folded into biases: where weights move, biases do, and by how much is known.
    let graph = classifier();
    let is_filter = |graph: &Graph, index: u32| {
        graph.ops.iter().any(|op| {
            matches!(op.kind, OpKind::Conv2d(_) | OpKind::Dense(_)) && op.inputs[1].0 == index
        })
    };
    let mut new = graph.clone();
    let random = &mut Random::new(3);
    for index in 0..new.tensors.len() {
        if is_filter(&graph, index as u32)
            && let Some(Data::Int8(values)) = &mut new.tensors[index].data
        {
            values
                .iter_mut()
                .for_each(|value| *value = value.saturating_add(random.below(3) as i8 - 1));
        }
    }
    let [old, new] = [graph, new].map(|graph| {
        let model = model(Body::Network(graph), Task::Classify);
        compile(&model).expect("compiles").program
    });
    assert_ne!(old, new);
    assert_makes(&old, &new);
}

/// A capsule that a release key has signed.
fn signed(payload: &[u8], sequence: u32) -> Vec<u8> {
    let manifest = Manifest {
        sequence,
        board: "nano33ble",
        payload_digest: Digest([0; 32]),
        payload_bytes: 0,
        program_digest: Digest::of(payload),
        name: "fan",
        version: sequence,
    };
    let mut bytes = vec![0; payload.len() + HEAD_BYTES_MAX];
    let len = capsule::encode(&manifest, payload, &release_key(), &mut bytes).expect("a capsule");
    bytes.truncate(len);
    bytes
}

fn release_key() -> SigningKey {
    SigningKey::from_seed(&[7; 32])
}

#[test]
fn a_signed_capsule_comes_whole_from_another() {
    let graph = classifier();
    let payload = |graph| payload_of(&model(Body::Network(graph), Task::Classify));
    let old = signed(&payload(graph.clone()), 1);
    let new = signed(&payload(moved(&graph, &mut Random::new(5), 1)), 2);
    let delta = assert_makes(&old, &new);
    let mut out = vec![0; new.len()];
    apply(&delta, &old, &mut out).expect("the new capsule");
    let capsule = Capsule::verify(&out, &[release_key().verifying_key()]);
    let capsule = capsule.expect("the release key's");
    assert_eq!(capsule.manifest.sequence, 2);
}

/// What an update takes is known before it is signed, to within a few bytes, and is not told too small.
#[test]
fn the_size_of_an_update_is_known_before_it_is_signed() {
    let graph = classifier();
    let old = payload_of(&model(Body::Network(graph.clone()), Task::Classify));
    for seed in 0..20 {
        let new = moved(&graph, &mut Random::new(seed), 1 + seed % 3);
        let new = payload_of(&model(Body::Network(new), Task::Classify));
        let update = Update {
            name: "fan",
            board: "nano33ble",
            old: &old,
            new: &new,
        };
        let told = update.bytes().expect("two payloads");
        for sequence in [2, 30, 400] {
            let sent = assert_makes(&signed(&old, sequence - 1), &signed(&new, sequence));
            let excess = told as i64 - sent.len() as i64;
            assert!(
                (0..=8).contains(&excess),
                "{told} told, {} sent",
                sent.len()
            );
        }
    }
    let update = Update {
        name: "fan",
        board: "nano33ble",
        old: b"no payload",
        new: &old,
    };
    update.bytes().expect_err("no payload");
}

#[test]
fn every_damage_has_its_reason() {
    let graph = classifier();
    let old = payload_of(&model(Body::Network(graph.clone()), Task::Classify));
    let new = moved(&graph, &mut Random::new(2), 2);
    let new = payload_of(&model(Body::Network(new), Task::Classify));
    let delta = assert_makes(&old, &new);
    let mut out = vec![0; new.len()];

    let mut other = old.clone();
    other[0] ^= 1;
    assert_eq!(apply(&delta, &other, &mut out), Err(DeltaError::Base));
    assert_eq!(apply(&delta, &[], &mut out), Err(DeltaError::Base));
    assert_eq!(apply(&delta, &new, &mut out), Err(DeltaError::Base));
    let needed = new.len() as u32;
    let room = out.len() - 1;
    assert_eq!(
        apply(&delta, &old, &mut out[..room]),
        Err(DeltaError::Room { needed })
    );
    let capsule = [b"TOPC", &delta[4..]].concat();
    assert_eq!(apply(&capsule, &old, &mut out), Err(DeltaError::Magic));
    for found in [1, 3] {
        let other = [&b"TOPD"[..], &[found], &delta[5..]].concat();
        let error = apply(&other, &old, &mut out);
        assert_eq!(error, Err(DeltaError::Version { found }));
    }
    for end in 0..delta.len() {
        let error = apply(&delta[..end], &old, &mut out);
        assert_eq!(error, Err(DeltaError::Truncated), "{end} bytes");
    }
    let longer = [&delta[..], &[0]].concat();
    assert_eq!(apply(&longer, &old, &mut out), Err(DeltaError::Trailing));
    for bit in 0..8 * delta.len() {
        let mut flipped = delta.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let error = apply(&flipped, &old, &mut out);
        assert!(error.is_err(), "bit {bit} makes no difference");
    }
}

/// Deltas of version 2 as they were written once: `name old delta new`, in hexadecimal digits.
///
/// `TINYOPS_BLESS=1 cargo test -p tinyops-compile` writes the file anew, for a new version of the format.
#[test]
fn deltas_of_version_2_are_read_for_ever() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/golden/wire/deltas.txt");
    if std::env::var_os("TINYOPS_BLESS").is_some() {
        std::fs::write(&path, golden_deltas()).expect("a file");
    }
    let text = std::fs::read_to_string(&path).expect("the golden file is in the repository");
    assert_eq!(text.lines().count(), 6);
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [name, old, delta, new] = words[..] else {
            panic!("four words: {line}");
        };
        let [old, delta, new] = [old, delta, new].map(bytes_of);
        let mut out = vec![0; new.len()];
        assert_eq!(apply(&delta, &old, &mut out), Ok(new.len()), "{name}");
        assert!(out == new, "{name}");
    }
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).expect("a digit") as u8;
    let pairs = hex.as_bytes().as_chunks().0.iter();
    pairs.map(|[a, b]| digit(a) << 4 | digit(b)).collect()
}

fn golden_deltas() -> String {
    let graph = classifier();
    let random = &mut Random::new(11);
    let [small, large, far] = [1, 90, 250].map(|most| moved(&graph, random, most));
    let [old, small, large, far] = [graph, small, large, far]
        .map(|graph| payload_of(&model(Body::Network(graph), Task::Classify)));
    let mut grown = old.clone();
    grown.splice(300..300, (0..90_u8).map(|index| index.wrapping_mul(7)));
    let cases = [
        ("fresh", &[][..], &old),
        ("same", &old, &old),
        ("small", &old, &small),
        ("large", &old, &large),
        ("grown", &old, &grown),
        ("far", &old, &far),
    ];
    let hex = |bytes: &[u8]| {
        let digits = bytes.iter().map(|byte| format!("{byte:02x}"));
        digits.collect::<String>()
    };
    let line = |(name, old, new): (&str, &[u8], &Vec<u8>)| {
        let delta = delta(old, new).expect("small images");
        format!("{name} {} {} {}\n", hex(old), hex(&delta), hex(new))
    };
    cases.into_iter().map(line).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn any_bytes_come_from_any_bytes(
        old in prop::collection::vec(any::<u8>(), 0..400),
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0..4_u8, any::<u8>(), 1..40_usize), 0..12),
    ) {
        let mut new = old.clone();
        for (at, what, byte, count) in edits {
            let at = at.index(new.len() + 1);
            let end = new.len().min(at + count);
            match what {
                0 => { new.splice(at..end, std::iter::repeat_n(byte, count)); }
                1 => { new.drain(at..end); }
                2 => { new.splice(at..at, std::iter::repeat_n(byte, count)); }
                _ => new[at..end].iter_mut().for_each(|b| *b = b.wrapping_add(byte)),
            }
        }
        assert_makes(&old, &new);
        assert_makes(&[], &new);
    }

    #[test]
    fn noise_comes_through_at_its_own_size(new in prop::collection::vec(any::<u8>(), 0..3000)) {
        assert_makes(&[], &new);
    }

    #[test]
    fn hostile_deltas_are_answered(
        coded in prop::collection::vec(any::<u8>(), 0..200),
        base in prop::collection::vec(any::<u8>(), 0..100),
        bytes in 0..5000_u32,
    ) {
        let header = Header { base: Header::base_of(&base), result: [0; 8], bytes };
        let delta = [&header.to_bytes()[..], &coded].concat();
        let _ = in_pieces(&delta, &base, 16);
        let mut out = vec![0; bytes as usize];
        prop_assert!(apply(&delta, &base, &mut out).is_err());
    }
}
