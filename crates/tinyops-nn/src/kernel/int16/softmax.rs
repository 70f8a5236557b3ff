//! Softmax over the channels.

use super::{Values, put, value};
use crate::kernel::number;
use crate::plan::{Plan, SOFTMAX_TABLE};
use crate::quantize::Multiplier;
use crate::record::OpRecord;

/// `32768 · exp(x - max) / Σ exp(x - max)`; may write over its input.
///
/// Both the exponential over -10…0 and `1 / (1 + x)` over 0…1 are tables of 512 pieces.
///
/// # Source
/// TFLM, `reference_ops::SoftmaxInt16`.
pub(super) fn softmax(plan: &Plan<'_>, op: &OpRecord, input: Values<'_>, output: Values<'_>) {
    let multiplier = Multiplier {
        value: number(plan, op, 0),
        shift: number(plan, op, 1) as i8,
    };
    let tables = plan.constants()[op.weights_offset as usize..].as_chunks().0;
    let (exponentials, reciprocals) = tables[..2 * SOFTMAX_TABLE].split_at(SOFTMAX_TABLE);
    let channels = usize::from(plan.view(op.output).shape[3]);
    let rows = input.0.chunks_exact(channels);
    for (row, outputs) in rows.zip(output.0.chunks_exact(channels)) {
        let values = row.iter().map(value);
        let greatest = values.fold(i32::from(i16::MIN), i32::max);
        let mut sum = 0i32;
        for (input, output) in row.iter().zip(outputs) {
            let difference = multiplier.apply(value(input) - greatest);
            let exponential = interpolated(exponentials, difference.saturating_add(32_767));
            sum = sum.wrapping_add(exponential);
            put(output, exponential);
        }
        // For the tables of a compiler the sum is at least that of the greatest value, 32,767.
        let headroom = sum.leading_zeros().clamp(1, 30);
        let fraction = ((i64::from(sum) << (headroom - 1)) + (1 << 13)) >> 14;
        let reciprocal = interpolated(reciprocals, fraction as i32 - (3 << 15));
        let down = 31 - headroom;
        for output in outputs {
            let product = i64::from(value(output)) * i64::from(reciprocal);
            let share = (product + (1 << (down - 1))) >> down;
            put(output, (share as i32).clamp(0, 32_767));
        }
    }
}

/// A function over the whole range of int16, known at every 128th value and straight between.
fn interpolated(table: &[[u8; 2]], at: i32) -> i32 {
    let at = at.clamp(i32::from(i16::MIN), i32::from(i16::MAX));
    let place = (256 + (at >> 7)) as usize;
    let entry = |index: usize| i16::from_le_bytes(table[index]);
    let slope = entry(place + 1).wrapping_sub(entry(place));
    let rise = (i32::from(slope) * (at & 127) + 64) >> 7;
    i32::from((i32::from(entry(place)) + rise) as i16)
}
