//! The arithmetic of a round under masks: parts to one device's masked statistics, these to a sum, the sum opened.
//!
//! A device whose parts are not all there cannot be in the sum: the helper tells the masks of whole updates. Its
//! numbers wait, unreadable, and are dropped once they are added. What is kept of a device:
//!
//! ```text
//! offset  bytes
//!  0       1    version 2 (version 1 is of statistics in the clear)
//!  1       1    parts in all
//!  2       1    classes
//!  3       2    width of the embedding
//!  5       4    number of the envelope that the masks are of
//!  9       8    bytes received
//! 17       4    numbers of each part but the last
//! 21      32    bit i: part i has come
//! 53     4 n    numbers, u32 little-endian, while parts are missing; none once they are in the sum
//! ```

use tinyops_wire::mask::Task;
use tinyops_wire::masked::{Content, MaskedPart, WINDOWS_MIN, part_len, update_unit};

use crate::sums::Sums;

const VERSION: u8 = 2;
const HEAD_BYTES: usize = 53;

/// Standard deviations of its error that a class's count must exceed to count as seen.
const SEEN_SDS: f64 = 2.0;

/// Standard deviations of its error that the number of all windows must exceed: below, the noise is louder than the fleet.
const HEARD_SDS: f64 = 4.0;

/// What a round asks of its devices.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Asked {
    /// How numbers are made, masked and summed.
    pub task: Task,
    /// Classes of the model.
    pub class_count: usize,
    /// Most bytes of a part.
    pub frame_bytes: u16,
}

/// What is known of one device's update.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MaskedGathering {
    pub(crate) received: i64,
    pub(crate) sequence: u32,
    pub(crate) class_count: usize,
    pub(crate) width: usize,
    part_count: u8,
    per_part: u32,
    seen: [u8; 32],
    numbers: Vec<u32>,
}

/// What became of a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// Others are missing.
    Waits,
    /// It was known, or is of an update that a newer one has replaced.
    Old,
    /// The device's masked numbers are all there; they are not kept any more.
    Whole(Vec<u32>),
}

impl MaskedGathering {
    /// What bytes of [`MaskedGathering::encode`] say; nothing of other bytes.
    pub(crate) fn decode(bytes: &[u8]) -> MaskedGathering {
        let read = || {
            let (head, numbers) = bytes.split_first_chunk::<HEAD_BYTES>()?;
            let (numbers, rest) = numbers.as_chunks();
            if head[0] != VERSION || !rest.is_empty() {
                return None;
            }
            Some(MaskedGathering {
                part_count: head[1],
                class_count: head[2].into(),
                width: u16::from_le_bytes([head[3], head[4]]).into(),
                sequence: u32::from_le_bytes(head[5..9].try_into().ok()?),
                received: i64::from_le_bytes(head[9..17].try_into().ok()?),
                per_part: u32::from_le_bytes(head[17..21].try_into().ok()?),
                seen: head[21..].try_into().ok()?,
                numbers: numbers
                    .iter()
                    .map(|number| u32::from_le_bytes(*number))
                    .collect(),
            })
        };
        read().unwrap_or_default()
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION, self.part_count, self.class_count as u8];
        out.extend((self.width as u16).to_le_bytes());
        out.extend(self.sequence.to_le_bytes());
        out.extend(self.received.to_le_bytes());
        out.extend(self.per_part.to_le_bytes());
        out.extend(self.seen);
        out.extend(to_bytes(&self.numbers));
        out
    }

    /// Whether it has come whole, and is in the sum.
    pub(crate) fn is_whole(&self) -> bool {
        let seen: u32 = self.seen.iter().map(|byte| byte.count_ones()).sum();
        self.part_count > 0 && seen == u32::from(self.part_count)
    }

    /// Of the same device, but for the bytes that it sent nothing is known.
    pub(crate) fn emptied(&self) -> MaskedGathering {
        MaskedGathering {
            received: self.received,
            ..MaskedGathering::default()
        }
    }

    /// Whether a part is the first that is known of an update.
    pub(crate) fn begins_with(&self, part: &MaskedPart<'_>) -> bool {
        self.part_count == 0 || part.head.sequence > self.sequence
    }

    /// Takes a part in, in any order, each once. One of a newer update of the device begins anew.
    ///
    /// # Errors
    /// What is wrong with it; then nothing has changed.
    pub fn take(&mut self, asked: &Asked, part: &MaskedPart<'_>) -> Result<Taken, &'static str> {
        let (head, task) = (&part.head, &asked.task);
        let wanted = (task.number, task.ring_bits, Content::Gram);
        if (head.task, head.ring_bits, head.content) != wanted
            || usize::from(head.class_count) != asked.class_count
        {
            return Err("not what the round asks for");
        }
        let len = head.len();
        let room = part_len(asked.frame_bytes.into(), task.ring_bits);
        if head.width == 0
            || task.steps_per_unit(len).is_none()
            || len > usize::from(head.part_count) * room
        {
            return Err("no update of the round has such a width");
        }
        if self.is_whole() || self.part_count > 0 && head.sequence < self.sequence {
            return Ok(Taken::Old);
        }
        let per_part = numbers_per_part(part).ok_or("it is cut as no device cuts an update")?;
        let cut = (head.part_count, per_part, usize::from(head.width));
        if self.begins_with(part) {
            *self = MaskedGathering {
                received: self.received,
                sequence: head.sequence,
                class_count: asked.class_count,
                width: cut.2,
                part_count: cut.0,
                per_part,
                seen: [0; 32],
                numbers: vec![0; len],
            };
        } else if cut != (self.part_count, self.per_part, self.width) {
            return Err("another cut than that of the parts before");
        }
        let (byte, bit) = (usize::from(part.part / 8), part.part % 8);
        if self.seen[byte] >> bit & 1 == 1 {
            return Ok(Taken::Old);
        }
        for (index, number) in part.values() {
            self.numbers[index] = number;
        }
        self.seen[byte] |= 1 << bit;
        Ok(match self.is_whole() {
            true => Taken::Whole(std::mem::take(&mut self.numbers)),
            false => Taken::Waits,
        })
    }
}

