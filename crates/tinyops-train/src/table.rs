//! Answers of a model beside what the windows are, and figures of any part of them.

use std::collections::BTreeMap;

use crate::evaluation::{Judgement, Scores, alarm};
use crate::interval::{Interval, UNITS_MIN};
use crate::{Metric, Origin, Recording, Target};

/// One window that has a target: what it is, and what the model made of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    /// Its place among all windows.
    pub(crate) row: usize,
    /// Its class; none where a value is asked for.
    pub(crate) is: Option<usize>,
    /// The class that a device gives it; 0 where the model has no classes.
    pub(crate) said: usize,
    /// How much it asks for attention.
    pub(crate) alarm: f32,
    /// Whether a device raises an alarm of it: by a class that is none of the normal ones, or else a score above the
    /// threshold.
    pub(crate) is_alarm: bool,
    /// Whether its class is none of the normal ones.
    pub(crate) is_faulty: bool,
    /// Of a value: what was said less what it is.
    pub(crate) error: f64,
    /// Whether the class, or for a model without classes the alarm, is right.
    pub(crate) is_right: bool,
}

/// What was drawn together: windows of one recording are alike, and those of one group nearly so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Recording,
    Group,
}

/// The answers to all windows that have a target.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) answers: Vec<Answer>,
    class_count: usize,
    /// The recording of each window, and the group.
    units: [Vec<u32>; 2],
    /// How much alike the windows of one unit are, by level.
    alike: [f64; 2],
}

/// The seed of every bootstrap: the same windows have the same interval, whatever seed the training had.
const SEED: u64 = 0x51_1CE5;

impl Table {
    pub(crate) fn of(scores: &Scores, targets: &[Target], judgement: &Judgement<'_>) -> Self {
        let class_count = judgement.labels.len();
        let is_classifier = judgement.is_classifier(scores);
        let count = targets.len().min(scores.count());
        let answers = (0..count).filter_map(|row| {
            let alarm = alarm(scores, row, &judgement.normal);
            let (said, is_alarm) = match is_classifier {
                true => {
                    let said = scores.given(row, judgement.threshold);
                    (said, !judgement.normal.contains(&said))
                }
                false => (0, alarm > judgement.threshold),
            };
            let mut answer = Answer {
                row,
                is: None,
                said,
                alarm,
                is_alarm,
                is_faulty: false,
                error: 0.0,
                is_right: true,
            };
            match targets[row] {
                Target::None => return None,
                Target::Class(class) => {
                    let class = usize::from(class);
                    answer.is = Some(class);
                    answer.is_faulty = !judgement.normal.contains(&class);
                    answer.is_right = match is_classifier {
                        true => answer.said == class,
                        false => answer.is_alarm == answer.is_faulty,
                    };
                }
                Target::Value(value) => answer.error = f64::from(scores.row(row)[0] - value),
            }
            Some(answer)
        });
        let mut table = Self {
            answers: answers.collect(),
            class_count,
            units: units(judgement.origins, judgement.recordings, targets.len()),
            alike: [0.0; 2],
        };
        table.alike = [Level::Recording, Level::Group].map(|level| table.likeness(level));
        table
    }

    /// All answers, by their place in the table.
    pub(crate) fn all(&self) -> Vec<usize> {
        (0..self.answers.len()).collect()
    }

    /// A figure of some answers.
    pub(crate) fn figure(&self, metric: Metric, members: &[usize]) -> Option<f64> {
        let (units, count) = self.numbered(members, Level::Recording);
        Sample::of(self, metric, members, &units, count).figure(None)
    }

    /// Where a figure of some answers lies: by Wilson's score for a share, else by bootstrap.
    pub(crate) fn interval(&self, metric: Metric, members: &[usize]) -> Option<Interval> {
        if metric == Metric::Accuracy {
            let right = members.iter().filter(|&&at| self.answers[at].is_right);
            let right = right.count();
            return self.share(right, members).map(|(_, interval)| interval);
        }
        let (units, count) = self.numbered(members, self.level(members));
        let sample = Sample::of(self, metric, members, &units, count);
        Interval::by_bootstrap(count, SEED, |drawn| sample.figure(Some(drawn)))
    }

    /// A share of some answers, and where it lies; nothing of no answers.
    ///
    /// Windows of one unit are alike, so that they count for fewer: for `n / (1 + (m - 1) ρ)`, with `m` the windows of
    /// the unit of a window, on average, and `ρ` how alike the right answers within a unit are.
    ///
    /// # Source
    /// L. Kish, 1965, "Survey sampling", §5.4 and §8.2; E. L. Korn and B. I. Graubard, 1998, "Confidence intervals for
    /// proportions with small expected number of positive counts estimated from survey data", for the effective number
    /// in an interval of a share.
    pub(crate) fn share(&self, count: usize, members: &[usize]) -> Option<(f32, Interval)> {
        if members.is_empty() {
            return None;
        }
        let level = self.level(members);
        let mut sizes: BTreeMap<u32, f64> = BTreeMap::new();
        for &at in members {
            *sizes.entry(self.unit(at, level)).or_default() += 1.0;
        }
        let all = members.len() as f64;
        let own = sizes.values().map(|size| size * size).sum::<f64>() / all;
        let effect = 1.0 + (own - 1.0) * self.alike[level as usize];
        let share = count as f64 / all;
        Some((share as f32, Interval::wilson(share, all / effect)))
    }

