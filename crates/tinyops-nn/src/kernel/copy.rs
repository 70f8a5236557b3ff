//! Values moved from place to place: slices, transposes, joins, repeats and paddings are all of it.

use core::cell::Cell;

use super::{fill, number};
use crate::plan::Plan;
use crate::record::{COPY_TABLE, FLAG_FILL, OpRecord};

/// 32-bit numbers before the tables of a copy: both starts, then count, step of the output and step
/// of the input of each axis.
const HEAD: usize = 11;

/// One axis of a copy: how many places, the step between them in the output, and where they come
/// from in the input: so far apart, or at the places of a table.
#[derive(Clone, Copy)]
struct Axis {
    count: usize,
    output_step: i32,
    input_step: i32,
    /// The index of the first number of the table, where the input has one.
    table: usize,
}

impl Axis {
    fn source(&self, plan: &Plan<'_>, op: &OpRecord, at: usize) -> i32 {
        if self.input_step == COPY_TABLE {
            number(plan, op, self.table + at)
        } else {
            // `is_sound` has held the products to the tensors.
            self.input_step.wrapping_mul(at as i32)
        }
    }
}

fn axes(plan: &Plan<'_>, op: &OpRecord) -> [Axis; 3] {
    let mut table = HEAD;
    core::array::from_fn(|axis| {
        let at = 2 + 3 * axis;
        let count = number(plan, op, at) as usize;
        let made = Axis {
            count,
            output_step: number(plan, op, at + 1),
            input_step: number(plan, op, at + 2),
            table,
        };
        if made.input_step == COPY_TABLE {
            table += count;
        }
        made
    })
}

/// Copies what the axes name; what they do not is filled first, or left as it is.
pub(crate) fn copy(plan: &Plan<'_>, op: &OpRecord, input: &[Cell<u8>], output: &[Cell<u8>]) {
    if op.flags & FLAG_FILL != 0 {
        fill(output, op.clamp[0] as u8);
    }
    let run = |to: usize, from: usize, count: usize| {
        super::copy(&output[to..][..count], &input[from..][..count]);
    };
    for_each_place(plan, op, run, |to, from| output[to].set(input[from].get()));
}

/// Every place of the output that a copy writes, and the place of the input that it comes from:
/// runs of neighbours to `run`, as output, input, count; single values to `one`.
pub(crate) fn for_each_place(
    plan: &Plan<'_>,
    op: &OpRecord,
    run: impl Fn(usize, usize, usize),
    one: impl Fn(usize, usize),
) {
    let axes = axes(plan, op);
    let step = |axis: &Axis, at: usize| axis.output_step.wrapping_mul(at as i32);
    for y in 0..axes[0].count {
        let from = number(plan, op, 0).wrapping_add(axes[0].source(plan, op, y));
        let to = number(plan, op, 1).wrapping_add(step(&axes[0], y));
        for x in 0..axes[1].count {
            let from = from.wrapping_add(axes[1].source(plan, op, x));
            let to = to.wrapping_add(step(&axes[1], x));
            let last = &axes[2];
            if last.output_step == 1 && last.input_step == 1 {
                run(to as usize, from as usize, last.count);
                continue;
            }
            for channel in 0..last.count {
                let from = from.wrapping_add(last.source(plan, op, channel));
                let to = to.wrapping_add(step(last, channel));
                one(to as usize, from as usize);
            }
        }
    }
}

/// Whether the numbers of a copy lie in the constants, and every place it names in its tensors.
///
/// `lens` are the bytes of input and output.
pub(crate) fn is_sound(plan: &Plan<'_>, op: &OpRecord, lens: [usize; 2]) -> bool {
    let Some(numbers) = plan.constants().get(op.channels_offset as usize..) else {
        return false;
    };
    let words = numbers.as_chunks::<4>().0;
    let word = |index: usize| words.get(index).map(|&word| i32::from_le_bytes(word));
    let whole = || {
        let (mut from, mut to) = ([i64::from(word(0)?); 2], [i64::from(word(1)?); 2]);
        let mut table = HEAD;
        let mut values = 1u64;
        for axis in 0..3 {
            let [count, output_step, input_step] = [
                word(2 + 3 * axis)?,
                word(3 + 3 * axis)?,
                word(4 + 3 * axis)?,
            ];
            let count = u16::try_from(count).ok().filter(|&count| count > 0)?;
            values = values.checked_mul(u64::from(count))?;
            widen(&mut to, ends(output_step, count));
            if input_step != COPY_TABLE {
                widen(&mut from, ends(input_step, count));
                continue;
            }
            let places = words.get(table..table + usize::from(count))?;
            table += usize::from(count);
            let places = places
                .iter()
                .map(|&word| i64::from(i32::from_le_bytes(word)));
            widen(&mut from, [places.clone().min()?, places.max()?]);
        }
        let inside = |[least, greatest]: [i64; 2], len: usize| {
            least >= 0 && greatest < len as i64 && greatest <= i64::from(i32::MAX)
        };
        // More values than places would write some twice, which no compiler does: a loop has a bound.
        Some(inside(from, lens[0]) && inside(to, lens[1]) && values <= lens[1] as u64)
    };
    whole().unwrap_or(false)
}

fn ends(step: i32, count: u16) -> [i64; 2] {
    let last = i64::from(step) * (i64::from(count) - 1);
    [last.min(0), last.max(0)]
}

fn widen(range: &mut [i64; 2], by: [i64; 2]) {
    range[0] += by[0];
    range[1] += by[1];
}
