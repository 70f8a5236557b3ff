//! What a device answers: of an installation, of a cancellation, of its user's consent, of what it has.

use serde_json::json;
use tinyops_store::ddi::{self, Action, ActionId, ActionState};
use tinyops_store::{DeviceId, Json, Timestamp, Tx, capsule, presence};

use super::action::{change, presence_of};
use super::body::{
    AssignedVersion, AutoConfirm, Confirmation, Consent, Execution, Feedback, Finished,
};
use super::{Peer, action_of};
use crate::engine::Word;
use crate::enrol::note;
use crate::ingest::TRIES;
use crate::{Fleet, FleetError};

/// What a device said of one action, newest kept.
const HISTORY_MAX: usize = 50;
/// Sentences of one answer kept, and characters of each.
const DETAILS_MAX: usize = 10;
const DETAIL_CHARS_MAX: usize = 512;

/// What an answer means.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// It knows of it, and has not begun.
    Heard,
    /// It has begun.
    Underway,
    /// It runs it.
    Done,
    /// It could not.
    Failed,
    /// It will not.
    Dropped,
}

/// How an execution is meant, and hawkBit's word for where the action stands then.
fn meaning(execution: Execution, finished: Finished) -> (Step, &'static str) {
    match (execution, finished) {
        (Execution::Closed, Finished::Failure) => (Step::Failed, "ERROR"),
        (Execution::Closed, Finished::Success | Finished::None) => (Step::Done, "FINISHED"),
        (Execution::Canceled, _) => (Step::Dropped, "CANCELED"),
        // "Cannot be fulfilled at this point in time": it says `closed` with `failure` if it never can.
        (Execution::Rejected, _) => (Step::Heard, "WARNING"),
        (Execution::Scheduled, _) => (Step::Underway, "SCHEDULED"),
        (Execution::Download, _) => (Step::Underway, "DOWNLOAD"),
        (Execution::Downloaded, _) => (Step::Underway, "DOWNLOADED"),
        (Execution::Proceeding | Execution::Resumed, _) => (Step::Underway, "RUNNING"),
    }
}

impl Fleet {
    /// Takes what a device says of an installation.
    ///
    /// # Errors
    /// [`FleetError::NoAction`] if it is not its own, or waits for consent; [`FleetError::ActionClosed`].
    pub async fn take_feedback(
        &self,
        peer: &Peer,
        id: ActionId,
        feedback: &Feedback,
        now: Timestamp,
    ) -> Result<(), FleetError> {
        again!(self.try_feedback(peer, id, feedback, now))
    }

    async fn try_feedback(
        &self,
        peer: &Peer,
        id: ActionId,
        feedback: &Feedback,
        now: Timestamp,
    ) -> Result<(), FleetError> {
        let tx = self.db.begin("take feedback").await?;
        let mut action = action_of(&tx, peer, id).await?;
        match action.state {
            ActionState::Waiting => return Err(FleetError::NoAction(id)),
            state if !state.stands() => return Err(FleetError::ActionClosed(id)),
            _ => {}
        }
        let status = &feedback.status;
        let (step, word) = meaning(status.execution, status.result.finished);
        remember(
            &mut action,
            word,
            status.code,
            status.details.as_deref(),
            now,
        );
        let state = match step {
            Step::Heard | Step::Underway => action.state,
            Step::Done => ActionState::Finished,
            Step::Failed => ActionState::Failed,
            Step::Dropped => ActionState::Canceled,
        };
        let was_canceling = action.state == ActionState::Canceling;
        change(&tx, &mut action, state, now).await?;
        let said = status.details.iter().flatten().next();
        let reason = said.map_or_else(|| word.to_lowercase(), |text| shorten(text, 120));
        let number = u32::try_from(status.code.unwrap_or(0)).unwrap_or(0);
        let device = peer.device.id;
        let mut presence = presence_of(&tx, device).await?;
        presence.last_seen = Some(now);
        let word = match step {
            Step::Heard => Word::Heard,
            Step::Underway => Word::Fetching,
            Step::Done => {
                presence.model = Some(action.model);
                self.ask_for_attributes(&tx, device).await?;
                Word::Confirmed
            }
            // What it was asked to stop, it may drop.
            Step::Dropped if was_canceling => Word::Heard,
            Step::Failed | Step::Dropped => Word::Refused { reason, number },
        };
        presence::put_many(&tx, std::slice::from_ref(&presence)).await?;
        self.follow_word(&tx, device, Some(action.model), None, &word, now)
            .await?;
        tx.commit().await?;
        Ok(())
    }

