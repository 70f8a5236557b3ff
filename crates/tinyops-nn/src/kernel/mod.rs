//! One kernel for each kind of op, driven by the plan's tables.
//!
//! A kernel reads int8 values as bytes and turns each into `i8` where it is used: the plan and
//! the arena stay plain bytes, and no reinterpretation is needed. Sums wrap, as they do on the
//! device: no bytes of a plan can make the arithmetic panic.

use core::cell::Cell;

#[cfg(all(target_arch = "arm", target_feature = "dsp", not(feature = "mve")))]
use crate::arch::dsp::ChannelTable;
#[cfg(all(target_arch = "arm", feature = "mve"))]
use crate::arch::mve::Table;
use crate::layout::unpack_channel;
use crate::plan::{Plan, channel_parts};
use crate::quantize::Multiplier;
use crate::record::{FLAG_BACKWARD, FLAG_ONE_MULTIPLIER, FLAG_PACKED, OpRecord, read_i32};

pub(crate) mod add;
#[cfg(feature = "general-ops")]
pub(crate) mod binary;
#[cfg(not(all(target_arch = "arm", any(target_feature = "dsp", feature = "mve"))))]
pub(crate) mod conv;
#[cfg(all(target_arch = "arm", target_feature = "dsp", not(feature = "mve")))]
#[path = "conv_dsp.rs"]
pub(crate) mod conv;
#[cfg(all(target_arch = "arm", feature = "mve"))]
#[path = "conv_mve.rs"]
pub(crate) mod conv;
#[cfg(feature = "general-ops")]
pub(crate) mod copy;
#[cfg(not(all(target_arch = "arm", target_feature = "dsp", not(feature = "mve"))))]
pub(crate) mod depthwise;
#[cfg(all(target_arch = "arm", target_feature = "dsp", not(feature = "mve")))]
#[path = "depthwise_dsp.rs"]
pub(crate) mod depthwise;
#[cfg(all(target_arch = "arm", feature = "mve"))]
pub(crate) mod depthwise_mve;
#[cfg(feature = "general-ops")]
pub(crate) mod extreme;
#[cfg(feature = "int16")]
pub(crate) mod int16;
#[cfg(feature = "general-ops")]
pub(crate) mod lstm;
#[cfg(feature = "general-ops")]
pub(crate) mod mean;
#[cfg(feature = "general-ops")]
pub(crate) mod normalize;
#[cfg(feature = "general-ops")]
pub(crate) mod pad;
#[cfg(not(all(target_arch = "arm", target_feature = "dsp", not(feature = "mve"))))]
pub(crate) mod patch;
#[cfg(not(all(target_arch = "arm", any(target_feature = "dsp", feature = "mve"))))]
pub(crate) mod pool;
#[cfg(all(target_arch = "arm", target_feature = "dsp", not(feature = "mve")))]
#[path = "pool_dsp.rs"]
pub(crate) mod pool;
#[cfg(all(target_arch = "arm", feature = "mve"))]
#[path = "pool_mve.rs"]
pub(crate) mod pool;
#[cfg(feature = "general-ops")]
pub(crate) mod product;
#[cfg(feature = "general-ops")]
pub(crate) mod reduce;
#[cfg(feature = "general-ops")]
pub(crate) mod resize;
pub(crate) mod softmax;
#[cfg(feature = "general-ops")]
pub(crate) mod squash;
#[cfg(feature = "general-ops")]
pub(crate) mod svdf;

/// Channels whose sums are kept at once: two 256-bit or four 128-bit vectors of the host.
#[cfg(not(all(target_arch = "arm", target_feature = "dsp", not(feature = "mve"))))]
pub(crate) const BLOCK: usize = 16;

/// Bias, multiplier and shift of each output channel of a convolution.
pub(crate) enum Channels<'a> {
    /// Each in an array of its own, or one multiplier and shift for all.
    Wide {
        biases: &'a [[u8; 4]],
        multipliers: &'a [[u8; 4]],
        shifts: &'a [u8],
    },
    /// Seven bytes a channel, as [`unpack_channel`] reads them.
    Packed {
        words: &'a [[u8; 4]],
        biases: &'a [[u8; 3]],
        shift_max: i8,
    },
}

