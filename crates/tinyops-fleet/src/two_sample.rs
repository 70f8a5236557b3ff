//! Two samples held against each other, once both are at hand: what was exported, uploaded by consent, or recorded.
//!
//! A live fleet is judged by its summaries ([`crate::detector`]); these are for the comparison afterwards, with the
//! statistics that people know. Values are those of scipy (`cargo xtask golden drift`).

mod bins;
mod kernel;
mod law;
mod ordered;
mod rank;

pub use bins::{Bins, Contingency, contingency, doane_edges, kullback_leibler, sturges_edges};
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

/// Goes through two samples in order of size, value by value: how many of each lie at it or below, and how far it is to
/// the next; 0 from the last.
fn each_step(a: &[f64], b: &[f64], mut visit: impl FnMut(usize, usize, f64)) {
    let (mut i, mut j) = (0, 0);
    let next = |i: usize, j: usize| match (a.get(i), b.get(j)) {
        (Some(a), Some(b)) => Some(a.min(*b)),
        (Some(next), None) | (None, Some(next)) => Some(*next),
        (None, None) => None,
    };
    let mut here = next(0, 0);
    while let Some(at) = here {
        while a.get(i).is_some_and(|value| *value <= at) {
            i += 1;
        }
        while b.get(j).is_some_and(|value| *value <= at) {
            j += 1;
        }
        here = next(i, j);
        visit(i, j, here.map_or(0.0, |next| next - at));
    }
}
