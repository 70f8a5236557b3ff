//! The two number types of this crate, so that each formula is written once.

use core::fmt::Debug;
use core::ops::{Add, AddAssign, Div, Mul, MulAssign, Neg, Sub, SubAssign};

/// A floating-point number: `f32` on every device and in every [`crate::FrontEnd`], `f64` for reference
/// analyses on the host, where weak bins beside strong ones must come out right too.
///
/// All functions go through `libm`, so that host and device agree bit for bit.
pub trait Real:
    sealed::Sealed
    + 'static
    + Copy
    + Debug
    + Default
    + PartialOrd
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + AddAssign
    + SubAssign
    + MulAssign
{
    /// 0.
    const ZERO: Self;
    /// 1.
    const ONE: Self;
    /// The distance from 1 to the next number.
    const EPSILON: Self;
    /// The nearest number of this type.
    fn of(x: f64) -> Self;
    /// The same number in double precision.
    fn double(self) -> f64;
    /// Square root.
    fn sqrt(self) -> Self;
    /// Natural logarithm.
    fn ln(self) -> Self;
    /// Logarithm to base 10.
    fn log10(self) -> Self;
    /// Exponential.
    fn exp(self) -> Self;
    /// Absolute value.
    fn abs(self) -> Self;
    /// `sin(2π k / TABLE_LEN)` for `k` from 0 to a quarter turn.
    fn quarter_wave() -> &'static [Self; TABLE_LEN / 4 + 1];

    /// A count as a number.
    fn of_count(n: usize) -> Self {
        Self::of(n as f64)
    }

    /// The larger of two; the first where they do not compare.
    fn larger(self, other: Self) -> Self {
        if other > self { other } else { self }
    }

    /// The smaller of two; the first where they do not compare.
    fn smaller(self, other: Self) -> Self {
        if other < self { other } else { self }
    }
}

/// Longest fast transform; its quarter wave is a table in flash (4 KiB for `f32`).
pub const TABLE_LEN: usize = 4096;

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

impl Real for f32 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;
    const EPSILON: Self = f32::EPSILON;
    fn of(x: f64) -> Self {
        x as f32
    }
    fn double(self) -> f64 {
        f64::from(self)
    }
    fn sqrt(self) -> Self {
        libm::sqrtf(self)
    }
    fn ln(self) -> Self {
        libm::logf(self)
    }
    fn log10(self) -> Self {
        libm::log10f(self)
    }
    fn exp(self) -> Self {
        libm::expf(self)
    }
    fn abs(self) -> Self {
        libm::fabsf(self)
    }
    fn quarter_wave() -> &'static [Self; TABLE_LEN / 4 + 1] {
        &QUARTER_WAVE
    }
    fn of_count(n: usize) -> Self {
        n as f32
    }
}

impl Real for f64 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;
    const EPSILON: Self = f64::EPSILON;
    fn of(x: f64) -> Self {
        x
    }
    fn double(self) -> f64 {
        self
    }
    fn sqrt(self) -> Self {
        libm::sqrt(self)
    }
    fn ln(self) -> Self {
        libm::log(self)
    }
    fn log10(self) -> Self {
        libm::log10(self)
    }
    fn exp(self) -> Self {
        libm::exp(self)
    }
    fn abs(self) -> Self {
        libm::fabs(self)
    }
    fn quarter_wave() -> &'static [Self; TABLE_LEN / 4 + 1] {
        &QUARTER_WAVE_DOUBLE
    }
}

static QUARTER_WAVE_DOUBLE: [f64; TABLE_LEN / 4 + 1] = quarter_wave();

static QUARTER_WAVE: [f32; TABLE_LEN / 4 + 1] = {
    let double = quarter_wave();
    let mut single = [0.0; TABLE_LEN / 4 + 1];
    let mut k = 0;
    while k < single.len() {
        single[k] = double[k] as f32;
        k += 1;
    }
    single
};

const fn quarter_wave() -> [f64; TABLE_LEN / 4 + 1] {
    let mut table = [0.0; TABLE_LEN / 4 + 1];
    let mut k = 0;
    while k < table.len() {
        let step = core::f64::consts::TAU / TABLE_LEN as f64;
        // Both series stay below π/4, where ten terms leave less than one unit in the last place.
        table[k] = if k <= TABLE_LEN / 8 {
            sine_series(k as f64 * step)
        } else {
            cosine_series((TABLE_LEN / 4 - k) as f64 * step)
        };
        k += 1;
    }
    table
}

const fn sine_series(x: f64) -> f64 {
    x * alternating_series(x * x, 1)
}

const fn cosine_series(x: f64) -> f64 {
    alternating_series(x * x, 0)
}

/// `Σ_k (-square)^k first! / (2k + first)!`, summed from the smallest term.
const fn alternating_series(square: f64, first: usize) -> f64 {
    let mut sum = 1.0;
    let mut k = 10;
    while k > 0 {
        let place = 2 * k + first;
        sum = 1.0 - sum * square / ((place * (place - 1)) as f64);
        k -= 1;
    }
    sum
}

/// Sums in blocks, so that the error grows with the square root of a long signal rather than with its length;
/// the order never depends on the target.
pub(crate) fn sum<T: Real>(values: impl IntoIterator<Item = T>) -> T {
    const BLOCK: usize = 64;
    let (mut total, mut block, mut filled) = (T::ZERO, T::ZERO, 0);
    for x in values {
        block += x;
        filled += 1;
        if filled == BLOCK {
            total += block;
            (block, filled) = (T::ZERO, 0);
        }
    }
    total + block
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quarter_wave_is_the_sine() {
        for (k, (&double, &single)) in QUARTER_WAVE_DOUBLE.iter().zip(&QUARTER_WAVE).enumerate() {
            let exact = libm::sin(core::f64::consts::TAU * k as f64 / TABLE_LEN as f64);
            assert!((double - exact).abs() < 2e-16, "{k}: {double} {exact}");
            assert_eq!(single, double as f32);
        }
    }

    #[test]
    fn long_sums_stay_exact_enough() {
        let ones = vec![0.1_f32; 100_000];
        assert!((sum(ones) - 10_000.0).abs() < 0.5);
    }
}
