//! How a repair ends, and who is told.

use serde_json::json;
use tinyops_store::alert::{AlertKind, AlertState, NewAlert};
use tinyops_store::drift::Scope;
use tinyops_store::repair::Repair;
use tinyops_store::{ModelId, Timestamp, Tx, alert, presence, webhook};

use super::{ACTOR, concerns};
use crate::diagnosis::Advice;
use crate::enrol::note;
use crate::ladder::{End, Ladder, Rung, Step};
use crate::watch::cohort_scope;
use crate::{Fleet, FleetError, alerts};

/// The rung that a repair ended on.
fn left(ladder: &Ladder) -> Option<Rung> {
    ladder.steps.last().and_then(|step| step.rung)
}

impl Fleet {
    /// Does what the end of a repair asks for: alerts that it has answered are over; of one in vain somebody is told.
    pub(super) async fn tell_end(
        &self,
        tx: &Tx,
        known: &Repair,
        ladder: &mut Ladder,
        (end, actor): (End, &str),
        now: Timestamp,
    ) -> Result<(), FleetError> {
        let current = self.current(tx, known, ladder).await?;
        match end {
            // Those that moving features has ended are over by then; what still stands it has not helped.
            End::Repaired if ladder.kept.is_empty() && left(ladder) == Some(Rung::OwnHeads) => {
                self.resolve_helped(tx, known.model, now).await?
            }
            End::Unrepaired => {
                let what = self.tell_in_vain(tx, known, ladder, &current, now).await?;
                ladder.steps.push(Step {
                    at_ms: now.0,
                    rung: None,
                    what,
                });
            }
            End::Repaired | End::Unjudged | End::AlertsOver | End::Stopped => {}
        }
        let kept: Vec<u32> = ladder.kept.iter().map(|(_, version)| *version).collect();
        let detail =
            json!({ "end": end.word(), "kept": kept, "device_bytes": ladder.device_bytes });
        note(tx, now, actor, "repair.end", known.id, &detail).await
    }

    /// What devices have repaired by themselves is over; alerts of those that have not, and of cohorts where too many have
    /// not, stand.
    async fn resolve_helped(
        &self,
        tx: &Tx,
        model: ModelId,
        now: Timestamp,
    ) -> Result<(), FleetError> {
        let running = presence::running(tx, model).await?;
        let helped = self.helped(tx, model, &running).await?;
        let share_min = self.policy.round.alarmed_share_min;
        let is_over = |scope: &Scope| {
            let concerned = running.iter().filter(|whom| concerns(scope, whom));
            let (over, left): (Vec<_>, Vec<_>) =
                concerned.partition(|(device, _)| helped.contains(device));
            let share = left.len() as f64 / (over.len() + left.len()).max(1) as f64;
            !over.is_empty() && share < share_min
        };
        for mut alert in alert::standing(tx).await? {
            let calls = Advice::of_word(&alert.advice).is_some_and(Advice::calls_for_statistics);
            if alert.model != model || !calls || alert.is_muted(now) || !is_over(&alert.scope) {
                continue;
            }
            alert.state = AlertState::Resolved;
            ACTOR.clone_into(&mut alert.actor);
            "devices have repaired it by themselves".clone_into(&mut alert.reason);
            alert.changed_at = now;
            alert::put(tx, &mut alert).await?;
            alerts::tell(tx, "alert.resolve", &alert, now).await?;
        }
        Ok(())
    }

    /// Tells whoever looks after alerts that nothing has repaired it: by those that stand, or one that is raised for it.
    async fn tell_in_vain(
        &self,
        tx: &Tx,
        known: &Repair,
        ladder: &Ladder,
        current: &[ModelId],
        now: Timestamp,
    ) -> Result<String, FleetError> {
        let mut told = Vec::new();
        for mut alert in alert::standing(tx).await? {
            if current.contains(&alert.model) {
                alert.detail["repair ended in vain"] = json!(known.id.0);
                alert.changed_at = now;
                alert::put(tx, &mut alert).await?;
                alerts::tell(tx, "alert.unrepaired", &alert, now).await?;
                told.push(alert.id);
            }
        }
        if told.is_empty() {
            for model in current {
                let running = presence::running(tx, *model).await?;
                let cohort = ladder.cohort.as_ref();
                let Some(cohort) = cohort.or(running.first().map(|(_, cohort)| cohort)) else {
                    continue;
                };
                let new = NewAlert {
                    scope: cohort_scope(cohort, *model),
                    model: *model,
                    kind: AlertKind::Drift,
                    advice: Advice::Retrain.word().to_owned(),
                    detail: json!({ "repair ended in vain": known.id.0 }),
                };
                if let Some(alert) = alert::raise(tx, &new, now).await? {
                    alerts::tell(tx, "alert.unrepaired", &alert, now).await?;
                    told.push(alert.id);
                }
            }
        }
        let hooks = webhook::list(tx).await?.len();
        let alerts: Vec<String> = told.iter().take(5).map(|id| format!("#{id}")).collect();
        let more = match told.len().saturating_sub(alerts.len()) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        Ok(match told.is_empty() {
            true => "nobody runs the model any more, so nobody is told".to_owned(),
            false => format!(
                "it ends without a repair: alerts {}{more} say so on their page, and to {hooks} webhooks",
                alerts.join(", ")
            ),
        })
    }
}
