//! The overview: how the fleet is, in one look.

use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};
use tinyops_fleet::watch::cohort_of;
use tinyops_pipeline::worth::Prices;
use tinyops_store::alert::{self, Alert};
use tinyops_store::drift::Scope;
use tinyops_store::model::Stage;
use tinyops_store::outcome::{self, Outcome};
use tinyops_store::presence::{self, Presence};
use tinyops_store::rollout::{self, Rollout};
use tinyops_store::{ModelId, Timestamp, device};

use super::figure::{self, Events};
use super::part::{self, Names};
use super::run::Runs;
use super::{Page, PageError, Place};
use crate::app::App;
use crate::chart::{Part, Parts, Tone, number};
use crate::civil;

/// Outcomes read for the charts at most, newest first.
const OUTCOMES_MAX: u32 = 20_000;
/// Judged windows that the figure in the tile is of.
const RECENT_WINDOWS: i64 = 200;

pub(super) async fn show(State(app): State<App>) -> Result<Response, PageError> {
    let db = app.db();
    let names = Names::load(db).await?;
    let view = View {
        now: app.now(),
        device_count: device::count(db).await?,
        by_model: presence::by_model(db).await?,
        presences: presence::list(db, 10_000).await?,
        connected: app.connected_count(),
        alerts: alert::list(db, 200).await?,
        standing: alert::standing(db).await?,
        rollouts: rollout::list(db, 20).await?,
        runs: Runs::read(&app, 6).await?,
        outcomes: outcome::list(db, OUTCOMES_MAX).await?,
        names,
    };
    let models: Vec<ModelId> = view.outcomes.iter().map(|outcome| outcome.model).collect();
    let prices = Prices::of(db, &models, Some(&app.workshop().project)).await?;
    let active = match view
        .rollouts
        .iter()
        .find(|rollout| part::is_open(rollout.state))
    {
        Some(rollout) => Some((rollout, super::rollout::progress(db, rollout.id).await?)),
        None => None,
    };
    let body = html! {
        (view.tiles(&app))
        div.grid {
            (part::chart_card("w8", figure::accuracy(&view.outcomes, &view.events(), app.business().goal)))
            (part::card("w4", "Models on devices", Some(("/models", "all models")), view.models()))
            (part::card("w6", "Alerts", Some(("/drift", "drift")), view.alerts()))
            (part::card("w6", "Rollout", Some(("/rollouts", "all rollouts")), view.rollout(active)))
            (part::card("w6", "Last runs", Some(("/runs", "all runs")), super::run::table(&view.runs, view.now)))
            (part::chart_card("w6", figure::cost(&view.outcomes, &view.names, &prices)))
        }
    };
    Ok(Page {
        place: Place::Overview,
        title: "Fleet".to_owned(),
        lead: html! { (app.goal()) },
        body,
    }
    .framed(&app))
}

struct View {
    now: Timestamp,
    device_count: i64,
    by_model: Vec<(Option<ModelId>, i64)>,
    presences: Vec<Presence>,
    connected: usize,
    alerts: Vec<Alert>,
    standing: Vec<Alert>,
    rollouts: Vec<Rollout>,
    runs: Runs,
    /// Newest first.
    outcomes: Vec<Outcome>,
    names: Names,
}

