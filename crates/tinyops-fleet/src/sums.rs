//! The arithmetic of a round: parts to sums, sums to one clipped sum. Integers throughout, as devices send them.
//!
//! What a device has sent so far is kept as bytes:
//!
//! ```text
//! offset  bytes
//!  0       1    version 1
//!  1       1    parts in all, 0 while none has come
//!  2       1    classes
//!  3       2    width of the embedding
//!  5       8    bytes received
//! 13      32    bit i: part i has come
//! 45     8 n    values, i64 little-endian, in the order of `tinyops_wire::statistics`
//! ```

use tinyops_wire::statistics::{StatisticsPart, value_count};

const VERSION: u8 = 1;
const HEAD_BYTES: usize = 45;

/// Largest size of an embedded value: int8 less its zero point.
const EMBEDDED_MAX: i64 = 255;

/// Most values of one device: 32 classes of 1,024 numbers; a lie beyond that asks for memory only.
const VALUES_MAX: usize = 32 + 32 * 1_024 + 1_024 * 1_025 / 2;

/// Parts that a labelled window is counted in once devices are scaled down. Whole ones would take up to half a window of
/// each class from a device or give it, and class means and covariances with it: of eight windows much is lost.
pub const PARTS: i64 = 256;

/// Sufficient statistics of a head: counts, class sums, upper triangle of the Gram matrix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sums {
    /// Classes of the model.
    pub class_count: usize,
    /// Width of the embedding.
    pub width: usize,
    /// The values.
    pub values: Vec<i64>,
}

/// What one device has sent of its sums.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Gathering {
    pub(crate) received: i64,
    pub(crate) sums: Option<Sums>,
    part_count: u8,
    seen: [u8; 32],
}

impl Sums {
    /// The sums of a device that has sent them all, if they could be sums of embeddings.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Sums> {
        let gathering = Gathering::decode(bytes);
        gathering
            .is_whole()
            .then_some(gathering.sums)?
            .filter(Sums::is_plausible)
    }

    /// Labelled windows that they stand for.
    pub fn window_count(&self) -> i64 {
        self.values.iter().take(self.class_count).sum()
    }

    /// Whether some embeddings could have these sums, as far as bounds tell.
    pub fn is_plausible(&self) -> bool {
        let (counts, rest) = self
            .values
            .split_at(self.class_count.min(self.values.len()));
        if counts.iter().any(|count| !(0..=1 << 32).contains(count))
            || rest.len() + counts.len() != value_count(self.class_count, self.width)
        {
            return false;
        }
        let total: i64 = counts.iter().sum();
        let (sums, gram) = rest.split_at(self.class_count * self.width);
        let bounded = |values: &[i64], limit: i64| {
            values.iter().all(|value| (-limit..=limit).contains(value))
        };
        let of_class = |class: usize| &sums[class * self.width..][..self.width];
        let diagonal =
            (0..self.width).map(|row| row * self.width - row * row.saturating_sub(1) / 2);
        (0..self.class_count).all(|class| bounded(of_class(class), EMBEDDED_MAX * counts[class]))
            && bounded(gram, EMBEDDED_MAX * EMBEDDED_MAX * total)
            && diagonal.into_iter().all(|index| gram[index] >= 0)
    }

    /// Length of the vector of class sums and Gram values.
    pub fn norm(&self) -> f64 {
        let squares = self.values[self.class_count..]
            .iter()
            .map(|value| (*value as f64).powi(2));
        squares.sum::<f64>().sqrt()
    }
}

impl Sums {
    /// These sums in [`PARTS`] of a window, scaled down to a norm of `limit` windows' if they are above it.
    #[must_use]
    pub fn clipped(&self, limit: f64) -> Sums {
        let norm = self.norm();
        let scale = PARTS as f64 * (limit / norm);
        let scaled = |value: &i64| match norm <= limit {
            true => value.saturating_mul(PARTS),
            false => (*value as f64 * scale).round() as i64,
        };
        Sums {
            values: self.values.iter().map(scaled).collect(),
            ..*self
        }
    }

    /// Adds other sums.
    ///
    /// # Errors
    /// [`OtherShape`], and then nothing has changed.
    pub fn add(&mut self, other: &Sums) -> Result<(), OtherShape> {
        let is_alike = (self.class_count, self.width) == (other.class_count, other.width)
            && self.values.len() == other.values.len();
        if !is_alike {
            return Err(OtherShape);
        }
        let values = self.values.iter_mut().zip(&other.values);
        values.for_each(|(own, other)| *own = own.saturating_add(*other));
        Ok(())
    }
}

/// Sums of another number of classes, or of another width, cannot be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the sums are of a model of another shape")]
pub struct OtherShape;

