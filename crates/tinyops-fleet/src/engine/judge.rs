//! What the devices of a rollout prove.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::json;
use tinyops_store::rollout::Delivery;
use tinyops_store::{Json, Timestamp};

use super::member::RESTARTS_MAX;
use super::{Member, State, Watch};
use crate::evidence::{
    Block, Tally, Value, Worse, blocks_evidence, difference_interval, mean_difference,
    rank_evidence, share_evidence, share_interval,
};
use crate::normal::normal_share;
use crate::plan::{Metric, Reward, Strategy};

/// How alike the windows of one device are: of many labelled windows, few are news.
const WINDOW_CORRELATION: f64 = 0.1;

/// First guesses of the control arm's shares, and the trials that they weigh.
const SILENCE_PRIOR: (f64, f64) = (0.02, 20.0);
const RESTARTS_PRIOR: (f64, f64) = (0.01, 20.0);
const ERROR_PRIOR: (f64, f64) = (0.1, 5.0);
const FULL_PRIOR: (f64, f64) = (0.01, 20.0);

/// Salt of the order of equal values.
const TIES: u64 = 0x7469_6573;

/// Answers that are worth a look: one in so many that were seen before.
const NEWS_PART: u32 = 20;

/// Looks that are kept; every second one is dropped when there are more.
const LOOKS_MAX: usize = 120;

/// What a metric shows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// Which metric, by its name.
    pub metric: String,
    /// The evidence that the candidate is worse: at most 1 in `1 / e_value` good releases ever shows as much.
    pub e_value: f64,
    /// The evidence that halts.
    pub limit: f64,
    /// The candidate's figure.
    pub candidate: f64,
    /// The figure that it is held against.
    pub reference: f64,
    /// Candidate less reference.
    pub effect: f64,
    /// An interval that holds the effect at every look.
    pub interval: (f64, f64),
    /// Devices with the candidate, and those that they are held against; 0 for the fleet's past.
    pub devices: (u32, u32),
    /// All of it in words.
    pub sentence: String,
}

/// The evidence at one time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Look {
    /// Devices that had answered.
    pub answered: u32,
    /// Each finding's metric, and its evidence in units of its limit.
    pub evidence: Vec<(String, f64)>,
}

impl Finding {
    /// The evidence in units of what halts.
    pub fn ratio(&self) -> f64 {
        self.e_value / self.limit
    }

    /// As a reason.
    pub fn reason(&self) -> Json {
        json!({
            "metric": self.metric, "effect": rounded(self.effect), "candidate": rounded(self.candidate),
            "reference": rounded(self.reference), "interval": [rounded(self.interval.0), rounded(self.interval.1)],
            "e_value": rounded(self.e_value), "limit": rounded(self.limit),
            "devices": self.devices.0, "of": self.devices.1, "sentence": self.sentence,
        })
    }
}

impl State {
    /// Judges anew if there is enough new, or anything at the end of a wave; answers with the reason to halt, if there
    /// is one. Evidence may be read at any time, so it need not be read at every answer of a large fleet.
    pub(super) fn judge(&mut self, is_wave_end: bool) -> Option<Json> {
        let seen = self.seen();
        let judged = &self.progress.judged;
        let is_much = |(index, now): (usize, &u32)| {
            let before = judged.get(index).copied().unwrap_or(0);
            // Failures, the first count, are few and tell most.
            let enough = if index == 0 {
                1
            } else {
                (before / NEWS_PART).max(1)
            };
            *now >= before + enough
        };
        let is_due = seen.iter().enumerate().any(is_much) || is_wave_end && seen != *judged;
        if !is_due {
            return None;
        }
        self.progress.judged = seen;
        let findings = self.findings();
        let is_answered = |m: &&Member| m.offered_at.is_some() && !m.is_unanswered();
        let answered = self.members.values().filter(is_answered).count() as u32;
        self.remember(&findings, answered);
        self.progress.findings = findings;
        let worst = self
            .progress
            .findings
            .iter()
            .max_by(|a, b| a.ratio().total_cmp(&b.ratio()));
        worst
            .filter(|finding| finding.ratio() >= 1.0 - 1e-9)
            .map(Finding::reason)
            .or_else(|| self.too_many_failures())
    }

