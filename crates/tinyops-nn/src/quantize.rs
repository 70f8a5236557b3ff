//! Real numbers to int8 and back, and the fixed-point rescaling between them.
//!
//! # Source
//! The TensorFlow Lite 8-bit quantization specification, with the double rounding of
//! gemmlowp (`SaturatingRoundingDoublingHighMul`, then `RoundingDivideByPOT`), which the TFLM
//! reference kernels use. See `docs/arithmetic.md`.

/// Quantizes one value: `q = clamp(round(real / scale) + zero_point, -128, 127)`.
///
/// Halves round away from zero. A value that is not a number becomes the zero point.
#[must_use]
pub fn quantize(real: f32, scale: f32, zero_point: i8) -> i8 {
    // `as` saturates and maps NaN to 0, so hostile readings cannot leave the range.
    let steps = libm::roundf(real / scale) as i32;
    steps.saturating_add(i32::from(zero_point)).clamp(-128, 127) as i8
}

/// Quantizes one value to int16: `q = clamp(round(real / scale), -32768, 32767)`.
///
/// Halves round away from zero. A value that is not a number becomes 0.
#[must_use]
pub fn quantize_int16(real: f32, scale: f32) -> i16 {
    let steps = libm::roundf(real / scale) as i32;
    steps.clamp(i32::from(i16::MIN), i32::from(i16::MAX)) as i16
}

/// The real value of a quantized one: `real = scale * (q - zero_point)`.
#[must_use]
pub fn dequantize(q: i8, scale: f32, zero_point: i8) -> f32 {
    scale * (i32::from(q) - i32::from(zero_point)) as f32
}

/// A positive real factor as a 31-bit fraction and a power of two: `real ≈ value / 2^31 * 2^shift`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Multiplier {
    /// The fraction in `[2^30, 2^31)`, or 0.
    pub value: i32,
    /// The exponent; positive shifts left before the multiplication. In `-31..=30`.
    pub shift: i8,
}

impl Multiplier {
    /// The nearest multiplier to a real factor, 0 if it is below `2^-32`, not finite or negative.
    ///
    /// # Source
    /// TensorFlow Lite, `QuantizeMultiplier` in `kernels/internal/quantization_util.cc`.
    #[must_use]
    pub fn from_real(real: f64) -> Multiplier {
        const ZERO: Multiplier = Multiplier { value: 0, shift: 0 };
        if !real.is_finite() || real <= 0.0 {
            return ZERO;
        }
        let (fraction, mut shift) = libm::frexp(real);
        let mut value = libm::round(fraction * f64::from(1u32 << 31)) as i64;
        if value == 1 << 31 {
            value /= 2;
            shift += 1;
        }
        if shift < -31 {
            return ZERO;
        }
        if shift > 30 {
            return Multiplier {
                value: i32::MAX,
                shift: 30,
            };
        }
        Multiplier {
            value: value as i32,
            shift: shift as i8,
        }
    }

    /// Rescales an accumulator, rounding twice as the specification's reference kernels do.
    // A board's flash is worth more than the call; the host's loops want it inside.
    #[cfg_attr(target_os = "none", inline(never))]
    #[cfg_attr(not(target_os = "none"), inline)]
    #[must_use]
    pub fn apply(self, accumulator: i32) -> i32 {
        let left = self.shift.max(0) as u32;
        let right = (-i32::from(self.shift)).max(0) as u32;
        let doubled = doubling_high_mul(accumulator.wrapping_shl(left), self.value);
        rounding_divide_by_power_of_two(doubled, right)
    }
}

impl Multiplier {
    /// Rescales a sum of 64 bits by the upper 16 bits of the fraction, rounding once, halves upwards.
    ///
    /// The shift is in `-31..=7`. Sums below `2^47` do not overflow; others wrap.
    ///
    /// # Source
    /// TFLM, `MultiplyByQuantizedMultiplier` for `int64_t`.
    #[cfg(feature = "int16")]
    #[inline]
    #[must_use]
    pub fn apply_wide(self, sum: i64) -> i32 {
        let upper = if self.value < 0x7FFF_0000 {
            (self.value + (1 << 15)) >> 16
        } else {
            0x7FFF
        };
        let down = (15 - i32::from(self.shift)) as u32 & 63;
        let half = (1i64 << down) >> 1;
        (sum.wrapping_mul(i64::from(upper)).wrapping_add(half) >> down) as i32
    }
}

/// `floor(a * b / 2^31 + 1/2)`: the nearest, halves upwards; saturating.
///
/// # Source
/// gemmlowp, `SaturatingRoundingDoublingHighMul` in `fixedpoint/fixedpoint.h`, whose signed nudge
/// and truncating division come to the same.
#[cfg_attr(target_os = "none", inline(never))]
#[cfg_attr(not(target_os = "none"), inline)]
#[must_use]
pub fn doubling_high_mul(a: i32, b: i32) -> i32 {
    let product = i64::from(a) * i64::from(b);
    // Only the product of the two least numbers passes the greatest.
    ((product + (1 << 30)) >> 31).min(i64::from(i32::MAX)) as i32
}

/// `round(x / 2^exponent)`, halves away from zero, for an exponent in `0..=31`.
///
/// # Source
/// gemmlowp, `RoundingDivideByPOT` in `fixedpoint/fixedpoint.h`.
#[cfg_attr(target_os = "none", inline(never))]
#[cfg_attr(not(target_os = "none"), inline)]
#[must_use]
pub fn rounding_divide_by_power_of_two(x: i32, exponent: u32) -> i32 {
    let mask = (1u32 << (exponent & 31)).wrapping_sub(1) as i32;
    let remainder = x & mask;
    let threshold = (mask >> 1) + i32::from(x < 0);
    (x >> (exponent & 31)) + i32::from(remainder > threshold)
}
