//! The shadow phase: devices score their windows with the candidate too, nobody installs it, and both are held against
//! each other window by window.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::json;
use tinyops_store::rollout::Delivery;
use tinyops_store::{DeviceId, Json, ModelId, Timestamp};

use super::judge::{percent, points, rounded};
use super::member::Sample;
use super::{Action, Finding, Member, State, mix};
use crate::evidence::{mean_interval, paired_evidence, share_evidence, share_interval};
use crate::plan::{Metric, Plan, Shadow};

/// How much less sure a candidate may be than the model that runs, in standard deviations of training: those of two
/// trainings are not the same.
const CONFIDENCE_MARGIN: f64 = 0.25;

/// How much farther its predicted classes may lie from those of training.
const LABELS_MARGIN: f64 = 0.1;

/// Labelled windows, in those of one device, that the bare limit on accuracy needs.
const BARE_JUDGED: u32 = 5;

/// Salt of the order of values that came at the same time.
const TIES: u64 = 0x7368_6164;

/// What a candidate did beside the model that a device runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Beside {
    /// Windows that it was to score.
    pub wanted: u16,
    /// When the device said that it has it, and scores with it.
    pub since: Option<i64>,
    /// Windows that both scored.
    pub windows: u64,
    /// Of these, those of which both said the same.
    pub agreed: u64,
    /// Windows that the candidate could not score.
    pub failed: u64,
    /// Labelled windows that both had right, only the model that runs, only the candidate, and neither.
    pub pairs: [u64; 4],
    /// What the first labelled windows showed, once there were enough.
    pub judged: Option<Judged>,
    /// Sum of the candidate's less the other's mean deviations of the output, and of how many reports.
    pub output: (f64, u32),
    /// The same of the distances of the predicted classes from training's.
    pub labels: (f64, u32),
    /// The same of the logarithms of the mean times that a window took.
    pub latency: (f64, u32),
    /// Sum of the logarithms of the candidate's mean times, in microseconds, and of how many reports.
    pub micros: (f64, u32),
    /// Greatest share of its memory that the device used.
    pub ram: f64,
    /// What the model that runs said in the report that came last.
    pub active: Option<Active>,
    /// When it had scored all its windows.
    pub ended: Option<i64>,
}

/// Labelled windows of one device, counted once.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    /// When there were enough.
    pub at: i64,
    /// Of those that only one had right: the share that the candidate had, less the other's.
    pub won: f64,
    /// Share that the candidate had right, less that of the model that runs.
    pub gain: f64,
}

/// A report of the model that runs, as far as a candidate's is held against it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Active {
    output: Option<f64>,
    labels: Option<f64>,
    latency: Option<f64>,
}

/// What a shadow report says.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Said {
    /// Whether the candidate has scored all its windows.
    pub is_over: bool,
    /// Windows that both scored, those of which both said the same, and those that the candidate could not score.
    pub windows: [u16; 3],
    /// Labelled windows: both right, only the model that runs, only the candidate, neither.
    pub pairs: [u16; 4],
    /// The candidate's output, classes and costs.
    pub sample: Sample,
}

/// What all devices of the phase showed together.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tally {
    /// Devices of the rollout.
    pub devices: u32,
    /// Those whose firmware can score with two models, and that run one.
    pub can: u32,
    /// Those that were told to.
    pub told: u32,
    /// Those that do, or did.
    pub scoring: u32,
    /// Those that have scored all their windows.
    pub done: u32,
    /// Those that could not take the candidate, or let it go.
    pub failed: u32,
    /// Windows that both models scored.
    pub windows: u64,
    /// Share of which they said the same.
    pub agreement: Option<f64>,
    /// Windows that the candidate could not score.
    pub unscored: u64,
    /// Labelled windows that both had right, only the model that runs, only the candidate, and neither.
    pub pairs: [u64; 4],
    /// Share of the labelled windows that the model that runs had right, and the candidate.
    pub accuracy: Option<(f64, f64)>,
    /// Mean over devices of what the candidate had right more, with an interval that holds it at every look.
    pub gain: Option<(f64, (f64, f64))>,
    /// Mean time that a window took the candidate, in microseconds.
    pub micros: Option<f64>,
    /// Greatest share of its memory that any device used.
    pub ram: Option<f64>,
}

