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
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Costs {
    /// Of saying that something is wrong when nothing is.
    pub false_alarm: f64,
    /// Of saying that nothing is wrong when something is, or something else.
    pub miss: f64,
    /// The class that means that nothing is wrong.
    pub normal_class: usize,
}

impl Accuracy {
    /// Share of judged windows that it had right; `None` of none.
    pub fn share(&self) -> Option<f64> {
        (self.judged > 0).then(|| self.right as f64 / self.judged as f64)
    }

    /// Mean cost of a judged window; `None` of none.
    ///
    /// A window of another class than the normal one that got the wrong abnormal class counts as a miss.
    pub fn expected_cost(&self, costs: &Costs) -> Option<f64> {
        let mut sum = 0.0;
        for (actual, row) in self.confusion.iter().enumerate() {
            for (predicted, &count) in row.iter().enumerate() {
                sum += count as f64
                    * match (actual == costs.normal_class, actual == predicted) {
                        (_, true) => 0.0,
                        (true, false) => costs.false_alarm,
                        (false, false) => costs.miss,
                    };
            }
        }
        (self.judged > 0).then(|| sum / self.judged as f64)
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
