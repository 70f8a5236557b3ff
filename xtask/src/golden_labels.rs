//! Holds the search for wrong labels against cleanlab: `cargo xtask golden labels PATH…`.
//!
//! A folder in the format of the project's `labels-golden` data folder has `labels.json` (given labels), `pred_probs.json`
//! and `cleanlab.json`; features of the samples, where `labels.json` names them, lie in the folder beside. Sets of indices
//! are held exactly and their order up to equal scores, scores to 1e-6, matrices to 1e-8.
//!
//! The calibrated joint is rounded so that its rows keep their sums. Where what rounding took is equal in several places,
//! cleanlab leaves to its sort, which keeps no order, which of them gets the rest. The joint is held up to that choice,
//! and what follows from it is then asked of the joint that cleanlab chose.

use std::io::Read as _;
use std::path::Path;

use serde_json::Value;
use tinyops_data::confident::{ConfidentJoint, Filter, Predictions};
use tinyops_data::outlier::outliers;

use crate::tally::Tally;

const SCORE_NEAR: f64 = 1e-6;
const MATRIX_NEAR: f64 = 1e-8;
/// How far two parts that rounding took may be apart and still be equal.
const TIE_NEAR: f64 = 1e-9;

/// Compares everything in a folder, or in the folder of one of its files.
///
/// # Errors
/// When a file cannot be read, or is not of this format.
pub(crate) fn check_folder(path: &Path, tally: &mut Tally) -> Result<(), String> {
    let folder = match path.is_dir() {
        true => path,
        false => path.parent().unwrap_or(Path::new(".")),
    };
    let (labels, probabilities, golden) = (
        read(folder, "labels.json")?,
        read(folder, "pred_probs.json")?,
        read(folder, "cleanlab.json")?,
    );
    let missing = |what: &str| format!("{}: `{what}` is missing", folder.display());
    let given = whole(&labels["given_labels"]).ok_or_else(|| missing("given_labels"))?;
    let rows = matrix(&probabilities["pred_probs"]).ok_or_else(|| missing("pred_probs"))?;
    let classes = rows.first().map_or(0, Vec::len);
    let flat: Vec<f64> = rows.concat();
    let predictions = Predictions::new(&given, &flat, classes)
        .map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut held = Held {
        name: folder
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into(),
        tally,
    };
    held.joint(&predictions, &golden);
    let joint = matrix(&golden["confident_joint_calibrated"])
        .ok_or_else(|| missing("confident_joint_calibrated"))?;
    let counts = joint.concat().iter().map(|count| *count as u64).collect();
    let joint =
        ConfidentJoint::of(classes, counts).ok_or_else(|| missing("confident_joint_calibrated"))?;
    held.shares(&joint, &golden);
    held.scores(&predictions, &golden);
    held.issues(&predictions, &joint, &golden);
    if let Some(golden) = golden.get("ood_knn_scores") {
        let features = labels["features"].as_str().unwrap_or_default();
        let file = features.split([',', ' ']).next().unwrap_or_default();
        let rows = features_of(&folder.join("..").join(file), given.len())?;
        held.outliers(&rows, golden);
    }
    Ok(())
}

/// Finds the likely wrong labels of a folder by every filter, and answers how many each found.
///
/// # Errors
/// When a file cannot be read, or is not of this format.
pub(crate) fn issues_of(folder: &Path) -> Result<impl Fn() -> Vec<usize>, String> {
    let labels = read(folder, "labels.json")?;
    let probabilities = read(folder, "pred_probs.json")?;
    let given = whole(&labels["given_labels"]);
    let rows = matrix(&probabilities["pred_probs"]);
    let (Some(given), Some(rows)) = (given, rows) else {
        return Err(format!(
            "{}: labels or shares are missing",
            folder.display()
        ));
    };
    let classes = rows.first().map_or(0, Vec::len);
    let flat = rows.concat();
    Predictions::new(&given, &flat, classes).map_err(|error| error.to_string())?;
    Ok(move || {
        let predictions = Predictions::new(&given, &flat, classes).expect("it was one before");
        let joint = predictions.joint();
        let found = |filter| predictions.issues_by(filter, &joint).len();
        Filter::ALL.into_iter().map(found).collect()
    })
}

fn read(folder: &Path, name: &str) -> Result<Value, String> {
    let path = folder.join(name);
    let wrong = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let text = std::fs::read_to_string(&path).map_err(|error| wrong(&error))?;
    serde_json::from_str::<Value>(&text).map_err(|error| wrong(&error))
}

/// What is compared, and under which name differences are told.
struct Held<'a> {
    name: String,
    tally: &'a mut Tally,
}

