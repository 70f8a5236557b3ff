//! Rollouts as the fleet carries them out.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::json;
use tinyops_sketch::{ChannelBaseline, Source};
use tinyops_store::device::{Device, DevicePage, DeviceState};
use tinyops_store::drift::Scope;
use tinyops_store::model::Stage;
use tinyops_store::rollout::{Delivery, Member, NewRollout, Rollout, RolloutId, RolloutState};
use tinyops_store::{
    DeviceId, Json, ModelId, Timestamp, Tx, alert, capsule, device, drift, model, outcome,
    presence, rollout,
};
use tinyops_wire::Frame;

use crate::canary::{self, Health, Plan};
use crate::detector::Memory;
use crate::enrol::note;
use crate::watch::{Observation, cohort_of};
use crate::{Event, Fleet, FleetError};

/// A rollout that someone wants.
#[derive(Clone, Debug, PartialEq)]
pub struct Wish<'a> {
    /// The model.
    pub model: &'a str,
    /// Its version; there are capsules of it.
    pub version: u32,
    /// The cohort; `None` is every device with a fitting board.
    pub cohort: Option<&'a str>,
    /// The plan; `None` is the fleet's.
    pub plan: Option<Plan>,
}

/// Devices read at a time.
const PAGE: u32 = 5_000;

impl Fleet {
    /// Begins a rollout: chooses the canaries, by a hash of their ids within each board.
    ///
    /// # Errors
    /// [`FleetError::NoCapsule`] if no device could take it; [`FleetError::Underway`].
    pub async fn start_rollout(
        &self,
        wish: &Wish<'_>,
        actor: &str,
        now: Timestamp,
    ) -> Result<(Rollout, Vec<Event>), FleetError> {
        let tx = self.db.begin("start a rollout").await?;
        if let Some(other) = rollout::open(&tx)
            .await?
            .into_iter()
            .find(|other| other.model == wish.model)
        {
            return Err(FleetError::Underway(other.id));
        }
        let plan = wish
            .plan
            .clone()
            .unwrap_or_else(|| self.policy.rollout.clone());
        let previous = model::in_stage(&tx, wish.model, Stage::Production).await?;
        let new = NewRollout {
            model: wish.model.to_owned(),
            version: wish.version,
            previous: previous
                .map(|model| model.version)
                .filter(|version| *version != wish.version),
            cohort: wish.cohort.map(str::to_owned),
            state: if plan.canary_share >= 1.0 {
                RolloutState::Full
            } else {
                RolloutState::Canary
            },
            plan: serde_json::to_value(&plan).unwrap_or_default(),
        };
        let rollout = rollout::add(&tx, &new, now).await?;
        let by_board = candidates(&tx, &rollout).await?;
        let mut members = Vec::new();
        for (target, devices) in &by_board {
            let canaries: HashSet<DeviceId> = canary::choose(devices, &plan, rollout.id.0 as u64)
                .into_iter()
                .collect();
            for id in devices {
                members.push(new_member(
                    &rollout,
                    *id,
                    *target,
                    canaries.contains(id),
                    now,
                ));
            }
        }
        if members.is_empty() {
            return Err(FleetError::NoCapsule {
                model: wish.model.to_owned(),
                version: wish.version,
            });
        }
        remember_what_they_run(&tx, &mut members).await?;
        rollout::put_members(&tx, &members).await?;
        let stage = if rollout.state == RolloutState::Full {
            Stage::Production
        } else {
            Stage::Canary
        };
        put_stage(&tx, &rollout.model, Some(rollout.version), stage).await?;
        let canary_count = members
            .iter()
            .filter(|member| member.target.is_some())
            .count();
        let detail =
            json!({ "model": rollout.model, "version": rollout.version, "canaries": canary_count });
        note(&tx, now, actor, "rollout.start", rollout.id, &detail).await?;
        tx.commit().await?;
        Ok((
            rollout.clone(),
            vec![Event::RolloutStarted {
                rollout,
                canary_count,
            }],
        ))
    }