impl<'a> Channels<'a> {
    #[inline(never)]
    pub(crate) fn of(plan: &Plan<'a>, op: &OpRecord, count: usize) -> Channels<'a> {
        let (words, rest) = channel_parts(op, count as u64);
        let block = &plan.constants()[op.channels_offset as usize..][..words + rest];
        let (words, rest) = block.split_at(words);
        let words = words.as_chunks().0;
        if op.flags & FLAG_PACKED != 0 {
            return Channels::Packed {
                words,
                biases: rest.as_chunks().0,
                shift_max: op.shift,
            };
        }
        let (biases, multipliers) = words.split_at(count);
        debug_assert!(op.flags & FLAG_ONE_MULTIPLIER == 0 || multipliers.len() == 1);
        Channels::Wide {
            biases,
            multipliers,
            shifts: rest,
        }
    }

    /// Some channels as the assembly reads them.
    #[cfg(all(target_arch = "arm", target_feature = "dsp", not(feature = "mve")))]
    #[inline(never)]
    pub(crate) fn fill(&self, table: &mut ChannelTable, first: usize, count: usize) {
        table.fill((first..first + count).map(|index| self.channel(index)));
    }

    /// The biases, if one multiplier and shift below 1/2 serve all channels, and these two.
    #[cfg(all(target_arch = "arm", target_feature = "dsp", not(feature = "mve")))]
    pub(crate) fn one_low_rescale(&self) -> Option<(&'a [[u8; 4]], (u32, i8))> {
        match *self {
            Channels::Wide {
                biases,
                multipliers: [multiplier],
                shifts: [shift],
            } if (*shift as i8) < 0 => {
                Some((biases, (u32::from_le_bytes(*multiplier), *shift as i8)))
            }
            _ => None,
        }
    }

    /// One channel's sum without bias as an output byte, not clamped to any activation.
    #[cfg(all(target_arch = "arm", target_feature = "dsp", not(feature = "mve")))]
    #[inline(never)]
    pub(crate) fn finish_one(&self, index: usize, sum: i32, zero_point: i8) -> u8 {
        let (bias, multiplier) = self.channel(index);
        let value = multiplier.apply(bias.wrapping_add(sum));
        value.saturating_add(i32::from(zero_point)).clamp(-128, 127) as u8
    }

    /// Whether every shift is below 0, so that factors are below 1/2.
    #[cfg(all(target_arch = "arm", feature = "mve"))]
    pub(crate) fn shifts_are_low(&self) -> bool {
        match self {
            Channels::Wide { shifts, .. } => shifts.iter().all(|&shift| (shift as i8) < 0),
            Channels::Packed { shift_max, .. } => *shift_max < 0,
        }
    }

    /// Puts some more channels into a table, four together.
    #[cfg(all(target_arch = "arm", feature = "mve"))]
    pub(crate) fn push(&self, table: &mut Table, first: usize, count: usize) {
        let range = first..first + count;
        match *self {
            Channels::Wide {
                biases,
                multipliers: [multiplier],
                shifts: [shift],
            } => table.push_one(
                &biases[range],
                i32::from_le_bytes(*multiplier),
                *shift as i8,
            ),
            Channels::Wide {
                biases,
                multipliers,
                shifts,
            } => table.push_wide(
                &biases[range.clone()],
                &multipliers[range.clone()],
                &shifts[range],
            ),
            Channels::Packed {
                words,
                biases,
                shift_max,
            } => table.push_packed(&words[range.clone()], &biases[range], shift_max),
        }
    }

    /// Bias and multiplier of one channel.
    #[cfg(any(
        not(target_os = "none"),
        all(target_arch = "arm", target_feature = "dsp", not(feature = "mve"))
    ))]
    #[inline(always)]
    pub(crate) fn channel(&self, index: usize) -> (i32, Multiplier) {
        match *self {
            Channels::Wide {
                biases,
                multipliers,
                shifts,
            } => {
                let own = if multipliers.len() == 1 { 0 } else { index };
                let multiplier = Multiplier {
                    value: i32::from_le_bytes(multipliers[own]),
                    shift: shifts[own] as i8,
                };
                (i32::from_le_bytes(biases[index]), multiplier)
            }
            Channels::Packed {
                words,
                biases,
                shift_max,
            } => unpack_channel(words[index], biases[index], shift_max),
        }
    }

    /// [`Channels::finish_few`] for many, where a device makes it a call of its own.
    #[cfg(not(all(target_arch = "arm", target_feature = "dsp", not(feature = "mve"))))]
    #[cfg_attr(target_os = "none", inline(never))]
    #[cfg_attr(not(target_os = "none"), inline)]
    pub(crate) fn finish(
        &self,
        first: usize,
        sums: &[i32],
        outputs: &[Cell<u8>],
        clamp: impl Fn(i32) -> u8,
    ) {
        self.finish_few(first, sums, outputs, clamp);
    }

    /// Adds the biases to some sums, from channel `first` on, rescales and clamps them into bytes.
    #[cfg(not(all(target_arch = "arm", target_feature = "dsp", not(feature = "mve"))))]
    #[inline(always)]
    pub(crate) fn finish_few(
        &self,
        first: usize,
        sums: &[i32],
        outputs: &[Cell<u8>],
        clamp: impl Fn(i32) -> u8,
    ) {
        let multiplier = |value: &[u8; 4], shift: &u8| Multiplier {
            value: i32::from_le_bytes(*value),
            shift: *shift as i8,
        };
        let (biases, multipliers, shifts) = match *self {
            Channels::Wide {
                biases,
                multipliers,
                shifts,
            } => (biases, multipliers, shifts),
            Channels::Packed {
                words,
                biases,
                shift_max,
            } => {
                let packed = words[first..].iter().zip(&biases[first..]);
                for ((output, &sum), (&word, &bias)) in outputs.iter().zip(sums).zip(packed) {
                    let (bias, multiplier) = unpack_channel(word, bias, shift_max);
                    output.set(clamp(multiplier.apply(bias.wrapping_add(sum))));
                }
                return;
            }
        };
        let biases = biases[first..].iter().map(|&bias| i32::from_le_bytes(bias));
        let biased = sums
            .iter()
            .zip(biases)
            .map(|(sum, bias)| bias.wrapping_add(*sum));
        if let ([value], [shift]) = (multipliers, shifts) {
            let multiplier = multiplier(value, shift);
            for (output, accumulator) in outputs.iter().zip(biased) {
                output.set(clamp(multiplier.apply(accumulator)));
            }
            return;
        }
        let multipliers = multipliers[first..].iter().zip(&shifts[first..]);
        for ((output, accumulator), (value, shift)) in outputs.iter().zip(biased).zip(multipliers) {
            output.set(clamp(multiplier(value, shift).apply(accumulator)));
        }
    }
}

