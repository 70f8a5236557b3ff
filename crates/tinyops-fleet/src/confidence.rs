//! What accuracy the confidences of a cohort let expect, without a label: an interval, and only while embeddings lie where
//! they did when the model was calibrated.
//!
//! A model says how sure it is, and its capsule how often it was right on windows that it was not fitted on, by confidence
//! ([`Calibration`]). The mean of that over the confidences that come now is an estimate of how often it is right now. It
//! holds where windows are like those of the calibration, or mixed otherwise; of a sensor that has changed, and of a world
//! in which the same inputs mean something else, it is confidently wrong. The first shows in the distance of embeddings,
//! and then nothing is told; the second shows in labels alone.
//!
//! # Source
//! "Confidence-based performance estimation" of NannyML, with a calibration by bins (Zadrozny and Elkan, 2001, "Obtaining
//! calibrated probability estimates from decision trees and naive Bayesian classifiers"). How far it may be off while
//! embeddings are where they were: the design notes, "Privacy and monitoring", section 2.1, and
//! `cargo xtask bench listen coverage`.

use serde::{Deserialize, Serialize};
use tinyops_sketch::{BINS, Baseline, Calibration};

use crate::detector::{Memory, Pool};
use crate::watch::ChannelView;

/// How far an estimate is off beyond what chance makes of few windows.
const MARGIN: f64 = 0.06;
/// Standard errors on either side.
const STANDARD_ERRORS: f64 = 2.0;
/// Embeddings that lie farther than those of the calibration by this much, in standard deviations of training, and by a
/// standard error of both, are others.
const MOVED: f64 = 0.2;
/// Variance of the root of a share that a frame's 3 bits leave.
const ROOT_VARIANCE: f64 = 0.5 / 49.0 / 12.0;

/// Between what the share of right answers lies, as far as confidences can tell. It is an expectation, and no accuracy:
/// nobody has looked.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Its lower end, 0 to 1.
    pub low: f64,
    /// Its upper end, 0 to 1.
    pub high: f64,
}

/// Why nothing is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Withheld {
    /// The model brings no calibration: there was no window to measure it on, or its head is a later one.
    NoCalibration,
    /// The model does not watch how far embeddings lie from the factory's, so that nobody would see them move.
    NoEmbedding,
    /// No report with histograms has come yet.
    NoHistogram,
    /// Embeddings lie elsewhere than they did.
    EmbeddingsMoved,
    /// Devices answer by heads of their own, which nobody has calibrated.
    OwnHeads,
}

impl Withheld {
    /// The reason as a person reads it.
    pub fn reason(self) -> &'static str {
        match self {
            Withheld::NoCalibration => "no calibration",
            Withheld::NoEmbedding => "embeddings not watched",
            Withheld::NoHistogram => "no histograms yet",
            Withheld::EmbeddingsMoved => "embeddings moved",
            Withheld::OwnHeads => "heads of devices' own",
        }
    }
}

/// A window of a cohort, as its reports tell it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Told {
    /// Share of the answers in each bin of confidence.
    pub confidences: [f32; BINS],
    /// Mean distance of embeddings from training's, in its standard deviations.
    pub embedding_mean: f64,
    /// How far embeddings are from what was normal for these devices: 1 is the alarm threshold.
    pub embedding_score: f64,
    /// Score below which a standing alarm falls.
    pub calm_score: f64,
    /// Reports that it was put together of.
    pub reports: f64,
    /// Windows that they stand for.
    pub windows: f64,
}

/// What the confidences of a cohort's window let expect.
///
/// # Errors
/// [`Withheld`]: why they do not.
pub fn expect(baseline: &Baseline, told: &Told) -> Result<Interval, Withheld> {
    let calibration = baseline.calibration().ok_or(Withheld::NoCalibration)?;
    if baseline.embedding_channel().is_none() {
        return Err(Withheld::NoEmbedding);
    }
    if have_moved(calibration, told) {
        return Err(Withheld::EmbeddingsMoved);
    }
    let rates = rates(calibration);
    let shares = told.confidences.map(f64::from);
    let weighted = |values: &dyn Fn(usize) -> f64| -> f64 { (0..BINS).map(values).sum() };
    let middle = estimate(calibration, &told.confidences);
    // Of the windows themselves, of those that calibrated, and of the frames' few bits.
    let of_windows = middle * (1.0 - middle) / told.windows.max(1.0);
    let of_calibration = weighted(&|bin| shares[bin].powi(2) * rates[bin].1);
    let of_bits =
        weighted(&|bin| 4.0 * shares[bin] * ROOT_VARIANCE * (rates[bin].0 - middle).powi(2));
    let variance = of_windows + of_calibration + of_bits / told.reports.max(1.0);
    let half = MARGIN + STANDARD_ERRORS * variance.sqrt();
    Ok(Interval {
        low: (middle - half).max(0.0),
        high: (middle + half).min(1.0),
    })
}

/// How often the model is right where confidences are so, whatever embeddings say: what an interval is laid around, and no
/// number for a person to see.
pub fn estimate(calibration: &Calibration, confidences: &[f32; BINS]) -> f64 {
    let rates = rates(calibration);
    let terms = confidences.iter().zip(rates);
    terms
        .map(|(share, (rate, _))| f64::from(*share) * rate)
        .sum()
}