impl Beside {
    pub(super) fn of(shadow: &Shadow) -> Beside {
        Beside {
            wanted: shadow.windows,
            ..Beside::default()
        }
    }

    /// Notes a report of the model that runs.
    pub(super) fn hear_active(&mut self, sample: &Sample) {
        self.active = Some(Active {
            output: sample.output,
            labels: sample.label_distance,
            latency: sample.ln_latency,
        });
    }

    /// Notes what the candidate said of the same windows.
    pub(super) fn hear(&mut self, plan: &Plan, said: &Said, now: Timestamp) {
        self.since.get_or_insert(now.0);
        let [windows, agreed, failed] = said.windows.map(u64::from);
        self.windows += windows;
        self.agreed += agreed;
        self.failed += failed;
        for (sum, count) in self.pairs.iter_mut().zip(said.pairs) {
            *sum += u64::from(count);
        }
        let judged: u64 = self.pairs.iter().sum();
        if self.judged.is_none() && judged >= u64::from(plan.judged_min.max(1)) {
            let [_, lost, won, _] = self.pairs.map(|count| count as f64);
            self.judged = Some(Judged {
                at: now.0,
                won: (won - lost) / (won + lost).max(1.0),
                gain: (won - lost) / judged as f64,
            });
        }
        let sample = &said.sample;
        if let Some(active) = self.active.take().filter(|_| windows > 0) {
            for (sum, candidate, other) in [
                (&mut self.output, sample.output, active.output),
                (&mut self.labels, sample.label_distance, active.labels),
                (&mut self.latency, sample.ln_latency, active.latency),
            ] {
                let difference = candidate.zip(other).map(|(a, b)| a - b);
                if let Some(difference) = difference.filter(|value| value.is_finite()) {
                    sum.0 += difference;
                    sum.1 += 1;
                }
            }
        }
        if let Some(ln) = sample.ln_latency.filter(|ln| ln.is_finite()) {
            self.micros.0 += ln;
            self.micros.1 += 1;
        }
        if let Some(ln) = sample.ln_ram.filter(|ln| ln.is_finite()) {
            self.ram = self.ram.max(ln.exp());
        }
        if said.is_over || self.windows + self.failed >= u64::from(self.wanted) {
            self.ended.get_or_insert(now.0);
        }
    }

    /// Share of windows of which the two did not say the same.
    fn disagreement(&self) -> f64 {
        let all = self.windows + self.failed;
        (all - self.agreed.min(all)) as f64 / all.max(1) as f64
    }
}

/// What a device that is told to score with a candidate answers, if it is no answer of the candidate's.
pub(super) fn is_unable(reason: &str) -> bool {
    // It takes other windows, or somebody has told the device to let it go: neither says that it is bad.
    matches!(reason, "window" | "commanded")
}

impl State {
    /// Whether devices score windows with the candidate, and none may install it yet.
    pub fn is_shadowing(&self) -> bool {
        self.plan.shadow.is_some() && !self.progress.is_shadowed
    }

    /// The phase goes on: judged, ended, and told to those that are still to score.
    pub(super) fn tick_shadow(&mut self, shadow: &Shadow, now: Timestamp) -> Vec<Action> {
        let tally = self.shadow_tally();
        let end = self.shadow_end(shadow, &tally, now);
        let reason = self.judge_shadow(shadow, &tally, end.is_some(), now);
        self.progress.shadow = Some(tally);
        if let Some(reason) = reason {
            return self.halt(reason, now);
        }
        match end {
            Some(Ok(reason)) => {
                self.end_shadow(now);
                vec![Action::Advance { wave: 0, reason }]
            }
            Some(Err(reason)) => self.halt(reason, now),
            None => self.tell_shadows(shadow, now),
        }
    }

