//! One table held against another, column by column: what an export, an upload, or a training set has become.
//!
//! Two ways lead to the same report. With the values of both sides at hand, distances are exact. A [`Profile`] keeps of
//! a table what adds up (counts between the quantiles of the first one, sums, the commonest words), so that days and
//! gateways are merged and compared without their rows; distances are then those between bins.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};
use tinyops_sketch::distance;

use crate::two_sample::{Bins, Ordered, chi_squared_above};

/// Bins that the index, the Jensen–Shannon and the Hellinger distance are taken over: deciles of the reference.
const BINS: usize = 10;
/// Bins of a profile.
const PROFILE_BINS: usize = 40;
/// Words of a profile's column at most; the others count as one.
const WORDS_MAX: usize = 50;
/// What stands for the words beyond them.
const OTHERS: &str = "(others)";
/// Chance that a report of stable columns says of any that it has drifted.
const ALPHA: f64 = 0.01;

/// The population stability index that a column is said to have drifted at: what the trade calls a moderate change.
pub const LIMIT: f64 = 0.1;

/// One column of a table.
#[derive(Clone, Debug, PartialEq)]
pub enum Column {
    /// Numbers; what is missing is no number.
    Numbers(Vec<f64>),
    /// Words; what is missing is empty.
    Words(Vec<String>),
}

/// A table by its columns.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// Names and values.
    pub columns: Vec<(String, Column)>,
}

/// What became of one column.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ColumnDrift {
    /// Its name.
    pub name: String,
    /// Whether it has drifted.
    pub drifted: bool,
    /// Population stability index, in nats: over deciles of the reference, or over words.
    pub psi: f64,
    /// Chance of as much or more of it if nothing had changed.
    pub psi_p: f64,
    /// Jensen–Shannon distance over the same, 0 to 1.
    pub jensen_shannon: f64,
    /// Hellinger distance over the same, 0 to 1.
    pub hellinger: f64,
    /// Distances of the distribution functions; none for words.
    pub order: Option<OrderDrift>,
    /// The reference, and what is held against it.
    pub sides: [Side; 2],
    /// What the bins are, and the shares of both sides in them.
    pub bins: Vec<BinShares>,
}

/// Distances that numbers have and words have not.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct OrderDrift {
    /// Kolmogorov–Smirnov statistic; of profiles, between their bins, which is at most as much.
    pub kolmogorov_smirnov: f64,
    /// Chance of as much or more if nothing had changed; none of profiles.
    pub p: Option<f64>,
    /// First Wasserstein distance in standard deviations of the reference; none of profiles.
    pub wasserstein: Option<f64>,
    /// Shift of the mean in standard deviations of the reference.
    pub mean_shift: f64,
    /// Natural logarithm of the standard deviation over the reference's.
    pub ln_sd: f64,
}

/// One side of a column.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Side {
    /// Values.
    pub count: u64,
    /// Cells without one.
    pub missing: u64,
    /// Mean of the numbers; none of words.
    pub mean: Option<f64>,
    /// Their standard deviation.
    pub sd: Option<f64>,
}

/// A bin, and the share of either side in it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BinShares {
    /// `≥ 3.5`, up to the next one, or the word.
    pub name: String,
    /// Of the reference's values.
    pub reference: f64,
    /// Of the current ones.
    pub current: f64,
}

/// What became of a table.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The index at which a column has drifted.
    pub limit: f64,
    /// The columns that both sides have, in the order of the reference.
    pub columns: Vec<ColumnDrift>,
    /// Columns of the reference alone.
    pub gone: Vec<String>,
    /// Columns of the other side alone.
    pub new: Vec<String>,
}

/// Why two tables cannot be compared.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DriftError {
    /// Nothing is in both.
    #[error("the two have no column in common")]
    NothingInCommon,
    /// A column is numbers on one side and words on the other.
    #[error("column `{0}` is numbers on one side and words on the other")]
    Kind(String),
    /// Tables that should be one have other columns.
    #[error("it has other columns than the files before it")]
    Columns,
    /// Two profiles were counted between other edges.
    #[error("column `{0}` was counted between other edges: profile it against the same reference")]
    Edges(String),
}