impl Gathering {
    /// What bytes of [`Gathering::encode`] say; nothing of other bytes.
    pub(crate) fn decode(bytes: &[u8]) -> Gathering {
        let read = || {
            let (head, values) = bytes.split_first_chunk::<HEAD_BYTES>()?;
            if head[0] != VERSION {
                return None;
            }
            let (class_count, width) = (
                usize::from(head[2]),
                usize::from(u16::from_le_bytes([head[3], head[4]])),
            );
            let (values, rest) = values.as_chunks();
            let values: Vec<i64> = values
                .iter()
                .map(|value| i64::from_le_bytes(*value))
                .collect();
            let has_sums = !values.is_empty();
            if !rest.is_empty() || has_sums && values.len() != value_count(class_count, width) {
                return None;
            }
            Some(Gathering {
                received: i64::from_le_bytes(head[5..13].try_into().ok()?),
                sums: has_sums.then_some(Sums {
                    class_count,
                    width,
                    values,
                }),
                part_count: head[1],
                seen: head[13..].try_into().ok()?,
            })
        };
        read().unwrap_or_default()
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let (class_count, width) = self
            .sums
            .as_ref()
            .map_or((0, 0), |sums| (sums.class_count, sums.width));
        let mut out = vec![VERSION, self.part_count, class_count as u8];
        out.extend((width as u16).to_le_bytes());
        out.extend(self.received.to_le_bytes());
        out.extend(self.seen);
        out.extend(
            self.sums
                .iter()
                .flat_map(|sums| &sums.values)
                .flat_map(|value| value.to_le_bytes()),
        );
        out
    }

    /// Bytes that a device has sent for its answer.
    pub(crate) fn received_bytes(bytes: &[u8]) -> i64 {
        Gathering::decode(bytes).received
    }

