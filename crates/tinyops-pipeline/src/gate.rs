//! Gates: what a model must show before it may be registered, and the readable reason if it does not.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Which promise a gate holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "gate")]
#[non_exhaustive]
pub enum GateName {
    /// The project's metric on the test split, int8.
    Metric,
    /// The metric on the rows of one slice.
    Slice {
        /// Such as `group=machine-03`.
        slice: String,
    },
    /// The metric on the rows of one slice, beside that of the version in production.
    SliceChange {
        /// Such as `group=machine-03`.
        slice: String,
        /// Such as `fan@3`.
        production: String,
    },
    /// What int8 may lose against float.
    Quantization,
    /// That a new head is better for the fleet than the one it replaces.
    Head,
    /// What an update may take, and lose against a fine-tune that may change everything.
    Budget,
    /// Flash, RAM and latency of one board.
    Fit {
        /// The board's id.
        board: String,
    },
    /// The golden vectors, on the device's own executor.
    Golden,
    /// The golden vectors, on the emulated board.
    Smoke,
}

impl fmt::Display for GateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Metric => write!(f, "metric"),
            Self::Slice { slice } => write!(f, "slice {slice}"),
            Self::SliceChange { slice, production } => {
                write!(f, "slice {slice} against {production}")
            }
            Self::Quantization => write!(f, "int8 against float"),
            Self::Head => write!(f, "new head"),
            Self::Budget => write!(f, "update budget"),
            Self::Fit { board } => write!(f, "fit on {board}"),
            Self::Golden => write!(f, "golden vectors"),
            Self::Smoke => write!(f, "smoke"),
        }
    }
}

/// How a gate was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The promise holds.
    Pass,
    /// The promise does not hold: nothing is registered.
    Fail,
    /// The gate could not be asked here; `reason` says why. Not a pass.
    NotRun,
}

/// One gate of one run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gate {
    /// Which promise.
    #[serde(flatten)]
    pub name: GateName,
    /// The answer.
    pub verdict: Verdict,
    /// The numbers behind the answer, in words.
    pub reason: String,
}

impl Gate {
    /// A gate that passes when `holds`.
    #[must_use]
    pub fn new(name: GateName, holds: bool, reason: String) -> Self {
        let verdict = if holds { Verdict::Pass } else { Verdict::Fail };
        Self {
            name,
            verdict,
            reason,
        }
    }

    /// A gate that could not be asked, and why.
    #[must_use]
    pub fn not_run(name: GateName, reason: String) -> Self {
        Self {
            name,
            verdict: Verdict::NotRun,
            reason,
        }
    }
}
