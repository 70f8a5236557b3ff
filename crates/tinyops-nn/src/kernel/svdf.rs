//! A filter over features and time that keeps what it has seen: `SVDF`.

use core::cell::Cell;

use super::{clamp, number};
use crate::plan::Plan;
use crate::quantize::Multiplier;
use crate::record::OpRecord;

/// 32-bit numbers of the op before those of its filters and units: how many filters, steps of
/// time that each remembers, filters of a unit; the bytes of a remembered value; the state's zero
/// point; multiplier and shift of the features, and of time.
///
/// What follows: for each filter what the input's zero point adds to it, then the bias of each unit.
pub(crate) const HEAD: usize = 9;

/// The numbers of an op that has passed [`is_sound`].
struct Shape {
    filters: usize,
    memory: usize,
    rank: usize,
    value_bytes: usize,
}

impl Shape {
    fn of(plan: &Plan<'_>, op: &OpRecord) -> Shape {
        let [filters, memory, rank, value_bytes] =
            [0, 1, 2, 3].map(|at| number(plan, op, at) as usize);
        Shape {
            filters,
            memory,
            rank,
            value_bytes,
        }
    }

    /// Where the weights of time begin, after those of the features.
    fn time_at(&self, inputs: usize) -> usize {
        (self.filters * inputs).next_multiple_of(2)
    }
}

/// Moves what is remembered by one step, adds the newest, and sums over time.
///
/// # Source
/// TFLM, `EvalIntegerSvdfReference`, for states and weights of time of one byte or two.
pub(crate) fn filter(
    plan: &Plan<'_>,
    op: &OpRecord,
    input: &[Cell<u8>],
    state: &[Cell<u8>],
    output: &[Cell<u8>],
) {
    let shape = Shape::of(plan, op);
    let multiplier = |at: usize| Multiplier {
        value: number(plan, op, at),
        shift: number(plan, op, at + 1) as i8,
    };
    let (of_features, of_time) = (multiplier(5), multiplier(7));
    let zero_point = number(plan, op, 4);
    let weights = &plan.constants()[op.weights_offset as usize..];
    let (features, time) = weights.split_at(shape.time_at(input.len()));
    let wide = shape.value_bytes == 2;
    let weight = |at: usize| {
        if wide {
            i32::from(i16::from_le_bytes([time[2 * at], time[2 * at + 1]]))
        } else {
            i32::from(time[at] as i8)
        }
    };
    let remembered = |at: usize| {
        if wide {
            i32::from(i16::from_le_bytes([
                state[2 * at].get(),
                state[2 * at + 1].get(),
            ]))
        } else {
            i32::from(state[at].get() as i8)
        }
    };
    for (to, from) in state.iter().zip(&state[shape.value_bytes..]) {
        to.set(from.get());
    }
    let [least, greatest] = if wide { [-32_768, 32_767] } else { [-128, 127] };
    for filter in 0..shape.filters {
        let row = &features[filter * input.len()..][..input.len()];
        let mut sum = number(plan, op, HEAD + filter);
        for (&weight, value) in row.iter().zip(input) {
            sum = sum.wrapping_add(super::product(value.get(), weight));
        }
        let newest = of_features.apply(sum).clamp(least, greatest) + zero_point;
        let at = ((filter + 1) * shape.memory - 1) * shape.value_bytes;
        for (place, byte) in state[at..]
            .iter()
            .zip(&newest.to_le_bytes()[..shape.value_bytes])
        {
            place.set(*byte);
        }
    }
    let clamp = clamp(op, plan.view(op.output).zero_point);
    let per_unit = shape.rank * shape.memory;
    for (unit, output) in output.iter().enumerate() {
        let mut sum = number(plan, op, HEAD + shape.filters + unit);
        for at in unit * per_unit..(unit + 1) * per_unit {
            sum = sum.wrapping_add(weight(at).wrapping_mul(remembered(at) - zero_point));
        }
        output.set(clamp(of_time.apply(sum)));
    }
}

/// Whether the counts fit the tensors, and weights and numbers lie in the constants.
///
/// `lens` are the bytes of input, state and output.
pub(crate) fn is_sound(plan: &Plan<'_>, op: &OpRecord, lens: [usize; 3]) -> bool {
    let in_range = |at: usize, most: usize| {
        let count = usize::try_from(number(plan, op, at));
        count.is_ok_and(|count| (1..=most).contains(&count))
    };
    if !in_range(0, 65_535) || !in_range(1, 65_535) || !in_range(2, 65_535) || !in_range(3, 2) {
        return false;
    }
    let shape = Shape::of(plan, op);
    // Counts of 16 bits, the bytes of a value among them: products stay below 2^33, in 64 bits.
    let product = |a: usize, b: usize| a as u64 * b as u64;
    let state = product(shape.filters, shape.memory) * shape.value_bytes as u64;
    let features = product(shape.filters, lens[0]);
    let weights = features.next_multiple_of(2) + state;
    let numbers = 4 * (HEAD as u64 + shape.filters as u64 + lens[2] as u64);
    let constants = plan.constants().len() as u64;
    let shift = |at: usize| (-31..=30).contains(&number(plan, op, at));
    state == lens[1] as u64
        && product(lens[2], shape.rank) == shape.filters as u64
        && u64::from(op.weights_offset) + weights <= constants
        && u64::from(op.channels_offset) + numbers <= constants
        && (-128..=127).contains(&number(plan, op, 4))
        && shift(6)
        && shift(8)
}
