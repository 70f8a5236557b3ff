//! Which parts of a fleet's sums are to be believed.

use super::sums::{Sums, median};
use super::{Embedded, Projection};

/// Weight of the factory's windows in the head of one bucket: a bucket seldom holds every class.
const FACTORY_WEIGHT: f64 = 0.25;
/// A bucket may be this much worse than the middle one, in balanced accuracy.
const SLACK: f64 = 0.1;
/// Or so many median deviations, where buckets differ more than that by themselves.
const DEVIATIONS: f64 = 3.0;
/// Median deviations of a normal law in one standard deviation.
const OF_NORMAL: f64 = 1.4826;
/// Fewer buckets have no middle to speak of.
const BUCKETS_MIN: usize = 4;

/// Which buckets pass the factory-data check: the head that a bucket alone would lead to must tell the factory's own
/// windows apart about as well as those of the other buckets do.
///
/// The middle bucket is the measure and not the factory's head, for where the world has changed all of them have. At
/// least half of the buckets therefore pass. Of two classes the second is given where it is `ahead` by so much.
///
/// # Source
/// Cao et al., "FLTrust: Byzantine-robust federated learning via trust bootstrapping", NDSS 2021, for a set of the
/// server's own that contributions are held against.
pub(super) fn sound(
    buckets: &[Sums],
    factory: &Sums,
    windows: &Embedded,
    projection: Option<&Projection>,
    ahead: Option<f64>,
) -> Vec<bool> {
    if buckets.len() < BUCKETS_MIN {
        return vec![true; buckets.len()];
    }
    let judged = |bucket: &Sums| {
        let seen = bucket.mixed(factory, FACTORY_WEIGHT);
        let head = seen.deciding(seen.lda()?, ahead);
        Some(head.lifted(projection).accuracy(windows)?.balanced)
    };
    let judged: Vec<Option<f64>> = buckets.iter().map(judged).collect();
    let known: Vec<f64> = judged.iter().copied().flatten().collect();
    let Some(middle) = median(known.clone()) else {
        return vec![true; buckets.len()];
    };
    let spread = median(known.iter().map(|value| (value - middle).abs()).collect());
    let slack = SLACK.max(DEVIATIONS * OF_NORMAL * spread.unwrap_or(0.0));
    judged
        .into_iter()
        .map(|accuracy| accuracy.is_some_and(|accuracy| accuracy >= middle - slack))
        .collect()
}
