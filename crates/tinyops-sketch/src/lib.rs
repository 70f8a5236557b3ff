#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]
//! Mergeable summaries of a stream and how far they are from what training saw.
//!
//! A [`Baseline`] is what training saw: per monitored channel its mean, spread and quantile bins,
//! and how often each class came up. A [`Sketch`] counts the same of a live stream, in integers, so
//! that sketches add up in any order. A [`Summary`] is what is left of a sketch once it has been
//! through a frame of a few bytes; a [`Drift`] is the distance between two of them. A [`Cusum`]
//! watches one signal reading by reading; [`stream`] holds the published detectors of changes. A [`Spread`] chooses few
//! items of a stream that lie far apart.
//!
//! Nothing here knows who sends a sketch or where it is kept, reads a clock, or allocates.

mod baseline;
mod build;
mod bytes;
mod cusum;
pub mod distance;
mod dither;
mod sketch;
mod spread;
pub mod stream;
mod summary;

pub use baseline::{Baseline, BaselineError, Calibration, ChannelBaseline, Noise, Source};
pub use build::{BaselineBuilder, BuildError, NOISE_BLOCK, memory_len};
pub use cusum::{Cusum, Direction};
pub use dither::{Dither, Quantizer};
pub use sketch::{ChannelSketch, Observation, Sketch};
pub use spread::{ITEMS_MAX, Spread};
pub use summary::{ChannelDrift, ChannelSummary, Drift, Summary};

/// Bins of a channel's histogram.
pub const BINS: usize = 8;

/// Most channels that a baseline can watch: features, the distance of the embedding and the model's output.
pub const CHANNELS_MAX: usize = 9;

/// Most classes that a baseline can count.
pub const CLASSES_MAX: usize = 32;
