//! Actions: what a device is asked to install, made from its rollout when it polls, and what its answers mean there.

use serde_json::json;
use tinyops_store::capsule::{self, Capsule};
use tinyops_store::ddi::{self, Action, ActionId, ActionState, NewAction};
use tinyops_store::presence::{self, Presence};
use tinyops_store::rollout::{self, Delivery, RolloutId, RolloutState};
use tinyops_store::{DeviceId, Json, ModelId, Timestamp, Tx, downlink};
use tinyops_wire::Statement;
use tinyops_wire::statement::STATEMENT_BYTES_MAX;

use super::pack::{Artifact, pack};
use super::{Peer, action_of};
use crate::engine::{Sample, Word};
use crate::ingest::TRIES;
use crate::plan::Plan;
use crate::{Fleet, FleetError};

/// What a device is told when it polls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Poll {
    /// How long it may sleep, in seconds.
    pub sleep_seconds: u32,
    /// What it is asked to do.
    pub told: Option<Told>,
    /// What it installed last.
    pub installed: Option<ActionId>,
    /// Whether it is asked for its attributes.
    pub wants_config: bool,
}

/// What a device is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// Install; the number changes when how it shall be done changes.
    Deploy(ActionId, i64),
    /// Not install what it was asked to.
    Cancel(ActionId),
    /// Ask its user.
    Confirm(ActionId, i64),
}

/// Whether to do something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handling {
    /// Not now.
    Skip,
    /// When it suits.
    Attempt,
    /// Now.
    Forced,
}

impl Handling {
    /// hawkBit's word.
    pub fn word(self) -> &'static str {
        match self {
            Handling::Skip => "skip",
            Handling::Attempt => "attempt",
            Handling::Forced => "forced",
        }
    }
}

/// An action in full.
#[derive(Clone, Debug, PartialEq)]
pub struct Deployment {
    /// The action.
    pub action: Action,
    /// Whether to download.
    pub download: Handling,
    /// Whether to install.
    pub update: Handling,
    /// Whether a maintenance window is open, where there is one.
    pub window: Option<bool>,
    /// The capsule.
    pub capsule: Capsule,
    /// What to download.
    pub artifacts: Vec<Artifact>,
}

impl Deployment {
    /// The capsule that this takes the device back from, if it does.
    pub fn undoes(&self) -> Option<&str> {
        self.action.detail["undoes"].as_str()
    }

    /// Where the action stands, in hawkBit's word, and up to `count` sentences, newest first; all that are kept if
    /// it is negative.
    pub fn history(&self, count: i64) -> (String, Vec<String>) {
        let entries = self.action.detail["history"].as_array();
        let entries: Vec<&Json> = entries.into_iter().flatten().rev().collect();
        let status = entries
            .first()
            .and_then(|entry| entry["status"].as_str())
            .unwrap_or("RUNNING");
        let sentences = entries
            .iter()
            .flat_map(|entry| entry["details"].as_array().into_iter().flatten())
            .filter_map(|text| text.as_str().map(str::to_owned));
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        (status.to_owned(), sentences.take(count).collect())
    }
}

/// What a rollout wants of a device now.
struct Wanted {
    rollout: RolloutId,
    capsule: Capsule,
    window: Option<bool>,
    undoes: Option<ModelId>,
}

impl Fleet {
    /// A device polls: it is heard of, and told what its rollout wants of it now.
    ///
    /// # Errors
    /// [`FleetError::Store`].
    pub async fn poll_target(&self, peer: &Peer, now: Timestamp) -> Result<Poll, FleetError> {
        again!(self.try_poll(peer, now))
    }

    async fn try_poll(&self, peer: &Peer, now: Timestamp) -> Result<Poll, FleetError> {
        let tx = self.db.begin("a device polls").await?;
        let device = peer.device.id;
        self.hear_poll(&tx, device, now).await?;
        let standing = self.settle(&tx, peer, now).await?;
        let target = ddi::of_device(&tx, device).await?;
        let installed = ddi::installed(&tx, device).await?;
        tx.commit().await?;
        let told = standing.map(|(action, window)| {
            let number = action.revision * 2 + i64::from(window == Some(false));
            match action.state {
                ActionState::Waiting => Told::Confirm(action.id, number),
                ActionState::Canceling => Told::Cancel(action.id),
                _ => Told::Deploy(action.id, number),
            }
        });
        Ok(Poll {
            sleep_seconds: self.policy.ddi.sleep_seconds.clamp(1, 86_399),
            told,
            installed: installed.map(|action| action.id),
            wants_config: target.is_some_and(|target| target.wants_config),
        })
    }

