//! How a model fares on parts of the windows, and how far the parts lie apart.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::interval::Interval;
use crate::table::Table;
use crate::{Metric, Origin, Recording, Target};

/// How one slice of the windows fares.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SliceFigures {
    /// How windows were sliced, such as `group`.
    pub key: String,
    /// The slice.
    pub value: String,
    /// Its windows.
    pub windows: usize,
    /// The recordings that they come from.
    #[serde(default)]
    pub recordings: usize,
    /// What `metric` is: the project's metric, or `recall` where each slice holds one class of a classifier.
    #[serde(default)]
    pub figure: String,
    /// The figure; none where the slice's windows do not give it, as windows of one kind give no area.
    pub metric: Option<f32>,
    /// Where it lies; none of too few recordings.
    #[serde(default)]
    pub interval: Option<Interval>,
    /// The same figure of all windows; for `recall` the mean over the slices.
    #[serde(default)]
    pub whole: Option<f32>,
}

/// How far the slices of one key lie apart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fairness {
    /// How windows were sliced.
    pub key: String,
    /// Between the best and the worst slice, in the unit of the project's metric.
    pub metric: Option<Gap>,
    /// Between the slices that find most and least of a class (equal opportunity), a gap for each class that two slices
    /// have.
    pub recalls: Vec<Gap>,
    /// Between the slices that raise most and fewest false alarms (the other half of equalised odds).
    pub false_alarms: Option<Gap>,
}

/// The distance between two slices.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gap {
    /// What of: a metric, a class, or `false_alarm_rate`.
    pub of: String,
    /// The slice that fares best.
    pub best: String,
    /// The slice that fares worst.
    pub worst: String,
    /// Figures of the two.
    pub figures: [f32; 2],
    /// How much worse the worst is, at least 0.
    pub gap: f32,
    /// Where that lies; it holds 0 where chance may be all there is to it.
    pub interval: Option<Interval>,
}

/// The slice of each window.
///
/// `key` is `group`, `class`, a key of the recordings' metadata, or several with `*` between; a key whose values are all
/// numbers, of which there are more than [`NUMBERS_MAX`], is cut at its quartiles. What is not known is `unknown`.
pub(crate) fn slices_of(
    key: &str,
    origins: &[Origin],
    recordings: &[Recording],
    targets: &[Target],
    labels: &[String],
) -> Vec<String> {
    let parts: Vec<Vec<String>> = key
        .split('*')
        .map(|key| one(key.trim(), origins, recordings, targets, labels))
        .collect();
    (0..targets.len())
        .map(|row| {
            let values: Vec<&str> = parts.iter().map(|part| part[row].as_str()).collect();
            values.join("*")
        })
        .collect()
}

/// What a slice is called of which nothing is known.
pub const UNKNOWN: &str = "unknown";
/// More different numbers than these are cut at their quartiles.
pub const NUMBERS_MAX: usize = 8;

fn one(
    key: &str,
    origins: &[Origin],
    recordings: &[Recording],
    targets: &[Target],
    labels: &[String],
) -> Vec<String> {
    if key == "class" {
        let label = |target: &Target| match target {
            Target::Class(class) => labels.get(usize::from(*class)).map(String::as_str),
            _ => None,
        };
        let named = |target| label(target).unwrap_or(UNKNOWN).to_owned();
        return targets.iter().map(named).collect();
    }
    let value = |row: usize| {
        let recording = recordings.get(origins.get(row)?.recording as usize)?;
        let value = match key {
            "group" => (!recording.is_its_own_group()).then_some(&recording.group),
            key => recording.metadata.get(key),
        };
        value.map(String::as_str).filter(|value| !value.is_empty())
    };
    let values: Vec<Option<&str>> = (0..targets.len()).map(value).collect();
    let edges = if key == "group" {
        None
    } else {
        quartiles(&values)
    };
    let named = |value: &Option<&str>| match (value, &edges) {
        (None, _) => UNKNOWN.to_owned(),
        (Some(value), None) => (*value).to_owned(),
        (Some(value), Some([first, second, third])) => {
            let number: f64 = value.parse().unwrap_or(f64::NAN);
            match number {
                number if number <= *first => format!("to {first}"),
                number if number <= *second => format!("{first} to {second}"),
                number if number <= *third => format!("{second} to {third}"),
                _ => format!("above {third}"),
            }
        }
    };
    values.iter().map(named).collect()
}

/// The quartiles of values that are all numbers, where there are too many to name each.
fn quartiles(values: &[Option<&str>]) -> Option<[f64; 3]> {
    let known = values.iter().flatten();
    let numbers: Option<Vec<f64>> = known
        .map(|value| value.parse().ok().filter(|number: &f64| number.is_finite()))
        .collect();
    let mut numbers = numbers?;
    numbers.sort_by(f64::total_cmp);
    let mut different = numbers.clone();
    different.dedup();
    if different.len() <= NUMBERS_MAX {
        return None;
    }
    let last = numbers.len() - 1;
    Some([1, 2, 3].map(|quarter| numbers[last * quarter / 4]))
}

/// Whether each slice of a key holds one class alone.
fn is_by_class(key: &str) -> bool {
    key.split('*').any(|part| part.trim() == "class")
}

