//! Labels that are likely wrong, by what the project's own model says of recordings that it was not trained on; and
//! what that says of each class.
//!
//! Groups are dealt into folds. For each fold a model as the project describes it is trained on the others and asked
//! about the windows of this one; confident learning then says which labels cannot be.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use tinyops_data::{
    confident::{ConfidentError, Filter, Predictions},
    dataset::Dataset,
    sample::{Label, Sample},
    window::{WindowError, Windowing},
};
use tinyops_train::{
    FeatureSet, Goal, Target, TrainError, TrainSpec, Windows, fit,
    interval::Interval,
    progress::{Flow, Listener},
};

use crate::Project;

/// Why labels could not be doubted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DoubtError {
    /// The model tells no classes apart.
    #[error("labels are doubted where a model tells classes apart: this project's does not")]
    NotClasses,
    /// Nobody can be left out.
    #[error(
        "{found} recordings with labels: at least {needed} are needed, so that each can be left out in turn"
    )]
    TooFew {
        /// How many there are.
        found: usize,
        /// As many as folds.
        needed: usize,
    },
    /// Settings do not fit the recordings.
    #[error(transparent)]
    Window(#[from] WindowError),
    /// A fold could not be trained.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// Predictions are not what confident learning takes.
    #[error(transparent)]
    Confident(#[from] ConfidentError),
}

/// What was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Doubts {
    /// How many models were trained.
    pub folds: usize,
    /// How many windows were judged.
    pub windows: usize,
    /// The least credible first.
    pub doubts: Vec<Doubt>,
    /// One for each class, in the order of the dataset's.
    pub classes: Vec<ClassFigures>,
}

/// A label that is likely wrong.
#[derive(Clone, Debug, PartialEq)]
pub struct Doubt {
    /// The recording's name in the dataset.
    pub recording: String,
    /// Its file.
    pub file: String,
    /// The readings that are meant, counted from 0.
    pub readings: Range<usize>,
    /// Whether these are all of the recording's.
    pub is_whole: bool,
    /// How many windows say so.
    pub windows: usize,
    /// The label that it has.
    pub given: String,
    /// The class that it likely is of.
    pub likely: String,
    /// From 0, for a label that cannot be, to 1: the normalized margin, of the mean of a recording's windows or the mean of
    /// those of a part.
    pub score: f64,
}

/// What is there of a class, and how well models that have not seen it tell it.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassFigures {
    /// Its name.
    pub class: String,
    /// Recordings with at least a window of it.
    pub recordings: usize,
    /// Groups that these are of.
    pub groups: usize,
    /// Windows that were judged.
    pub windows: usize,
    /// Windows that were given to it.
    pub right: usize,
    /// From where to where 95 in 100 such intervals hold the true share of right ones.
    pub recall: Interval,
}

/// Doubts labels.
///
/// `kept` are labels (recording, label) that were looked into and are right.
///
/// # Errors
/// [`DoubtError`].
pub fn doubts(
    project: &Project,
    dataset: &Dataset,
    folds: usize,
    kept: &BTreeSet<(String, String)>,
    report: &mut dyn FnMut(usize, usize) -> Flow,
) -> Result<Doubts, DoubtError> {
    let classes = dataset.classes.len();
    if project.train.goal != Goal::Classify || classes < 2 {
        return Err(DoubtError::NotClasses);
    }
    let windowing = Windowing::new(&project.data.window, dataset)?;
    let dealt = deal(dataset, folds);
    let labelled = dealt.iter().flatten().count();
    if labelled < folds.max(2) {
        return Err(DoubtError::TooFew {
            found: labelled,
            needed: folds.max(2),
        });
    }
    // What was rounded or kept back for later is of no interest here: all that is not left out trains.
    let spec = TrainSpec {
        refit: false,
        ..project.train.clone()
    };
    let mut judged = Judged::default();
    for fold in 0..folds {
        let mut listen = |_| report(fold, folds);
        judged.fold(&spec, dataset, &windowing, &dealt, fold, &mut listen)?;
    }
    report(folds, folds);
    let predictions = Predictions::new(&judged.labels, &judged.shares, classes)?;
    let doubted = predictions.issues(Filter::PruneByNoiseRate);
    let margins = predictions.normalized_margin();
    let (mut doubts, whole) = judged.wholes(dataset, &doubted)?;
    // What a label of a whole recording hides is found window by window.
    let left: Vec<usize> = doubted
        .into_iter()
        .filter(|&window| !whole.contains(&judged.places[window].0))
        .collect();
    doubts.extend(judged.runs(dataset, &windowing, &left, &margins));
    doubts.retain(|doubt| !kept.contains(&(doubt.recording.clone(), doubt.given.clone())));
    doubts.sort_by(|a, b| {
        let by_score = a.score.total_cmp(&b.score);
        by_score.then_with(|| b.windows.cmp(&a.windows))
    });
    Ok(Doubts {
        folds,
        windows: judged.labels.len(),
        doubts,
        classes: judged.figures(dataset),
    })
}

