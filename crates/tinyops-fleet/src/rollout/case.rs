//! One rollout while it is worked on.

use std::collections::{BTreeMap, HashSet};

use serde_json::json;

use tinyops_store::model::Stage;
use tinyops_store::rollout::{self, Delivery, Member as MemberRecord, Rollout, RolloutId};
use tinyops_store::{DeviceId, Json, StoreError, Timestamp, Tx, alert, device, model, presence};

use super::arrange::Taken;
use super::{details, salt_of};
use crate::engine::{self, Action, Member, Progress, State};
use crate::enrol::note;
use crate::plan::Plan;
use crate::selector::Selector;
use crate::watch::cohort_of;
use crate::{Event, FleetError};

/// What is told of a rollout.
type Telling = fn(Rollout) -> Event;

/// A rollout while it is worked on: its record, its state, and what has become of it.
pub(super) struct Case {
    rollout: Rollout,
    before: BTreeMap<DeviceId, Member>,
    progress: Progress,
    pub(super) state: State,
    pub(super) actions: Vec<Action>,
}

impl Case {
    pub(super) async fn read(tx: &Tx, rollout: &Rollout) -> Result<Case, FleetError> {
        let (plan, progress) = details(rollout)?;
        let records = rollout::members(tx, rollout.id).await?;
        let mut members: BTreeMap<DeviceId, Member> = records
            .iter()
            .map(|record| (record.device, Member::of_record(record)))
            .collect();
        // Records of before strata: the device knows.
        let unnamed: Vec<DeviceId> = members
            .iter()
            .filter(|(_, member)| member.stratum.is_empty())
            .map(|(device, _)| *device)
            .collect();
        for device in device::get_many(tx, &unnamed).await?.into_iter().flatten() {
            if let Some(member) = members.get_mut(&device.id) {
                member.stratum = engine::stratum(&device.board, &device.cohort);
            }
        }
        let state = State {
            plan,
            phase: rollout.state,
            progress: progress.clone(),
            salt: salt_of(rollout.id),
            members: members.clone(),
        };
        Ok(Case {
            rollout: rollout.clone(),
            before: members,
            progress,
            state,
            actions: Vec::new(),
        })
    }

    /// Of a rollout that is done, later ones may have taken devices over: those that run its capsule now are its
    /// own again, the others have left it.
    pub(super) async fn find_its_devices(
        &mut self,
        tx: &Tx,
        now: Timestamp,
    ) -> Result<(), FleetError> {
        let is_taken_over = |member: &Member| {
            let is_exposed = matches!(
                member.delivery,
                Delivery::Fetching
                    | Delivery::Held
                    | Delivery::Offered
                    | Delivery::Taken
                    | Delivery::Confirmed
                    | Delivery::Silent
            );
            is_exposed && member.target.is_none()
        };
        let ids: Vec<DeviceId> = self
            .state
            .members
            .iter()
            .filter(|(_, member)| is_taken_over(member))
            .map(|(device, _)| *device)
            .collect();
        for (device, presence) in ids.iter().zip(presence::get_many(tx, &ids).await?) {
            if let Some(member) = self.state.members.get_mut(device) {
                match presence.model == Some(member.capsule) {
                    true => member.target = Some(member.capsule),
                    false => {
                        member.delivery = Delivery::Left;
                        member.changed_at = now;
                    }
                }
            }
        }
        Ok(())
    }

    pub(super) fn step(&mut self, event: engine::Event, now: Timestamp) {
        let empty = State {
            members: BTreeMap::new(),
            ..State::new(Plan::default(), 0, 0.0, now)
        };
        let state = std::mem::replace(&mut self.state, empty);
        let (state, actions) = state.step(event, now);
        self.state = state;
        self.actions.extend(actions);
    }

    pub(super) fn take(&mut self, taken: &Taken, now: Timestamp) {
        for device in taken.left.get(&self.rollout.id).into_iter().flatten() {
            self.step(engine::Event::Left(*device), now);
        }
        for event in taken.joined.get(&self.rollout.id).into_iter().flatten() {
            self.step(event.clone(), now);
        }
    }