impl Table {
    /// Figures of each slice of one key, smallest first, and how far they lie apart.
    ///
    /// `slices` is the slice of each window; a slice of fewer than `windows_min` windows takes no part in a gap.
    pub(crate) fn judge(
        &self,
        metric: Metric,
        (key, slices): (&str, &[String]),
        labels: &[String],
        windows_min: usize,
    ) -> (Vec<SliceFigures>, Option<Fairness>) {
        let mut members: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (at, answer) in self.answers.iter().enumerate() {
            if let Some(slice) = slices.get(answer.row) {
                members.entry(slice).or_default().push(at);
            }
        }
        let by_class = is_by_class(key);
        // A class by itself has no F1 of several classes, and no area: what is found of it is its figure.
        let is_recall = by_class && matches!(metric, Metric::Accuracy | Metric::MacroF1);
        let normals: Vec<usize> = match by_class && metric == Metric::Auc {
            true => (0..self.answers.len())
                .filter(|&at| !self.answers[at].is_faulty)
                .collect(),
            false => Vec::new(),
        };
        let shown = if is_recall { Metric::Accuracy } else { metric };
        let all = self.all();
        let mut figures: Vec<SliceFigures> = members
            .iter()
            .map(|(value, members)| {
                // A kind of fault against all that is normal.
                let judged: Vec<usize> = match normals.is_empty() {
                    false if self.answers[members[0]].is_faulty => {
                        members.iter().chain(&normals).copied().collect()
                    }
                    _ => members.clone(),
                };
                SliceFigures {
                    key: key.to_owned(),
                    value: (*value).to_owned(),
                    windows: members.len(),
                    recordings: self.recordings(members),
                    figure: if is_recall { "recall" } else { metric.word() }.to_owned(),
                    metric: self.figure(shown, &judged).map(|figure| figure as f32),
                    // Of what will not be judged no interval is drawn.
                    interval: (members.len() >= windows_min || shown == Metric::Accuracy)
                        .then(|| self.interval(shown, &judged))
                        .flatten(),
                    whole: None,
                }
            })
            .collect();
        let whole = if is_recall {
            let recalls: Vec<f32> = figures.iter().filter_map(|slice| slice.metric).collect();
            Some(recalls.iter().sum::<f32>() / recalls.len().max(1) as f32)
        } else {
            self.figure(metric, &all).map(|figure| figure as f32)
        };
        figures.iter_mut().for_each(|slice| slice.whole = whole);
        figures.sort_by_key(|slice| slice.windows);
        let fairness = (!by_class).then(|| Fairness {
            key: key.to_owned(),
            metric: metric_gap(metric, &figures, windows_min),
            recalls: labels
                .iter()
                .enumerate()
                .filter_map(|(class, label)| {
                    self.rate_gap(label, &members, windows_min, |at| {
                        let answer = &self.answers[at];
                        (answer.is == Some(class)).then_some(answer.is_right)
                    })
                })
                .collect(),
            false_alarms: self
                .rate_gap("false_alarm_rate", &members, windows_min, |at| {
                    let answer = &self.answers[at];
                    let is_normal = answer.is.is_some() && !answer.is_faulty;
                    is_normal.then_some(!answer.is_alarm)
                })
                .map(Gap::turned),
        });
        let fairness = fairness.filter(|of| {
            of.metric.is_some() || of.false_alarms.is_some() || !of.recalls.is_empty()
        });
        (figures, fairness)
    }

    /// The gap between slices in how many of those answers are good that `counts` knows of.
    fn rate_gap(
        &self,
        of: &str,
        members: &BTreeMap<&str, Vec<usize>>,
        windows_min: usize,
        counts: impl Fn(usize) -> Option<bool>,
    ) -> Option<Gap> {
        let rates = members.iter().filter_map(|(value, members)| {
            let counted: Vec<usize> = members
                .iter()
                .copied()
                .filter(|&at| counts(at).is_some())
                .collect();
            if counted.len() < windows_min.max(1) {
                return None;
            }
            let good = counted.iter().filter(|&&at| counts(at) == Some(true));
            let (share, interval) = self.share(good.count(), &counted)?;
            Some(((*value).to_owned(), share, Some(interval)))
        });
        Gap::between(of, Metric::Accuracy, rates.collect())
    }
}

fn metric_gap(metric: Metric, slices: &[SliceFigures], windows_min: usize) -> Option<Gap> {
    let judged = slices.iter().filter(|slice| slice.windows >= windows_min);
    let figures = judged
        .filter_map(|slice| Some((slice.value.clone(), slice.metric?, slice.interval)))
        .collect();
    Gap::between(metric.word(), metric, figures)
}

impl Gap {
    /// Between the best and the worst of two slices or more.
    fn between(
        of: &str,
        metric: Metric,
        slices: Vec<(String, f32, Option<Interval>)>,
    ) -> Option<Self> {
        let goodness = |slice: &&(String, f32, Option<Interval>)| metric.goodness(slice.1.into());
        let by_goodness = |a: &&_, b: &&_| goodness(a).total_cmp(&goodness(b));
        if slices.len() < 2 {
            return None;
        }
        let best = slices.iter().max_by(by_goodness)?;
        let worst = slices.iter().min_by(by_goodness)?;
        let interval = best.2.zip(worst.2).map(|(of_best, of_worst)| {
            let difference = Interval::of_difference((best.1, of_best), (worst.1, of_worst));
            match metric {
                Metric::Rmse => difference.negated(),
                _ => difference,
            }
        });
        Some(Self {
            of: of.to_owned(),
            best: best.0.clone(),
            worst: worst.0.clone(),
            figures: [best.1, worst.1],
            gap: metric.loss(worst.1.into(), best.1.into()) as f32,
            interval,
        })
    }

    /// The same of rates of which fewer are better.
    fn turned(self) -> Self {
        Self {
            figures: self.figures.map(|figure| 1.0 - figure),
            ..self
        }
    }
}

#[cfg(test)]
mod tests;
