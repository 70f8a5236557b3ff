//! Functions of two values: each with each, or one of them repeated.

use core::cell::Cell;

use super::{clamp, number};
use crate::plan::Plan;
use crate::quantize::Multiplier;
use crate::record::{BinaryFunction, NONE, OpRecord};

/// 32-bit numbers of the op: function, zero points of both operands, three multipliers with their
/// shifts, the steps of the first operand and those of the second along height, width, channels.
pub(crate) const NUMBERS: usize = 15;

/// Bits that a sum keeps below the point.
const SUM_BITS: u32 = 20;
/// Bits that a difference keeps below the point before it is squared.
const SQUARE_BITS: u32 = 7;

/// What the function makes of two values, before zero point and clamp.
struct Rule {
    function: BinaryFunction,
    zero_points: [i32; 2],
    multipliers: [Multiplier; 3],
}

impl Rule {
    fn of(plan: &Plan<'_>, op: &OpRecord) -> Option<Rule> {
        let multiplier = |at: usize| Multiplier {
            value: number(plan, op, at),
            shift: number(plan, op, at + 1) as i8,
        };
        Some(Rule {
            function: BinaryFunction::from_number(number(plan, op, 0))?,
            zero_points: [1, 2].map(|at| number(plan, op, at)),
            multipliers: [3, 5, 7].map(multiplier),
        })
    }

    fn apply(&self, first: u8, second: u8) -> i32 {
        let [first, second] = [first, second].map(|value| i32::from(value as i8));
        let [a, b] = [first - self.zero_points[0], second - self.zero_points[1]];
        let [one, two, three] = self.multipliers;
        let terms = || [one.apply(a << SUM_BITS), two.apply(b << SUM_BITS)];
        match self.function {
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
            BinaryFunction::Multiply => one.apply(a * b),
            BinaryFunction::Maximum => first.max(second),
            BinaryFunction::Minimum => first.min(second),
            BinaryFunction::SquaredDifference => {
                let difference = one
                    .apply(a << SQUARE_BITS)
                    .wrapping_sub(two.apply(b << SQUARE_BITS));
                three.apply(difference.wrapping_mul(difference))
            }
            BinaryFunction::Prelu if a >= 0 => one.apply(a),
            BinaryFunction::Prelu => two.apply(a * b),
        }
    }
}

/// Both operands: the second is a tensor, or lies in the constants.
pub(crate) fn binary(
    plan: &Plan<'_>,
    op: &OpRecord,
    first: &[Cell<u8>],
    second: Option<&[Cell<u8>]>,
    output: &[Cell<u8>],
) {
    let Some(rule) = Rule::of(plan, op) else {
        return;
    };
    let result = plan.view(op.output);
    // The greater or lesser of two values is no sum: it keeps its own zero point.
    let zero_point = match rule.function {
        BinaryFunction::Maximum | BinaryFunction::Minimum => 0,
        _ => result.zero_point,
    };
    let clamp = clamp(op, zero_point);
    let step = |operand: usize, axis: usize| number(plan, op, 9 + 3 * operand + axis) as usize;
    let [_, height, width, channels] = result.shape.map(usize::from);
    let constants = &plan.constants()[op.weights_offset as usize..];
    let mut outputs = output.iter();
    for y in 0..height {
        for x in 0..width {
            let at = |operand: usize| y * step(operand, 0) + x * step(operand, 1);
            let [a, b] = [at(0), at(1)];
            let [step_a, step_b] = [step(0, 2), step(1, 2)];
            for (channel, output) in (0..channels).zip(&mut outputs) {
                let b = b + channel * step_b;
                let b = second.map_or_else(|| constants[b], |second| second[b].get());
                output.set(clamp(rule.apply(first[a + channel * step_a].get(), b)));
            }
        }
    }
}

/// Whether the numbers of the op are such that no sum overflows and no operand is left.
///
/// `lens` are the bytes of both operands, the second's those of the constants after its start where
/// it is no tensor.
pub(crate) fn is_sound(plan: &Plan<'_>, op: &OpRecord, lens: [usize; 2]) -> bool {
    let Some(rule) = Rule::of(plan, op) else {
        return false;
    };
    let shape = plan.view(op.output).shape;
    let reaches = |operand: usize| {
        let last = (0..3).map(|axis| {
            let step = number(plan, op, 9 + 3 * operand + axis);
            u32::try_from(step)
                .ok()
                .map(|step| u64::from(step) * u64::from(shape[axis + 1] - 1))
        });
        let mut total = 0;
        for reach in last {
            match reach {
                Some(reach) => total += reach,
                None => return false,
            }
        }
        total < lens[operand] as u64
    };
    let inside =
        (-128..=127).contains(&rule.zero_points[0]) && (-128..=127).contains(&rule.zero_points[1]);
    let shifts = [4, 6, 8].map(|at| number(plan, op, at));
    let most = match rule.function {
        BinaryFunction::Add | BinaryFunction::Subtract | BinaryFunction::SubtractFrom => 0,
        _ => 30,
    };
    inside
        && shifts.iter().all(|shift| (-31..=most).contains(shift))
        && reaches(0)
        && reaches(1)
        && (op.inputs[1] != NONE || op.weights_offset as usize <= plan.constants().len())
}