    /// Notes that a device lives. A poll counts as a report with the model that runs, once in half the time between
    /// two; not for devices that send reports of their own, and not to the rollout that waits for a user's consent.
    async fn hear_poll(&self, tx: &Tx, device: DeviceId, now: Timestamp) -> Result<(), FleetError> {
        let mut presence = presence_of(tx, device).await?;
        presence.last_seen = Some(now);
        presence::put_many(tx, std::slice::from_ref(&presence)).await?;
        let mut word = Word::Heard;
        if let Some(mut target) = ddi::of_device(tx, device).await? {
            let half_ms = i64::from(self.policy.ddi.sleep_seconds) * 500;
            let is_due = target
                .counted_at
                .is_none_or(|at| now.ms_since(at) >= half_ms);
            if is_due && presence.last_seq.is_none() {
                target.counted_at = Some(now);
                ddi::put_target(tx, &mut target).await?;
                word = Word::Reported {
                    model: presence.model.unwrap_or(ModelId(0)),
                    sample: Sample::default(),
                };
            }
        }
        let standing = ddi::standing(tx, device).await?;
        let waits = standing.filter(|action| action.state == ActionState::Waiting);
        let silent_to = waits.map(|action| action.rollout);
        self.follow_word(tx, device, None, silent_to, &word, now)
            .await
    }

    /// Brings the action that a device has not answered yet in line with what its rollout wants; it, and whether a
    /// maintenance window is open where there is one.
    async fn settle(
        &self,
        tx: &Tx,
        peer: &Peer,
        now: Timestamp,
    ) -> Result<Option<(Action, Option<bool>)>, FleetError> {
        let device = peer.device.id;
        let wanted = self.wanted(tx, device, now).await?;
        let Some(mut action) = ddi::standing(tx, device).await? else {
            return self.begin_action(tx, peer, wanted, now).await;
        };
        let is_wanted = wanted
            .as_ref()
            .is_some_and(|w| (w.rollout, w.capsule.id) == (action.rollout, action.model));
        let window = wanted.as_ref().and_then(|wanted| wanted.window);
        match (is_wanted, action.state) {
            // Wanted again before the device heard that it was not.
            (true, ActionState::Canceling) => {
                change(tx, &mut action, ActionState::Open, now).await?
            }
            (true, _) | (false, ActionState::Canceling) => {}
            // It never began: nothing is to be taken back.
            (false, ActionState::Waiting) => {
                change(tx, &mut action, ActionState::Canceled, now).await?;
                return self.begin_action(tx, peer, wanted, now).await;
            }
            (false, _) => {
                // One that has begun installing says so once, and goes on.
                if action.detail["goes_on"].as_bool() != Some(true) {
                    change(tx, &mut action, ActionState::Canceling, now).await?;
                }
            }
        }
        Ok(Some((action, window)))
    }

    async fn begin_action(
        &self,
        tx: &Tx,
        peer: &Peer,
        wanted: Option<Wanted>,
        now: Timestamp,
    ) -> Result<Option<(Action, Option<bool>)>, FleetError> {
        let Some(wanted) = wanted else {
            return Ok(None);
        };
        // One that could not go back is not asked again at every poll.
        let last = ddi::newest(tx, peer.device.id).await?;
        if last.is_some_and(|last| {
            last.state == ActionState::Failed
                && (last.rollout, last.model) == (wanted.rollout, wanted.capsule.id)
                && now.ms_since(last.changed_at) < self.policy.owed.again_after_ms
        }) {
            return Ok(None);
        }
        let Some(statement) = self.state_for(tx, peer.device.id, &wanted.capsule).await? else {
            return Ok(None);
        };
        // As it is now: the caller may have read it before its user consented to all that comes.
        let target = ddi::of_device(tx, peer.device.id).await?;
        let asks = target.is_some_and(|t| t.asks_consent && t.auto_confirm.is_null());
        let new = NewAction {
            device: peer.device.id,
            rollout: wanted.rollout,
            model: wanted.capsule.id,
            state: match asks {
                true => ActionState::Waiting,
                false => ActionState::Open,
            },
            statement,
            detail: json!({ "undoes": wanted.undoes.map(|model| model.to_string()) }),
        };
        let action = ddi::add_action(tx, &new, now).await?;
        Ok(Some((action, wanted.window)))
    }

