//! Butterworth filters as second-order sections, and pre-emphasis.

use crate::real::Real;

/// Highest order of a design.
pub const ORDER_MAX: usize = 8;
/// Sections of the largest design: a band pass has two poles per order.
pub const SECTION_COUNT_MAX: usize = ORDER_MAX;
const POLE_COUNT_MAX: usize = 2 * ORDER_MAX;

/// One second-order section, `(b0 + b1 z⁻¹ + b2 z⁻²) / (1 + a1 z⁻¹ + a2 z⁻²)`.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Section<T> {
    /// Numerator.
    pub b: [T; 3],
    /// `a1` and `a2`.
    pub a: [T; 2],
}

/// What a Butterworth filter lets pass, as fractions of half the rate, between 0 and 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pass {
    /// Below.
    Low(f64),
    /// Above.
    High(f64),
    /// Between.
    Band(f64, f64),
}

/// A designed filter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Butterworth<T> {
    sections: [Section<T>; SECTION_COUNT_MAX],
    count: usize,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Complex {
    re: f64,
    im: f64,
}

impl<T: Real> Butterworth<T> {
    /// Designs a filter, in double precision throughout; `None` when the order is not 1 to [`ORDER_MAX`] or a
    /// corner is not between 0 and 1 (and ascending).
    ///
    /// # Source
    /// Butterworth, 1930, "On the theory of filter amplifiers"; bilinear transform with prewarped corners, poles
    /// paired with the nearest zeros and sections ordered as `scipy.signal.butter(output="sos")` does.
    pub fn design(order: usize, pass: Pass) -> Option<Self> {
        let inside = |w: f64| w > 0.0 && w < 1.0;
        let sane = match pass {
            Pass::Low(w) | Pass::High(w) => inside(w),
            Pass::Band(low, high) => inside(low) && inside(high) && low < high,
        };
        if !sane || !(1..=ORDER_MAX).contains(&order) {
            return None;
        }
        Some(Roots::design(order, pass).into_sections())
    }

    /// The sections, in the order in which the signal passes them.
    pub fn sections(&self) -> &[Section<T>] {
        &self.sections[..self.count]
    }
}

/// Zeros (all real), poles and gain in the z plane.
struct Roots {
    zeros: [f64; POLE_COUNT_MAX + 1],
    zero_count: usize,
    poles: [Complex; POLE_COUNT_MAX + 1],
    pole_count: usize,
    gain: f64,
}

impl Roots {
    fn design(order: usize, pass: Pass) -> Self {
        // The bilinear transform at rate 2: s = 4 (z - 1) / (z + 1).
        let warp = |w: f64| 4.0 * libm::tan(core::f64::consts::FRAC_PI_2 * w);
        let mut roots = Self {
            zeros: [0.0; POLE_COUNT_MAX + 1],
            zero_count: 0,
            poles: [Complex { re: 0.0, im: 0.0 }; POLE_COUNT_MAX + 1],
            pole_count: 0,
            gain: 1.0,
        };
        // Gain of each analog prototype is real; numerator over the product of (4 - pole) follows below.
        let mut denominator = Complex { re: 1.0, im: 0.0 };
        for m in 0..order {
            let angle =
                core::f64::consts::PI * (2.0 * m as f64 + 1.0 - order as f64) / (2 * order) as f64;
            let (sin, cos) = libm::sincos(angle);
            // The middle pole of an odd order is real; the sine of its angle is exactly 0.
            let prototype = Complex { re: -cos, im: -sin };
            match pass {
                Pass::Low(w) => {
                    let pole = prototype.scaled(warp(w));
                    roots.gain *= warp(w);
                    denominator = denominator.times(roots.push(pole, -1.0));
                }
                Pass::High(w) => {
                    let pole = prototype.inverse().scaled(warp(w));
                    // A zero at s = 0 and the prototype's own gain, 1 / |prototype| = 1.
                    roots.gain *= 4.0;
                    denominator = denominator.times(roots.push(pole, 1.0));
                }
                Pass::Band(low, high) => {
                    let width = warp(high) - warp(low);
                    let centre_square = warp(high) * warp(low);
                    let half = prototype.scaled(width / 2.0);
                    let square = half.times(half);
                    let root = Complex {
                        re: square.re - centre_square,
                        im: square.im,
                    }
                    .sqrt();
                    roots.gain *= 4.0 * width;
                    for pole in [half.plus(root), half.plus(root.scaled(-1.0))] {
                        let zero = if roots.pole_count.is_multiple_of(2) {
                            1.0
                        } else {
                            -1.0
                        };
                        denominator = denominator.times(roots.push(pole, zero));
                    }
                }
            }
        }
        roots.gain /= denominator.re;
        roots
    }

    /// Adds the image of an analog pole, and a zero; returns `4 - pole`.
    fn push(&mut self, pole: Complex, zero: f64) -> Complex {
        let below = Complex {
            re: 4.0 - pole.re,
            im: -pole.im,
        };
        let above = Complex {
            re: 4.0 + pole.re,
            im: pole.im,
        };
        self.poles[self.pole_count] = above.times(below.inverse());
        self.pole_count += 1;
        self.zeros[self.zero_count] = zero;
        self.zero_count += 1;
        below
    }

