//! Statistics of the order of two samples, and of the distance between their distribution functions.

use super::{each_step, law, sorted};

/// The largest distance between two empirical distribution functions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KolmogorovSmirnov {
    /// The distance, 0 to 1.
    pub statistic: f64,
    /// Chance of as much or more if both samples have one continuous law.
    pub p_exact: f64,
    /// The same by the law of one sample as large as both are worth together.
    pub p_asymptotic: f64,
}

/// Holds two samples against each other; both hold a value, and numbers alone.
///
/// # Panics
/// If a value is no number.
///
/// # Source
/// Hodges, 1958, "The significance probability of the Smirnov two-sample test": lattice paths, counted as chances, so that
/// the smallest are exact too. Work and time grow with the product of both sizes.
pub fn kolmogorov_smirnov(a: &[f64], b: &[f64]) -> KolmogorovSmirnov {
    let (a, b) = (sorted(a), sorted(b));
    let (n, m) = (a.len() as u64, b.len() as u64);
    // In parts of 1 / (n m).
    let mut parts = 0;
    each_step(&a, &b, |i, j, _| {
        parts = parts.max((i as u64 * m).abs_diff(j as u64 * n));
    });
    let statistic = parts as f64 / (n * m) as f64;
    let worth = (n * m) as f64 / (n + m) as f64;
    KolmogorovSmirnov {
        statistic,
        p_exact: outside(n, m, parts),
        p_asymptotic: law::kolmogorov_above(round_half_even(worth) as u32, statistic),
    }
}

/// Chance that a random path from corner to corner of an `n` by `m` lattice is ever `parts` or more from the diagonal.
fn outside(n: u64, m: u64, parts: u64) -> f64 {
    if parts == 0 {
        return 1.0;
    }
    let is_out = |i: u64, j: u64| (i * m).abs_diff(j * n) >= parts;
    let mut row: Vec<f64> = Vec::with_capacity(m as usize + 1);
    for i in 0..=n {
        let mut left = 0.0;
        for j in 0..=m {
            // The last step of a path to here is one of `i` or one of `j`, each as likely as they are many.
            let here = match (is_out(i, j), i, j) {
                (true, ..) => 1.0,
                (_, 0, 0) => 0.0,
                (_, 0, _) => left,
                (_, _, 0) => row[0],
                _ => (i as f64 * row[j as usize] + j as f64 * left) / (i + j) as f64,
            };
            match row.get_mut(j as usize) {
                Some(place) => *place = here,
                None => row.push(here),
            }
            left = here;
        }
    }
    row.last().copied().unwrap_or(1.0)
}

pub(super) fn round_half_even(value: f64) -> f64 {
    let rounded = value.round();
    match (value - value.trunc()).abs() == 0.5 && rounded % 2.0 != 0.0 {
        true => rounded - 1.0,
        false => rounded,
    }
}

/// Area between the two distribution functions: the first Wasserstein distance, in the unit of the values.
///
/// # Panics
/// If a value is no number.
///
/// # Source
/// Vallender, 1974, "Calculation of the Wasserstein distance between probability distributions on the line".
pub fn wasserstein(a: &[f64], b: &[f64]) -> f64 {
    between(a, b, f64::abs)
}

/// Energy distance: `√(2 ∫ (F - G)²)`, in the root of the values' unit.
///
/// # Panics
/// If a value is no number.
///
/// # Source
/// Székely, 2003, "E-statistics: the energy of statistical samples".
pub fn energy(a: &[f64], b: &[f64]) -> f64 {
    (2.0 * between(a, b, |apart| apart * apart)).sqrt()
}

/// Integral of something of the difference of the two distribution functions.
fn between(a: &[f64], b: &[f64], of: impl Fn(f64) -> f64) -> f64 {
    let (a, b) = (sorted(a), sorted(b));
    let mut sum = 0.0;
    each_step(&a, &b, |i, j, width| {
        sum += of(i as f64 / a.len() as f64 - j as f64 / b.len() as f64) * width;
    });
    sum
}

