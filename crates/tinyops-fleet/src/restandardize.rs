//! Level 0 of repair: devices whose inputs moved in place or spread move their features back, before anyone is asked for
//! sums. A round is opened for what that leaves.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use tinyops_sketch::Baseline;
use tinyops_store::alert::{Alert, AlertKind, AlertState};
use tinyops_store::drift::{DriftState, Scope};
use tinyops_store::hello::Hello;
use tinyops_store::{DeviceId, ModelId, Timestamp, alert, drift, hello};
use tinyops_wire::downlink::Restandardize;
use tinyops_wire::frame::Features;

use crate::detector::{Memory, Signal};
use crate::diagnosis::{Advice, is_answer, is_embedding};
use crate::repair::concerns;
use crate::round::RoundPolicy;
use crate::watch::{members_of, name_of};
use crate::{Fleet, FleetError, alerts};

/// What has become of a drift that features are moved back for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// That is not known yet.
    Waits,
    /// What the model says is what it said before.
    Fell,
    /// It stands, or there is no more waiting for features to be moved.
    Stands,
}

/// What is known of a device that should move its features back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moving {
    /// It understands being asked.
    pub is_able: bool,
    /// Reports of moved features that it has sent.
    pub moved_count: u32,
    /// The drift stands for it alone: while its new baseline is learnt, by what the model says; later, when all that
    /// came since is normal for it, by an alert of its own that stands.
    pub is_alarmed: bool,
}

impl Moving {
    /// What has become of the device's part of a drift; `is_late` if it has had the time that it may take.
    pub fn outcome(self, is_late: bool, policy: &RoundPolicy) -> Outcome {
        if self.moved_count >= policy.restandardize_reports.max(1) {
            match self.is_alarmed {
                true => Outcome::Stands,
                false => Outcome::Fell,
            }
        } else if self.is_able && !is_late {
            Outcome::Waits
        } else {
            Outcome::Stands
        }
    }
}

/// What has become of a cohort's drift: it stands where it stands for as large a share of the devices as opens a round.
pub fn outcome_of_cohort(devices: impl Iterator<Item = Outcome>, policy: &RoundPolicy) -> Outcome {
    let (mut all, mut stands) = (0_u32, 0_u32);
    for outcome in devices {
        match outcome {
            Outcome::Waits => return Outcome::Waits,
            Outcome::Fell => (),
            Outcome::Stands => stands += 1,
        }
        all += 1;
    }
    let share = f64::from(stands) / f64::from(all.max(1));
    if all > 0 && (stands == 0 || share < policy.alarmed_share_min) {
        Outcome::Fell
    } else {
        Outcome::Stands
    }
}

/// Whether moving features can help: the place or spread of an input, or of how far embeddings lie from the factory's, is
/// part of what fired. Embeddings that move alone are of features that nobody watches. The shape of inputs is not changed
/// by it, and what a model is told to be wrong about by labels alone is no matter of its inputs.
pub fn can_help(advice: Advice, baseline: &Baseline, fired: impl Fn(Signal) -> bool) -> bool {
    let advises = matches!(advice, Advice::ReStandardise | Advice::HeadUpdate);
    let channels = 0..baseline.channels().len() as u8;
    let mut moved = channels
        .flat_map(|channel| [Signal::Mean(channel), Signal::Spread(channel)])
        .filter(|signal| !is_answer(*signal, baseline) || is_embedding(*signal, baseline));
    advises && moved.any(fired)
}

/// Whether it can help against an alert, which keeps the names of the signals that fired.
pub(crate) fn helps(alert: &Alert, baseline: &Baseline) -> bool {
    let fired = |signal| alert.detail[name_of(signal, baseline)] == true;
    alert.kind == AlertKind::Drift
        && Advice::of_word(&alert.advice).is_some_and(|advice| can_help(advice, baseline, fired))
}

impl Fleet {
    /// Devices that a standing alert concerns which moving features can help, or whose cohort it does, that can, and
    /// how.
    ///
    /// Nobody while the policy asks for no part of the way. A device that is told again goes on as it was. One device,
    /// if it is one of them, or all.
    pub(crate) async fn to_restandardize(
        &self,
        of: Option<DeviceId>,
        now: Timestamp,
    ) -> Result<Vec<(DeviceId, Restandardize)>, FleetError> {
        let Some(asked) = self.policy.round.restandardizes() else {
            return Ok(Vec::new());
        };
        let mut by_model: BTreeMap<ModelId, Vec<Scope>> = BTreeMap::new();
        for alert in alert::standing(&self.db).await? {
            if alert.is_muted(now) {
                continue;
            }
            let baseline = self.baseline(&self.db, alert.model).await?;
            if baseline.is_some_and(|baseline| helps(&alert, &baseline)) {
                by_model.entry(alert.model).or_default().push(alert.scope);
            }
        }
        if by_model.is_empty() {
            return Ok(Vec::new());
        }
        let able: HashSet<DeviceId> = match of {
            Some(device) => {
                let hello = hello::get(&self.db, device).await?;
                let can =
                    |hello: &Hello| Features(hello.features as u16).has(Features::RESTANDARDIZES);
                hello.filter(can).map(|_| device).into_iter().collect()
            }
            None => self.able_to_restandardize().await?,
        };
        let mut devices = BTreeSet::new();
        for (model, scopes) in by_model {
            let cohorts: HashSet<&str> = scopes.iter().filter_map(members_of).collect();
            let alarmed: HashSet<DeviceId> = scopes.iter().filter_map(device_of).collect();
            let running = self.running(model, of).await?.into_iter();
            let meant = running.filter(|(device, cohort)| {
                able.contains(device)
                    && (alarmed.contains(device) || cohorts.contains(cohort.as_str()))
            });
            devices.extend(meant.map(|(device, _)| device));
        }
        Ok(devices.into_iter().map(|device| (device, asked)).collect())
    }

