//! One device of a rollout, and what its words mean.

use serde::{Deserialize, Serialize};
use serde_json::json;
use tinyops_store::rollout::Delivery;
use tinyops_store::{DeviceId, Json, ModelId, Timestamp};

use super::shadow::{Beside, Said, is_unable};
use crate::plan::Plan;

/// Restarts within the time of its reports that make a device one that restarts again and again.
pub(super) const RESTARTS_MAX: u32 = 3;

/// One device of a rollout.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// How far it is.
    pub delivery: Delivery,
    /// The capsule that it should run now; `None` is what it has.
    pub target: Option<ModelId>,
    /// When the delivery last changed.
    pub changed_at: Timestamp,
    /// Its board and cohort.
    pub stratum: String,
    /// The capsule that it gets or would get.
    pub capsule: ModelId,
    /// What it ran when it joined.
    pub before: Option<ModelId>,
    /// When it was offered the capsule, to be installed or to be kept.
    pub offered_at: Option<Timestamp>,
    /// When it was told to install what it had been told to keep.
    pub told_at: Option<Timestamp>,
    /// When it was last heard of, as far as the rollout needs to know.
    pub heard_at: Option<Timestamp>,
    /// Whether control devices were sought to be measured beside it.
    pub is_matched: bool,
    /// Whether it ever failed, went back, or fell silent.
    pub has_failed: bool,
    /// Reports with the candidate.
    pub reports: u32,
    /// What it said when it refused or went back, and the number that belongs to it.
    pub reason: Option<(String, u32)>,
    /// What is measured on it.
    pub watch: Option<Watch>,
    /// Whether its firmware can score windows with a candidate beside what it runs.
    pub can_shadow: bool,
    /// What the candidate did beside what it runs, if it was told to score with it.
    pub shadow: Option<Beside>,
}

/// What is measured on a device, once: on a candidate from when it took the model, on a control from when it was
/// next heard, for as many reports.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Watch {
    /// Whether it ran the candidate meanwhile.
    #[serde(rename = "candidate")]
    pub is_candidate: bool,
    /// Of a control: the candidate that it is watched beside.
    #[serde(default)]
    pub beside: u64,
    /// When it began; `None` until a control is heard.
    #[serde(default)]
    pub since: Option<i64>,
    /// When it was last heard.
    #[serde(default)]
    pub heard: i64,
    /// Reports.
    #[serde(default)]
    pub reports: u32,
    /// Of them, those of windows that a head of the device's own answered: what they say of output and classes is not the
    /// model's, and counts for neither arm.
    #[serde(default)]
    pub own_head: u32,
    /// Sum of the outputs' mean deviations, and of how many reports.
    #[serde(default)]
    pub output: (f64, u32),
    /// Sum of the distances of the predicted classes from training's, and of how many reports.
    #[serde(default)]
    pub labels: (f64, u32),
    /// Sum of the logarithms of the mean times that a window took, in microseconds, and of how many reports.
    #[serde(default)]
    pub latency: (f64, u32),
    /// Sum of the logarithms of the shares of memory in use at most, and of how many reports.
    #[serde(default)]
    pub ram: (f64, u32),
    /// Restarts.
    #[serde(default)]
    pub restarts: u32,
    /// Labelled windows that the model had right, and all.
    #[serde(default)]
    pub judged: (i64, i64),
    /// When there were enough of them.
    #[serde(default)]
    pub judged_at: Option<i64>,
    /// When it ended: all reports came, or none did for too long.
    #[serde(default)]
    pub ended: Option<i64>,
    /// Whether it ended in silence.
    #[serde(default)]
    pub dark: bool,
}

/// What a report says, as far as rollouts compare it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sample {
    /// Mean deviation of the output from training, in its standard deviations; of classifiers.
    pub output: Option<f64>,
    /// Hellinger distance of the predicted classes from training's; of classifiers.
    pub label_distance: Option<f64>,
    /// Logarithm of the mean time that a window took, in microseconds.
    pub ln_latency: Option<f64>,
    /// Logarithm of the share of its memory that the device used at most.
    pub ln_ram: Option<f64>,
    /// Whether a head of the device's own answered: then output and classes are none of the model's, and not told.
    pub is_own_head: bool,
}

