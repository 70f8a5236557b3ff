//! Evidence that a candidate is worse than what it replaces, valid however often one looks.
//!
//! Every test here is an e-process: nonnegative, and of mean 1 at most while the candidate is no worse. By
//! Ville's inequality it ever reaches `1 / α` with a chance of `α` at most, whenever and however often it is
//! read, so a rollout may be judged after every report. Several metrics share one `α` by weights that sum to 1
//! (Bonferroni): a metric of weight `w` halts at `1 / (w α)`, which holds whatever depends on what.
//!
//! # Source
//! Ville, 1939; Howard, Ramdas, McAuliffe and Sekhon, 2021, "Time-uniform, nonparametric, nonasymptotic
//! confidence sequences"; Waudby-Smith and Ramdas, 2024, "Estimating means of bounded random variables by
//! betting"; Johari, Koomen, Pekelis and Walsh, 2022, "Always valid inference". Each test names its own.

use std::sync::OnceLock;

use crate::normal::normal_quantile;

/// Odds of failure, in multiples of the reference's, that [`share_evidence`] bets on, and its stakes.
const SHARE_BETS: [(f64, f64); 3] = [(2.7, 0.2), (5.2, 0.55), (20.0, 0.25)];

/// Odds of an event, in multiples of the control arm's, that [`blocks_evidence`] bets on, in equal stakes.
const BLOCK_BETS: [f64; 3] = [2.0, 5.0, 20.0];

/// Shifts in standard deviations that [`rank_evidence`] bets on, and its stakes.
const RANK_BETS: [(f64, f64); 4] = [(0.25, 0.15), (0.5, 0.5), (1.0, 0.25), (2.0, 0.1)];

/// Evidence that the share of failures is above `reference`, from what became of devices in the order of their
/// offers. The answer is in units of `limit`, the evidence that halts: 1 or more halts.
///
/// Devices that have not answered count as well: a device can only move from well to failed, each bet gains by
/// that, and so what is read at any time is at most what the same devices will show once all have answered.
/// Late answers, and answers of the failed that come before those of the well, therefore cost no validity.
///
/// A bet that would carry the evidence past its limit is lowered until it just reaches it; what is saved is put
/// on the other outcome, so that no evidence is wasted above the limit.
///
/// # Source
/// Wald, 1945, "Sequential tests of statistical hypotheses"; Fischer and Ramdas, 2024, "Improving the
/// (approximate) sequential probability ratio test by avoiding overshoot".
pub fn share_evidence(
    failed_in_order: impl Iterator<Item = bool> + Clone,
    reference: f64,
    limit: f64,
) -> f64 {
    let reference = reference.clamp(1e-4, 0.5);
    let mut sum = 0.0;
    for (odds, stake) in SHARE_BETS {
        let cap = limit / stake;
        let bet = of_odds(odds_of(reference) * odds);
        let (loss, gain) = ((1.0 - bet) / (1.0 - reference), bet / reference);
        let mut capital = 1.0_f64;
        for failed in failed_in_order.clone() {
            let is_near = capital * gain > cap;
            capital = match (failed, is_near) {
                (true, true) => return 1.0,
                (true, false) => capital * gain,
                (false, false) => capital * loss,
                (false, true) => (capital - reference * cap) / (1.0 - reference),
            };
        }
        sum += stake * capital;
    }
    sum / limit
}

/// How often something happened, of how many: both may be fractions where observations depend on each other.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tally {
    /// How often.
    pub events: f64,
    /// Of how many.
    pub trials: f64,
}

/// A candidate device and the control devices that were watched beside it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Block {
    /// What happened on the candidate.
    pub candidate: Tally,
    /// What happened on its controls.
    pub control: Tally,
}

/// Evidence that an event is likelier with the candidate than on the concurrent control arm; blocks in the order
/// in which they were complete. `prior` is a first guess of the control arm's share, and how many trials it
/// weighs; it moves only how fast a difference is found, not how often none is taken for one.
///
/// The bet of a block is a likelihood ratio against the nearest common share, which no common share, nor a lower
/// one of the candidate, makes a gain on average; raising it to a power below 1 (fractional tallies) only
/// lowers that average.
///
/// # Source
/// Turner, Ly and Grünwald, 2024, "Generic E-variables for exact sequential k-sample tests that allow for
/// optional stopping".
pub fn blocks_evidence(blocks: &[Block], prior: (f64, f64)) -> f64 {
    let mut seen = Tally {
        events: prior.0 * prior.1,
        trials: prior.1,
    };
    let mut ln_capitals = [0.0_f64; BLOCK_BETS.len()];
    for block in blocks {
        let (a, b) = (block.candidate, block.control);
        if a.trials > 0.0 && b.trials > 0.0 {
            let control = (seen.events / seen.trials).clamp(1e-4, 0.99);
            for (ln_capital, odds) in ln_capitals.iter_mut().zip(BLOCK_BETS) {
                let candidate = of_odds(odds_of(control) * odds);
                let common = (a.trials * candidate + b.trials * control) / (a.trials + b.trials);
                *ln_capital += ln_ratio(a, candidate, common) + ln_ratio(b, control, common);
            }
        }
        seen.events += b.events;
        seen.trials += b.trials;
    }
    let mean = |capitals: [f64; BLOCK_BETS.len()]| capitals.iter().sum::<f64>() / 3.0;
    mean(ln_capitals.map(|ln| ln.min(700.0).exp()))
}