/// Deals recordings with labels into folds, all of a group into one: the largest groups first, each to where the fewest
/// recordings of its classes are. Of a class that one group has alone, recordings are dealt one by one, since a model
/// that never saw the class could say nothing of it; a class with one recording is never left out.
fn deal(dataset: &Dataset, folds: usize) -> Vec<Option<usize>> {
    let mut groups: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    let mut groups_of: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut recordings_of: BTreeMap<&str, usize> = BTreeMap::new();
    for (index, sample) in dataset.samples.iter().enumerate() {
        let classes: BTreeSet<&str> = sample.label.classes().collect();
        if classes.is_empty() {
            continue;
        }
        groups.entry(&sample.group).or_default().push(index);
        for class in classes {
            groups_of.entry(class).or_default().insert(&sample.group);
            *recordings_of.entry(class).or_default() += 1;
        }
    }
    let is_alone = |sample: &Sample| {
        sample
            .label
            .classes()
            .any(|class| groups_of[class].len() < 2)
    };
    let is_only = |sample: &Sample| sample.label.classes().any(|class| recordings_of[class] < 2);
    let mut units: Vec<Vec<usize>> = Vec::new();
    for members in groups.into_values() {
        if members
            .iter()
            .any(|&index| is_alone(&dataset.samples[index]))
        {
            units.extend(members.into_iter().map(|index| vec![index]));
        } else {
            units.push(members);
        }
    }
    units.sort_by_key(|unit| std::cmp::Reverse(unit.len()));
    let mut dealt = vec![None; dataset.samples.len()];
    let mut held: Vec<BTreeMap<&str, usize>> = vec![BTreeMap::new(); folds.max(1)];
    let mut totals = vec![0; folds.max(1)];
    for unit in units {
        if unit.iter().any(|&index| is_only(&dataset.samples[index])) {
            continue;
        }
        let classes = || {
            unit.iter()
                .flat_map(|&index| dataset.samples[index].label.classes())
        };
        let load = |fold: usize| {
            let of_classes: usize = classes()
                .map(|class| held[fold].get(class).copied().unwrap_or(0))
                .sum();
            (of_classes, totals[fold])
        };
        let fold = (0..held.len()).min_by_key(|&fold| load(fold)).unwrap_or(0);
        for class in classes().collect::<Vec<_>>() {
            *held[fold].entry(class).or_default() += 1;
        }
        totals[fold] += unit.len();
        for index in unit {
            dealt[index] = Some(fold);
        }
    }
    dealt
}

/// Windows that models said something of which they had not seen.
#[derive(Default)]
struct Judged {
    labels: Vec<usize>,
    /// `[window, class]`
    shares: Vec<f64>,
    /// Index of the sample, and the first reading.
    places: Vec<(usize, usize)>,
}

