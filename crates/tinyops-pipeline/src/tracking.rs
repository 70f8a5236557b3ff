//! Experiments and the registry, by the rules that MLflow's clients know: what may be logged, changed and promoted.
//!
//! Records are `tinyops_store::tracking`'s. What a pipeline of TinyOps registers is here too, and moves by its gates only.

pub mod experiment;
pub mod family;
pub mod filter;
pub mod foreign;
pub mod import;
#[cfg(test)]
mod import_tests;
mod limit;
pub mod logged_model;
pub mod own;
mod place;
pub mod registry;
pub mod run;
pub mod webhook;

pub use limit::{BATCH_METRICS_MAX, Page, check_path};
pub use place::Place;

use tinyops_store::StoreError;

/// Why something was not logged, changed or found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrackingError {
    /// What was said cannot be.
    #[error("{0}")]
    Invalid(String),
    /// It is not there.
    #[error("{0}")]
    Missing(String),
    /// It is there already.
    #[error("{0}")]
    Exists(String),
    /// As things stand it may not be.
    #[error("{0}")]
    Forbidden(String),
    /// The records could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl TrackingError {
    /// Another writer was faster; the same again may go well.
    fn is_conflict(&self) -> bool {
        matches!(self, TrackingError::Store(error) if error.is_conflict())
    }
}

/// How often a transaction is tried again that ran into another.
const RETRIES_MAX: u32 = 8;

/// Runs a block in a transaction and commits it; tries again where another writer was faster.
macro_rules! write {
    ($begin:expr, |$tx:ident| $body:block) => {{
        let mut retries = 0;
        loop {
            let attempt = async {
                let $tx = $begin.await?;
                let done = $body;
                $tx.commit().await?;
                Ok::<_, $crate::tracking::TrackingError>(done)
            };
            match attempt.await {
                Err(error) if error.is_conflict() && retries < $crate::tracking::RETRIES_MAX => {
                    retries += 1;
                }
                result => break result,
            }
        }
    }};
}
pub(crate) use write;