    /// Counts that only grow by what may raise the evidence: failures, and devices that are measured to the end.
    fn seen(&self) -> Vec<u32> {
        let mut seen = vec![0; 4];
        for member in self.members.values() {
            seen[0] += u32::from(member.has_failed);
            seen[1] += u32::from(member.delivery == Delivery::Confirmed);
            if let Some(watch) = &member.watch {
                seen[2] += u32::from(watch.ended.is_some());
                seen[3] += u32::from(watch.judged_at.is_some());
            }
        }
        seen
    }

    /// The limit of a metric's evidence: those that may halt share `alpha` among them.
    fn limit(&self, metric: Metric) -> f64 {
        let all: f64 = self.plan.halt_on.iter().map(|metric| metric.weight()).sum();
        all / (self.alpha() * metric.weight())
    }

    /// The chance of halting a good model of the waves; with a shadow phase before them, each has half of the plan's.
    pub(super) fn alpha(&self) -> f64 {
        let phases = if self.plan.shadow.is_some() { 2.0 } else { 1.0 };
        self.plan.alpha.clamp(1e-9, 0.5) / phases
    }

    fn findings(&self) -> Vec<Finding> {
        let watches = Watches::of(self);
        let mut findings = Vec::new();
        for metric in &self.plan.halt_on {
            findings.extend(match metric {
                Metric::Installs => self.installs(),
                Metric::Silence => {
                    self.events(*metric, &watches.blocks(Watches::silence), SILENCE_PRIOR)
                }
                Metric::Restarts => {
                    self.events(*metric, &watches.blocks(Watches::restarts), RESTARTS_PRIOR)
                }
                Metric::Accuracy => self.events(*metric, &watches.judged_blocks(), ERROR_PRIOR),
                Metric::Confidence => {
                    self.values(*metric, &watches.values(|watch| watch.output), Worse::Lower)
                }
                Metric::Labels => self.values(
                    *metric,
                    &watches.values(|watch| watch.labels),
                    Worse::Higher,
                ),
                Metric::Latency => self.latency(&watches),
                Metric::Ram => self.ram(&watches),
                // Of two models on the same windows, which no wave has.
                Metric::Agreement => None,
            });
        }
        findings
    }

    /// Installs are held against what the fleet's releases showed before: a control device installs nothing.
    fn installs(&self) -> Option<Finding> {
        let mut exposed: Vec<(Timestamp, u64, &Member)> = self
            .members
            .iter()
            .filter_map(|(device, member)| Some((member.offered_at?, self.order(*device), member)))
            .collect();
        exposed.sort_unstable_by_key(|(at, order, _)| (*at, *order));
        let is_answered = |member: &Member| member.has_failed || !member.is_unanswered();
        let answered = exposed
            .iter()
            .filter(|(_, _, member)| is_answered(member))
            .count() as u32;
        if answered == 0 {
            return None;
        }
        let failed = exposed
            .iter()
            .filter(|(_, _, member)| member.has_failed)
            .count() as u32;
        let reference = self.progress.failure_share;
        let limit = self.limit(Metric::Installs);
        let e_value = limit
            * share_evidence(
                exposed.iter().map(|(_, _, member)| member.has_failed),
                reference,
                limit,
            );
        let share = f64::from(failed) / f64::from(answered);
        let (low, high) = share_interval(failed, answered, self.alpha());
        let sentence = format!(
            "{failed} of {answered} devices that answered did not install it: {} (from {} to {}), where {} is usual",
            percent(share),
            percent(low),
            percent(high),
            percent(reference),
        );
        Some(Finding {
            metric: Metric::Installs.word().to_owned(),
            e_value,
            limit,
            candidate: share,
            reference,
            effect: share - reference,
            interval: (low - reference, high - reference),
            devices: (answered, 0),
            sentence,
        })
    }

    fn events(&self, metric: Metric, blocks: &[Block], prior: (f64, f64)) -> Option<Finding> {
        if blocks.is_empty() {
            return None;
        }
        let sum = |arm: fn(&Block) -> Tally| {
            blocks
                .iter()
                .map(arm)
                .fold(Tally::default(), |sum, tally| Tally {
                    events: sum.events + tally.events,
                    trials: sum.trials + tally.trials,
                })
        };
        let (a, b) = (sum(|block| block.candidate), sum(|block| block.control));
        let share = |tally: Tally| tally.events / tally.trials.max(1e-9);
        let (candidate, reference) = (share(a), share(b));
        let (low, high) = difference_interval(a, b, self.alpha());
        let what = match metric {
            Metric::Silence => "of the devices that took it were not heard of again",
            Metric::Restarts => "of the devices with it restart again and again",
            _ => "of labelled windows were wrong with it",
        };
        let sentence = format!(
            "{} {what}, against {} on the control arm: {} points more (from {} to {})",
            percent(candidate),
            percent(reference),
            points(candidate - reference),
            points(low),
            points(high),
        );
        Some(Finding {
            metric: metric.word().to_owned(),
            e_value: blocks_evidence(blocks, prior),
            limit: self.limit(metric),
            candidate,
            reference,
            effect: candidate - reference,
            interval: (low, high),
            devices: (blocks.len() as u32, self.controls()),
            sentence,
        })
    }

