//! Pictures made larger or smaller by interpolation.

use core::cell::Cell;

use super::number;
use crate::plan::Plan;
use crate::record::OpRecord;

/// 32-bit numbers of the op: the step in the input for each row and column of the output, in parts
/// of 1024, and whether pixels have their place in their middle.
pub(crate) const NUMBERS: usize = 3;

const ONE: i64 = 1 << 10;

/// Between which two places of the input one of the output lies, and how far after the first.
fn between(step: i32, at: usize, middle: bool, len: usize) -> ([usize; 2], i64) {
    let step = i64::from(step);
    let mut place = at as i64 * step;
    if middle {
        place += step / 2 - ONE / 2;
    }
    let last = len as i64 - 1;
    let lower = (place / ONE).max(0).min(last);
    let upper = ((place + ONE - 1) / ONE).clamp(0, last);
    ([lower as usize, upper as usize], place - ONE * lower)
}

/// Bilinear interpolation in fixed point with twice 10 bits.
///
/// # Source
/// TFLM, `reference_ops::ResizeBilinearInteger`.
pub(crate) fn bilinear(plan: &Plan<'_>, op: &OpRecord, input: &[Cell<u8>], output: &[Cell<u8>]) {
    let [_, height, width, channels] = plan.view(op.inputs[0]).shape.map(usize::from);
    let columns = usize::from(plan.view(op.output).shape[2]);
    let middle = number(plan, op, 2) != 0;
    for (index, pixel) in output.chunks_exact(channels).enumerate() {
        let (rows, down) = between(number(plan, op, 0), index / columns, middle, height);
        let (sides, right) = between(number(plan, op, 1), index % columns, middle, width);
        for (channel, output) in pixel.iter().enumerate() {
            let share = |row: usize, column: usize, weight: i64| {
                let at = (rows[row] * width + sides[column]) * channels + channel;
                i64::from(input[at].get() as i8) * weight
            };
            let sum = share(0, 0, (ONE - down) * (ONE - right))
                + share(1, 0, down * (ONE - right))
                + share(0, 1, (ONE - down) * right)
                + share(1, 1, down * right);
            let half = if sum > 0 { 1 << 19 } else { -(1 << 19) };
            output.set(((sum + half) / (1 << 20)) as u8);
        }
    }
}

/// Whether the steps are such that no weight overflows, for shapes of one count of channels.
pub(crate) fn is_sound(plan: &Plan<'_>, op: &OpRecord) -> bool {
    let [input, output] = [op.inputs[0], op.output].map(|index| plan.view(index).shape);
    // A picture of 65,535 places reaches 2^26; two such weights times a value stay below 2^62.
    let sound = |axis: usize| {
        let step = number(plan, op, axis);
        let reach = i64::from(step) * i64::from(output[axis + 1]);
        step >= 0 && reach <= (1 << 26) + (1 << 16)
    };
    input[3] == output[3] && sound(0) && sound(1)
}
