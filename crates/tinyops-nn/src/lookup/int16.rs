//! Tables and numbers of functions over int16, made where a plan is made.

use crate::plan::{SIGMOID_TABLE, SOFTMAX_TABLE};
use crate::quantize::Multiplier;

/// The two tables of a softmax: `exp(x)` over -10…0 and `1 / (1 + x)` over 0…1, both in parts of
/// 32,768, at every 128th value of int16.
///
/// # Source
/// TFLM, `InitializeLutForInt16`; `LUTPopulate` sets each entry so that what is read halfway to the
/// next has half the error. In single precision, in this order.
#[must_use]
pub fn softmax_tables() -> [[i16; SOFTMAX_TABLE]; 2] {
    let exponential = |x: f32| libm::exp(f64::from(x)) as f32;
    let reciprocal = |x: f32| 1.0 / (1.0 + x);
    [
        table(10.0 / 65_535.0, i16::MAX, exponential),
        table(1.0 / 65_535.0, i16::MIN, reciprocal),
    ]
}

fn table(scale: f32, zero_point: i16, function: impl Fn(f32) -> f32) -> [i16; SOFTMAX_TABLE] {
    let [least, greatest] =
        [i16::MIN, i16::MAX].map(|q| scale * (i32::from(q) - i32::from(zero_point)) as f32);
    // What is made has scale 2 / 65,535.
    let made_scale = 2.0f32 / 65_535.0;
    let [made_least, made_greatest] = [i16::MIN, i16::MAX].map(|q| made_scale * f32::from(q));
    let step = (greatest - least) / 512.0;
    let half_step = step / 2.0;
    let steps = 65_536.0 / (made_greatest - made_least);
    let saturated = |value: f32| value.clamp(-32_768.0, 32_767.0) as i16;
    core::array::from_fn(|index| {
        if index == SOFTMAX_TABLE - 1 {
            return saturated(libm::roundf(function(greatest) * steps));
        }
        let at = least + index as f32 * step;
        let here = libm::roundf(function(at) * steps);
        let next = function(least + (index + 1) as f32 * step) * steps;
        let straight = libm::roundf((next + here) / 2.0);
        let middle = libm::roundf(function(at + half_step) * steps);
        saturated(here - libm::roundf((straight - middle) / 2.0))
    })
}

/// The multiplier of a softmax, which brings differences to parts of `10 / 65,535`.
#[must_use]
pub fn softmax_multiplier(input_scale: f32, beta: f32) -> Multiplier {
    Multiplier::from_real(f64::from(input_scale) * f64::from(beta) / (10.0 / 65_535.0))
}

/// The logistic function at 0, 1/24, 2/24 and so on, in parts of 65,536, each raised by half of
/// what the line to the next misses in the middle.
///
/// # Source
/// TFLM, `sigmoid_table_uint16`: the same numbers, as golden vectors show.
#[must_use]
pub fn sigmoid_table() -> [u16; SIGMOID_TABLE] {
    let share = |at: f64| 65_536.0 / (1.0 + libm::exp(-at / 24.0));
    core::array::from_fn(|index| {
        if index == SIGMOID_TABLE - 1 {
            return u16::MAX;
        }
        let at = index as f64;
        let straight = (share(at) + share(at + 1.0)) / 2.0;
        libm::round(share(at) + (share(at + 0.5) - straight) / 2.0) as u16
    })
}

/// Multiplier and shift to the right that bring the input of `LOGISTIC`, or of `TANH`, to parts of
/// 12,288; `None` for a scale so coarse that the arithmetic has no answer.
///
/// # Source
/// TFLM, `CalculateArithmeticOpDataLogistic`, and `CalculateArithmeticOpData` of `tanh.cc`.
#[must_use]
pub fn sigmoid_numbers(input_scale: f32, is_tanh: bool) -> Option<[i32; 2]> {
    let exponent = libm::log(f64::from(input_scale)) / core::f64::consts::LN_2;
    let rounded = libm::round(exponent);
    let is_power = libm::fabs(exponent - rounded) < 1e-3;
    let left = 12 + rounded as i32;
    if is_power && (left == 0 || is_tanh && left == 1) {
        return Some([3 << left, 0]);
    }
    let mut multiplier = f64::from(input_scale) * 4096.0 * 3.0;
    let mut shift = 0;
    while multiplier <= 32_767.0 / 2.0 && shift <= 30 {
        shift += 1;
        multiplier *= 2.0;
    }
    (multiplier < 32_768.0).then_some([multiplier as i32, shift])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_close_to_the_functions() {
        let [exponentials, reciprocals] = softmax_tables();
        for index in 0..SOFTMAX_TABLE {
            let share = index as f64 / 512.0;
            let exponential = (10.0 * (share - 1.0)).exp() * 32_768.0;
            assert!(
                (f64::from(exponentials[index]) - exponential).abs() < 3.0,
                "{index}"
            );
            let reciprocal = 32_768.0 / (1.0 + share);
            assert!(
                (f64::from(reciprocals[index]) - reciprocal).abs() < 3.0,
                "{index}"
            );
        }
    }

    #[test]
    fn inputs_come_to_parts_of_12288() {
        for scale in [1.0 / 4096.0, 1.0 / 2048.0, 0.001, 0.37, 2.5] {
            let [multiplier, shift] = sigmoid_numbers(scale, true).expect("is fine enough");
            let real = f64::from(multiplier) / f64::from(1u32 << shift);
            assert!(
                (real / (f64::from(scale) * 12_288.0) - 1.0).abs() < 1e-3,
                "{scale}"
            );
        }
        assert_eq!(sigmoid_numbers(2.7, false), None);
    }
}