impl Table {
    /// Adds the rows of another table with the same columns.
    ///
    /// # Errors
    /// [`DriftError::Kind`], or [`DriftError::Columns`]; then this one is unchanged.
    pub fn append(&mut self, other: &Table) -> Result<(), DriftError> {
        if self.columns.len() != other.columns.len() {
            return Err(DriftError::Columns);
        }
        for ((name, own), (other_name, more)) in self.columns.iter().zip(&other.columns) {
            if name != other_name {
                return Err(DriftError::Columns);
            }
            if std::mem::discriminant(own) != std::mem::discriminant(more) {
                return Err(DriftError::Kind(name.clone()));
            }
        }
        for ((_, own), (_, more)) in self.columns.iter_mut().zip(&other.columns) {
            match (own, more) {
                (Column::Numbers(own), Column::Numbers(more)) => own.extend(more),
                (Column::Words(own), Column::Words(more)) => own.extend(more.iter().cloned()),
                _ => {}
            }
        }
        Ok(())
    }
}

impl Report {
    /// Columns that have drifted.
    pub fn drifted(&self) -> impl Iterator<Item = &ColumnDrift> {
        self.columns.iter().filter(|column| column.drifted)
    }
}

/// Holds `current` against `reference`, with the values of both.
///
/// # Errors
/// [`DriftError`].
pub fn compare(reference: &Table, current: &Table, limit: f64) -> Result<Report, DriftError> {
    let others: HashMap<&str, &Column> = current
        .columns
        .iter()
        .map(|(name, column)| (name.as_str(), column))
        .collect();
    let names = |table: &Table| table.columns.iter().map(|(name, _)| name.clone()).collect();
    let shared = shared(names(reference), names(current), limit)?;
    let alpha = ALPHA / shared.1.len() as f64;
    let mut report = shared.0;
    for (name, column) in &reference.columns {
        let Some(other) = others.get(name.as_str()) else {
            continue;
        };
        report.columns.push(match (column, other) {
            (Column::Numbers(a), Column::Numbers(b)) => numbers(name, a, b, limit, alpha),
            (Column::Words(a), Column::Words(b)) => {
                let (a, b) = (count_words(a), count_words(b));
                words(name, &a, &b, limit, alpha)
            }
            _ => return Err(DriftError::Kind(name.clone())),
        });
    }
    Ok(report)
}

/// An empty report with the columns of one side alone, and the names of both.
fn shared(
    reference: Vec<String>,
    current: Vec<String>,
    limit: f64,
) -> Result<(Report, Vec<String>), DriftError> {
    let (both, gone): (Vec<String>, Vec<String>) = reference
        .into_iter()
        .partition(|name| current.contains(name));
    if both.is_empty() {
        return Err(DriftError::NothingInCommon);
    }
    let new = current
        .into_iter()
        .filter(|name| !both.contains(name))
        .collect();
    let report = Report {
        limit,
        columns: Vec::with_capacity(both.len()),
        gone,
        new,
    };
    Ok((report, both))
}

fn numbers(name: &str, a: &[f64], b: &[f64], limit: f64, alpha: f64) -> ColumnDrift {
    let sums = [a, b].map(Sums::of);
    let (a, b) = (Ordered::of(a), Ordered::of(b));
    let bins = a.edges(BINS);
    let mut drift = over_bins(&a.counts(&bins), &b.counts(&bins), limit, alpha);
    name.clone_into(&mut drift.name);
    drift.sides = sums.map(Sums::side);
    let bin_names = names_of(&bins, sums[0].least);
    for (bin, name) in drift.bins.iter_mut().zip(bin_names) {
        bin.name = name;
    }
    drift.order = a.apart(&b).map(|apart| OrderDrift {
        kolmogorov_smirnov: apart.kolmogorov_smirnov,
        p: Some(apart.p),
        wasserstein: Some(apart.wasserstein / sums[0].scale()),
        ..moments(&sums)
    });
    drift
}

fn moments([reference, current]: &[Sums; 2]) -> OrderDrift {
    let scale = reference.scale();
    OrderDrift {
        kolmogorov_smirnov: 0.0,
        p: None,
        wasserstein: None,
        mean_shift: (current.mean - reference.mean) / scale,
        ln_sd: (current.sd().max(1e-12 * scale) / scale).ln(),
    }
}

type Words = BTreeMap<String, u64>;

fn count_words(cells: &[String]) -> (Words, u64) {
    let mut found: HashMap<&str, u64> = HashMap::new();
    let mut missing = 0;
    for cell in cells {
        match cell.as_str() {
            "" => missing += 1,
            word => *found.entry(word).or_default() += 1,
        }
    }
    let words = found
        .into_iter()
        .map(|(word, count)| (word.to_owned(), count));
    (words.collect(), missing)
}