/// Holds bytes to the fused activation, where it is not the whole range.
#[cfg(all(target_arch = "arm", target_feature = "dsp", not(feature = "mve")))]
pub(crate) fn clamp_bytes(outputs: &[Cell<u8>], [least, greatest]: [i8; 2]) {
    if [least, greatest] == [i8::MIN, i8::MAX] {
        return;
    }
    for output in outputs {
        output.set((output.get() as i8).clamp(least, greatest) as u8);
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
#[cfg(any(
    feature = "general-ops",
    not(all(target_arch = "arm", target_feature = "dsp", not(feature = "mve")))
))]
#[inline]
pub(crate) fn copy(to: &[Cell<u8>], from: &[Cell<u8>]) {
    for (to, from) in to.iter().zip(from) {
        to.set(from.get());
    }
}

#[cfg(any(
    feature = "general-ops",
    not(all(target_arch = "arm", target_feature = "dsp", not(feature = "mve")))
))]
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

/// Both numbers of a pair, wider.
#[cfg(all(target_arch = "arm", target_feature = "dsp", not(feature = "mve")))]
#[inline(always)]
pub(crate) fn pair<T, U: From<T>>([first, second]: [T; 2]) -> [U; 2] {
    [U::from(first), U::from(second)]
}

/// The rows of an output in the order in which the op makes them.
pub(crate) fn rows_in_order(op: &OpRecord, count: usize) -> impl Iterator<Item = usize> + use<> {
    rows_from(op.flags & FLAG_BACKWARD != 0, count)
}

/// Rows from the first to the last, or from the last to the first.
pub(crate) fn rows_from(backward: bool, count: usize) -> impl Iterator<Item = usize> + use<> {
    (0..count).map(move |row| if backward { count - 1 - row } else { row })
}

/// The places of a pool's window that lie inside the input, along one axis.
#[cfg(not(all(target_arch = "arm", target_feature = "dsp", not(feature = "mve"))))]
pub(crate) fn place_inside(
    at: usize,
    kernel: u16,
    stride: u8,
    pad: u16,
    len: usize,
) -> core::ops::Range<usize> {
    let start = at as i32 * i32::from(stride) - i32::from(pad);
    let (first, end) = taps_inside(start, kernel, 1, len);
    if first == end {
        return 0..0;
    }
    (start + first as i32) as usize..(start + end as i32) as usize
}

/// One of the op's own 32-bit numbers.
pub(crate) fn number(plan: &Plan<'_>, op: &OpRecord, index: usize) -> i32 {
    read_i32(
        plan.constants(),
        (op.channels_offset as usize).wrapping_add(4 * index),
    )
}

/// A multiplier and its shift, one pair of the op's own numbers.
#[inline(never)]
pub(crate) fn multiplier(plan: &Plan<'_>, op: &OpRecord, pair: usize) -> Multiplier {
    Multiplier {
        value: number(plan, op, 2 * pair),
        shift: number(plan, op, 2 * pair + 1) as i8,
    }
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
