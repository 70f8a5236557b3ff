//! The labelled windows of a device's own head in flash, in two copies of whole pages at the end of the region: the newest
//! whole one of the generation that the journal has counts.
//!
//! ```text
//! head: 64 bytes, written last
//!   0   4   "TOPO"
//!   4   1   version 1
//!   5   1   generation (`journal.rs`)
//!   6   1   1 if the device answers by the head that they lead to, else 0
//!   7   1   number of the newest label
//!   8   4   number of the copy
//!  12   8   what makes the embedding, as the prior has it
//!  20   4   CRC-32 of the prior
//!  24   8   how features were moved (`adapt.rs`), zeros if they were not
//!  32   1   classes
//!  33   1   what an embedded 0 is
//!  34   2   values of an embedding
//!  36   2   windows
//!  38  10   how the head did: windows, right by it, right by the installed one, golden vectors, alike; u16 each
//!  48   4   CRC-32 of the windows
//!  52   8   zeros
//!  60   4   CRC-32 of all before
//! windows, oldest first, each: class, number of its label, embedding
//! ```
//! A new one goes to the other copy, which is erased first, and is read back: power that goes meanwhile leaves the one
//! before, and what is half written counts for nothing. What is taken back is so by the journal alone.

use tinyops_nn::head::{OWN_STORE_HEAD_BYTES, own_window_bytes};
use tinyops_wire::crc::crc32;

use crate::adapt::ORDER_BYTES;
use crate::flash::{Flash, WRITE_BYTES_MAX};
use crate::journal::{Unwritten, is_blank};
use crate::labels::Shape;
use crate::own_head::Trial;
use crate::slots::Slots;

const _: () = assert!(OWN_STORE_HEAD_BYTES.is_multiple_of(WRITE_BYTES_MAX));
const MAGIC: [u8; 4] = *b"TOPO";
const VERSION: u8 = 1;

/// What is kept beside the windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) generation: u8,
    pub(crate) is_passed: bool,
    pub(crate) label: u8,
    pub(crate) embedding: [u8; 8],
    pub(crate) prior: u32,
    pub(crate) under: [u8; ORDER_BYTES],
    pub(crate) shape: Shape,
    pub(crate) windows: u16,
    pub(crate) trial: Trial,
}

impl Kept {
    pub(crate) fn is_of(&self, shape: Shape) -> bool {
        self.shape == shape
    }

    fn encode(&self, number: u32, entries: &[u8]) -> [u8; OWN_STORE_HEAD_BYTES] {
        let mut out = [0; OWN_STORE_HEAD_BYTES];
        let mut put = |at: usize, bytes: &[u8]| out[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &MAGIC);
        let passed = u8::from(self.is_passed);
        put(4, &[VERSION, self.generation, passed, self.label]);
        put(8, &number.to_le_bytes());
        put(12, &self.embedding);
        put(20, &self.prior.to_le_bytes());
        put(24, &self.under);
        put(
            32,
            &[self.shape.class_count as u8, self.shape.zero_point as u8],
        );
        let trial = &self.trial;
        let words = [
            self.shape.width as u16,
            self.windows,
            trial.windows,
            trial.own_right,
            trial.installed_right,
            trial.golden,
            trial.golden_alike,
        ];
        for (index, word) in words.iter().enumerate() {
            put(34 + 2 * index, &word.to_le_bytes());
        }
        put(48, &crc32(entries).to_le_bytes());
        let crc = crc32(&out[..OWN_STORE_HEAD_BYTES - 4]);
        out[OWN_STORE_HEAD_BYTES - 4..].copy_from_slice(&crc.to_le_bytes());
        out
    }
}

