//! Tables of 256 bytes for functions of one value, made where a plan is made.
//!
//! Entry `i` is the result for the input `i - 128`. The table is the whole function: the device
//! needs no arithmetic for it, and two machines cannot differ.

#[cfg(feature = "int16")]
pub mod int16;
mod real;

pub use real::{abs, elu, exp, gelu, log, real, rsqrt};

use crate::fixed;
use crate::quantize::{Multiplier, rounding_divide_by_power_of_two};

/// A table for one `Lookup` op.
pub type Table = [u8; 256];

/// `LOGISTIC`, `1 / (1 + exp(-x))`, to scale 1/256 and zero point -128.
///
/// # Source
/// TFLM, `reference_integer_ops::Logistic` for int8.
#[must_use]
pub fn logistic(input_scale: f32, input_zero_point: i8) -> Table {
    saturating(input_scale, input_zero_point, |input| {
        rounding_divide_by_power_of_two(fixed::logistic(input), 31 - 8) - 128
    })
}

/// `TANH` to scale 1/128 and zero point 0.
///
/// # Source
/// TFLM, `reference_integer_ops::Tanh` for int8.
#[must_use]
pub fn tanh(input_scale: f32, input_zero_point: i8) -> Table {
    saturating(input_scale, input_zero_point, |input| {
        rounding_divide_by_power_of_two(fixed::tanh(input), 31 - 7)
    })
}

/// A function of the input with four integer bits, constant where that has no more of them.
fn saturating(scale: f32, zero_point: i8, function: impl Fn(i32) -> i32) -> Table {
    const INTEGER_BITS: i32 = 4;
    let (fraction, shift) = libm::frexp(f64::from(scale) * f64::from(1 << (31 - INTEGER_BITS)));
    let multiplier = Multiplier {
        value: (libm::round(fraction * f64::from(1u32 << 31)) as i64).min(i64::from(i32::MAX))
            as i32,
        shift: shift.clamp(-31, 30) as i8,
    };
    let radius = input_radius(INTEGER_BITS, shift);
    table(|q| {
        let input = q - i32::from(zero_point);
        if input <= -radius {
            return -128;
        }
        if input >= radius {
            return 127;
        }
        function(multiplier.apply(input))
    })
}

/// `LEAKY_RELU`: the input rescaled, and `alpha` times that where it is negative.
///
/// # Source
/// TFLM, `CalculateOpDataLeakyRelu` and `QuantizeLeakyRelu`: factors in single precision.
#[must_use]
pub fn leaky_relu(input: (f32, i8), output: (f32, i8), alpha: f32) -> Table {
    let steep = f64::from(input.0 * alpha / output.0);
    let below = Multiplier::from_real(libm::fabs(steep));
    let above = Multiplier::from_real(f64::from(input.0 / output.0));
    table(|q| {
        let value = q - i32::from(input.1);
        let rescaled = if value >= 0 {
            above.apply(value)
        } else if steep < 0.0 {
            below.apply(value).wrapping_neg()
        } else {
            below.apply(value)
        };
        rescaled.saturating_add(i32::from(output.1))
    })
}

/// `HARD_SWISH`, `x · min(max(x + 3, 0), 6) / 6`, in 16-bit fixed point; `None` where the output's
/// scale is so fine that the arithmetic has no answer.
///
/// # Source
/// TFLM, `HardSwishPrepare` and `reference_ops::HardSwish`.
#[must_use]
pub fn hard_swish(input: (f32, i8), output: (f32, i8)) -> Option<Table> {
    let fine = (1.0f32 / 128.0) * input.0;
    let to_output = Multiplier::from_real(f64::from(fine / output.0));
    let to_unit = Multiplier::from_real(f64::from(fine / (3.0f32 / 32768.0)));
    if to_output.shift > 0 {
        return None;
    }
    let up = i32::from(to_unit.shift).max(0) as u32;
    let down = i32::from(-to_unit.shift).max(0) as u32;
    Some(table(|q| {
        let value = (q - i32::from(input.1)) * 128;
        let on_output = half_high_mul(value, half(to_output.value));
        // From -3 to 3 comes to -1 to 1; the last bit of a shift upwards saturates.
        let mut unit = if up > 0 {
            saturating_i16(i64::from(value) << (up - 1))
        } else {
            value
        };
        unit = half_high_mul(unit, half(to_unit.value));
        if up > 0 {
            unit = saturating_i16(i64::from(unit) << 1);
        }
        unit = rounding_divide_by_power_of_two(unit, down);
        let share = (unit + (1 << 15)) >> 1;
        let product = share * on_output / (1 << 15);
        let shift = u32::from(to_output.shift.unsigned_abs());
        rounding_divide_by_power_of_two(product, shift) + i32::from(output.1)
    }))
}

/// The upper half of a multiplier, rounded.
fn half(value: i32) -> i32 {
    (value.saturating_add(1 << 15) >> 16).min(i32::from(i16::MAX))
}

/// `a · b / 2^15` to the nearest, halves away from zero but for one unit below; 16 bits all.
///
/// # Source
/// gemmlowp, `SaturatingRoundingDoublingHighMul` for `int16_t`.
fn half_high_mul(a: i32, b: i32) -> i32 {
    let product = a * b;
    let nudge = if product >= 0 { 1 << 14 } else { 1 - (1 << 14) };
    ((product + nudge) / (1 << 15)).min(i32::from(i16::MAX))
}

fn saturating_i16(value: i64) -> i32 {
    value.clamp(i64::from(i16::MIN), i64::from(i16::MAX)) as i32
}

/// The input rescaled to another scale and zero point and clamped: `QUANTIZE` from int8 to int8,
/// and an activation that stands alone.
///
/// # Source
/// TFLM, `Requantize` and `ReluQuantized`.
#[must_use]
pub fn rescale(input: (f32, i8), output: (f32, i8), clamp: [i8; 2]) -> Table {
    let multiplier = Multiplier::from_real(f64::from(input.0) / f64::from(output.0));
    table(|q| {
        let value = multiplier
            .apply(q - i32::from(input.1))
            .saturating_add(i32::from(output.1));
        value.clamp(
            i32::from(clamp[0]),
            i32::from(clamp[1]).max(i32::from(clamp[0])),
        )
    })
}

/// The numbers of a `Softmax` op: multiplier, left shift and least difference.
///
/// # Source
/// TensorFlow Lite, `PreprocessSoftmaxScaling` and `CalculateInputRadius`.
#[must_use]
pub fn softmax_numbers(input_scale: f32, beta: f32) -> (Multiplier, i32) {
    const INTEGER_BITS: i32 = 5;
    let greatest = f64::from(i32::MAX);
    let real = (f64::from(beta) * f64::from(input_scale) * f64::from(1 << (31 - INTEGER_BITS)))
        .min(greatest);
    let multiplier = Multiplier::from_real(real);
    (
        multiplier,
        -input_radius(INTEGER_BITS, i32::from(multiplier.shift)),
    )
}

/// The greatest difference that still has an effect after scaling by `2^left_shift`.
fn input_radius(integer_bits: i32, left_shift: i32) -> i32 {
    let radius = f64::from((1 << integer_bits) - 1) * f64::from(1u32 << (31 - integer_bits))
        / libm::exp2(f64::from(left_shift));
    libm::floor(radius).min(f64::from(i32::MAX)) as i32
}

fn table(function: impl Fn(i32) -> i32) -> Table {
    core::array::from_fn(|index| function(index as i32 - 128).clamp(-128, 127) as u8)
}