    async fn ask_for_attributes(&self, tx: &Tx, device: DeviceId) -> Result<(), FleetError> {
        if let Some(mut target) = ddi::of_device(tx, device).await? {
            target.wants_config = true;
            ddi::put_target(tx, &mut target).await?;
        }
        Ok(())
    }

    /// Takes what a device says of being asked to stop an installation.
    ///
    /// # Errors
    /// [`FleetError::NoAction`] if it is not its own, or was not to be stopped; [`FleetError::ActionClosed`].
    pub async fn take_cancel_feedback(
        &self,
        peer: &Peer,
        id: ActionId,
        feedback: &Feedback,
        now: Timestamp,
    ) -> Result<(), FleetError> {
        again!(self.try_cancel_feedback(peer, id, feedback, now))
    }

    async fn try_cancel_feedback(
        &self,
        peer: &Peer,
        id: ActionId,
        feedback: &Feedback,
        now: Timestamp,
    ) -> Result<(), FleetError> {
        let tx = self.db.begin("take feedback").await?;
        let mut action = action_of(&tx, peer, id).await?;
        match action.state {
            ActionState::Canceling => {}
            ActionState::Waiting | ActionState::Open => return Err(FleetError::NoAction(id)),
            _ => return Err(FleetError::ActionClosed(id)),
        }
        let status = &feedback.status;
        let (state, word) = match (status.execution, status.result.finished) {
            (Execution::Closed, Finished::Failure) => (ActionState::Failed, "ERROR"),
            (Execution::Closed | Execution::Canceled, _) => (ActionState::Canceled, "CANCELED"),
            (Execution::Rejected, _) => {
                action.detail["goes_on"] = true.into();
                (ActionState::Open, "CANCEL_REJECTED")
            }
            _ => (ActionState::Canceling, "RUNNING"),
        };
        remember(
            &mut action,
            word,
            status.code,
            status.details.as_deref(),
            now,
        );
        change(&tx, &mut action, state, now).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Takes a user's answer. One who does not consent takes the device out of the rollout: that is no failure of the
    /// model.
    ///
    /// # Errors
    /// [`FleetError::NoAction`] if there is nothing to consent to; [`FleetError::ActionClosed`].
    pub async fn take_confirmation(
        &self,
        peer: &Peer,
        id: ActionId,
        given: &Confirmation,
        now: Timestamp,
    ) -> Result<(), FleetError> {
        again!(self.try_confirmation(peer, id, given, now))
    }

    async fn try_confirmation(
        &self,
        peer: &Peer,
        id: ActionId,
        given: &Confirmation,
        now: Timestamp,
    ) -> Result<(), FleetError> {
        let tx = self.db.begin_audited("take a user's answer").await?;
        let mut action = action_of(&tx, peer, id).await?;
        match action.state {
            ActionState::Waiting => {}
            state if !state.stands() => return Err(FleetError::ActionClosed(id)),
            _ => return Err(FleetError::NoAction(id)),
        }
        let (state, word) = match given.confirmation {
            Consent::Confirmed => (ActionState::Open, "RUNNING"),
            Consent::Denied => (ActionState::Canceled, "CANCELED"),
        };
        remember(&mut action, word, None, given.details.as_deref(), now);
        change(&tx, &mut action, state, now).await?;
        let device = peer.device.id;
        if given.confirmation == Consent::Denied {
            self.leave_rollout(&tx, action.rollout, device, now).await?;
        }
        let detail = json!({ "action": id.0, "answer": match given.confirmation {
            Consent::Confirmed => "confirmed",
            Consent::Denied => "denied",
        }});
        let actor = format!("device {device}");
        note(&tx, now, &actor, "device.consent", device, &detail).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Takes a user's consent to all that comes, or takes it back with `None`. What waits for it is confirmed, too.
    ///
    /// # Errors
    /// [`FleetError::AutoConfirmed`] if it was given before.
    pub async fn auto_confirm(
        &self,
        peer: &Peer,
        given: Option<&AutoConfirm>,
        now: Timestamp,
    ) -> Result<(), FleetError> {
        again!(self.try_auto_confirm(peer, given, now))
    }

    async fn try_auto_confirm(
        &self,
        peer: &Peer,
        given: Option<&AutoConfirm>,
        now: Timestamp,
    ) -> Result<(), FleetError> {
        let tx = self.db.begin_audited("take a user's consent").await?;
        let device = peer.device.id;
        let Some(mut target) = ddi::of_device(&tx, device).await? else {
            return Err(FleetError::NoDevice(device));
        };
        target.auto_confirm = match given {
            Some(_) if !target.auto_confirm.is_null() => {
                return Err(FleetError::AutoConfirmed);
            }
            Some(given) => {
                let short = |text: &Option<String>| text.as_deref().map(|text| shorten(text, 128));
                json!({
                    "initiator": short(&given.initiator), "remark": short(&given.remark), "at_ms": now.0,
                })
            }
            None => Json::Null,
        };
        ddi::put_target(&tx, &mut target).await?;
        let waiting = ddi::standing(&tx, device).await?;
        if let Some(mut action) =
            waiting.filter(|action| given.is_some() && action.state == ActionState::Waiting)
        {
            change(&tx, &mut action, ActionState::Open, now).await?;
        }
        let actor = format!("device {device}");
        let detail = json!({ "auto_confirm": target.auto_confirm });
        note(&tx, now, &actor, "device.consent", device, &detail).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Takes what a device has, however it came there: one that went back from what a rollout brought says so with
    /// it. Whether it is other than what was known.
    ///
    /// # Errors
    /// [`FleetError::NoVersion`] if the device's board has no capsule of that version.
    pub async fn take_installed(
        &self,
        peer: &Peer,
        given: &AssignedVersion,
        now: Timestamp,
    ) -> Result<bool, FleetError> {
        again!(self.try_installed(peer, given, now))
    }

    async fn try_installed(
        &self,
        peer: &Peer,
        given: &AssignedVersion,
        now: Timestamp,
    ) -> Result<bool, FleetError> {
        let tx = self.db.begin("take an installed version").await?;
        let found = match given.version.parse() {
            Ok(version) => {
                capsule::for_board(&tx, &given.name, version, &peer.device.board).await?
            }
            Err(_) => None,
        };
        let Some(capsule) = found else {
            return Err(FleetError::NoVersion {
                model: shorten(&given.name, 60),
                version: shorten(&given.version, 20),
                board: peer.device.board.clone(),
            });
        };
        let device = peer.device.id;
        let mut presence = presence_of(&tx, device).await?;
        let before = presence.model.replace(capsule.id);
        presence.last_seen = Some(now);
        presence::put_many(&tx, std::slice::from_ref(&presence)).await?;
        if let Some(before) = before.filter(|before| *before != capsule.id) {
            let reason = format!("it says that it runs {}@{}", capsule.model, capsule.version);
            let word = Word::Reverted { reason, number: 0 };
            self.follow_word(&tx, device, Some(before), None, &word, now)
                .await?;
        }
        self.follow_word(&tx, device, Some(capsule.id), None, &Word::Confirmed, now)
            .await?;
        tx.commit().await?;
        Ok(before != Some(capsule.id))
    }
}

/// Keeps what a device said with its action; the oldest goes where there is too much.
fn remember(
    action: &mut Action,
    status: &str,
    code: Option<i64>,
    details: Option<&[String]>,
    now: Timestamp,
) {
    let details: Vec<String> = details
        .unwrap_or_default()
        .iter()
        .take(DETAILS_MAX)
        .map(|text| shorten(text, DETAIL_CHARS_MAX))
        .collect();
    let entry = json!({ "at_ms": now.0, "status": status, "code": code, "details": details });
    let mut history = action.detail["history"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    history.push(entry);
    let over = history.len().saturating_sub(HISTORY_MAX);
    history.drain(..over);
    action.detail["history"] = history.into();
}

fn shorten(text: &str, chars: usize) -> String {
    text.chars().take(chars).collect()
}