    /// Whether the phase is over: well, or not; `None` while it goes on.
    fn shadow_end(
        &self,
        shadow: &Shadow,
        tally: &Tally,
        now: Timestamp,
    ) -> Option<Result<Json, Json>> {
        let well = |why: &str| {
            let agreement = tally.agreement.map(|share| {
                format!(
                    "; they agree on {} of {} windows",
                    percent(share),
                    tally.windows
                )
            });
            let why = format!("{why}{}", agreement.unwrap_or_default());
            json!({ "why": why, "phase": "shadow", "scored": tally.done, "of": tally.told })
        };
        if tally.can == 0 && tally.told == 0 {
            let why = "no device can score windows with two models: the first wave begins";
            return Some(Ok(well(why)));
        }
        let is_late = now.0 - self.progress.wave_at_ms >= shadow.within_ms;
        let quotas = self.shadow_quotas(shadow);
        let (quota, told) = quotas
            .values()
            .fold((0, 0), |sum, (quota, told)| (sum.0 + quota, sum.1 + told));
        let is_everyone = told >= quota && !self.awaits_shadows();
        if !is_everyone && !is_late {
            return None;
        }
        match (is_everyone, tally.windows, tally.failed) {
            (true, 1.., _) => Some(Ok(well(
                "every device that could has scored its windows with both models",
            ))),
            (false, 1.., _) => Some(Ok(well(
                "the devices that answered have scored windows with both models",
            ))),
            (_, 0, 1..) => Some(Err(json!({
                "metric": "shadow", "effect": 0, "devices": tally.failed, "of": tally.told, "phase": "shadow",
                "sentence": format!("none of {} devices that were told to score windows with it did", tally.told),
            }))),
            (true, 0, 0) => Some(Ok(well(
                "no device is left that could score windows with it",
            ))),
            (false, 0, 0) => None,
        }
    }

    /// Nobody scores with the candidate any more for this rollout; those that have it keep it, for their wave.
    fn end_shadow(&mut self, now: Timestamp) {
        self.progress.is_shadowed = true;
        self.progress.wave_at_ms = now.0;
        self.progress.shadow_findings = std::mem::take(&mut self.progress.findings);
        self.progress.judged.clear();
        self.progress.looks.clear();
        for member in self.members.values_mut() {
            if member.delivery == Delivery::Shadowing {
                member.go(Delivery::Control, None, now);
            }
        }
    }

    /// Of each stratum, how many should score with the candidate, and how many do or did. Those that have it from
    /// elsewhere cannot any more.
    fn shadow_quotas(&self, shadow: &Shadow) -> BTreeMap<&str, (usize, usize)> {
        let mut strata: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
        for member in self.members.values() {
            let is_told = member.shadow.is_some() && member.delivery != Delivery::Left;
            if is_told || member.may_be_told_to_score() {
                let (able, told) = strata.entry(&member.stratum).or_default();
                *able += 1;
                *told += usize::from(member.shadow.is_some());
            }
        }
        for (able, _) in strata.values_mut() {
            *able = (*able as f64 * shadow.share - 1e-9).ceil().max(1.0) as usize;
        }
        strata
    }

    /// Whether a device that was told to score windows may still do so.
    fn awaits_shadows(&self) -> bool {
        self.members.values().any(|member| {
            let is_scoring = |beside: &Beside| beside.ended.is_none();
            member.delivery == Delivery::Shadowing
                && !member.has_failed
                && member.shadow.as_ref().is_some_and(is_scoring)
        })
    }

