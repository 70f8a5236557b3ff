//! The story as it is told, and the summary at its end.

use std::{
    cell::Cell,
    fmt::{Display, Write as _},
    sync::Arc,
    time::{Duration, Instant},
};

use serde::Serialize;
use tinyops_fleet::{Event, rollout::sentence};
use tinyops_pipeline::{Progress, Reporter};
use tinyops_store::{alert::AlertKind, drift::Scope};

use super::{fans::State, score::Phase};
use crate::term::{Terminal, seconds};

/// Points of accuracy that the aged fans may stay behind what they were.
const RECOVERED_WITHIN: f64 = 0.05;
/// Points of accuracy that the drift must have cost, or there was nothing to recover from.
const HURT_BY: f64 = 0.05;

/// Tells, line by line, with the time since the start.
pub(super) struct Story {
    terminal: Terminal,
    begun: Instant,
    alerts: Cell<u32>,
    escalations: Cell<u32>,
}

/// A dozen fans that drift are so many lines, not a dozen.
const FANS_TOLD: u32 = 3;

impl Story {
    pub(super) fn begin(terminal: Terminal) -> Self {
        Self {
            terminal,
            begun: Instant::now(),
            alerts: Cell::new(0),
            escalations: Cell::new(0),
        }
    }

    /// A line that begins a chapter.
    pub(super) fn head(&self, text: impl Display) {
        let (bold, reset) = self.terminal.paint("\x1b[1m");
        self.say(format_args!("{bold}{text}{reset}"));
    }

    /// A line.
    pub(super) fn say(&self, text: impl Display) {
        let (dim, reset) = self.terminal.paint("\x1b[2m");
        let at = self.begun.elapsed().as_secs();
        self.terminal.note(format_args!(
            "{dim}{:>2}:{:02}{reset}  {text}",
            at / 60,
            at % 60
        ));
    }

    /// How many alerts have been raised.
    pub(super) fn alerts(&self) -> u32 {
        self.alerts.get()
    }

    /// Tells the steps of a run.
    pub(super) fn reporter(&self) -> Reporter {
        let (terminal, begun) = (self.terminal, self.begun);
        Arc::new(move |progress| {
            if let Progress::End(report) = progress {
                let (dim, reset) = terminal.paint("\x1b[2m");
                let at = begun.elapsed().as_secs();
                terminal.note(format_args!(
                    "{dim}{:>2}:{:02}{reset}    {:<10} {:>7}  {}",
                    at / 60,
                    at % 60,
                    report.step.word(),
                    seconds(report.wall_ms),
                    report.summary
                ));
            }
        })
    }

    /// Tells what happened in the fleet.
    pub(super) fn fleet(&self, day: u32, event: &Event) {
        match event {
            Event::AlertRaised(alert) => {
                self.alerts.set(self.alerts.get() + 1);
                if self.alerts.get() <= FANS_TOLD {
                    let what = match alert.kind {
                        AlertKind::ConceptDrift => "labels say that the model errs more",
                        AlertKind::Drift => "drift noticed",
                    };
                    self.say(format_args!(
                        "Day {day}: {what}: {} ({})",
                        scope_text(&alert.scope),
                        alert.advice
                    ));
                }
            }
            Event::AlertEscalated(alert) => {
                self.escalations.set(self.escalations.get() + 1);
                if self.escalations.get() <= FANS_TOLD {
                    self.say(format_args!(
                        "Day {day}: {} now calls for more ({})",
                        scope_text(&alert.scope),
                        alert.advice
                    ));
                }
            }
            Event::RoundOpened(_) => self.say(format_args!(
                "Day {day}: devices sum up embeddings of the windows that maintenance has labelled"
            )),
            Event::RoundClosed {
                round,
                window_count,
                bytes,
            } => self.say(format_args!(
                "Day {day}: {} devices sent sums over {window_count} labelled windows, {bytes} bytes \
                 in all, no window among them",
                round.device_count
            )),
            Event::RoundAbandoned(round) => self.say(format_args!(
                "Day {day}: only {} devices answered; the round is abandoned",
                round.device_count
            )),
            Event::RolloutStarted {
                rollout,
                canary_count,
            } => self.say(format_args!(
                "Day {day}: {}@{} goes to {canary_count} devices first",
                rollout.model, rollout.version
            )),
            Event::WaveDone(rollout) => self.say(format_args!(
                "Day {day}: they are well, {}@{} goes to everyone",
                rollout.model, rollout.version
            )),
            Event::RolloutDone(rollout) => self.say(format_args!(
                "Day {day}: {}@{} is confirmed on every device",
                rollout.model, rollout.version
            )),
            Event::RolloutHalted(rollout) => self.say(format_args!(
                "Day {day}: {}@{} is halted and reverted: {}",
                rollout.model,
                rollout.version,
                sentence(rollout)
            )),
            _ => {}
        }
    }
}

