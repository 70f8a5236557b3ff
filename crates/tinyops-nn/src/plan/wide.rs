//! What is checked of ops that read or make int16 values.

use core::ops::Range;

use super::{Plan, PlanError, channel_parts};
use crate::kernel;
use crate::record::{
    BinaryFunction, CONSTANTS_ALIGN, ELEMENT_AT, Element, FLAG_BACKWARD, FLAG_FILL,
    FLAG_NARROW_SUM, FLAG_ONE_MULTIPLIER, FLAG_WIDE_BIAS, NONE, OpCode, OpRecord, ReduceFunction,
    TENSOR_BYTES, TensorRecord,
};

/// The numbers that every op over int16 has before its others: least and greatest result.
pub(crate) const CLAMP_BYTES: u32 = 4;
/// Function, zero points of input and output, two multipliers with their shifts.
const FUNCTION_BYTES: u64 = 4 * 7;
/// Multiplier and shift of a softmax.
const SOFTMAX_BYTES: u64 = 4 * 2;
/// Values of one of a softmax's two tables.
pub(crate) const SOFTMAX_TABLE: usize = 513;

pub(crate) use crate::kernel::squash::SIGMOID_TABLE;

impl Plan<'_> {
    /// Whether a tensor of the op has int16 values.
    pub(crate) fn is_wide(&self, op: &OpRecord) -> bool {
        if !self.has_int16 {
            return false;
        }
        let is_int16 = |index: u16| self.tensors[usize::from(index)][ELEMENT_AT] != 0;
        let second = op.inputs[1];
        is_int16(op.inputs[0]) || is_int16(op.output) || second != NONE && is_int16(second)
    }

    /// The op as its kernel for int8 would see its numbers: after the least and greatest result.
    pub(crate) fn after_clamp(op: &OpRecord) -> OpRecord {
        OpRecord {
            channels_offset: op.channels_offset + CLAMP_BYTES,
            ..*op
        }
    }

    /// [`Plan::check_op`] for an op that [`Plan::is_wide`].
    pub(super) fn check_wide(&self, op: &OpRecord, index: u16) -> Result<(), PlanError> {
        let (input, output) = (self.view(op.inputs[0]), self.view(op.output));
        if op.code == OpCode::Constant {
            let end = u64::from(op.weights_offset) + output.bytes() as u64;
            let is_sound = op.flags == 0 && end <= self.constants.len() as u64;
            return is_sound.then_some(()).ok_or(PlanError::Constants(index));
        }
        let numbers_are_sound = op.clamp == [i8::MIN, i8::MAX]
            && op.shift == 0
            && op.kernel.iter().all(|&n| n > 0)
            && op.stride.iter().chain(&op.dilation).all(|&n| n > 0)
            && self.flags_suit_wide(op);
        if !numbers_are_sound {
            return Err(PlanError::Op(index));
        }
        let is_function = op.code == OpCode::Lookup;
        let second = op.inputs[1];
        let mut elements = [input.element, output.element, Element::Int16];
        if second != NONE {
            elements[2] = self.view(second).element;
        }
        // Only a function of one value leads from one kind of values to the other.
        if !is_function && elements != [Element::Int16; 3] {
            return Err(PlanError::Shapes(index));
        }
        let same_channels = output.shape[3] == input.shape[3];
        let shapes_fit = match op.code {
            OpCode::DepthwiseConv2d => output.shape[3].is_multiple_of(input.shape[3]),
            OpCode::MaxPool2d | OpCode::AveragePool2d => same_channels,
            OpCode::Softmax | OpCode::Lookup => output.shape == input.shape,
            _ => true,
        };
        if !shapes_fit {
            return Err(PlanError::Shapes(index));
        }
        if !self.constants_suit_wide(op) {
            return Err(PlanError::Constants(index));
        }
        self.check_wide_overlap(op, index)
    }

    fn flags_suit_wide(&self, op: &OpRecord) -> bool {
        let of_sums = FLAG_ONE_MULTIPLIER | FLAG_WIDE_BIAS | FLAG_NARROW_SUM;
        let rows = op.wide_keeps_to_rows(self.view(op.output).shape);
        let backward = if rows { FLAG_BACKWARD } else { 0 };
        let known = match op.code {
            OpCode::Conv2d | OpCode::DepthwiseConv2d => of_sums | backward,
            OpCode::MaxPool2d | OpCode::AveragePool2d => backward,
            OpCode::Copy => FLAG_FILL,
            OpCode::Softmax | OpCode::Lookup | OpCode::Binary | OpCode::Reduce => 0,
            _ => return false,
        };
        let both = FLAG_WIDE_BIAS | FLAG_NARROW_SUM;
        op.flags & !known == 0 && op.flags & both != both
    }

    /// Whether filter, table and numbers lie in the constants, and every number is one that the
    /// kernel knows.
    fn constants_suit_wide(&self, op: &OpRecord) -> bool {
        let (input, output) = (self.view(op.inputs[0]), self.view(op.output));
        let channels = u64::from(output.shape[3]);
        let inside =
            |offset: u32, bytes: u64| u64::from(offset) + bytes <= self.constants.len() as u64;
        let weights = match op.code {
            OpCode::Softmax => 2 * 2 * SOFTMAX_TABLE as u64,
            OpCode::Lookup => 2 * SIGMOID_TABLE as u64,
            _ => op.filter_bytes(input.shape, output.shape),
        };
        let numbers = match op.code {
            OpCode::Conv2d | OpCode::DepthwiseConv2d => channel_bytes(op, channels),
            OpCode::Softmax => SOFTMAX_BYTES,
            OpCode::Lookup => FUNCTION_BYTES,
            OpCode::Binary => 4 * kernel::binary::NUMBERS as u64,
            OpCode::Reduce => 4 * kernel::reduce::NUMBERS as u64,
            _ => 0,
        };
        // A rescaled value needs no table.
        let weights_are_there = inside(op.weights_offset, weights)
            || op.code == OpCode::Lookup && op.weights_offset == 0;
        let aligned = (op.weights_offset as usize).is_multiple_of(CONSTANTS_ALIGN)
            && op.channels_offset.is_multiple_of(4);
        if !weights_are_there
            || !aligned
            || !inside(op.channels_offset, numbers + u64::from(CLAMP_BYTES))
        {
            return false;
        }
        let [least, greatest] = kernel::int16::clamp_of(self, op);
        let [lowest, highest] = output.element.range();
        least >= lowest && least <= greatest && greatest <= highest && self.numbers_suit_wide(op)
    }

    fn numbers_suit_wide(&self, op: &OpRecord) -> bool {
        let inner = Plan::after_clamp(op);
        let number = |index: usize| kernel::number(self, &inner, index);
        let (input, output) = (self.view(op.inputs[0]), self.view(op.output));
        let lens = [input.len, output.len];
        match op.code {
            OpCode::Conv2d | OpCode::DepthwiseConv2d => {
                let most = if op.flags & FLAG_NARROW_SUM != 0 {
                    30
                } else {
                    7
                };
                let channels = kernel::int16::Channels::of(self, op, usize::from(output.shape[3]));
                channels.multipliers().all(|multiplier| {
                    multiplier.value >= 0 && (-31..=most).contains(&multiplier.shift)
                })
            }
            OpCode::Softmax => number(0) >= 0 && (-31..=30).contains(&number(1)),
            OpCode::Lookup => {
                let both = [input.element, output.element] == [Element::Int16; 2];
                let in_range = |index: usize| (-128..=127).contains(&number(index));
                match number(0) {
                    0 => {
                        let shifts = [number(4), number(6)];
                        in_range(1)
                            && in_range(2)
                            && number(3) >= 0
                            && number(5) != i32::MIN
                            && shifts.iter().all(|shift| (-31..=30).contains(shift))
                    }
                    1 | 2 => {
                        let table = 2 * SIGMOID_TABLE as u64 + u64::from(op.weights_offset);
                        both && (0..=65_535).contains(&number(1))
                            && (0..=31).contains(&number(2))
                            && table <= self.constants.len() as u64
                    }
                    _ => false,
                }
            }
            OpCode::Copy => kernel::copy::is_sound(self, &inner, lens),
            OpCode::Binary => {
                let is_prelu = number(0) == BinaryFunction::Prelu as i32;
                let width = if is_prelu { 1 } else { 2 };
                let of_constants = self.constants.len().checked_sub(op.weights_offset as usize);
                let second = match op.inputs[1] {
                    NONE => of_constants.map(|bytes| bytes / width),
                    // The slopes are int8 constants.
                    _ if is_prelu => None,
                    index => Some(self.view(index).len),
                };
                second.is_some_and(|len| kernel::binary::is_sound(self, &inner, [lens[0], len]))
            }
            OpCode::Reduce => {
                number(0) == ReduceFunction::Sum as i32
                    && kernel::reduce::is_sound(self, &inner, lens)
            }
            _ => true,
        }
    }

    /// Elementwise ops may write over an input of the same width that they have just read, those
    /// that keep to rows over rows that they have done with.
    fn check_wide_overlap(&self, op: &OpRecord, index: u16) -> Result<(), PlanError> {
        let output = self.view(op.output);
        let written = output.range();
        let elementwise = matches!(op.code, OpCode::Lookup | OpCode::Softmax | OpCode::Binary);
        let apart = |read: &Range<usize>| read.end <= written.start || written.end <= read.start;
        for read in op.inputs {
            if read == NONE {
                continue;
            }
            let input = self.view(read);
            let range = input.range();
            let distance = output.offset as i64 - input.offset as i64;
            let trails = || match op.wide_overlap(input.shape, output.shape) {
                Some((_, lag)) if op.flags & FLAG_BACKWARD != 0 => distance >= lag,
                Some((lead, _)) => distance <= lead,
                None => false,
            };
            let may_overlap = elementwise && range == written || trails();
            if !may_overlap && !apart(&range) {
                return Err(PlanError::Overlap(index));
            }
        }
        Ok(())
    }
}

/// Whether a tensor, which would lie in the arena if its values were bytes, does so if they are
/// int16. These have no zero point, and lie where a processor reads each in one step.
pub(super) fn suits(record: &TensorRecord, arena_bytes: u32) -> bool {
    let end = || u64::from(record.offset) + 2 * record.element_count();
    record.element == Element::Int8
        || record.zero_point == 0
            && record.offset.is_multiple_of(2)
            && end() <= u64::from(arena_bytes)
}

/// Whether any of some tensor records says that its values are int16.
pub(super) fn has_int16(tensors: &[[u8; TENSOR_BYTES]]) -> bool {
    tensors.iter().any(|record| record[ELEMENT_AT] != 0)
}

/// The bytes of the channel block of a convolution over int16.
pub(crate) fn channel_bytes(op: &OpRecord, channels: u64) -> u64 {
    let (words, shifts) = channel_parts(op, channels);
    let wider = if op.flags & FLAG_WIDE_BIAS != 0 {
        4 * channels
    } else {
        0
    };
    (words + shifts) as u64 + wider
}
