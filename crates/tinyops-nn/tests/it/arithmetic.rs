//! Quantization and rescaling at their corners.

use proptest::prelude::*;
use tinyops_nn::quantize::{doubling_high_mul, rounding_divide_by_power_of_two};
use tinyops_nn::{Multiplier, dequantize, quantize};

use crate::reference;

#[track_caller]
fn check_quantize(real: f32, scale: f32, zero_point: i8, expected: i8) {
    assert_eq!(quantize(real, scale, zero_point), expected);
}

#[test]
fn quantize_rounds_halves_away_from_zero_and_saturates() {
    check_quantize(0.5, 1.0, 0, 1);
    check_quantize(-0.5, 1.0, 0, -1);
    check_quantize(0.49, 1.0, -7, -7);
    check_quantize(1e30, 0.1, 0, 127);
    check_quantize(f32::NEG_INFINITY, 0.1, 127, -128);
    check_quantize(f32::NAN, 0.1, 5, 5);
    check_quantize(1.0, 0.0, 0, 127);
}

#[test]
fn high_mul_saturates_only_at_the_two_least() {
    assert_eq!(doubling_high_mul(i32::MIN, i32::MIN), i32::MAX);
    assert_eq!(doubling_high_mul(i32::MIN, i32::MAX), -i32::MAX);
    // A half goes upwards, on both sides of 0.
    assert_eq!(doubling_high_mul(1 << 30, 1), 1);
    assert_eq!(doubling_high_mul(-(1 << 30), 1), 0);
}

#[test]
fn division_rounds_halves_away_from_zero() {
    let rounded = |x| rounding_divide_by_power_of_two(x, 1);
    assert_eq!(
        [-3, -2, -1, 0, 1, 2, 3].map(rounded),
        [-2, -1, -1, 0, 1, 1, 2]
    );
    assert_eq!(rounding_divide_by_power_of_two(i32::MIN, 31), -1);
    assert_eq!(rounding_divide_by_power_of_two(i32::MAX, 0), i32::MAX);
}

#[test]
fn multipliers_out_of_range_are_the_nearest() {
    let zero = Multiplier { value: 0, shift: 0 };
    assert_eq!(Multiplier::from_real(0.0), zero);
    assert_eq!(Multiplier::from_real(-1.0), zero);
    assert_eq!(Multiplier::from_real(f64::NAN), zero);
    assert_eq!(Multiplier::from_real(1e-30), zero);
    assert_eq!(
        Multiplier::from_real(1.0),
        Multiplier {
            value: 1 << 30,
            shift: 1
        }
    );
    assert_eq!(
        Multiplier::from_real(1e300),
        Multiplier {
            value: i32::MAX,
            shift: 30
        }
    );
}

proptest! {
    #[test]
    fn quantize_is_the_inverse_of_dequantize(q: i8, scale in 1e-6f32..1e6, zero_point: i8) {
        prop_assert_eq!(quantize(dequantize(q, scale, zero_point), scale, zero_point), q);
    }

    #[test]
    fn rescaling_is_the_reference(accumulator in -(1i32 << 24)..1 << 24, real in 1e-8f64..60.0) {
        let multiplier = Multiplier::from_real(real);
        prop_assert_eq!(i64::from(multiplier.apply(accumulator)), reference::rescale(i64::from(accumulator), multiplier));
        let exact = f64::from(accumulator) * real;
        prop_assert!((f64::from(multiplier.apply(accumulator)) - exact).abs() <= 1.0 + exact.abs() * 1e-6);
    }

    #[test]
    fn no_multiplier_panics(accumulator: i32, value: i32, shift in -31i8..=30) {
        let _ = Multiplier { value, shift }.apply(accumulator);
    }
}

/// The instructions of `arch/dsp.rs` that rescale, in 64-bit numbers.
mod instructions {
    pub(crate) fn smmlar(n: i32, m: i32, a: i32) -> i32 {
        ((i64::from(a) << 32)
            .wrapping_add(i64::from(n) * i64::from(m))
            .wrapping_add(1 << 31)
            >> 32) as i32
    }

    pub(crate) fn smmlsr(n: i32, m: i32, a: i32) -> i32 {
        ((i64::from(a) << 32)
            .wrapping_sub(i64::from(n) * i64::from(m))
            .wrapping_add(1 << 31)
            >> 32) as i32
    }

