//! Episodes: what the loop did about a drift, from the first alert to the verdict, as the records have it.
//!
//! Nothing is kept for this: alerts, rounds, triggers, runs, versions and rollouts name each other, and an episode is
//! what hangs together by one trigger.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use serde_json::Value;
use tinyops_store::alert::{Alert, AlertState};
use tinyops_store::capsule::Capsule;
use tinyops_store::drift::Scope;
use tinyops_store::model::Model;
use tinyops_store::repair::{Repair, RepairId};
use tinyops_store::rollout::Rollout;
use tinyops_store::round::{Round, RoundId};
use tinyops_store::run::Run;
use tinyops_store::trigger::{Trigger, TriggerId};
use tinyops_store::{
    ModelId, StoreError, Timestamp, alert, capsule, model, outcome, repair, rollout, round, run,
    trigger,
};

use crate::ladder::Ladder;
use crate::masked_round::task_of;
use crate::repair::details;
use crate::watch::cohort_of;
use crate::{Fleet, FleetError};

/// One wish for a better model: why it was made, and what came of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Episode {
    /// The wish.
    pub trigger: Trigger,
    /// The capsule that was to be repaired; none where a person asked for a run.
    pub repaired: Option<ModelId>,
    /// Alerts of that capsule that led to it, oldest first.
    pub alerts: Vec<Alert>,
    /// The repair that the wish is a part of, and where that stands.
    pub repair: Option<(Repair, Ladder)>,
    /// The round in which devices told sums, if there was one.
    pub round: Option<Round>,
    /// The run that answered.
    pub run: Option<Run>,
    /// The version that came of it; none if a gate refused it.
    pub model: Option<Model>,
    /// How that version went to the devices.
    pub rollout: Option<Rollout>,
    /// Of windows that labels judged since the first alert, with the capsule that was to be repaired.
    pub during: Judged,
    /// The same with the capsules of the new version.
    pub after: Judged,
}

/// Windows that labels have judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Judged {
    /// Those that the model had right.
    pub right: i64,
    /// All.
    pub judged: i64,
}

impl Judged {
    /// The share that was right; `None` of none.
    #[must_use]
    pub fn share(self) -> Option<f64> {
        (self.judged > 0).then(|| self.right as f64 / self.judged as f64)
    }

    pub(crate) fn and(self, (right, judged): (i64, i64)) -> Judged {
        Judged {
            right: self.right + right,
            judged: self.judged + judged,
        }
    }
}

/// One thing that happened in an episode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// When.
    pub at: Timestamp,
    /// What, in a sentence.
    pub what: String,
}

impl Episode {
    /// When it began: with the first alert, where alerts led to it.
    #[must_use]
    pub fn began_at(&self) -> Timestamp {
        let first = self.alerts.first().map(|alert| alert.opened_at);
        first.unwrap_or(self.trigger.created_at)
    }

    /// What happened, in the order of time.
    #[must_use]
    pub fn moments(&self) -> Vec<Moment> {
        let mut moments = Vec::new();
        let mut tell = |at, what: String| moments.push(Moment { at, what });
        if let Some(first) = self.alerts.first() {
            let whose = match &first.scope {
                Scope::Device(device) => format!("device `{device}`"),
                Scope::Cohort(name) => {
                    format!("cohort `{}`", cohort_of(&first.scope).unwrap_or(name))
                }
            };
            let kind = first.kind.word().replace('-', " ");
            let what = format!("{kind} of {whose} raises the first alert: {}", first.advice);
            tell(first.opened_at, what);
        }
        if let [_, others @ .., last] = self.alerts.as_slice() {
            let count = others.len() + 1;
            let what = format!("{count} more alerts by now, of the same model");
            tell(last.opened_at, what);
        }
        if let Some(round) = &self.round {
            let why = round.detail["why"].as_str().unwrap_or_default();
            let id = round.id;
            tell(
                round.created_at,
                format!("round {id}: devices begin their sums anew: {why}"),
            );
            if round.gather_at > round.created_at {
                let what = format!("round {id}: devices are asked for their sums");
                tell(round.gather_at, what);
            }
        }
        if let Some((repair, ladder)) = &self.repair {
            for step in &ladder.steps {
                let what = match step.rung {
                    Some(rung) => format!(
                        "repair {}, level {}: {}",
                        repair.id,
                        rung.level(),
                        step.what
                    ),
                    None => format!("repair {}: {}", repair.id, step.what),
                };
                tell(Timestamp(step.at_ms), what);
            }
        }
        let detail = &self.trigger.detail;
        let what = match (&self.round, detail["window_count"].as_u64()) {
            (Some(round), Some(windows)) => {
                let bytes = round.detail["bytes"].as_u64().unwrap_or_default();
                // Under masks nobody has counted them.
                let least = match task_of(round) {
                    Some(_) => "at least ",
                    None => "",
                };
                format!(
                    "{} devices told sums over {least}{windows} labelled windows in {bytes} bytes: a new head is asked for",
                    round.device_count
                )
            }
            _ => {
                let why = detail["why"].as_str().unwrap_or("a person asked for it");
                format!("`{}` is asked for: {why}", self.trigger.kind)
            }
        };
        tell(self.trigger.created_at, what);
        if let Some(run) = &self.run {
            tell(run.started_at, format!("run {} begins", run.id));
            if let Some(at) = run.ended_at {
                tell(at, self.verdict_of(run));
            }
        }
        if let Some(rollout) = &self.rollout {
            let (id, name, version) = (rollout.id, &rollout.model, rollout.version);
            let what = format!("rollout {id}: {name}@{version} goes to the first devices");
            tell(rollout.created_at, what);
            if rollout.changed_at > rollout.created_at {
                let what = format!("rollout {id} is {}", rollout.state);
                tell(rollout.changed_at, what);
            }
        }
        let resolved = |alert: &&Alert| alert.state == AlertState::Resolved;
        let over: Vec<&Alert> = self.alerts.iter().filter(resolved).collect();
        if let Some(at) = over.iter().map(|alert| alert.changed_at).max() {
            let (over, all) = (over.len(), self.alerts.len());
            tell(at, format!("{over} of its {all} alerts are over"));
        }
        moments.sort_by_key(|moment| moment.at);
        moments
    }

