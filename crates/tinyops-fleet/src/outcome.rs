//! How right the models are, and what that costs.

use tinyops_store::{ModelId, Timestamp};

use crate::{Fleet, FleetError};

/// How right one model is in one cohort.
#[derive(Clone, Debug, PartialEq)]
pub struct Accuracy {
    /// In which cohort.
    pub cohort: String,
    /// Which model.
    pub model: ModelId,
    /// Windows that it had right.
    pub right: i64,
    /// Windows judged.
    pub judged: i64,
    /// Windows by true class and predicted class: `[actual][predicted]`.
    pub confusion: Vec<Vec<i64>>,
}

/// What errors cost, by the project's settings.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Costs {
    /// The classes that mean that nothing is wrong.
    pub normal: Vec<String>,
    /// Of saying that something is wrong when nothing is.
    pub false_alarm: f64,
    /// Of saying that nothing is wrong when something is, or something else.
    pub miss: f64,
}

impl Costs {
    /// Whether the project says what errors cost.
    pub fn are_set(&self) -> bool {
        self.false_alarm > 0.0 || self.miss > 0.0
    }

    /// What so many windows of one class cost that got another; `labels` are the names of the model's classes.
    ///
    /// A window of another class than a normal one that got the wrong abnormal class counts as a miss.
    pub fn of(&self, (actual, predicted): (usize, usize), windows: i64, labels: &[String]) -> f64 {
        let is_normal = labels
            .get(actual)
            .is_some_and(|label| self.normal.contains(label));
        let each = match (actual == predicted, is_normal) {
            (true, _) => 0.0,
            (false, true) => self.false_alarm,
            (false, false) => self.miss,
        };
        each * windows as f64
    }

    /// What all judged windows of a model in a cohort cost.
    pub fn of_all(&self, accuracy: &Accuracy, labels: &[String]) -> f64 {
        let mut sum = 0.0;
        for (actual, row) in accuracy.confusion.iter().enumerate() {
            for (predicted, &windows) in row.iter().enumerate() {
                sum += self.of((actual, predicted), windows, labels);
            }
        }
        sum
    }
}

impl Accuracy {
    /// Share of judged windows that it had right; `None` of none.
    pub fn share(&self) -> Option<f64> {
        (self.judged > 0).then(|| self.right as f64 / self.judged as f64)
    }
}

impl Fleet {
    /// How right each model is in each cohort, by the outcomes since `since`.
    pub async fn accuracy(&self, since: Timestamp) -> Result<Vec<Accuracy>, FleetError> {
        let mut found: Vec<Accuracy> = Vec::new();
        for tally in tinyops_store::outcome::tally(&self.db, since).await? {
            let same = |a: &Accuracy| a.cohort == tally.cohort && a.model == tally.model;
            if !found.last().is_some_and(same) {
                found.push(Accuracy {
                    cohort: tally.cohort.clone(),
                    model: tally.model,
                    right: 0,
                    judged: 0,
                    confusion: Vec::new(),
                });
            }
            let accuracy = found.last_mut().expect("one was pushed");
            accuracy.add(
                tally.actual as usize,
                tally.predicted as usize,
                tally.window_count,
            );
        }
        Ok(found)
    }
}

impl Accuracy {
    fn add(&mut self, actual: usize, predicted: usize, count: i64) {
        let size = actual.max(predicted) + 1;
        if self.confusion.len() < size {
            self.confusion.resize(size, Vec::new());
            self.confusion
                .iter_mut()
                .for_each(|row| row.resize(size, 0));
        }
        self.confusion[actual][predicted] += count;
        self.judged += count;
        if actual == predicted {
            self.right += count;
        }
    }
}