    /// Takes a part in, in any order, each once.
    ///
    /// # Errors
    /// What is wrong with it: its shape, or its values. The answer then begins anew with the next part.
    pub(crate) fn take(&mut self, part: &StatisticsPart<'_>) -> Result<(), &'static str> {
        let (class_count, width) = (
            usize::from(part.shape.class_count),
            usize::from(part.shape.width),
        );
        let count = value_count(class_count, width);
        if count > VALUES_MAX || class_count == 0 || width == 0 {
            return Err("no model has such a shape");
        }
        let fits = |sums: &Sums| sums.class_count == class_count && sums.width == width;
        if self.part_count != part.part_count || !self.sums.as_ref().is_some_and(fits) {
            // The first part, or the first of an answer that was cut otherwise.
            self.part_count = part.part_count;
            self.seen = [0; 32];
            self.sums = Some(Sums {
                class_count,
                width,
                values: vec![0; count],
            });
        }
        let (byte, bit) = (usize::from(part.part / 8), part.part % 8);
        if self.seen[byte] >> bit & 1 == 1 {
            return Ok(());
        }
        let sums = self.sums.as_mut().ok_or("no sums were begun")?;
        for (index, value) in part.values() {
            *sums
                .values
                .get_mut(index)
                .ok_or("a value lies outside the sums")? = value;
        }
        self.seen[byte] |= 1 << bit;
        if self.is_whole() && !self.sums.as_ref().is_some_and(Sums::is_plausible) {
            self.part_count = 0;
            return Err("no embeddings have such sums");
        }
        Ok(())
    }

    pub(crate) fn is_whole(&self) -> bool {
        let seen: u32 = self.seen.iter().map(|byte| byte.count_ones()).sum();
        self.part_count > 0 && seen == u32::from(self.part_count) && self.sums.is_some()
    }
}

/// Devices added together, each scaled down to a norm, in [`PARTS`] of a window.
#[derive(Clone, Debug, PartialEq)]
pub struct ClippedSum {
    /// All of them.
    pub sum: Sums,
    /// The same by disjoint sets of devices, as even as they come.
    pub buckets: Vec<Sums>,
    /// How many were scaled down.
    pub clipped_count: usize,
    /// The norm that they were scaled down to. Infinite for none.
    pub norm_max: f64,
}

/// Adds devices together, each scaled down to `clip` times the median of their norms, in so many buckets at most.
///
/// Only devices of the commonest shape are added; `None` of none.
///
/// # Source
/// Clipping instead of medians or trimmed means, which destroy statistics that differ by device:
/// `docs/monitoring.md`.
pub fn clipped_sum(devices: &[Sums], clip: f64, bucket_count: usize) -> Option<ClippedSum> {
    let shape = |sums: &Sums| (sums.class_count, sums.width);
    let count_of =
        |wanted: (usize, usize)| devices.iter().filter(|sums| shape(sums) == wanted).count();
    let (class_count, width) = devices
        .iter()
        .map(shape)
        .max_by_key(|wanted| (count_of(*wanted), *wanted))?;
    let alike: Vec<&Sums> = devices
        .iter()
        .filter(|sums| shape(sums) == (class_count, width))
        .collect();
    let mut norms: Vec<f64> = alike.iter().map(|sums| sums.norm()).collect();
    norms.sort_unstable_by(f64::total_cmp);
    let norm_max = if clip > 0.0 {
        clip * norms[norms.len() / 2]
    } else {
        f64::INFINITY
    };
    let none = Sums {
        class_count,
        width,
        values: vec![0; value_count(class_count, width)],
    };
    let bucket_count = bucket_count.clamp(1, alike.len());
    let mut buckets = vec![none.clone(); bucket_count];
    for (index, device) in alike.iter().enumerate() {
        let bucket = &mut buckets[index % bucket_count];
        bucket.add(&device.clipped(norm_max)).ok()?;
    }
    let mut sum = none;
    for bucket in &buckets {
        sum.add(bucket).ok()?;
    }
    Some(ClippedSum {
        sum,
        buckets,
        clipped_count: norms.iter().filter(|norm| **norm > norm_max).count(),
        norm_max,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tinyops_wire::statistics::{Shape, encode_part, plan_parts};

    fn sums(scale: i64) -> Sums {
        // Two classes, embeddings of two values: three windows of (1, 2) and one of (3, -1), times `scale`.
        Sums {
            class_count: 2,
            width: 2,
            values: vec![3, 1, 3, 6, 3, -1, 12, 3, 13]
                .into_iter()
                .map(|v| v * scale)
                .collect(),
        }
    }

    fn parts_of(sums: &Sums, frame_bytes: usize) -> Vec<Vec<u8>> {
        let shape = Shape {
            round: 3,
            class_count: 2,
            width: 2,
            window_count: sums.window_count() as u16,
        };
        let mut frames = Vec::new();
        for part in 0.. {
            let values = || sums.values.iter().copied();
            let Some(cut) = plan_parts(values(), frame_bytes, part).unwrap() else {
                break;
            };
            let mut out = vec![0; frame_bytes];
            let len = encode_part(shape, part, cut, values(), &mut out).unwrap();
            out.truncate(len);
            frames.push(out);
        }
        frames
    }

    #[test]
    fn parts_make_the_sums_in_any_order_each_once() {
        let sums = sums(100);
        let mut frames = parts_of(&sums, 25);
        assert!(frames.len() > 1, "the answer takes several parts");
        frames.reverse();
        frames.push(frames[0].clone());
        let mut gathering = Gathering::default();
        for frame in &frames {
            let tinyops_wire::Frame::Statistics(part) = tinyops_wire::Frame::decode(frame).unwrap()
            else {
                panic!()
            };
            gathering.take(&part).unwrap();
            gathering = Gathering::decode(&gathering.encode());
        }
        assert!(gathering.is_whole());
        assert_eq!(Sums::decode(&gathering.encode()), Some(sums));
    }

    #[test]
    fn impossible_sums_are_refused() {
        assert!(sums(1).is_plausible());
        let check = |index: usize, value: i64| {
            let mut sums = sums(1);
            sums.values[index] = value;
            assert!(!sums.is_plausible(), "value {index} = {value}");
        };
        check(0, -1);
        check(2, 3 * 255 + 1);
        check(6, -1);
        check(8, -1);
        check(7, 4 * 255 * 255 + 1);
    }

    #[test]
    fn a_loud_device_weighs_no_more_than_the_median_one() {
        let devices = vec![sums(1), sums(1), sums(1), sums(1_000)];
        let all = clipped_sum(&devices, 1.0, 1).unwrap();
        assert_eq!(all.clipped_count, 1);
        assert_eq!(all.sum, sums(4 * PARTS));
        assert_eq!(all.norm_max, sums(1).norm());
        let whole = clipped_sum(&devices, 0.0, 1).unwrap();
        assert_eq!(whole.sum, sums(1_003 * PARTS));
        assert_eq!(clipped_sum(&[], 1.0, 1), None);
    }

    #[test]
    fn few_windows_keep_their_means_when_they_are_scaled_down() {
        // One window of a class that is a third too loud: its mean is what it was, not three quarters of it.
        let device = sums(1);
        let clipped = device.clipped(0.75 * device.norm());
        for class in 0..device.class_count {
            let mean = |sums: &Sums| {
                let at = sums.class_count + class * sums.width;
                sums.values[at] as f64 / sums.values[class].max(1) as f64
            };
            let (before, after) = (mean(&device), mean(&clipped));
            assert!(
                (after - before).abs() <= 0.01 * before.abs(),
                "{before} {after}"
            );
        }
    }

    #[test]
    fn sums_of_another_shape_are_not_added() {
        let mut sum = sums(3);
        let mut other = sums(1);
        other.width = 3;
        assert_eq!(sum.add(&other), Err(OtherShape));
        assert_eq!(sum, sums(3), "nothing has changed");
    }

    #[test]
    fn buckets_are_even_and_add_up() {
        let devices: Vec<Sums> = (1..=9).map(sums).collect();
        let all = clipped_sum(&devices, 0.0, 4).unwrap();
        assert_eq!(all.buckets.len(), 4);
        assert_eq!(all.buckets[0], sums((1 + 5 + 9) * PARTS));
        let mut sum = sums(0);
        all.buckets
            .iter()
            .for_each(|bucket| sum.add(bucket).unwrap());
        assert_eq!((&sum, &all.sum), (&sums(45 * PARTS), &sums(45 * PARTS)));
        assert_eq!(clipped_sum(&devices[..2], 0.0, 4).unwrap().buckets.len(), 2);
    }
}
