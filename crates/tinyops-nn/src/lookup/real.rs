//! Tables of functions that the specification defines by real arithmetic, and of those with
//! integers of their own.

use super::{Table, table};
use crate::fixed;
use crate::quantize::Multiplier;

/// A function by single precision: dequantized, computed, quantized, halves away from zero.
///
/// # Source
/// TFLM, `PopulateLookupTable` of `ELU`; LiteRT, `LUTPopulate`. A result that is not a number is
/// the least.
#[must_use]
pub fn real(input: (f32, i8), output: (f32, i8), function: impl Fn(f32) -> f32) -> Table {
    let inverse_scale = 1.0 / output.0;
    table(|q| {
        let result = function(input.0 * (q - i32::from(input.1)) as f32);
        if result.is_nan() {
            return i32::MIN;
        }
        let rescaled = libm::roundf(result * inverse_scale);
        (rescaled + f32::from(output.1)) as i32
    })
}

/// `ELU`: `exp(x) - 1` below 0.
#[must_use]
pub fn elu(input: (f32, i8), output: (f32, i8)) -> Table {
    real(
        input,
        output,
        |x| if x < 0.0 { libm::expf(x) - 1.0 } else { x },
    )
}

/// `EXP`.
#[must_use]
pub fn exp(input: (f32, i8), output: (f32, i8)) -> Table {
    real(input, output, libm::expf)
}

/// `LOG`; of what is not positive the least result there is.
#[must_use]
pub fn log(input: (f32, i8), output: (f32, i8)) -> Table {
    real(input, output, |x| {
        if x > 0.0 {
            libm::logf(x)
        } else {
            f32::NEG_INFINITY
        }
    })
}

/// `GELU`, by the error function or by the hyperbolic tangent.
///
/// # Source
/// LiteRT, `GeluTransform` and `GeluTransformApproximate`.
#[must_use]
pub fn gelu(input: (f32, i8), output: (f32, i8), approximate: bool) -> Table {
    const TWO_OVER_SQRT_PI: f32 = core::f32::consts::FRAC_2_SQRT_PI;
    const HALF_SQRT_2: f32 = core::f32::consts::FRAC_1_SQRT_2;
    real(input, output, |x| {
        if approximate {
            let cubic = x + 0.044_715 * x * x * x;
            0.5 * x * (1.0 + libm::tanhf(TWO_OVER_SQRT_PI * HALF_SQRT_2 * cubic))
        } else {
            0.5 * x * libm::erfcf(x * -HALF_SQRT_2)
        }
    })
}

/// `ABS`, rescaled where the scales differ.
///
/// # Source
/// TFLM, `AbsEvalQuantized`: the factor in single precision.
#[must_use]
pub fn abs(input: (f32, i8), output: (f32, i8)) -> Table {
    let multiplier = Multiplier::from_real(f64::from(input.0 / output.0));
    table(|q| {
        let value = (q - i32::from(input.1)).abs();
        let rescaled = if input.0 == output.0 {
            value
        } else {
            multiplier.apply(value)
        };
        rescaled.saturating_add(i32::from(output.1))
    })
}

/// `RSQRT`: of 0 the greatest result there is, and of what is negative too, where the
/// specification has none.
///
/// # Source
/// TFLM, `RsqrtEvalQuantized`.
#[must_use]
pub fn rsqrt(input: (f32, i8), output: (f32, i8)) -> Table {
    const SHIFT: i32 = 20;
    let real = 1.0 / f64::from(libm::sqrtf(input.0) * output.0);
    let scale = Multiplier::from_real(real);
    table(|q| {
        let value = q - i32::from(input.1);
        if value <= 0 {
            return i32::MAX;
        }
        let (root, shift) = fixed::inverse_square_root(value);
        let shifted = |value: i32, shift: i32| Multiplier {
            value,
            shift: shift.clamp(-31, 30) as i8,
        };
        let fine = shifted(root, shift + SHIFT).apply(1);
        let result = shifted(scale.value, i32::from(scale.shift) - SHIFT).apply(fine);
        result.saturating_add(i32::from(output.1))
    })
}