    fn values(&self, metric: Metric, values: &[Value], worse: Worse) -> Option<Finding> {
        let (effect, interval) = mean_difference(values, self.alpha())?;
        let mean = |is_candidate: bool| {
            let of_arm = values
                .iter()
                .filter(|value| value.is_candidate == is_candidate);
            let (sum, count) =
                of_arm.fold((0.0, 0_u32), |(sum, count), v| (sum + v.value, count + 1));
            (sum / f64::from(count.max(1)), count)
        };
        let ((candidate, n), (reference, m)) = (mean(true), mean(false));
        let what = match metric {
            Metric::Labels => {
                "predicted classes lie farther from those of training than on the control arm"
            }
            _ => {
                "the model's confidence is lower than on the control arm, in standard deviations of training"
            }
        };
        let own_heads = match self.own_heads() {
            0 => String::new(),
            count => {
                format!("; reports of {count} that answered by heads of their own are left out")
            }
        };
        let sentence = format!(
            "{what}: {candidate:.2} against {reference:.2}, {effect:+.2} (from {:+.2} to {:+.2}), on {n} devices against \
             {m}{own_heads}",
            interval.0, interval.1,
        );
        Some(Finding {
            metric: metric.word().to_owned(),
            e_value: rank_evidence(values, worse),
            limit: self.limit(metric),
            candidate,
            reference,
            effect,
            interval,
            devices: (n, m),
            sentence,
        })
    }

    fn latency(&self, watches: &Watches<'_>) -> Option<Finding> {
        let values = watches.values(|watch| watch.latency);
        let margin = self.plan.latency_margin;
        let (ratio, finding) = self.ratio(Metric::Latency, &values, margin)?;
        let sentence = format!(
            "a window takes {} with it, against {} on the control arm: {ratio}, where {} more is allowed",
            time(finding.candidate),
            time(finding.reference),
            percent(margin),
        );
        Some(Finding {
            sentence,
            ..finding
        })
    }

    /// Memory is held against the control arm's by its ratio, and by how many devices use almost all of theirs; each has
    /// half a stake.
    fn ram(&self, watches: &Watches<'_>) -> Option<Finding> {
        let most = self.plan.ram_share_max;
        let is_full = |watch: &Watch| {
            let (sum, count) = watch.ram;
            count > 0 && (sum / f64::from(count)).exp() > most
        };
        let blocks = watches.blocks(is_full);
        let values = watches.values(|watch| watch.ram);
        let margin = self.plan.ram_margin;
        let (ratio, finding) = self.ratio(Metric::Ram, &values, margin)?;
        let full = |arm: fn(&Block) -> Tally| -> f64 {
            blocks.iter().map(|block| arm(block).events).sum()
        };
        let sentence = format!(
            "devices use {} of their memory with it, against {} on the control arm: {ratio}, where {} more is allowed; \
             {} of them more than {}, and {} of the control arm's",
            percent(finding.candidate),
            percent(finding.reference),
            percent(margin),
            full(|block| block.candidate),
            percent(most),
            full(|block| block.control),
        );
        Some(Finding {
            e_value: (finding.e_value + blocks_evidence(&blocks, FULL_PRIOR)) / 2.0,
            sentence,
            ..finding
        })
    }

