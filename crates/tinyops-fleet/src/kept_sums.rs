//! What becomes of a round in the clear after it has closed: late devices join its sum, and who withdraws leaves it.
//!
//! The sums of single devices are kept for as long as the policy says. A sum is never corrected: it is made anew of those
//! that are in it now, by the very function that made the first, so that it is the sum of a round in which only they
//! answered, to the last bit, norm and buckets included. The one that it replaces is removed, for the difference of both
//! is what one device has told. Of sums under masks none of this can be said: nobody has the numbers of a device.

use std::collections::HashSet;

use serde_json::json;
use tinyops_store::model::Stage;
use tinyops_store::round::{Round, RoundId, RoundState};
use tinyops_store::trigger::{NewTrigger, Trigger, TriggerId, TriggerState};
use tinyops_store::withdrawal::Withdrawal;
use tinyops_store::{
    DeviceId, Digest, Read, Timestamp, Tx, device, model, round, trigger, withdrawal,
};

use crate::enrol::note;
use crate::masked_round::{forget, task_of};
use crate::{Event, Fleet, FleetError};

/// Why a round ends whose devices have withdrawn.
const TOO_FEW_LEFT: &str = "devices withdrew, and those that are left are too few for a sum";

/// What a withdrawal came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Withdrawn {
    /// From now on no round asks the device.
    pub withdrawal: Withdrawal,
    /// Rounds that it has left, as they are without it.
    pub left: Vec<Round>,
    /// New heads that are asked for, since what devices run was solved from what the device had told.
    pub triggers: Vec<Trigger>,
}

/// Devices that have withdrawn.
pub(crate) async fn withdrawn(on: &impl Read) -> Result<HashSet<DeviceId>, FleetError> {
    let all = withdrawal::list(on).await?;
    Ok(all.into_iter().map(|one| one.device).collect())
}

impl Fleet {
    /// Takes a device out of every round whose sums are kept, and asks it for none any more.
    ///
    /// Where a version that is in use, or may come into use, was solved from a sum that it leaves, a new head is asked for.
    /// One that was given out stays where it is until that one takes its place.
    ///
    /// # Errors
    /// [`FleetError::NoDevice`].
    pub async fn withdraw_sums(
        &self,
        id: DeviceId,
        why: &str,
        actor: &str,
        now: Timestamp,
    ) -> Result<Withdrawn, FleetError> {
        crate::again::again!({
            let tx = self.db.begin_audited("withdraw a device's sums").await?;
            if device::get(&tx, id).await?.is_none() {
                return Err(FleetError::NoDevice(id));
            }
            let withdrawn = self.leave_rounds(&tx, id, why, actor, now).await?;
            tx.commit().await?;
            for round in &withdrawn.left {
                self.remove_replaced(round).await?;
            }
            Ok(withdrawn)
        })
    }

    /// Lets a device take part in rounds again, from the next one on.
    ///
    /// # Errors
    /// [`FleetError::NotWithdrawn`].
    pub async fn admit_sums(
        &self,
        id: DeviceId,
        why: &str,
        actor: &str,
        now: Timestamp,
    ) -> Result<(), FleetError> {
        crate::again::again!({
            let tx = self.db.begin_audited("admit a device's sums").await?;
            if !withdrawal::remove(&tx, id).await? {
                return Err(FleetError::NotWithdrawn(id));
            }
            note(
                &tx,
                now,
                actor,
                "device.admit-sums",
                id,
                &json!({ "why": why }),
            )
            .await?;
            Ok(tx.commit().await?)
        })
    }

    /// The same for a device that had withdrawn by itself, and whose owner consents again.
    pub(crate) async fn readmit(
        &self,
        tx: &Tx,
        id: DeviceId,
        now: Timestamp,
    ) -> Result<(), FleetError> {
        let itself = id.to_string();
        let withdrawn = withdrawal::get(tx, id).await?;
        if withdrawn.is_some_and(|withdrawn| withdrawn.actor == itself) {
            withdrawal::remove(tx, id).await?;
            let detail = json!({ "why": "said by the device" });
            note(tx, now, &itself, "device.admit-sums", id, &detail).await?;
        }
        Ok(())
    }