    /// The director's statement that a device shall run a capsule; `None` without a director's key.
    async fn state_for(
        &self,
        tx: &Tx,
        device: DeviceId,
        capsule: &Capsule,
    ) -> Result<Option<Vec<u8>>, FleetError> {
        let Some(keys) = self.keys() else {
            tracing::warn!(%device, "it polls and this server has no director key");
            return Ok(None);
        };
        let last_seq = presence_of(tx, device).await?.last_seq;
        let counter = downlink::reserve_many(tx, &[(device, 1)]).await?[0];
        let statement = Statement {
            device,
            manifest: capsule.manifest_digest,
            counter,
            last_uplink: last_seq
                .unwrap_or(0)
                .saturating_add(self.policy.owed.statement_uplinks),
        };
        let mut signed = vec![0; STATEMENT_BYTES_MAX];
        let len = statement.encode_with(|message| keys.director.sign(message), &mut signed)?;
        signed.truncate(len);
        Ok(Some(signed))
    }

    async fn wanted(
        &self,
        tx: &Tx,
        device: DeviceId,
        now: Timestamp,
    ) -> Result<Option<Wanted>, FleetError> {
        let running = presence_of(tx, device).await?.model;
        for member in rollout::of_device(tx, device).await? {
            let Some(model) = member.target.filter(|target| running != Some(*target)) else {
                continue;
            };
            let Some(rollout) = rollout::get(tx, member.rollout).await? else {
                continue;
            };
            let Some(capsule) = capsule::get(tx, model).await? else {
                continue;
            };
            let bad: Option<ModelId> = member.detail["capsule"]
                .as_str()
                .and_then(|text| text.parse().ok());
            let wanted = Wanted {
                rollout: rollout.id,
                capsule,
                window: None,
                undoes: None,
            };
            if member.delivery == Delivery::Recalled {
                // Only what this rollout brought is taken back.
                return Ok((running.is_some() && running == bad).then_some(Wanted {
                    undoes: bad,
                    ..wanted
                }));
            }
            let is_asked = matches!(
                member.delivery,
                Delivery::Offered | Delivery::Taken | Delivery::Confirmed | Delivery::Silent
            );
            let is_on = matches!(rollout.state, RolloutState::Running | RolloutState::Done);
            let windows = Plan::of_record(&rollout.plan)?.windows;
            return Ok((is_asked && is_on).then_some(Wanted {
                window: (!windows.windows.is_empty()).then(|| windows.is_open(now)),
                ..wanted
            }));
        }
        Ok(None)
    }

    /// What a device is asked to install.
    ///
    /// # Errors
    /// [`FleetError::NoAction`] if it is not asked, or asked no more.
    pub async fn deployment(
        &self,
        peer: &Peer,
        id: ActionId,
        now: Timestamp,
    ) -> Result<Deployment, FleetError> {
        self.standing_in(peer, id, ActionState::Open, now).await
    }

    /// What the user of a device is asked.
    ///
    /// # Errors
    /// [`FleetError::NoAction`] if there is nothing to consent to.
    pub async fn confirmation(
        &self,
        peer: &Peer,
        id: ActionId,
        now: Timestamp,
    ) -> Result<Deployment, FleetError> {
        self.standing_in(peer, id, ActionState::Waiting, now).await
    }

    async fn standing_in(
        &self,
        peer: &Peer,
        id: ActionId,
        state: ActionState,
        now: Timestamp,
    ) -> Result<Deployment, FleetError> {
        let (action, window) = again!(self.try_standing_in(peer, id, state, now))?;
        self.in_full(peer, action, window).await
    }