    /// Holds the ratio of the arms' geometric means against one more than a margin, from values that are logarithms;
    /// answers with the ratio in words, and the finding without its sentence. The ranks are those of candidates that
    /// have been let off the margin, so no law of the values is assumed; boards differ, so each stratum is compared
    /// within itself.
    fn ratio(&self, metric: Metric, values: &[Value], margin: f64) -> Option<(String, Finding)> {
        let level = control_levels(values);
        let above: Vec<Value> = values
            .iter()
            .filter_map(|value| {
                let level = level.get(&value.stratum)?;
                let value = Value {
                    value: value.value - level,
                    ..*value
                };
                Some(value)
            })
            .collect();
        let (effect, interval) = mean_difference(&above, self.alpha())?;
        let let_off = |value: &Value| Value {
            value: match value.is_candidate {
                true => value.value - margin.ln_1p(),
                false => value.value,
            },
            ..*value
        };
        let held: Vec<Value> = values.iter().map(let_off).collect();
        let of_controls = values.iter().filter(|value| !value.is_candidate);
        let m = of_controls.clone().count();
        let n = values.len() - m;
        let mean = of_controls.map(|value| value.value).sum::<f64>() / m.max(1) as f64;
        let more = |ln: f64| ln.exp_m1();
        let words = format!(
            "{:+.1} % (from {:+.1} to {:+.1}), on {n} devices against {m}",
            more(effect) * 100.0,
            more(interval.0) * 100.0,
            more(interval.1) * 100.0,
        );
        let finding = Finding {
            metric: metric.word().to_owned(),
            e_value: rank_evidence(&held, Worse::Higher),
            limit: self.limit(metric),
            candidate: (mean + effect).exp(),
            reference: mean.exp(),
            effect: more(effect),
            interval: (more(interval.0), more(interval.1)),
            devices: (n as u32, m as u32),
            sentence: String::new(),
        };
        Some((words, finding))
    }

    /// Devices of both arms of which a head of their own has answered.
    fn own_heads(&self) -> usize {
        let watches = self.members.values().filter_map(|m| m.watch.as_ref());
        watches.filter(|watch| watch.own_head > 0).count()
    }

    fn controls(&self) -> u32 {
        let is_control = |watch: &&Watch| !watch.is_candidate;
        self.members
            .values()
            .filter_map(|member| member.watch.as_ref())
            .filter(is_control)
            .count() as u32
    }

    /// A bare limit for small fleets: more than a share of those due failed, of at least two if others may still
    /// answer.
    fn too_many_failures(&self) -> Option<Json> {
        let (mut failed, mut due, mut answered) = (0_u32, 0_u32, 0_u32);
        for member in self
            .members
            .values()
            .filter(|member| member.offered_at.is_some())
        {
            failed += u32::from(matches!(
                member.delivery,
                Delivery::Failed | Delivery::Reverted | Delivery::Silent
            ));
            due += 1;
            answered += u32::from(!member.is_unanswered());
        }
        let share = f64::from(failed) / f64::from(due.max(1));
        let limit = self.plan.failure_share_max;
        let is_too_many = share > limit && (failed >= 2 || failed > 0 && answered == due);
        is_too_many.then(|| {
            json!({
                "metric": "share of devices in trouble", "effect": rounded(share), "limit": limit,
                "devices": failed, "of": due,
                "sentence": format!("{failed} of {due} devices failed, went back or fell silent: more than {}", percent(limit)),
            })
        })
    }

    /// Notes how the evidence stood when so many devices had answered.
    pub(super) fn remember(&mut self, findings: &[Finding], answered: u32) {
        let looks = &mut self.progress.looks;
        if looks.last().is_some_and(|last| last.answered == answered) {
            looks.pop();
        }
        if looks.len() >= LOOKS_MAX {
            let mut index = 0;
            looks.retain(|_| {
                index += 1;
                index % 2 == 0
            });
        }
        looks.push(Look {
            answered,
            evidence: findings
                .iter()
                .map(|finding| (finding.metric.clone(), rounded(finding.ratio())))
                .collect(),
        });
    }

