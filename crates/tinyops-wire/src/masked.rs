//! Frames `MM`, `PM`, `GU` and `GL`: numbers of a device under masks ([`crate::mask`]), readable only as a sum; and `NM`,
//! those of a report under noise of the device's own ([`crate::noise`]).
//!
//! ```text
//! MM, NM
//!     offset  bytes
//!      0       1    kind and version
//!      1       2    model, low half
//!      3       2    number of the task
//!      5       1    bits of a number
//!      6       1    flags
//!      7       n    numbers, least significant bit first; the rest of the last byte is zero
//!
//! PM, GU, GL, in parts that may come in any order and again
//!      0       1    kind and version
//!      1       2    number of the task
//!      3       1    bits of a number
//!      4       1    part, from 0
//!      5       1    parts in all
//!      6       4    number of the envelope that the first part was made for: the masks of all parts are its
//!     10       1    what: 1 counts and class sums, 2 these and the Gram matrix
//!     11       1    classes
//!     12       2    width of the embedding
//!     14       4    index of the first number
//!     18       n    numbers, as in MM
//! ```

use tinyops_sketch::Summary;

use crate::bytes::{BitReader, BitWriter, Reader, Writer};
use crate::frame::{Flags, FrameError, VERSION, kind};
use crate::mask::{Masks, RING_BITS, Task};
use crate::noise::DiscreteGaussian;

/// Bytes of an `MM` or `NM` before its numbers.
pub const REPORT_HEADER_BYTES: usize = 7;

/// Bytes of a part before its numbers.
pub const PART_HEADER_BYTES: usize = 18;

/// Numbers of a report: mean and logarithm of the spread of each channel, then the root of each class's share.
pub const fn report_len(channel_count: usize, class_count: usize) -> usize {
    2 * channel_count + class_count
}

/// Bytes of an `MM` or `NM`, header and all.
pub const fn report_bytes(channel_count: usize, class_count: usize, ring_bits: u8) -> usize {
    REPORT_HEADER_BYTES + masked_bytes(report_len(channel_count, class_count), ring_bits)
}

/// What the logarithm of a spread is multiplied by: it scatters less than a mean, and all numbers get the same noise.
pub const SPREAD_WEIGHT: f32 = 1.5;

/// What the root of a class's share is multiplied by.
pub const CLASS_WEIGHT: f32 = 2.5;

/// The numbers that a report is made of, weighted, before a device takes its own normal from them.
pub fn report_values(summary: &Summary) -> impl Iterator<Item = f32> + Clone + '_ {
    let channels = summary.channels().iter();
    channels
        .flat_map(|channel| [channel.mean, SPREAD_WEIGHT * channel.ln_sd])
        .chain(
            summary
                .class_shares()
                .iter()
                .map(|share| CLASS_WEIGHT * libm::sqrtf(share.max(0.0))),
        )
}

/// Real numbers as integers of a task, cut down to its clip: `None` if the task is too coarse for so many.
///
/// A number that is not finite counts as 0. The integers' length is never above the task's `norm_max`.
pub fn quantize<'v, V: Iterator<Item = f64> + Clone + 'v>(
    task: &Task,
    values: V,
) -> Option<impl Iterator<Item = i32> + Clone + use<'v, V>> {
    let finite = |value: f64| if value.is_finite() { value } else { 0.0 };
    let (count, squares) = values
        .clone()
        .map(finite)
        .fold((0, 0.0), |(count, squares), value| {
            (count + 1, squares + value * value)
        });
    let steps = task.steps_per_unit(count)?;
    let norm = libm::sqrt(squares);
    let clip = f64::from(task.clip);
    let scale = if norm > clip {
        steps * (clip / norm)
    } else {
        steps
    };
    // Numbers whose squares are no number any more are no measurements.
    let scale = if norm.is_finite() { scale } else { 0.0 };
    Some(values.map(move |value| libm::round(finite(value) * scale) as i32))
}

/// A report under masks: `MM`.
pub type MaskedReport<'a> = Report<'a, { kind::MASKED_REPORT }>;

/// A report under noise of the device's own: `NM`.
pub type NoisedReport<'a> = Report<'a, { kind::NOISED_REPORT }>;

/// A report that does not say in the clear what a device has measured; its kind says how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report<'a, const KIND: u8> {
    /// Low 16 bits of the model id.
    pub model: u16,
    /// Number of the task.
    pub task: u16,
    /// Bits of a number.
    pub ring_bits: u8,
    /// Facts about the device.
    pub flags: Flags,
    bits: &'a [u8],
}

impl MaskedReport<'_> {
    /// Writes a report of these integers under masks; answers how many bytes.
    ///
    /// # Errors
    /// [`FrameError::Length`] if `out` has too little room, or the masks end.
    pub fn encode(
        task: &Task,
        flags: Flags,
        values: impl Iterator<Item = i32>,
        masks: Masks,
        out: &mut [u8],
    ) -> Result<usize, FrameError> {
        MaskedReport::put(task, flags, masked(values, masks), out)
    }
}