    /// Holds a rollout: nobody new is offered anything.
    ///
    /// # Errors
    /// [`FleetError::NoRollout`], [`FleetError::WrongState`].
    pub async fn pause_rollout(
        &self,
        id: RolloutId,
        actor: &str,
        why: &str,
        now: Timestamp,
    ) -> Result<Rollout, FleetError> {
        self.change_rollout(id, actor, "rollout.pause", now, |rollout| {
            let before = rollout.state;
            matches!(before, RolloutState::Canary | RolloutState::Full).then(|| {
                rollout.reason = json!({ "why": why, "by": actor, "before": before.word() });
                RolloutState::Paused
            })
        })
        .await
    }

    /// Lets a held rollout go on.
    ///
    /// # Errors
    /// [`FleetError::NoRollout`], [`FleetError::WrongState`].
    pub async fn resume_rollout(
        &self,
        id: RolloutId,
        actor: &str,
        now: Timestamp,
    ) -> Result<Rollout, FleetError> {
        self.change_rollout(id, actor, "rollout.resume", now, |rollout| {
            let before = rollout.reason["before"]
                .as_str()
                .and_then(RolloutState::of_word);
            (rollout.state == RolloutState::Paused).then(|| {
                rollout.reason = json!({ "by": actor });
                before.unwrap_or(RolloutState::Canary)
            })
        })
        .await
    }

    /// Takes every device of a rollout back to what it ran before, even if the rollout is done.
    ///
    /// # Errors
    /// [`FleetError::NoRollout`], [`FleetError::WrongState`] if it was taken back already.
    pub async fn revert_rollout(
        &self,
        id: RolloutId,
        actor: &str,
        why: &str,
        now: Timestamp,
    ) -> Result<Rollout, FleetError> {
        let tx = self.db.begin("revert a rollout").await?;
        let mut rollout = rollout::get(&tx, id)
            .await?
            .ok_or(FleetError::NoRollout(id))?;
        if rollout.state == RolloutState::Halted {
            return Err(FleetError::WrongState {
                id,
                state: rollout.state,
            });
        }
        let members = rollout::members(&tx, id).await?;
        halt(
            &tx,
            &mut rollout,
            members,
            json!({ "why": why, "by": actor }),
            now,
        )
        .await?;
        note(&tx, now, actor, "rollout.revert", id, &rollout.reason).await?;
        tx.commit().await?;
        Ok(rollout)
    }

    async fn change_rollout(
        &self,
        id: RolloutId,
        actor: &str,
        action: &str,
        now: Timestamp,
        change: impl FnOnce(&mut Rollout) -> Option<RolloutState> + Send,
    ) -> Result<Rollout, FleetError> {
        let tx = self.db.begin("change a rollout").await?;
        let mut rollout = rollout::get(&tx, id)
            .await?
            .ok_or(FleetError::NoRollout(id))?;
        let state = rollout.state;
        rollout.state = change(&mut rollout).ok_or(FleetError::WrongState { id, state })?;
        rollout.changed_at = now;
        rollout::put(&tx, &mut rollout).await?;
        note(&tx, now, actor, action, id, &rollout.reason).await?;
        tx.commit().await?;
        Ok(rollout)
    }

    /// Notes what a batch of frames means for the deliveries of their devices.
    pub(crate) async fn follow_updates(
        &self,
        tx: &Tx,
        observations: &[Observation<'_>],
        now: Timestamp,
    ) -> Result<(), FleetError> {
        let telling = |o: &&Observation<'_>| {
            matches!(
                o.frame,
                Frame::Update(_) | Frame::Summary(_) | Frame::Hello(_)
            )
        };
        let mut devices: Vec<DeviceId> = observations
            .iter()
            .filter(telling)
            .map(|o| o.device)
            .collect();
        devices.sort_unstable();
        devices.dedup();
        if devices.is_empty() {
            return Ok(());
        }
        let members = rollout::targets(tx, &devices).await?;
        let mut members: HashMap<DeviceId, Member> = members
            .into_iter()
            .flatten()
            .map(|member| (member.device, member))
            .collect();
        let mut changed = HashSet::new();
        for observation in observations.iter().filter(telling) {
            let Some(member) = members.get_mut(&observation.device) else {
                continue;
            };
            let Some(target) = member.target else {
                continue;
            };
            let update = match &observation.frame {
                Frame::Update(update) => Some(update),
                // A boot may be a trial; a report, or an update's own word, is more than that.
                Frame::Hello(_) => continue,
                _ => None,
            };
            let Some(delivery) =
                canary::observe(member.delivery, target, observation.model, update)
            else {
                continue;
            };
            member.delivery = delivery;
            member.changed_at = now;
            if let Some(update) = update {
                member.detail["reason"] = json!(update.reason.as_str());
                member.detail["number"] = json!(update.detail);
            }
            if matches!(delivery, Delivery::Failed | Delivery::Reverted) {
                // What it ran before is what it should run; it is not offered the same again.
                member.target = None;
            }
            changed.insert(observation.device);
        }
        let changed: Vec<Member> = members
            .into_values()
            .filter(|member| changed.contains(&member.device))
            .collect();
        rollout::put_members(tx, &changed).await?;
        Ok(())
    }

