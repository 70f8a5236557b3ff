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