    async fn able_to_restandardize(&self) -> Result<HashSet<DeviceId>, FleetError> {
        let able = hello::having(&self.db, Features::RESTANDARDIZES.0).await?;
        Ok(able.into_iter().collect())
    }

    /// Those of a model's alerts that moving features does not answer: it cannot help, or it has not, or it is not asked
    /// for. Alerts that it has answered are resolved; those whose devices are still at it are left out.
    pub(crate) async fn left_by_moving<'a>(
        &self,
        alerts: Vec<&'a Alert>,
        running: &[(DeviceId, String)],
        now: Timestamp,
    ) -> Result<Vec<&'a Alert>, FleetError> {
        let policy = &self.policy.round;
        let Some(first) = alerts.first() else {
            return Ok(alerts);
        };
        let model = first.model;
        let (Some(_), Some(baseline)) = (
            policy.restandardizes(),
            self.baseline(&self.db, model).await?,
        ) else {
            return Ok(alerts);
        };
        let (helped, mut left): (Vec<&Alert>, Vec<&Alert>) = alerts
            .into_iter()
            .partition(|alert| helps(alert, &baseline));
        if helped.is_empty() {
            return Ok(left);
        }
        let moving = self.moving(model, &helped, running).await?;
        for alert in helped {
            // What people say of it in between does not begin the time anew.
            let is_late = now.ms_since(alert.opened_at) >= policy.restandardize_within_ms;
            let concerned = running.iter().filter(|whom| concerns(&alert.scope, whom));
            let outcomes = concerned
                .filter_map(|(device, _)| moving.get(device))
                .map(|moving| moving.outcome(is_late, policy));
            match outcome_of_cohort(outcomes, policy) {
                Outcome::Waits => (),
                Outcome::Fell => self.resolve_moved(alert, now).await?,
                Outcome::Stands => left.push(alert),
            }
        }
        Ok(left)
    }

    /// Where the devices that alerts concern are with it.
    async fn moving(
        &self,
        model: ModelId,
        alerts: &[&Alert],
        running: &[(DeviceId, String)],
    ) -> Result<HashMap<DeviceId, Moving>, FleetError> {
        let able = self.able_to_restandardize().await?;
        let cohorts: HashSet<&str> = alerts
            .iter()
            .filter_map(|alert| members_of(&alert.scope))
            .collect();
        let alarmed: HashSet<DeviceId> = alerts
            .iter()
            .filter_map(|alert| device_of(&alert.scope))
            .collect();
        let concerned = running.iter().filter(|(device, cohort)| {
            alarmed.contains(device) || cohorts.contains(cohort.as_str())
        });
        let concerned: Vec<&(DeviceId, String)> = concerned.collect();
        let of_them: BTreeSet<&str> = concerned
            .iter()
            .map(|(_, cohort)| cohort.as_str())
            .collect();
        let mut states: HashMap<DeviceId, DriftState> = HashMap::new();
        for cohort in of_them {
            let known = drift::in_cohort(&self.db, cohort, model).await?;
            let by_device = |state: DriftState| Some((device_of(&state.scope)?, state));
            states.extend(known.into_iter().filter_map(by_device));
        }
        let moving = |(device, _): &(DeviceId, String)| {
            let (device, state) = (*device, states.get(device));
            let memory = state.and_then(|state| Memory::decode(&state.state));
            let is_alarmed = match (&memory, state) {
                (Some(Memory::Settling { .. }), Some(state)) => state.alarmed || state.score >= 1.0,
                _ => alarmed.contains(&device),
            };
            let moving = Moving {
                is_able: able.contains(&device),
                moved_count: memory.map_or(0, |memory| memory.moved_count()),
                is_alarmed,
            };
            (device, moving)
        };
        Ok(concerned.into_iter().map(moving).collect())
    }

    async fn resolve_moved(&self, alert: &Alert, now: Timestamp) -> Result<(), FleetError> {
        let tx = self.db.begin_audited("resolve an alert").await?;
        let mut alert = alert.clone();
        alert.state = AlertState::Resolved;
        "fleet".clone_into(&mut alert.actor);
        "features were moved back, and the model says what it said before"
            .clone_into(&mut alert.reason);
        alert.changed_at = now;
        match alert::put(&tx, &mut alert).await {
            // Someone has just said something of it; the next turn looks again.
            Err(error) if error.is_conflict() => return Ok(()),
            written => written?,
        }
        alerts::tell(&tx, "alert.resolve", &alert, now).await?;
        Ok(tx.commit().await?)
    }
}