    /// Asks for a head from the sum of a closed round as it is now: of all that have joined it, and without those that
    /// have left. A trigger that still waits is that wish already.
    ///
    /// # Errors
    /// [`FleetError::NoRound`], [`FleetError::NoSum`].
    pub async fn solve_round(
        &self,
        id: RoundId,
        why: &str,
        actor: &str,
        now: Timestamp,
    ) -> Result<Trigger, FleetError> {
        crate::again::again!({
            let tx = self.db.begin_audited("solve a round").await?;
            let round = round::get(&tx, id).await?.ok_or(FleetError::NoRound(id))?;
            let before = trigger_of(&tx, &round).await?;
            let (Some(statistics), Some(before)) = (round.statistics, before) else {
                return Err(FleetError::NoSum(id));
            };
            if before.state == TriggerState::Waiting && before.payload == Some(statistics) {
                return Ok(before);
            }
            let said = match why {
                "" => format!("round {id} is to be solved anew"),
                why => why.to_owned(),
            };
            let new = again(&before, &round, &said);
            let trigger = ask(&tx, round, &new, now).await?;
            let detail = json!({ "why": why, "trigger": trigger.id.0 });
            note(&tx, now, actor, "round.solve", id, &detail).await?;
            tx.commit().await?;
            Ok(trigger)
        })
    }

    /// The same as [`Fleet::withdraw_sums`], in a transaction of its caller's; what is replaced is removed at the next turn.
    pub(crate) async fn leave_rounds(
        &self,
        tx: &Tx,
        id: DeviceId,
        why: &str,
        actor: &str,
        now: Timestamp,
    ) -> Result<Withdrawn, FleetError> {
        let said = Withdrawal {
            device: id,
            actor: actor.to_owned(),
            why: why.to_owned(),
            at: now,
        };
        // What a person says outlasts what the device has said.
        let itself = id.to_string();
        let held = withdrawal::get(tx, id).await?;
        if actor != itself && held.is_some_and(|held| held.actor == itself) {
            withdrawal::remove(tx, id).await?;
        }
        let is_news = withdrawal::add(tx, &said).await?;
        let mut withdrawn = Withdrawn {
            withdrawal: withdrawal::get(tx, id).await?.unwrap_or(said),
            left: Vec::new(),
            triggers: Vec::new(),
        };
        for mut round in round::taking(tx).await? {
            let told = round::contribution(tx, round.id, id).await?;
            let is_masked = task_of(&round).is_some() || round.state == RoundState::Opening;
            let Some(told) = told.filter(|told| !(is_masked && told.whole)) else {
                continue;
            };
            if round.state == RoundState::Closed && round.is_stale {
                // So that it is known whether the device is in the sum.
                self.sum_anew(tx, &mut round, now).await?;
            }
            let is_in_sum = round.state == RoundState::Closed
                && !self.usable(std::slice::from_ref(&told)).0.is_empty();
            round::forget_contribution(tx, round.id, id).await?;
            if !is_in_sum {
                continue;
            }
            round.device_count = round.device_count.saturating_sub(1);
            count(&mut round, "withdrawn", 1);
            let before = trigger_of(tx, &round).await?;
            self.sum_anew(tx, &mut round, now).await?;
            let detail = json!({ "device": id.to_string(), "devices": round.device_count, "state": round.state.word() });
            note(tx, now, actor, "round.withdraw", round.id, &detail).await?;
            if let Some(before) = before
                && round.state == RoundState::Closed
                && before.state != TriggerState::Waiting
                && any_in_use(tx, &before).await?
            {
                let why = format!("device {id} withdrew from round {}", round.id);
                let new = again(&before, &round, &why);
                let trigger = ask(tx, round.clone(), &new, now).await?;
                withdrawn.triggers.push(trigger);
                round = round::get(tx, round.id).await?.unwrap_or(round);
            }
            withdrawn.left.push(round);
        }
        if is_news {
            let left: Vec<i64> = withdrawn.left.iter().map(|round| round.id.0).collect();
            let detail = json!({ "why": why, "rounds": left });
            note(tx, now, actor, "device.withdraw-sums", id, &detail).await?;
        }
        Ok(withdrawn)
    }

