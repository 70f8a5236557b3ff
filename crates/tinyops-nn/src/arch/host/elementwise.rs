//! Sums of two tensors, sixteen values at a time.

use super::lanes::{BLOCK_BYTES, Finish, LANES, Lanes};
use crate::quantize::Multiplier;

/// `rescale_out(rescale_a(a - zp_a) + rescale_b(b - zp_b))`.
pub(crate) struct Add<'a> {
    pub(crate) terms: [Term; 2],
    /// Sixteen times the multiplier of the sum, then its shift.
    pub(crate) factors: &'a [u8; 2 * BLOCK_BYTES],
}

/// One operand of a sum: `(value - zero_point) · 2²⁰`, rescaled.
#[derive(Clone, Copy)]
pub(crate) struct Term {
    pub(crate) zero_point: i32,
    /// Its shift is 0 or below.
    pub(crate) multiplier: Multiplier,
}

/// Adds the whole blocks of sixteen; answers with how many values that were.
///
/// # Safety
/// `len` values can be read from both inputs and written to the output, which lies over one of
/// them or apart.
#[inline(always)]
pub(crate) unsafe fn add<V: Lanes>(
    lanes: V,
    op: &Add<'_>,
    finish: Finish,
    (inputs, output, len): ([*const u8; 2], *mut u8, usize),
) -> usize {
    // SAFETY: both are 64 bytes.
    let factors = unsafe {
        let multipliers = op.factors.as_ptr();
        lanes.factors(multipliers, multipliers.add(BLOCK_BYTES))
    };
    let mut at = 0;
    while at + LANES <= len {
        // SAFETY: sixteen values are left.
        unsafe {
            let a = op.terms[0].lifted(lanes, lanes.widen(inputs[0].add(at)));
            let b = op.terms[1].lifted(lanes, lanes.widen(inputs[1].add(at)));
            let result = lanes.rescale(lanes.add(a, b), factors, finish.is_low);
            lanes.store(result, finish, output.add(at), LANES);
        }
        at += LANES;
    }
    at
}

impl Term {
    /// With `m = high · 2¹¹ + low`, `x · 2²⁰ · m / 2³¹` is `x · high + x · low / 2¹¹`, and nothing
    /// leaves 32 bits, as `x` has nine.
    #[inline(always)]
    fn lifted<V: Lanes>(&self, lanes: V, values: V::Sums) -> V::Sums {
        let Multiplier { value, shift } = self.multiplier;
        let x = lanes.add(values, lanes.splat(-self.zero_point));
        let low = lanes.multiply(x, lanes.splat(value & 0x7FF));
        let low = lanes.shift_right(lanes.add(low, lanes.splat(1 << 10)), 11);
        let high = lanes.add(lanes.multiply(x, lanes.splat(value >> 11)), low);
        if shift == 0 {
            return high;
        }
        // One less where negative, so that halves go away from zero.
        let away = lanes.add(high, lanes.shift_right(high, 31));
        let twice = lanes.shift_right(away, u32::from(shift.unsigned_abs()) - 1);
        lanes.shift_right(lanes.add(twice, lanes.splat(1)), 1)
    }
}