fn words(
    name: &str,
    (a, a_missing): &(Words, u64),
    (b, b_missing): &(Words, u64),
    limit: f64,
    alpha: f64,
) -> ColumnDrift {
    let mut all: Vec<&String> = a.keys().collect();
    all.extend(b.keys().filter(|word| !a.contains_key(*word)));
    // The commonest first; a column of many words is told by these.
    let of = |words: &Words, word: &String| words.get(word).copied().unwrap_or(0);
    all.sort_by_key(|word| std::cmp::Reverse(of(a, word)));
    let counts = |words: &Words| all.iter().map(|word| of(words, word)).collect::<Vec<_>>();
    let mut drift = over_bins(&counts(a), &counts(b), limit, alpha);
    name.clone_into(&mut drift.name);
    for (bin, word) in drift.bins.iter_mut().zip(&all) {
        (*word).clone_into(&mut bin.name);
    }
    drift.bins.truncate(WORDS_MAX);
    let side = |words: &Words, missing| Side {
        count: words.values().sum(),
        missing,
        ..Side::default()
    };
    drift.sides = [side(a, *a_missing), side(b, *b_missing)];
    drift
}

/// What two rows of counts say; without names.
fn over_bins(a: &[u64], b: &[u64], limit: f64, alpha: f64) -> ColumnDrift {
    use distance::Smoothing;
    let shares = |counts: &[u64], smoothing| {
        let mut shares = vec![0.0; counts.len()];
        distance::shares_of(counts, smoothing, &mut shares);
        shares
    };
    let (base, live) = (shares(a, Smoothing::AddHalf), shares(b, Smoothing::AddHalf));
    let (n, m) = (a.iter().sum::<u64>() as f64, b.iter().sum::<u64>() as f64);
    let psi = distance::psi(&base, &live);
    // Yurdakul, 2018, "Statistical properties of the population stability index".
    let freedom = a.len().saturating_sub(1) as f64;
    let psi_p = match n > 0.0 && m > 0.0 && freedom > 0.0 {
        true => chi_squared_above(psi / (1.0 / n + 1.0 / m), freedom),
        false => 1.0,
    };
    let (base, live) = (shares(a, Smoothing::None), shares(b, Smoothing::None));
    let bins = base
        .iter()
        .zip(&live)
        .map(|(&reference, &current)| BinShares {
            name: String::new(),
            reference,
            current,
        });
    // Of a side without a value nothing is known.
    let known = n > 0.0 && m > 0.0;
    ColumnDrift {
        name: String::new(),
        drifted: known && psi >= limit && psi_p < alpha,
        psi: if known { psi } else { 0.0 },
        psi_p,
        jensen_shannon: distance::jensen_shannon(&base, &live),
        hellinger: distance::hellinger(&base, &live),
        order: None,
        sides: [Side::default(); 2],
        bins: bins.collect(),
    }
}

fn names_of(bins: &Bins, least: f64) -> Vec<String> {
    let edges = bins.edges().iter();
    let first = match least.is_finite() {
        true => format!("≥ {least:.4}"),
        false => "all".to_owned(),
    };
    std::iter::once(first)
        .chain(edges.map(|edge| format!("≥ {edge:.4}")))
        .collect()
}

/// Sums over numbers that add up in any order.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sums {
    count: u64,
    missing: u64,
    mean: f64,
    /// Of the squared distances from the mean.
    squares: f64,
    least: f64,
    most: f64,
}

impl Sums {
    fn of(values: &[f64]) -> Sums {
        let (mut count, mut sum) = (0_u64, 0.0);
        let (mut least, mut most) = (f64::MAX, f64::MIN);
        for &value in values.iter().filter(|value| value.is_finite()) {
            count += 1;
            sum += value;
            least = least.min(value);
            most = most.max(value);
        }
        let mean = sum / count.max(1) as f64;
        let finite = values.iter().filter(|value| value.is_finite());
        Sums {
            count,
            missing: values.len() as u64 - count,
            mean,
            squares: finite.map(|value| (value - mean).powi(2)).sum(),
            least,
            most,
        }
    }

    /// Chan, Golub and LeVeque, 1983, "Algorithms for computing the sample variance".
    fn merge(&mut self, other: &Sums) {
        let (n, m) = (self.count as f64, other.count as f64);
        if other.count > 0 {
            let apart = other.mean - self.mean;
            self.mean += apart * m / (n + m);
            self.squares += other.squares + apart * apart * n * m / (n + m);
        }
        self.count += other.count;
        self.missing += other.missing;
        self.least = self.least.min(other.least);
        self.most = self.most.max(other.most);
    }

    fn sd(&self) -> f64 {
        match self.count {
            0 | 1 => 0.0,
            count => (self.squares / (count - 1) as f64).sqrt(),
        }
    }

