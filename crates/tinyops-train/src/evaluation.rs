//! What a model is worth on windows it has not seen.

use serde::{Deserialize, Serialize};

use crate::interval::Interval;
use crate::roc::{Operation, Roc};
use crate::slices::{Fairness, SliceFigures, slices_of};
use crate::spec::Costs;
use crate::table::Table;
use crate::{Metric, Origin, Recording, Target};

/// What a model said of each window.
///
/// # Shapes
/// `values` is `[window, width]`: class shares (0 to 1), one value to regress, or one anomaly score.
#[derive(Clone, Debug, PartialEq)]
pub struct Scores {
    /// Numbers of one window.
    pub width: usize,
    /// All of them.
    pub values: Vec<f32>,
}

impl Scores {
    /// The numbers of one window.
    pub fn row(&self, index: usize) -> &[f32] {
        &self.values[index * self.width..(index + 1) * self.width]
    }

    /// How many windows were scored.
    pub fn count(&self) -> usize {
        self.values.len() / self.width.max(1)
    }

    /// The class that a device gives a window: of two the second from the threshold on, if that is above 0; else that of
    /// the largest share, the first of equals.
    ///
    /// `threshold` is that of the model's decision.
    pub fn given(&self, index: usize, threshold: f32) -> usize {
        match self.row(index) {
            [_, second] if threshold > 0.0 => usize::from(*second >= threshold),
            _ => self.class(index),
        }
    }

    /// The class that a device gives each window.
    pub(crate) fn all_given(&self, threshold: f32) -> Vec<usize> {
        let all = 0..self.count();
        all.map(|index| self.given(index, threshold)).collect()
    }

    /// The class of the largest share; the first of equals.
    pub fn class(&self, index: usize) -> usize {
        let row = self.row(index);
        let mut best = 0;
        for (class, &share) in row.iter().enumerate() {
            if share > row[best] {
                best = class;
            }
        }
        best
    }
}

/// How windows are judged.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement<'a> {
    /// Names of the classes, in the order of the model's outputs.
    pub labels: &'a [String],
    /// Classes where nothing is wrong; empty where classes are no alarms.
    pub normal: Vec<usize>,
    /// What wrong decisions cost.
    pub costs: &'a Costs,
    /// The threshold of the model's decision, as devices take it: [`Scores::given`].
    pub threshold: f32,
    /// The figure that slices are judged by.
    pub metric: Metric,
    /// Where each window comes from; windows without an origin stand for themselves.
    pub origins: &'a [Origin],
    /// The recordings that origins name.
    pub recordings: &'a [Recording],
    /// How to slice the windows: `group`, `class`, keys of the recordings' metadata, or several with `*` between.
    pub slices: &'a [String],
    /// Fewest windows of a slice that is judged.
    pub slice_windows_min: usize,
}

impl Judgement<'_> {
    /// Whether scores of this width are shares of the classes.
    pub(crate) fn is_classifier(&self, scores: &Scores) -> bool {
        scores.width == self.labels.len() && scores.width > 1
    }

    /// The alarm score above which a device raises an alarm; of three classes or more the threshold decides nothing.
    pub(crate) fn alarm_threshold(&self, scores: &Scores) -> f32 {
        match self.is_classifier(scores) {
            true => alarm_threshold(self.threshold, self.labels.len(), &self.normal),
            false => self.threshold,
        }
    }
}

/// What a model is worth on windows it has not seen.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Windows that had a target.
    pub windows: usize,
    /// Share of windows given their class.
    pub accuracy: Option<f32>,
    /// Mean over the classes of their F1.
    pub macro_f1: Option<f32>,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// `[true class][given class]`, counts of windows.
    pub confusion: Vec<Vec<u32>>,
    /// Figures of each class.
    pub per_class: Vec<ClassFigures>,
    /// The project's metric, of which slices have theirs.
    #[serde(default)]
    pub metric: Option<Metric>,
    /// Where the project's metric lies.
    #[serde(default)]
    pub interval: Option<Interval>,
    /// Figures of each slice, key by key, smallest first.
    pub slices: Vec<SliceFigures>,
    /// How far the slices of each key lie apart.
    #[serde(default)]
    pub fairness: Vec<Fairness>,
    /// The alarm score's curve, where some windows are normal and some are not.
    pub roc: Option<Roc>,
    /// What the alarms do that a device raises by it: of classes, those of a window that is given one which is not normal.
    pub operation: Option<Operation>,
    /// Root of the mean squared error of a value.
    pub rmse: Option<f32>,
    /// Mean absolute error of a value.
    pub mean_absolute_error: Option<f32>,
}

