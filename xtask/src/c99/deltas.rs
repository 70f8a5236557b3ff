//! Deltas, sound ones and changed ones, with what `tinyops-wire` makes of each.

use crate::c99::records::{Kind, Record};
use crate::chance::Chance;
use crate::steps::root;
use tinyops_wire::delta::{Decoder, DeltaError, HEADER_BYTES, Header, apply};

/// The golden deltas, as many of drawn images, and changed ones: so many in all.
///
/// # Errors
/// When the golden file cannot be read, or an image has no delta.
pub(crate) fn records(count: usize) -> Result<Vec<Record>, String> {
    let mut chance = Chance(5);
    let (mut records, mut images, mut deltas) = (Vec::new(), Vec::new(), Vec::new());
    let path = root().join("testdata/golden/wire/deltas.txt");
    let text =
        std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [name, old, delta, new] = words[..] else {
            return Err(format!("deltas.txt: {name}", name = words[0]));
        };
        images.push(bytes_of(new));
        deltas.push((format!("golden {name}"), bytes_of(old), bytes_of(delta)));
    }
    for index in 0..count / 20 {
        let old = match chance.below(6) {
            0 => Vec::new(),
            1 => (0..chance.below(600))
                .map(|_| chance.next() as u8)
                .collect(),
            _ => images[chance.below(images.len())].clone(),
        };
        let new = match chance.below(8) {
            0 => Vec::new(),
            _ => moved(&images[chance.below(images.len())], &mut chance),
        };
        let delta = tinyops_compile::delta(&old, &new).map_err(|error| error.to_string())?;
        deltas.push((format!("delta {index}"), old, delta));
    }
    for (name, old, delta) in &deltas {
        records.push(record(name.clone(), old, delta.clone(), &mut chance));
    }
    while records.len() < count {
        let (name, old, delta) = &deltas[chance.below(deltas.len())];
        let mut changed = delta.clone();
        for _ in 0..=chance.below(2) {
            change(&mut changed, &mut chance);
        }
        let name = format!("change {} of {name}", records.len());
        records.push(record(name, old, changed, &mut chance));
    }
    Ok(records)
}

/// An image some of whose bytes are a little more or less, with bytes put in or taken out.
fn moved(image: &[u8], chance: &mut Chance) -> Vec<u8> {
    let mut image = image.to_vec();
    let (seldom, most) = (1 + chance.below(30), 1 + chance.below(120));
    for byte in &mut image {
        if chance.below(seldom) == 0 {
            *byte = byte
                .wrapping_add(chance.below(2 * most) as u8)
                .wrapping_sub(most as u8);
        }
    }
    let at = chance.below(image.len());
    match chance.below(4) {
        0 => drop(image.splice(at..at, (0..chance.below(90)).map(|byte| byte as u8))),
        1 => drop(image.drain(at..(at + chance.below(90)).min(image.len()))),
        _ => {}
    }
    image
}

/// The header is changed less often than what comes after it, for a change there is found at once.
fn change(delta: &mut Vec<u8>, chance: &mut Chance) {
    let first = if chance.below(8) == 0 {
        0
    } else {
        HEADER_BYTES.min(delta.len() - 1)
    };
    let at = first + chance.below(delta.len() - first);
    match chance.below(6) {
        0 => delta.truncate(at.max(1)),
        1 => delta.push(chance.next() as u8),
        2 => delta[at] ^= 1 << chance.below(8),
        3 => delta[at] = [0, 255][chance.below(2)],
        _ => delta[at] = chance.next() as u8,
    }
}

fn record(name: String, old: &[u8], delta: Vec<u8>, chance: &mut Chance) -> Record {
    let mut image = vec![0; 2_000];
    let (verdict, made) = match apply(&delta, old, &mut image) {
        Ok(made) => (0, made),
        Err(error) => (reason(error), 0),
    };
    let piece = 1 + chance.below(70);
    let words = [old.len(), made, image.len(), piece].map(|word| word as u32);
    let mut behind: Vec<u8> = words
        .into_iter()
        .chain([in_pieces(&delta, old, image.len(), piece)])
        .flat_map(u32::to_le_bytes)
        .collect();
    behind.extend(old);
    behind.extend(&image[..made]);
    Record::of_bytes(name, Kind::Delta, delta, behind, verdict)
}

/// What a device that makes the image in pieces is told: at least one is asked for, also of an image of no bytes.
fn in_pieces(delta: &[u8], old: &[u8], room: usize, piece: usize) -> u32 {
    let mut decoder = Decoder::IDLE;
    let header = match decoder.begin(delta, Header::base_of(old)) {
        Ok(header) => header,
        Err(error) => return reason(error),
    };
    let needed = header.bytes;
    if needed as usize > room {
        return reason(DeltaError::Room { needed });
    }
    loop {
        if let Err(error) = decoder.fill(delta, old, &mut vec![0; piece]) {
            return reason(error);
        }
        if decoder.made() >= needed {
            return 0;
        }
    }
}

/// The number of a reason in `c/include/tinyops_delta.h`.
fn reason(error: DeltaError) -> u32 {
    match error {
        DeltaError::Base => 1,
        DeltaError::Damaged => 2,
        DeltaError::Magic => 3,
        DeltaError::Result => 4,
        DeltaError::Room { .. } => 5,
        DeltaError::Span { .. } => 6,
        DeltaError::Trailing => 7,
        DeltaError::Truncated => 8,
        DeltaError::Version { .. } => 9,
        // A reason that the C runtime has no number for: it cannot be equal.
        _ => 255,
    }
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let pairs = hex.as_bytes().as_chunks::<2>().0.iter();
    let digit = |byte: u8| char::from(byte).to_digit(16).unwrap_or(0) as u8;
    pairs.map(|&[a, b]| digit(a) << 4 | digit(b)).collect()
}
