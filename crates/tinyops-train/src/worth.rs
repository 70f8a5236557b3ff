//! What answers cost at the project's prices, and what a model is worth against others and against none.

use serde::{Deserialize, Serialize};

use crate::interval::Interval;
use crate::spec::{ALARM, Costs, NO_ALARM};
use crate::table::{Answer, Table};
use crate::{Asked, Predictions, Target};

/// What a window costs, on average, and where that lies.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Expected {
    /// In the currency of the prices, a window.
    pub cost: f64,
    /// Where it lies; none of too few recordings.
    pub interval: Option<Interval>,
}

/// What an alarm threshold does, and what that costs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CostPoint {
    /// A window whose alarm score is above it raises an alarm.
    pub threshold: f32,
    /// Share of normal windows above it.
    pub false_alarm_rate: f64,
    /// Share of faulty windows at or below it.
    pub miss_rate: f64,
    /// What a window costs.
    #[serde(flatten)]
    pub expected: Expected,
}

/// Expected cost of a window by alarm threshold.
///
/// The alarm score is the anomaly score, or the share of all classes but the normal ones. Windows count as often as
/// `fault_share` of `[train.costs]` says that they occur, not as often as the test split has them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CostCurve {
    /// At most [`POINTS_MAX`] of them, threshold rising; the first alarms always, the last never.
    pub points: Vec<CostPoint>,
    /// The threshold of least cost, among all that tell two windows apart.
    pub cheapest: CostPoint,
    /// What the model's alarms do as a device raises them, and the threshold of the alarm score that they stand for; of three
    /// classes or more a device gives the likeliest, and no threshold stands for that.
    pub own: CostPoint,
}

/// Points of a curve at most.
pub const POINTS_MAX: usize = 41;

/// What a model is worth on its test windows: what it saves, a window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Worth {
    /// Windows that were counted.
    pub windows: usize,
    /// Recordings, or groups, that are drawn for the intervals.
    pub units: usize,
    /// What the model's answers cost.
    pub model: Expected,
    /// What the other's answers cost: a version's, or those of the constant.
    pub other: Expected,
    /// How much less the model's cost; where that lies by drawing the same units for both.
    pub gain: Expected,
}

/// What a model is worth against answering the same always.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorthOfNone {
    /// The cheapest constant answer: a class, `alarm` or `no alarm`.
    pub answer: String,
    /// What the model is worth against it.
    #[serde(flatten)]
    pub worth: Worth,
}

impl Predictions {
    /// Windows whose answers have a price: those that have a class. A value is never wrong, only off.
    #[must_use]
    pub fn priced_windows(&self) -> usize {
        let has_class = |target: &&Target| matches!(target, Target::Class(_));
        self.targets.iter().filter(has_class).count()
    }

    /// What the answers cost that a device gives: a class, or an alarm above the threshold.
    ///
    /// Nothing of a model whose windows have no class.
    #[must_use]
    pub fn expected_cost(&self, costs: &Costs) -> Option<Expected> {
        let ledger = Ledger::of(self, costs)?;
        Some(ledger.expected(&ledger.own()))
    }

    /// What the answers would cost that are cheapest by the shares, in place of those of the largest share.
    ///
    /// The answer `j` of least `Σ_i w_i · share_i · cost(i, j)`; nothing of a model without classes. `w_i` is how much more
    /// often windows of the kind of `i`, normal or faulty, are to be expected than the test split has them: shares are
    /// those of a split that is as balanced as training's.
    ///
    /// # Source
    /// C. Elkan, 2001, "The foundations of cost-sensitive learning", §1 and, for the weights, theorem 2.
    #[must_use]
    pub fn cost_by_shares(&self, costs: &Costs) -> Option<Expected> {
        let ledger = Ledger::of(self, costs)?;
        if !self.is_classifier() {
            return None;
        }
        let prices: Vec<Vec<f64>> = self
            .labels
            .iter()
            .map(|is| {
                self.labels
                    .iter()
                    .map(|said| costs.price(is, said))
                    .collect()
            })
            .collect();
        let normal = costs.normal_of(&self.labels);
        let [of_normal, of_faulty] = ledger.weights();
        let weights: Vec<f64> = (0..self.labels.len())
            .map(|class| match normal.contains(&class) {
                true => of_normal,
                false => of_faulty,
            })
            .collect();
        let cheapest = |answer: &Answer| {
            let shares = self.scores.row(answer.row);
            let risk = |said: usize| -> f64 {
                let risks = shares.iter().zip(&prices).zip(&weights);
                let risks =
                    risks.map(|((share, of), weight)| weight * f64::from(*share) * of[said]);
                risks.sum()
            };
            let said = (0..self.labels.len()).min_by(|a, b| risk(*a).total_cmp(&risk(*b)));
            ledger.price(answer, &self.labels[said.unwrap_or(0)])
        };
        Some(ledger.expected(&ledger.each(cheapest)))
    }

