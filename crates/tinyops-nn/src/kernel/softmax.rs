//! Softmax over the channels.

use core::cell::Cell;

use super::{multiplier, number};
use crate::fixed::{exp_of_negative, reciprocal};
use crate::plan::Plan;
use crate::quantize::{doubling_high_mul, rounding_divide_by_power_of_two};
use crate::record::OpRecord;

/// Integer bits of a scaled difference to the greatest value.
const DIFFERENCE_BITS: u32 = 5;
/// Integer bits of the sum of exponentials.
const SUM_BITS: i32 = 12;

/// `256 · exp(β(x - max)) / Σ exp(β(x - max)) - 128` in fixed point; may write over its input.
///
/// # Source
/// TFLM, `reference_ops::Softmax` for int8 in and out.
pub(crate) fn softmax(plan: &Plan<'_>, op: &OpRecord, input: &[Cell<u8>], output: &[Cell<u8>]) {
    let multiplier = multiplier(plan, op, 0);
    let least_difference = number(plan, op, 2);
    let channels = usize::from(plan.view(op.output).shape[3]);
    for (row, outputs) in input
        .chunks_exact(channels)
        .zip(output.chunks_exact(channels))
    {
        let greatest = row
            .iter()
            .fold(i8::MIN, |greatest, value| greatest.max(value.get() as i8));
        let exponential = |value: u8| {
            let difference = i32::from(value as i8) - i32::from(greatest);
            (difference >= least_difference)
                .then(|| exp_of_negative::<DIFFERENCE_BITS>(multiplier.apply(difference)))
        };
        let sum = row
            .iter()
            .filter_map(|value| exponential(value.get()))
            .fold(0i32, |sum, term| {
                sum.wrapping_add(rounding_divide_by_power_of_two(term, SUM_BITS as u32))
            });
        let (scale, bits_over_unit) = reciprocal(sum, SUM_BITS);
        // The sum is at least exp(0) for any plan of a compiler; another plan gets some bytes.
        let exponent = (bits_over_unit + 31 - 8).clamp(0, 31) as u32;
        for (value, output) in row.iter().zip(outputs) {
            let share = exponential(value.get()).map_or(0, |term| {
                rounding_divide_by_power_of_two(doubling_high_mul(scale, term), exponent)
            });
            output.set(share.saturating_sub(128).clamp(-128, 127) as u8);
        }
    }
}