/// How one class fares.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassFigures {
    /// Its name.
    pub label: String,
    /// Windows that are of it.
    pub windows: usize,
    /// Share of right ones among those given it; 0 where none were.
    pub precision: f32,
    /// Share of its windows that were given it; 0 where there are none.
    pub recall: f32,
    /// Where that lies.
    #[serde(default)]
    pub recall_interval: Option<Interval>,
    /// Harmonic mean of the two.
    pub f1: f32,
    /// Area under the curve of its share, against all other classes.
    pub auc: Option<f32>,
}

impl Evaluation {
    /// Holds scores against what the windows are.
    pub fn of(scores: &Scores, targets: &[Target], judgement: &Judgement<'_>) -> Self {
        let known: Vec<usize> = (0..targets.len().min(scores.count()))
            .filter(|&i| targets[i] != Target::None)
            .collect();
        let table = Table::of(scores, targets, judgement);
        let mut evaluation = Self {
            windows: known.len(),
            metric: Some(judgement.metric),
            interval: table.interval(judgement.metric, &table.all()),
            ..Self::default()
        };
        let classes: Vec<(usize, usize)> = known
            .iter()
            .filter_map(|&i| match targets[i] {
                Target::Class(class) => Some((i, usize::from(class))),
                _ => None,
            })
            .collect();
        let values: Vec<(usize, f32)> = known
            .iter()
            .filter_map(|&i| match targets[i] {
                Target::Value(value) => Some((i, value)),
                _ => None,
            })
            .collect();
        if judgement.is_classifier(scores) && !classes.is_empty() {
            evaluation.judge_classes(scores, &classes, judgement, &table);
        }
        if !classes.is_empty() && !judgement.normal.is_empty() {
            let alarms: Vec<f32> = classes
                .iter()
                .map(|&(i, _)| alarm(scores, i, &judgement.normal))
                .collect();
            let faulty: Vec<bool> = classes
                .iter()
                .map(|(_, class)| !judgement.normal.contains(class))
                .collect();
            evaluation.roc = Roc::of(&alarms, &faulty);
            let raised: Vec<bool> = (table.answers.iter())
                .filter(|answer| answer.is.is_some())
                .map(|answer| answer.is_alarm)
                .collect();
            evaluation.operation = Some(Operation::of(
                judgement.alarm_threshold(scores),
                &raised,
                &faulty,
                judgement.costs,
            ));
        }
        if !values.is_empty() && scores.width == 1 {
            let errors: Vec<f64> = values
                .iter()
                .map(|&(i, value)| f64::from(scores.row(i)[0] - value))
                .collect();
            evaluation.rmse = Some(root_mean_square(&errors));
            let absolute = errors.iter().map(|error| error.abs()).sum::<f64>();
            evaluation.mean_absolute_error = Some((absolute / errors.len() as f64) as f32);
        }
        for key in judgement.slices {
            let slices = slices_of(
                key,
                judgement.origins,
                judgement.recordings,
                targets,
                judgement.labels,
            );
            let (figures, fairness) = table.judge(
                judgement.metric,
                (key, &slices),
                judgement.labels,
                judgement.slice_windows_min,
            );
            evaluation.slices.extend(figures);
            evaluation.fairness.extend(fairness);
        }
        evaluation
    }

    /// The one figure that speaks for the model: accuracy, area under the curve, or minus the error.
    pub fn metric(&self) -> Option<f32> {
        self.accuracy
            .or(self.roc.as_ref().map(|roc| roc.auc))
            .or(self.rmse.map(|rmse| -rmse))
    }

    /// A figure by its name: `accuracy`, `macro_f1`, `auc`, `rmse`, `mean_absolute_error`, `expected_cost`,
    /// `false_alarm_rate`, `miss_rate`, or `recall:LABEL`, `precision:LABEL`, `f1:LABEL`, `auc:LABEL`.
    pub fn metric_named(&self, name: &str) -> Option<f32> {
        if let Some((figure, label)) = name.split_once(':') {
            let class = self.per_class.iter().find(|class| class.label == label)?;
            return match figure {
                "recall" => Some(class.recall),
                "precision" => Some(class.precision),
                "f1" => Some(class.f1),
                "auc" => class.auc,
                _ => None,
            };
        }
        match name {
            "accuracy" => self.accuracy,
            "macro_f1" => self.macro_f1,
            "auc" => self.roc.as_ref().map(|roc| roc.auc),
            "rmse" => self.rmse,
            "mean_absolute_error" => self.mean_absolute_error,
            "expected_cost" => self.operation.map(|operation| operation.expected_cost),
            "false_alarm_rate" => self.operation.map(|operation| operation.false_alarm_rate),
            "miss_rate" => self.operation.map(|operation| operation.miss_rate),
            _ => None,
        }
    }