    /// Writes what has changed, and does what is to be done.
    pub(super) async fn keep(mut self, tx: &Tx, now: Timestamp) -> Result<Vec<Event>, FleetError> {
        let id = self.rollout.id;
        let is_new =
            |(device, member): &(&DeviceId, &Member)| self.before.get(*device) != Some(*member);
        let changed: Vec<(&DeviceId, &Member)> = self.state.members.iter().filter(is_new).collect();
        let told: Vec<DeviceId> = changed
            .iter()
            .filter(|(device, member)| {
                let had = self.before.get(*device).is_some_and(|m| m.target.is_some());
                member.target.is_some() && !had || member.delivery == Delivery::Recalled
            })
            .map(|(device, _)| **device)
            .collect();
        rollout::clear_targets(tx, id, &told).await?;
        let records: Vec<MemberRecord> = changed
            .into_iter()
            .map(|(device, member)| record_of(id, *device, member))
            .collect();
        rollout::put_members(tx, &records).await?;
        let mut events: Vec<Telling> = Vec::new();
        for action in std::mem::take(&mut self.actions) {
            let (reason, event, log): (Json, Option<Telling>, &str) = match action {
                Action::Advance { reason, .. } => (reason, Some(Event::WaveDone), "rollout.wave"),
                Action::Finish { reason } => (reason, Some(Event::RolloutDone), "rollout.done"),
                Action::Halt { reason } => (reason, Some(Event::RolloutHalted), "rollout.halted"),
                Action::Hold { reason } => (reason, None, ""),
                Action::Promote => {
                    let (model, previous) = (&self.rollout.model, self.rollout.previous);
                    put_stage(tx, model, previous, Stage::Archived).await?;
                    put_stage(tx, model, Some(self.rollout.version), Stage::Production).await?;
                    continue;
                }
                _ => continue,
            };
            self.rollout.changed_at = now;
            self.rollout.reason = reason;
            if log == "rollout.halted" {
                let (model, previous) = (&self.rollout.model, self.rollout.previous);
                put_stage(tx, model, Some(self.rollout.version), Stage::Rejected).await?;
                put_stage(tx, model, previous, Stage::Production).await?;
            }
            if log == "rollout.done" {
                settle_alerts(tx, &self.rollout, now).await?;
            }
            if !log.is_empty() {
                note(tx, now, "fleet", log, id, &self.rollout.reason).await?;
            }
            events.extend(event);
        }
        if self.rollout.state != self.state.phase
            || self.progress != self.state.progress
            || !events.is_empty()
        {
            self.rollout.state = self.state.phase;
            self.rollout.progress = json!(self.state.progress);
            rollout::put(tx, &mut self.rollout).await?;
        }
        Ok(events
            .into_iter()
            .map(|event| event(self.rollout.clone()))
            .collect())
    }
}

pub(super) fn record_of(rollout: RolloutId, device: DeviceId, member: &Member) -> MemberRecord {
    MemberRecord {
        rollout,
        device,
        delivery: member.delivery,
        target: member.target,
        changed_at: member.changed_at,
        detail: member.detail(),
    }
}

pub(super) async fn put_stage(
    tx: &Tx,
    name: &str,
    version: Option<u32>,
    stage: Stage,
) -> Result<(), StoreError> {
    let Some(version) = version else {
        return Ok(());
    };
    let Some(mut found) = model::get(tx, name, version).await? else {
        return Ok(());
    };
    if found.stage != stage {
        found.stage = stage;
        model::put(tx, &mut found).await?;
    }
    Ok(())
}

/// What stood of a cohort's older models is over when the new one is everywhere.
async fn settle_alerts(tx: &Tx, rollout: &Rollout, now: Timestamp) -> Result<(), FleetError> {
    let mut current = HashSet::new();
    for member in rollout::members(tx, rollout.id).await? {
        current.extend(member.target);
    }
    let selector = Selector::parse(&rollout.selector)?;
    for mut alert in alert::standing(tx).await? {
        let cohort = cohort_of(&alert.scope);
        let concerned = match (selector.cohort(), rollout.selector.is_empty()) {
            (Some(name), _) => cohort == Some(name),
            (None, is_everyone) => is_everyone && cohort.is_some(),
        };
        if concerned && !current.contains(&alert.model) {
            alert.state = alert::AlertState::Resolved;
            "fleet".clone_into(&mut alert.actor);
            alert.changed_at = now;
            alert::put(tx, &mut alert).await?;
        }
    }
    Ok(())
}
