//! How a new model goes out: its strategy, its pace, its windows, and what halts it.

use serde::{Deserialize, Serialize};
use tinyops_store::Json;

use crate::window::Windows;

/// How a new model goes out. Every default is meant to work.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Plan {
    /// Who gets it, and when more do.
    pub strategy: Strategy,
    /// Whether devices score windows with it first, beside what they run; none installs it meanwhile.
    pub shadow: Option<Shadow>,
    /// Devices of each board that try it first at least.
    pub per_board_min: u32,
    /// Devices that have their offer and have not answered, at most; 0 is no bound. A bad model is on few
    /// devices more than it takes to notice it.
    pub in_flight_max: u32,
    /// Reports that each device sends with it before it counts as well.
    pub reports: u32,
    /// How long a device that is heard may take from its offer to its first report with the new model, and how
    /// long one that took it may not be heard of.
    pub silent_after_ms: i64,
    /// How long a wave may take before those that answered decide alone.
    pub wave_within_ms: i64,
    /// When devices may be told to install.
    pub windows: Windows,
    /// Whether they fetch it before they may install it.
    pub install: Install,
    /// Chance of halting a good model, over all metrics together.
    pub alpha: f64,
    /// What halts it.
    pub halt_on: Vec<Metric>,
    /// Share of devices that fail with any release; what past releases showed, if that is more, is the reference.
    pub failure_share: f64,
    /// Share of those due that may fail before everything goes back, however few they are. A bare limit, without
    /// a stated chance of error, for fleets that are too small to prove anything.
    pub failure_share_max: f64,
    /// Labelled windows after which a device's accuracy counts.
    pub judged_min: u32,
    /// How much longer a window may take with it: 0.1 is a tenth.
    pub latency_margin: f64,
    /// How much more memory it may use.
    pub ram_margin: f64,
    /// Share of its memory that a device should not use more of.
    pub ram_share_max: f64,
}

/// A phase before the first wave: devices score their windows with the candidate too, and answer with what they run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Shadow {
    /// Share of those devices that can, of each board and cohort.
    pub share: f64,
    /// Windows that each of them scores.
    pub windows: u16,
    /// How long that may take before those that answered decide alone.
    pub within_ms: i64,
    /// Share of a device's windows of which the two may say different things.
    pub disagreement_max: f64,
    /// How much lower the candidate's share of right answers may be before it goes no further, however few devices
    /// there are: 0.1 is ten points. A bare limit, as [`Plan::failure_share_max`] is.
    pub accuracy_drop_max: f64,
}

impl Default for Shadow {
    fn default() -> Shadow {
        Shadow {
            share: 1.0,
            windows: 500,
            within_ms: 7 * 24 * HOUR_MS,
            disagreement_max: 0.25,
            accuracy_drop_max: 0.1,
        }
    }
}

/// Who gets a model, and when more do. All of them draw from one assignment: within each board and cohort, devices
/// in the order of a hash of their ids.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Strategy {
    /// A share first, then everyone.
    Canary {
        /// The share, above 0; 1 is everyone at once.
        share: f64,
    },
    /// In waves; the next begins when all of the wave before are well.
    Staged {
        /// Shares of all devices that have it at the end of each wave, rising; the last should be 1.
        waves: Vec<f64>,
    },
    /// Two arms until one is shown to be better by a reward: then everyone gets the better one.
    Ab {
        /// Share that gets the candidate.
        share: f64,
        /// What is compared.
        reward: Reward,
        /// How long to wait for a difference; without one, everything goes back.
        within_ms: i64,
    },
    /// As A/B, but the share follows the chance that the candidate is better (Thompson, 1933).
    Bandit {
        /// Share that gets the candidate first, and that each arm keeps at least.
        floor: f64,
        /// What is compared.
        reward: Reward,
        /// How long to wait for a difference; without one, everything goes back.
        within_ms: i64,
    },
}

/// When a device installs what it is offered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Install {
    /// When it has fetched it; out of hours nothing is offered.
    #[default]
    AtOnce,
    /// In the next maintenance window; it fetches and checks it before.
    Window,
    /// When a person says so, in a maintenance window if there are any; it fetches and checks it before.
    Later,
}

impl Install {
    /// Its name.
    pub fn word(self) -> &'static str {
        match self {
            Install::AtOnce => "at-once",
            Install::Window => "window",
            Install::Later => "later",
        }
    }
}

/// What an A/B test or a bandit seeks, by device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reward {
    /// Share of labelled windows that the model had right.
    Accuracy,
    /// Mean deviation of the output from training, in its standard deviations.
    Confidence,
}

