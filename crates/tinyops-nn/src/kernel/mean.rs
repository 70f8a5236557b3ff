//! Mean of a whole image.

use core::cell::Cell;

use super::{clamp, number};
use crate::plan::Plan;
use crate::quantize::Multiplier;
use crate::record::OpRecord;

/// The mean over height and width: `clamp(zp + rescale(Σ in - count · zp_in))`.
///
/// The plan's multiplier holds `scale_in / scale_out / count`, its bias `-count · zp_in`.
pub(crate) fn mean(plan: &Plan<'_>, op: &OpRecord, input: &[Cell<u8>], output: &[Cell<u8>]) {
    let bias = number(plan, op, 0);
    let multiplier = Multiplier {
        value: number(plan, op, 1),
        shift: number(plan, op, 2) as i8,
    };
    let clamp = clamp(op, plan.view(op.output).zero_point);
    let channels = output.len();
    for (channel, output) in output.iter().enumerate() {
        let sum = input
            .iter()
            .skip(channel)
            .step_by(channels)
            .fold(bias, |sum, value| {
                sum.wrapping_add(i32::from(value.get() as i8))
            });
        output.set(clamp(multiplier.apply(sum)));
    }
}
