//! Sum of two tensors of one shape and different scales.

use core::cell::Cell;
use core::ops::Range;

use super::multiplier;
#[cfg(all(target_arch = "arm", target_feature = "dsp", not(feature = "mve")))]
use crate::arch::dsp::{Factor, add};
#[cfg(all(target_arch = "arm", feature = "mve"))]
use crate::arch::mve::{Factor, add};
use crate::arena::Cells;
use crate::layout::BLOCK_PIXELS;
use crate::plan::Plan;
#[cfg(not(all(target_arch = "arm", any(target_feature = "dsp", feature = "mve"))))]
use crate::quantize::Multiplier;
use crate::record::OpRecord;

/// Extra bits of each addend, so that rescaling loses nothing that the sum would show.
#[cfg(not(all(target_arch = "arm", any(target_feature = "dsp", feature = "mve"))))]
const LEFT_SHIFT: u32 = 20;

/// A sum, which goes over its values in pieces: a convolution may make one of its operands
/// meanwhile, in the sum's own place.
pub(crate) struct Sum<'a> {
    /// Both operands, and the sum's own.
    places: [&'a [Cell<u8>]; 3],
    factors: [Factor; 3],
    clamp: [i8; 2],
    /// Bytes that a convolution makes before [`Sum::add`] takes them: whole blocks of pixels, but
    /// for the last piece.
    pub(crate) lag: usize,
}

impl<'a> Sum<'a> {
    /// The sum whose tensors lie in an arena.
    #[inline(never)]
    pub(crate) fn of(plan: &Plan<'_>, op: &OpRecord, arena: impl Cells<'a>) -> Sum<'a> {
        let [first, second] = op.inputs;
        let result = plan.view(op.output);
        let mut sum = Sum {
            factors: [Factor::NONE; 3],
            clamp: op.clamp,
            places: [&[]; 3],
            lag: result.len,
        };
        for (index, tensor) in [first, second, op.output].into_iter().enumerate() {
            let view = plan.view(tensor);
            let zero_point = i32::from(view.zero_point);
            let offset = if index < 2 { -zero_point } else { zero_point };
            sum.factors[index] = Factor::new(multiplier(plan, op, index), offset);
            sum.places[index] = arena.at(view.range());
            // An operand that lies below lies apart.
            let distance = view.offset.wrapping_sub(result.offset);
            if distance > 0 && distance < result.len {
                let block = BLOCK_PIXELS * usize::from(result.shape[3]);
                sum.lag = distance - distance % block;
            }
        }
        sum
    }

    /// `clamp(zp + rescale_out(rescale_a(a - zp_a) + rescale_b(b - zp_b)))` of some values; may
    /// write over an input.
    #[inline(never)]
    pub(crate) fn add(&self, piece: Range<usize>) {
        add(&self.factors, &self.places, piece, self.clamp);
    }

    /// The same sum of an operand that lies elsewhere, its place in the arena being the sum's.
    #[cfg(not(target_os = "none"))]
    pub(crate) fn with_waiting(mut self, waiting: &'a [Cell<u8>]) -> Sum<'a> {
        let is_second = self.places[1].as_ptr() == self.places[2].as_ptr();
        self.places[usize::from(is_second)] = waiting;
        self
    }

    /// The values of both operands, and the place of the sum's.
    #[cfg(not(target_os = "none"))]
    pub(crate) fn places(&self) -> [&'a [Cell<u8>]; 3] {
        self.places
    }
}

/// How an operand, or the sum of both, is rescaled.
#[cfg(not(all(target_arch = "arm", any(target_feature = "dsp", feature = "mve"))))]
#[derive(Clone, Copy)]
struct Factor {
    multiplier: Multiplier,
    /// What is added to an operand before, or to the result after.
    offset: i32,
}

#[cfg(not(all(target_arch = "arm", any(target_feature = "dsp", feature = "mve"))))]
impl Factor {
    const NONE: Factor = Factor {
        multiplier: Multiplier { value: 0, shift: 0 },
        offset: 0,
    };

    fn new(multiplier: Multiplier, offset: i32) -> Factor {
        Factor { multiplier, offset }
    }

    fn addend(&self, value: u8) -> i32 {
        let value = i32::from(value as i8) + self.offset;
        self.multiplier.apply(value << LEFT_SHIFT)
    }
}

#[cfg(not(all(target_arch = "arm", any(target_feature = "dsp", feature = "mve"))))]
fn add(factors: &[Factor; 3], places: &[&[Cell<u8>]; 3], piece: Range<usize>, clamp: [i8; 2]) {
    let [of_first, of_second, result] = factors;
    let [first, second, output] = places.map(|place| &place[piece.clone()]);
    let [least, greatest] = clamp.map(i32::from);
    for (output, (a, b)) in output.iter().zip(first.iter().zip(second)) {
        let sum = of_first
            .addend(a.get())
            .wrapping_add(of_second.addend(b.get()));
        let value = result.multiplier.apply(sum).saturating_add(result.offset);
        output.set(value.clamp(least, greatest) as u8);
    }
}
