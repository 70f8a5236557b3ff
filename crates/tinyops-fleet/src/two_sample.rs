//! Two samples held against each other, once both are at hand: what was exported, uploaded by consent, or recorded.
//!
//! A live fleet is judged by its summaries ([`crate::detector`]); these are for the comparison afterwards, with the
//! statistics that people know. Values are those of scipy (`cargo xtask golden drift`).

mod bins;
mod kernel;
mod law;
mod ordered;
mod rank;

pub use bins::{
    Bins, Contingency, contingency, doane_edges, kullback_leibler, quantile_edges, sturges_edges,
};
pub use kernel::{Mmd, mahalanobis, median_distance, mmd};
pub use ordered::{Apart, Ordered};
pub use rank::{
    CramerVonMises, KolmogorovSmirnov, MannWhitney, cramer_von_mises, energy, kolmogorov_smirnov,
    mann_whitney, wasserstein,
};

pub(crate) use law::chi_squared_above;

/// Values in order of size.
///
/// # Panics
/// If one is no number.
fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(|a, b| a.partial_cmp(b).expect("values are numbers"));
    sorted
}
