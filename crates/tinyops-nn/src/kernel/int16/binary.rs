//! Functions of two values.

use super::Values;
use crate::kernel::number;
use crate::plan::Plan;
use crate::quantize::Multiplier;
use crate::record::{BinaryFunction, OpRecord};

/// Bits that a sum keeps below the point.
const SUM_BITS: u32 = 15;

/// The numbers are those of the same op over int8; the second operand may lie in the constants.
pub(super) fn binary(
    plan: &Plan<'_>,
    op: &OpRecord,
    operands: [Option<Values<'_>>; 2],
    output: Values<'_>,
    clamp: [i32; 2],
) {
    let Some(function) = BinaryFunction::from_number(number(plan, op, 0)) else {
        return;
    };
    let [Some(first), second] = operands else {
        return;
    };
    let zero_points = [1, 2].map(|at| number(plan, op, at));
    let [one, two, three] = [3, 5, 7].map(|at| Multiplier {
        value: number(plan, op, at),
        shift: number(plan, op, at + 1) as i8,
    });
    let apply = |first: i32, second: i32| {
        let [a, b] = [first - zero_points[0], second - zero_points[1]];
        // A tensor's zero point is 0 and a constant's in int8, so 15 bits more come to 31.
        let terms = || [one.apply(a << SUM_BITS), two.apply(b << SUM_BITS)];
        match function {
            BinaryFunction::Add => {
                let [a, b] = terms();
                three.apply(a.wrapping_add(b))
            }
            BinaryFunction::Subtract => {
                let [a, b] = terms();
                three.apply(a.wrapping_sub(b))
            }
            BinaryFunction::SubtractFrom => {
                let [a, b] = terms();
                three.apply(b.wrapping_sub(a))
            }
            BinaryFunction::Multiply => one.apply(a.wrapping_mul(b)),
            BinaryFunction::Maximum => first.max(second),
            BinaryFunction::Minimum => first.min(second),
            BinaryFunction::SquaredDifference => {
                let difference = one.apply(a).wrapping_sub(two.apply(b));
                three.apply(difference.wrapping_mul(difference))
            }
            BinaryFunction::Prelu if a >= 0 => one.apply(a),
            BinaryFunction::Prelu => two.apply(a.wrapping_mul(b)),
        }
    };
    let step = |operand: usize, axis: usize| number(plan, op, 9 + 3 * operand + axis) as usize;
    let [_, height, width, channels] = plan.view(op.output).shape.map(usize::from);
    let constants = &plan.constants()[op.weights_offset as usize..];
    // The slopes of a PRELU are int8.
    let is_narrow = function == BinaryFunction::Prelu;
    let constant = |index: usize| {
        if is_narrow {
            i32::from(constants[index] as i8)
        } else {
            i32::from(i16::from_le_bytes(constants.as_chunks().0[index]))
        }
    };
    for y in 0..height {
        for x in 0..width {
            let at = |operand: usize| y * step(operand, 0) + x * step(operand, 1);
            let [a, b] = [at(0), at(1)];
            let [step_a, step_b] = [step(0, 2), step(1, 2)];
            let start = (y * width + x) * channels;
            for channel in 0..channels {
                let b = b + channel * step_b;
                let b = second.map_or_else(|| constant(b), |second| second.get(b));
                let result = apply(first.get(a + channel * step_a), b);
                output.set(start + channel, result.clamp(clamp[0], clamp[1]));
            }
        }
    }
}
