//! The cumulative sum: the first alarm on the device itself.

use core::ops::{Add, Sub};

/// Two-sided cumulative sum of a standardised signal, in double precision, or in the single one that a device's core adds
/// by itself.
///
/// `up = max(0, up + z - k)`, `down = max(0, down - z - k)`; an alarm when either exceeds `h`.
///
/// # Units
/// `slack` (k), `threshold` (h) and `z` are in standard deviations of the stable signal.
///
/// # Source
/// Page, 1954, "Continuous inspection schemes", with both sides run at once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cusum<T = f64> {
    /// Half of the shift that it is tuned to find.
    pub slack: T,
    /// Sum above which it raises an alarm.
    pub threshold: T,
    /// Evidence for a rise.
    pub up: T,
    /// Evidence for a fall.
    pub down: T,
}

/// Which way a signal has moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Above its stable mean.
    Up,
    /// Below its stable mean.
    Down,
}

impl Cusum {
    /// A detector with no evidence yet.
    pub const fn new(slack: f64, threshold: f64) -> Cusum {
        Cusum {
            slack,
            threshold,
            up: 0.0,
            down: 0.0,
        }
    }
}

impl Cusum<f32> {
    /// The default of a device that knows nothing of its own stable days: k = 0.25, h = 20.
    ///
    /// A threshold of 12 raised 0.3 to 0.7 false alarms in 1,000 stable windows of real data, which
    /// is too many for a default (`docs/formats/frames.md`).
    pub const fn device_default() -> Cusum<f32> {
        Cusum {
            slack: 0.25,
            threshold: 20.0,
            up: 0.0,
            down: 0.0,
        }
    }
}

impl<T: Copy + Default + PartialOrd + Add<Output = T> + Sub<Output = T>> Cusum<T> {
    /// Takes one value; an alarm forgets the evidence of both sides.
    pub fn update(&mut self, z: T) -> Option<Direction> {
        let none = T::default();
        let positive = |sum: T| if sum > none { sum } else { none };
        self.up = positive(self.up + z - self.slack);
        self.down = positive(self.down - z - self.slack);
        let alarm = if self.up > self.threshold {
            Direction::Up
        } else if self.down > self.threshold {
            Direction::Down
        } else {
            return None;
        };
        (self.up, self.down) = (none, none);
        Some(alarm)
    }
}