/// How many numbers each part but the last has, by what one part shows: where all parts agree, they leave nothing out.
fn numbers_per_part(part: &MaskedPart<'_>) -> Option<u32> {
    let (count, index) = (part.count() as u32, u32::from(part.part));
    let is_last = part.part + 1 == part.head.part_count;
    let per_part = match index {
        0 => count,
        _ if is_last => part.first / index,
        _ => count,
    };
    let ends = part.first as usize + count as usize == part.head.len();
    let is_sound = count > 0
        && count <= per_part
        && index.checked_mul(per_part) == Some(part.first)
        && ends == is_last;
    is_sound.then_some(per_part)
}

/// Adds a device's masked numbers to the sum of others, in the ring.
pub fn add(sum: &mut [u32], numbers: &[u32], task: &Task) {
    for (sum, number) in sum.iter_mut().zip(numbers) {
        *sum = sum.wrapping_add(*number) & task.ring_mask();
    }
}

/// Numbers as they are stored.
pub(crate) fn to_bytes(numbers: &[u32]) -> Vec<u8> {
    numbers
        .iter()
        .flat_map(|number| number.to_le_bytes())
        .collect()
}

/// Numbers that were stored.
pub(crate) fn from_bytes(bytes: &[u8]) -> Vec<u32> {
    let (numbers, _) = bytes.as_chunks();
    numbers
        .iter()
        .map(|number| u32::from_le_bytes(*number))
        .collect()
}

/// The sum of what devices have told, in steps, the helper's noise in it.
pub fn unmasked(task: &Task, sum: &[u32], masks: &[u32]) -> Vec<i64> {
    sum.iter()
        .zip(masks)
        .map(|(sum, mask)| task.signed(sum.wrapping_sub(*mask)))
        .collect()
}

/// The class statistics that the sum of so many devices comes to.
///
/// Devices above the clip have told theirs scaled down to it, counts and all, so these are statistics of weighted
/// windows. They are scaled up together to the least number of windows that so many devices have: what a solver takes
/// from them is the same, and a count of a few windows is not lost in rounding. A class whose count does not stand out
/// of the noise was not seen.
///
/// # Errors
/// What is wrong with the sum: its noise is louder than it.
pub fn opened(
    task: &Task,
    (class_count, width): (usize, usize),
    device_count: u32,
    steps: &[i64],
) -> Result<Sums, &'static str> {
    let steps_per_unit = task
        .steps_per_unit(steps.len())
        .ok_or("its task is too coarse for its numbers")?;
    let devices = f64::from(device_count);
    // Each device's number is rounded, which adds the variance of a uniform law.
    let sd = (task.noise_sd().powi(2) + devices / 12.0).sqrt() / steps_per_unit;
    let told: Vec<f64> = steps
        .iter()
        .enumerate()
        .map(|(index, &step)| step as f64 / steps_per_unit * update_unit(index, class_count, width))
        .collect();
    let total: f64 = told[..class_count].iter().sum();
    if total <= HEARD_SDS * sd * (class_count as f64).sqrt() {
        return Err("the helper's noise is louder than the sum of so few devices");
    }
    let is_seen = |class: usize| told[class] > SEEN_SDS * sd;
    let seen: f64 = (0..class_count)
        .filter(|class| is_seen(*class))
        .map(|class| told[class])
        .sum();
    if seen <= 0.0 {
        return Err("no class stands out of the helper's noise");
    }
    let weight = (least_windows(device_count) as f64 / seen).max(1.0);
    let sums_end = class_count + class_count * width;
    let class_of = |index: usize| match index {
        _ if index < class_count => Some(index),
        _ if index < sums_end => Some((index - class_count) / width),
        _ => None,
    };
    let mut values: Vec<i64> = told
        .iter()
        .enumerate()
        .map(|(index, value)| match class_of(index) {
            Some(class) if !is_seen(class) => 0,
            _ => (value * weight).round() as i64,
        })
        .collect();
    let mut diagonal = sums_end;
    for row in 0..width {
        // Squares add up to nothing negative; noise does.
        values[diagonal] = values[diagonal].max(0);
        diagonal += width - row;
    }
    Ok(Sums {
        class_count,
        width,
        values,
    })
}

