//! Sum of two tensors of one shape and different scales.

use core::cell::Cell;

use super::{clamp, number};
#[cfg(all(target_arch = "arm", target_feature = "dsp", not(feature = "mve")))]
use crate::arch::dsp as arch;
#[cfg(all(target_arch = "arm", feature = "mve"))]
use crate::arch::mve as arch;
use crate::plan::Plan;
use crate::quantize::Multiplier;
use crate::record::OpRecord;

/// Extra bits of each addend, so that rescaling loses nothing that the sum would show.
const LEFT_SHIFT: u32 = 20;

/// `clamp(zp + rescale_out(rescale_a(a - zp_a) + rescale_b(b - zp_b)))`; may write over an input.
pub(crate) fn add(plan: &Plan<'_>, op: &OpRecord, inputs: [&[Cell<u8>]; 2], output: &[Cell<u8>]) {
    let first = plan.view(op.inputs[0]);
    let second = plan.view(op.inputs[1]);
    let result = plan.view(op.output);
    let multiplier = |index: usize| Multiplier {
        value: number(plan, op, 2 * index),
        shift: number(plan, op, 2 * index + 1) as i8,
    };
    let multipliers = [0, 1, 2].map(multiplier);
    #[cfg(all(target_arch = "arm", any(target_feature = "dsp", feature = "mve")))]
    {
        let zero_points = [first.zero_point, second.zero_point, result.zero_point];
        if arch::add(inputs, output, multipliers, zero_points, op.clamp) {
            return;
        }
    }
    let clamp = clamp(op, result.zero_point);
    let lifted =
        |value: u8, zero_point: i8| (i32::from(value as i8) - i32::from(zero_point)) << LEFT_SHIFT;
    for (output, (a, b)) in output.iter().zip(inputs[0].iter().zip(inputs[1])) {
        let a = multipliers[0].apply(lifted(a.get(), first.zero_point));
        let b = multipliers[1].apply(lifted(b.get(), second.zero_point));
        output.set(clamp(multipliers[2].apply(a.wrapping_add(b))));
    }
}
