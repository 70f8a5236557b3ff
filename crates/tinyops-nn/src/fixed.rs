//! Fixed-point functions of the exponential family, with 31 fractional bits or fewer.
//!
//! A number with `n` integer bits is an `i32` that stands for `raw / 2^(31 - n)`.
//!
//! # Source
//! gemmlowp, `fixedpoint/fixedpoint.h`: the same constants and order of operations, since the
//! int8 kernels of the specification are defined by them.

use crate::quantize::{doubling_high_mul, rounding_divide_by_power_of_two};

/// `1 - 2^-31`, the 1 of numbers without integer bits.
const ONE: i32 = i32::MAX;

/// `exp(raw / 2^(31 - INTEGER_BITS))` for `raw <= 0`, without integer bits. `INTEGER_BITS` is 4 or 5.
pub(crate) fn exp_of_negative<const INTEGER_BITS: u32>(raw: i32) -> i32 {
    // exp(-2^exponent) without integer bits, for exponents from -2 on.
    const POWERS: [i32; 7] = [
        1_672_461_947,
        1_302_514_674,
        790_015_084,
        290_630_308,
        39_332_535,
        720_401,
        242,
    ];
    if raw == 0 {
        return ONE;
    }
    let fractional_bits = 31 - INTEGER_BITS;
    let quarter = 1i32 << (fractional_bits - 2);
    let below_quarter = (raw & (quarter - 1)) - quarter;
    let mut result =
        exp_between_minus_quarter_and_0(saturating_shift_left(below_quarter, INTEGER_BITS));
    let remainder = below_quarter.wrapping_sub(raw);
    for (power, bit) in POWERS
        .into_iter()
        .zip(fractional_bits - 2..fractional_bits + INTEGER_BITS)
    {
        if remainder & (1i32 << bit) != 0 {
            result = doubling_high_mul(result, power);
        }
    }
    result
}

/// `1 / (1 + x)` for `x` in `[0, 1)`; no integer bits in or out.
pub(crate) fn one_over_one_plus(x: i32) -> i32 {
    saturating_shift_left(two_over_one_plus(x), 1)
}

/// `(1 - x) / (1 + x)` for `x` in `[0, 1)`; no integer bits in or out.
fn one_minus_over_one_plus(x: i32) -> i32 {
    saturating_shift_left(two_over_one_plus(x).wrapping_sub(1 << 29), 2)
}

/// `2 / (1 + x)` for `x` in `[0, 1)`, with two integer bits.
fn two_over_one_plus(x: i32) -> i32 {
    const TWO_BITS_ONE: i32 = 1 << 29;
    const TWO_BITS_48_OVER_17: i32 = 1_515_870_810;
    const TWO_BITS_MINUS_32_OVER_17: i32 = -1_010_580_540;
    // Newton and Raphson's iteration for 1 / d with d = (1 + x) / 2, from the best line.
    let sum = i64::from(x) + i64::from(ONE);
    let half_denominator = ((sum + if sum >= 0 { 1 } else { -1 }) / 2) as i32;
    let mut estimate = TWO_BITS_48_OVER_17.wrapping_add(doubling_high_mul(
        half_denominator,
        TWO_BITS_MINUS_32_OVER_17,
    ));
    for _ in 0..3 {
        let error = TWO_BITS_ONE.wrapping_sub(doubling_high_mul(half_denominator, estimate));
        estimate =
            estimate.wrapping_add(saturating_shift_left(doubling_high_mul(estimate, error), 2));
    }
    estimate
}

/// `1 / (1 + exp(-raw / 2^27))`, no integer bits out.
pub(crate) fn logistic(raw: i32) -> i32 {
    if raw == 0 {
        return 1 << 30;
    }
    let of_positive = one_over_one_plus(exp_of_negative::<4>(if raw > 0 {
        raw.wrapping_neg()
    } else {
        raw
    }));
    if raw > 0 {
        of_positive
    } else {
        ONE - of_positive
    }
}

/// `tanh(raw / 2^27)`, no integer bits out.
pub(crate) fn tanh(raw: i32) -> i32 {
    let negative = if raw > 0 { raw.wrapping_neg() } else { raw };
    // Twice the argument is the same number with one integer bit more.
    let of_positive = one_minus_over_one_plus(exp_of_negative::<5>(negative));
    match raw {
        0 => 0,
        1.. => of_positive,
        _ => of_positive.wrapping_neg(),
    }
}

/// `1 / x` for a positive `x` with `integer_bits`: a fraction, and how many bits `x` had above 1.
pub(crate) fn reciprocal(x: i32, integer_bits: i32) -> (i32, i32) {
    let headroom = x.leading_zeros();
    let fraction = ((x as u32) << (headroom & 31)).wrapping_sub(1 << 31) as i32;
    (one_over_one_plus(fraction), integer_bits - headroom as i32)
}