/// What a device said.
#[derive(Clone, Debug, PartialEq)]
pub enum Word {
    /// Anything.
    Heard,
    /// It fetches the capsule, or has it and will try it.
    Fetching,
    /// It has the capsule, checked, and keeps it.
    Held,
    /// It runs the capsule for good.
    Confirmed,
    /// It could not install the capsule.
    Refused {
        /// Why.
        reason: String,
        /// The number that the reason is about.
        number: u32,
    },
    /// It tried the capsule and went back.
    Reverted {
        /// Why.
        reason: String,
        /// The number that the reason is about.
        number: u32,
    },
    /// It has booted.
    Restarted {
        /// Whether it can score windows with a candidate beside what it runs.
        can_shadow: bool,
    },
    /// How a candidate answered beside what it runs.
    Shadowed {
        /// Which candidate.
        model: ModelId,
        /// What it said.
        said: Said,
    },
    /// It reported.
    Reported {
        /// With which model.
        model: ModelId,
        /// What.
        sample: Sample,
    },
    /// Truth became known of some of its windows.
    Judged {
        /// Scored by which model.
        model: ModelId,
        /// Windows that it had right.
        right: i64,
        /// All.
        judged: i64,
    },
}

impl Watch {
    fn of_candidate(now: Timestamp) -> Watch {
        Watch {
            is_candidate: true,
            since: Some(now.0),
            heard: now.0,
            ..Watch::of_control(DeviceId(0))
        }
    }

    pub(super) fn of_control(candidate: DeviceId) -> Watch {
        Watch {
            is_candidate: false,
            beside: candidate.0,
            since: None,
            heard: 0,
            reports: 0,
            own_head: 0,
            output: (0.0, 0),
            labels: (0.0, 0),
            latency: (0.0, 0),
            ram: (0.0, 0),
            restarts: 0,
            judged: (0, 0),
            judged_at: None,
            ended: None,
            dark: false,
        }
    }

    fn end(&mut self, now: Timestamp, dark: bool) {
        if self.ended.is_none() {
            self.ended = Some(now.0);
            self.dark = dark;
        }
    }
}

impl Member {
    /// A device that joins the control arm.
    pub fn new(
        stratum: String,
        capsule: ModelId,
        before: Option<ModelId>,
        now: Timestamp,
    ) -> Member {
        Member {
            delivery: Delivery::Control,
            target: None,
            changed_at: now,
            stratum,
            capsule,
            before,
            offered_at: None,
            told_at: None,
            heard_at: None,
            is_matched: false,
            has_failed: false,
            reports: 0,
            reason: None,
            watch: None,
            can_shadow: false,
            shadow: None,
        }
    }

    pub(super) fn go(&mut self, delivery: Delivery, target: Option<ModelId>, now: Timestamp) {
        self.delivery = delivery;
        self.target = target;
        self.changed_at = now;
    }

    /// Takes a word of the device; says whether anything is to be kept.
    pub fn hear(&mut self, plan: &Plan, word: Word, now: Timestamp) -> bool {
        let before = self.clone();
        if matches!(self.delivery, Delivery::Left | Delivery::Recalled) {
            return false;
        }
        if self.offered_at.is_some() && self.delivery != Delivery::Confirmed {
            self.heard_at = Some(now);
        }
        if let Some(watch) = &mut self.watch
            && watch.ended.is_none()
        {
            watch.since.get_or_insert(now.0);
            watch.heard = now.0;
        }
        match word {
            Word::Heard => {}
            Word::Fetching => {
                if matches!(self.delivery, Delivery::Offered | Delivery::Silent) {
                    self.go(Delivery::Taken, self.target, now);
                    self.begin_watch(now);
                }
            }
            Word::Held => match self.delivery {
                Delivery::Fetching => self.go(Delivery::Held, self.target, now),
                Delivery::Shadowing => {
                    if let Some(shadow) = &mut self.shadow {
                        shadow.since.get_or_insert(now.0);
                    }
                }
                _ => {}
            },
            Word::Confirmed => self.confirm(now),
            Word::Refused { reason, .. }
                if self.delivery == Delivery::Shadowing && is_unable(&reason) =>
            {
                self.go(Delivery::Control, None, now);
                (self.can_shadow, self.shadow) = (false, None);
            }
            Word::Refused { reason, number } => self.fail(Delivery::Failed, reason, number, now),
            Word::Reverted { reason, number } => self.fail(Delivery::Reverted, reason, number, now),
            Word::Restarted { can_shadow } => {
                self.can_shadow = can_shadow;
                let runs_it = self.delivery == Delivery::Confirmed;
                if let Some(watch) = &mut self.watch
                    && watch.ended.is_none()
                    && watch.is_candidate == runs_it
                {
                    watch.restarts += 1;
                }
            }
            Word::Reported { model, sample } => self.report(plan, model, sample, now),
            Word::Shadowed { model, said } => {
                if model == self.capsule
                    && self.delivery == Delivery::Shadowing
                    && let Some(shadow) = &mut self.shadow
                {
                    shadow.hear(plan, &said, now);
                }
            }
            Word::Judged {
                model,
                right,
                judged,
            } => {
                let is_its_own = |watch: &&mut Watch| watch.is_candidate == (model == self.capsule);
                if let Some(watch) = self.watch.as_mut().filter(is_its_own)
                    && watch.judged_at.is_none()
                {
                    watch.judged.0 += right;
                    watch.judged.1 += judged;
                    if watch.judged.1 >= i64::from(plan.judged_min.max(1)) {
                        watch.judged_at = Some(now.0);
                    }
                }
            }
        }
        *self != before
    }