    /// Whether an A/B test or a bandit has its answer: go on with the candidate, or go back. A bandit's share
    /// moves meanwhile.
    pub(super) fn settle_contest(&mut self, now: Timestamp) -> Option<Result<Json, Json>> {
        let (reward, within_ms) = self.plan.strategy.contest()?;
        if self.is_last_wave() {
            return None;
        }
        let watches = Watches::of(self);
        let values = match reward {
            Reward::Accuracy => watches.accuracies(),
            Reward::Confidence => watches.values(|watch| watch.output),
        };
        // Either way may be the answer, so each has half of the chance of error.
        let limit = 2.0 / self.alpha();
        let better = rank_evidence(&values, Worse::Higher);
        let worse = rank_evidence(&values, Worse::Lower);
        let difference = mean_difference(&values, self.alpha());
        let name = match reward {
            Reward::Accuracy => "accuracy",
            Reward::Confidence => "confidence",
        };
        let answer = |word: &str, e_value: f64| {
            let (effect, interval) = difference.unwrap_or_default();
            json!({
                "metric": format!("reward: {name}"), "effect": rounded(effect),
                "interval": [rounded(interval.0), rounded(interval.1)], "e_value": rounded(e_value),
                "limit": limit, "devices": values.len(),
                "sentence": format!(
                    "the candidate's {name} {word}: {effect:+.3} (from {:+.3} to {:+.3}) on {} devices",
                    interval.0, interval.1, values.len(),
                ),
            })
        };
        if better >= limit {
            return Some(Ok(answer("is better than the control arm's", better)));
        }
        if worse >= limit {
            return Some(Err(answer("is worse than the control arm's", worse)));
        }
        if now.0 - self.progress.wave_at_ms >= within_ms {
            return Some(Err(answer(
                "is not shown to differ from the control arm's in time",
                better.max(worse),
            )));
        }
        if let Strategy::Bandit { floor, .. } = self.plan.strategy {
            let chance = chance_of_better(&values).clamp(floor, 1.0 - floor);
            // Devices are not moved to and fro for a chance that trembles.
            if (chance - self.progress.share).abs() > 0.05 {
                self.progress.share = chance;
            }
        }
        None
    }
}

/// The chance that the candidate's mean is the higher one, from normal laws of the two means around a common prior
/// that weighs as much as two devices.
fn chance_of_better(values: &[Value]) -> f64 {
    let moments = |is_candidate: bool| {
        let of_arm: Vec<f64> = values
            .iter()
            .filter(|value| value.is_candidate == is_candidate)
            .map(|value| value.value)
            .collect();
        (of_arm.len() as f64, of_arm.iter().sum::<f64>())
    };
    if values.len() < 4 {
        return 0.5;
    }
    let all = values.iter().map(|value| value.value).sum::<f64>() / values.len() as f64;
    let variance = values
        .iter()
        .map(|value| (value.value - all).powi(2))
        .sum::<f64>()
        / (values.len() - 1) as f64;
    const PRIOR: f64 = 2.0;
    let ((n, a), (m, b)) = (moments(true), moments(false));
    let mean = |count: f64, sum: f64| (sum + PRIOR * all) / (count + PRIOR);
    let spread = variance * (1.0 / (n + PRIOR) + 1.0 / (m + PRIOR));
    normal_share((mean(n, a) - mean(m, b)) / spread.max(1e-12).sqrt())
}

/// The measured devices: candidates with the controls beside them.
struct Watches<'a> {
    by_candidate: BTreeMap<u64, (Option<&'a Watch>, Vec<&'a Watch>)>,
    /// With what orders equal values and times, and the stratum.
    all: Vec<(u64, u32, &'a Watch)>,
}

