//! Everything that turns a window of readings into a decision.

use tinyops_dsp::{FrontEnd, Scaler};
use tinyops_sketch::Baseline;

use crate::graph::Graph;

/// A trained model, whole: what the registry keeps and the compiler takes.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// For people.
    pub name: String,
    /// What the scores mean.
    pub task: Task,
    /// From readings to features.
    pub front_end: FrontEnd,
    /// From features to standardised features.
    pub scaler: OwnedScaler,
    /// From standardised features to scores.
    pub body: Body,
    /// The name of each class, in the order of the scores.
    pub labels: Vec<String>,
    /// From scores to a decision.
    pub decision: Decision,
    /// What training saw, to measure drift against.
    pub baseline: Baseline,
    /// Where the embeddings of the training windows lie, as section EMBEDDING of a payload: bytes of
    /// [`tinyops_nn::EmbeddingDistance`]. Empty where the baseline does not watch them.
    pub embedding: Vec<u8>,
}

/// What the scores of a model mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// One score for each class.
    Classify,
    /// Quantities.
    Regress,
    /// How unlike the training data a window is; greater is stranger.
    Anomaly,
}

/// What makes scores of standardised features.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// A network from features to scores.
    Network(Graph),
    /// A network from features to themselves; the score is the mean squared error.
    Autoencoder(Graph),
    /// The score is the least of the distances to a centre, each less that centre's radius.
    KMeans {
        /// The centres one after another, each as long as the features.
        centres: Vec<f32>,
        /// The radius of each centre.
        radii: Vec<f32>,
    },
    /// The score is the distance from the mean, measured by the inverse covariance.
    Mahalanobis {
        /// One number for each feature.
        mean: Vec<f32>,
        /// The upper triangle of the inverse covariance, row by row.
        inverse_covariance: Vec<f32>,
    },
}

impl Body {
    /// The network, if there is one.
    #[must_use]
    pub fn graph(&self) -> Option<&Graph> {
        match self {
            Body::Network(graph) | Body::Autoencoder(graph) => Some(graph),
            Body::KMeans { .. } | Body::Mahalanobis { .. } => None,
        }
    }
}

/// [`Scaler`] that owns its numbers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OwnedScaler {
    /// Mean of each group of features.
    pub mean: Vec<f32>,
    /// Inverse standard deviation of each group.
    pub inv_std: Vec<f32>,
}

impl OwnedScaler {
    /// The scaler that the device uses.
    #[must_use]
    pub fn view(&self) -> Scaler<'_> {
        Scaler {
            mean: &self.mean,
            inv_std: &self.inv_std,
        }
    }
}

/// Where a score becomes a decision.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decision {
    /// The anomaly score above which there is an alarm; of two classes the share of the second from which it is the answer,
    /// 0 for the larger of the two.
    pub threshold: f32,
    /// A greatest score below this is "unsure".
    pub min_confidence: f32,
}
