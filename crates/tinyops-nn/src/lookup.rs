//! Tables of 256 bytes for functions of one value, made where a plan is made.
//!
//! Entry `i` is the result for the input `i - 128`. The table is the whole function: the device
//! needs no arithmetic for it, and two machines cannot differ.

use crate::fixed;
use crate::quantize::Multiplier;

/// A table for one `Lookup` op.
pub type Table = [u8; 256];

/// `LOGISTIC`, `1 / (1 + exp(-x))`, to scale 1/256 and zero point -128.
///
/// # Source
/// TFLM, `reference_integer_ops::Logistic` for int8.
#[must_use]
pub fn logistic(input_scale: f32, input_zero_point: i8) -> Table {
    const INTEGER_BITS: i32 = 4;
    let (fraction, shift) =
        libm::frexp(f64::from(input_scale) * f64::from(1 << (31 - INTEGER_BITS)));
    let multiplier = Multiplier {
        value: (libm::round(fraction * f64::from(1u32 << 31)) as i64).min(i64::from(i32::MAX))
            as i32,
        shift: shift.clamp(-31, 30) as i8,
    };
    let radius = input_radius(INTEGER_BITS, shift);
    table(|q| {
        let input = q - i32::from(input_zero_point);
        if input <= -radius {
            return -128;
        }
        if input >= radius {
            return 127;
        }
        let output = fixed::logistic(multiplier.apply(input));
        crate::quantize::rounding_divide_by_power_of_two(output, 31 - 8) - 128
    })
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
