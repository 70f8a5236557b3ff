//! Vectors brought to length 1.

use core::cell::Cell;

use super::number;
use crate::fixed::inverse_square_root;
use crate::plan::Plan;
use crate::quantize::Multiplier;
use crate::record::OpRecord;

/// 32-bit numbers of the op: the zero point of its input.
pub(crate) const NUMBERS: usize = 1;

/// Each row of channels divided by its length, in parts of 128.
///
/// # Source
/// TFLM, `reference_integer_ops::L2Normalization`.
pub(crate) fn normalize(plan: &Plan<'_>, op: &OpRecord, input: &[Cell<u8>], output: &[Cell<u8>]) {
    let zero_point = number(plan, op, 0);
    let channels = usize::from(plan.view(op.output).shape[3]);
    let rows = input.chunks_exact(channels);
    for (row, outputs) in rows.zip(output.chunks_exact(channels)) {
        let value = |cell: &Cell<u8>| i32::from(cell.get() as i8) - zero_point;
        let squares = row.iter().map(|cell| value(cell) * value(cell));
        let sum = squares.fold(0i32, i32::wrapping_add);
        let (root, shift) = inverse_square_root(sum.max(0));
        let multiplier = Multiplier {
            value: root,
            shift: (shift + 7).clamp(-31, 30) as i8,
        };
        for (cell, output) in row.iter().zip(outputs) {
            output.set(multiplier.apply(value(cell)).clamp(-128, 127) as u8);
        }
    }
}