/// What a copy holds, with its number and its windows, if it is whole.
fn read<F: Flash>(slots: &Slots<F>, copy: usize) -> Option<(u32, Kept, &[u8])> {
    let area = slots.own_head_area(copy);
    let head = slots
        .flash()
        .mapped(area.start..area.start + OWN_STORE_HEAD_BYTES)?;
    let (body, crc) = head.split_last_chunk()?;
    if body[..5] != [MAGIC[0], MAGIC[1], MAGIC[2], MAGIC[3], VERSION]
        || crc32(body) != u32::from_le_bytes(*crc)
    {
        return None;
    }
    let half = |at: usize| u16::from_le_bytes([body[at], body[at + 1]]);
    let word = |at: usize| u32::from_le_bytes(core::array::from_fn(|index| body[at + index]));
    let kept = Kept {
        generation: body[5],
        is_passed: body[6] == 1,
        label: body[7],
        embedding: core::array::from_fn(|index| body[12 + index]),
        prior: word(20),
        under: core::array::from_fn(|index| body[24 + index]),
        shape: Shape {
            class_count: usize::from(body[32]),
            width: usize::from(half(34)),
            zero_point: body[33] as i8,
        },
        windows: half(36),
        trial: Trial {
            windows: half(38),
            own_right: half(40),
            installed_right: half(42),
            golden: half(44),
            golden_alike: half(46),
        },
    };
    let start = area.start + OWN_STORE_HEAD_BYTES;
    let end = start + usize::from(kept.windows) * own_window_bytes(kept.shape.width);
    if end > area.end {
        return None;
    }
    let entries = slots.flash().mapped(start..end)?;
    (crc32(entries) == word(48)).then_some((word(8), kept, entries))
}

/// The newest of a generation, and its windows.
pub(crate) fn newest<F: Flash>(slots: &Slots<F>, generation: u8) -> Option<(Kept, &[u8])> {
    if slots.own_head_bytes() <= OWN_STORE_HEAD_BYTES {
        return None;
    }
    let whole = (0..2).filter_map(|copy| read(slots, copy));
    let newest = whole
        .filter(|(_, kept, _)| kept.generation == generation)
        .max_by_key(|(number, ..)| *number);
    newest.map(|(_, kept, entries)| (kept, entries))
}

/// Writes one; it counts from the moment that this answers `Ok`, and the one before until then.
///
/// # Errors
/// [`Unwritten`]; then the one before still counts.
pub(crate) fn write<F: Flash>(
    slots: &mut Slots<F>,
    kept: &Kept,
    entries: &[u8],
) -> Result<(), Unwritten> {
    let numbers = [0, 1].map(|copy| read(slots, copy).map(|(number, ..)| number));
    // The copy that is worse off.
    let copy = usize::from(numbers[0] > numbers[1]);
    let number = numbers.into_iter().flatten().max().unwrap_or(0);
    let area = slots.own_head_area(copy);
    if OWN_STORE_HEAD_BYTES + entries.len() > area.len() {
        return Err(Unwritten);
    }
    let head = kept.encode(number.saturating_add(1), entries);
    let flash = slots.flash_mut();
    let erased = flash.erase(area.start as u32, area.end as u32);
    if erased.is_err() || !is_blank(flash.mapped(area.clone())) {
        return Err(Unwritten);
    }
    let start = area.start + OWN_STORE_HEAD_BYTES;
    let (whole, rest) = entries.split_at(entries.len() - entries.len() % F::WRITE_SIZE);
    put(flash, start, whole)?;
    if !rest.is_empty() {
        let mut padded = [0xff; WRITE_BYTES_MAX];
        padded[..rest.len()].copy_from_slice(rest);
        put(flash, start + whole.len(), &padded[..F::WRITE_SIZE])?;
    }
    put(flash, area.start, &head)
}

/// Erases each copy that is not of this generation, torn ones too; what cannot be erased counts no more either.
pub(crate) fn erase_but<F: Flash>(slots: &mut Slots<F>, generation: Option<u8>) {
    if slots.own_head_bytes() <= OWN_STORE_HEAD_BYTES {
        return;
    }
    for copy in 0..2 {
        let area = slots.own_head_area(copy);
        let kept = read(slots, copy).map(|(_, kept, _)| kept.generation);
        let is_over = generation.is_none() || kept != generation;
        if is_over && !is_blank(slots.flash().mapped(area.clone())) {
            let _ = slots.flash_mut().erase(area.start as u32, area.end as u32);
        }
    }
}

fn put<F: Flash>(flash: &mut F, at: usize, bytes: &[u8]) -> Result<(), Unwritten> {
    let written = bytes.is_empty() || flash.write(at as u32, bytes).is_ok();
    if written && flash.mapped(at..at + bytes.len()) == Some(bytes) {
        Ok(())
    } else {
        Err(Unwritten)
    }
}