    /// What distances are measured in: the standard deviation, or 1 of what never moves.
    fn scale(&self) -> f64 {
        match self.sd() {
            sd if sd > 0.0 => sd,
            _ => 1.0,
        }
    }

    fn side(self) -> Side {
        Side {
            count: self.count,
            missing: self.missing,
            mean: (self.count > 0).then_some(self.mean),
            sd: (self.count > 1).then(|| self.sd()),
        }
    }
}

/// What is kept of a table: it adds up, and has a bounded size.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Version of the form: 1.
    pub tinyops_profile: u32,
    columns: BTreeMap<String, ColumnProfile>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum ColumnProfile {
    Numbers {
        edges: Vec<f32>,
        counts: Vec<u64>,
        sums: Sums,
    },
    Words {
        counts: Words,
        missing: u64,
    },
}

impl Profile {
    /// What is kept of a table; `like` gives the edges, for tables that shall be held against it.
    ///
    /// # Errors
    /// [`DriftError::Kind`] for a column that `like` has of the other kind.
    pub fn of(table: &Table, like: Option<&Profile>) -> Result<Profile, DriftError> {
        let mut columns = BTreeMap::new();
        for (name, column) in &table.columns {
            let like = like.and_then(|like| like.columns.get(name));
            let kept = match (column, like) {
                (Column::Numbers(values), None | Some(ColumnProfile::Numbers { .. })) => {
                    let ordered = Ordered::of(values);
                    let edges = match like {
                        Some(ColumnProfile::Numbers { edges, .. }) => edges.clone(),
                        _ => single(&ordered.edges(PROFILE_BINS)),
                    };
                    ColumnProfile::Numbers {
                        counts: ordered.counts(&open(&edges)),
                        edges,
                        sums: Sums::of(values),
                    }
                }
                (Column::Words(cells), None | Some(ColumnProfile::Words { .. })) => {
                    let (counts, missing) = count_words(cells);
                    let known = match like {
                        Some(ColumnProfile::Words { counts, .. }) => Some(counts),
                        _ => None,
                    };
                    ColumnProfile::Words {
                        counts: commonest(counts, known),
                        missing,
                    }
                }
                _ => return Err(DriftError::Kind(name.clone())),
            };
            columns.insert(name.clone(), kept);
        }
        Ok(Profile {
            tinyops_profile: 1,
            columns,
        })
    }

