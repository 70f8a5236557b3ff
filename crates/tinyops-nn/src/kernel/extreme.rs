//! Where along an axis the greatest or the least value stands.

use core::cell::Cell;

use super::number;
use crate::plan::Plan;
use crate::record::OpRecord;

/// 32-bit numbers of the op: 0 for the greatest and 1 for the least; count and step in the input
/// of the axes before, of those after, and of the axis itself.
pub(crate) const NUMBERS: usize = 7;

/// More places than this have no number in a byte.
const PLACES_MAX: u64 = 256;

/// The place of the first greatest (or least) value along an axis, less 128.
///
/// # Source
/// TFLM, `reference_ops::ArgMinMax`: of equal values the first counts.
pub(crate) fn place(plan: &Plan<'_>, op: &OpRecord, input: &[Cell<u8>], output: &[Cell<u8>]) {
    let axis = |at: usize| [0, 1].map(|which| number(plan, op, at + which) as usize);
    let ([before, far], [after, near], [places, step]) = (axis(1), axis(3), axis(5));
    let least = number(plan, op, 0) != 0;
    let mut outputs = output.iter();
    for outer in 0..before {
        for (inner, output) in (0..after).zip(&mut outputs) {
            let start = outer * far + inner * near;
            let value = |place: usize| input[start + place * step].get() as i8;
            let mut found = 0;
            for place in 1..places {
                let (new, old) = (value(place), value(found));
                if if least { new < old } else { new > old } {
                    found = place;
                }
            }
            output.set(found.wrapping_sub(128) as u8);
        }
    }
}

/// Whether the axes make the output from the input and from nothing beyond.
pub(crate) fn is_sound(plan: &Plan<'_>, op: &OpRecord, lens: [usize; 2]) -> bool {
    let [mut made, mut last, mut places] = [1u64, 0, 0];
    for axis in 0..3 {
        let [count, step] = [0, 1].map(|which| number(plan, op, 1 + 2 * axis + which));
        let (Ok(count), Ok(step)) = (u32::try_from(count), u32::try_from(step)) else {
            return false;
        };
        if count == 0 {
            return false;
        }
        if axis < 2 {
            made = made.saturating_mul(u64::from(count));
        } else {
            places = u64::from(count);
        }
        // Each product is below 2^64 / 3 only if its factors are held to the input.
        if u64::from(count) > lens[0] as u64 || u64::from(step) > lens[0] as u64 {
            return false;
        }
        last += u64::from(step) * u64::from(count - 1);
    }
    (0..=1).contains(&number(plan, op, 0))
        && places <= PLACES_MAX
        && made == lens[1] as u64
        && last < lens[0] as u64
}
