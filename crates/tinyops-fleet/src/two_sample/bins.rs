//! Two samples over the same bins.

use super::law;

/// Edges between bins.
#[derive(Clone, Debug, PartialEq)]
pub struct Bins {
    edges: Vec<f64>,
    /// Whether the outermost edges end the bins, as in a histogram of numpy, or the outermost bins are open.
    is_closed: bool,
}

impl Bins {
    /// Bins between these edges, in order; what lies below the first or at the last and above has bins of its own.
    pub fn open(edges: Vec<f64>) -> Bins {
        Bins {
            edges,
            is_closed: false,
        }
    }

    /// Bins from the first to the last of these edges; what lies outside is in none, and the last edge in the last bin.
    pub fn closed(edges: Vec<f64>) -> Bins {
        Bins {
            edges,
            is_closed: true,
        }
    }

    /// The edges.
    pub fn edges(&self) -> &[f64] {
        &self.edges
    }

    /// How many values lie in each bin.
    pub fn counts(&self, values: &[f64]) -> Vec<u64> {
        let open_count = self.edges.len() + 1;
        let mut counts = vec![0; open_count];
        for &value in values {
            counts[self.edges.partition_point(|edge| *edge <= value)] += 1;
        }
        if !self.is_closed || self.edges.len() < 2 {
            return counts;
        }
        let last = self.edges[self.edges.len() - 1];
        let at_last = values.iter().filter(|value| **value == last).count() as u64;
        counts[open_count - 2] += at_last;
        counts[1..open_count - 1].to_vec()
    }
}

/// Equal bins over a sample, as many as Sturges' rule has it (1926).
pub fn sturges_edges(values: &[f64]) -> Bins {
    equal_edges(values, (values.len() as f64).log2() + 1.0)
}

/// Equal bins over a sample, more of them for skewed ones: Doane, 1976, "Aesthetic frequency classifications".
pub fn doane_edges(values: &[f64]) -> Bins {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let deviation = (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt();
    if n <= 2.0 || deviation == 0.0 {
        return equal_edges(values, 1.0);
    }
    let skew = values
        .iter()
        .map(|v| ((v - mean) / deviation).powi(3))
        .sum::<f64>()
        / n;
    let of_chance = (6.0 * (n - 2.0) / ((n + 1.0) * (n + 3.0))).sqrt();
    equal_edges(
        values,
        1.0 + n.log2() + (1.0 + skew.abs() / of_chance).log2(),
    )
}

/// `parts` bins, rounded up, from the least value to the greatest.
fn equal_edges(values: &[f64], parts: f64) -> Bins {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if least >= most {
        return Bins::closed(vec![least - 0.5, most + 0.5]);
    }
    let width = (most - least) / parts;
    let count = ((most - least) / width).ceil().max(1.0);
    let step = (most - least) / count;
    let inner = (0..count as u64).map(|index| index as f64 * step + least);
    Bins::closed(inner.chain([most]).collect())
}

/// A table of counts, two samples by bins, held against what independence has it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Contingency {
    /// Pearson's χ².
    pub chi_squared: f64,
    /// Chance of as much or more.
    pub p: f64,
    /// Bins that hold something, less one.
    pub freedom: usize,
    /// Twice the log-likelihood ratio, G.
    pub g: f64,
    /// Chance of as much or more.
    pub g_p: f64,
}

/// Tests whether two rows of counts have one law; bins that are empty in both are left out.
///
/// # Source
/// Pearson, 1900; Wilks, 1938, for G.
pub fn contingency(a: &[u64], b: &[u64]) -> Contingency {
    let (n, m) = (a.iter().sum::<u64>() as f64, b.iter().sum::<u64>() as f64);
    let (mut chi_squared, mut g, mut bins) = (0.0, 0.0, 0_usize);
    for (&of_a, &of_b) in a.iter().zip(b) {
        let both = (of_a + of_b) as f64;
        if both == 0.0 {
            continue;
        }
        bins += 1;
        for (count, share) in [(of_a as f64, n / (n + m)), (of_b as f64, m / (n + m))] {
            let expected = both * share;
            chi_squared += (count - expected).powi(2) / expected;
            if count > 0.0 {
                g += 2.0 * count * (count / expected).ln();
            }
        }
    }
    let freedom = bins.saturating_sub(1);
    Contingency {
        chi_squared,
        p: law::chi_squared_above(chi_squared, freedom as f64),
        freedom,
        g,
        g_p: law::chi_squared_above(g, freedom as f64),
    }
}

/// Divergence of Kullback and Leibler, 1951, of shares that are brought to a sum of 1, in nats.
pub fn kullback_leibler(base: &[f64], live: &[f64]) -> f64 {
    let (base_sum, live_sum) = (base.iter().sum::<f64>(), live.iter().sum::<f64>());
    let term = |(base, live): (&f64, &f64)| {
        let (base, live) = (base / base_sum, live / live_sum);
        match base > 0.0 {
            true => base * (base / live).ln(),
            false => 0.0,
        }
    };
    base.iter().zip(live).map(term).sum()
}