    async fn try_standing_in(
        &self,
        peer: &Peer,
        id: ActionId,
        state: ActionState,
        now: Timestamp,
    ) -> Result<(Action, Option<bool>), FleetError> {
        let tx = self.db.begin("look at an action").await?;
        let found = action_of(&tx, peer, id).await?;
        // The rollout may have been held since the device polled.
        let standing = self.settle(&tx, peer, now).await?;
        tx.commit().await?;
        standing
            .filter(|(action, _)| action.id == found.id && action.state == state)
            .ok_or(FleetError::NoAction(id))
    }

    /// The action that a device is asked to stop.
    ///
    /// # Errors
    /// [`FleetError::NoAction`] if it is not to be stopped.
    pub async fn cancellation(&self, peer: &Peer, id: ActionId) -> Result<Action, FleetError> {
        let tx = self.db.begin("look at an action").await?;
        let action = action_of(&tx, peer, id).await?;
        match action.state {
            ActionState::Canceling => Ok(action),
            _ => Err(FleetError::NoAction(id)),
        }
    }

    /// What a device has installed.
    ///
    /// # Errors
    /// [`FleetError::NoAction`] if it has not installed that.
    pub async fn installed(&self, peer: &Peer, id: ActionId) -> Result<Deployment, FleetError> {
        let tx = self.db.begin("look at an action").await?;
        let action = action_of(&tx, peer, id).await?;
        drop(tx);
        match action.state {
            ActionState::Finished => self.in_full(peer, action, None).await,
            _ => Err(FleetError::NoAction(id)),
        }
    }

    async fn in_full(
        &self,
        peer: &Peer,
        action: Action,
        window: Option<bool>,
    ) -> Result<Deployment, FleetError> {
        let capsule = capsule::get(&self.db, action.model)
            .await?
            .ok_or(FleetError::NoAction(action.id))?;
        let bytes = self.artifacts.get(&capsule.digest).await?;
        let artifacts = pack(peer.target.packing, &capsule, &bytes, &action.statement);
        // Outside its window a device may fetch ahead, and installs nothing.
        let (download, update) = match window {
            Some(false) => (Handling::Attempt, Handling::Skip),
            Some(true) | None => (Handling::Forced, Handling::Forced),
        };
        Ok(Deployment {
            action,
            download,
            update,
            window,
            capsule,
            artifacts,
        })
    }

    /// The artifacts of an action that the device has not answered, or has installed. `begins` is for a device that
    /// fetches one from its first byte: its rollout hears of it.
    ///
    /// # Errors
    /// [`FleetError::NoAction`].
    pub async fn artifacts_of(
        &self,
        peer: &Peer,
        id: ActionId,
        begins: bool,
        now: Timestamp,
    ) -> Result<Vec<Artifact>, FleetError> {
        let action = again!(self.try_fetch(peer, id, begins, now))?;
        Ok(self.in_full(peer, action, None).await?.artifacts)
    }

    async fn try_fetch(
        &self,
        peer: &Peer,
        id: ActionId,
        begins: bool,
        now: Timestamp,
    ) -> Result<Action, FleetError> {
        let tx = self.db.begin("fetch an artifact").await?;
        let action = action_of(&tx, peer, id).await?;
        match action.state {
            ActionState::Open | ActionState::Canceling if begins => {
                self.follow_word(
                    &tx,
                    peer.device.id,
                    Some(action.model),
                    None,
                    &Word::Fetching,
                    now,
                )
                .await?;
                tx.commit().await?;
                Ok(action)
            }
            ActionState::Open | ActionState::Canceling | ActionState::Finished => Ok(action),
            _ => Err(FleetError::NoAction(id)),
        }
    }
}

pub(super) async fn presence_of(tx: &Tx, device: DeviceId) -> Result<Presence, FleetError> {
    Ok(presence::get_many(tx, &[device]).await?.remove(0))
}

pub(super) async fn change(
    tx: &Tx,
    action: &mut Action,
    state: ActionState,
    now: Timestamp,
) -> Result<(), FleetError> {
    action.state = state;
    action.changed_at = now;
    Ok(ddi::put_action(tx, action).await?)
}