impl NoisedReport<'_> {
    /// Writes a report of these integers under noise; answers how many bytes. What noise drives out of the ring stays at
    /// its edge.
    ///
    /// # Errors
    /// [`FrameError::Length`] if `out` has too little room.
    pub fn encode(
        task: &Task,
        flags: Flags,
        values: impl Iterator<Item = i32>,
        mut noise: DiscreteGaussian,
        out: &mut [u8],
    ) -> Result<usize, FrameError> {
        let edge = i64::from(task.ring_mask() >> 1);
        let noised = values.map(|value| {
            let noised = i64::from(value).saturating_add(noise.draw());
            Some(noised.clamp(-edge, edge) as u32)
        });
        NoisedReport::put(task, flags, noised, out)
    }
}

impl<'a, const KIND: u8> Report<'a, KIND> {
    fn put(
        task: &Task,
        flags: Flags,
        numbers: impl Iterator<Item = Option<u32>>,
        out: &mut [u8],
    ) -> Result<usize, FrameError> {
        let mut writer = Writer::new(out);
        let head = Report::<KIND> {
            model: task.model.0 as u16,
            task: task.number,
            ring_bits: task.ring_bits,
            flags,
            bits: &[],
        };
        head.write(&mut writer).ok_or(FrameError::Length)?;
        let written = writer.written();
        Ok(written + put_numbers(task, numbers, &mut out[written..])?)
    }

    /// The numbers as they were sent, in the ring; `None` if there are not `count`.
    pub fn values(&self, count: usize) -> Option<impl Iterator<Item = u32> + use<'a, KIND>> {
        take_masked(self.bits, self.ring_bits, count)
    }

    pub(crate) fn read(reader: &mut Reader<'a>) -> Option<Report<'a, KIND>> {
        let report = Report {
            model: reader.u16()?,
            task: reader.u16()?,
            ring_bits: reader.u8()?,
            flags: Flags(reader.u8()?),
            bits: core::mem::take(&mut reader.rest),
        };
        RING_BITS.contains(&report.ring_bits).then_some(report)
    }

    pub(crate) fn write(&self, out: &mut Writer<'_>) -> Option<()> {
        out.put(&[KIND | VERSION << 4])?;
        out.put(&self.model.to_le_bytes())?;
        out.put(&self.task.to_le_bytes())?;
        out.put(&[self.ring_bits, self.flags.0])?;
        out.put(self.bits)
    }
}

/// What of a device's sums goes into an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Content {
    /// Windows of each class and the sum of their embeddings: prototypes (`PM`).
    Prototypes = 1,
    /// These and the Gram matrix of all embeddings (`GU`, `GL`).
    Gram = 2,
}

impl Content {
    /// The variant with this code.
    pub fn from_code(code: u8) -> Option<Content> {
        match code {
            1 => Some(Content::Prototypes),
            2 => Some(Content::Gram),
            _ => None,
        }
    }

    /// How many numbers it has.
    pub const fn len(self, class_count: usize, width: usize) -> usize {
        let prototypes = class_count + class_count * width;
        match self {
            Content::Prototypes => prototypes,
            Content::Gram => prototypes + width * (width + 1) / 2,
        }
    }
}

/// Fewest labelled windows of an update, and windows of a report: fewer could be turned back into one.
pub const WINDOWS_MIN: i64 = 8;

/// Embeddings are int8: this many of their steps are one unit of an update's clip.
pub const EMBEDDING_UNIT: f64 = 128.0;

/// A cell of a device's sums as a real number: counts as they are, embeddings in units of [`EMBEDDING_UNIT`].
pub fn update_value(index: usize, cell: i64, class_count: usize, width: usize) -> f64 {
    cell as f64 / update_unit(index, class_count, width)
}

/// What a cell of a device's sums is divided by before it is clipped: so that all have about one size.
pub fn update_unit(index: usize, class_count: usize, width: usize) -> f64 {
    if index < class_count {
        1.0
    } else if index < class_count + class_count * width {
        EMBEDDING_UNIT
    } else {
        EMBEDDING_UNIT * EMBEDDING_UNIT
    }
}

/// Some consecutive numbers of an update under masks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaskedPart<'a> {
    /// What all parts have in common.
    pub head: PartHead,
    /// Which part this is, from 0.
    pub part: u8,
    /// Index of the first number in it.
    pub first: u32,
    bits: &'a [u8],
}

/// What all parts of one update have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartHead {
    /// Number of the task.
    pub task: u16,
    /// Bits of a number.
    pub ring_bits: u8,
    /// How many parts there are.
    pub part_count: u8,
    /// Number of the envelope that the first part was made for.
    pub sequence: u32,
    /// What it is of.
    pub content: Content,
    /// Classes of the model.
    pub class_count: u8,
    /// Width of the embedding.
    pub width: u16,
}