/// `1 / √x` for a positive integer: a fraction without integer bits, and its power of two.
///
/// # Source
/// TensorFlow Lite, `GetInvSqrtQuantizedMultiplierExp`: five steps of Newton and Raphson from 1,
/// with three integer bits.
pub(crate) fn inverse_square_root(x: i32) -> (i32, i32) {
    const ONE_AND_A_HALF: i32 = (1 << 28) + (1 << 27);
    const HALF_SQRT_2: i32 = 1_518_500_250;
    if x <= 1 {
        return (i32::MAX, 0);
    }
    let (mut input, mut shift) = (x, 11);
    while input >= 1 << 29 {
        input /= 4;
        shift += 1;
    }
    let pairs = (input.leading_zeros() as i32 - 1) / 2 - 1;
    shift -= pairs;
    input <<= 2 * pairs;
    let input = input >> 1;
    let half_input = rounding_divide_by_power_of_two(input, 1);
    // A product of numbers with three integer bits has six; three products, nine.
    let mut estimate = 1 << 28;
    for _ in 0..5 {
        let square = doubling_high_mul(estimate, estimate);
        let cube = saturating_shift_left(doubling_high_mul(square, estimate), 6);
        let difference = doubling_high_mul(ONE_AND_A_HALF, estimate)
            .wrapping_sub(doubling_high_mul(half_input, cube));
        estimate = saturating_shift_left(difference, 3);
    }
    let mut root = doubling_high_mul(estimate, HALF_SQRT_2);
    if shift < 0 {
        root = root.wrapping_shl(shift.unsigned_abs());
        shift = 0;
    }
    (root, -shift)
}

fn exp_between_minus_quarter_and_0(raw: i32) -> i32 {
    const EXP_MINUS_EIGHTH: i32 = 1_895_147_668;
    const ONE_THIRD: i32 = 715_827_883;
    // The Taylor polynomial of degree 4 around -1/8.
    let x = raw.wrapping_add(1 << 28);
    let x2 = doubling_high_mul(x, x);
    let x3 = doubling_high_mul(x2, x);
    let x4 = doubling_high_mul(x2, x2);
    let x4_over_4 = rounding_divide_by_power_of_two(x4, 2);
    let cubic = doubling_high_mul(x4_over_4.wrapping_add(x3), ONE_THIRD).wrapping_add(x2);
    let rest = rounding_divide_by_power_of_two(cubic, 1);
    EXP_MINUS_EIGHTH.wrapping_add(doubling_high_mul(EXP_MINUS_EIGHTH, x.wrapping_add(rest)))
}

fn saturating_shift_left(x: i32, bits: u32) -> i32 {
    let limit = (1i32 << (31 - bits)) - 1;
    if x > limit {
        i32::MAX
    } else if x < -limit {
        i32::MIN
    } else {
        x << bits
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn real(raw: i32, integer_bits: i32) -> f64 {
        f64::from(raw) / 2f64.powi(31 - integer_bits)
    }

    proptest! {
        #[test]
        fn exp_is_close_to_the_real_one(raw in i32::MIN + 1..=0) {
            let error = real(exp_of_negative::<5>(raw), 0) - real(raw, 5).exp();
            prop_assert!(error.abs() < 1e-6, "off by {error}");
        }

        #[test]
        fn logistic_is_close_to_the_real_one(raw in -(1i32 << 30)..1 << 30) {
            let error = real(logistic(raw), 0) - 1.0 / (1.0 + (-real(raw, 4)).exp());
            prop_assert!(error.abs() < 1e-6, "off by {error}");
        }

        #[test]
        fn tanh_is_close_to_the_real_one(raw in -(1i32 << 30)..1 << 30) {
            let error = real(tanh(raw), 0) - real(raw, 4).tanh();
            prop_assert!(error.abs() < 2e-6, "off by {error}");
        }

        #[test]
        fn reciprocal_is_close_to_the_real_one(raw in 1i32 << 19..i32::MAX) {
            let (fraction, bits) = reciprocal(raw, 12);
            let error = real(fraction, 0) / 2f64.powi(bits) * real(raw, 12) - 1.0;
            prop_assert!(error.abs() < 1e-6, "off by {error}");
        }

        #[test]
        fn inverse_square_root_is_close_to_the_real_one(x in 2i32..i32::MAX) {
            let (fraction, shift) = inverse_square_root(x);
            // The result has three integer bits, and an odd place of the first bit is half a bit.
            let found = real(fraction, 0) * 2f64.powi(shift);
            let error = found * f64::from(x).sqrt() - 1.0;
            prop_assert!(error.abs() < 1e-4, "off by {error}");
        }

        #[test]
        fn nothing_panics(x in any::<i32>()) {
            let _ = (exp_of_negative::<4>(x), exp_of_negative::<5>(x), one_over_one_plus(x), logistic(x), tanh(x), reciprocal(x, 12));
        }
    }
}
