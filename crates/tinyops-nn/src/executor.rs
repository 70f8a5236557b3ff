//! Runs the ops of a checked plan over an arena.

use crate::arena::Cells;
use crate::kernel;
use crate::kernel::add::Sum;
use crate::kernel::pool::Pool;
use crate::plan::Plan;
#[cfg(feature = "general-ops")]
use crate::record::NONE;
use crate::record::OpCode;

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
    /// One of several pieces that the caller lent is too small.
    RegionTooSmall {
        /// Which region of the plan, from 0.
        region: usize,
        /// Bytes that the plan needs of it.
        needed: usize,
        /// Bytes that the caller lent.
        given: usize,
    },
    /// The caller lent too little working memory to [`crate::Prepared`].
    #[cfg(not(target_os = "none"))]
    WorkTooSmall {
        /// Lines that the plan needs.
        needed: usize,
        /// Lines that the caller lent.
        given: usize,
    },
    /// The arena begins at no multiple of 4, which this processor's kernels need.
    ArenaMisaligned,
}

impl core::fmt::Display for RunError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            RunError::ArenaMisaligned => f.write_str("the arena begins at no multiple of 4"),
            #[cfg(not(target_os = "none"))]
            RunError::WorkTooSmall { needed, given } => {
                write!(
                    f,
                    "the plan needs {needed} lines of working memory, {given} were lent"
                )
            }
            RunError::RegionTooSmall {
                region,
                needed,
                given,
            } => {
                write!(
                    f,
                    "the plan needs {needed} bytes in memory region {region}, {given} were lent"
                )
            }
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

/// Runs one op of a plan that `Plan::load` has checked.
///
/// Input, output and scratch are views of an arena that may share bytes, so each is a slice of
/// cells: whatever a plan makes overlap, a kernel can only compute nonsense.
///
/// A convolution that goes into a sum runs with that.
pub(crate) fn execute<'m>(plan: &Plan<'_>, index: usize, arena: impl Cells<'m>) {
    let Some(mut op) = plan.op(index) else { return };
    #[cfg(feature = "general-ops")]
    if op.code == OpCode::Constant {
        let values = &plan.constants()[op.weights_offset as usize..];
        let output = arena.at(plan.view(op.output).range());
        for (output, &value) in output.iter().zip(values) {
            output.set(value);
        }
        return;
    }
    #[cfg(feature = "int16")]
    if plan.is_wide(&op) {
        return kernel::int16::execute(plan, &op, arena);
    }
    if op.goes_into_sum() {
        return;
    }
    let sum = (op.code == OpCode::Add).then(|| Sum::of(plan, &op, arena));
    if op.is_merged_sum() {
        let Some(conv) = plan.op(index.wrapping_sub(1)) else {
            return;
        };
        op = conv;
    }
    let op = &op;
    let result = plan.view(op.output);
    let output = arena.at(result.range());
    let source = plan.view(op.inputs[0]);
    let input = arena.at(source.range());
    match op.code {
        OpCode::Conv2d => {
            let scratch_bytes = op.scratch_bytes(source.shape, result.shape) as usize;
            // `Plan::load` holds only a scratch that has bytes to the arena.
            let scratch = if scratch_bytes == 0 {
                &[]
            } else {
                let start = op.scratch_offset as usize;
                arena.at(start..start + scratch_bytes)
            };
            kernel::conv::convolve(plan, op, input, output, scratch, sum.as_ref());
        }
        OpCode::DepthwiseConv2d => kernel::depthwise::convolve(plan, op, input, output),
        #[cfg(feature = "general-ops")]
        OpCode::MaxPool2d => kernel::pool::pool(plan, op, Pool::Max, input, output),
        OpCode::AveragePool2d => kernel::pool::pool(plan, op, Pool::Average, input, output),
        #[cfg(feature = "general-ops")]
        OpCode::Mean => kernel::mean::mean(plan, op, input, output),
        #[cfg(feature = "general-ops")]
        OpCode::Pad => kernel::pad::pad(plan, op, input, output),
        OpCode::Add => {
            if let Some(sum) = &sum {
                sum.add(0..result.len);
            }
        }
        #[cfg(feature = "general-ops")]
        OpCode::Copy => kernel::copy::copy(plan, op, input, output),
        #[cfg(feature = "general-ops")]
        OpCode::Binary => {
            let second = (op.inputs[1] != NONE).then(|| arena.at(plan.view(op.inputs[1]).range()));
            kernel::binary::binary(plan, op, input, second, output);
        }
        #[cfg(feature = "general-ops")]
        OpCode::Product => {
            let second = (op.inputs[1] != NONE).then(|| arena.at(plan.view(op.inputs[1]).range()));
            kernel::product::multiply(plan, op, input, second, output);
        }
        #[cfg(feature = "general-ops")]
        OpCode::Extreme => kernel::extreme::place(plan, op, input, output),
        #[cfg(feature = "general-ops")]
        OpCode::Normalize => kernel::normalize::normalize(plan, op, input, output),
        #[cfg(feature = "general-ops")]
        OpCode::Svdf => {
            let state = arena.at(plan.view(op.inputs[1]).range());
            kernel::svdf::filter(plan, op, input, state, output);
        }
        #[cfg(feature = "general-ops")]
        OpCode::Lstm => {
            let state = arena.at(plan.view(op.inputs[1]).range());
            kernel::lstm::run(plan, op, input, state, output);
        }
        #[cfg(feature = "general-ops")]
        OpCode::Constant => {}
        #[cfg(feature = "general-ops")]
        OpCode::Reduce => kernel::reduce::reduce(plan, op, input, output),
        #[cfg(feature = "general-ops")]
        OpCode::ResizeBilinear => kernel::resize::bilinear(plan, op, input, output),
        OpCode::Softmax => kernel::softmax::softmax(plan, op, input, output),
        #[cfg(feature = "general-ops")]
        OpCode::Lookup => {
            let table = &plan.constants()[op.weights_offset as usize..][..256];
            for (output, input) in output.iter().zip(input) {
                output.set(table[usize::from(input.get() ^ 0x80)]);
            }
        }
        #[cfg(not(feature = "general-ops"))]
        _ => {}
    }
}