    /// What is due of a round that is over: its sum is made anew where devices were late, what was replaced is removed, and
    /// sums of single devices are forgotten in time.
    pub(crate) async fn turn_kept_sums(
        &self,
        id: RoundId,
        now: Timestamp,
    ) -> Result<Vec<Event>, FleetError> {
        let tx = self.db.begin_audited("turn the sums that are kept").await?;
        let Some(mut round) = round::get(&tx, id).await? else {
            return Ok(Vec::new());
        };
        // Within the transaction: a sum that was replaced may become the round's again. Should it fail, they are named
        // still.
        self.remove_replaced(&round).await?;
        let is_over = round.kept_until.is_some_and(|until| until <= now);
        let waits = trigger_of(&tx, &round).await?;
        if !is_over && waits.is_some_and(|trigger| trigger.state == TriggerState::Taken) {
            // A run reads the sum: it is left to it.
            return Ok(Vec::new());
        }
        if let Some(detail) = round.detail.as_object_mut() {
            detail.remove(REPLACED);
        }
        let mut events = Vec::new();
        if round.is_stale && round.kept_until.is_some() && !is_over {
            let before = round.device_count;
            self.sum_anew(&tx, &mut round, now).await?;
            if round.device_count > before {
                let detail =
                    json!({ "joined": round.device_count - before, "devices": round.device_count });
                note(&tx, now, "fleet", "round.join", id, &detail).await?;
                events.push(Event::RoundJoined(round.clone()));
            }
        } else {
            round.is_stale = false;
            round::put(&tx, &mut round).await?;
        }
        if is_over {
            forget(&tx, id).await?;
            round.kept_until = None;
            round::put(&tx, &mut round).await?;
            note(&tx, now, "fleet", "round.forget-sums", id, &json!({})).await?;
        }
        tx.commit().await?;
        Ok(events)
    }

    /// Makes the sum of a closed round anew, of the devices whose sums are kept, and lets a trigger that waits ask for a head
    /// from it. Where they are too few the round ends without a sum.
    async fn sum_anew(&self, tx: &Tx, round: &mut Round, now: Timestamp) -> Result<(), FleetError> {
        let parts = round::contributions(tx, round.id).await?;
        let (usable, windows) = self.usable(&parts);
        let (old, before) = (round.statistics, round.device_count);
        let waiting = trigger_of(tx, round).await?;
        let waiting = waiting.filter(|trigger| trigger.state == TriggerState::Waiting);
        match self.sum_of(&usable) {
            Some(sum) if self.is_enough(round, &usable, windows) => {
                round.detail["windows"] = json!(windows);
                let new = self.keep_sum(tx, round, sum).await?;
                let joined = round.device_count.saturating_sub(before);
                if joined > 0 {
                    count(round, "late", u64::from(joined));
                }
                if let Some(mut trigger) = waiting {
                    (trigger.payload, trigger.detail) = (new.payload, new.detail);
                    trigger::put(tx, &mut trigger).await?;
                }
            }
            _ => {
                round.state = RoundState::Abandoned;
                round.statistics = None;
                round.device_count = usable.len() as u32;
                round.kept_until = None;
                round.detail["abandoned"] = json!(TOO_FEW_LEFT);
                forget(tx, round.id).await?;
                if let Some(mut trigger) = waiting {
                    trigger.state = TriggerState::Failed;
                    trigger.changed_at = now;
                    trigger.detail["failed"] = json!(TOO_FEW_LEFT);
                    trigger::put(tx, &mut trigger).await?;
                }
            }
        }
        let mut replaced = replaced(round);
        replaced.extend(old);
        replaced.retain(|digest| Some(*digest) != round.statistics);
        round.is_stale = !replaced.is_empty();
        let words: Vec<String> = replaced.iter().map(Digest::to_string).collect();
        match round.detail.as_object_mut() {
            Some(detail) if words.is_empty() => drop(detail.remove(REPLACED)),
            _ => round.detail[REPLACED] = json!(words),
        }
        Ok(round::put(tx, round).await?)
    }

