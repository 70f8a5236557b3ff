//! One kernel for each kind of op, driven by the plan's tables.
//!
//! A kernel reads int8 values as bytes and turns each into `i8` where it is used: the plan and
//! the arena stay plain bytes, and no reinterpretation is needed. Sums wrap, as they do on the
//! device: no bytes of a plan can make the arithmetic panic.

use crate::plan::{Plan, channel_parts};
use crate::quantize::Multiplier;
use crate::record::{FLAG_ONE_MULTIPLIER, OpRecord, read_i32};

pub(crate) mod add;
pub(crate) mod conv;
pub(crate) mod depthwise;
pub(crate) mod pad;
pub(crate) mod pool;
pub(crate) mod softmax;

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

    pub(crate) fn bias(&self, channel: usize) -> i32 {
        i32::from_le_bytes(self.biases[channel])
    }

    /// `bias + sum`, rescaled to the output's scale, without its zero point.
    #[inline]
    pub(crate) fn rescale(&self, channel: usize, sum: i32) -> i32 {
        self.rescale_biased(channel, self.bias(channel).wrapping_add(sum))
    }

    #[inline]
    pub(crate) fn rescale_biased(&self, channel: usize, accumulator: i32) -> i32 {
        let index = if self.multipliers.len() == 1 {
            0
        } else {
            channel
        };
        let multiplier = Multiplier {
            value: i32::from_le_bytes(self.multipliers[index]),
            shift: self.shifts[index] as i8,
        };
        multiplier.apply(accumulator)
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

/// One of the op's own 32-bit numbers.
pub(crate) fn number(plan: &Plan<'_>, op: &OpRecord, index: usize) -> i32 {
    read_i32(plan.constants(), op.channels_offset as usize + 4 * index)
}

/// The taps of a window that lie inside the input, along one axis: first tap and one past the last.
pub(crate) fn taps_inside(start: i64, kernel: u16, dilation: u8, len: usize) -> (usize, usize) {
    let step = i64::from(dilation);
    let ceil_div = |a: i64| (a + step - 1).div_euclid(step);
    let first = ceil_div(-start).clamp(0, i64::from(kernel));
    let end = ceil_div(len as i64 - start).clamp(first, i64::from(kernel));
    (first as usize, end as usize)
}