    fn judge_classes(
        &mut self,
        scores: &Scores,
        known: &[(usize, usize)],
        judgement: &Judgement<'_>,
        table: &Table,
    ) {
        let count = judgement.labels.len();
        let mut confusion = vec![vec![0u32; count]; count];
        for &(index, class) in known {
            let given = scores.given(index, judgement.threshold);
            confusion[class.min(count - 1)][given] += 1;
        }
        let right: u32 = (0..count).map(|class| confusion[class][class]).sum();
        self.accuracy = Some(right as f32 / known.len() as f32);
        for (class, label) in judgement.labels.iter().enumerate() {
            let hit = confusion[class][class];
            let given: u32 = confusion.iter().map(|row| row[class]).sum();
            let windows: u32 = confusion[class].iter().sum();
            let share = |all: u32| {
                if all == 0 {
                    0.0
                } else {
                    hit as f32 / all as f32
                }
            };
            let f1 = if given + windows == 0 {
                0.0
            } else {
                2.0 * hit as f32 / (given + windows) as f32
            };
            let members: Vec<usize> = (0..table.answers.len())
                .filter(|&at| table.answers[at].is == Some(class))
                .collect();
            let own: Vec<f32> = known.iter().map(|&(i, _)| scores.row(i)[class]).collect();
            let is: Vec<bool> = known.iter().map(|&(_, truth)| truth == class).collect();
            self.per_class.push(ClassFigures {
                label: label.clone(),
                windows: windows as usize,
                precision: share(given),
                recall: share(windows),
                recall_interval: table
                    .share(hit as usize, &members)
                    .map(|(_, interval)| interval),
                f1,
                auc: Roc::of(&own, &is).map(|roc| roc.auc),
            });
        }
        // Classes that neither occur nor are ever given say nothing.
        let seen: Vec<f32> = (0..count)
            .filter(|&class| {
                confusion[class].iter().sum::<u32>() > 0
                    || confusion.iter().any(|row| row[class] > 0)
            })
            .map(|class| self.per_class[class].f1)
            .collect();
        self.macro_f1 = Some(seen.iter().sum::<f32>() / seen.len().max(1) as f32);
        self.classes = judgement.labels.to_vec();
        self.confusion = confusion;
    }
}

/// How much a window asks for attention: the anomaly score, or the share of all classes but the normal ones.
pub(crate) fn alarm(scores: &Scores, index: usize, normal: &[usize]) -> f32 {
    match (scores.row(index), normal) {
        ([score], _) => *score,
        // Rounded shares need not add up to 1, and it is the second that a device compares.
        ([_, second], [1]) => 1.0 - second,
        (row, _) => {
            let shares = row.iter().enumerate();
            let faulty = shares.filter(|(class, _)| !normal.contains(class));
            faulty.map(|(_, share)| share).sum()
        }
    }
}

/// The threshold of a decision, as [`Scores::given`] and a device take it, that raises an alarm above this alarm score.
///
/// Of two classes a device compares the share of the second, so that an alarm lies below the threshold where the second
/// is the normal one. Two things it cannot be told, for from 0 down the larger share would decide: to raise no alarm at all
/// where the second is normal (from an alarm score of 1 on: it raises those whose second share is nothing), and to raise
/// every alarm where the first is (below 0: it raises none of those).
pub(crate) fn decision_threshold(alarm: f32, classes: usize, normal: &[usize]) -> f32 {
    let of_second = match (classes, normal) {
        // The least share of the second that raises none, to the last digit: a difference to 1 is rounded.
        (2, [1]) => least(|second| 1.0 - second <= alarm),
        // What is exactly the threshold is the second's, and no alarm yet.
        (2, [0]) => alarm.next_up(),
        _ => return alarm,
    };
    of_second.max(f32::MIN_POSITIVE)
}

