//! Functions of one value: other scales, rectifiers, logistic function, hyperbolic tangent.

use core::cell::Cell;

use super::{clamp_of, get, set};
use crate::kernel::number;
use crate::kernel::squash::squash;
use crate::plan::Plan;
use crate::quantize::Multiplier;
use crate::record::{Element, OpRecord};

/// May write over an input of the same kind. Numbers, after the least and greatest result: which
/// function, then what [`rescale`] or [`sigmoid`] tell.
pub(super) fn function(
    plan: &Plan<'_>,
    op: &OpRecord,
    elements: [Element; 2],
    input: &[Cell<u8>],
    output: &[Cell<u8>],
) {
    let [least, greatest] = clamp_of(plan, op);
    let inner = Plan::after_clamp(op);
    let numbers = [1, 2, 3, 4, 5, 6].map(|index| number(plan, &inner, index));
    let which = number(plan, &inner, 0);
    let table = &plan.constants()[op.weights_offset as usize..];
    let table = table.as_chunks::<2>().0;
    for index in 0..plan.view(op.output).len {
        let value = get(elements[0], input, index);
        let result = match which {
            0 => rescale(value, numbers),
            _ => sigmoid(value, numbers, table, which == 2),
        };
        set(elements[1], output, index, result.clamp(least, greatest));
    }
}

/// The value on another scale, with a factor of its own below 0.
///
/// Numbers: zero points of input and output, then the factors of values from 0 on and of values
/// below, the latter's multiplier below 0 where the factor is.
fn rescale(value: i32, numbers: [i32; 6]) -> i32 {
    let [zero_in, zero_out, above, above_shift, below, below_shift] = numbers;
    let value = value - zero_in;
    let factor = |value: i32, shift: i32| Multiplier {
        value,
        shift: shift as i8,
    };
    let rescaled = if value >= 0 {
        factor(above, above_shift).apply(value)
    } else if below < 0 {
        factor(-below, below_shift).apply(value).wrapping_neg()
    } else {
        factor(below, below_shift).apply(value)
    };
    rescaled.saturating_add(zero_out)
}

/// The logistic function or, where `is_tanh`, the hyperbolic tangent, as `2 · logistic(2x) - 1`:
/// interpolated between the values at every 24th of the argument.
///
/// Numbers: the multiplier that brings the input to parts of 12,288, and its shift to the right.
///
/// # Source
/// TFLM, `reference_integer_ops::Logistic` and `Tanh` for `int16_t`.
fn sigmoid(value: i32, numbers: [i32; 6], table: &[[u8; 2]], is_tanh: bool) -> i32 {
    let [multiplier, shift, ..] = numbers;
    let shift = shift as u32 & 31;
    let half = (1i32 << shift) >> 1;
    let input = value.wrapping_mul(multiplier).wrapping_add(half) >> shift;
    squash(input, table, is_tanh)
}