/// What may halt a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Metric {
    /// Devices that refused it, went back by themselves, or were heard of and did not install it in time.
    Installs,
    /// Devices that took it and were not heard of afterwards.
    Silence,
    /// Devices that restart again and again.
    Restarts,
    /// Share of labelled windows that the model had right.
    Accuracy,
    /// Mean of the model's output, for classifiers.
    Confidence,
    /// Predicted classes, by their distance from those of training.
    Labels,
    /// Time from a window to its answer.
    Latency,
    /// Most memory in use at once, as a share of what the device has.
    Ram,
    /// Windows of which the candidate says something else than the model that runs, in the shadow phase alone.
    Agreement,
}

/// Every metric with its part of `alpha`: most for what is seen most often and is worst.
pub const METRICS: [(Metric, f64); 9] = [
    (Metric::Installs, 0.6),
    (Metric::Silence, 0.05),
    (Metric::Restarts, 0.05),
    (Metric::Accuracy, 0.05),
    (Metric::Confidence, 0.1),
    (Metric::Labels, 0.05),
    (Metric::Latency, 0.05),
    (Metric::Ram, 0.05),
    (Metric::Agreement, 0.0),
];

/// The metrics of the shadow phase with their parts of its `alpha`: most for what is paired window by window.
pub const SHADOW_METRICS: [(Metric, f64); 6] = [
    (Metric::Installs, 0.2),
    (Metric::Accuracy, 0.4),
    (Metric::Agreement, 0.15),
    (Metric::Confidence, 0.1),
    (Metric::Labels, 0.1),
    (Metric::Latency, 0.05),
];

const HOUR_MS: i64 = 3_600_000;

impl Default for Plan {
    fn default() -> Plan {
        Plan {
            strategy: Strategy::Canary { share: 0.1 },
            shadow: None,
            per_board_min: 1,
            in_flight_max: 0,
            reports: 2,
            silent_after_ms: 3 * 24 * HOUR_MS,
            wave_within_ms: 7 * 24 * HOUR_MS,
            windows: Windows::default(),
            install: Install::AtOnce,
            alpha: 0.01,
            halt_on: METRICS.map(|(metric, _)| metric).to_vec(),
            failure_share: 0.01,
            failure_share_max: 0.2,
            judged_min: 20,
            latency_margin: 0.1,
            ram_margin: 0.1,
            ram_share_max: 0.95,
        }
    }
}

/// Why a plan cannot be carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the rollout's plan: {0}")]
pub struct PlanError(pub String);

impl Plan {
    /// This plan with another strategy.
    #[must_use]
    pub fn with(self, strategy: Strategy) -> Plan {
        Plan { strategy, ..self }
    }

    /// The share of failures that any release shows: the plan's, or what past installs (those that went well, and
    /// those that did not) showed if that is more. The plan's share weighs as much as 200 of them.
    pub fn usual_failures(&self, (well, failed): (i64, i64)) -> f64 {
        const PRIOR: f64 = 200.0;
        let (well, failed) = (well as f64, failed as f64);
        let share = (failed + self.failure_share * PRIOR) / (well + failed + PRIOR);
        share.max(self.failure_share)
    }

    /// Whether the plan can be carried out.
    ///
    /// # Errors
    /// [`PlanError`] says what cannot.
    pub fn check(&self) -> Result<(), PlanError> {
        let share = |name: &str, share: f64| match share > 0.0 && share <= 1.0 {
            true => Ok(()),
            false => Err(PlanError(format!(
                "{name} is {share}; a share is above 0, 1 at most"
            ))),
        };
        let positive = |name: &str, ms: i64| match ms > 0 {
            true => Ok(()),
            false => Err(PlanError(format!("{name} is {ms}; a time is more than 0"))),
        };
        match &self.strategy {
            Strategy::Canary { share: canary } => share("the canary's share", *canary)?,
            Strategy::Staged { waves } => {
                waves.iter().try_for_each(|wave| share("a wave", *wave))?;
                if waves.is_empty() || waves.windows(2).any(|pair| pair[0] >= pair[1]) {
                    return Err(PlanError(
                        "waves are shares that rise, such as 0.05, 0.25, 1".to_owned(),
                    ));
                }
            }
            Strategy::Ab {
                share: part,
                within_ms,
                ..
            } => {
                if !(*part > 0.0 && *part < 1.0) {
                    return Err(PlanError(format!(
                        "the candidate's share is {part}; both arms need devices"
                    )));
                }
                positive("the time for a difference", *within_ms)?;
            }
            Strategy::Bandit {
                floor, within_ms, ..
            } => {
                if !(*floor > 0.0 && *floor <= 0.5) {
                    return Err(PlanError(format!(
                        "the floor is {floor}; each arm keeps more than 0, half at most"
                    )));
                }
                positive("the time for a difference", *within_ms)?;
            }
        }
        if let Some(shadow) = &self.shadow {
            share("the shadow's share", shadow.share)?;
            share("the shadow's most disagreement", shadow.disagreement_max)?;
            share(
                "the shadow's most loss of accuracy",
                shadow.accuracy_drop_max,
            )?;
            positive("the time of the shadow", shadow.within_ms)?;
            if shadow.windows == 0 {
                return Err(PlanError(
                    "the shadow scores 0 windows; a device scores 1 at least, such as 500"
                        .to_owned(),
                ));
            }
        }
        if self.install == Install::Window && self.windows.windows.is_empty() {
            return Err(PlanError(
                "install is `window` and there are no windows; give some, such as 22:00-05:00"
                    .to_owned(),
            ));
        }
        positive("the time until silence", self.silent_after_ms)?;
        positive("the time of a wave", self.wave_within_ms)?;
        share("the share of failures", self.failure_share)?;
        share("the most failures", self.failure_share_max)?;
        share("the most memory", self.ram_share_max)?;
        for (name, margin) in [
            ("latency_margin", self.latency_margin),
            ("ram_margin", self.ram_margin),
        ] {
            if !(0.0..=10.0).contains(&margin) {
                return Err(PlanError(format!(
                    "{name} is {margin}; a margin is 0 to 10, such as 0.1 for a tenth more"
                )));
            }
        }
        if !(self.alpha > 0.0 && self.alpha <= 0.5) {
            return Err(PlanError(format!(
                "alpha is {}; it is above 0, half at most",
                self.alpha
            )));
        }
        Ok(())
    }