impl RoundPolicy {
    /// What devices are asked for, if they are asked to move features at all.
    pub(crate) fn restandardizes(&self) -> Option<Restandardize> {
        let asked = Restandardize {
            sixteenths: self.restandardize_sixteenths.min(Restandardize::SIXTEENTHS),
            windows: self.restandardize_windows,
        };
        (asked.sixteenths > 0 && asked.windows > 0).then_some(asked)
    }
}

fn device_of(scope: &Scope) -> Option<DeviceId> {
    match scope {
        Scope::Device(device) => Some(*device),
        Scope::Cohort(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tinyops_sketch::{ChannelBaseline, Source};
    use tinyops_store::Json;
    use tinyops_store::alert::AlertId;

    use super::*;

    fn moving(moved_count: u32, is_alarmed: bool) -> Moving {
        Moving {
            is_able: true,
            moved_count,
            is_alarmed,
        }
    }

    #[test]
    fn moving_features_helps_against_their_place_and_spread_alone() {
        let channels = [
            ChannelBaseline::new(Source::Feature(0), 0.0, 1.0),
            ChannelBaseline::new(Source::Output, 0.9, 0.1),
            ChannelBaseline::new(Source::Embedding, 5.0, 0.5),
        ];
        let baseline = Baseline::new(100, &channels, &[]).unwrap();
        let helps = |advice: Advice, kind: AlertKind, fired: Json| {
            let alert = Alert {
                id: AlertId(1),
                scope: Scope::Device(DeviceId(1)),
                model: ModelId(1),
                kind,
                advice: advice.word().to_owned(),
                detail: fired,
                state: AlertState::Open,
                actor: String::new(),
                reason: String::new(),
                muted_until: None,
                opened_at: Timestamp(0),
                changed_at: Timestamp(0),
                revision: 0,
            };
            helps(&alert, &baseline)
        };
        let drift = |advice, fired| helps(advice, AlertKind::Drift, fired);
        let mean = json!({ "mean of feature 0": true, "classes": true });
        let spread = json!({ "spread of feature 0": true, "shape of feature 0": true });
        assert!(drift(Advice::HeadUpdate, mean.clone()));
        assert!(drift(Advice::HeadUpdate, spread.clone()));
        assert!(drift(Advice::ReStandardise, spread));
        // Features that nobody watches have moved.
        assert!(drift(
            Advice::HeadUpdate,
            json!({ "mean of embedding": true })
        ));
        let others = [
            "shape of feature 0",
            "shape of embedding",
            "mean of output",
            "classes",
        ];
        for other in others {
            assert!(
                !drift(Advice::HeadUpdate, json!({ other: true })),
                "{other}"
            );
        }
        assert!(!drift(Advice::SensorFault, mean.clone()));
        assert!(!drift(Advice::Retrain, mean.clone()));
        assert!(!helps(Advice::HeadUpdate, AlertKind::ConceptDrift, mean));
    }

    #[test]
    fn a_drift_stands_once_moved_features_did_not_end_it() {
        let policy = RoundPolicy::default();
        let of = |moving: Moving, is_late| moving.outcome(is_late, &policy);
        assert_eq!(of(moving(2, true), false), Outcome::Waits);
        assert_eq!(of(moving(2, false), false), Outcome::Waits);
        assert_eq!(of(moving(3, true), false), Outcome::Stands);
        assert_eq!(of(moving(3, false), false), Outcome::Fell);
        // Nobody waits for one that is silent, or cannot.
        assert_eq!(of(moving(2, false), true), Outcome::Stands);
        let unable = Moving {
            is_able: false,
            ..moving(0, false)
        };
        assert_eq!(of(unable, false), Outcome::Stands);
    }

    #[test]
    fn a_cohort_waits_for_all_and_stands_by_its_share() {
        use Outcome::{Fell, Stands, Waits};
        let policy = RoundPolicy::default();
        let of = |outcomes: &[Outcome]| outcome_of_cohort(outcomes.iter().copied(), &policy);
        assert_eq!(of(&[Fell, Stands, Waits]), Waits);
        assert_eq!(of(&[Fell, Fell]), Fell);
        assert_eq!(of(&[Fell, Stands]), Stands);
        let mut many = [Fell; 20];
        many[3] = Stands;
        assert_eq!(of(&many), Fell, "one in twenty");
        many[4] = Stands;
        assert_eq!(of(&many), Stands, "two in twenty");
        assert_eq!(of(&[]), Stands, "nobody is left who could tell");
    }
}