fn ln_ratio(tally: Tally, share: f64, against: f64) -> f64 {
    tally.events * (share / against).ln()
        + (tally.trials - tally.events) * ((1.0 - share) / (1.0 - against)).ln()
}

/// A value that one device contributes, once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Value {
    /// Devices are compared within their stratum.
    pub stratum: u32,
    /// Whether it ran the candidate.
    pub is_candidate: bool,
    /// The value.
    pub value: f64,
    /// Orders equal values; drawn apart from the value.
    pub tie: u64,
}

/// Which way is worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worse {
    /// Lower values are.
    Lower,
    /// Higher values are.
    Higher,
}

/// Values of one stratum that are ranked among each other; the next ones begin anew, and their evidence is
/// multiplied to that of those before.
const POOL: usize = 256;

/// Evidence that the candidate's values are worse than those of the concurrent control arm, in the order in which
/// they came. No law of the values is assumed: while both arms are alike, the rank of each new value among those
/// before it is uniform, whatever came before, and a bet on ranks is fair.
///
/// # Source
/// Rényi, 1962, on sequential ranks; Terry, 1952, and Hoeffding, 1951, on normal scores; betting as in
/// Waudby-Smith and Ramdas, 2024.
pub fn rank_evidence(values: &[Value], worse: Worse) -> f64 {
    let strata = values.iter().map(|value| value.stratum).max();
    // Each pool in order, and how many of it are candidates.
    let mut pools: Vec<(Vec<(f64, u64)>, usize)> =
        vec![(Vec::new(), 0); strata.map_or(0, |s| s as usize + 1)];
    let mut ln_capitals = [0.0_f64; RANK_BETS.len()];
    for value in values.iter().filter(|value| value.value.is_finite()) {
        let (pool, candidates) = &mut pools[value.stratum as usize];
        if pool.len() >= POOL {
            pool.clear();
            *candidates = 0;
        }
        let key = (value.value, value.tie);
        let place = pool.partition_point(|other| *other < key);
        let before = pool.len();
        pool.insert(place, key);
        let candidate_share = *candidates as f64 / before.max(1) as f64;
        *candidates += usize::from(value.is_candidate);
        if before == 0 {
            continue;
        }
        // Where this value lies among all, from the bad end.
        let rank = match worse {
            Worse::Lower => place,
            Worse::Higher => before - place,
        };
        let score = normal_score(rank, before + 1);
        for (ln_capital, (shift, _)) in ln_capitals.iter_mut().zip(RANK_BETS) {
            // How far this value's law lies from that of the pool, in standard deviations.
            let tilt = match value.is_candidate {
                true => -shift * (1.0 - candidate_share),
                false => shift * candidate_share,
            };
            *ln_capital += ln_bet(score, before + 1, tilt);
        }
    }
    let capital = |(ln, (_, stake)): (f64, (f64, f64))| stake * ln.min(700.0).exp();
    ln_capitals.into_iter().zip(RANK_BETS).map(capital).sum()
}

/// Steps of the tilts that are bet with; the sums below are kept for each.
const TILT_STEP: f64 = 1.0 / 16.0;
const TILTS: usize = 33;

/// The normal score of rank `rank` (from 0) of `count`, which is no more than [`POOL`].
fn normal_score(rank: usize, count: usize) -> f64 {
    static SCORES: OnceLock<Vec<f64>> = OnceLock::new();
    let scores = SCORES.get_or_init(|| {
        let of_count = |count: usize| {
            (0..count).map(move |rank| normal_quantile((rank as f64 + 0.5) / count as f64))
        };
        (0..=POOL).flat_map(of_count).collect()
    });
    scores[count * count.saturating_sub(1) / 2 + rank]
}