    fn report(&mut self, plan: &Plan, model: ModelId, sample: Sample, now: Timestamp) {
        let runs_it = model == self.capsule;
        if let Some(shadow) = &mut self.shadow
            && self.delivery == Delivery::Shadowing
            && !runs_it
        {
            shadow.hear_active(&sample);
        }
        if runs_it {
            if self.delivery != Delivery::Confirmed {
                self.confirm(now);
            }
            self.reports = self
                .reports
                .saturating_add(u32::from(self.reports < plan.reports));
        }
        let Some(watch) = &mut self.watch else { return };
        if watch.ended.is_some() || watch.is_candidate != runs_it {
            return;
        }
        watch.reports += 1;
        watch.own_head += u32::from(sample.is_own_head);
        for (sum, value) in [
            (&mut watch.output, sample.output),
            (&mut watch.labels, sample.label_distance),
            (&mut watch.latency, sample.ln_latency),
            (&mut watch.ram, sample.ln_ram),
        ] {
            if let Some(value) = value.filter(|value| value.is_finite()) {
                sum.0 += value;
                sum.1 += 1;
            }
        }
        if watch.reports >= plan.reports.max(1) {
            watch.end(now, false);
        }
    }

    fn confirm(&mut self, now: Timestamp) {
        match self.delivery {
            Delivery::Confirmed | Delivery::Left | Delivery::Recalled => return,
            // It has it from elsewhere.
            Delivery::Control | Delivery::Shadowing => self.offered_at = Some(now),
            _ => {
                self.offered_at.get_or_insert(now);
            }
        }
        self.go(Delivery::Confirmed, Some(self.capsule), now);
        self.begin_watch(now);
    }

    fn fail(&mut self, delivery: Delivery, reason: String, number: u32, now: Timestamp) {
        if self.delivery == Delivery::Control || self.delivery == delivery {
            return;
        }
        // What it ran before is what it should run; it is not offered the same again.
        self.go(delivery, None, now);
        self.has_failed = true;
        self.reason = Some((reason, number));
        if let Some(watch) = self.watch.as_mut().filter(|watch| watch.is_candidate) {
            watch.end(now, false);
        }
    }

    /// A device is measured once: one that was measured as a control is not as a candidate.
    fn begin_watch(&mut self, now: Timestamp) {
        let is_measured = |watch: &Watch| watch.is_candidate || watch.ended.is_some();
        if !self.watch.as_ref().is_some_and(is_measured) {
            self.watch = Some(Watch::of_candidate(now));
        }
    }

    /// Notes silence. A device that waits for its offer is not late while none may be told it.
    pub(super) fn pass_time(&mut self, plan: &Plan, is_open: bool, now: Timestamp) {
        let is_overdue = |since: i64| now.0 - since > plan.silent_after_ms;
        if let Some(watch) = &mut self.watch
            && watch.since.is_some()
            && watch.ended.is_none()
            && is_overdue(watch.heard)
        {
            watch.end(now, true);
        }
        match self.delivery {
            // Heard of, and has not taken it.
            Delivery::Offered if is_open && is_overdue(self.changed_at.0) && self.was_heard() => {
                self.go(Delivery::Silent, self.target, now);
                self.has_failed = true;
            }
            // Took it, and was not heard of again: judged against the control arm, not as a failed install.
            Delivery::Taken if self.heard_at.is_none_or(|heard| is_overdue(heard.0)) => {
                self.go(Delivery::Silent, self.target, now);
            }
            // Fetches and fetches.
            Delivery::Taken
                if is_overdue(
                    self.told_at
                        .or(self.offered_at)
                        .unwrap_or(self.changed_at)
                        .0
                        + plan.silent_after_ms,
                ) =>
            {
                self.go(Delivery::Silent, self.target, now);
                self.has_failed = true;
            }
            _ => {}
        }
    }

