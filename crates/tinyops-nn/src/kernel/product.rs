//! Products of matrices, neither of which need be known before.

use core::cell::Cell;

use super::{clamp, number};
use crate::plan::Plan;
use crate::quantize::Multiplier;
use crate::record::{NONE, OpRecord};

/// 32-bit numbers of the op: both zero points, multiplier, shift; the counts of two outer axes,
/// of rows, columns and terms; the steps of the first operand along the outer axes, rows and
/// terms; those of the second along the outer axes, columns and terms.
pub(crate) const NUMBERS: usize = 17;

const COUNTS: usize = 4;
const STEPS: usize = 9;

/// `Σ (first - zero) · (second - zero)` for each row of the first and column of the second.
pub(crate) fn multiply(
    plan: &Plan<'_>,
    op: &OpRecord,
    first: &[Cell<u8>],
    second: Option<&[Cell<u8>]>,
    output: &[Cell<u8>],
) {
    let zero_points = [0, 1].map(|at| number(plan, op, at));
    let multiplier = Multiplier {
        value: number(plan, op, 2),
        shift: number(plan, op, 3) as i8,
    };
    let count = |axis: usize| number(plan, op, COUNTS + axis) as usize;
    let step = |operand: usize, axis: usize| number(plan, op, STEPS + 4 * operand + axis) as usize;
    let clamp = clamp(op, plan.view(op.output).zero_point);
    let constants = &plan.constants()[op.weights_offset as usize..];
    let [one, two] = [step(0, 3), step(1, 3)];
    let terms = count(4);
    let mut outputs = output.iter();
    for outer in 0..count(0) {
        for inner in 0..count(1) {
            let part = |operand| outer * step(operand, 0) + inner * step(operand, 1);
            for row in 0..count(2) {
                let a = part(0) + row * step(0, 2);
                for (column, output) in (0..count(3)).zip(&mut outputs) {
                    let b = part(1) + column * step(1, 2);
                    let mut sum = 0i32;
                    for term in 0..terms {
                        let y = b + term * two;
                        let y = second.map_or_else(|| constants[y], |second| second[y].get());
                        let x = i32::from(first[a + term * one].get() as i8) - zero_points[0];
                        let y = i32::from(y as i8) - zero_points[1];
                        sum = sum.wrapping_add(x * y);
                    }
                    output.set(clamp(multiplier.apply(sum)));
                }
            }
        }
    }
}

/// Whether the counts make the output, and no step leads out of an operand.
///
/// `lens` are the bytes of both operands, the second's those of the constants after its start where
/// it is no tensor, and of the output.
pub(crate) fn is_sound(plan: &Plan<'_>, op: &OpRecord, lens: [usize; 3]) -> bool {
    let mut counts = [0u64; 5];
    for (axis, count) in counts.iter_mut().enumerate() {
        match u16::try_from(number(plan, op, COUNTS + axis)) {
            Ok(given) if given > 0 => *count = u64::from(given),
            _ => return false,
        }
    }
    let [outer, inner, rows, columns, terms] = counts;
    let reaches = |operand: usize, along: u64| {
        let mut last = 0u64;
        for (axis, count) in [outer, inner, along, terms].into_iter().enumerate() {
            let step = number(plan, op, STEPS + 4 * operand + axis);
            let Ok(step) = u32::try_from(step) else {
                return false;
            };
            last += u64::from(step) * (count - 1);
        }
        last < lens[operand] as u64
    };
    let inside = |at: usize| (-128..=127).contains(&number(plan, op, at));
    inside(0)
        && inside(1)
        && (-31..=30).contains(&number(plan, op, 3))
        && outer * inner * rows * columns == lens[2] as u64
        && reaches(0, rows)
        && reaches(1, columns)
        && (op.inputs[1] != NONE || op.weights_offset as usize <= plan.constants().len())
}