    /// Expected cost by alarm threshold; nothing where no class is normal or one of the two kinds is missing.
    #[must_use]
    pub fn cost_curve(&self, costs: &Costs) -> Option<CostCurve> {
        let ledger = Ledger::of(self, costs)?;
        let mut thresholds = ledger.thresholds()?;
        let cheapest = ledger.cheapest(&thresholds)?;
        let step = (thresholds.len() - 1).div_ceil(POINTS_MAX - 1).max(1);
        let last = thresholds.len() - 1;
        let mut at = 0;
        thresholds.retain(|_| {
            at += 1;
            (at - 1) % step == 0 || at - 1 == last
        });
        Some(CostCurve {
            points: thresholds
                .iter()
                .map(|&threshold| ledger.point_at(threshold))
                .collect(),
            cheapest: ledger.point_at(cheapest),
            own: ledger.own_point(),
        })
    }

    /// What one alarm threshold does; nothing where [`Predictions::cost_curve`] has nothing.
    #[must_use]
    pub fn cost_at(&self, costs: &Costs, threshold: f32) -> Option<CostPoint> {
        let ledger = Ledger::of(self, costs)?;
        ledger.thresholds()?;
        Some(ledger.point_at(threshold))
    }

    /// What the model is worth against the cheapest constant answer.
    #[must_use]
    pub fn worth_of_none(&self, costs: &Costs) -> Option<WorthOfNone> {
        let ledger = Ledger::of(self, costs)?;
        let constants: Vec<&str> = match self.is_classifier() {
            true => self.labels.iter().map(String::as_str).collect(),
            false => vec![NO_ALARM, ALARM],
        };
        let priced = constants.into_iter().map(|said| {
            let each = ledger.each(|answer| ledger.price(answer, said));
            (ledger.expected(&each).cost, said, each)
        });
        let (_, said, constant) = priced.min_by(|a, b| a.0.total_cmp(&b.0))?;
        Some(WorthOfNone {
            answer: said.to_owned(),
            worth: ledger.worth(&ledger.own(), &constant),
        })
    }

    /// What the model is worth against another version, on the windows that both were tested on; nothing where there are
    /// none.
    #[must_use]
    pub fn worth_of(&self, other: &Self, costs: &Costs) -> Option<Worth> {
        let shared = self.shared(other);
        let rows = |pairs: &[(usize, usize)], of: fn(&(usize, usize)) -> usize| {
            pairs.iter().map(of).collect::<Vec<usize>>()
        };
        let own = self.select(&rows(&shared, |pair| pair.0));
        let theirs = other.select(&rows(&shared, |pair| pair.1));
        let (ledger, before) = (Ledger::of(&own, costs)?, Ledger::of(&theirs, costs)?);
        Some(ledger.worth(&ledger.own(), &before.own()))
    }

    pub(crate) fn is_classifier(&self) -> bool {
        self.scores.width > 1 && self.scores.width == self.labels.len()
    }
}

/// The answers to windows that have a class, and what each would cost.
struct Ledger<'a> {
    of: &'a Predictions,
    costs: &'a Costs,
    answers: Vec<Answer>,
    /// The unit of each, and how many units there are.
    units: (Vec<u32>, usize),
    /// Whether the two kinds of windows count by `fault_share`.
    is_weighed: bool,
    /// What each costs without an alarm, and with one.
    quiet: Vec<f64>,
    loud: Vec<f64>,
}

/// The seed of every draw, as of slices: the same windows have the same interval.
const SEED: u64 = 0xC057;