    fn tell_shadows(&mut self, shadow: &Shadow, now: Timestamp) -> Vec<Action> {
        let mut lacking: BTreeMap<String, usize> = self
            .shadow_quotas(shadow)
            .into_iter()
            .map(|(stratum, (quota, told))| (stratum.to_owned(), quota.saturating_sub(told)))
            .collect();
        let mut next: Vec<(u64, DeviceId)> = self
            .members
            .iter()
            .filter(|(_, member)| member.may_be_told_to_score())
            .map(|(device, _)| (self.order(*device), *device))
            .collect();
        next.sort_unstable();
        let mut actions = Vec::new();
        for (_, device) in next {
            let Some(member) = self.members.get_mut(&device) else {
                continue;
            };
            let Some(left) = lacking.get_mut(&member.stratum).filter(|left| **left > 0) else {
                continue;
            };
            *left -= 1;
            let capsule = member.capsule;
            member.go(Delivery::Shadowing, None, now);
            member.shadow = Some(Beside::of(shadow));
            actions.push(Action::Shadow { device, capsule });
        }
        actions
    }

    /// Judges anew if there is anything new; answers with the reason to stop, if there is one.
    fn judge_shadow(
        &mut self,
        shadow: &Shadow,
        tally: &Tally,
        is_end: bool,
        now: Timestamp,
    ) -> Option<Json> {
        let mut seen = vec![0; 3];
        for member in self.members.values() {
            if let Some(beside) = &member.shadow {
                seen[0] += u32::from(member.has_failed);
                seen[1] += u32::from(beside.since.is_some()) + u32::from(beside.ended.is_some());
                seen[2] += u32::from(beside.judged.is_some());
            }
        }
        if seen == self.progress.judged && !is_end {
            return None;
        }
        self.progress.judged = seen;
        let findings = self.shadow_findings(shadow, tally, is_end, now);
        self.remember(&findings, tally.done);
        self.progress.findings = findings;
        let worst = self
            .progress
            .findings
            .iter()
            .max_by(|a, b| a.ratio().total_cmp(&b.ratio()))
            .filter(|finding| finding.ratio() >= 1.0 - 1e-9)
            .map(Finding::reason);
        let reason = worst.or_else(|| self.beyond_bare_limits(shadow, tally, is_end));
        reason.map(|mut reason| {
            reason["phase"] = json!("shadow");
            reason
        })
    }

    fn shadow_limit(&self, metric: Metric) -> f64 {
        let all: f64 = self.plan.halt_on.iter().map(|m| m.shadow_weight()).sum();
        all / (self.alpha() * metric.shadow_weight())
    }

    fn shadow_findings(
        &self,
        shadow: &Shadow,
        tally: &Tally,
        is_end: bool,
        now: Timestamp,
    ) -> Vec<Finding> {
        let scored = self.scored(is_end, now);
        let mut findings = Vec::new();
        for metric in &self.plan.halt_on {
            findings.extend(match metric {
                Metric::Installs => self.shadow_installs(),
                Metric::Accuracy => self.shadow_accuracy(tally),
                Metric::Agreement => self.agreement(shadow, &scored),
                Metric::Confidence => self.shift(*metric, &scored, |beside| beside.output),
                Metric::Labels => self.shift(*metric, &scored, |beside| beside.labels),
                Metric::Latency => self.shift(*metric, &scored, |beside| beside.latency),
                // Both models work in the same memory, and nobody else does.
                Metric::Ram | Metric::Silence | Metric::Restarts => None,
            });
        }
        findings
    }

    /// Devices that have scored all their windows, in the order in which they had; at the end, all that scored any.
    fn scored(&self, is_end: bool, now: Timestamp) -> Vec<&Beside> {
        let mut scored: Vec<(i64, u64, &Beside)> = Vec::new();
        for (device, member) in &self.members {
            let Some(beside) = &member.shadow else {
                continue;
            };
            let at_end = (is_end && beside.windows + beside.failed > 0).then_some(now.0);
            if let Some(ended) = beside.ended.or(at_end) {
                scored.push((ended, mix(self.order(*device) ^ TIES), beside));
            }
        }
        scored.sort_unstable_by_key(|(ended, order, _)| (*ended, *order));
        scored.into_iter().map(|(_, _, beside)| beside).collect()
    }