    pub(crate) async fn turn_rollouts(&self, now: Timestamp) -> Result<Vec<Event>, FleetError> {
        let mut events = Vec::new();
        for open in rollout::open(&self.db).await? {
            if open.state == RolloutState::Paused {
                continue;
            }
            match self.turn_rollout(open.id, now).await {
                Ok(event) => events.extend(event),
                // Another turn, or an ingest, was there first; the next turn sees what it did.
                Err(FleetError::Store(error)) if error.is_conflict() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(events)
    }

    async fn turn_rollout(
        &self,
        id: RolloutId,
        now: Timestamp,
    ) -> Result<Option<Event>, FleetError> {
        let tx = self.db.begin("judge a rollout").await?;
        let Some(mut rollout) = rollout::get(&tx, id).await? else {
            return Ok(None);
        };
        let plan: Plan = serde_json::from_value(rollout.plan.clone()).unwrap_or_default();
        let mut members = rollout::members(&tx, id).await?;
        let mut changed = admit_newcomers(&tx, &rollout, &mut members, now).await?;
        changed.extend(mark_silent(&tx, &plan, &mut members, now).await?);
        let health = self.health(&tx, &rollout, &plan, &members, now).await?;
        let age_ms = now.ms_since(rollout.created_at);
        let Some(decision) = canary::decide(rollout.state, &plan, &health, age_ms) else {
            if !changed.is_empty() {
                rollout::put_members(&tx, &changed).await?;
                tx.commit().await?;
            }
            return Ok(None);
        };
        rollout::put_members(&tx, &changed).await?;
        let event = match decision.state {
            RolloutState::Halted => {
                halt(&tx, &mut rollout, members, decision.reason, now).await?;
                Event::RolloutHalted(rollout.clone())
            }
            state => {
                rollout.state = state;
                rollout.reason = decision.reason;
                rollout.changed_at = now;
                rollout::put(&tx, &mut rollout).await?;
                if state == RolloutState::Full {
                    offer_to_all(&tx, members, now).await?;
                    put_stage(&tx, &rollout.model, rollout.previous, Stage::Archived).await?;
                    put_stage(
                        &tx,
                        &rollout.model,
                        Some(rollout.version),
                        Stage::Production,
                    )
                    .await?;
                    Event::WaveDone(rollout.clone())
                } else {
                    settle_alerts(&tx, &rollout, now).await?;
                    Event::RolloutDone(rollout.clone())
                }
            }
        };
        let action = format!("rollout.{}", rollout.state);
        note(&tx, now, "fleet", &action, id, &rollout.reason).await?;
        tx.commit().await?;
        Ok(Some(event))
    }
}

/// The active devices that a rollout is for, by the capsule that they would get.
async fn candidates(
    tx: &Tx,
    rollout: &Rollout,
) -> Result<BTreeMap<ModelId, Vec<DeviceId>>, FleetError> {
    let mut targets: HashMap<String, Option<ModelId>> = HashMap::new();
    let mut found: BTreeMap<ModelId, Vec<DeviceId>> = BTreeMap::new();
    let mut page = None;
    loop {
        let devices = device::list(tx, page, PAGE).await?;
        let Some(last) = devices.last() else {
            return Ok(found);
        };
        page = Some(DevicePage::after(last));
        for device in devices.iter().filter(|device| fits(device, rollout)) {
            let target = match targets.get(&device.board) {
                Some(target) => *target,
                None => {
                    let capsule =
                        capsule::for_board(tx, &rollout.model, rollout.version, &device.board)
                            .await?;
                    let target = capsule.map(|capsule| capsule.id);
                    targets.insert(device.board.clone(), target);
                    target
                }
            };
            if let Some(target) = target {
                found.entry(target).or_default().push(device.id);
            }
        }
    }
}

fn fits(device: &Device, rollout: &Rollout) -> bool {
    let in_cohort = rollout
        .cohort
        .as_ref()
        .is_none_or(|cohort| *cohort == device.cohort);
    device.state == DeviceState::Active && in_cohort
}

fn new_member(
    rollout: &Rollout,
    device: DeviceId,
    target: ModelId,
    gets_it: bool,
    now: Timestamp,
) -> Member {
    Member {
        rollout: rollout.id,
        device,
        delivery: if gets_it {
            Delivery::Offered
        } else {
            Delivery::Control
        },
        target: gets_it.then_some(target),
        changed_at: now,
        detail: json!({ "capsule": target.to_string() }),
    }
}

/// Notes what each device runs now, for the way back.
async fn remember_what_they_run(tx: &Tx, members: &mut [Member]) -> Result<(), FleetError> {
    let ids: Vec<DeviceId> = members.iter().map(|member| member.device).collect();
    for (member, presence) in members.iter_mut().zip(presence::get_many(tx, &ids).await?) {
        if let Some(model) = presence.model {
            member.detail["before"] = json!(model.to_string());
        }
    }
    Ok(())
}

/// Devices that were registered, or moved into the cohort, since the rollout began.
async fn admit_newcomers(
    tx: &Tx,
    rollout: &Rollout,
    members: &mut Vec<Member>,
    now: Timestamp,
) -> Result<Vec<Member>, FleetError> {
    let known: HashSet<DeviceId> = members.iter().map(|member| member.device).collect();
    let gets_it = rollout.state == RolloutState::Full;
    let mut newcomers = Vec::new();
    for (target, devices) in candidates(tx, rollout).await? {
        let new = devices.into_iter().filter(|device| !known.contains(device));
        newcomers.extend(new.map(|device| new_member(rollout, device, target, gets_it, now)));
    }
    remember_what_they_run(tx, &mut newcomers).await?;
    members.extend(newcomers.iter().cloned());
    Ok(newcomers)
}

async fn mark_silent(
    tx: &Tx,
    plan: &Plan,
    members: &mut [Member],
    now: Timestamp,
) -> Result<Vec<Member>, FleetError> {
    let is_due = |member: &&mut Member| {
        member.delivery == Delivery::Offered && canary::is_due(plan, member.changed_at, now)
    };
    let mut due: Vec<&mut Member> = members.iter_mut().filter(is_due).collect();
    let ids: Vec<DeviceId> = due.iter().map(|member| member.device).collect();
    let mut silent = Vec::new();
    for (member, presence) in due.iter_mut().zip(presence::get_many(tx, &ids).await?) {
        if canary::was_heard_since(member.changed_at, presence.last_seen) {
            member.delivery = Delivery::Silent;
            member.changed_at = now;
            silent.push(member.clone());
        }
    }
    Ok(silent)
}

impl Fleet {
    async fn health(
        &self,
        tx: &Tx,
        rollout: &Rollout,
        plan: &Plan,
        members: &[Member],
        now: Timestamp,
    ) -> Result<Health, FleetError> {
        let mut health = Health::default();
        let arms: HashMap<DeviceId, &Member> = members
            .iter()
            .map(|member| (member.device, member))
            .collect();
        for (device, model, right, judged) in outcome::by_device(tx, rollout.created_at).await? {
            let Some(member) = arms.get(&device) else {
                continue;
            };
            let arm = match gets_it(member) {
                true if Some(model) == capsule_of(member) => 0,
                false if Some(model) != capsule_of(member) => 1,
                _ => continue,
            };
            health.judged[arm].0 += right;
            health.judged[arm].1 += judged;
        }
        let mut wanted = Vec::new();
        for member in members {
            let runs = if gets_it(member) {
                capsule_of(member)
            } else {
                before_of(member)
            };
            wanted.push((Scope::Device(member.device), runs.unwrap_or(ModelId(0))));
        }
        for (member, state) in members.iter().zip(drift::get_many(tx, &wanted).await?) {
            let model = state.as_ref().map(|state| state.model);
            let memory = state
                .and_then(|state| Memory::decode(&state.state))
                .unwrap_or_default();
            if !gets_it(member) {
                health.outputs[1].extend(self.output_of(tx, model, &memory).await?);
                continue;
            }
            health.offered += 1;
            match member.delivery {
                Delivery::Confirmed => {
                    health.confirmed += 1;
                    health.ready += u32::from(memory.report_count() >= plan.canary_reports);
                    health.outputs[0].extend(self.output_of(tx, model, &memory).await?);
                }
                Delivery::Failed => health.failed += 1,
                Delivery::Reverted => health.reverted += 1,
                Delivery::Silent => health.silent += 1,
                // Those that were heard of are marked silent by now.
                Delivery::Offered => {
                    health.away += u32::from(canary::is_due(plan, member.changed_at, now))
                }
                Delivery::Control | Delivery::Recalled => {}
            }
        }
        Ok(health)
    }

    /// How far the model's output is from its training on one device, if the model is a classifier, whose
    /// output is a confidence, and it is watched.
    async fn output_of(
        &self,
        tx: &Tx,
        model: Option<ModelId>,
        memory: &Memory,
    ) -> Result<Option<f64>, FleetError> {
        let Some(model) = model else { return Ok(None) };
        let Some(baseline) = self.baseline(tx, model).await? else {
            return Ok(None);
        };
        if baseline.class_prior().len() < 2 {
            return Ok(None);
        }
        let is_output = |channel: &ChannelBaseline| channel.source == Source::Output;
        let channel = baseline.channels().iter().position(is_output);
        Ok(channel
            .and_then(|channel| memory.level(channel as u8))
            .map(f64::from))
    }
}

fn gets_it(member: &Member) -> bool {
    member.delivery != Delivery::Control
}

/// The capsule that a member gets or would get.
fn capsule_of(member: &Member) -> Option<ModelId> {
    member.detail["capsule"].as_str()?.parse().ok()
}

/// What it ran when it joined the rollout.
fn before_of(member: &Member) -> Option<ModelId> {
    member.detail["before"].as_str()?.parse().ok()
}

async fn offer_to_all(tx: &Tx, members: Vec<Member>, now: Timestamp) -> Result<(), FleetError> {
    let waiting = members
        .into_iter()
        .filter(|member| member.delivery == Delivery::Control);
    let offered: Vec<Member> = waiting
        .map(|member| Member {
            delivery: Delivery::Offered,
            target: capsule_of(&member),
            changed_at: now,
            ..member
        })
        .collect();
    rollout::put_members(tx, &offered).await?;
    Ok(())
}

/// Stops a rollout and points every exposed device back to what it ran before.
async fn halt(
    tx: &Tx,
    rollout: &mut Rollout,
    members: Vec<Member>,
    reason: Json,
    now: Timestamp,
) -> Result<(), FleetError> {
    rollout.state = RolloutState::Halted;
    rollout.reason = reason;
    rollout.changed_at = now;
    rollout::put(tx, rollout).await?;
    let recalled = members.into_iter().filter_map(|member| {
        let delivery = match member.delivery {
            Delivery::Offered | Delivery::Confirmed | Delivery::Silent => Delivery::Recalled,
            _ => return None,
        };
        let before = before_of(&member);
        Some(Member {
            delivery,
            target: before.filter(|before| *before != ModelId(0)),
            changed_at: now,
            ..member
        })
    });
    let recalled: Vec<Member> = recalled.collect();
    rollout::put_members(tx, &recalled).await?;
    put_stage(tx, &rollout.model, Some(rollout.version), Stage::Rejected).await?;
    put_stage(tx, &rollout.model, rollout.previous, Stage::Production).await
}

async fn put_stage(
    tx: &Tx,
    name: &str,
    version: Option<u32>,
    stage: Stage,
) -> Result<(), FleetError> {
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
    for mut alert in alert::standing(tx).await? {
        let cohort = cohort_of(&alert.scope);
        let concerned = cohort.is_some()
            && rollout
                .cohort
                .as_deref()
                .is_none_or(|name| cohort == Some(name));
        if concerned && !current.contains(&alert.model) {
            alert.state = alert::AlertState::Resolved;
            "fleet".clone_into(&mut alert.actor);
            alert.changed_at = now;
            alert::put(tx, &mut alert).await?;
        }
    }
    Ok(())
}