/// Ranks from 1, equal values sharing their mean; and the sum of `t³ - t` over groups of `t` equal ones.
fn ranks(values: &[f64]) -> (Vec<f64>, f64) {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| {
        values[a]
            .partial_cmp(&values[b])
            .expect("values are numbers")
    });
    let mut ranks = vec![0.0; values.len()];
    let (mut begin, mut ties) = (0, 0.0);
    while begin < order.len() {
        let value = values[order[begin]];
        let equal = order[begin..]
            .iter()
            .take_while(|&&index| values[index] == value);
        let count = equal.count();
        let rank = begin as f64 + (count as f64 + 1.0) / 2.0;
        for &index in &order[begin..begin + count] {
            ranks[index] = rank;
        }
        let t = count as f64;
        ties += t * t * t - t;
        begin += count;
    }
    (ranks, ties)
}

/// The mean squared distance between two empirical distribution functions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CramerVonMises {
    /// The statistic T.
    pub statistic: f64,
    /// Chance of as much or more if both samples have one law, in the limit of large samples.
    pub p: f64,
}

/// Holds two samples against each other.
///
/// # Panics
/// If a value is no number.
///
/// # Source
/// Anderson, 1962, "On the distribution of the two-sample Cramér–von Mises criterion".
pub fn cramer_von_mises(a: &[f64], b: &[f64]) -> CramerVonMises {
    let (a, b) = (sorted(a), sorted(b));
    let (ranks, _) = ranks(&[&a[..], &b[..]].concat());
    let (n, m) = (a.len() as f64, b.len() as f64);
    let apart = |ranks: &[f64]| {
        let places = (1..).map(f64::from);
        let apart = ranks
            .iter()
            .zip(places)
            .map(|(rank, place)| (rank - place).powi(2));
        apart.sum::<f64>()
    };
    let (of_a, of_b) = ranks.split_at(a.len());
    let u = n * apart(of_a) + m * apart(of_b);
    let (k, all) = (n * m, n + m);
    let statistic = u / (k * all) - (4.0 * k - 1.0) / (6.0 * all);
    let expected = (1.0 + 1.0 / all) / 6.0;
    let variance = (all + 1.0) * (4.0 * k * all - 3.0 * (n * n + m * m) - 2.0 * k)
        / (45.0 * all * all * 4.0 * k);
    let limit = 1.0 / 6.0 + (statistic - expected) / (45.0 * variance).sqrt();
    let p = match limit < 0.003 {
        true => 1.0,
        false => (1.0 - law::cramer_von_mises_below(limit)).max(0.0),
    };
    CramerVonMises { statistic, p }
}

/// How often a value of the first sample lies above one of the second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MannWhitney {
    /// Pairs in which the first sample's value is the greater; equal ones count half.
    pub u: f64,
    /// Chance of a U as far from its mean or farther, by the normal law, corrected for ties and continuity.
    pub p: f64,
}

/// Holds two samples against each other.
///
/// # Panics
/// If a value is no number.
///
/// # Source
/// Mann and Whitney, 1947, "On a test of whether one of two random variables is stochastically larger than the other".
pub fn mann_whitney(a: &[f64], b: &[f64]) -> MannWhitney {
    let (ranks, ties) = ranks(&[a, b].concat());
    let (n, m) = (a.len() as f64, b.len() as f64);
    let u = ranks[..a.len()].iter().sum::<f64>() - n * (n + 1.0) / 2.0;
    let all = n + m;
    let spread = (n * m / 12.0 * (all + 1.0 - ties / (all * (all - 1.0)))).sqrt();
    let apart = u.max(n * m - u) - n * m / 2.0 - 0.5;
    let p = match spread > 0.0 {
        true => (2.0 * law::normal_above(apart / spread)).min(1.0),
        false => 1.0,
    };
    MannWhitney { u, p }
}
