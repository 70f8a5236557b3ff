//! What people do about alerts, and whom else they are told.
//!
//! | | acknowledge | mute until | resolve |
//! |---|---|---|---|
//! | means | someone knows | leave it until then | it is over, and why |
//! | webhooks | told | told once, then silent until the end, which is told | told |
//! | rounds, training | go on | none is opened because of it | none |
//! | comes back | – | by itself, at the end | when the signals fall and rise again |

use serde_json::json;
use tinyops_store::alert::{self, Alert, AlertId, AlertState};
use tinyops_store::{Json, StoreError, Timestamp, Tx};

use crate::again::again;
use crate::enrol::note;
use crate::{Event, Fleet, FleetError, webhook};

/// Characters of a reason at most.
pub(crate) const REASON_MAX: usize = 500;

/// What someone says of an alert.
#[derive(Clone, Copy, Debug)]
enum Word<'a> {
    Acknowledge,
    Mute(Timestamp, &'a str),
    Resolve(&'a str),
}

impl Fleet {
    /// Says that someone knows of an alert.
    ///
    /// # Errors
    /// [`StoreError::Missing`]; [`FleetError::AlertOver`].
    pub async fn acknowledge(
        &self,
        id: AlertId,
        actor: &str,
        now: Timestamp,
    ) -> Result<Alert, FleetError> {
        self.say(id, Word::Acknowledge, actor, now).await
    }

    /// Leaves an alert alone until then: it calls for no repair, and no webhook tells of it.
    ///
    /// # Errors
    /// [`StoreError::Missing`]; [`FleetError::AlertOver`]; [`FleetError::MuteEnds`] unless `until` is still to come.
    pub async fn mute(
        &self,
        id: AlertId,
        until: Timestamp,
        reason: &str,
        actor: &str,
        now: Timestamp,
    ) -> Result<Alert, FleetError> {
        self.say(id, Word::Mute(until, reason), actor, now).await
    }

    /// Says that an alert is over, and why.
    ///
    /// # Errors
    /// [`StoreError::Missing`]; [`FleetError::AlertOver`]; [`FleetError::Reason`] without a reason.
    pub async fn resolve(
        &self,
        id: AlertId,
        reason: &str,
        actor: &str,
        now: Timestamp,
    ) -> Result<Alert, FleetError> {
        self.say(id, Word::Resolve(reason), actor, now).await
    }

    async fn say(
        &self,
        id: AlertId,
        word: Word<'_>,
        actor: &str,
        now: Timestamp,
    ) -> Result<Alert, FleetError> {
        let reason = match word {
            Word::Acknowledge => "",
            Word::Mute(_, reason) | Word::Resolve(reason) => reason.trim(),
        };
        let is_needed = matches!(word, Word::Resolve(_));
        if reason.chars().count() > REASON_MAX || is_needed && reason.is_empty() {
            return Err(FleetError::Reason);
        }
        if matches!(word, Word::Mute(until, _) if until <= now) {
            return Err(FleetError::MuteEnds);
        }
        again!({
            let tx = self.db.begin_audited("handle an alert").await?;
            let missing = || StoreError::Missing {
                entity: "alert",
                key: id.to_string(),
            };
            let mut alert = alert::get(&tx, id).await?.ok_or_else(missing)?;
            if alert.state == AlertState::Resolved {
                return Err(FleetError::AlertOver(id));
            }
            let action = match word {
                Word::Acknowledge => {
                    alert.state = AlertState::Acknowledged;
                    "alert.acknowledge"
                }
                Word::Mute(until, _) => {
                    alert.state = AlertState::Acknowledged;
                    alert.muted_until = Some(until);
                    "alert.mute"
                }
                Word::Resolve(_) => {
                    alert.state = AlertState::Resolved;
                    "alert.resolve"
                }
            };
            actor.clone_into(&mut alert.actor);
            if !reason.is_empty() {
                reason.clone_into(&mut alert.reason);
            }
            alert.changed_at = now;
            alert::put(&tx, &mut alert).await?;
            let detail = match word {
                Word::Acknowledge => Json::Null,
                Word::Mute(until, _) => json!({ "until_ms": until.0, "reason": reason }),
                Word::Resolve(_) => json!({ "reason": reason }),
            };
            note(&tx, now, actor, action, id, &detail).await?;
            webhook::owe(&tx, action, &alert, now).await?;
            tx.commit().await?;
            Ok(alert)
        })
    }

    /// Ends the mutes whose time is over, and tells of it.
    pub(crate) async fn turn_alerts(&self, now: Timestamp) -> Result<Vec<Event>, FleetError> {
        let is_over = |alert: &Alert| alert.muted_until.is_some_and(|until| until <= now);
        let over = alert::standing(&self.db).await?;
        if !over.iter().any(is_over) {
            return Ok(Vec::new());
        }
        again!({
            let mut events = Vec::new();
            let tx = self.db.begin_audited("end mutes").await?;
            for mut alert in alert::standing(&tx).await? {
                if is_over(&alert) {
                    alert.muted_until = None;
                    alert.changed_at = now;
                    alert::put(&tx, &mut alert).await?;
                    note(&tx, now, "fleet", "alert.unmute", alert.id, &Json::Null).await?;
                    webhook::owe(&tx, "alert.unmute", &alert, now).await?;
                    events.push(Event::AlertUnmuted(alert));
                }
            }
            tx.commit().await?;
            Ok(events)
        })
    }
}

/// Enters what the loop did to an alert into the audit log, and tells the webhooks unless it is muted.
pub(crate) async fn tell(
    tx: &Tx,
    action: &str,
    alert: &Alert,
    now: Timestamp,
) -> Result<(), FleetError> {
    note(tx, now, "fleet", action, alert.scope.key(), &alert.detail).await?;
    if !alert.is_muted(now) {
        webhook::owe(tx, action, alert, now).await?;
    }
    Ok(())
}