impl<'a> Ledger<'a> {
    fn of(of: &'a Predictions, costs: &'a Costs) -> Option<Self> {
        let table: Table = of.table(costs);
        let members: Vec<usize> = (0..table.answers.len())
            .filter(|&at| table.answers[at].is.is_some())
            .collect();
        if members.is_empty() {
            return None;
        }
        let units = table.units_of(&members);
        let answers: Vec<Answer> = members.iter().map(|&at| table.answers[at]).collect();
        let faulty = answers.iter().filter(|answer| answer.is_faulty).count();
        let mut ledger = Self {
            is_weighed: !costs.normal_of(&of.labels).is_empty()
                && faulty > 0
                && faulty < answers.len(),
            of,
            costs,
            answers,
            units,
            quiet: Vec::new(),
            loud: Vec::new(),
        };
        let said = |is_alarm| move |answer: &Answer| ledger_said(of, costs, answer, is_alarm);
        ledger.quiet = ledger.each(|answer| ledger.price(answer, &said(false)(answer)));
        ledger.loud = ledger.each(|answer| ledger.price(answer, &said(true)(answer)));
        Some(ledger)
    }

    fn each(&self, price: impl Fn(&Answer) -> f64) -> Vec<f64> {
        self.answers.iter().map(price).collect()
    }

    fn price(&self, answer: &Answer, said: &str) -> f64 {
        let is = answer.is.and_then(|is| self.of.labels.get(is));
        self.costs.price(is.map_or("", String::as_str), said)
    }

    /// What the answers cost that a device gives.
    fn own(&self) -> Vec<f64> {
        match self.of.is_classifier() {
            true => self.each(|answer| self.price(answer, &self.of.labels[answer.said])),
            false => self.at(self.of.threshold),
        }
    }

    /// What the alarms of a threshold cost.
    fn at(&self, threshold: f32) -> Vec<f64> {
        let both = self.quiet.iter().zip(&self.loud).zip(&self.answers);
        both.map(|((quiet, loud), answer)| match answer.alarm > threshold {
            true => *loud,
            false => *quiet,
        })
        .collect()
    }

    /// What a window of each kind counts, normal and faulty; as much as any other where nothing says what is normal.
    fn weights(&self) -> [f64; 2] {
        if !self.is_weighed {
            return [1.0; 2];
        }
        let faulty = self
            .answers
            .iter()
            .filter(|answer| answer.is_faulty)
            .count();
        let share = f64::from(self.costs.fault_share);
        let normal = self.answers.len() - faulty;
        [(1.0 - share) / normal as f64, share / faulty as f64]
    }

    /// The threshold of least cost, of rising ones; the lowest of equals. One walk over the scores.
    fn cheapest(&self, thresholds: &[f32]) -> Option<f32> {
        let weights = self.weights();
        let mut order: Vec<usize> = (0..self.answers.len()).collect();
        order.sort_by(|&a, &b| self.answers[a].alarm.total_cmp(&self.answers[b].alarm));
        let mut rest = order.into_iter().peekable();
        // What silence saves or costs against an alarm, summed over the windows at or below the threshold.
        let mut cost = 0.0;
        let costs = thresholds.iter().map(|&threshold| {
            while let Some(at) = rest.next_if(|&at| self.answers[at].alarm <= threshold) {
                let weight = weights[usize::from(self.answers[at].is_faulty)];
                cost += weight * (self.quiet[at] - self.loud[at]);
            }
            (threshold, cost)
        });
        costs
            .min_by(|a, b| a.1.total_cmp(&b.1))
            .map(|(threshold, _)| threshold)
    }

    fn expected(&self, values: &[f64]) -> Expected {
        let mut sums = vec![[(0.0, 0.0); 2]; self.units.1];
        for ((value, answer), &unit) in values.iter().zip(&self.answers).zip(&self.units.0) {
            let of_kind =
                &mut sums[unit as usize][usize::from(self.is_weighed && answer.is_faulty)];
            of_kind.0 += value;
            of_kind.1 += 1.0;
        }
        Expected {
            cost: self.mean(&sums, None).unwrap_or(0.0),
            interval: Interval::by_bootstrap(self.units.1, SEED, |drawn| {
                self.mean(&sums, Some(drawn))
            }),
        }
    }

