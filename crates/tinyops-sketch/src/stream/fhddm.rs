//! The fast detector by Hoeffding's bound: a sliding window of ones.

use super::{Detector, Verdict};

/// The share of ones in the newest values, at most `WINDOW_MAX`, held against its greatest: it finds a fall of what it is
/// fed.
///
/// Published for right predictions (1 for right); fed errors, as the rest of the family is, it finds that a model got
/// better. Feed `1 - error` to find that it got worse.
///
/// # Source
/// Pesaranghader and Viktor, 2016, "Fast Hoeffding drift detection method for evolving data streams".
#[derive(Clone, Debug)]
pub struct Fhddm<const WINDOW_MAX: usize = 100> {
    bound: f64,
    window: usize,
    values: [bool; WINDOW_MAX],
    /// Where the next value goes, and how many there are.
    next: usize,
    count: usize,
    ones: u32,
    most: f64,
    is_over: bool,
}

impl<const WINDOW_MAX: usize> Fhddm<WINDOW_MAX> {
    /// An empty window of so many values; `confidence` is the chance of taking noise for a drift, such as 1e-6.
    ///
    /// `None` for a window of no value, or of more than `WINDOW_MAX`.
    pub fn new(window: usize, confidence: f64) -> Option<Fhddm<WINDOW_MAX>> {
        if !(1..=WINDOW_MAX).contains(&window) {
            return None;
        }
        Some(Fhddm {
            window,
            bound: libm::sqrt(libm::log(1.0 / confidence) / (2.0 * window as f64)),
            values: [false; WINDOW_MAX],
            next: 0,
            count: 0,
            ones: 0,
            most: 0.0,
            is_over: false,
        })
    }
}

impl<const WINDOW_MAX: usize> Detector for Fhddm<WINDOW_MAX> {
    fn take(&mut self, value: f64) -> Verdict {
        if core::mem::take(&mut self.is_over) {
            (self.count, self.next, self.ones, self.most) = (0, 0, 0, 0.0);
        }
        let is_one = value == 1.0;
        if self.count == self.window {
            self.ones -= u32::from(self.values[self.next]);
        } else {
            self.count += 1;
        }
        self.ones += u32::from(is_one);
        self.values[self.next] = is_one;
        self.next = (self.next + 1) % self.window;
        if self.count < self.window {
            return Verdict::Stable;
        }
        let share = f64::from(self.ones) / self.window as f64;
        self.most = self.most.max(share);
        self.is_over = self.most - share > self.bound;
        match self.is_over {
            true => Verdict::Drift,
            false => Verdict::Stable,
        }
    }
}
