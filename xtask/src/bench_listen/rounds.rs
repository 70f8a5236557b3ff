//! What devices tell of their sums, and what the server adds up.

use tinyops_fleet::sums::{PARTS, Sums, clipped_sum};
use tinyops_train::head::{Projection, Statistics};
use tinyops_wire::ModelId;
use tinyops_wire::mask::{Purpose, Task};
use tinyops_wire::masked::{PART_HEADER_BYTES, quantize, update_value};
use tinyops_wire::statistics::{Shape, encode_part, plan_parts};

/// Bits of a number in the ring that devices are added up in: as many as the bytes allow.
pub(super) const WIDE_RING: u8 = 17;
pub(super) const NARROW_RING: u8 = 15;
/// Bytes of a whole part.
const PART_BYTES: usize = 1_024;
/// What is left of a device's numbers is told in hundredths of a window, so that it is not rounded again.
const HUNDREDTHS: u32 = 100;

/// Parts of a window that [`bucketed`] counts in.
pub(super) const IN_PARTS: u32 = PARTS as u32;
/// The same of what [`told`] leaves.
pub(super) const TOLD_IN_PARTS: u32 = HUNDREDTHS * IN_PARTS;

/// What is left of sums that are cut down to the fleet's median norm and rounded to the integers of a ring; and the
/// bytes of one device. `length` is that of an embedded value, in those of a wide embedding.
pub(super) fn told(all: &[Sums], ring_bits: u8, length: f64) -> Result<(Vec<Sums>, f64), String> {
    let unit = |sums: &Sums, at: usize| {
        let of_one = update_value(at, 1, sums.class_count, sums.width);
        let prototypes = sums.class_count * (1 + sums.width);
        match at {
            _ if at < sums.class_count => of_one,
            _ if at < prototypes => of_one / length,
            _ => of_one / (length * length),
        }
    };
    let real = |sums: &Sums| -> Vec<f64> {
        let values = sums.values.iter().enumerate();
        values
            .map(|(at, &value)| value as f64 * unit(sums, at))
            .collect()
    };
    let norm = |values: Vec<f64>| values.iter().map(|x| x * x).sum::<f64>().sqrt();
    let mut norms: Vec<f64> = all.iter().map(|sums| norm(real(sums))).collect();
    norms.sort_by(f64::total_cmp);
    let task = Task {
        purpose: Purpose::Update,
        number: 1,
        model: ModelId::default(),
        ring_bits,
        norm_max: 0,
        clip: norms[norms.len() / 2] as f32,
        noise_tenths: 0,
    };
    let task = task
        .with_finest_norm(all.len() as u32)
        .ok_or("the ring is too narrow")?;
    let count = all[0].values.len();
    let steps = task.steps_per_unit(count).ok_or("the ring is too coarse")?;
    let kept = all.iter().map(|sums| {
        let values = real(sums);
        let integers = quantize(&task, values.iter().copied()).ok_or("the ring is too coarse")?;
        let back = |(at, integer): (usize, i32)| {
            (f64::from(HUNDREDTHS) * f64::from(integer) / steps / unit(sums, at)).round() as i64
        };
        Ok(Sums {
            values: integers.enumerate().map(back).collect(),
            ..*sums
        })
    });
    let packed = (count * usize::from(ring_bits)).div_ceil(8);
    let parts = packed.div_ceil(PART_BYTES - PART_HEADER_BYTES);
    let bytes = (packed + parts * PART_HEADER_BYTES) as f64;
    Ok((kept.collect::<Result<_, &str>>()?, bytes))
}

/// The sums of narrow embeddings.
pub(super) fn narrow_sums(sums: &Sums, projection: &Projection) -> Option<Sums> {
    let wide = statistics(sums)?;
    let narrow = projection.apply(&wide)?;
    Some(Sums {
        class_count: sums.class_count,
        width: projection.narrow(),
        values: narrow.cells().to_vec(),
    })
}

pub(super) fn statistics(sums: &Sums) -> Option<Statistics> {
    Statistics::new(sums.class_count, sums.width, sums.values.clone()).ok()
}

/// Counts and class sums of the classes that a device holds, each class's sum in 8 bits of its own scale; and the
/// bytes that take: class, count and scale one each.
pub(super) fn prototypes_told(sums: &Sums) -> (Vec<i64>, usize) {
    let (classes, width) = (sums.class_count, sums.width);
    let mut values = vec![0; sums.values.len()];
    let mut bytes = PROTOTYPE_HEADER_BYTES;
    for class in 0..classes {
        let count = sums.values[class];
        if count == 0 {
            continue;
        }
        let at = classes + class * width;
        let sum = &sums.values[at..at + width];
        let largest = sum.iter().map(|x| x.abs()).max().unwrap_or(0).max(1) as f64;
        // A scale of eight steps an octave.
        let scale = 2.0_f64.powf((8.0 * (largest / 127.0).log2()).ceil() / 8.0);
        values[class] = count;
        for (told, sum) in values[at..at + width].iter_mut().zip(sum) {
            *told = ((*sum as f64 / scale).round() * scale).round() as i64;
        }
        bytes += 3 + width;
    }
    (values, bytes)
}

/// Kind, round and number of classes.
const PROTOTYPE_HEADER_BYTES: usize = 4;

/// Devices cut down to the median norm and added up in so many buckets, in [`IN_PARTS`] of a window.
pub(super) fn bucketed(all: &[Sums], count: usize) -> Result<Vec<Statistics>, String> {
    let clipped = clipped_sum(all, 1.0, count).ok_or("no device has sums")?;
    let buckets = clipped.buckets;
    let whole = buckets
        .iter()
        .map(|sums| statistics(sums).ok_or("sums of no model"));
    Ok(whole.collect::<Result<_, _>>()?)
}

/// Whole windows of what [`bucketed`] has added up.
pub(super) fn in_wholes(sums: &Statistics) -> Result<Statistics, String> {
    let cells = sums.cells().iter();
    let cells = cells.map(|&cell| (cell as f64 / PARTS as f64).round() as i64);
    Statistics::new(sums.class_count(), sums.embedding_len(), cells.collect())
        .map_err(|error| error.to_string())
}

/// Bytes of a device's answer in frames of the plain mode, as the device cuts them.
pub(super) fn plain_bytes(sums: &Sums) -> Result<usize, String> {
    let shape = Shape {
        round: 0,
        class_count: sums.class_count as u8,
        width: sums.width as u16,
        window_count: 0,
    };
    let values = || sums.values.iter().copied();
    let mut out = [0; PART_BYTES];
    let mut bytes = 0;
    for part in 0.. {
        let cut = plan_parts(values(), PART_BYTES, part).map_err(|error| error.to_string())?;
        let Some(cut) = cut else { break };
        bytes +=
            encode_part(shape, part, cut, values(), &mut out).map_err(|error| error.to_string())?;
    }
    Ok(bytes)
}
