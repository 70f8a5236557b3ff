//! Makes models: featurize, train, quantize, evaluate.
//!
//! Everything is a function of its arguments: the same windows, spec and seed give the same bytes,
//! whatever the number of threads. Nothing here prints, reads a file or knows a device.
//!
//! Reading order: [`TrainSpec`] says what is wanted, [`progress`] tells how far it has come.

mod anomaly;
mod architecture;
mod augment;
mod baseline;
pub mod codec;
mod embedding;
mod error;
mod evaluate;
pub mod evaluation;
mod feature_set;
mod features;
mod fit;
mod front_end;
pub mod head;
pub mod interval;
mod linalg;
mod metric;
mod net;
mod optimise;
mod predictions;
mod predictor;
pub mod progress;
mod quantize;
mod rng;
pub mod roc;
pub mod slices;
mod spec;
mod standard;
mod table;
mod trained;
pub mod tune;
mod windows;
pub mod worth;

pub use embedding::embedding_distances;
pub use error::TrainError;
pub use evaluate::{Asked, Comparison, Parity, evaluate, golden, golden_again};
pub use evaluation::{Evaluation, Scores};
pub use feature_set::FeatureSet;
pub use features::Features;
pub use fit::fit;
pub use front_end::{
    FilterSpec, FlattenSpec, FrontEndSpec, ImageSpec, MaxHoldSpec, MfccSpec, MfeSpec,
    NormalizeSpec, RawSpec, SpectralSpec, TimelineSpec,
};
pub use metric::Metric;
pub use optimise::Epoch;
pub use predictions::{Predictions, SliceChange};
pub use predictor::Predictor;
pub use quantize::quantize;
pub use spec::{
    ALARM, AugmentSpec, AutoencoderSpec, ClassWeights, Conv1dSpec, Conv2dSpec, Costs, DenseSpec,
    Goal, KMeansSpec, MahalanobisSpec, NO_ALARM, NetworkSpec, Price, QuantizeSpec, Range,
    ScalerSpec, Template, TrainSpec,
};
pub use trained::Trained;
pub use windows::{Origin, Recording, Target, Windows};