impl Held<'_> {
    fn check(&mut self, what: &str, difference: Option<String>) {
        self.tally.checked += 1;
        if let Some(difference) = difference {
            let name = &self.name;
            self.tally
                .differences
                .push(format!("{name} {what}: {difference}"));
        }
    }

    fn numbers(&mut self, what: &str, own: &[f64], golden: &Value, near: f64) {
        let Some(golden) = numbers(golden) else {
            return self.check(what, Some("the file has none".to_owned()));
        };
        if golden.len() != own.len() {
            let difference = format!("{} instead of {}", own.len(), golden.len());
            return self.check(what, Some(difference));
        }
        for (index, (own, golden)) in own.iter().zip(&golden).enumerate() {
            let is_near = (own - golden).abs() <= near;
            let difference = (!is_near).then(|| format!("{own} instead of {golden}"));
            self.check(&format!("{what}[{index}]"), difference);
        }
    }

    fn squares(&mut self, what: &str, own: &[f64], golden: &Value, near: f64) {
        let flat = matrix(golden).map(|rows| Value::from(rows.concat()));
        self.numbers(what, own, &flat.unwrap_or(Value::Null), near);
    }

    fn joint(&mut self, predictions: &Predictions<'_>, golden: &Value) {
        self.numbers(
            "confident_thresholds",
            &predictions.thresholds(),
            &golden["confident_thresholds"],
            MATRIX_NEAR,
        );
        let counted: Vec<f64> = of_counts(&predictions.counted_joint());
        self.squares(
            "confident_joint_uncalibrated",
            &counted,
            &golden["confident_joint_uncalibrated"],
            0.0,
        );
        let own = of_counts(&predictions.joint());
        let scaled = predictions.scaled_joint();
        let classes = own.len().isqrt();
        let golden = matrix(&golden["confident_joint_calibrated"]).unwrap_or_default();
        for (row, golden) in golden.iter().enumerate() {
            let part = row * classes..(row + 1) * classes;
            let (own, scaled) = (&own[part.clone()], &scaled[part]);
            let is_same = own.len() == golden.len() && is_up_to_ties(own, golden, scaled);
            let difference = (!is_same).then(|| format!("{own:?} instead of {golden:?}"));
            self.check(&format!("confident_joint_calibrated[{row}]"), difference);
        }
    }

    fn shares(&mut self, joint: &ConfidentJoint, golden: &Value) {
        self.numbers("py", &joint.shares(), &golden["py"], MATRIX_NEAR);
        let classes = joint.shares().len();
        let square = |cell: &dyn Fn(usize, usize) -> f64| -> Vec<f64> {
            (0..classes * classes)
                .map(|index| cell(index / classes, index % classes))
                .collect()
        };
        let noise = square(&|given, likely| joint.noise(given, likely));
        self.squares("noise_matrix", &noise, &golden["noise_matrix"], MATRIX_NEAR);
        let inverse = square(&|likely, given| joint.inverse_noise(likely, given));
        let golden = &golden["inverse_noise_matrix"];
        self.squares("inverse_noise_matrix", &inverse, golden, MATRIX_NEAR);
    }

    fn scores(&mut self, predictions: &Predictions<'_>, golden: &Value) {
        let scores = [
            ("self_confidence", predictions.self_confidence()),
            ("normalized_margin", predictions.normalized_margin()),
            (
                "confidence_weighted_entropy",
                predictions.confidence_weighted_entropy(),
            ),
        ];
        for (what, own) in scores {
            let golden = &golden["label_quality_scores"][what];
            self.numbers(what, &own, golden, SCORE_NEAR);
        }
        let count = predictions.count() as u64;
        let is_same = golden["num_label_issues"].as_u64() == Some(count);
        self.check(
            "num_label_issues",
            (!is_same).then(|| format!("{count} instead of {}", golden["num_label_issues"])),
        );
    }

    fn issues(&mut self, predictions: &Predictions<'_>, joint: &ConfidentJoint, golden: &Value) {
        for filter in Filter::ALL {
            let own = predictions.issues_by(filter, joint);
            let ranked = &golden["find_label_issues"][filter.word()]["ranked_by_self_confidence"];
            self.ranked(filter.word(), own, ranked, &predictions.self_confidence());
        }
        let own = predictions.issues_by(Filter::PruneByNoiseRate, joint);
        let ranked = &golden["ranked_by_normalized_margin_default_filter"];
        let margins = predictions.normalized_margin();
        self.ranked("ranked by normalized_margin", own, ranked, &margins);
    }

    /// Holds a set of samples, and that their order is that of their scores, the lowest first.
    fn ranked(&mut self, what: &str, own: Vec<usize>, ranked: &Value, scores: &[f64]) {
        let Some(golden) = whole(ranked) else {
            return self.check(what, Some("the file has none".to_owned()));
        };
        let mut sorted = golden.clone();
        sorted.sort_unstable();
        let lacking: Vec<_> = sorted.iter().filter(|s| !own.contains(s)).collect();
        let extra: Vec<_> = own.iter().filter(|s| !sorted.contains(s)).collect();
        let is_same = lacking.is_empty() && extra.is_empty();
        let difference = (!is_same).then(|| format!("lacks {lacking:?}, has {extra:?} besides"));
        self.check(what, difference);
        let score = |sample: &usize| scores.get(*sample).copied().unwrap_or(f64::NAN);
        let is_sorted = golden.iter().map(score).is_sorted_by(|a, b| a <= b);
        let difference = (!is_sorted).then(|| "the scores are in another order".to_owned());
        self.check(&format!("order of {what}"), difference);
    }

    fn outliers(&mut self, rows: &[Vec<f64>], golden: &Value) {
        let width = rows.first().map_or(0, Vec::len);
        let neighbours = golden["k"].as_u64().unwrap_or(0) as usize;
        let Some(own) = outliers(&rows.concat(), width, neighbours) else {
            return self.check("ood_knn_scores", Some("cannot be judged".to_owned()));
        };
        let scale = Value::from(vec![golden["scaling_factor"].clone()]);
        self.numbers("scaling_factor", &[own.usual_distance], &scale, MATRIX_NEAR);
        self.numbers("ood_knn_scores", &own.scores, &golden["scores"], SCORE_NEAR);
    }
}