/// What the confidences in the last closed window of a cohort let expect. `memories` are of its devices, `channels` how
/// the window is seen beside the baseline.
pub(crate) fn expect_of(
    baseline: &Baseline,
    pool: &Pool,
    memories: &[Memory],
    channels: &[ChannelView],
    calm_score: f64,
) -> Result<Interval, Withheld> {
    baseline.calibration().ok_or(Withheld::NoCalibration)?;
    let embedding = baseline.embedding_channel().ok_or(Withheld::NoEmbedding)?;
    let output = baseline.output_channel().ok_or(Withheld::NoCalibration)?;
    let seen = [output, embedding].map(|channel| channels.get(channel));
    let ([Some(output), Some(embedding)], true, false) =
        (seen, pool.layout.has_shares, pool.last_levels.is_empty())
    else {
        return Err(Withheld::NoHistogram);
    };
    let counts: Vec<f64> = memories.iter().filter_map(Memory::window_count).collect();
    let reports = f64::from(pool.last_member_count);
    let told = Told {
        confidences: output.live,
        embedding_mean: embedding.mean,
        embedding_score: embedding.score,
        calm_score,
        reports,
        windows: reports * counts.iter().sum::<f64>() / counts.len().max(1) as f64,
    };
    expect(baseline, &told)
}

/// Whether embeddings lie elsewhere than those of the calibration, or than was normal for these devices.
fn have_moved(calibration: &Calibration, told: &Told) -> bool {
    let farther = told.embedding_mean - f64::from(calibration.embedding_mean);
    let sd = f64::from(calibration.embedding_sd);
    let windows = f64::from(calibration.window_count());
    let error = sd * (1.0 / told.windows.max(1.0) + 1.0 / windows.max(1.0)).sqrt();
    // What is not a number is not where it was.
    let is_where_it_was = farther < MOVED + error;
    !is_where_it_was || told.embedding_score >= told.calm_score
}

/// How often the model is right in each bin, and the variance of that. A bin of few windows is drawn to the mean of all.
fn rates(calibration: &Calibration) -> [(f64, f64); BINS] {
    let right: u32 = calibration
        .right
        .iter()
        .map(|&right| u32::from(right))
        .sum();
    let all = (f64::from(right) + 0.5) / (f64::from(calibration.window_count()) + 1.0);
    std::array::from_fn(|bin| {
        let windows = f64::from(calibration.windows[bin]) + 2.0;
        let rate = (f64::from(calibration.right[bin]) + 2.0 * all) / windows;
        (rate, rate * (1.0 - rate) / windows)
    })
}

#[cfg(test)]
mod tests {
    use tinyops_sketch::{ChannelBaseline, Source};

    use super::*;

    fn baseline(calibration: Option<Calibration>, watches: bool) -> Baseline {
        let channels = [
            ChannelBaseline::new(Source::Embedding, 5.0, 0.5),
            ChannelBaseline::new(Source::Output, 0.9, 0.1),
        ];
        let baseline = Baseline::new(800, &channels[usize::from(!watches)..], &[0.5, 0.5]);
        let baseline = baseline.expect("sound").with_calibration(calibration);
        baseline.expect("counts that windows can have")
    }

    /// From half of the answers in the lowest bin to all in the highest.
    fn calibration() -> Calibration {
        Calibration {
            windows: [1_000; 8],
            right: [500, 600, 700, 800, 900, 950, 1_000, 1_000],
            embedding_mean: 0.5,
            embedding_sd: 1.0,
        }
    }

    fn told() -> Told {
        Told {
            confidences: [0.125; 8],
            embedding_mean: 0.5,
            embedding_score: 0.0,
            calm_score: 0.6,
            reports: 100.0,
            windows: 28_800.0,
        }
    }

    fn middle(interval: &Interval) -> f64 {
        0.5 * (interval.low + interval.high)
    }

    #[test]
    fn confidences_tell_between_what_the_share_of_right_answers_lies() {
        let baseline = baseline(Some(calibration()), true);
        let interval = expect(&baseline, &told()).expect("embeddings are where they were");
        assert!((middle(&interval) - 0.806).abs() < 0.002, "{interval:?}");
        let half = 0.5 * (interval.high - interval.low);
        assert!((0.06..0.075).contains(&half), "{interval:?}");
        let unsure = Told {
            confidences: [0.5, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
            ..told()
        };
        let lower = expect(&baseline, &unsure).expect("embeddings are where they were");
        assert!((middle(&lower) - 0.55).abs() < 0.002, "{lower:?}");
        // Fewer windows say less.
        let few = Told {
            windows: 100.0,
            reports: 1.0,
            ..told()
        };
        let wider = expect(&baseline, &few).expect("embeddings are where they were");
        assert!(wider.high - wider.low > interval.high - interval.low + 0.05);
    }

    #[test]
    fn nothing_is_told_where_nobody_could_know() {
        let withheld = |baseline: &Baseline, told: &Told| expect(baseline, told).unwrap_err();
        assert_eq!(
            withheld(&baseline(None, true), &told()),
            Withheld::NoCalibration
        );
        assert_eq!(
            withheld(&baseline(Some(calibration()), false), &told()),
            Withheld::NoEmbedding
        );
        let watched = baseline(Some(calibration()), true);
        let moved = [
            Told {
                embedding_mean: 0.9,
                ..told()
            },
            Told {
                embedding_mean: f64::NAN,
                ..told()
            },
            Told {
                embedding_score: 0.7,
                ..told()
            },
        ];
        for told in moved {
            assert_eq!(withheld(&watched, &told), Withheld::EmbeddingsMoved);
        }
        // Nearer to what was learnt is no stranger.
        let nearer = Told {
            embedding_mean: -0.5,
            ..told()
        };
        assert!(expect(&watched, &nearer).is_ok());
    }
}