    /// Devices that took the candidate to score with it, or refused it, or let it go.
    fn shadow_installs(&self) -> Option<Finding> {
        let mut told: Vec<(u64, &Member)> = self
            .members
            .iter()
            .filter(|(_, member)| member.shadow.is_some())
            .map(|(device, member)| (self.order(*device), member))
            .collect();
        told.sort_unstable_by_key(|(order, _)| *order);
        let is_answered = |member: &Member| {
            member.has_failed || member.shadow.as_ref().is_some_and(|b| b.since.is_some())
        };
        let answered = told.iter().filter(|(_, m)| is_answered(m)).count() as u32;
        if answered == 0 {
            return None;
        }
        let failed = told.iter().filter(|(_, member)| member.has_failed).count() as u32;
        let (reference, limit) = (
            self.progress.failure_share,
            self.shadow_limit(Metric::Installs),
        );
        let outcomes = told.iter().map(|(_, member)| member.has_failed);
        let share = f64::from(failed) / f64::from(answered);
        let (low, high) = share_interval(failed, answered, self.alpha());
        Some(Finding {
            metric: name(Metric::Installs),
            e_value: limit * share_evidence(outcomes, reference, limit),
            limit,
            candidate: share,
            reference,
            effect: share - reference,
            interval: (low - reference, high - reference),
            devices: (answered, 0),
            sentence: format!(
                "{failed} of {answered} devices could not score with it: {} (from {} to {}), where {} is usual",
                percent(share),
                percent(low),
                percent(high),
                percent(reference),
            ),
        })
    }

    fn shadow_accuracy(&self, tally: &Tally) -> Option<Finding> {
        let mut judged: Vec<(i64, u64, Judged)> = Vec::new();
        for (device, member) in &self.members {
            if let Some(found) = member.shadow.as_ref().and_then(|beside| beside.judged) {
                judged.push((found.at, mix(self.order(*device) ^ TIES), found));
            }
        }
        if judged.is_empty() {
            return None;
        }
        judged.sort_unstable_by_key(|(at, order, _)| (*at, *order));
        let (active, candidate) = tally.accuracy?;
        let [_, lost, won, _] = tally.pairs;
        let (effect, interval) = tally.gain.unwrap_or((candidate - active, (-1.0, 1.0)));
        Some(Finding {
            metric: name(Metric::Accuracy),
            e_value: paired_evidence(judged.iter().map(|(_, _, judged)| judged.won)),
            limit: self.shadow_limit(Metric::Accuracy),
            candidate,
            reference: active,
            effect,
            interval,
            devices: (judged.len() as u32, judged.len() as u32),
            sentence: format!(
                "of the same labelled windows it has {} right, the model that runs {}: {} points (from {} to {}), on {} \
                 devices; only it was right {won} times, only the other {lost}",
                percent(candidate),
                percent(active),
                points(effect),
                points(interval.0),
                points(interval.1),
                judged.len(),
            ),
        })
    }

    /// Mean over devices of what the candidate had right more, with its interval.
    fn gain(&self) -> Option<(f64, (f64, f64))> {
        let judged = self
            .members
            .values()
            .filter_map(|m| m.shadow.as_ref()?.judged);
        let gains: Vec<f64> = judged.map(|judged| judged.gain).collect();
        let (mean, (low, high)) = mean_interval(&gains, self.alpha())?;
        Some((mean, (low.max(-1.0), high.min(1.0))))
    }

