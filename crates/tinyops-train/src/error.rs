//! Why training or evaluation could not be done.

/// Why training or evaluation could not be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// A setting makes no sense by itself.
    #[error("`{key}` is {value}: {reason}")]
    Setting {
        /// The key in the project file, such as `train.epochs`.
        key: String,
        /// What it was set to.
        value: String,
        /// What it must be.
        reason: String,
    },
    /// There is nothing to learn from.
    #[error("no windows to {purpose}: {reason}")]
    NoWindows {
        /// What they were wanted for.
        purpose: &'static str,
        /// Why none are left.
        reason: String,
    },
    /// A class has no training window.
    #[error("class `{label}` has no training window")]
    EmptyClass {
        /// The class.
        label: String,
    },
    /// Windows differ in rate, channels or length from what the model or the other windows have.
    #[error("windows do not match: {0}")]
    Mismatch(String),
    /// A window label the model does not know.
    #[error("label `{label}` is not one of the model's classes")]
    UnknownLabel {
        /// The label.
        label: String,
    },
    /// A reading or a loss is not a finite number.
    #[error("{what} is not a finite number{at}")]
    NotFinite {
        /// What it was.
        what: &'static str,
        /// Where it was, empty or starting with a space.
        at: String,
    },
    /// The listener asked to stop.
    #[error("cancelled")]
    Cancelled,
}

impl TrainError {
    pub(crate) fn setting(
        key: impl Into<String>,
        value: impl std::fmt::Display,
        reason: impl Into<String>,
    ) -> Self {
        Self::Setting {
            key: key.into(),
            value: value.to_string(),
            reason: reason.into(),
        }
    }
}
