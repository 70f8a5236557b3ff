//! Padding of height and width.

use core::cell::Cell;

use super::{copy, fill};
use crate::plan::Plan;
use crate::record::OpRecord;

/// Surrounds the input with its zero point.
pub(crate) fn pad(plan: &Plan<'_>, op: &OpRecord, input: &[Cell<u8>], output: &[Cell<u8>]) {
    let result = plan.view(op.output);
    let [_, _, width, channels] = plan.view(op.inputs[0]).shape.map(usize::from);
    let row_len = usize::from(result.shape[2]) * channels;
    fill(output, result.zero_point as u8);
    let rows = output.chunks_exact(row_len).skip(usize::from(op.pad[0]));
    for (line, row) in input.chunks_exact(width * channels).zip(rows) {
        copy(&row[usize::from(op.pad[1]) * channels..], line);
    }
}
