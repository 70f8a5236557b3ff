//! Distances of features and of embeddings, sound ones and changed ones, with what the Rust runtime makes of each.

use crate::c99::records::{Kind, Record};
use crate::chance::Chance;
use tinyops_nn::distance::{Distance, encode_k_means, encode_mahalanobis};
use tinyops_nn::{EMBEDDING_LEN_MAX, EmbeddingDistance};

/// Features, and centres, of a distance at most.
const SIDE_MAX: usize = 9;
/// Windows of a sound one.
const CASES: usize = 4;

/// So many of either.
///
/// # Errors
/// What cannot be written as where embeddings lie.
pub(crate) fn records(count: usize) -> Result<Vec<Record>, String> {
    let mut chance = Chance(31);
    let mut all: Vec<Record> = (0..count)
        .map(|index| program(index, &mut chance))
        .collect();
    for index in 0..count {
        all.push(embedding(index, &mut chance)?);
    }
    Ok(all)
}

fn program(index: usize, chance: &mut Chance) -> Record {
    let feature_count = 1 + chance.below(SIDE_MAX);
    let mut bytes = Vec::new();
    let mut write = |part: &[u8]| bytes.extend_from_slice(part);
    if chance.below(2) == 0 {
        let centre_count = 1 + chance.below(SIDE_MAX);
        let centres = numbers(feature_count * centre_count, chance);
        encode_k_means(&centres, &numbers(centre_count, chance), &mut write);
    } else {
        let mean = numbers(feature_count, chance);
        let triangle = numbers(feature_count * (feature_count + 1) / 2, chance);
        encode_mahalanobis(&mean, &triangle, &mut write);
    }
    if index % 2 == 1 {
        change(&mut bytes, 16, chance);
    }
    let loaded = Distance::load(&bytes).ok();
    let count = loaded.as_ref().map_or(0, |_| CASES);
    let mut behind = (count as u32).to_le_bytes().to_vec();
    if let Some(distance) = &loaded {
        for _ in 0..count {
            let features = numbers(distance.feature_count(), chance);
            behind.extend(features.iter().flat_map(|number| number.to_le_bytes()));
            behind.extend(distance.score(&features).to_le_bytes());
        }
    }
    let verdict = u32::from(loaded.is_some());
    Record::of_bytes(
        format!("distance {index}"),
        Kind::Distance,
        bytes,
        behind,
        verdict,
    )
}

fn embedding(index: usize, chance: &mut Chance) -> Result<Record, String> {
    let len = 1 + chance.below(EMBEDDING_LEN_MAX);
    let class_count = 1 + chance.below(5);
    let means: Vec<f64> = (0..class_count * len)
        .map(|_| 254.0 * chance.uniform() - 127.0)
        .collect();
    // The greatest of a row decides its shift: rows of all sizes.
    let factor: Vec<f64> = (0..len)
        .flat_map(|row| {
            let size = f64::from(2_u32.pow(chance.below(8) as u32)) / 32.0;
            let mut weights: Vec<f64> = (row..len)
                .map(|_| size * (chance.uniform() - 0.5))
                .collect();
            weights[0] = size;
            weights
        })
        .collect();
    let offsets: Vec<f64> = (0..class_count).map(|_| 4.0 * chance.normal()).collect();
    let mut bytes = vec![0; EmbeddingDistance::encoded_len(class_count, len)];
    EmbeddingDistance::encode(&means, &factor, &offsets, &mut bytes)
        .map_err(|error| format!("embedding {index}: {error}"))?;
    if index % 2 == 1 {
        change(&mut bytes, 4, chance);
    }
    let decoded = EmbeddingDistance::decode(&bytes).ok();
    let count = decoded.as_ref().map_or(0, |_| CASES);
    let mut behind = (count as u32).to_le_bytes().to_vec();
    if let Some(distance) = &decoded {
        for _ in 0..count {
            // Now and then of another class or length than there is.
            let [is_beyond, is_longer] = [0; 2].map(|_: usize| usize::from(chance.below(8) == 0));
            let class = chance.below(distance.class_count() + is_beyond);
            let len = distance.embedding_len() + is_longer;
            let embedding: Vec<u8> = (0..len).map(|_| chance.next() as u8).collect();
            let octaves = distance.octaves(class, &embedding);
            behind.extend((class as u32).to_le_bytes());
            behind.extend((len as u32).to_le_bytes());
            behind.extend(&embedding);
            behind.resize(behind.len().next_multiple_of(4), 0);
            behind.extend(u32::from(octaves.is_some()).to_le_bytes());
            behind.extend(octaves.unwrap_or(0.0).to_le_bytes());
        }
    }
    let verdict = u32::from(decoded.is_some());
    Ok(Record::of_bytes(
        format!("embedding {index}"),
        Kind::Embedding,
        bytes,
        behind,
        verdict,
    ))
}

/// Mostly numbers as features have them, and now and then one of another kind.
fn numbers(count: usize, chance: &mut Chance) -> Vec<f32> {
    const ODD: [f32; 8] = [
        0.0,
        -0.0,
        f32::NAN,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::MIN_POSITIVE / 4.0,
        1e30,
        -3e38,
    ];
    (0..count)
        .map(|_| match chance.below(40) {
            0 => ODD[chance.below(ODD.len())],
            _ => chance.normal() as f32,
        })
        .collect()
}

/// One change, mostly within the header.
fn change(bytes: &mut Vec<u8>, header: usize, chance: &mut Chance) {
    let at = match chance.below(3) {
        0 => chance.below(bytes.len()),
        _ => chance.below(header),
    };
    match chance.below(6) {
        // A record of no bytes would end the file.
        0 => bytes.truncate(at.max(1)),
        1 => bytes.push(0),
        2 => bytes[at] ^= 1 << chance.below(8),
        3 => bytes[at] = bytes[at].wrapping_add(1),
        4 => bytes[at] = [0, 1, 2, 127, 128, 255][chance.below(6)],
        _ => bytes[at] = chance.next() as u8,
    }
}