fn scope_text(scope: &Scope) -> String {
    match scope {
        Scope::Device(device) => format!("device {device}"),
        Scope::Cohort(cohort) => format!("cohort `{cohort}`"),
    }
}

/// What came of it; `tinyops demo --json` prints this.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Summary {
    /// Whether drift was noticed and the aged fans are as good as they were.
    pub(crate) recovered: bool,
    /// Why not, if the story ended early.
    pub(crate) failure: Option<String>,
    model: String,
    version: u32,
    pub(super) repaired_version: Option<u32>,
    /// Alerts before any mounting had worn.
    pub(super) false_alarms: u32,
    /// Days from the first wear to the first alert.
    pub(super) days_to_alert: Option<f64>,
    /// Accuracy, measured against the simulator's truth, before, during and after the drift.
    pub(super) before: Phase,
    pub(super) during: Phase,
    pub(super) after: Phase,
    devices: usize,
    virtual_days: f64,
    bytes_up_per_device: f64,
    bytes_down_per_device: f64,
    messages_up_per_device: f64,
    /// Messages that the server never acknowledged.
    unacknowledged: u64,
    /// Counted at every device's link.
    raw_windows_sent: u64,
    seconds: f64,
}

impl Summary {
    pub(super) fn new(model: &str, version: u32) -> Self {
        Self {
            recovered: false,
            failure: None,
            model: model.to_owned(),
            version,
            repaired_version: None,
            false_alarms: 0,
            days_to_alert: None,
            before: Phase::default(),
            during: Phase::default(),
            after: Phase::default(),
            devices: 0,
            virtual_days: 0.0,
            bytes_up_per_device: 0.0,
            bytes_down_per_device: 0.0,
            messages_up_per_device: 0.0,
            unacknowledged: 0,
            raw_windows_sent: 0,
            seconds: 0.0,
        }
    }

    /// Adds the traffic and judges.
    pub(super) fn close(&mut self, states: &[State], hours: u32, took: Duration) {
        let count = states.len().max(1) as f64;
        let mean = |of: fn(&State) -> u64| states.iter().map(of).sum::<u64>() as f64 / count;
        self.devices = states.len();
        self.virtual_days = f64::from(hours) / 24.0;
        self.bytes_up_per_device = mean(|state| state.traffic.up_bytes);
        self.bytes_down_per_device = mean(|state| state.traffic.down_bytes);
        self.messages_up_per_device = mean(|state| state.traffic.up_messages);
        self.unacknowledged = states.iter().map(|state| state.in_flight).sum();
        self.raw_windows_sent = states.iter().map(|state| state.traffic.raw_windows).sum();
        self.seconds = took.as_secs_f64();
        let aged = |phase: &Phase| phase.aged.share;
        let shares = (aged(&self.before), aged(&self.during), aged(&self.after));
        if let ((Some(before), Some(during), Some(after)), None) = (shares, &self.failure) {
            let hurt = before - during >= HURT_BY;
            let back = before - after <= RECOVERED_WITHIN;
            self.recovered = hurt && back;
            if !hurt {
                self.failure = Some("the drift did not hurt, so nothing could recover".to_owned());
            } else if !back {
                self.failure = Some("the repaired model is not as good as before".to_owned());
            }
        }
    }

    /// What a person reads.
    pub(crate) fn text(&self) -> String {
        let mut out = String::new();
        let row = |out: &mut String, name: &str, phase: &Phase| {
            let _ = writeln!(
                out,
                "  {name:<18} {:>8}  {:>12}  {:>12}   {} windows",
                phase.fleet.text(),
                phase.aged.text(),
                phase.steady.text(),
                phase.fleet.windows
            );
        };
        let _ = writeln!(
            out,
            "\nAccuracy               fleet     aged fans  steady fans"
        );
        row(&mut out, "before the drift", &self.before);
        row(&mut out, "during the drift", &self.during);
        row(&mut out, "after the repair", &self.after);
        let _ = writeln!(
            out,
            "\n  {} devices, {:.0} virtual days in {:.0} s; bytes per device: {:.0} up in {:.0} messages, \
             {:.0} down",
            self.devices,
            self.virtual_days,
            self.seconds,
            self.bytes_up_per_device,
            self.messages_up_per_device,
            self.bytes_down_per_device
        );
        if let Some(days) = self.days_to_alert {
            let _ = writeln!(
                out,
                "  drift noticed {days:.1} days after the first wear; {} alerts before it",
                self.false_alarms
            );
        }
        let _ = writeln!(
            out,
            "  raw windows that left a device: {}",
            self.raw_windows_sent
        );
        let _ = match (&self.failure, self.repaired_version) {
            (None, Some(version)) if self.recovered => writeln!(
                out,
                "  {}@{} repaired {}@{}: the fleet recovered",
                self.model, version, self.model, self.version
            ),
            (failure, _) => writeln!(
                out,
                "  the fleet did not recover: {}",
                failure.as_deref().unwrap_or("no reason is known")
            ),
        };
        out
    }
}
