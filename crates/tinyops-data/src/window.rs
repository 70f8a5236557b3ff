//! Fixed spans of a sample, without copying.

use std::borrow::Cow;
use std::ops::Range;

use crate::dataset::Dataset;
use crate::sample::Sample;
use crate::spec::{Short, Tail, WindowSpec};

/// How samples of one rate are cut into windows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Windowing {
    /// Readings per channel in a window, at least 1.
    pub len: usize,
    /// Readings from one window's start to the next, at least 1.
    pub hop: usize,
    /// What becomes of the rest at the end.
    pub tail: Tail,
    /// What becomes of a sample shorter than a window.
    pub short: Short,
    /// Share of a window that its most common label must cover.
    pub label_share: f32,
}

/// One window of a sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Window<'a> {
    /// Which readings of the sample, counted from 0; ends past the sample if it was padded.
    pub range: Range<usize>,
    /// Interleaved readings, `len * channels`; borrowed unless padded.
    pub readings: Cow<'a, [f32]>,
    /// What it should be told to be.
    pub target: Target<'a>,
}

/// What a window should be told to be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Target<'a> {
    /// Nothing is known.
    None,
    /// A class.
    Class(&'a str),
    /// A value; of the window's last reading, where each has its own.
    Value(f32),
}

impl Windowing {
    /// Settles a spec for a dataset: lengths in readings at the dataset's rate.
    pub fn new(_spec: &WindowSpec, _dataset: &Dataset) -> Result<Windowing, WindowError> {
        todo!()
    }

    /// The windows of a sample, oldest first. Windows without a clear label are left out.
    pub fn windows<'a>(&self, _sample: &'a Sample) -> impl Iterator<Item = Window<'a>> + use<'a> {
        std::iter::empty()
    }
}

/// Why a window spec does not fit a dataset.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum WindowError {
    /// Both `len` and `ms`, or both `hop` and `hop_ms`.
    #[error("`{one}` and `{other}` are both set")]
    Both {
        /// One setting.
        one: &'static str,
        /// The other.
        other: &'static str,
    },
    /// A length of no reading.
    #[error("`{setting}` is {value}, which is less than one reading")]
    TooSmall {
        /// The setting.
        setting: &'static str,
        /// Its value.
        value: f32,
    },
    /// No window length, and samples of several lengths.
    #[error("no window length is set, and samples have between {min} and {max} readings")]
    Unequal {
        /// The shortest.
        min: usize,
        /// The longest.
        max: usize,
    },
    /// A length in milliseconds, and no rate.
    #[error("a window in milliseconds needs a sampling rate, and the dataset has none")]
    NoRate,
    /// No sample at all.
    #[error("the dataset is empty")]
    Empty,
}