    /// Removes sums that others have replaced.
    async fn remove_replaced(&self, round: &Round) -> Result<(), FleetError> {
        for digest in replaced(round) {
            self.artifacts.remove(&digest).await?;
        }
        Ok(())
    }
}

/// Where a round names the sums that are to be removed: the transaction that replaces one may still fail.
const REPLACED: &str = "replaced";

fn replaced(round: &Round) -> Vec<Digest> {
    let words = round.detail[REPLACED].as_array().into_iter().flatten();
    words
        .filter_map(|word| word.as_str()?.parse().ok())
        .collect()
}

/// Counts something in the detail of a round.
fn count(round: &mut Round, name: &str, more: u64) {
    let before = round.detail[name].as_u64().unwrap_or(0);
    round.detail[name] = json!(before + more);
}

/// What has last asked for a head from the sum of a round.
async fn trigger_of(on: &impl Read, round: &Round) -> Result<Option<Trigger>, FleetError> {
    match round.detail["trigger"].as_i64() {
        Some(id) => Ok(trigger::get(on, TriggerId(id)).await?),
        None => Ok(None),
    }
}

/// The same wish as before, of the sum as it is now. It answers no repair: that one has gone its way.
fn again(before: &Trigger, round: &Round, why: &str) -> NewTrigger {
    let mut detail = before.detail.clone();
    let windows = &round.detail["windows_in_sum"];
    for (name, value) in [
        ("why", json!(why)),
        ("before", json!(before.id.0)),
        ("repair", json!(null)),
        ("devices", json!(round.device_count)),
        ("device_count", json!(round.device_count)),
        ("labels", windows.clone()),
        ("window_count", windows.clone()),
    ] {
        detail[name] = value;
    }
    if let Some(detail) = detail.as_object_mut() {
        detail.remove("failed");
    }
    NewTrigger {
        kind: before.kind.clone(),
        model: before.model.clone(),
        payload: round.statistics,
        detail,
    }
}

/// Adds a trigger and makes it the round's.
async fn ask(
    tx: &Tx,
    mut round: Round,
    new: &NewTrigger,
    now: Timestamp,
) -> Result<Trigger, FleetError> {
    let trigger = trigger::add(tx, new, now).await?;
    round.detail["trigger"] = json!(trigger.id.0);
    round::put(tx, &mut round).await?;
    Ok(trigger)
}

/// Whether a head that a trigger has led to, or is about to, is or may come into use.
async fn is_in_use(tx: &Tx, trigger: &Trigger) -> Result<bool, FleetError> {
    let run = match (trigger.state, trigger.run) {
        (TriggerState::Taken, _) => return Ok(true),
        (TriggerState::Done, Some(run)) => run,
        _ => return Ok(false),
    };
    let newest = model::latest(tx, &trigger.model).await?;
    let newest = newest.map(|model| model.version);
    let made = model::of_run(tx, run).await?;
    Ok(made.iter().any(|made| match made.stage {
        Stage::Canary | Stage::Production => true,
        Stage::Candidate => newest == Some(made.version),
        Stage::Archived | Stage::Rejected => false,
    }))
}

/// The same of a trigger, and of those that asked for a head from its round before.
async fn any_in_use(tx: &Tx, newest: &Trigger) -> Result<bool, FleetError> {
    let mut at = Some(newest.clone());
    while let Some(one) = at {
        if is_in_use(tx, &one).await? {
            return Ok(true);
        }
        at = match one.detail["before"].as_i64() {
            Some(id) => trigger::get(tx, TriggerId(id)).await?,
            None => None,
        };
    }
    Ok(false)
}
