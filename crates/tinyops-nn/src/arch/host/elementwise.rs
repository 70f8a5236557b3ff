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
    /// Whether one rounding of all bits at once gives the same for every int8 value.
    pub(crate) rounds_once: bool,
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
        lanes.factors(multipliers, multipliers.add(BLOCK_BYTES), finish)
    };
    let terms = [op.terms[0].held(lanes), op.terms[1].held(lanes)];
    let mut at = 0;
    // SAFETY: as many values as each loop takes are left.
    unsafe {
        while at + 4 * LANES <= len {
            let mut sums = [lanes.splat(0); 4];
            for (block, sum) in sums.iter_mut().enumerate() {
                let [a, b] = [inputs[0], inputs[1]];
                let from = at + block * LANES;
                let a = terms[0].lifted(lanes, lanes.widen(a.add(from)));
                *sum = lanes.add(a, terms[1].lifted(lanes, lanes.widen(b.add(from))));
            }
            lanes.put_4(sums, [factors; 4], finish, output.add(at));
            at += 4 * LANES;
        }
        while at + LANES <= len {
            let a = terms[0].lifted(lanes, lanes.widen(inputs[0].add(at)));
            let b = terms[1].lifted(lanes, lanes.widen(inputs[1].add(at)));
            lanes.put(lanes.add(a, b), factors, finish, output.add(at), LANES);
            at += LANES;
        }
    }
    at
}

impl Term {
    /// Tries all values of an operand to find out whether one rounding is enough.
    pub(crate) fn rounds_once(zero_point: i8, multiplier: Multiplier) -> bool {
        let zero_point = i32::from(zero_point);
        let term = Term {
            zero_point,
            multiplier,
            rounds_once: true,
        };
        if multiplier.shift < -11 {
            return false;
        }
        let (high, low, bits) = term.parts();
        (-128 - zero_point..128 - zero_point).all(|x| {
            x * high + ((x * low + (1 << (bits - 1))) >> bits) == multiplier.apply(x << 20)
        })
    }

    /// With `k` bits and `m = high · 2^k + low`, `x · m / 2^k` is `x · high + x · low / 2^k`, and
    /// nothing leaves 32 bits, as `x` has nine.
    fn parts(&self) -> (i32, i32, u32) {
        let Multiplier { value, shift } = self.multiplier;
        let bits = if self.rounds_once {
            11 + u32::from(shift.unsigned_abs())
        } else {
            11
        };
        (value >> bits, value & ((1 << bits) - 1), bits)
    }

    #[inline(always)]
    fn held<V: Lanes>(&self, lanes: V) -> Held<V> {
        let (high, low, bits) = self.parts();
        let shift = u32::from(self.multiplier.shift.unsigned_abs());
        Held {
            zero_point: lanes.splat(-self.zero_point),
            high: lanes.splat(high),
            low: lanes.splat(low),
            low_half: lanes.splat(1 << (bits - 1)),
            low_bits: lanes.splat(bits as i32),
            has_low: low != 0,
            half: lanes.splat(1 << shift >> 1),
            bits: lanes.splat(shift as i32),
            rounds_once: self.rounds_once,
        }
    }
}

/// The numbers of a [`Term`] in every lane.
#[derive(Clone, Copy)]
struct Held<V: Lanes> {
    zero_point: V::Sums,
    high: V::Sums,
    low: V::Sums,
    low_half: V::Sums,
    low_bits: V::Sums,
    /// The operand with the greater scale has the multiplier 2³⁰, and nothing in `low`.
    has_low: bool,
    half: V::Sums,
    bits: V::Sums,
    rounds_once: bool,
}

impl<V: Lanes> Held<V> {
    #[inline(always)]
    fn lifted(&self, lanes: V, values: V::Sums) -> V::Sums {
        let x = lanes.add(values, self.zero_point);
        let mut high = lanes.multiply(x, self.high);
        if self.has_low {
            let low = lanes.add(lanes.multiply(x, self.low), self.low_half);
            high = lanes.add(high, lanes.shift_right(low, self.low_bits));
        }
        if self.rounds_once {
            return high;
        }
        // One less where negative, so that halves go away from zero.
        let away = lanes.add(high, lanes.shift_right(high, lanes.splat(31)));
        lanes.shift_right(lanes.add(away, self.half), self.bits)
    }
}
