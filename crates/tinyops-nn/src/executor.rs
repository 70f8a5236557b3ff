//! Runs the ops of a checked plan over an arena.

use core::ops::Range;

use crate::kernel;
use crate::plan::Plan;
use crate::record::{OpCode, OpRecord};

/// Why a plan did not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RunError {
    /// The caller lent too little memory.
    ArenaTooSmall {
        /// Bytes that the plan needs.
        needed: usize,
        /// Bytes that the caller lent.
        given: usize,
    },
}

impl core::fmt::Display for RunError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            RunError::ArenaTooSmall { needed, given } => {
                write!(
                    f,
                    "the plan needs an arena of {needed} bytes, {given} were lent"
                )
            }
        }
    }
}

impl core::error::Error for RunError {}

pub(crate) fn execute(plan: &Plan<'_>, op: &OpRecord, arena: &mut [u8]) {
    let input = plan.view(op.inputs[0]);
    let output = plan.view(op.output);
    match op.code {
        OpCode::Conv2d => {
            let scratch = op.scratch_bytes(input.shape, output.shape) as usize;
            if scratch == 0 {
                let [source, result] = disjoint(arena, [input.range(), output.range()]);
                kernel::conv::convolve(plan, op, source, result, &mut []);
            } else {
                let start = op.scratch_offset as usize;
                let [source, result, patch] = disjoint(
                    arena,
                    [input.range(), output.range(), start..start + scratch],
                );
                kernel::conv::convolve(plan, op, source, result, patch);
            }
        }
        OpCode::DepthwiseConv2d => {
            let [source, result] = disjoint(arena, [input.range(), output.range()]);
            kernel::depthwise::convolve(plan, op, source, result);
        }
        OpCode::MaxPool2d => {
            let [source, result] = disjoint(arena, [input.range(), output.range()]);
            kernel::pool::max(plan, op, source, result);
        }
        OpCode::AveragePool2d => {
            let [source, result] = disjoint(arena, [input.range(), output.range()]);
            kernel::pool::average(plan, op, source, result);
        }
        OpCode::Mean => {
            let [source, result] = disjoint(arena, [input.range(), output.range()]);
            kernel::pool::mean(plan, op, source, result);
        }
        OpCode::Pad => {
            let [source, result] = disjoint(arena, [input.range(), output.range()]);
            kernel::pad::pad(plan, op, source, result);
        }
        OpCode::Add => kernel::add::add(plan, op, arena),
        OpCode::Softmax => {
            in_place_of(arena, &input.range(), &output.range());
            kernel::softmax::softmax(plan, op, &mut arena[output.range()]);
        }
        OpCode::Lookup => {
            in_place_of(arena, &input.range(), &output.range());
            let table = &plan.constants()[op.weights_offset as usize..][..256];
            for value in &mut arena[output.range()] {
                *value = table[usize::from(*value ^ 0x80)];
            }
        }
    }
}

fn disjoint<const N: usize>(arena: &mut [u8], ranges: [Range<usize>; N]) -> [&mut [u8]; N] {
    arena
        .get_disjoint_mut(ranges)
        .expect("`Plan::load` has proved the ranges disjoint and inside")
}

/// Copies the input of an elementwise op to where its output goes, if they are two places.
fn in_place_of(arena: &mut [u8], input: &Range<usize>, output: &Range<usize>) {
    if input != output {
        arena.copy_within(input.clone(), output.start);
    }
}