    /// How much worse these answers are than `other`'s to the same windows, and where that lies, by drawing the same units
    /// for both.
    ///
    /// `pairs` are places in this table and in the other's.
    pub(crate) fn loss(
        &self,
        other: &Self,
        metric: Metric,
        pairs: &[(usize, usize)],
    ) -> Option<Loss> {
        let (own, others): (Vec<usize>, Vec<usize>) = pairs.iter().copied().unzip();
        let (units, count) = self.numbered(&own, self.level(&own));
        let now = Sample::of(self, metric, &own, &units, count);
        let before = Sample::of(other, metric, &others, &units, count);
        let loss =
            |drawn: Option<&[f64]>| Some(metric.loss(now.figure(drawn)?, before.figure(drawn)?));
        Some(Loss {
            now: now.figure(None)? as f32,
            before: before.figure(None)? as f32,
            loss: loss(None)? as f32,
            interval: Interval::by_bootstrap(count, SEED, |drawn| loss(Some(drawn))),
        })
    }

    /// How many recordings some answers come from.
    pub(crate) fn recordings(&self, members: &[usize]) -> usize {
        self.numbered(members, Level::Recording).1
    }

    /// The unit of each of some answers, counted from 0, and how many units there are; groups where there are enough.
    pub(crate) fn units_of(&self, members: &[usize]) -> (Vec<u32>, usize) {
        self.numbered(members, self.level(members))
    }

    /// By groups where some answers are of enough of them, else by recordings.
    fn level(&self, members: &[usize]) -> Level {
        match self.numbered(members, Level::Group).1 >= UNITS_MIN {
            true => Level::Group,
            false => Level::Recording,
        }
    }

    fn unit(&self, at: usize, level: Level) -> u32 {
        self.units[level as usize][self.answers[at].row]
    }

    fn numbered(&self, members: &[usize], level: Level) -> (Vec<u32>, usize) {
        let mut numbers: BTreeMap<u32, u32> = BTreeMap::new();
        let numbered = members.iter().map(|&at| {
            let next = numbers.len() as u32;
            *numbers.entry(self.unit(at, level)).or_insert(next)
        });
        let numbered = numbered.collect();
        (numbered, numbers.len())
    }

    /// The correlation of right answers within a unit, 0 to 1, by the analysis of variance; 1 of a single unit, of which
    /// nobody can tell.
    ///
    /// # Source
    /// M. S. Ridout, C. G. B. Demétrio and D. Firth, 1999, "Estimating intraclass correlation for binary data", §2.1.
    fn likeness(&self, level: Level) -> f64 {
        let mut units: BTreeMap<u32, (f64, f64)> = BTreeMap::new();
        for (at, answer) in self.answers.iter().enumerate() {
            let (right, all) = units.entry(self.unit(at, level)).or_default();
            *right += f64::from(u8::from(answer.is_right));
            *all += 1.0;
        }
        let (count, all) = (units.len() as f64, self.answers.len() as f64);
        if units.len() < 2 {
            return 1.0;
        }
        let right: f64 = units.values().map(|(right, _)| right).sum();
        let share = right / all;
        let between = units
            .values()
            .map(|(right, all)| all * (right / all - share) * (right / all - share))
            .sum::<f64>()
            / (count - 1.0);
        let within: f64 = units
            .values()
            .map(|(right, all)| right * (1.0 - right / all))
            .sum();
        if all <= count {
            return 0.0;
        }
        let within = within / (all - count);
        let squares: f64 = units.values().map(|(_, all)| all * all).sum();
        let size = (all - squares / all) / (count - 1.0);
        let spread = between + (size - 1.0) * within;
        match spread > 0.0 {
            true => ((between - within) / spread).clamp(0.0, 1.0),
            // All right, or all wrong: nothing shows that units matter.
            false => 0.0,
        }
    }
}

/// How answers compare with those of another model to the same windows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Loss {
    pub(crate) now: f32,
    pub(crate) before: f32,
    /// Above 0 where they are worse.
    pub(crate) loss: f32,
    pub(crate) interval: Option<Interval>,
}

