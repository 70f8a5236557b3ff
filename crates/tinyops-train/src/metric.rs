//! The one figure that a project is judged by.

use serde::{Deserialize, Serialize};

use crate::Evaluation;

/// What a project is judged by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Share of windows whose class is right.
    #[default]
    Accuracy,
    /// Mean over classes of the F1 score.
    MacroF1,
    /// Area under the ROC curve of the anomaly score (or of the positive class).
    Auc,
    /// Root mean squared error of a regression, in the unit of the target.
    Rmse,
}

impl Metric {
    /// The word in the project file.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Accuracy => "accuracy",
            Self::MacroF1 => "macro_f1",
            Self::Auc => "auc",
            Self::Rmse => "rmse",
        }
    }

    /// Whether `value` is as good as `threshold` or better.
    #[must_use]
    pub fn reaches(self, value: f64, threshold: f64) -> bool {
        self.loss(value, threshold) <= 0.0
    }

    /// This metric's value in an evaluation, if the task has one.
    #[must_use]
    pub fn of(self, evaluation: &Evaluation) -> Option<f64> {
        evaluation.metric_named(self.word()).map(f64::from)
    }

    /// A value as one of which more is better.
    #[must_use]
    pub fn goodness(self, value: f64) -> f64 {
        match self {
            Self::Rmse => -value,
            Self::Accuracy | Self::MacroF1 | Self::Auc => value,
        }
    }

    /// How much worse `value` is than `reference`; negative when it is better.
    #[must_use]
    pub fn loss(self, value: f64, reference: f64) -> f64 {
        match self {
            Self::Rmse => value - reference,
            Self::Accuracy | Self::MacroF1 | Self::Auc => reference - value,
        }
    }
}