/// Logarithm of a bet on one of `count` ranks: exponential in its normal score, of mean exactly 1 over the ranks.
fn ln_bet(score: f64, count: usize, tilt: f64) -> f64 {
    static LN_MEANS: OnceLock<Vec<f64>> = OnceLock::new();
    let ln_means = LN_MEANS.get_or_init(|| {
        let mut table = Vec::with_capacity((POOL + 1) * TILTS);
        for count in 0..=POOL {
            let scores: Vec<f64> = (0..count).map(|rank| normal_score(rank, count)).collect();
            for step in 0..TILTS {
                let tilt = step as f64 * TILT_STEP;
                let sum: f64 = scores.iter().map(|score| (tilt * score).exp()).sum();
                table.push((sum / count.max(1) as f64).max(f64::MIN_POSITIVE).ln());
            }
        }
        table
    });
    // Scores are symmetric, so a tilt either way has the same mean.
    let step = ((tilt.abs() / TILT_STEP).round() as usize).min(TILTS - 1);
    let tilt = (step as f64 * TILT_STEP).copysign(tilt);
    tilt * score - ln_means[count * TILTS + step]
}

/// Parts of its capital that [`paired_evidence`] bets, and its stakes.
const PAIRED_BETS: [(f64, f64); 3] = [(0.3, 0.3), (0.6, 0.4), (0.95, 0.3)];

/// Evidence that the mean of values from −1 to 1 is below 0: one value of each device, on which both models answered the
/// same windows, in the order in which they came. Greater is better for the candidate.
///
/// A bet of a part `p` multiplies its capital by `1 − p x`, which is no gain on average while each value's mean is 0 or
/// more. Nothing is assumed of how alike the windows of one device are: of windows on which only one of the two was
/// right, a device has one value, the share that the candidate won less the share that it lost.
///
/// # Source
/// McNemar, 1947, "Note on the sampling error of the difference between correlated proportions or percentages", for
/// windows on which the two differ as all that tells them apart; Waudby-Smith and Ramdas, 2024, for the bets.
pub fn paired_evidence(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let capital = |part: f64| {
        let gains = values.clone().filter(|value| value.is_finite());
        let ln: f64 = gains.map(|x| (-part * x.clamp(-1.0, 1.0)).ln_1p()).sum();
        ln.min(700.0).exp()
    };
    let stakes = PAIRED_BETS.into_iter();
    stakes.map(|(part, stake)| stake * capital(part)).sum()
}

/// Mean of values, one of each device, with an interval that holds it at all times at once with a chance of `1 - alpha`
/// as they become more. `None` of fewer than two.
///
/// # Source
/// As for [`mean_difference`].
pub fn mean_interval(values: &[f64], alpha: f64) -> Option<(f64, (f64, f64))> {
    let count = values.len() as f64;
    if count < 2.0 {
        return None;
    }
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    let width = sequence_width(count, squares / (count - 1.0), alpha);
    Some((mean, (mean - width, mean + width)))
}

/// Half the width of a confidence sequence of the mean of so many values of this variance.
fn sequence_width(count: f64, variance: f64, alpha: f64) -> f64 {
    const TUNED: f64 = 0.3;
    let spread = count * TUNED + 1.0;
    let width = 2.0 * spread / (count * count * TUNED) * (spread.sqrt() / alpha).ln() * variance;
    width.max(0.0).sqrt()
}

/// Interval that holds a share at all times at once with a chance of `1 - alpha`, from events that came one after
/// the other.
///
/// # Source
/// Robbins, 1970, "Statistical methods related to the law of the iterated logarithm": the mixture of Bernoulli
/// likelihoods over Beta(½, ½).
pub fn share_interval(events: u32, trials: u32, alpha: f64) -> (f64, f64) {
    if trials == 0 {
        return (0.0, 1.0);
    }
    let (k, n) = (f64::from(events), f64::from(trials));
    let half = |count: u32| (0..count).map(|i| (f64::from(i) + 0.5).ln()).sum::<f64>();
    let whole: f64 = (0..trials).map(|i| (f64::from(i) + 1.0).ln()).sum();
    let ln_mixture = half(events) + half(trials - events) - whole;
    let ln_limit = (1.0 / alpha).ln();
    let is_in = |p: f64| {
        let ln_at = if k > 0.0 { k * p.ln() } else { 0.0 }
            + if n > k { (n - k) * (1.0 - p).ln() } else { 0.0 };
        ln_mixture - ln_at < ln_limit
    };
    let edge = |mut outside: f64, mut inside: f64| {
        if is_in(outside) {
            return outside;
        }
        for _ in 0..60 {
            let middle = (outside + inside) / 2.0;
            if is_in(middle) {
                inside = middle;
            } else {
                outside = middle;
            }
        }
        inside
    };
    let best = k / n;
    (edge(0.0, best), edge(1.0, best))
}