    fn agreement(&self, shadow: &Shadow, scored: &[&Beside]) -> Option<Finding> {
        let shares: Vec<f64> = scored.iter().map(|beside| beside.disagreement()).collect();
        if shares.is_empty() {
            return None;
        }
        let most = shadow.disagreement_max;
        // Above 0 while a device is within the limit, to 1 or −1 where that is farther away.
        let within = shares
            .iter()
            .map(|share| (most - share) / most.max(1.0 - most));
        let mean = shares.iter().sum::<f64>() / shares.len() as f64;
        let interval = mean_interval(&shares, self.alpha()).map_or((0.0, 1.0), |(_, i)| i);
        let (low, high) = (interval.0.max(0.0), interval.1.min(1.0));
        Some(Finding {
            metric: name(Metric::Agreement),
            e_value: paired_evidence(within),
            limit: self.shadow_limit(Metric::Agreement),
            candidate: mean,
            reference: most,
            effect: mean - most,
            interval: (low - most, high - most),
            devices: (shares.len() as u32, shares.len() as u32),
            sentence: format!(
                "it says something else than the model that runs of {} of the windows (from {} to {}), on {} devices, \
                 where {} is allowed",
                percent(mean),
                percent(low),
                percent(high),
                shares.len(),
                percent(most),
            ),
        })
    }

    /// How a figure of the candidate differs from that of the model that runs, on the same devices and windows. Held
    /// against it is how many devices are beyond a margin, each alike, so no law of the figures is assumed.
    fn shift(
        &self,
        metric: Metric,
        scored: &[&Beside],
        of: fn(&Beside) -> (f64, u32),
    ) -> Option<Finding> {
        let shifts: Vec<f64> = scored
            .iter()
            .map(|beside| of(beside))
            .filter(|(_, count)| *count > 0)
            .map(|(sum, count)| sum / f64::from(count))
            .collect();
        // One device alone has no interval.
        let (effect, interval) = mean_interval(&shifts, self.alpha())?;
        let (what, margin, sign) = match metric {
            Metric::Confidence => (
                "its confidence, in standard deviations of training",
                CONFIDENCE_MARGIN,
                -1.0,
            ),
            Metric::Labels => (
                "the distance of its predicted classes from those of training",
                LABELS_MARGIN,
                1.0,
            ),
            _ => (
                "the logarithm of the time that a window takes",
                self.plan.latency_margin.ln_1p(),
                1.0,
            ),
        };
        let is_worse = |shift: f64| sign * shift > margin;
        let worse = shifts.iter().filter(|shift| is_worse(**shift)).count();
        let signs = shifts
            .iter()
            .map(|shift| if is_worse(*shift) { -1.0 } else { 1.0 });
        Some(Finding {
            metric: name(metric),
            e_value: paired_evidence(signs),
            limit: self.shadow_limit(metric),
            candidate: effect,
            reference: 0.0,
            effect,
            interval,
            devices: (shifts.len() as u32, shifts.len() as u32),
            sentence: format!(
                "{what}, less that of the model that runs on the same windows: {effect:+.2} (from {:+.2} to {:+.2}); {worse} \
                 of {} devices are worse by more than {margin:.2}",
                interval.0,
                interval.1,
                shifts.len(),
            ),
        })
    }

    /// Bare limits for small fleets: at any time on devices that could not take it, at the end on what the others
    /// showed.
    fn beyond_bare_limits(&self, shadow: &Shadow, tally: &Tally, is_end: bool) -> Option<Json> {
        let halts_on = |metric| self.plan.halt_on.contains(&metric);
        let share = f64::from(tally.failed) / f64::from(tally.told.max(1));
        let limit = self.plan.failure_share_max;
        if share > limit && (tally.failed >= 2 || !self.awaits_shadows()) {
            return Some(json!({
                "metric": "share of devices in trouble", "effect": rounded(share), "limit": limit,
                "devices": tally.failed, "of": tally.told,
                "sentence": format!("{} of {} devices could not score with it: more than {}", tally.failed, tally.told, percent(limit)),
            }));
        }
        if !is_end {
            return None;
        }
        let disagreement = 1.0 - tally.agreement.unwrap_or(1.0);
        let most = shadow.disagreement_max;
        let scoring = tally.scoring as usize;
        if halts_on(Metric::Agreement)
            && self.is_beyond_proof(Metric::Agreement, scoring)
            && disagreement > most
        {
            return Some(json!({
                "metric": name(Metric::Agreement), "effect": rounded(disagreement), "limit": most,
                "devices": tally.scoring, "of": tally.told,
                "sentence": format!(
                    "it says something else than the model that runs of {} of {} windows: more than {}",
                    percent(disagreement), tally.windows + tally.unscored, percent(most),
                ),
            }));
        }
        let judged: u64 = tally.pairs.iter().sum();
        let (active, candidate) = tally.accuracy.unwrap_or_default();
        let most = shadow.accuracy_drop_max;
        let of_devices =
            |member: &&Member| member.shadow.as_ref().is_some_and(|b| b.judged.is_some());
        let devices = self.members.values().filter(of_devices).count();
        let is_bare = halts_on(Metric::Accuracy)
            && self.is_beyond_proof(Metric::Accuracy, devices)
            && judged >= u64::from(BARE_JUDGED * self.plan.judged_min);
        (is_bare && active - candidate > most).then(|| {
            json!({
                "metric": name(Metric::Accuracy), "effect": rounded(candidate - active), "limit": most,
                "devices": tally.scoring, "of": tally.told,
                "sentence": format!(
                    "of {judged} labelled windows it had {} right, the model that runs {}: a loss of more than {}",
                    percent(candidate), percent(active), percent(most),
                ),
            })
        })
    }