    pub(crate) fn rescale(accumulator: i32, multiplier: i32, shift: i8, zero_point: i32) -> i32 {
        if shift >= 0 {
            let shifted = accumulator.wrapping_shl(shift as u32);
            return smmlar(shifted, multiplier << 1, shifted).saturating_add(zero_point);
        }
        let high = smmlar(accumulator, multiplier << 1, accumulator);
        let high = high.wrapping_add(high >> 31);
        smmlsr(high, -1 << ((32 + i32::from(shift)) & 31), zero_point)
    }

    /// For the least zero point and a shift below 0.
    pub(crate) fn rescale_plain(accumulator: i32, multiplier: i32, shift: i8) -> i32 {
        let high = smmlar(accumulator, multiplier << 1, accumulator);
        smmlsr(high, -1 << ((32 + i32::from(shift)) & 31), -128)
    }
}

/// The instructions of `arch/mve.rs` that rescale, in 64-bit numbers.
mod vector_instructions {
    fn saturated(value: i64) -> i32 {
        value.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32
    }

    fn vqrdmulh(n: i32, m: i32) -> i32 {
        // Only the product of the two least numbers does not fit twice.
        let product = i64::from(n) * i64::from(m);
        saturated((product + (1 << 30)) >> 31)
    }

    fn vqrdmlash(da: i32, n: i32, m: i32) -> i32 {
        // Doubled and with all bits this needs more than 64; halved on both sides it does not.
        let sum = i64::from(da) * i64::from(n) + (i64::from(m) << 31) + (1 << 30);
        saturated(sum >> 31)
    }

    fn vrshl(m: i32, shift: i32) -> i32 {
        assert!((-31..=0).contains(&shift), "shifts down alone");
        let half = if shift < 0 { 1 << (-shift - 1) } else { 0 };
        ((i64::from(m) + half) >> -shift) as i32
    }

    /// Shifts below 0.
    pub(crate) fn rescale(accumulator: i32, multiplier: i32, shift: i8, zero_point: i32) -> i32 {
        let high = vqrdmulh(accumulator, multiplier);
        let high = high.wrapping_add(high >> 31);
        vqrdmlash(high, 1 << (31 + i32::from(shift)), zero_point)
    }

    pub(crate) fn rescale_any(a: i32, multiplier: i32, shift: i8, zero_point: i32) -> i32 {
        let (up, down) = (i32::from(shift).max(0), i32::from(shift).min(0));
        let high = vqrdmulh(a.wrapping_shl(up as u32), multiplier);
        let high = high.wrapping_add((high & down) >> 31);
        vrshl(high, down).saturating_add(zero_point)
    }
}

#[test]
fn the_instructions_for_rescaling_are_exact_at_every_corner() {
    let mut values = vec![0, 1, 2, 3, i32::MAX, i32::MAX - 1];
    values
        .extend((0..31).flat_map(|bit| [1 << bit, (1 << bit) + 1, (1 << bit) - 1, 3 << bit >> 1]));
    let both: Vec<i32> = values
        .iter()
        .flat_map(|&value| [value, -value, !value])
        .collect();
    let fractions = values
        .iter()
        .map(|&value| value | 1 << 30)
        .filter(|&value| value > 0);
    for multiplier in fractions.chain([1 << 30, i32::MAX]) {
        for shift in -31..=30 {
            for &accumulator in &both {
                check_instructions(accumulator, multiplier, shift);
            }
        }
    }
}

#[track_caller]
fn check_instructions(accumulator: i32, value: i32, shift: i8) {
    if shift < 0 {
        let exact = Multiplier { value, shift }.apply(accumulator);
        assert_eq!(
            instructions::rescale_plain(accumulator, value, shift).clamp(-128, 127),
            exact.saturating_sub(128).clamp(-128, 127),
            "least zero point: {accumulator} times {value}, shift {shift}"
        );
    }
    let expected = Multiplier { value, shift }
        .apply(accumulator)
        .saturating_add(-7);
    let expected = expected.clamp(-128, 127);
    let check = |what: &str, actual: i32| {
        let actual = actual.clamp(-128, 127);
        assert_eq!(
            actual, expected,
            "{what}: {accumulator} times {value}, shift {shift}"
        );
    };
    let scalar = instructions::rescale(accumulator, value, shift, -7);
    check("one sum", scalar);
    let vector = vector_instructions::rescale_any(accumulator, value, shift, -7);
    check("four sums", vector);
    if shift < 0 {
        let vector = vector_instructions::rescale(accumulator, value, shift, -7);
        check("four sums, shifts below 0", vector);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn the_instructions_for_rescaling_are_exact(
        accumulator: i32, bits in 0u32..31, value in 1i32 << 30..=i32::MAX, shift in -31i8..=30,
    ) {
        check_instructions(accumulator >> bits, value, shift);
    }
}
