//! Sum of two tensors of one shape and different scales.

use core::cell::Cell;

use super::{clamp, number};
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
    let (first_by, second_by, result_by) = (multiplier(0), multiplier(1), multiplier(2));
    let clamp = clamp(op, result.zero_point);
    let lifted =
        |value: u8, zero_point: i8| (i32::from(value as i8) - i32::from(zero_point)) << LEFT_SHIFT;
    let sum_of = |a: u8, b: u8| {
        let a = first_by.apply(lifted(a, first.zero_point));
        let b = second_by.apply(lifted(b, second.zero_point));
        clamp(result_by.apply(a.wrapping_add(b)))
    };
    for (output, (a, b)) in output.iter().zip(inputs[0].iter().zip(inputs[1])) {
        output.set(sum_of(a.get(), b.get()));
    }
}
