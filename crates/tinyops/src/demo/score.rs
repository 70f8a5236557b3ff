//! What devices really predicted, held against what the fans really had.

use std::collections::BTreeSet;

use serde::Serialize;
use tinyops_wire::ModelId;

use crate::fan::Condition;

/// One prediction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    /// Which fan it was.
    pub(super) fan: u32,
    pub(super) hour: u32,
    /// The fan's mounting works loose in this story.
    pub(super) ages: bool,
    pub(super) truth: Condition,
    /// The class that the device said, if it was one of the conditions.
    pub(super) said: Option<Condition>,
    pub(super) model: ModelId,
}

/// All predictions of the fleet.
#[derive(Default)]
pub(super) struct Score {
    records: Vec<Record>,
}

/// Accuracy over some of the predictions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Accuracy {
    /// Right ones.
    pub(super) right: u64,
    /// All of them.
    pub(super) windows: u64,
    /// Their share; absent without predictions.
    pub(super) share: Option<f64>,
}

/// Accuracy of the fans that age, of the others, and of all.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Phase {
    pub(super) fleet: Accuracy,
    pub(super) aged: Accuracy,
    pub(super) steady: Accuracy,
}

impl Score {
    pub(super) fn push(&mut self, record: Record) {
        self.records.push(record);
    }

    /// The fans that a model was ever at work on.
    pub(super) fn fans(&self, model: ModelId) -> BTreeSet<u32> {
        let by_it = self.records.iter().filter(|record| record.model == model);
        by_it.map(|record| record.fan).collect()
    }

    /// The predictions of some hours, by one model only if it is given.
    pub(super) fn phase(&self, hours: std::ops::Range<u32>, model: Option<ModelId>) -> Phase {
        let chosen = || {
            self.records.iter().filter(|record| {
                hours.contains(&record.hour) && model.is_none_or(|model| model == record.model)
            })
        };
        Phase {
            fleet: Accuracy::of(chosen()),
            aged: Accuracy::of(chosen().filter(|record| record.ages)),
            steady: Accuracy::of(chosen().filter(|record| !record.ages)),
        }
    }
}

impl Accuracy {
    fn of<'a>(records: impl Iterator<Item = &'a Record>) -> Self {
        let (mut right, mut windows) = (0, 0);
        for record in records {
            windows += 1;
            right += u64::from(record.said == Some(record.truth));
        }
        Self {
            right,
            windows,
            share: (windows > 0).then(|| right as f64 / windows as f64),
        }
    }

    /// As a person reads it.
    pub(super) fn text(self) -> String {
        self.share
            .map_or_else(|| "–".to_owned(), |share| format!("{:.1} %", 100.0 * share))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_are_told_apart() {
        let mut score = Score::default();
        for hour in 0..4 {
            score.push(Record {
                fan: hour % 2,
                hour,
                ages: hour % 2 == 0,
                truth: Condition::Normal,
                said: (hour < 2).then_some(Condition::Normal),
                model: ModelId(hour / 2),
            });
        }
        assert_eq!(score.phase(0..4, None).fleet.share, Some(0.5));
        assert_eq!(score.phase(0..4, None).aged.windows, 2);
        assert_eq!(score.phase(0..4, Some(ModelId(1))).fleet.share, Some(0.0));
        assert_eq!(score.phase(9..10, None).fleet.share, None);
        assert_eq!(score.fans(ModelId(1)), BTreeSet::from([0, 1]));
        assert!(score.fans(ModelId(2)).is_empty());
    }
}