impl View {
    fn events(&self) -> Events<'_> {
        Events {
            alerts: &self.alerts,
            rollouts: &self.rollouts,
        }
    }

    fn tiles(&self, app: &App) -> Markup {
        let accuracy = figure::recent_accuracy(&self.outcomes, RECENT_WINDOWS);
        let accuracy_tone = match (accuracy, app.business().goal) {
            (Some(accuracy), Some(goal)) if accuracy < goal => Some(Tone::Bad),
            (Some(_), Some(_)) => Some(Tone::Good),
            _ => None,
        };
        let production = self
            .names
            .models
            .iter()
            .find(|m| m.stage == Stage::Production);
        let reports: i64 = self.presences.iter().map(|p| p.report_count).sum();
        let bytes: i64 = self.presences.iter().map(|p| p.byte_count).sum();
        let speakers = self.presences.len().max(1) as i64;
        html! {
            div.tiles {
                (part::tile(Some("/devices"), "Devices", html! { (number(self.device_count as f64)) }, html! { (self.connected) " connected now" }, None))
                (part::tile(None, "Accuracy in the field", html! { (accuracy.map_or("–".to_owned(), part::percent)) }, self.goal_text(app), accuracy_tone))
                (part::tile(Some("/models"), "In production", html! {
                    @match production {
                        Some(model) => { (model.name) small { "@" (model.version) } }
                        None => { "–" }
                    }
                }, html! { "of " (self.names.models.len()) " registered" }, None))
                (part::tile(Some("/drift"), "Standing alerts", html! { (self.standing.len()) }, html! {
                    @match self.standing.first() {
                        Some(alert) => { "last " (part::ago(alert.opened_at, self.now)) }
                        None => { "nothing to see to" }
                    }
                }, Some(if self.standing.is_empty() { Tone::Good } else { Tone::Bad })))
                (part::tile(None, "Reports", html! { (number(reports as f64)) }, html! { "summaries, not readings" }, None))
                (part::tile(None, "Sent per device", html! { (part::bytes(bytes / speakers)) }, html! { "since it was enrolled" }, None))
            }
        }
    }

    fn goal_text(&self, app: &App) -> Markup {
        let judged: i64 = self
            .outcomes
            .iter()
            .map(|outcome| outcome.window_count)
            .sum();
        html! {
            "last " (RECENT_WINDOWS.min(judged)) " labels"
            @if let Some(goal) = app.business().goal { ", goal " (part::percent(goal)) }
        }
    }

    fn models(&self) -> Markup {
        if self.device_count == 0 {
            return part::empty(html! {
                "No device is registered. " code { "tinyops device run" } " starts a virtual one, "
                code { "POST /api/v1/devices" } " enrols a real one."
            });
        }
        let parts = self.by_model.iter().enumerate();
        html! {
            (Parts {
                parts: parts.clone().map(|(index, (id, count))| Part {
                    name: "",
                    count: u64::try_from(*count).unwrap_or(0),
                    tone: if id.is_some() { Tone::Series(index) } else { Tone::Quiet },
                }).collect(),
            }.bar())
            table {
                @for (index, (id, count)) in parts {
                    tr {
                        td { i.swatch style=(format!("--c:{}", if id.is_some() { Tone::Series(index) } else { Tone::Quiet }.color())) {} " " (self.names.link(*id)) }
                        td.num { (count) @if *count == 1 { " device" } @else { " devices" } }
                    }
                }
            }
        }
    }

    fn alerts(&self) -> Markup {
        if self.alerts.is_empty() {
            return part::empty(
                html! { "No alert was ever raised. The fleet looks like its training data." },
            );
        }
        html! {
            div.tablewrap { table {
                thead { tr { th { "what" } th { "model" } th { "advice" } th { "state" } th { "opened" } } }
                @for alert in self.alerts.iter().take(6) {
                    tr {
                        td { (scope(&alert.scope)) }
                        td { (self.names.link(Some(alert.model))) }
                        td { (alert.advice) }
                        td { (part::alert_standing(alert, self.now)) }
                        td { (part::ago(alert.opened_at, self.now)) }
                    }
                }
            } }
        }
    }

    fn rollout(&self, active: Option<(&Rollout, Markup)>) -> Markup {
        let last = active.or_else(|| self.rollouts.first().map(|rollout| (rollout, html! {})));
        html! {
            @match last {
                Some((rollout, progress)) => {
                    p style="margin:0 0 10px" {
                        a href=(format!("/rollouts/{}", rollout.id)) { (rollout.model) "@" (rollout.version) }
                        " to " (super::rollout::audience(rollout)) " "
                        (part::rollout_state(rollout.state))
                        span.muted { " for " (civil::duration(self.now.ms_since(rollout.changed_at))) }
                    }
                    (progress)
                }
                None => (part::empty(html! {
                    "No rollout yet. " code { "tinyops rollout start MODEL@VERSION" } " offers a model to a few devices first."
                })),
            }
        }
    }
}

/// What an alert or a detector is about.
pub(super) fn scope(scope: &Scope) -> Markup {
    html! {
        @match scope {
            Scope::Device(device) => a href=(format!("/devices/{device}")) { "device " code { (device) } },
            Scope::Cohort(name) => { "cohort " strong { (cohort_of(scope).unwrap_or(name)) } }
        }
    }
}
