//! Makes models: featurize, train, quantize, evaluate.
//!
//! Everything is a function of its arguments: the same windows, spec and seed give the same bytes,
//! whatever the number of threads. Nothing here prints, reads a file or knows a device.
//!
//! Reading order: [`TrainSpec`] says what is wanted, [`progress`] tells how far it has come.

mod error;
mod front_end;
mod net;
pub mod progress;
mod rng;
mod spec;
mod windows;

pub use error::TrainError;
pub use front_end::{
    FilterSpec, FlattenSpec, FrontEndSpec, ImageSpec, MaxHoldSpec, MfccSpec, MfeSpec,
    NormalizeSpec, RawSpec, SpectralSpec, TimelineSpec,
};
pub use spec::{
    AugmentSpec, AutoencoderSpec, ClassWeights, Conv1dSpec, Conv2dSpec, Costs, DenseSpec, Goal,
    KMeansSpec, MahalanobisSpec, NetworkSpec, QuantizeSpec, Range, ScalerSpec, Template, TrainSpec,
};
pub use windows::{Recording, Target, Windows};