    /// Whether so few devices could prove nothing, however bad it is on each of them.
    fn is_beyond_proof(&self, metric: Metric, devices: usize) -> bool {
        paired_evidence(std::iter::repeat_n(-1.0, devices)) < self.shadow_limit(metric)
    }

    /// What all devices showed together: those that were told to score, and have left the rollout since, among them,
    /// for what they showed stays true.
    fn shadow_tally(&self) -> Tally {
        let mut tally = Tally::default();
        let (mut agreed, mut micros) = (0, (0.0, 0_u32));
        for member in self.members.values() {
            let has_left = member.delivery == Delivery::Left;
            tally.devices += u32::from(!has_left);
            tally.can += u32::from(!has_left && member.can_score());
            let Some(beside) = &member.shadow else {
                continue;
            };
            tally.told += 1;
            tally.scoring += u32::from(beside.since.is_some());
            tally.failed += u32::from(member.has_failed);
            // One that runs it by now has it from elsewhere.
            let is_elsewhere = !has_left && member.delivery != Delivery::Shadowing;
            let is_done = beside.ended.is_some() || is_elsewhere;
            tally.done += u32::from(is_done && !member.has_failed);
            tally.windows += beside.windows;
            tally.unscored += beside.failed;
            agreed += beside.agreed;
            for (sum, count) in tally.pairs.iter_mut().zip(beside.pairs) {
                *sum += count;
            }
            micros = (micros.0 + beside.micros.0, micros.1 + beside.micros.1);
            if beside.ram > tally.ram.unwrap_or(0.0) {
                tally.ram = Some(beside.ram);
            }
        }
        let all = tally.windows + tally.unscored;
        tally.agreement = (all > 0).then(|| agreed as f64 / all as f64);
        let [both, lost, won, neither] = tally.pairs.map(|count| count as f64);
        let judged = both + lost + won + neither;
        tally.accuracy = (judged > 0.0).then(|| ((both + lost) / judged, (both + won) / judged));
        tally.micros = (micros.1 > 0).then(|| (micros.0 / f64::from(micros.1)).exp());
        tally.gain = self.gain();
        tally
    }
}

impl Member {
    /// Whether its device can be told yet to score windows with the candidate.
    fn may_be_told_to_score(&self) -> bool {
        self.delivery == Delivery::Control && self.shadow.is_none() && self.can_score()
    }

    /// Whether its device can score windows with a candidate beside what it runs.
    pub(super) fn can_score(&self) -> bool {
        let runs = self.before.filter(|before| *before != ModelId(0));
        self.can_shadow && runs.is_some_and(|before| before != self.capsule)
    }
}

/// A metric's name in this phase.
fn name(metric: Metric) -> String {
    format!("shadow {}", metric.word())
}
