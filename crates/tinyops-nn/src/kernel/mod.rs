//! One kernel for each kind of op, driven by the plan's tables.
//!
//! A kernel reads int8 values as bytes and turns each into `i8` where it is used: the plan and
//! the arena stay plain bytes, and no reinterpretation is needed. Sums wrap, as they do on the
//! device: no bytes of a plan can make the arithmetic panic.

use core::cell::Cell;

#[cfg(all(target_arch = "arm", target_feature = "dsp"))]
use crate::arch::dsp::ChannelTable;
use crate::plan::{Plan, channel_parts};
use crate::quantize::Multiplier;
use crate::record::{FLAG_ONE_MULTIPLIER, OpRecord, read_i32};

pub(crate) mod add;
pub(crate) mod binary;
pub(crate) mod conv;
#[cfg(all(target_arch = "arm", target_feature = "dsp"))]
pub(crate) mod conv_dsp;
pub(crate) mod copy;
pub(crate) mod depthwise;
#[cfg(all(target_arch = "arm", target_feature = "dsp"))]
pub(crate) mod depthwise_dsp;
pub(crate) mod pad;
pub(crate) mod pool;
pub(crate) mod reduce;
pub(crate) mod resize;
pub(crate) mod softmax;

/// Channels whose sums are kept at once: two 256-bit or four 128-bit vectors of the host.
pub(crate) const BLOCK: usize = 16;

/// Bias, multiplier and shift of each output channel of a convolution.
pub(crate) struct Channels<'a> {
    biases: &'a [[u8; 4]],
    multipliers: &'a [[u8; 4]],
    shifts: &'a [u8],
}

impl<'a> Channels<'a> {
    pub(crate) fn of(plan: &Plan<'a>, op: &OpRecord, count: usize) -> Channels<'a> {
        let (numbers, shifts) = channel_parts(op, count as u64);
        let block = &plan.constants()[op.channels_offset as usize..][..numbers + shifts];
        let (words, shifts) = block.split_at(numbers);
        let (biases, multipliers) = words.as_chunks().0.split_at(count);
        debug_assert!(op.flags & FLAG_ONE_MULTIPLIER == 0 || multipliers.len() == 1);
        Channels {
            biases,
            multipliers,
            shifts,
        }
    }

    /// The whole table.
    #[cfg(all(target_arch = "arm", target_feature = "dsp"))]
    pub(crate) fn table(&self) -> ChannelTable<'a> {
        ChannelTable {
            biases: self.biases,
            multipliers: self.multipliers,
            shifts: self.shifts,
        }
    }

    /// The multiplier and shift that serve all channels, if there is one and it is below 1/2.
    #[cfg(all(target_arch = "arm", target_feature = "dsp"))]
    pub(crate) fn one_low_rescale(&self) -> Option<(u32, i8)> {
        match (self.multipliers, self.shifts) {
            ([multiplier], [shift]) if (*shift as i8) < 0 => {
                Some((u32::from_le_bytes(*multiplier), *shift as i8))
            }
            _ => None,
        }
    }

    /// The first biases.
    #[cfg(all(target_arch = "arm", target_feature = "dsp"))]
    pub(crate) fn biases(&self, count: usize) -> &'a [[u8; 4]] {
        &self.biases[..count]
    }

    /// Whether every shift is below 0, so that factors are below 1/2.
    #[cfg(all(target_arch = "arm", target_feature = "dsp"))]
    pub(crate) fn shifts_are_low(&self) -> bool {
        self.shifts.iter().all(|&shift| (shift as i8) < 0)
    }

    /// The table of one channel, where one multiplier serves all.
    #[cfg(all(target_arch = "arm", target_feature = "dsp"))]
    pub(crate) fn of_one(&self, channel: usize) -> ChannelTable<'a> {
        ChannelTable {
            biases: &self.biases[channel..=channel],
            multipliers: self.multipliers,
            shifts: self.shifts,
        }
    }

    /// Adds the biases to some sums, from channel `first` on, rescales and clamps them into bytes.
    #[inline]
    pub(crate) fn finish(
        &self,
        first: usize,
        sums: &[i32],
        outputs: &[Cell<u8>],
        clamp: impl Fn(i32) -> u8,
    ) {
        let biases = self.biases[first..]
            .iter()
            .map(|&bias| i32::from_le_bytes(bias));
        let biased = sums
            .iter()
            .zip(biases)
            .map(|(sum, bias)| bias.wrapping_add(*sum));
        let multiplier = |value: &[u8; 4], shift: &u8| Multiplier {
            value: i32::from_le_bytes(*value),
            shift: *shift as i8,
        };
        if let ([value], [shift]) = (self.multipliers, self.shifts) {
            let multiplier = multiplier(value, shift);
            for (output, accumulator) in outputs.iter().zip(biased) {
                output.set(clamp(multiplier.apply(accumulator)));
            }
            return;
        }
        let multipliers = self.multipliers[first..].iter().zip(&self.shifts[first..]);
        for ((output, accumulator), (value, shift)) in outputs.iter().zip(biased).zip(multipliers) {
            output.set(clamp(multiplier(value, shift).apply(accumulator)));
        }
    }
}

/// Adds the zero point and applies the fused activation.
pub(crate) fn clamp(op: &OpRecord, zero_point: i8) -> impl Fn(i32) -> u8 + Copy + use<> {
    let [least, greatest] = op.clamp.map(i32::from);
    move |value| {
        value
            .saturating_add(i32::from(zero_point))
            .clamp(least, greatest) as u8
    }
}

/// Copies values to the start of another place, which may share bytes with them.
#[inline]
pub(crate) fn copy(to: &[Cell<u8>], from: &[Cell<u8>]) {
    for (to, from) in to.iter().zip(from) {
        to.set(from.get());
    }
}

#[inline]
pub(crate) fn fill(to: &[Cell<u8>], value: u8) {
    for to in to {
        to.set(value);
    }
}

/// An input value times a weight, both int8.
#[inline(always)]
pub(crate) fn product(value: u8, weight: u8) -> i32 {
    i32::from(value as i8) * i32::from(weight as i8)
}

/// One of the op's own 32-bit numbers.
pub(crate) fn number(plan: &Plan<'_>, op: &OpRecord, index: usize) -> i32 {
    read_i32(plan.constants(), op.channels_offset as usize + 4 * index)
}

/// The taps of a window that lie inside the input, along one axis: first tap and one past the last.
pub(crate) fn taps_inside(start: i32, kernel: u16, dilation: u8, len: usize) -> (usize, usize) {
    let (kernel, step) = (i32::from(kernel), i32::from(dilation));
    // Rounded up; what is negative would be clamped to 0 anyway.
    let steps_to = |distance: i32| (distance.max(0) + step - 1) / step;
    let first = steps_to(-start).min(kernel);
    let end = steps_to(len as i32 - start).clamp(first, kernel);
    (first as usize, end as usize)
}