impl<'a> Watches<'a> {
    fn of(state: &'a State) -> Watches<'a> {
        let mut strata: BTreeMap<&str, u32> = BTreeMap::new();
        let mut watches = Watches {
            by_candidate: BTreeMap::new(),
            all: Vec::new(),
        };
        for (device, member) in &state.members {
            let Some(watch) = &member.watch else { continue };
            let next = strata.len() as u32;
            let stratum = *strata.entry(&member.stratum).or_insert(next);
            // Devices are chosen by one hash, equal values ordered by another and equal times by a third: with one
            // for two of these, equal values would tell the arms apart.
            let tie = super::mix(state.order(*device) ^ TIES);
            watches.all.push((tie, stratum, watch));
            if watch.is_candidate {
                watches.by_candidate.entry(device.0).or_default().0 = Some(watch);
            } else {
                watches
                    .by_candidate
                    .entry(watch.beside)
                    .or_default()
                    .1
                    .push(watch);
            }
        }
        watches
    }

    fn silence(watch: &Watch) -> bool {
        watch.dark
    }

    fn restarts(watch: &Watch) -> bool {
        watch.restarts >= RESTARTS_MAX
    }

    /// Blocks that are measured to the end, in the order in which they were: a candidate, and those of its controls
    /// that were heard before its own measurement ended.
    fn blocks(&self, event: impl Fn(&Watch) -> bool) -> Vec<Block> {
        let mut blocks = Vec::new();
        for (device, (candidate, controls)) in &self.by_candidate {
            let Some((candidate, ended)) = candidate.and_then(|c| Some((c, c.ended?))) else {
                continue;
            };
            let is_beside = |control: &&&Watch| control.since.is_some_and(|since| since <= ended);
            let beside: Vec<&Watch> = controls.iter().filter(is_beside).copied().collect();
            let last = beside
                .iter()
                .map(|control| control.ended)
                .collect::<Option<Vec<i64>>>();
            let Some(last) = last.and_then(|ends| ends.into_iter().max()) else {
                continue;
            };
            let tally = |watches: &[&Watch]| Tally {
                events: watches.iter().filter(|watch| event(watch)).count() as f64,
                trials: watches.len() as f64,
            };
            let block = Block {
                candidate: tally(&[candidate]),
                control: tally(&beside),
            };
            blocks.push(((ended.max(last), *device), block));
        }
        in_order(blocks)
    }

    /// Blocks of labelled windows: complete once the candidate and one control have enough of them.
    fn judged_blocks(&self) -> Vec<Block> {
        let tally = |watch: &Watch| {
            let (right, judged) = (watch.judged.0 as f64, watch.judged.1 as f64);
            let news = 1.0 / (1.0 + (judged - 1.0) * WINDOW_CORRELATION);
            Tally {
                events: (judged - right) * news,
                trials: judged * news,
            }
        };
        let mut blocks = Vec::new();
        for (device, (candidate, controls)) in &self.by_candidate {
            let judged = |watch: &&&Watch| watch.judged_at.is_some();
            let Some((candidate, candidate_at)) = candidate.and_then(|c| Some((c, c.judged_at?)))
            else {
                continue;
            };
            let Some(first) = controls
                .iter()
                .filter(judged)
                .filter_map(|c| c.judged_at)
                .min()
            else {
                continue;
            };
            let end = candidate_at.max(first);
            let sum = controls
                .iter()
                .filter(|control| control.judged_at.is_some_and(|at| at <= end))
                .map(|control| tally(control))
                .fold(Tally::default(), |sum, tally| Tally {
                    events: sum.events + tally.events,
                    trials: sum.trials + tally.trials,
                });
            blocks.push((
                (end, *device),
                Block {
                    candidate: tally(candidate),
                    control: sum,
                },
            ));
        }
        in_order(blocks)
    }

    /// One value of each device that is measured to the end and was heard to it, in the order in which they were.
    fn values(&self, of: fn(&Watch) -> (f64, u32)) -> Vec<Value> {
        let mut values = Vec::new();
        for (tie, stratum, watch) in &self.all {
            let (sum, count) = of(watch);
            let Some(ended) = watch.ended.filter(|_| count > 0 && !watch.dark) else {
                continue;
            };
            let value = Value {
                stratum: *stratum,
                is_candidate: watch.is_candidate,
                value: sum / f64::from(count),
                tie: *tie,
            };
            values.push(((ended, super::mix(*tie)), value));
        }
        in_order(values)
    }

    fn accuracies(&self) -> Vec<Value> {
        let mut values = Vec::new();
        for (tie, stratum, watch) in &self.all {
            let Some(at) = watch.judged_at else { continue };
            let value = Value {
                stratum: *stratum,
                is_candidate: watch.is_candidate,
                value: watch.judged.0 as f64 / watch.judged.1.max(1) as f64,
                tie: *tie,
            };
            values.push(((at, super::mix(*tie)), value));
        }
        in_order(values)
    }
}

fn in_order<T>(mut items: Vec<((i64, u64), T)>) -> Vec<T> {
    items.sort_by_key(|(key, _)| *key);
    items.into_iter().map(|(_, item)| item).collect()
}

/// The mean of the control arm in each stratum that has one.
fn control_levels(values: &[Value]) -> BTreeMap<u32, f64> {
    let mut sums: BTreeMap<u32, (f64, f64)> = BTreeMap::new();
    for value in values.iter().filter(|value| !value.is_candidate) {
        let (sum, count) = sums.entry(value.stratum).or_default();
        *sum += value.value;
        *count += 1.0;
    }
    let mean = |(stratum, (sum, count))| (stratum, sum / count);
    sums.into_iter().map(mean).collect()
}

/// A time in the unit that a person would use, from microseconds.
fn time(micros: f64) -> String {
    match micros {
        ..1e3 => format!("{micros:.0} µs"),
        ..1e6 => format!("{:.2} ms", micros / 1e3),
        _ => format!("{:.2} s", micros / 1e6),
    }
}

pub(super) fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

pub(super) fn points(share: f64) -> String {
    format!("{:+.1}", share * 100.0)
}

pub(super) fn rounded(value: f64) -> f64 {
    (value * 10_000.0).round() / 10_000.0
}
