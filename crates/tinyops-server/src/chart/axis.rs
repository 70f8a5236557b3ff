//! Scales, ticks and the text of numbers.

use crate::civil;

/// A linear map from values to pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Scale {
    low: f64,
    high: f64,
    start: f64,
    end: f64,
}

impl Scale {
    /// Maps `low..=high` to `start..=end`; an empty range is widened so that it has a middle.
    pub(crate) fn new(low: f64, high: f64, start: f64, end: f64) -> Scale {
        let (low, high) = if high > low {
            (low, high)
        } else {
            let half = (low.abs() * 0.5).max(0.5);
            (low - half, low + half)
        };
        Scale {
            low,
            high,
            start,
            end,
        }
    }

    pub(crate) fn at(&self, value: f64) -> f64 {
        let share = (value - self.low) / (self.high - self.low);
        self.start + share * (self.end - self.start)
    }

    pub(crate) fn holds(&self, value: f64) -> bool {
        value >= self.low && value <= self.high
    }

    /// Round values inside the range, about `count` of them.
    pub(crate) fn ticks(&self, count: usize) -> Vec<f64> {
        multiples(self.low, self.high, step(self.high - self.low, count))
    }

    /// Round moments inside a range of Unix milliseconds, with the text for each.
    pub(crate) fn time_ticks(&self, count: usize) -> Vec<(f64, String)> {
        const SECOND: f64 = 1000.0;
        const STEPS_S: [f64; 19] = [
            1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0,
            7200.0, 10_800.0, 21_600.0, 43_200.0, 86_400.0, 172_800.0,
        ];
        let span = self.high - self.low;
        let wanted = span / count.max(1) as f64;
        let step = STEPS_S
            .into_iter()
            .map(|seconds| seconds * SECOND)
            .find(|step| *step >= wanted)
            .unwrap_or_else(|| step(span / 86.4e6, count).max(1.0) * 86.4e6);
        multiples(self.low, self.high, step)
            .into_iter()
            .map(|tick| {
                let moment = civil::Moment::of_ms(tick as i64);
                let text = if step < 60.0 * SECOND {
                    moment.time_with_seconds()
                } else if step < 86_400.0 * SECOND && (tick as i64) % 86_400_000 != 0 {
                    moment.time()
                } else {
                    moment.day()
                };
                (tick, text)
            })
            .collect()
    }
}

/// The nearest of 1, 2, 2.5 and 5 times a power of ten that gives at most `count` steps.
fn step(span: f64, count: usize) -> f64 {
    let rough = span / count.max(1) as f64;
    let power = 10f64.powf(rough.log10().floor());
    [1.0, 2.0, 2.5, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * power)
        .find(|step| *step >= rough * (1.0 - 1e-9))
        .unwrap_or(10.0 * power)
}

fn multiples(low: f64, high: f64, step: f64) -> Vec<f64> {
    /// More would be unreadable, and an absurd step must not fill the memory.
    const TICKS_MAX: usize = 50;
    let first = (low / step).ceil();
    (0..TICKS_MAX)
        .map(|index| (first + index as f64) * step)
        .take_while(|tick| *tick <= high + step * 1e-9)
        .collect()
}

/// A number as a person writes it: four significant digits, thousands apart.
pub(crate) fn number(value: f64) -> String {
    if !value.is_finite() {
        return "–".to_owned();
    }
    let magnitude = value.abs();
    if magnitude >= 1000.0 {
        return grouped(value.round());
    }
    let decimals = match magnitude {
        m if m >= 100.0 => 1,
        m if m >= 10.0 => 2,
        m if m >= 0.1 || m == 0.0 => 3,
        m if m >= 0.001 => 4,
        _ => return format!("{value:.1e}"),
    };
    let text = format!("{value:.decimals$}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0" } else { text }.to_owned()
}

/// A whole number with thin spaces between thousands.
fn grouped(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = String::new();
    if value < 0.0 {
        text.push('−');
    }
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}