impl Judged {
    fn fold(
        &mut self,
        spec: &TrainSpec,
        dataset: &Dataset,
        windowing: &Windowing,
        dealt: &[Option<usize>],
        fold: usize,
        report: Listener<'_>,
    ) -> Result<(), TrainError> {
        let of = |is_of: &dyn Fn(Option<usize>) -> bool| -> Vec<usize> {
            let labelled = |index: &usize| dataset.samples[*index].label.classes().next().is_some();
            let members = (0..dealt.len()).filter(|&index| is_of(dealt[index]));
            members.filter(labelled).collect()
        };
        let others = of(&|dealt| dealt != Some(fold));
        let own = of(&|dealt| dealt == Some(fold));
        if own.is_empty() {
            return Ok(());
        }
        let parts = [
            Windows::cut(dataset, &others, windowing)?,
            Windows::cut(dataset, &[], windowing)?,
            Windows::cut(dataset, &own, windowing)?,
        ];
        let set = FeatureSet::of_windows(spec, &dataset.classes, &parts, report)?;
        let scores = fit(spec, &set, report)?.score(&set.test);
        for window in 0..set.test.count() {
            let Target::Class(class) = set.test.targets[window] else {
                continue;
            };
            let row = scores.row(window);
            let sum: f64 = row.iter().map(|share| f64::from(*share)).sum();
            self.labels.push(class.into());
            self.shares
                .extend(row.iter().map(|share| f64::from(*share) / sum));
            let origin = set.test.origins[window];
            self.places
                .push((own[origin.recording as usize], origin.start as usize));
        }
        Ok(())
    }

    fn likely(&self, window: usize, classes: usize) -> usize {
        likely(&self.shares[window * classes..][..classes])
    }

    /// Recordings with one label, each judged by the mean of what models say of its windows; and which they are. One is
    /// doubted by itself, or where one of its windows is and they are likely of that other class on the whole.
    fn wholes(
        &self,
        dataset: &Dataset,
        doubted: &[usize],
    ) -> Result<(Vec<Doubt>, BTreeSet<usize>), ConfidentError> {
        let classes = dataset.classes.len();
        let mut windows_of: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (window, &(sample, _)) in self.places.iter().enumerate() {
            if matches!(dataset.samples[sample].label, Label::Class(_)) {
                windows_of.entry(sample).or_default().push(window);
            }
        }
        let mut labels = Vec::with_capacity(windows_of.len());
        let mut shares = Vec::with_capacity(windows_of.len() * classes);
        for windows in windows_of.values() {
            labels.push(self.labels[windows[0]]);
            let share = |class: usize| {
                let of = |&window: &usize| self.shares[window * classes + class];
                windows.iter().map(of).sum::<f64>() / windows.len() as f64
            };
            shares.extend((0..classes).map(share));
        }
        if labels.is_empty() {
            return Ok(Default::default());
        }
        let predictions = Predictions::new(&labels, &shares, classes)?;
        let margins = predictions.normalized_margin();
        let units: Vec<(&usize, &Vec<usize>)> = windows_of.iter().collect();
        let mut whole = BTreeSet::new();
        let mut doubts = Vec::new();
        let mut chosen: BTreeSet<usize> = predictions
            .issues(Filter::PruneByNoiseRate)
            .into_iter()
            .collect();
        for &window in doubted {
            let unit = units
                .iter()
                .position(|(index, _)| **index == self.places[window].0);
            let is_agreed = |unit: &usize| {
                let on_the_whole = likely(&shares[unit * classes..][..classes]);
                on_the_whole == self.likely(window, classes) && on_the_whole != labels[*unit]
            };
            chosen.extend(unit.filter(is_agreed));
        }
        for unit in chosen {
            let (&index, windows) = units[unit];
            let sample = &dataset.samples[index];
            let likely = likely(&shares[unit * classes..][..classes]);
            let agree = windows.iter().filter(|&&window| {
                let row = &self.shares[window * classes..][..classes];
                self::likely(row) == likely
            });
            whole.insert(index);
            doubts.push(Doubt {
                recording: sample.name.clone(),
                file: sample.origin.file.clone(),
                readings: 0..sample.len(),
                is_whole: true,
                windows: agree.count(),
                given: dataset.classes[labels[unit]].clone(),
                likely: dataset.classes[likely].clone(),
                score: margins[unit],
            });
        }
        Ok((doubts, whole))
    }

