//! Experiments and the registry, as every trainer knows them: what MLflow's clients log, and what pipelines made.
//!
//! An experiment holds runs; a run has parameters and tags (texts by key), metrics (points by key) and logged models.
//! Names of models have numbered versions, some handed in by clients, some registered by a pipeline.

pub(crate) mod pair;

pub mod experiment;
pub mod file;
pub mod logged_model;
pub mod metric;
pub mod registry;
pub mod run;
pub mod search;

pub use pair::Pair;

use crate::column::words;

words! {
    /// Whether a record is in use, or was put away and can be brought back.
    Lifecycle {
        /// In use.
        Active = "active",
        /// Put away.
        Deleted = "deleted",
    }
}