/// The recording and the group of each window; windows whose origin is not known stand for themselves.
fn units(origins: &[Origin], recordings: &[Recording], count: usize) -> [Vec<u32>; 2] {
    let mut groups: BTreeMap<&str, u32> = BTreeMap::new();
    let after = recordings.len() as u32;
    let by_recording: Vec<u32> = (0..count)
        .map(|row| {
            origins
                .get(row)
                .map_or(after + row as u32, |origin| origin.recording)
        })
        .collect();
    let by_group = by_recording.iter().map(|&recording| {
        match recordings.get(recording as usize) {
            Some(of) if !of.group.is_empty() => {
                let next = groups.len() as u32;
                *groups.entry(of.group.as_str()).or_insert(next)
            }
            // Without a group a recording is one of its own; the numbers of the two kinds must differ.
            _ => after + recording,
        }
    });
    let by_group = by_group.collect();
    [by_recording, by_group]
}

/// Some answers, made ready for a figure of any draw of their units.
enum Sample {
    /// Sums of each unit, of which the figure is a function.
    Sums {
        metric: Metric,
        width: usize,
        values: Vec<f64>,
    },
    /// Score, kind and unit of each answer, highest score first.
    Ranked(Vec<(f32, bool, u32)>),
}

impl Sample {
    fn of(table: &Table, metric: Metric, members: &[usize], units: &[u32], count: usize) -> Self {
        let answers = || members.iter().map(|&at| &table.answers[at]).zip(units);
        if metric == Metric::Auc {
            let mut ranked: Vec<(f32, bool, u32)> = answers()
                .filter(|(answer, _)| answer.is.is_some())
                .map(|(answer, &unit)| (answer.alarm, answer.is_faulty, unit))
                .collect();
            ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
            return Self::Ranked(ranked);
        }
        let width = match metric {
            Metric::MacroF1 => 3 * table.class_count,
            _ => 2,
        };
        let mut values = vec![0.0; count * width];
        for (answer, &unit) in answers() {
            let sums = &mut values[unit as usize * width..][..width];
            match (metric, answer.is) {
                (Metric::MacroF1, Some(is)) if is < table.class_count => {
                    sums[3 * is] += f64::from(u8::from(answer.said == is));
                    sums[3 * is + 1] += 1.0;
                    sums[3 * answer.said + 2] += 1.0;
                }
                (Metric::Rmse, None) => {
                    sums[0] += answer.error * answer.error;
                    sums[1] += 1.0;
                }
                (Metric::Accuracy, Some(_)) => {
                    sums[0] += f64::from(u8::from(answer.is_right));
                    sums[1] += 1.0;
                }
                _ => {}
            }
        }
        Self::Sums {
            metric,
            width,
            values,
        }
    }

    /// The figure of all answers, or of each unit so many times.
    fn figure(&self, drawn: Option<&[f64]>) -> Option<f64> {
        match self {
            Self::Ranked(ranked) => area(ranked, drawn),
            Self::Sums {
                metric,
                width,
                values,
            } => {
                let mut sums = vec![0.0; *width];
                for (unit, part) in values.chunks_exact((*width).max(1)).enumerate() {
                    let times = drawn.map_or(1.0, |drawn| drawn[unit]);
                    if times > 0.0 {
                        sums.iter_mut()
                            .zip(part)
                            .for_each(|(sum, value)| *sum += times * value);
                    }
                }
                figure_of_sums(*metric, &sums)
            }
        }
    }
}

fn figure_of_sums(metric: Metric, sums: &[f64]) -> Option<f64> {
    if metric == Metric::MacroF1 {
        // Over the classes that occur among these windows: one that is only said here costs those that it was said of
        // their hits, and would halve the figure of a group that has but one class.
        let f1 = sums
            .chunks_exact(3)
            .filter(|class| class[1] > 0.0)
            .map(|class| 2.0 * class[0] / (class[1] + class[2]));
        let (sum, count) = f1.fold((0.0, 0.0), |(sum, count), f1| (sum + f1, count + 1.0));
        return (count > 0.0).then(|| sum / count);
    }
    let &[sum, count] = sums else { return None };
    if count <= 0.0 {
        return None;
    }
    Some(match metric {
        Metric::Rmse => (sum / count).sqrt(),
        _ => sum / count,
    })
}

/// The chance that a faulty window scores above a normal one, ties half.
fn area(ranked: &[(f32, bool, u32)], drawn: Option<&[f64]>) -> Option<f64> {
    let times = |unit: u32| drawn.map_or(1.0, |drawn| drawn[unit as usize]);
    let (mut above, mut normals, mut area) = (0.0, 0.0, 0.0);
    for same in ranked.chunk_by(|a, b| a.0 == b.0) {
        let weight = |kind: bool| -> f64 {
            let of_kind = same.iter().filter(|answer| answer.1 == kind);
            of_kind.map(|answer| times(answer.2)).sum()
        };
        let (faulty, normal) = (weight(true), weight(false));
        area += normal * (above + faulty / 2.0);
        above += faulty;
        normals += normal;
    }
    (above > 0.0 && normals > 0.0).then(|| area / (above * normals))
}
