//! Kernels over int16 activations, int8 filters and sums of 64 bits.
//!
//! Portable, and slower than those of int8: a value is two bytes of the arena. The arithmetic is
//! TFLM's of the same types, `docs/arithmetic.md` tells it.

use core::cell::Cell;

use crate::arena::Cells;
use crate::plan::{CLAMP_BYTES, Plan, channel_parts};
use crate::quantize::Multiplier;
use crate::record::{
    Element, FLAG_FILL, FLAG_NARROW_SUM, FLAG_ONE_MULTIPLIER, FLAG_WIDE_BIAS, NONE, OpCode,
    OpRecord, read_i32,
};

mod binary;
mod conv;
mod function;
mod pool;
mod softmax;

/// Int16 values in the arena.
#[derive(Clone, Copy)]
pub(crate) struct Values<'a>(pub(crate) &'a [[Cell<u8>; 2]]);

impl<'a> Values<'a> {
    fn of(bytes: &'a [Cell<u8>]) -> Values<'a> {
        Values(bytes.as_chunks().0)
    }

    fn len(self) -> usize {
        self.0.len()
    }

    #[inline]
    fn get(self, index: usize) -> i32 {
        value(&self.0[index])
    }

    #[inline]
    fn set(self, index: usize, value: i32) {
        put(&self.0[index], value);
    }

    fn part(self, start: usize, len: usize) -> Values<'a> {
        Values(&self.0[start..][..len])
    }
}

#[inline]
fn value(bytes: &[Cell<u8>; 2]) -> i32 {
    let [low, high] = bytes;
    i32::from(i16::from_le_bytes([low.get(), high.get()]))
}

#[inline]
fn put(bytes: &[Cell<u8>; 2], value: i32) {
    let [low, high] = (value as i16).to_le_bytes();
    bytes[0].set(low);
    bytes[1].set(high);
}

/// The least and the greatest result of an op.
pub(crate) fn clamp_of(plan: &Plan<'_>, op: &OpRecord) -> [i32; 2] {
    let both = read_i32(plan.constants(), op.channels_offset as usize);
    [i32::from(both as i16), both >> 16]
}

/// Runs one op that reads or makes int16 values.
pub(crate) fn execute<'m>(plan: &Plan<'_>, op: &OpRecord, arena: impl Cells<'m>) {
    let (source, result) = (plan.view(op.inputs[0]), plan.view(op.output));
    let (input, output) = (arena.at(source.range()), arena.at(result.range()));
    if op.code == OpCode::Lookup {
        let elements = [source.element, result.element];
        return function::function(plan, op, elements, input, output);
    }
    let (input, output) = (Values::of(input), Values::of(output));
    let clamp = clamp_of(plan, op);
    let inner = Plan::after_clamp(op);
    match op.code {
        OpCode::Conv2d => conv::convolve(plan, op, input, output, clamp),
        OpCode::DepthwiseConv2d => conv::convolve_depthwise(plan, op, input, output, clamp),
        OpCode::MaxPool2d | OpCode::AveragePool2d => pool::pool(plan, op, input, output, clamp),
        OpCode::Softmax => softmax::softmax(plan, &inner, input, output),
        OpCode::Copy => {
            if op.flags & FLAG_FILL != 0 {
                output.0.iter().for_each(|place| put(place, clamp[0]));
            }
            let one = |to: usize, from: usize| output.set(to, input.get(from));
            let run = |to: usize, from: usize, count: usize| {
                let pairs = output
                    .part(to, count)
                    .0
                    .iter()
                    .zip(input.part(from, count).0);
                pairs.for_each(|(to, from)| put(to, value(from)));
            };
            super::copy::for_each_place(plan, &inner, run, one);
        }
        OpCode::Binary => {
            let second = op.inputs[1];
            let second = (second != NONE).then(|| Values::of(arena.at(plan.view(second).range())));
            binary::binary(plan, &inner, [Some(input), second], output, clamp);
        }
        OpCode::Reduce => pool::sum(plan, &inner, input, output, clamp),
        // `Plan::load` refuses the others.
        _ => {}
    }
}

/// Bias and multiplier of each output channel of a convolution.
pub(crate) struct Channels<'a> {
    biases: &'a [u8],
    multipliers: &'a [[u8; 4]],
    shifts: &'a [u8],
    has_wide_biases: bool,
    has_narrow_sums: bool,
}

impl<'a> Channels<'a> {
    pub(crate) fn of(plan: &Plan<'a>, op: &OpRecord, count: usize) -> Channels<'a> {
        let has_wide_biases = op.flags & FLAG_WIDE_BIAS != 0;
        let bias_bytes = if has_wide_biases { 8 } else { 4 } * count;
        let block = &plan.constants()[(op.channels_offset + CLAMP_BYTES) as usize..];
        let (biases, rest) = block.split_at(bias_bytes);
        let (words, shifts) = channel_parts(op, count as u64);
        let (multipliers, rest) = rest.split_at(words - 4 * count);
        debug_assert!(op.flags & FLAG_ONE_MULTIPLIER == 0 || shifts == 1);
        Channels {
            biases,
            multipliers: multipliers.as_chunks().0,
            shifts: &rest[..shifts],
            has_wide_biases,
            has_narrow_sums: op.flags & FLAG_NARROW_SUM != 0,
        }
    }

    pub(crate) fn multipliers(&self) -> impl Iterator<Item = Multiplier> {
        let pairs = self.multipliers.iter().zip(self.shifts);
        pairs.map(|(&value, &shift)| Multiplier {
            value: i32::from_le_bytes(value),
            shift: shift as i8,
        })
    }

    /// Adds the bias of a channel to its sum and rescales it.
    fn rescale(&self, channel: usize, sum: i64) -> i32 {
        let own = if self.multipliers.len() == 1 {
            0
        } else {
            channel
        };
        let multiplier = Multiplier {
            value: i32::from_le_bytes(self.multipliers[own]),
            shift: self.shifts[own] as i8,
        };
        let bias = if self.has_wide_biases {
            i64::from_le_bytes(self.biases.as_chunks().0[channel])
        } else {
            i64::from(i32::from_le_bytes(self.biases.as_chunks().0[channel]))
        };
        let sum = sum.wrapping_add(bias);
        if self.has_narrow_sums {
            multiplier.apply(sum as i32)
        } else {
            multiplier.apply_wide(sum)
        }
    }
}

/// Reads and writes values of either kind.
fn get(element: Element, cells: &[Cell<u8>], index: usize) -> i32 {
    match element {
        Element::Int8 => i32::from(cells[index].get() as i8),
        Element::Int16 => Values::of(cells).get(index),
    }
}

fn set(element: Element, cells: &[Cell<u8>], index: usize, value: i32) {
    match element {
        Element::Int8 => cells[index].set(value as u8),
        Element::Int16 => Values::of(cells).set(index, value),
    }
}