impl PartHead {
    /// Numbers of the whole update.
    pub fn len(&self) -> usize {
        self.content
            .len(usize::from(self.class_count), usize::from(self.width))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Numbers that a part of so many bytes holds.
pub fn part_len(frame_bytes: usize, ring_bits: u8) -> usize {
    frame_bytes.saturating_sub(PART_HEADER_BYTES) * 8 / usize::from(ring_bits.max(1))
}

impl<'a> MaskedPart<'a> {
    /// Writes a part; `values` are all integers of the update, of which `per_part` go into each part.
    ///
    /// # Errors
    /// [`FrameError::Length`] if `out` has too little room.
    pub fn encode(
        head: PartHead,
        part: u8,
        per_part: usize,
        task: &Task,
        values: impl Iterator<Item = i32>,
        mut masks: Masks,
        out: &mut [u8],
    ) -> Result<usize, FrameError> {
        let first = usize::from(part) * per_part;
        let mut writer = Writer::new(out);
        let whole = MaskedPart {
            head,
            part,
            first: first as u32,
            bits: &[],
        };
        whole.write(&mut writer).ok_or(FrameError::Length)?;
        let written = writer.written();
        masks.seek(first as u32);
        let values = values.skip(first).take(per_part);
        Ok(written + put_numbers(task, masked(values, masks), &mut out[written..])?)
    }

    /// The masked numbers with their indices.
    pub fn values(&self) -> impl Iterator<Item = (usize, u32)> + use<'a> {
        let numbers = take_masked(self.bits, self.head.ring_bits, self.count());
        (self.first as usize..).zip(numbers.into_iter().flatten())
    }

    /// Numbers in it: as many as there is room for, and the update has left.
    pub fn count(&self) -> usize {
        let fits = self.bits.len() * 8 / usize::from(self.head.ring_bits.max(1));
        fits.min(self.head.len().saturating_sub(self.first as usize))
    }

    pub(crate) fn read(reader: &mut Reader<'a>) -> Option<MaskedPart<'a>> {
        let (task, ring_bits) = (reader.u16()?, reader.u8()?);
        let (part, part_count, sequence) = (reader.u8()?, reader.u8()?, reader.u32()?);
        let head = PartHead {
            task,
            ring_bits,
            part_count,
            sequence,
            content: Content::from_code(reader.u8()?)?,
            class_count: reader.u8()?,
            width: reader.u16()?,
        };
        let first = reader.u32()?;
        let bits = core::mem::take(&mut reader.rest);
        let whole = MaskedPart {
            head,
            part,
            first,
            bits,
        };
        // Behind its last number nothing may come.
        let is_sound = RING_BITS.contains(&ring_bits)
            && part < part_count
            && (first as usize) < head.len().max(1)
            && bits.len() == masked_bytes(whole.count(), ring_bits);
        is_sound.then_some(whole)
    }

    pub(crate) fn write(&self, out: &mut Writer<'_>) -> Option<()> {
        let head = &self.head;
        out.put(&[kind::MASKED_PART | VERSION << 4])?;
        out.put(&head.task.to_le_bytes())?;
        out.put(&[head.ring_bits, self.part, head.part_count])?;
        out.put(&head.sequence.to_le_bytes())?;
        out.put(&[head.content as u8, head.class_count])?;
        out.put(&head.width.to_le_bytes())?;
        out.put(&self.first.to_le_bytes())?;
        out.put(self.bits)
    }
}

/// Integers with their masks added; `None` where the masks end.
fn masked(
    values: impl Iterator<Item = i32>,
    mut masks: Masks,
) -> impl Iterator<Item = Option<u32>> {
    values.map(move |value| Some((value as u32).wrapping_add(masks.next()?)))
}

/// Cuts numbers to the ring and packs them; answers how many bytes.
fn put_numbers(
    task: &Task,
    numbers: impl Iterator<Item = Option<u32>>,
    out: &mut [u8],
) -> Result<usize, FrameError> {
    let ring_bits = usize::from(task.ring_bits);
    let room = out.len() * 8 / ring_bits.max(1);
    out.fill(0);
    let mut bits = BitWriter::new(out);
    let mut count = 0;
    for number in numbers {
        if count == room {
            return Err(FrameError::Length);
        }
        let number = number.ok_or(FrameError::Length)?;
        bits.put(number & task.ring_mask(), u32::from(task.ring_bits));
        count += 1;
    }
    Ok(masked_bytes(count, task.ring_bits))
}

/// Bytes of so many numbers.
const fn masked_bytes(count: usize, ring_bits: u8) -> usize {
    (count * ring_bits as usize).div_ceil(8)
}

fn take_masked(
    bytes: &[u8],
    ring_bits: u8,
    count: usize,
) -> Option<impl Iterator<Item = u32> + use<'_>> {
    if bytes.len() != masked_bytes(count, ring_bits) {
        return None;
    }
    let mut bits = BitReader::new(bytes);
    Some((0..count).map(move |_| bits.take(u32::from(ring_bits))))
}