    fn verdict_of(&self, run: &Run) -> String {
        let gates = run.detail["gates"].as_array().map(Vec::as_slice);
        let failed = gates.unwrap_or_default().iter().find(|gate| {
            let verdict = gate["verdict"].as_str().unwrap_or_default();
            gate["passed"] == Value::Bool(false) || verdict == "fail"
        });
        match (&self.model, failed) {
            (Some(model), _) => format!(
                "every gate is passed: {}@{} is registered",
                model.name, model.version
            ),
            (None, Some(gate)) => format!(
                "the gate `{}` refuses it: {}",
                gate["gate"].as_str().unwrap_or_default(),
                gate["why"].as_str().unwrap_or_default()
            ),
            (None, None) => format!("run {} is {}", run.id, run.state),
        }
    }
}

/// What the episodes of models of one name share.
struct Named {
    rollouts: Vec<Rollout>,
    capsules: Vec<Capsule>,
}

impl Fleet {
    /// The newest episodes, newest first.
    ///
    /// # Errors
    /// [`FleetError::Store`].
    pub async fn episodes(&self, limit: u32) -> Result<Vec<Episode>, FleetError> {
        let (mut episodes, mut named) = (Vec::new(), HashMap::new());
        for trigger in trigger::list(&self.db, limit).await? {
            episodes.push(self.episode_of(trigger, &mut named).await?);
        }
        Ok(episodes)
    }

    /// The episode of a trigger.
    ///
    /// # Errors
    /// [`FleetError::Store`].
    pub async fn episode(&self, id: TriggerId) -> Result<Option<Episode>, FleetError> {
        match trigger::get(&self.db, id).await? {
            Some(trigger) => Ok(Some(self.episode_of(trigger, &mut HashMap::new()).await?)),
            None => Ok(None),
        }
    }

    async fn episode_of(
        &self,
        trigger: Trigger,
        named: &mut HashMap<String, Named>,
    ) -> Result<Episode, StoreError> {
        let db = &self.db;
        let detail = &trigger.detail;
        let repaired = detail["model_id"].as_str().and_then(|id| id.parse().ok());
        let alerts = match repaired {
            Some(model) => {
                // What led to the wish before this one is of that episode.
                let before = trigger::before(db, &trigger).await?;
                let after = before.map_or(Timestamp(i64::MIN), |before| before.created_at);
                alert::raised(db, model, (after, trigger.created_at.plus_ms(1))).await?
            }
            None => Vec::new(),
        };
        let round = match detail["round"].as_i64() {
            Some(id) => round::get(db, RoundId(id)).await?,
            None => None,
        };
        let repair = match detail["repair"].as_i64() {
            Some(id) => repair::get(db, RepairId(id)).await?,
            None => None,
        };
        // One that this version cannot read is told by its own page.
        let repair = repair.and_then(|repair| Some((repair.clone(), details(&repair).ok()?)));
        let (run, model) = match trigger.run {
            Some(id) => {
                let made = model::of_run(db, id).await?.into_iter().next();
                (run::get(db, id).await?, made)
            }
            None => (None, None),
        };
        let (mut rollout, mut new) = (None, Vec::new());
        if let Some(model) = &model {
            let named = match named.entry(model.name.clone()) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(place) => place.insert(Named {
                    rollouts: rollout::of_model(db, &model.name).await?,
                    capsules: capsule::of_model(db, &model.name).await?,
                }),
            };
            let rollouts = named.rollouts.iter();
            let of_it = rollouts.filter(|rollout| rollout.version == model.version);
            rollout = of_it.min_by_key(|rollout| rollout.id).cloned();
            let capsules = named.capsules.iter();
            let of_it = capsules.filter(|capsule| capsule.version == model.version);
            new = of_it.map(|capsule| capsule.id).collect();
        }
        let mut episode = Episode {
            trigger,
            repaired,
            alerts,
            repair,
            round,
            run,
            model,
            rollout,
            during: Judged::default(),
            after: Judged::default(),
        };
        let since = episode.began_at();
        if let Some(model) = repaired {
            episode.during = Judged::default().and(outcome::judged(db, model, since).await?);
        }
        for model in new.into_iter().filter(|model| Some(*model) != repaired) {
            episode.after = episode.after.and(outcome::judged(db, model, since).await?);
        }
        Ok(episode)
    }
}
