//! The fleet behind the endpoint's gate.

use std::sync::Arc;

use tinyops_fleet::{Fleet, FleetError, Intake, Uplink};
use tinyops_store::DeviceId;
use tinyops_store::alert::Alert;
use tokio::sync::{Mutex, broadcast};
use tracing::{info, warn};

use crate::app::Clock;
use crate::event::Event;
use crate::metrics::Metrics;
use crate::mqtt::{Gate, GateError, Pace, Verdict};

/// Lets devices in by their keys and hands their reports to the fleet.
pub(crate) struct FleetGate {
    pub fleet: Fleet,
    pub intake: Arc<Mutex<Intake>>,
    pub now: Clock,
    pub events: broadcast::Sender<Event>,
    pub metrics: Metrics,
}

impl Gate for FleetGate {
    async fn admit(&self, device: DeviceId, password: &[u8]) -> Result<bool, GateError> {
        let Ok(password) = std::str::from_utf8(password) else {
            return Ok(false);
        };
        Ok(self.fleet.admit(device, password).await?)
    }

    async fn commit(
        &self,
        uplinks: &[(Option<DeviceId>, &[u8])],
        pace: Pace,
    ) -> Result<Vec<Verdict>, GateError> {
        let uplinks: Vec<Uplink<'_>> = uplinks
            .iter()
            .map(|(device, bytes)| Uplink {
                from: *device,
                bytes,
            })
            .collect();
        let mut intake = self.intake.lock().await;
        let (verdicts, events) = match pace {
            Pace::Calm => intake.take(&uplinks, (self.now)()).await?,
            Pace::Busy => intake.put_off(&uplinks, (self.now)()).await?,
        };
        drop(intake);
        tell(&self.events, events.into_iter().map(Event::Fleet));
        let verdicts = verdicts.into_iter().map(|verdict| {
            if let (Some(refusal), true) = (verdict.refusal, verdict.first_offence) {
                let device = verdict.device.unwrap_or_default();
                warn!(%device, ?refusal, "report refused; further ones are only counted");
            }
            match verdict.refusal {
                Some(_) => self.metrics.reports_refused.inc(),
                None => self.metrics.reports_kept.inc(),
            };
            Verdict {
                kept: verdict.refusal.is_none(),
                device: verdict.device,
                down: verdict.down,
            }
        });
        Ok(verdicts.collect())
    }

    async fn settle(&self) -> Result<(), GateError> {
        Ok(settle(&self.intake, &self.events).await?)
    }

    async fn owed(&self, device: DeviceId) -> Result<Vec<Vec<u8>>, GateError> {
        Ok(self.fleet.owed(device, (self.now)()).await?)
    }
}

/// Brings what waits into the records, and tells what came of it.
pub(crate) async fn settle(
    intake: &Mutex<Intake>,
    tell_to: &broadcast::Sender<Event>,
) -> Result<(), FleetError> {
    let events = intake.lock().await.fold().await?;
    tell(tell_to, events.into_iter().map(Event::Fleet));
    Ok(())
}

/// Tells what happened to whoever listens, and to the log.
pub(crate) fn tell(to: &broadcast::Sender<Event>, events: impl IntoIterator<Item = Event>) {
    for event in events {
        match &event {
            Event::Fleet(event) => match alert_of(event) {
                Some(alert) => {
                    let (id, about, model) = (alert.id, alert.scope.key(), alert.model);
                    let (kind, advice) = (alert.kind, &alert.advice);
                    warn!(target: "alerts", event = event_name(event), alert = %id, about, %model, %kind, advice, "fleet");
                }
                None => info!(event = event_name(event), "fleet"),
            },
            Event::RunStarted { trigger } => info!(%trigger, "pipeline run begins"),
            Event::RunEnded {
                trigger,
                version,
                why,
                ..
            } => info!(%trigger, ?version, ?why, "pipeline run is over"),
        }
        drop(to.send(event)); // Nobody listens: nothing is lost, the store has it all.
    }
}

/// The alert that an event tells of.
fn alert_of(event: &tinyops_fleet::Event) -> Option<&Alert> {
    use tinyops_fleet::Event as Fleet;
    match event {
        Fleet::AlertRaised(alert) | Fleet::AlertEscalated(alert) | Fleet::AlertUnmuted(alert) => {
            Some(alert)
        }
        _ => None,
    }
}

fn event_name(event: &tinyops_fleet::Event) -> &'static str {
    use tinyops_fleet::Event as Fleet;
    match event {
        Fleet::AlertRaised(_) => "alert raised",
        Fleet::AlertEscalated(_) => "alert escalated",
        Fleet::AlertUnmuted(_) => "alert is no longer muted",
        Fleet::RoundOpened(_) => "round opened",
        Fleet::RoundClosed { .. } => "round closed",
        Fleet::RoundJoined(_) => "round joined late",
        Fleet::RoundAbandoned(_) => "round abandoned",
        Fleet::RepairEnded(_) => "repair ended",
        Fleet::Triggered(_) => "run asked for",
        Fleet::RolloutStarted { .. } => "rollout started",
        Fleet::WaveDone(_) => "canary is well",
        Fleet::RolloutDone(_) => "rollout done",
        Fleet::RolloutHalted(_) => "rollout halted",
        _ => "other",
    }
}