    /// The mean of the windows from each unit's sum and count by kind, each kind by how often it is to be expected; nothing
    /// of a draw without one of the kinds.
    fn mean(&self, sums: &[[(f64, f64); 2]], drawn: Option<&[f64]>) -> Option<f64> {
        let mut all = [(0.0, 0.0); 2];
        for (unit, of_unit) in sums.iter().enumerate() {
            let times = drawn.map_or(1.0, |drawn| drawn[unit]);
            for (sum, of_kind) in all.iter_mut().zip(of_unit) {
                sum.0 += times * of_kind.0;
                sum.1 += times * of_kind.1;
            }
        }
        let mean = |(sum, count): (f64, f64)| (count > 0.0).then(|| sum / count);
        let [normal, faulty] = all.map(mean);
        if !self.is_weighed {
            return normal;
        }
        let share = f64::from(self.costs.fault_share);
        Some((1.0 - share) * normal? + share * faulty?)
    }

    fn worth(&self, own: &[f64], other: &[f64]) -> Worth {
        let gain: Vec<f64> = own
            .iter()
            .zip(other)
            .map(|(own, other)| other - own)
            .collect();
        Worth {
            windows: self.answers.len(),
            units: self.units.1,
            model: self.expected(own),
            other: self.expected(other),
            gain: self.expected(&gain),
        }
    }

    /// What one threshold of the alarm score does.
    fn point_at(&self, threshold: f32) -> CostPoint {
        let is_alarm = |answer: &Answer| answer.alarm > threshold;
        self.point(threshold, is_alarm, &self.at(threshold))
    }

    /// What a device's alarms do.
    fn own_point(&self) -> CostPoint {
        let judgement = self.of.judgement(self.costs, Asked::default());
        let is_alarm = |answer: &Answer| answer.is_alarm;
        self.point(
            judgement.alarm_threshold(&self.of.scores),
            is_alarm,
            &self.own(),
        )
    }

    fn point(&self, threshold: f32, is_alarm: impl Fn(&Answer) -> bool, each: &[f64]) -> CostPoint {
        let rate = |of_faulty: bool, alarms: bool| {
            let of_kind = || {
                self.answers
                    .iter()
                    .filter(|answer| answer.is_faulty == of_faulty)
            };
            let counted = of_kind().filter(|answer| is_alarm(answer) == alarms);
            counted.count() as f64 / of_kind().count().max(1) as f64
        };
        CostPoint {
            threshold,
            false_alarm_rate: rate(false, true),
            miss_rate: rate(true, false),
            expected: self.expected(each),
        }
    }

    /// Thresholds between each two different scores, and beyond the first and the last, rising.
    fn thresholds(&self) -> Option<Vec<f32>> {
        if !self.is_weighed {
            return None;
        }
        let finite = self.answers.iter().map(|answer| answer.alarm);
        let mut scores: Vec<f32> = finite.filter(|score| score.is_finite()).collect();
        scores.sort_by(f32::total_cmp);
        scores.dedup();
        let (&first, &last) = scores.first().zip(scores.last())?;
        let beyond = |score: f32| score.abs().max(1e-6) * 0.01;
        let middle = scores.windows(2).map(|pair| {
            let middle = pair[0] + (pair[1] - pair[0]) / 2.0;
            // Between neighbours nothing lies: only what is above the lower one alarms.
            if middle < pair[1] { middle } else { pair[0] }
        });
        let all = [first - beyond(first)].into_iter().chain(middle);
        Some(all.chain([last + beyond(last)]).collect())
    }
}

/// What is said of a window with an alarm, or without one: the likeliest class of that kind.
fn ledger_said(of: &Predictions, costs: &Costs, answer: &Answer, is_alarm: bool) -> String {
    if !of.is_classifier() {
        return if is_alarm { ALARM } else { NO_ALARM }.to_owned();
    }
    let normal = costs.normal_of(&of.labels);
    let shares = of.scores.row(answer.row);
    let of_kind = (0..of.labels.len()).filter(|class| normal.contains(class) != is_alarm);
    // The first of equals, as on the device.
    let best = of_kind.reduce(|best, class| match shares[class] > shares[best] {
        true => class,
        false => best,
    });
    let none = if is_alarm { ALARM } else { NO_ALARM };
    best.map_or(none, |class| &of.labels[class]).to_owned()
}

#[cfg(test)]
mod tests;