    /// This plan with the fields that `changes`, an object, gives.
    ///
    /// # Errors
    /// [`PlanError`] for a field that no plan has, a value that it cannot have, or a plan that cannot be carried
    /// out.
    pub fn changed(&self, changes: &Json) -> Result<Plan, PlanError> {
        let mut plan = serde_json::to_value(self).map_err(|error| PlanError(error.to_string()))?;
        let fields = changes.as_object();
        let fields =
            fields.ok_or_else(|| PlanError("it is an object of fields to change".to_owned()))?;
        for (name, value) in fields {
            plan[name] = value.clone();
        }
        let plan: Plan =
            serde_json::from_value(plan).map_err(|error| PlanError(error.to_string()))?;
        plan.check()?;
        Ok(plan)
    }

    /// The plan of a record. Those of before version 2 of the schema told a canary's share alone.
    ///
    /// # Errors
    /// [`PlanError`].
    pub fn of_record(record: &Json) -> Result<Plan, PlanError> {
        if let Some(share) = record.get("canary_share").and_then(Json::as_f64) {
            let number = |name: &str| record.get(name).and_then(Json::as_i64);
            let plan = Plan::default();
            return Ok(Plan {
                reports: number("canary_reports").map_or(plan.reports, |reports| reports as u32),
                silent_after_ms: number("silent_after_ms").unwrap_or(plan.silent_after_ms),
                wave_within_ms: number("canary_within_ms").unwrap_or(plan.wave_within_ms),
                ..plan.with(Strategy::Canary { share })
            });
        }
        serde_json::from_value(record.clone()).map_err(|error| PlanError(error.to_string()))
    }
}

impl Strategy {
    /// The share of all devices that have the candidate at the end of a wave; after the last, of the last.
    pub fn share(&self, wave: u32) -> f64 {
        match self {
            Strategy::Canary { share } if wave == 0 => *share,
            Strategy::Canary { .. } => 1.0,
            Strategy::Staged { waves } => {
                let last = waves.last().copied().unwrap_or(1.0);
                waves.get(wave as usize).copied().unwrap_or(last)
            }
            Strategy::Ab { share, .. } if wave == 0 => *share,
            Strategy::Bandit { floor, .. } if wave == 0 => *floor,
            Strategy::Ab { .. } | Strategy::Bandit { .. } => 1.0,
        }
    }

    /// How many waves there are.
    pub fn wave_count(&self) -> u32 {
        match self {
            Strategy::Canary { share } if *share >= 1.0 => 1,
            Strategy::Staged { waves } => waves.len() as u32,
            _ => 2,
        }
    }

    /// The reward, and how long to wait for a difference, of those that seek one.
    pub fn contest(&self) -> Option<(Reward, i64)> {
        match self {
            Strategy::Ab {
                reward, within_ms, ..
            }
            | Strategy::Bandit {
                reward, within_ms, ..
            } => Some((*reward, *within_ms)),
            _ => None,
        }
    }

    /// Its name.
    pub fn word(&self) -> &'static str {
        match self {
            Strategy::Canary { .. } => "canary",
            Strategy::Staged { .. } => "staged",
            Strategy::Ab { .. } => "ab",
            Strategy::Bandit { .. } => "bandit",
        }
    }
}