    /// Doubted windows that follow each other in a recording and are likely of one class are one doubt.
    fn runs(
        &self,
        dataset: &Dataset,
        windowing: &Windowing,
        doubted: &[usize],
        margins: &[f64],
    ) -> Vec<Doubt> {
        let classes = dataset.classes.len();
        let mut order: Vec<usize> = (0..self.labels.len()).collect();
        order.sort_by_key(|&window| self.places[window]);
        let is_doubted: BTreeSet<usize> = doubted.iter().copied().collect();
        let mut windows_of: BTreeMap<usize, usize> = BTreeMap::new();
        for &(sample, _) in &self.places {
            *windows_of.entry(sample).or_default() += 1;
        }
        let mut runs: Vec<Vec<usize>> = Vec::new();
        let mut last: Option<(usize, usize, usize)> = None;
        for window in order {
            let sample = self.places[window].0;
            let key = (sample, self.labels[window], self.likely(window, classes));
            if !is_doubted.contains(&window) {
                last = None;
                continue;
            }
            match (last == Some(key), runs.last_mut()) {
                (true, Some(run)) => run.push(window),
                _ => runs.push(vec![window]),
            }
            last = Some(key);
        }
        let doubt = |run: Vec<usize>| {
            let (index, start) = self.places[run[0]];
            let sample = &dataset.samples[index];
            let (_, last_start) = self.places[run[run.len() - 1]];
            let is_whole = run.len() == windows_of[&index];
            let readings = match is_whole {
                true => 0..sample.len(),
                false => start..(last_start + windowing.len).min(sample.len()),
            };
            let sum: f64 = run.iter().map(|&window| margins[window]).sum();
            Doubt {
                recording: sample.name.clone(),
                file: sample.origin.file.clone(),
                readings,
                is_whole,
                windows: run.len(),
                given: dataset.classes[self.labels[run[0]]].clone(),
                likely: dataset.classes[self.likely(run[0], classes)].clone(),
                score: sum / run.len() as f64,
            }
        };
        runs.into_iter().map(doubt).collect()
    }

    fn figures(&self, dataset: &Dataset) -> Vec<ClassFigures> {
        let classes = dataset.classes.len();
        let figures = dataset.classes.iter().enumerate().map(|(class, name)| {
            let has = |sample: &&Sample| sample.label.classes().any(|label| label == name);
            let of_class = || dataset.samples.iter().filter(has);
            let groups: BTreeSet<&str> = of_class().map(|sample| sample.group.as_str()).collect();
            let windows = || (0..self.labels.len()).filter(|&window| self.labels[window] == class);
            let right = windows().filter(|&window| self.likely(window, classes) == class);
            let (right, windows) = (right.count(), windows().count());
            ClassFigures {
                class: name.clone(),
                recordings: of_class().count(),
                groups: groups.len(),
                windows,
                right,
                recall: Interval::wilson(right as f64 / windows.max(1) as f64, windows as f64),
            }
        });
        figures.collect()
    }
}

/// The class of the largest share; the first of equals.
fn likely(row: &[f64]) -> usize {
    let best = (0..row.len()).max_by(|&a, &b| row[a].total_cmp(&row[b]).then(b.cmp(&a)));
    best.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dataset(of: &[(&str, &str)]) -> Dataset {
        let samples = of.iter().enumerate().map(|(index, (group, label))| Sample {
            name: format!("{index:03}"),
            rate_hz: 10.0,
            channels: Vec::new(),
            readings: Vec::new(),
            image: None,
            label: match *label {
                "" => Label::None,
                label => Label::Class(label.to_owned()),
            },
            group: (*group).to_owned(),
            role: None,
            origin: Default::default(),
            metadata: BTreeMap::new(),
        });
        Dataset {
            samples: samples.collect(),
            classes: Vec::new(),
        }
    }

    #[test]
    fn groups_stay_together_and_every_fold_is_trained_on_every_class() {
        let people = ["a", "b", "c", "d", "e", "f"];
        let of: Vec<(&str, &str)> = people
            .iter()
            .flat_map(|person| [(*person, "up"), (*person, "down"), (*person, "")])
            .collect();
        let dealt = deal(&dataset(&of), 3);
        for person in dealt.chunks(3) {
            assert!(person[0].is_some() && person[0] == person[1] && person[2].is_none());
        }
        for fold in 0..3 {
            assert_eq!(
                dealt.iter().filter(|dealt| **dealt == Some(fold)).count(),
                4
            );
        }
        // A class of one group alone is dealt by recording, one of a single recording not at all.
        let dealt = deal(
            &dataset(&[("a", "x"), ("a", "x"), ("b", "y"), ("c", "y"), ("d", "z")]),
            2,
        );
        assert_ne!(dealt[0], dealt[1]);
        assert_ne!(dealt[2], dealt[3]);
        assert_eq!(dealt[4], None);
    }
}