/// Whether two roundings of a row differ only in which of equal parts got the rest.
fn is_up_to_ties(own: &[f64], golden: &[f64], scaled: &[f64]) -> bool {
    let moved = |sign: f64| -> Vec<f64> {
        let at = own.iter().zip(golden).zip(scaled);
        let mut parts: Vec<f64> = at
            .filter(|((own, golden), _)| *own - *golden == sign)
            .map(|(_, scaled)| scaled.fract())
            .collect();
        parts.sort_by(f64::total_cmp);
        parts
    };
    let (more, less) = (moved(1.0), moved(-1.0));
    let far = own
        .iter()
        .zip(golden)
        .any(|(own, golden)| (own - golden).abs() > 1.0);
    let is_tie = |(a, b): (&f64, &f64)| (a - b).abs() <= TIE_NEAR;
    !far && more.len() == less.len() && more.iter().zip(&less).all(is_tie)
}

fn of_counts(joint: &ConfidentJoint) -> Vec<f64> {
    joint.counts().iter().map(|count| *count as f64).collect()
}

fn numbers(value: &Value) -> Option<Vec<f64>> {
    value.as_array()?.iter().map(Value::as_f64).collect()
}

fn whole(value: &Value) -> Option<Vec<usize>> {
    let list = value.as_array()?.iter();
    list.map(|value| usize::try_from(value.as_u64()?).ok())
        .collect()
}

fn matrix(value: &Value) -> Option<Vec<Vec<f64>>> {
    value.as_array()?.iter().map(numbers).collect()
}

/// The first rows of a table of numbers whose last column is the label.
fn features_of(path: &Path, count: usize) -> Result<Vec<Vec<f64>>, String> {
    let wrong = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let bytes = std::fs::read(path).map_err(|error| wrong(&error))?;
    let mut text = String::new();
    flate2::read::GzDecoder::new(&bytes[..])
        .read_to_string(&mut text)
        .map_err(|error| wrong(&error))?;
    let row = |line: &str| -> Option<Vec<f64>> {
        let mut row: Vec<f64> = line
            .split(',')
            .map(|cell| cell.parse().ok())
            .collect::<Option<_>>()?;
        row.pop();
        Some(row)
    };
    let rows: Option<Vec<Vec<f64>>> = text.lines().take(count).map(row).collect();
    rows.ok_or_else(|| wrong(&"a cell is no number"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steps::data;

    #[test]
    fn what_cleanlab_finds_is_found() {
        let folder = data("labels-golden");
        if !folder.is_dir() {
            println!(
                "skipped: {} is not there; set TINYOPS_DATA",
                folder.display()
            );
            return;
        }
        let mut tally = Tally::default();
        check_folder(&folder, &mut tally).unwrap();
        assert!(tally.checked > 6_000, "{} checked", tally.checked);
        assert!(tally.differences.is_empty(), "{:#?}", tally.differences);
    }

    #[test]
    fn only_equal_parts_may_trade_places() {
        let scaled = [1.4, 1.4, 2.4, 0.2];
        assert!(is_up_to_ties(
            &[2.0, 1.0, 2.0, 0.0],
            &[1.0, 2.0, 2.0, 0.0],
            &scaled
        ));
        assert!(!is_up_to_ties(
            &[2.0, 1.0, 2.0, 0.0],
            &[1.0, 1.0, 2.0, 1.0],
            &scaled
        ));
        assert!(!is_up_to_ties(
            &[2.0, 1.0, 2.0, 0.0],
            &[1.0, 1.0, 2.0, 0.0],
            &scaled
        ));
        assert!(!is_up_to_ties(
            &[3.0, 1.0, 2.0, 0.0],
            &[1.0, 3.0, 2.0, 0.0],
            &scaled
        ));
    }
}