impl Metric {
    /// Its name, as plans and reasons write it.
    pub fn word(self) -> &'static str {
        match self {
            Metric::Installs => "installs",
            Metric::Silence => "silence",
            Metric::Restarts => "restarts",
            Metric::Accuracy => "accuracy",
            Metric::Confidence => "confidence",
            Metric::Labels => "labels",
            Metric::Latency => "latency",
            Metric::Ram => "ram",
            Metric::Agreement => "agreement",
        }
    }

    /// Its part of `alpha` in the waves.
    pub fn weight(self) -> f64 {
        part_of(&METRICS, self)
    }

    /// Its part of `alpha` in the shadow phase.
    pub fn shadow_weight(self) -> f64 {
        part_of(&SHADOW_METRICS, self)
    }
}

fn part_of(parts: &[(Metric, f64)], metric: Metric) -> f64 {
    let found = parts.iter().find(|(other, _)| *other == metric);
    found.map_or(0.0, |(_, part)| *part)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn plans_are_read_and_refused() {
        let weights: f64 = METRICS.iter().map(|(_, weight)| weight).sum();
        assert!((weights - 1.0).abs() < 1e-12);
        let weights: f64 = SHADOW_METRICS.iter().map(|(_, weight)| weight).sum();
        assert!((weights - 1.0).abs() < 1e-12);
        Plan::default().check().unwrap();
        let written = serde_json::to_value(Plan::default()).unwrap();
        assert_eq!(Plan::of_record(&written).unwrap(), Plan::default());
        let old = Plan::of_record(&json!({"canary_share": 0.2, "canary_within_ms": 5})).unwrap();
        assert_eq!(
            (old.strategy, old.wave_within_ms),
            (Strategy::Canary { share: 0.2 }, 5)
        );
        let check = |strategy: serde_json::Value, problem: &str| {
            let plan = Plan::of_record(&json!({ "strategy": strategy }));
            let error = plan.and_then(|plan| plan.check()).unwrap_err();
            assert!(error.to_string().contains(problem), "{error}");
        };
        check(json!({"kind": "canary", "share": 1.5}), "1 at most");
        check(json!({"kind": "staged", "waves": []}), "rise");
        check(json!({"kind": "staged", "waves": [0.5, 0.5]}), "rise");
        check(
            json!({"kind": "ab", "share": 1.0, "reward": "accuracy", "within_ms": 1}),
            "both arms",
        );
        check(
            json!({"kind": "bandit", "floor": 0.6, "reward": "accuracy", "within_ms": 1}),
            "half at most",
        );
        check(json!({"kind": "other"}), "unknown variant");
        let alpha = Plan {
            alpha: 0.0,
            ..Plan::default()
        };
        assert!(alpha.check().is_err());
        let changed = alpha.changed(
            &json!({"alpha": 0.02, "windows": {"windows": [{"from": "22:00", "to": "05:00"}]}}),
        );
        assert_eq!(changed.unwrap().alpha, 0.02);
        let shadowed = Plan::default().changed(&json!({"shadow": {"windows": 90}}));
        let shadow = shadowed.unwrap().shadow.unwrap();
        assert_eq!((shadow.windows, shadow.share), (90, 1.0));
        let later = Plan::default().changed(&json!({"install": "later"}));
        assert_eq!(later.unwrap().install, Install::Later);
        let night = json!({"windows": [{"from": "22:00", "to": "05:00"}]});
        let window = json!({"install": "window", "windows": night});
        assert!(Plan::default().changed(&window).is_ok());
        for (changes, problem) in [
            (json!({"install": "window"}), "no windows"),
            (json!({"shadow": {"share": 0}}), "the shadow's share is 0"),
            (json!({"shadow": {"windows": 0}}), "scores 0 windows"),
            (json!({"shadow": {"windows": 70000}}), "u16"),
            (
                json!({"shadow": {"within_ms": 0}}),
                "the time of the shadow is 0",
            ),
            (
                json!({"shadow": {"disagreement_max": 1.5}}),
                "most disagreement is 1.5",
            ),
            (json!({"shadow": {"days": 3}}), "unknown field `days`"),
            (json!({"install": "soon"}), "unknown variant `soon`"),
            (json!({"latency_margin": -0.1}), "latency_margin is -0.1"),
            (json!({"ram_margin": 11}), "ram_margin is 11"),
            (json!({"ram_share_max": 1.5}), "the most memory is 1.5"),
            (json!({"halt_on": ["speed"]}), "unknown variant `speed`"),
            (json!({"install": true}), "install"),
        ] {
            let error = Plan::default().changed(&changes).unwrap_err().to_string();
            assert!(error.contains(problem) || problem == "install", "{error}");
        }
        for bad in [
            json!({"alpha": 0.02, "speed": 1}),
            json!({"alpha": 2}),
            json!([]),
        ] {
            assert!(alpha.changed(&bad).is_err(), "{bad}");
        }
    }
}
