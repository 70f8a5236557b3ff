//! A layer of long short-term memory over a sequence.

use core::cell::Cell;

use super::squash::{SIGMOID_TABLE, squash};
use super::{number, product};
use crate::plan::Plan;
use crate::quantize::Multiplier;
use crate::record::OpRecord;

/// 32-bit numbers of the op before its biases: units; values of a step; the output's zero point;
/// the most that a cell holds, 0 for no limit; multiplier and shift to the right of a cell before
/// its hyperbolic tangent; a multiplier and its shift for each gate's input, then the same gate's
/// memory, then for what is kept, for what is taken up and for the output.
///
/// What follows: for each gate what each of its units adds to the input's sum, then to the memory's.
pub(crate) const HEAD: usize = 28;

const GATES: usize = 4;
const MULTIPLIERS: usize = 6;
/// Input, forget, cell and output gate, in the order of their weights.
const CELL_GATE: usize = 2;

/// The numbers and weights of one op.
struct Layer<'p> {
    units: usize,
    values: usize,
    plan: Plan<'p>,
    op: OpRecord,
    table: &'p [[u8; 2]],
    weights: &'p [u8],
}

/// Runs the whole sequence; the state is the cells, two bytes each, then the last output less its
/// zero point, so that zeros are a new beginning.
///
/// # Source
/// TFLM, `EvalLstm` for int8 with cells of 16 bits.
pub(crate) fn run(
    plan: &Plan<'_>,
    op: &OpRecord,
    input: &[Cell<u8>],
    state: &[Cell<u8>],
    output: &[Cell<u8>],
) {
    let constants = &plan.constants()[op.weights_offset as usize..];
    let (table, weights) = constants.split_at(2 * SIGMOID_TABLE);
    let layer = Layer {
        units: number(plan, op, 0) as usize,
        values: number(plan, op, 1) as usize,
        plan: *plan,
        op: *op,
        table: table.as_chunks().0,
        weights,
    };
    let units = layer.units;
    let (cells, last) = state.split_at(2 * units);
    let zero_point = layer.number(2) as u8;
    for (step, input) in input.chunks_exact(layer.values).enumerate() {
        // What the gates remember: the row before, and for the first the state.
        let (before, rest) = output.split_at(step * units);
        let remembered = |unit: usize| match before.len().checked_sub(units) {
            Some(start) => before[start + unit].get(),
            None => last[unit].get().wrapping_add(zero_point),
        };
        let pairs = cells.as_chunks::<2>().0.iter().zip(&rest[..units]);
        for (unit, (cell, made)) in pairs.enumerate() {
            made.set(layer.step(unit, input, remembered, cell));
        }
    }
    let start = output.len() - units;
    for (kept, made) in last.iter().zip(&output[start..]) {
        kept.set(made.get().wrapping_sub(zero_point));
    }
}

fn narrow(value: i32) -> i32 {
    value.clamp(-32_768, 32_767)
}

impl Layer<'_> {
    fn number(&self, index: usize) -> i32 {
        number(&self.plan, &self.op, index)
    }

    /// A value by one of the op's multipliers.
    fn scaled(&self, value: i32, index: usize) -> i32 {
        let at = MULTIPLIERS + 2 * index;
        let multiplier = Multiplier {
            value: self.number(at),
            shift: self.number(at + 1) as i8,
        };
        multiplier.apply(value)
    }

    /// One unit at one step: its output, and its cell in place.
    fn step(
        &self,
        unit: usize,
        input: &[Cell<u8>],
        remembered: impl Fn(usize) -> u8 + Copy,
        cell: &[Cell<u8>; 2],
    ) -> u8 {
        let gate = |gate: usize| {
            let sum = self.gate(gate, unit, input, remembered);
            squash(3 * sum, self.table, gate == CELL_GATE)
        };
        let held = i32::from(i16::from_le_bytes([cell[0].get(), cell[1].get()]));
        let kept = narrow(self.scaled(gate(1).wrapping_mul(held), 8));
        let taken = narrow(self.scaled(gate(0).wrapping_mul(gate(CELL_GATE)), 9));
        let mut held = narrow(kept + taken);
        let most = self.number(3);
        if most > 0 {
            held = held.min(most).max(-most);
        }
        for (place, byte) in cell.iter().zip((held as i16).to_le_bytes()) {
            place.set(byte);
        }
        let shift = self.number(5) as u32;
        let half = (1i32 << shift) >> 1;
        let argument = held.wrapping_mul(self.number(4)).wrapping_add(half) >> shift;
        let made = self.scaled(squash(argument, self.table, true).wrapping_mul(gate(3)), 10);
        made.saturating_add(self.number(2)).clamp(-128, 127) as u8
    }

    /// The sum of a gate for one unit, in parts of 4096.
    fn gate(
        &self,
        gate: usize,
        unit: usize,
        input: &[Cell<u8>],
        remembered: impl Fn(usize) -> u8,
    ) -> i32 {
        let (units, values) = (self.units, self.values);
        let weights = &self.weights[gate * units * (values + units)..];
        let of_input = &weights[unit * values..][..values];
        let of_memory = &weights[units * values + unit * units..][..units];
        let bias = |which: usize| self.number(HEAD + (2 * gate + which) * units + unit);
        let mut sum = bias(0);
        for (&weight, value) in of_input.iter().zip(input) {
            sum = sum.wrapping_add(product(value.get(), weight));
        }
        let first = narrow(self.scaled(sum, 2 * gate));
        let mut sum = bias(1);
        for (unit, &weight) in of_memory.iter().enumerate() {
            sum = sum.wrapping_add(product(remembered(unit), weight));
        }
        narrow(first + narrow(self.scaled(sum, 2 * gate + 1)))
    }
}

/// Whether the counts fit the tensors, and table, weights and numbers lie in the constants.
///
/// `lens` are the bytes of input, state and output.
pub(crate) fn is_sound(plan: &Plan<'_>, op: &OpRecord, lens: [usize; 3]) -> bool {
    let count = |at: usize| u16::try_from(number(plan, op, at)).ok().map(u64::from);
    let (Some(units), Some(values)) = (count(0), count(1)) else {
        return false;
    };
    if units == 0 || values == 0 {
        return false;
    }
    let [input, state, output] = lens.map(|len| len as u64);
    let steps = input / values;
    let weights = 2 * SIGMOID_TABLE as u64 + GATES as u64 * units * (units + values);
    let numbers = 4 * (HEAD as u64 + 2 * GATES as u64 * units);
    let constants = plan.constants().len() as u64;
    let shifts = (0..11).all(|index| {
        let shift = number(plan, op, MULTIPLIERS + 2 * index + 1);
        (-31..=30).contains(&shift)
    });
    steps > 0
        && steps * values == input
        && steps.checked_mul(units) == Some(output)
        && 3 * units == state
        && u64::from(op.weights_offset) + weights <= constants
        && u64::from(op.channels_offset) + numbers <= constants
        && (-128..=127).contains(&number(plan, op, 2))
        && (0..=32_767).contains(&number(plan, op, 3))
        && (1..=32_767).contains(&number(plan, op, 4))
        && (0..=30).contains(&number(plan, op, 5))
        && shifts
}
