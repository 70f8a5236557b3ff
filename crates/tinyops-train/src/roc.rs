//! How well a score tells two kinds of windows apart, and where to draw the line.

use serde::{Deserialize, Serialize};

use crate::spec::Costs;

/// The trade between false alarms and hits as the threshold moves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Roc {
    /// Area under the curve: the chance that a faulty window scores above a normal one, ties half.
    pub auc: f32,
    /// `[false alarm rate, hit rate]`, rising; at most 101 of them.
    pub points: Vec<[f32; 2]>,
}

/// What a threshold does to a set of scored windows.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Operation {
    /// A window whose score is above it raises an alarm.
    pub threshold: f32,
    /// Share of normal windows above it.
    pub false_alarm_rate: f32,
    /// Share of faulty windows at or below it.
    pub miss_rate: f32,
    /// Expected cost of a window: `(1 - fault_share) · far · false_alarm + fault_share · miss_rate · miss`.
    pub expected_cost: f32,
}

impl Roc {
    /// The curve of scored windows; nothing where one of the two kinds is missing.
    pub fn of(scores: &[f32], faulty: &[bool]) -> Option<Self> {
        let cuts = cuts(scores, faulty);
        let (normals, faults) = totals(faulty);
        if normals == 0 || faults == 0 {
            return None;
        }
        let mut area = 0.0f64;
        let mut points = vec![[0.0f32, 0.0]];
        let mut last = [0.0f64; 2];
        for cut in &cuts {
            let at = [
                cut.alarms as f64 / normals as f64,
                cut.hits as f64 / faults as f64,
            ];
            area += (at[0] - last[0]) * (at[1] + last[1]) / 2.0;
            last = at;
            points.push(at.map(|x| x as f32));
        }
        let step = points.len().div_ceil(100).max(1);
        let end = points[points.len() - 1];
        let mut thinned: Vec<[f32; 2]> = points.into_iter().step_by(step).collect();
        if thinned.last() != Some(&end) {
            thinned.push(end);
        }
        Some(Self {
            auc: area as f32,
            points: thinned,
        })
    }
}

impl Operation {
    /// What these alarms do, which were raised by this threshold.
    pub fn of(threshold: f32, raised: &[bool], faulty: &[bool], costs: &Costs) -> Self {
        let (normals, faults) = totals(faulty);
        let of_kind = |kind: bool| {
            let both = raised.iter().zip(faulty);
            both.filter(|&(&raised, &faulty)| raised && faulty == kind)
                .count()
        };
        let (alarms, hits) = (of_kind(false), of_kind(true));
        Self::weighed(threshold, alarms, normals, hits, faults, costs)
    }

    /// The threshold of least expected cost; in the middle of the gap between the two scores around it.
    ///
    /// Nothing where one of the two kinds is missing.
    pub fn cheapest(scores: &[f32], faulty: &[bool], costs: &Costs) -> Option<Self> {
        let (normals, faults) = totals(faulty);
        if normals == 0 || faults == 0 {
            return None;
        }
        let all = cuts(scores, faulty);
        let top = all.first().map_or(0.0, |cut| cut.score);
        let mut best = Self::weighed(top + top.abs().max(1e-6), 0, normals, 0, faults, costs);
        for (index, cut) in all.iter().enumerate() {
            let below = all
                .get(index + 1)
                .map_or(cut.score - cut.score.abs().max(1e-6), |next| next.score);
            let threshold = below + (cut.score - below) / 2.0;
            let here = Self::weighed(threshold, cut.alarms, normals, cut.hits, faults, costs);
            if here.expected_cost < best.expected_cost {
                best = here;
            }
        }
        Some(best)
    }

    fn weighed(
        threshold: f32,
        alarms: usize,
        normals: usize,
        hits: usize,
        faults: usize,
        costs: &Costs,
    ) -> Self {
        let share = |part: usize, all: usize| {
            if all == 0 {
                0.0
            } else {
                part as f32 / all as f32
            }
        };
        let false_alarm_rate = share(alarms, normals);
        let miss_rate = share(faults - hits, faults);
        let expected_cost = (1.0 - costs.fault_share) * false_alarm_rate * costs.false_alarm
            + costs.fault_share * miss_rate * costs.miss;
        Self {
            threshold,
            false_alarm_rate,
            miss_rate,
            expected_cost,
        }
    }
}

/// How many windows of each kind score at least `score`.
struct Cut {
    score: f32,
    alarms: usize,
    hits: usize,
}

fn totals(faulty: &[bool]) -> (usize, usize) {
    let faults = faulty.iter().filter(|&&faulty| faulty).count();
    (faulty.len() - faults, faults)
}

/// One cut for each different score, highest first.
fn cuts(scores: &[f32], faulty: &[bool]) -> Vec<Cut> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    let mut cuts: Vec<Cut> = Vec::new();
    let (mut alarms, mut hits) = (0, 0);
    for index in order {
        if faulty[index] {
            hits += 1
        } else {
            alarms += 1
        }
        match cuts.last_mut() {
            Some(cut) if cut.score == scores[index] => (cut.alarms, cut.hits) = (alarms, hits),
            _ => cuts.push(Cut {
                score: scores[index],
                alarms,
                hits,
            }),
        }
    }
    cuts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_auc(scores: &[f32], faulty: &[bool], expected: f32) {
        assert!((Roc::of(scores, faulty).unwrap().auc - expected).abs() < 1e-6);
    }

    #[test]
    fn area_counts_pairs() {
        check_auc(&[1.0, 2.0, 3.0, 4.0], &[false, false, true, true], 1.0);
        check_auc(&[4.0, 3.0, 2.0, 1.0], &[false, false, true, true], 0.0);
        check_auc(&[1.0, 1.0, 1.0, 1.0], &[false, true, false, true], 0.5);
        check_auc(&[1.0, 2.0, 2.0, 3.0], &[false, false, true, true], 0.875);
        assert_eq!(Roc::of(&[1.0], &[true]), None);
    }

    #[test]
    fn costs_move_the_threshold() {
        let scores = [0.1, 0.2, 0.6, 0.4, 0.8, 0.9];
        let faulty = [false, false, false, true, true, true];
        let dear = |false_alarm, miss| Costs {
            false_alarm,
            miss,
            fault_share: 0.5,
            ..Costs::default()
        };
        let quiet = Operation::cheapest(&scores, &faulty, &dear(10.0, 1.0)).unwrap();
        assert!(quiet.threshold > 0.6 && quiet.threshold < 0.8, "{quiet:?}");
        let watchful = Operation::cheapest(&scores, &faulty, &dear(1.0, 10.0)).unwrap();
        assert!(
            watchful.threshold > 0.2 && watchful.threshold < 0.4,
            "{watchful:?}"
        );
        assert_eq!(watchful.miss_rate, 0.0);
        let raised = scores.map(|score| score > watchful.threshold);
        assert_eq!(
            Operation::of(watchful.threshold, &raised, &faulty, &dear(1.0, 10.0)),
            watchful
        );
    }
}