/// Interval that holds the difference of two shares, the candidate's less the control arm's, at all times at once with a
/// chance of `1 - alpha`. Tallies may be fractions.
///
/// Both arms are judged at once: a difference is left out when no pair of shares that far apart explains what was seen
/// nearly as well as the mixture of all pairs does. That is much tighter than the difference of two intervals.
///
/// # Source
/// Robbins, 1970, as for [`share_interval`], with a mixture for each arm; Wasserman, Ramdas and Balakrishnan, 2020,
/// "Universal inference", for the largest likelihood of a composite hypothesis.
pub fn difference_interval(candidate: Tally, control: Tally, alpha: f64) -> (f64, f64) {
    if candidate.trials <= 0.0 || control.trials <= 0.0 {
        return (-1.0, 1.0);
    }
    let ln_mixture = ln_mixture(candidate) + ln_mixture(control);
    let ln_limit = (1.0 / alpha).ln();
    let is_in = |difference: f64| ln_mixture - ln_best(candidate, control, difference) < ln_limit;
    let edge = |mut outside: f64, mut inside: f64| {
        if is_in(outside) {
            return outside;
        }
        for _ in 0..24 {
            let middle = (outside + inside) / 2.0;
            if is_in(middle) {
                inside = middle;
            } else {
                outside = middle;
            }
        }
        inside
    };
    let best = candidate.events / candidate.trials - control.events / control.trials;
    (edge(-1.0, best), edge(1.0, best))
}

/// Logarithm of the likelihood of a tally, averaged over Beta(½, ½).
fn ln_mixture(tally: Tally) -> f64 {
    let rest = (tally.trials - tally.events).max(0.0);
    libm::lgamma(tally.events + 0.5) + libm::lgamma(rest + 0.5)
        - libm::lgamma(tally.trials + 1.0)
        - std::f64::consts::PI.ln()
}

/// Logarithm of the largest likelihood of two tallies whose shares lie so far apart.
fn ln_best(candidate: Tally, control: Tally, difference: f64) -> f64 {
    let (mut low, mut high) = ((-difference).max(0.0), (1.0 - difference).min(1.0));
    // The likelihood is concave in the control arm's share: look for where its slope changes its sign.
    let slope = |tally: Tally, share: f64| {
        tally.events / share.max(1e-12) - (tally.trials - tally.events) / (1.0 - share).max(1e-12)
    };
    for _ in 0..40 {
        let middle = (low + high) / 2.0;
        if slope(candidate, middle + difference) + slope(control, middle) > 0.0 {
            low = middle;
        } else {
            high = middle;
        }
    }
    let share = (low + high) / 2.0;
    ln_likelihood(candidate, share + difference) + ln_likelihood(control, share)
}

fn ln_likelihood(tally: Tally, share: f64) -> f64 {
    let term = |count: f64, share: f64| match count > 0.0 {
        true => count * share.max(1e-300).ln(),
        false => 0.0,
    };
    term(tally.events, share) + term(tally.trials - tally.events, 1.0 - share)
}

/// Mean of the candidate's values less that of the control arm's, with an interval that holds it at all times at
/// once with a chance of `1 - alpha` as the arms grow.
///
/// # Source
/// Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, 2024, "Time-uniform central limit theory and asymptotic
/// confidence sequences", tuned to be tightest near forty devices an arm, twice as many in all.
pub fn mean_difference(values: &[Value], alpha: f64) -> Option<(f64, (f64, f64))> {
    let moments = |is_candidate: bool| {
        let of_arm = values
            .iter()
            .filter(|value| value.is_candidate == is_candidate)
            .map(|value| value.value);
        let n = of_arm.clone().count() as f64;
        let mean = of_arm.clone().sum::<f64>() / n;
        let squares = of_arm.map(|value| (value - mean).powi(2)).sum::<f64>();
        (n, mean, squares)
    };
    let ((n, candidate, a), (m, control, b)) = (moments(true), moments(false));
    if n < 2.0 || m < 2.0 {
        return None;
    }
    let effect = candidate - control;
    let variance = (a + b) / (n + m - 2.0);
    // A difference of two means is known as well as one mean of this many values.
    let count = n * m / (n + m);
    let width = sequence_width(count, variance, alpha);
    Some((effect, (effect - width, effect + width)))
}

fn odds_of(share: f64) -> f64 {
    share / (1.0 - share)
}

fn of_odds(odds: f64) -> f64 {
    odds / (1.0 + odds)
}

#[cfg(test)]
mod tests;
