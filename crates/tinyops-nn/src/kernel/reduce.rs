//! One value for many: sums, means and extremes along any axes.

use core::cell::Cell;

use super::{clamp, number};
use crate::plan::Plan;
use crate::quantize::Multiplier;
use crate::record::{OpRecord, ReduceFunction};

/// 32-bit numbers of the op: function, bias, multiplier, shift, then count and step in the input of
/// each of three axes that stay and of three that go.
pub(crate) const NUMBERS: usize = 16;

/// Counts and steps of three axes.
pub(crate) struct Axes([[usize; 2]; 3]);

impl Axes {
    /// The axes that stay begin at number 4, those that go at number 10.
    pub(crate) fn of(plan: &Plan<'_>, op: &OpRecord, at: usize) -> Axes {
        Axes(core::array::from_fn(|axis| {
            [0, 1].map(|which| number(plan, op, at + 2 * axis + which) as usize)
        }))
    }

    pub(crate) fn for_each(&self, mut visit: impl FnMut(usize)) {
        let [[rows, row], [columns, column], [channels, channel]] = self.0;
        for y in 0..rows {
            for x in 0..columns {
                for c in 0..channels {
                    visit(y * row + x * column + c * channel);
                }
            }
        }
    }
}

/// Reduces some axes of the input; the rest make the output in order of memory.
pub(crate) fn reduce(plan: &Plan<'_>, op: &OpRecord, input: &[Cell<u8>], output: &[Cell<u8>]) {
    let Some(function) = ReduceFunction::from_number(number(plan, op, 0)) else {
        return;
    };
    let bias = number(plan, op, 1);
    let multiplier = Multiplier {
        value: number(plan, op, 2),
        shift: number(plan, op, 3) as i8,
    };
    let of_sum = clamp(op, plan.view(op.output).zero_point);
    let of_value = clamp(op, 0);
    let gone = Axes::of(plan, op, 10);
    let mut outputs = output.iter();
    Axes::of(plan, op, 4).for_each(|start| {
        let Some(output) = outputs.next() else { return };
        let value = |at: usize| i32::from(input[start + at].get() as i8);
        output.set(match function {
            ReduceFunction::Sum => {
                let mut sum = bias;
                gone.for_each(|at| sum = sum.wrapping_add(value(at)));
                of_sum(multiplier.apply(sum))
            }
            ReduceFunction::Maximum => {
                let mut greatest = i32::from(i8::MIN);
                gone.for_each(|at| greatest = greatest.max(value(at)));
                of_value(greatest)
            }
            ReduceFunction::Minimum => {
                let mut least = i32::from(i8::MAX);
                gone.for_each(|at| least = least.min(value(at)));
                of_value(least)
            }
        });
    });
}

/// Whether the axes make the output from the input and from nothing beyond.
pub(crate) fn is_sound(plan: &Plan<'_>, op: &OpRecord, lens: [usize; 2]) -> bool {
    let [mut all, mut stay, mut last] = [1u64, 1, 0];
    for axis in 0..6 {
        let [count, step] = [0, 1].map(|which| number(plan, op, 4 + 2 * axis + which));
        let (Ok(count), Ok(step)) = (u16::try_from(count), u32::try_from(step)) else {
            return false;
        };
        if count == 0 {
            return false;
        }
        // Six factors of 16 bits do not pass 96, so hold them on the way.
        all = all.saturating_mul(u64::from(count));
        if axis < 3 {
            stay = stay.saturating_mul(u64::from(count));
        }
        last += u64::from(step) * u64::from(count - 1);
    }
    ReduceFunction::from_number(number(plan, op, 0)).is_some()
        && (-31..=30).contains(&number(plan, op, 3))
        && all == lens[0] as u64
        && stay == lens[1] as u64
        && last < lens[0] as u64
}