    fn into_sections<T: Real>(mut self) -> Butterworth<T> {
        if self.pole_count % 2 == 1 {
            // An odd order is filled up with a pole and a zero at the origin, which cancel.
            self.pole_count += 1;
            self.zero_count += 1;
        }
        let count = self.pole_count / 2;
        self.keep_one_of_each_pair();
        let mut sections = [Section::default(); SECTION_COUNT_MAX];
        for index in (0..count).rev() {
            let first = self.take_worst_pole(|_| true);
            let (sum, product) = if first.im == 0.0 {
                let second = self.take_worst_pole(|pole| pole.im == 0.0);
                (first.re + second.re, first.re * second.re)
            } else {
                (2.0 * first.re, first.re * first.re + first.im * first.im)
            };
            let (a, b) = (self.take_nearest_zero(first), self.take_nearest_zero(first));
            let gain = if index == 0 { self.gain } else { 1.0 };
            sections[index] = Section {
                b: [gain, -gain * (a + b), gain * a * b].map(T::of),
                a: [-sum, product].map(T::of),
            };
        }
        Butterworth { sections, count }
    }

    /// Drops the lower half plane; complex poles first, then real ones, each by ascending real part.
    fn keep_one_of_each_pair(&mut self) {
        let mut kept = 0;
        for index in 0..self.pole_count {
            let mut pole = self.poles[index];
            if pole.im.abs() <= 1e-14 {
                pole.im = 0.0;
            }
            if pole.im >= 0.0 {
                self.poles[kept] = pole;
                kept += 1;
            }
        }
        self.pole_count = kept;
        self.poles[..kept].sort_unstable_by(|a, b| {
            (a.im == 0.0)
                .cmp(&(b.im == 0.0))
                .then(a.re.total_cmp(&b.re))
        });
    }

    /// Takes the pole nearest the unit circle.
    fn take_worst_pole(&mut self, fits: impl Fn(&Complex) -> bool) -> Complex {
        let distance = |pole: &Complex| (1.0 - libm::hypot(pole.re, pole.im)).abs();
        let candidates = self.poles[..self.pole_count]
            .iter()
            .enumerate()
            .filter(|(_, pole)| fits(pole));
        let index = candidates
            .min_by(|(_, a), (_, b)| distance(a).total_cmp(&distance(b)))
            .map_or(0, |(index, _)| index);
        let pole = self.poles[index];
        self.poles.copy_within(index + 1..self.pole_count, index);
        self.pole_count -= 1;
        pole
    }

    fn take_nearest_zero(&mut self, pole: Complex) -> f64 {
        let distance = |zero: &f64| libm::hypot(zero - pole.re, pole.im);
        let index = self.zeros[..self.zero_count]
            .iter()
            .enumerate()
            .min_by(|(_, a), (_, b)| distance(a).total_cmp(&distance(b)))
            .map_or(0, |(index, _)| index);
        let zero = self.zeros[index];
        self.zeros.copy_within(index + 1..self.zero_count, index);
        self.zero_count -= 1;
        zero
    }
}

impl Complex {
    fn times(self, other: Self) -> Self {
        Self {
            re: self.re * other.re - self.im * other.im,
            im: self.re * other.im + self.im * other.re,
        }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            re: self.re + other.re,
            im: self.im + other.im,
        }
    }

    fn scaled(self, factor: f64) -> Self {
        Self {
            re: self.re * factor,
            im: self.im * factor,
        }
    }

    fn inverse(self) -> Self {
        let square = self.re * self.re + self.im * self.im;
        Self {
            re: self.re / square,
            im: -self.im / square,
        }
    }

    fn sqrt(self) -> Self {
        let length = libm::hypot(self.re, self.im);
        let re = libm::sqrt(((length + self.re) / 2.0).max(0.0));
        let im = libm::sqrt(((length - self.re) / 2.0).max(0.0));
        Self {
            re,
            im: if self.im < 0.0 { -im } else { im },
        }
    }
}

/// Filters in place, forward from zero state.
///
/// # Source
/// Direct form II transposed, as `scipy.signal.sosfilt`.
pub fn sosfilt<T: Real>(sections: &[Section<T>], signal: &mut [T]) {
    for section in sections {
        run_section(section, [T::ZERO; 2], signal.iter_mut());
    }
}

/// Readings that [`sosfiltfilt`] adds at either end.
pub fn padding_len<T: Real>(sections: &[Section<T>]) -> usize {
    let b_ends = sections
        .iter()
        .filter(|section| section.b[2] == T::ZERO)
        .count();
    let a_ends = sections
        .iter()
        .filter(|section| section.a[1] == T::ZERO)
        .count();
    3 * (2 * sections.len() + 1 - b_ends.min(a_ends))
}