/// Labelled windows that so many devices have at least: with fewer, a device tells nothing.
pub(crate) fn least_windows(device_count: u32) -> i64 {
    i64::from(device_count) * WINDOWS_MIN
}

/// Fewer devices than these never come to a sum that opens: each tells a vector of counts no longer than the unit that
/// `noise` is in, so that all of them do not stand out of it; or they need not have so many windows.
pub(crate) fn least_devices(noise: f64, window_count_min: i64) -> u32 {
    let heard = (HEARD_SDS * noise).floor() as u32 + 1;
    let windows = window_count_min.max(0) as u64;
    let counted = windows.div_ceil(WINDOWS_MIN as u64);
    heard.max(u32::try_from(counted).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use tinyops_store::{DeviceId, ModelId};
    use tinyops_wire::Frame;
    use tinyops_wire::mask::{HelperKey, Purpose};
    use tinyops_wire::masked::PartHead;

    use super::*;

    const SHAPE: (usize, usize) = (2, 3);
    const LEN: usize = Content::Gram.len(SHAPE.0, SHAPE.1);

    fn asked() -> Asked {
        let task = Task {
            purpose: Purpose::Update,
            number: 5,
            model: ModelId(9),
            ring_bits: 18,
            norm_max: 1,
            clip: 32.0,
            noise_tenths: 0,
        };
        Asked {
            task: task.with_finest_norm(100).unwrap(),
            class_count: SHAPE.0,
            frame_bytes: 30,
        }
    }

    /// An update in parts of so many numbers; number i is i.
    fn frames(sequence: u32, per_part: usize, change: impl Fn(&mut PartHead)) -> Vec<Vec<u8>> {
        let task = asked().task;
        let mut head = PartHead {
            task: task.number,
            ring_bits: task.ring_bits,
            part_count: LEN.div_ceil(per_part) as u8,
            sequence,
            content: Content::Gram,
            class_count: SHAPE.0 as u8,
            width: SHAPE.1 as u16,
        };
        change(&mut head);
        let values = || 0..head.len() as i32;
        let frame = |part| {
            let masks = HelperKey([1; 32])
                .mask_key(DeviceId(4))
                .masks(&task, sequence);
            let mut out = vec![0; 200];
            let len =
                MaskedPart::encode(head, part, per_part, &task, values(), masks, &mut out).unwrap();
            out.truncate(len);
            out
        };
        let parts = values().len().div_ceil(per_part) as u8;
        (0..parts).map(frame).collect()
    }

    fn take(gathering: &mut MaskedGathering, frame: &[u8]) -> Result<Taken, &'static str> {
        let Frame::MaskedPart(part) = Frame::decode(frame).unwrap() else {
            panic!("a part");
        };
        let taken = gathering.take(&asked(), &part);
        // What waits is what is stored.
        *gathering = MaskedGathering::decode(&gathering.encode());
        taken
    }

    fn unmask(numbers: &[u32], sequence: u32) -> Vec<i64> {
        let task = asked().task;
        let masks = HelperKey([1; 32])
            .mask_key(DeviceId(4))
            .masks(&task, sequence);
        unmasked(
            &task,
            numbers,
            &masks.take(numbers.len()).collect::<Vec<_>>(),
        )
    }

    #[test]
    fn parts_make_an_update_in_any_order_each_once_and_a_newer_one_begins_anew() {
        let mut gathering = MaskedGathering::default();
        let (old, new) = (frames(7, 5, |_| {}), frames(9, 4, |_| {}));
        assert_eq!(take(&mut gathering, &old[2]), Ok(Taken::Waits));
        assert_eq!(take(&mut gathering, &old[2]), Ok(Taken::Old));
        assert_eq!(take(&mut gathering, &old[0]), Ok(Taken::Waits));
        assert_eq!(take(&mut gathering, &new[3]), Ok(Taken::Waits));
        assert_eq!(take(&mut gathering, &old[1]), Ok(Taken::Old));
        assert_eq!(take(&mut gathering, &new[0]), Ok(Taken::Waits));
        assert_eq!(take(&mut gathering, &new[2]), Ok(Taken::Waits));
        let Ok(Taken::Whole(numbers)) = take(&mut gathering, &new[1]) else {
            panic!("all parts are there");
        };
        assert_eq!(unmask(&numbers, 9), (0..LEN as i64).collect::<Vec<_>>());
        assert!(gathering.is_whole() && gathering.sequence == 9);
        assert_eq!(gathering.encode().len(), HEAD_BYTES, "it is kept no longer");
        assert_eq!(
            take(&mut gathering, &frames(11, 4, |_| {})[0]),
            Ok(Taken::Old)
        );
    }

    #[test]
    fn a_part_that_is_not_what_was_asked_for_changes_nothing() {
        let mut gathering = MaskedGathering::default();
        let sound = frames(7, 5, |_| {});
        take(&mut gathering, &sound[0]).unwrap();
        let before = gathering.clone();
        let changes: [fn(&mut PartHead); 7] = [
            |head| head.task = 6,
            |head| head.ring_bits = 19,
            |head| head.content = Content::Prototypes,
            |head| head.class_count = 3,
            |head| head.width = 0,
            |head| head.width = 200,
            |head| head.part_count += 1,
        ];
        for (index, change) in changes.into_iter().enumerate() {
            for frame in frames(8, 5, change) {
                if let Ok(Frame::MaskedPart(part)) = Frame::decode(&frame) {
                    let is_first = index == 6 && part.part + 1 < part.head.part_count;
                    if !is_first || part.first as usize + part.count() == LEN {
                        assert!(gathering.clone().take(&asked(), &part).is_err(), "{index}");
                    }
                }
            }
        }
        // Parts of two cuts leave numbers out, though there are as many as there should be.
        let other = frames(7, 6, |_| {});
        assert_eq!((sound.len(), other.len()), (3, 3));
        assert!(take(&mut gathering, &other[1]).is_err());
        assert_eq!(gathering, before);
    }

    #[test]
    fn what_is_in_the_noise_is_not_seen_and_what_is_seen_keeps_its_means() {
        let task = asked().task;
        let steps = task.steps_per_unit(LEN).unwrap();
        let told = |cells: [f64; LEN]| {
            let values = cells.iter().enumerate();
            let step = |(index, cell): (usize, &f64)| {
                (cell / update_unit(index, SHAPE.0, SHAPE.1) * steps).round() as i64
            };
            values.map(step).collect::<Vec<i64>>()
        };
        let mut cells = [0.0; LEN];
        cells[0] = 40.0;
        cells[2..5].copy_from_slice(&[4_000.0, -2_000.0, 0.0]);
        cells[5] = 500.0;
        cells[8] = -9_000.0;
        cells[9] = 400_000.0;
        let sums = opened(&task, SHAPE, 20, &told(cells)).unwrap();
        // Twenty devices have 160 windows at least: all is scaled to them.
        assert_eq!((sums.values[0], sums.values[1]), (160, 0));
        let mean = sums.values[2] as f64 / 160.0;
        assert!((mean - 100.0).abs() < 1.0, "{mean}");
        assert_eq!(
            &sums.values[5..8],
            [0; 3],
            "of a class that nobody has seen"
        );
        assert_eq!(sums.values[8], 0, "a square");
        let noisy = Task {
            noise_tenths: 200,
            ..task
        };
        let why = opened(&noisy, SHAPE, 20, &told(cells)).unwrap_err();
        assert!(why.contains("louder"), "{why}");
        assert!(opened(&task, SHAPE, 20, &[0; LEN]).is_err());
    }

    #[test]
    fn a_round_needs_the_devices_that_its_sum_takes_to_be_heard() {
        // Devices that hold nothing but counts, as many of each class, are heard best: by as many as that, just.
        let noisy = Task {
            noise_tenths: 25,
            ring_bits: 24,
            norm_max: 1,
            ..asked().task
        };
        let task = noisy.with_finest_norm(100).unwrap();
        let steps = task.steps_per_unit(LEN).unwrap();
        let count = f64::from(task.clip) / 2.0_f64.sqrt() / update_unit(0, SHAPE.0, SHAPE.1);
        let opens = |devices: u32| {
            let mut told = [0; LEN];
            told[..2].fill((f64::from(devices) * count * steps) as i64);
            opened(&task, SHAPE, devices, &told).is_ok()
        };
        let least = least_devices(task.noise_multiplier(), 0);
        assert_eq!(least, 11);
        assert!(!opens(least - 1) && opens(least + 1));
        assert_eq!(least_devices(0.0, 0), 1);
        // Each has eight windows at least, and nobody knows of more.
        assert_eq!(
            [0, 160, 161, -1].map(|windows| least_devices(0.0, windows)),
            [1, 20, 21, 1]
        );
    }
}
