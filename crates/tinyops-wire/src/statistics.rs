//! The sums that a head is solved from, as exact integers in parts of any size.
//!
//! The values of one device go in one order: the number of windows of each class; the sum of the
//! embeddings of each class, class by class; the upper triangle of the Gram matrix, row by row. Each
//! part says where its values begin, so that parts may be lost, repeated or reordered; equal parts are
//! told apart from newer sums by the round.
//!
//! ```text
//! offset  bytes
//!  0       1    kind and version
//!  1       2    round: what the server asked for
//!  3       1    part, from 0
//!  4       1    parts in all
//!  5       1    classes
//!  6       2    width of the embedding
//!  8       2    windows that the sums stand for
//! 10       4    index of the first value
//! 14       n    values: zigzag varints, LSB first
//! ```

use crate::bytes::{Reader, Writer, varint};
use crate::frame::{FrameError, VERSION, kind};

/// Bytes of a part before its values.
pub const PART_HEADER_BYTES: usize = 14;

/// Values that the statistics of a model consist of.
pub const fn value_count(class_count: usize, width: usize) -> usize {
    class_count + class_count * width + width * (width + 1) / 2
}

/// What all parts of one answer have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// The round that the server asked for.
    pub round: u16,
    /// Classes of the model.
    pub class_count: u8,
    /// Width of the embedding.
    pub width: u16,
    /// Labelled windows that the sums stand for.
    pub window_count: u16,
}

/// Some consecutive values of a device's statistics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatisticsPart<'a> {
    /// What all parts have in common.
    pub shape: Shape,
    /// Which part this is, from 0.
    pub part: u8,
    /// How many there are.
    pub part_count: u8,
    /// Index of the first value in it.
    pub first: u32,
    values: &'a [u8],
}

impl<'a> StatisticsPart<'a> {
    /// The values with their indices; ends early at bytes that are not values.
    pub fn values(&self) -> impl Iterator<Item = (usize, i64)> + use<'a> {
        let mut reader = Reader::new(self.values);
        let values = core::iter::from_fn(move || reader.varint());
        (self.first as usize..).zip(values)
    }

    pub(crate) fn read(reader: &mut Reader<'a>) -> Option<StatisticsPart<'a>> {
        let round = reader.u16()?;
        let (part, part_count, class_count) = (reader.u8()?, reader.u8()?, reader.u8()?);
        let (width, window_count, first) = (reader.u16()?, reader.u16()?, reader.u32()?);
        let values = core::mem::take(&mut reader.rest);
        let mut count = 0;
        let mut rest = Reader::new(values);
        while !rest.rest.is_empty() {
            rest.varint()?;
            count += 1;
        }
        let end = value_count(usize::from(class_count), usize::from(width));
        let is_sound = part < part_count && (first as usize).checked_add(count)? <= end;
        let shape = Shape {
            round,
            class_count,
            width,
            window_count,
        };
        is_sound.then_some(StatisticsPart {
            shape,
            part,
            part_count,
            first,
            values,
        })
    }

    pub(crate) fn write(&self, out: &mut Writer<'_>) -> Option<()> {
        out.put(&[kind::STATISTICS | VERSION << 4])?;
        out.put(&self.shape.round.to_le_bytes())?;
        out.put(&[self.part, self.part_count, self.shape.class_count])?;
        out.put(&self.shape.width.to_le_bytes())?;
        out.put(&self.shape.window_count.to_le_bytes())?;
        out.put(&self.first.to_le_bytes())?;
        out.put(self.values)
    }
}

/// Where one part begins and ends among the values: found by [`plan_parts`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cut {
    /// Index of its first value.
    pub first: u32,
    /// How many values it has.
    pub count: u32,
    /// How many parts there are in all.
    pub part_count: u8,
}

/// Finds part `part` of `values` when no frame may exceed `frame_bytes`; `None` past the last part.
///
/// # Errors
/// [`FrameError::Length`] if `frame_bytes` holds no value, or 255 parts do not hold them all.
pub fn plan_parts(
    values: impl Iterator<Item = i64>,
    frame_bytes: usize,
    part: u8,
) -> Result<Option<Cut>, FrameError> {
    let room = frame_bytes
        .checked_sub(PART_HEADER_BYTES + 10)
        .ok_or(FrameError::Length)?
        + 10;
    let mut wanted = None;
    let mut current = Cut::default();
    let (mut parts, mut used) = (0_u8, 0);
    for (index, value) in (0_u32..).zip(values) {
        let bytes = varint(value).1;
        if parts == 0 || used + bytes > room {
            if parts == part.wrapping_add(1) {
                wanted = Some(current);
            }
            parts = parts.checked_add(1).ok_or(FrameError::Length)?;
            current = Cut {
                first: index,
                count: 0,
                part_count: 0,
            };
            used = 0;
        }
        used += bytes;
        current.count += 1;
    }
    if parts > 0 && parts - 1 == part {
        wanted = Some(current);
    }
    Ok(wanted.map(|cut| Cut {
        part_count: parts,
        ..cut
    }))
}

/// Writes one part; `values` are all values of the device, `cut` says which of them go in.
///
/// # Errors
/// [`FrameError::Length`] if `out` has too little room.
pub fn encode_part(
    shape: Shape,
    part: u8,
    cut: Cut,
    values: impl Iterator<Item = i64>,
    out: &mut [u8],
) -> Result<usize, FrameError> {
    let Cut {
        first,
        count,
        part_count,
    } = cut;
    let mut writer = Writer::new(out);
    let head = StatisticsPart {
        shape,
        part,
        part_count,
        first,
        values: &[],
    };
    head.write(&mut writer).ok_or(FrameError::Length)?;
    for value in values.skip(first as usize).take(count as usize) {
        writer.varint(value).ok_or(FrameError::Length)?;
    }
    Ok(writer.written())
}
