//! Detectors that watch one stream value by value and say when it has changed.
//!
//! One family: each takes a value, answers with a [`Verdict`], and begins anew by itself after a drift. [`Adwin`],
//! [`PageHinkley`] and [`Kswin`] watch any value, and want it standardised; [`Ddm`], [`Eddm`], [`HddmA`], [`HddmW`] and
//! [`Fhddm`] watch whether predictions were wrong, and need labels. What each decides is what river 0.23 decides
//! (`cargo xtask golden drift`); none allocates.
//!
//! # Source
//! Montiel et al., 2021, "River: machine learning for streaming data in Python", for which of the published variants is
//! meant; each type names its own.

mod adwin;
mod errors;
mod fhddm;
mod hddm;
mod kswin;
mod page_hinkley;

pub use adwin::Adwin;
pub use errors::{Ddm, Eddm};
pub use fhddm::Fhddm;
pub use hddm::{HddmA, HddmW};
pub use kswin::{Kswin, smirnov_p};
pub use page_hinkley::{PageHinkley, Sides};

/// What a value showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing new.
    Stable,
    /// It may be about to change.
    Warning,
    /// It has changed; the detector begins anew.
    Drift,
}

/// A detector of changes in one stream.
pub trait Detector {
    /// Takes one value: any number, or 1 for a wrong prediction and 0 for a right one. What is no number is passed over.
    fn update(&mut self, value: f64) -> Verdict {
        match value.is_finite() {
            true => self.take(value),
            false => Verdict::Stable,
        }
    }

    /// Takes one value that is a number.
    fn take(&mut self, value: f64) -> Verdict;
}

/// A mean of values so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Mean {
    count: f64,
    mean: f64,
}

impl Mean {
    fn take(&mut self, value: f64) {
        self.count += 1.0;
        self.mean += (value - self.mean) / self.count;
    }
}

#[cfg(test)]
mod tests;