    /// Adds what another profile counted between the same edges.
    ///
    /// # Errors
    /// [`DriftError`]; then this one is unchanged.
    pub fn merge(&mut self, other: &Profile) -> Result<(), DriftError> {
        for (name, theirs) in &other.columns {
            match (self.columns.get(name), theirs) {
                (None, _) | (Some(ColumnProfile::Words { .. }), ColumnProfile::Words { .. }) => {}
                (
                    Some(ColumnProfile::Numbers { edges, .. }),
                    ColumnProfile::Numbers { edges: other, .. },
                ) if edges == other => {}
                (Some(ColumnProfile::Numbers { .. }), ColumnProfile::Numbers { .. }) => {
                    return Err(DriftError::Edges(name.clone()));
                }
                _ => return Err(DriftError::Kind(name.clone())),
            }
        }
        for (name, theirs) in &other.columns {
            match (self.columns.get_mut(name), theirs) {
                (
                    Some(ColumnProfile::Numbers { counts, sums, .. }),
                    ColumnProfile::Numbers {
                        counts: more,
                        sums: other,
                        ..
                    },
                ) => {
                    counts
                        .iter_mut()
                        .zip(more)
                        .for_each(|(own, more)| *own += more);
                    sums.merge(other);
                }
                (
                    Some(ColumnProfile::Words { counts, missing }),
                    ColumnProfile::Words {
                        counts: more,
                        missing: other,
                    },
                ) => {
                    for (word, more) in more {
                        *counts.entry(word.clone()).or_default() += more;
                    }
                    *counts = commonest(std::mem::take(counts), None);
                    *missing += other;
                }
                (None, theirs) => {
                    self.columns.insert(name.clone(), theirs.clone());
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Holds `current` against this profile, by the counts of both.
    ///
    /// # Errors
    /// [`DriftError`].
    pub fn compare(&self, current: &Profile, limit: f64) -> Result<Report, DriftError> {
        let names = |profile: &Profile| profile.columns.keys().cloned().collect();
        let (mut report, both) = shared(names(self), names(current), limit)?;
        let alpha = ALPHA / both.len() as f64;
        for name in &both {
            report
                .columns
                .push(match (&self.columns[name], &current.columns[name]) {
                    (
                        ColumnProfile::Numbers {
                            edges,
                            counts,
                            sums,
                        },
                        ColumnProfile::Numbers {
                            edges: other_edges,
                            counts: other,
                            sums: other_sums,
                        },
                    ) => {
                        if edges != other_edges {
                            return Err(DriftError::Edges(name.clone()));
                        }
                        let bins = open(edges);
                        let fine = over_bins(counts, other, limit, alpha);
                        let shares = |of: fn(&BinShares) -> f64| fine.bins.iter().map(of).collect();
                        let (base, live): (Vec<f64>, Vec<f64>) =
                            (shares(|bin| bin.reference), shares(|bin| bin.current));
                        let (own, theirs, kept) =
                            (coarse(counts), coarse(other), coarse_edges(&bins));
                        let mut drift = over_bins(&own, &theirs, limit, alpha);
                        for (bin, text) in drift.bins.iter_mut().zip(names_of(&kept, sums.least)) {
                            bin.name = text;
                        }
                        name.clone_into(&mut drift.name);
                        let both_sums = [*sums, *other_sums];
                        drift.sides = both_sums.map(Sums::side);
                        drift.order =
                            (sums.count > 0 && other_sums.count > 0).then(|| OrderDrift {
                                kolmogorov_smirnov: distance::kolmogorov_smirnov(&base, &live),
                                ..moments(&both_sums)
                            });
                        drift
                    }
                    (
                        ColumnProfile::Words { counts, missing },
                        ColumnProfile::Words {
                            counts: other,
                            missing: other_missing,
                        },
                    ) => {
                        let other = commonest(other.clone(), Some(counts));
                        let (a, b) = ((counts.clone(), *missing), (other, *other_missing));
                        words(name, &a, &b, limit, alpha)
                    }
                    _ => return Err(DriftError::Kind(name.clone())),
                });
        }
        Ok(report)
    }

    /// Whether every column is one that can have been counted.
    pub fn is_sound(&self) -> bool {
        self.tinyops_profile == 1
            && self.columns.values().all(|column| match column {
                ColumnProfile::Numbers {
                    edges,
                    counts,
                    sums,
                } => {
                    edges.is_sorted()
                        && edges.iter().all(|edge| edge.is_finite())
                        && counts.len() == edges.len() + 1
                        && counts
                            .iter()
                            .try_fold(0_u64, |sum, count| sum.checked_add(*count))
                            == Some(sums.count)
                        && [sums.mean, sums.squares].iter().all(|sum| sum.is_finite())
                        && sums.squares >= 0.0
                }
                ColumnProfile::Words { counts, .. } => counts.len() <= WORDS_MAX + 1,
            })
    }
}

/// Edges as a profile keeps them: in single precision, which is half the text.
fn single(bins: &Bins) -> Vec<f32> {
    let mut edges: Vec<f32> = bins.edges().iter().map(|edge| *edge as f32).collect();
    edges.retain(|edge| edge.is_finite());
    edges.dedup();
    edges
}

fn open(edges: &[f32]) -> Bins {
    Bins::open(edges.iter().map(|edge| f64::from(*edge)).collect())
}

/// Bins of a profile in groups, about as many as a report has.
fn coarse(counts: &[u64]) -> Vec<u64> {
    let group = counts.len().div_ceil(BINS).max(1);
    counts.chunks(group).map(|part| part.iter().sum()).collect()
}

fn coarse_edges(bins: &Bins) -> Bins {
    let group = (bins.edges().len() + 1).div_ceil(BINS).max(1);
    let edges = bins.edges().iter().skip(group - 1).step_by(group);
    Bins::open(edges.copied().collect())
}

/// The commonest words, or those that are known; the others as one.
fn commonest(counts: Words, known: Option<&Words>) -> Words {
    let mut order: Vec<(String, u64)> = counts.into_iter().collect();
    order.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
    let mut kept = Words::new();
    let mut places = WORDS_MAX;
    for (word, count) in order {
        let is_kept = match known {
            // What the reference lumps together is lumped together here too.
            Some(known) if known.contains_key(OTHERS) => known.contains_key(&word),
            _ => word != OTHERS && places > 0,
        };
        places = places.saturating_sub(usize::from(is_kept));
        let word = if is_kept { word } else { OTHERS.to_owned() };
        *kept.entry(word).or_default() += count;
    }
    kept
}

#[cfg(test)]
#[path = "drift_report_tests.rs"]
mod tests;
