//! Distances between two distributions over the same bins.
//!
//! Shares are `f64` and sum to 1; these run on the server, where a device's histograms meet.

/// What to do about bins that hold nothing, before a logarithm meets them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Smoothing {
    /// Nothing: an empty bin has a share of 0.
    None,
    /// A share below this one is lifted to it; the others keep theirs, so that the sum may exceed 1.
    Floor(f64),
    /// Every bin counts half a value more.
    AddHalf,
}

/// Writes the shares of `counts` into `shares`.
///
/// # Panics
/// If the two differ in length.
pub fn shares_of(counts: &[u64], smoothing: Smoothing, shares: &mut [f64]) {
    assert_eq!(counts.len(), shares.len(), "one share for each count");
    let added = if smoothing == Smoothing::AddHalf {
        0.5
    } else {
        0.0
    };
    let sum = counts.iter().sum::<u64>() as f64 + added * counts.len() as f64;
    for (share, &count) in shares.iter_mut().zip(counts) {
        *share = match smoothing {
            _ if sum == 0.0 => 0.0,
            Smoothing::Floor(floor) => (count as f64 / sum).max(floor),
            Smoothing::None | Smoothing::AddHalf => (count as f64 + added) / sum,
        };
    }
}

/// Population stability index: `Σ (live - base) * ln(live / base)`.
///
/// # Units
/// Nats, at least 0. Infinite where one side is empty and the other is not: smooth first.
///
/// # Source
/// The divergence of Jeffreys, 1946, "An invariant form for the prior probability in estimation
/// problems".
pub fn psi(base: &[f64], live: &[f64]) -> f64 {
    let term = |(&base, &live): (&f64, &f64)| {
        if base == live {
            0.0
        } else {
            (live - base) * libm::log(live / base)
        }
    };
    base.iter().zip(live).map(term).sum()
}

/// Jensen–Shannon distance: the root of the mean divergence of either side from the middle of both.
///
/// # Units
/// The root of bits, 0 to 1.
///
/// # Source
/// Endres and Schindelin, 2003, "A new metric for probability distributions".
pub fn jensen_shannon(base: &[f64], live: &[f64]) -> f64 {
    let part = |share: f64, middle: f64| {
        if share > 0.0 {
            share * libm::log2(share / middle)
        } else {
            0.0
        }
    };
    let term = |(&base, &live): (&f64, &f64)| {
        let middle = 0.5 * (base + live);
        0.5 * (part(base, middle) + part(live, middle))
    };
    libm::sqrt(base.iter().zip(live).map(term).sum::<f64>().max(0.0))
}

/// Hellinger distance: `sqrt(½ Σ (√live - √base)²)`, 0 to 1.
///
/// # Source
/// Hellinger, 1909, "Neue Begründung der Theorie quadratischer Formen von unendlichvielen
/// Veränderlichen".
pub fn hellinger(base: &[f64], live: &[f64]) -> f64 {
    let term = |(&base, &live): (&f64, &f64)| {
        let difference = libm::sqrt(live) - libm::sqrt(base);
        difference * difference
    };
    libm::sqrt(0.5 * base.iter().zip(live).map(term).sum::<f64>())
}

/// Total variation distance: half the sum of the absolute differences, 0 to 1.
pub fn total_variation(base: &[f64], live: &[f64]) -> f64 {
    0.5 * base
        .iter()
        .zip(live)
        .map(|(base, live)| libm::fabs(live - base))
        .sum::<f64>()
}

/// Kolmogorov–Smirnov statistic over bins: the largest difference of the cumulative shares, 0 to 1.
///
/// A lower bound of the statistic of the values themselves, exact at the edges.
pub fn kolmogorov_smirnov(base: &[f64], live: &[f64]) -> f64 {
    let mut difference = 0.0;
    base.iter()
        .zip(live)
        .fold(0.0, |largest: f64, (base, live)| {
            difference += live - base;
            largest.max(libm::fabs(difference))
        })
}