/// Filters forward and backward, without a shift in time; the ends are continued as point mirrors.
///
/// # Shapes
/// `extended` is working memory of `signal.len() + 2 * padding_len(sections)`; the signal must be longer than the
/// padding.
///
/// # Panics
/// When either length is wrong.
///
/// # Source
/// Gustafsson, 1996, discusses the ends; the default of `scipy.signal.sosfiltfilt` ("odd" padding, steady state).
pub fn sosfiltfilt<T: Real>(sections: &[Section<T>], signal: &mut [T], extended: &mut [T]) {
    let (pad, len) = (padding_len(sections), signal.len());
    assert!(
        len > pad && extended.len() == len + 2 * pad,
        "the signal outlasts its padding"
    );
    let two = T::of(2.0);
    for i in 0..pad {
        extended[i] = two * signal[0] - signal[pad - i];
        extended[pad + len + i] = two * signal[len - 1] - signal[len - 2 - i];
    }
    extended[pad..pad + len].copy_from_slice(signal);
    let mut level = extended[0];
    for section in sections {
        let gain = section.steady_gain();
        run_section(section, section.steady_state(level), extended.iter_mut());
        level *= gain;
    }
    let mut level = extended[extended.len() - 1];
    for section in sections {
        let gain = section.steady_gain();
        run_section(
            section,
            section.steady_state(level),
            extended.iter_mut().rev(),
        );
        level *= gain;
    }
    signal.copy_from_slice(&extended[pad..pad + len]);
}

impl<T: Real> Section<T> {
    /// Response to a constant 1.
    fn steady_gain(&self) -> T {
        (self.b[0] + self.b[1] + self.b[2]) / (T::ONE + self.a[0] + self.a[1])
    }

    /// The state that a constant `level` leaves.
    fn steady_state(&self, level: T) -> [T; 2] {
        let gain = self.steady_gain();
        let second = self.b[2] - self.a[1] * gain;
        [
            (self.b[1] - self.a[0] * gain + second) * level,
            second * level,
        ]
    }

    /// Magnitude of the response at an angle of `0..=π` per reading.
    pub fn magnitude(&self, angle: f64) -> f64 {
        let polynomial = |c: [f64; 3]| {
            let re = c[0] + c[1] * libm::cos(angle) + c[2] * libm::cos(2.0 * angle);
            let im = c[1] * libm::sin(angle) + c[2] * libm::sin(2.0 * angle);
            libm::hypot(re, im)
        };
        polynomial(self.b.map(T::double))
            / polynomial([1.0, self.a[0].double(), self.a[1].double()])
    }
}

fn run_section<'a, T: Real>(
    section: &Section<T>,
    mut state: [T; 2],
    signal: impl Iterator<Item = &'a mut T>,
) {
    let Section { b, a } = section;
    for x in signal {
        let y = b[0] * *x + state[0];
        state[0] = b[1] * *x - a[0] * y + state[1];
        state[1] = b[2] * *x - a[1] * y;
        *x = y;
    }
}

/// What stands before the first reading when a signal is pre-emphasised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before {
    /// Nothing: `y[0] = x[0]` (python_speech_features).
    Nothing,
    /// The last reading of the signal (speechpy, Edge Impulse).
    Last,
    /// The first reading, as if held.
    Held,
}

/// Lifts high frequencies in place: `y[t] = x[t] - factor * x[t-1]`.
pub fn pre_emphasize<T: Real>(signal: &mut [T], factor: T, before: Before) {
    let (Some(&first), Some(&last)) = (signal.first(), signal.last()) else {
        return;
    };
    let mut previous = match before {
        Before::Nothing => T::ZERO,
        Before::Last => last,
        Before::Held => first,
    };
    for x in signal {
        let held = *x;
        *x = held - factor * previous;
        previous = held;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn senseless_designs_are_refused() {
        for (order, pass) in [
            (0, Pass::Low(0.5)),
            (9, Pass::Low(0.5)),
            (2, Pass::Low(0.0)),
            (2, Pass::High(1.0)),
            (2, Pass::Low(f64::NAN)),
            (2, Pass::Band(0.4, 0.2)),
        ] {
            assert_eq!(
                Butterworth::<f32>::design(order, pass),
                None,
                "{order} {pass:?}"
            );
        }
    }

    #[test]
    fn every_design_halves_the_power_at_its_corner() {
        for order in 1..=ORDER_MAX {
            for (pass, corner) in [
                (Pass::Low(0.2), 0.2),
                (Pass::High(0.6), 0.6),
                (Pass::Band(0.2, 0.5), 0.2),
                (Pass::Band(0.2, 0.5), 0.5),
            ] {
                let design = Butterworth::<f64>::design(order, pass).unwrap();
                let angle = core::f64::consts::PI * corner;
                let gain: f64 = design
                    .sections()
                    .iter()
                    .map(|s| s.magnitude(angle))
                    .product();
                assert!(
                    (gain * gain - 0.5).abs() < 1e-9,
                    "order {order} {pass:?}: {gain}"
                );
            }
        }
    }
}