    /// Whether it fetches the capsule or has it, and may not install it yet.
    pub(super) fn is_ahead(&self) -> bool {
        matches!(self.delivery, Delivery::Fetching | Delivery::Held)
    }

    /// Whether it was offered the capsule and has not answered.
    pub(super) fn is_unanswered(&self) -> bool {
        self.is_ahead() || matches!(self.delivery, Delivery::Offered | Delivery::Taken)
    }

    fn was_heard(&self) -> bool {
        self.heard_at.is_some_and(|heard| heard > self.changed_at)
    }

    /// Whether it was not heard of since its offer, past the deadline.
    pub(super) fn is_away(&self, plan: &Plan, now: Timestamp) -> bool {
        self.delivery == Delivery::Offered
            && now.ms_since(self.changed_at) > plan.silent_after_ms
            && !self.was_heard()
    }

    /// Whether it runs the candidate and has said enough, or will say no more.
    pub(super) fn is_ready(&self, plan: &Plan) -> bool {
        let is_dark = self.watch.as_ref().is_some_and(|watch| watch.dark);
        self.delivery == Delivery::Confirmed && (self.reports >= plan.reports || is_dark)
    }

    /// What of it is kept beside its delivery.
    pub fn detail(&self) -> Json {
        let mut detail = json!({ "stratum": self.stratum, "capsule": self.capsule.to_string() });
        let mut put = |name: &str, value: Option<Json>| {
            if let Some(value) = value {
                detail[name] = value;
            }
        };
        put(
            "before",
            self.before.map(|before| json!(before.to_string())),
        );
        put("offered_at_ms", self.offered_at.map(|at| json!(at.0)));
        put("told_at_ms", self.told_at.map(|at| json!(at.0)));
        put("heard_at_ms", self.heard_at.map(|at| json!(at.0)));
        let was_told = self.offered_at.is_some() || self.shadow.is_some();
        put("has_failed", was_told.then(|| json!(self.has_failed)));
        put("matched", self.is_matched.then_some(Json::Bool(true)));
        put("reports", (self.reports > 0).then(|| json!(self.reports)));
        put("watch", self.watch.as_ref().map(|watch| json!(watch)));
        put("can_shadow", self.can_shadow.then_some(Json::Bool(true)));
        put("shadow", self.shadow.as_ref().map(|shadow| json!(shadow)));
        if let Some((reason, number)) = &self.reason {
            put("reason", Some(json!(reason)));
            put("number", Some(json!(number)));
        }
        detail
    }

    /// A member of its record; what a record of an older version does not tell is as if nothing had been heard.
    pub fn of_record(record: &tinyops_store::rollout::Member) -> Member {
        let detail = &record.detail;
        let model = |name: &str| detail[name].as_str().and_then(|text| text.parse().ok());
        let at = |name: &str| detail[name].as_i64().map(Timestamp);
        let is_exposed = !matches!(record.delivery, Delivery::Control | Delivery::Left);
        Member {
            delivery: record.delivery,
            target: record.target,
            changed_at: record.changed_at,
            stratum: detail["stratum"].as_str().unwrap_or_default().to_owned(),
            capsule: model("capsule").unwrap_or(ModelId(0)),
            before: model("before"),
            offered_at: at("offered_at_ms")
                .or((is_exposed && detail["shadow"].is_null()).then_some(record.changed_at)),
            told_at: at("told_at_ms"),
            heard_at: at("heard_at_ms"),
            is_matched: detail["matched"].as_bool().unwrap_or(false),
            has_failed: detail["has_failed"].as_bool().unwrap_or(matches!(
                record.delivery,
                Delivery::Failed | Delivery::Reverted | Delivery::Silent
            )),
            reports: detail["reports"].as_u64().unwrap_or(0) as u32,
            reason: detail["reason"].as_str().map(|reason| {
                (
                    reason.to_owned(),
                    detail["number"].as_u64().unwrap_or(0) as u32,
                )
            }),
            watch: serde_json::from_value(detail["watch"].clone()).ok(),
            can_shadow: detail["can_shadow"].as_bool().unwrap_or(false),
            shadow: serde_json::from_value(detail["shadow"].clone()).ok(),
        }
    }
}