/// The least number from 0 on of which something is so that is so of all greater ones.
fn least(is_so: impl Fn(f32) -> bool) -> f32 {
    // Numbers that are not negative are in the order of their bits.
    let (mut low, mut high) = (0, f32::MAX.to_bits());
    while low < high {
        let middle = low + (high - low) / 2;
        if is_so(f32::from_bits(middle)) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    f32::from_bits(low)
}

/// The alarm score above which a device raises an alarm, by the threshold of its decision: the way back from
/// [`decision_threshold`].
///
/// Without a threshold the larger of two shares decides, of equals the first.
pub(crate) fn alarm_threshold(decision: f32, classes: usize, normal: &[usize]) -> f32 {
    match (classes, normal) {
        (2, [0]) if decision <= 0.0 => 0.5,
        (2, [1]) if decision <= 0.0 => 0.5_f32.next_down(),
        // A threshold that is next to nothing raises an alarm where the second has no share.
        (2, [1]) => (1.0 - decision).min(1.0_f32.next_down()),
        (2, [0]) => decision.next_down(),
        _ => decision,
    }
}

fn root_mean_square(errors: &[f64]) -> f32 {
    (errors.iter().map(|error| error * error).sum::<f64>() / errors.len().max(1) as f64).sqrt()
        as f32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn labels() -> Vec<String> {
        ["calm", "worn", "loose"].map(String::from).to_vec()
    }

    fn judged(values: &[f32], targets: &[Target], normal: Vec<usize>) -> Evaluation {
        let scores = Scores {
            width: 3,
            values: values.to_vec(),
        };
        let recordings = ["a", "b"].map(|group| Recording {
            name: format!("{group}.csv"),
            group: group.to_owned(),
            ..Recording::default()
        });
        let origins = [0, 0, 1, 1].map(|recording| Origin {
            recording,
            start: 0,
        });
        let labels = labels();
        let costs = Costs::default();
        Evaluation::of(
            &scores,
            targets,
            &Judgement {
                labels: &labels,
                normal,
                costs: &costs,
                threshold: 0.5,
                metric: Metric::Accuracy,
                origins: &origins,
                recordings: &recordings,
                slices: &["group".to_owned()],
                slice_windows_min: 1,
            },
        )
    }

    #[test]
    fn a_confusion_and_its_figures() {
        let values = [0.8, 0.1, 0.1, 0.2, 0.7, 0.1, 0.6, 0.2, 0.2, 0.1, 0.1, 0.8];
        let truth = [0, 1, 1, 2].map(Target::Class);
        let evaluation = judged(&values, &truth, vec![0]);
        assert_eq!(evaluation.confusion, [[1, 0, 0], [1, 1, 0], [0, 0, 1]]);
        assert_eq!(evaluation.accuracy, Some(0.75));
        let worn = &evaluation.per_class[1];
        assert_eq!((worn.precision, worn.recall, worn.windows), (1.0, 0.5, 2));
        assert!((evaluation.macro_f1.unwrap() - (2.0 / 3.0 + 2.0 / 3.0 + 1.0) / 3.0).abs() < 1e-6);
        let operation = evaluation.operation.unwrap();
        assert_eq!(
            (operation.false_alarm_rate, operation.miss_rate),
            (0.0, 1.0 / 3.0)
        );
        assert_eq!(evaluation.roc.unwrap().auc, 1.0);
        let metrics: Vec<_> = evaluation
            .slices
            .iter()
            .map(|s| (s.value.as_str(), s.metric))
            .collect();
        assert_eq!(metrics, [("a", Some(1.0)), ("b", Some(0.5))]);
    }

    #[test]
    fn of_two_classes_the_second_is_given_from_the_threshold_on() {
        let scores = Scores {
            width: 2,
            values: vec![0.9, 0.1, 0.7, 0.3, 0.5, 0.5, 0.2, 0.8],
        };
        assert_eq!(scores.all_given(0.2), [0, 1, 1, 1]);
        // Equals are the second's at a half, as on the device, and the first's without a threshold.
        assert_eq!(scores.all_given(0.5), [0, 0, 1, 1]);
        assert_eq!(scores.all_given(0.0), [0, 0, 0, 1]);
        let of_three = Scores {
            width: 3,
            values: vec![0.5, 0.3, 0.2],
        };
        assert_eq!(of_three.all_given(0.2), [0]);
    }

    #[test]
    fn of_two_classes_accuracy_and_alarms_are_those_of_the_answers_that_are_given() {
        let scores = Scores {
            width: 2,
            values: vec![0.9, 0.1, 0.7, 0.3, 0.5, 0.5, 0.2, 0.8],
        };
        let labels: Vec<String> = ["a", "b"].map(String::from).to_vec();
        let truth = [0, 1, 1, 1].map(Target::Class);
        let costs = Costs::default();
        let judged = |normal: usize, threshold: f32| {
            let judgement = Judgement {
                labels: &labels,
                normal: vec![normal],
                costs: &costs,
                threshold,
                metric: Metric::Accuracy,
                origins: &[],
                recordings: &[],
                slices: &["class".to_owned()],
                slice_windows_min: 1,
            };
            let evaluation = Evaluation::of(&scores, &truth, &judgement);
            let operation = evaluation.operation.unwrap();
            let rates = (operation.false_alarm_rate, operation.miss_rate);
            assert_eq!(
                evaluation.macro_f1.unwrap() == 1.0,
                evaluation.accuracy == Some(1.0)
            );
            (evaluation.accuracy.unwrap(), evaluation.confusion, rates)
        };
        // The second is given from 0.2 on, whichever of the two is normal.
        let given = vec![vec![1, 0], vec![0, 3]];
        assert_eq!(judged(0, 0.2), (1.0, given.clone(), (0.0, 0.0)));
        assert_eq!(judged(1, 0.2), (1.0, given, (0.0, 0.0)));
        let given = vec![vec![1, 0], vec![2, 1]];
        let third = 2.0 / 3.0;
        assert_eq!(judged(0, 0.6), (0.5, given.clone(), (0.0, third)));
        assert_eq!(judged(1, 0.6), (0.5, given, (third, 0.0)));
    }

    proptest! {
        /// A device that takes the threshold of a decision raises the alarms of the alarm score that it stands for.
        #[test]
        fn a_decision_is_an_alarm_threshold_in_either_order(
            shares in proptest::collection::vec(0u16..=256, 1..40),
            threshold in prop_oneof![
                (-64i16..=576).prop_map(|steps| f32::from(steps) / 512.0),
                (0u16..=256, -2i32..=2).prop_map(|(step, off)| {
                    let near = 1.0 - f32::from(step) / 256.0;
                    (0..off.unsigned_abs()).fold(near, |near, _| match off > 0 {
                        true => near.next_up(),
                        false => near.next_down(),
                    })
                }),
                -0.1f32..1.1,
            ],
            normal in 0usize..2,
        ) {
            let scores = of_seconds(&shares);
            let decision = decision_threshold(threshold, 2, &[normal]);
            prop_assert!(decision > 0.0);
            for (index, &share) in shares.iter().enumerate() {
                let untold = match normal {
                    1 => threshold >= 1.0,
                    _ => threshold < 0.0,
                };
                if share == 0 && untold {
                    prop_assert_eq!(scores.given(index, decision), 0, "what it cannot be told");
                    continue;
                }
                let is_alarm = alarm(&scores, index, &[normal]) > threshold;
                prop_assert_eq!(scores.given(index, decision) != normal, is_alarm);
            }
        }

        /// The alarm score that stands for a decision raises the alarms that a device raises by it, ties and all.
        #[test]
        fn an_alarm_threshold_is_a_decision_in_either_order(
            shares in proptest::collection::vec(0u16..=256, 1..40),
            decision in prop_oneof![
                Just(0.0),
                Just(-1.0),
                Just(f32::MIN_POSITIVE),
                (0u16..=280).prop_map(|steps| f32::from(steps) / 256.0),
                -0.1f32..1.1,
            ],
            normal in 0usize..2,
        ) {
            let scores = of_seconds(&shares);
            let threshold = alarm_threshold(decision, 2, &[normal]);
            for index in 0..scores.count() {
                let is_alarm = alarm(&scores, index, &[normal]) > threshold;
                prop_assert_eq!(scores.given(index, decision) != normal, is_alarm);
            }
        }
    }

    /// Windows of two classes, by the share of the second in 256ths, as int8 outputs have them.
    fn of_seconds(shares: &[u16]) -> Scores {
        let second = shares.iter().map(|&share| f32::from(share) / 256.0);
        Scores {
            width: 2,
            values: second.flat_map(|second| [1.0 - second, second]).collect(),
        }
    }

    #[test]
    fn windows_without_a_target_do_not_count() {
        let values = [0.8, 0.1, 0.1, 0.2, 0.7, 0.1];
        let evaluation = judged(&values, &[Target::None, Target::Class(1)], Vec::new());
        assert_eq!(
            (evaluation.windows, evaluation.accuracy, evaluation.roc),
            (1, Some(1.0), None)
        );
    }

    #[test]
    fn values_have_errors() {
        let scores = Scores {
            width: 1,
            values: vec![1.0, 2.0],
        };
        let costs = Costs::default();
        let judgement = Judgement {
            labels: &[],
            normal: vec![],
            costs: &costs,
            threshold: 0.0,
            metric: Metric::Rmse,
            origins: &[],
            recordings: &[],
            slices: &[],
            slice_windows_min: 1,
        };
        let evaluation = Evaluation::of(
            &scores,
            &[Target::Value(0.0), Target::Value(3.0)],
            &judgement,
        );
        assert_eq!(
            (evaluation.rmse, evaluation.mean_absolute_error),
            (Some(1.0), Some(1.0))
        );
        assert_eq!(evaluation.metric(), Some(-1.0));
    }
}
