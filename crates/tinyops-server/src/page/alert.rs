//! Alerts on pages: the table, what may be said of each, and the forms that say it.

use axum::Form;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;
use tinyops_fleet::FleetError;
use tinyops_store::alert::{Alert, AlertId, AlertState};
use tinyops_store::{Json, StoreError, Timestamp};

use super::PageError;
use super::hand::{self, Hand};
use super::part::{self, Names};
use crate::app::App;
use crate::chart::number;
use crate::text::Text;

/// Rows of the table at most.
const ROWS_MAX: usize = 20;
/// For how long an alert may be muted by a button: hours, and what the button says.
const MUTES: [(u32, &str); 4] = [
    (1, "1 hour"),
    (8, "8 hours"),
    (24, "1 day"),
    (168, "1 week"),
];

/// What a form brings.
#[derive(Debug, Deserialize)]
pub(super) struct Said {
    word: String,
    action: String,
    #[serde(default)]
    hours: Option<u32>,
    #[serde(default)]
    reason: String,
}

/// Does what a form says, and goes back to the page of drift.
pub(super) async fn act(
    State(app): State<App>,
    Path(Text(id)): Path<Text<AlertId>>,
    headers: HeaderMap,
    Form(said): Form<Said>,
) -> Result<Response, PageError> {
    let who = hand::of_form(&app, &headers, &said.word, "handle alerts").await?;
    let (fleet, actor, now) = (app.fleet(), who.name(), app.now());
    let done = match (said.action.as_str(), said.hours) {
        ("acknowledge", _) => fleet.acknowledge(id, &actor, now).await,
        ("resolve", _) => fleet.resolve(id, &said.reason, &actor, now).await,
        ("mute", Some(hours)) if MUTES.iter().any(|(known, _)| *known == hours) => {
            let until = now.plus_ms(i64::from(hours) * 3_600_000);
            fleet.mute(id, until, &said.reason, &actor, now).await
        }
        _ => {
            return Err(PageError::Refused(
                "An alert can be acknowledged, muted or resolved".to_owned(),
            ));
        }
    };
    match done {
        Ok(_) => Ok(Redirect::to("/drift#alerts").into_response()),
        Err(FleetError::Store(StoreError::Missing { .. })) => {
            Err(PageError::Missing(format!("Alert {id}")))
        }
        Err(FleetError::Store(cause)) => Err(cause.into()),
        Err(refused) => Err(PageError::Refused(refused.to_string())),
    }
}

/// The newest alerts, with what may be said of those that stand.
pub(super) fn table(
    alerts: &[Alert],
    names: &Names,
    hand: Option<&Hand>,
    now: Timestamp,
) -> Markup {
    if alerts.is_empty() {
        return part::empty(html! { "No alert was ever raised." });
    }
    html! {
        div.tablewrap id="alerts" { table {
            thead { tr {
                th { "alert" } th { "what" } th { "model" } th { "kind" } th { "advice" } th { "signals" } th { "state" } th { "opened" } th { "last change" }
                @if hand.is_some() { th { "say" } }
            } }
            @for alert in alerts.iter().take(ROWS_MAX) {
                tr {
                    td { "#" (alert.id) }
                    td { (super::overview::scope(&alert.scope)) }
                    td { (names.link(Some(alert.model))) }
                    td { (alert.kind.word().replace('-', " ")) }
                    td { (alert.advice) }
                    td.muted { (signals(&alert.detail)) }
                    td {
                        (part::alert_standing(alert, now))
                        @if alert.state != AlertState::Open { " " span.muted { (alert.actor) } }
                        @if !alert.reason.is_empty() { span.muted { ": " (alert.reason) } }
                    }
                    td { (part::ago(alert.opened_at, now)) }
                    td { (part::ago(alert.changed_at, now)) }
                    @if let Some(hand) = hand { td { (actions(alert, hand, now)) } }
                }
            }
        } }
    }
}

fn actions(alert: &Alert, hand: &Hand, now: Timestamp) -> Markup {
    if alert.state == AlertState::Resolved {
        return html! {};
    }
    let to = format!("/alerts/{}", alert.id);
    let form = |inside: Markup| {
        html! {
            form method="post" action=(to) style="margin:0 0 4px" {
                (hand.field())
                (inside)
            }
        }
    };
    html! {
        @if alert.state == AlertState::Open {
            (form(html! { button type="submit" name="action" value="acknowledge" { "Acknowledge" } }))
        }
        @if !alert.is_muted(now) {
            (form(html! {
                select name="hours" aria-label=(format!("How long to mute alert {}", alert.id)) {
                    @for (hours, text) in MUTES { option value=(hours) { (text) } }
                }
                " "
                button type="submit" name="action" value="mute" { "Mute" }
            }))
        }
        (form(html! {
            input type="text" name="reason" maxlength="500" size="14" required placeholder="why"
                aria-label=(format!("Why alert {} is over", alert.id));
            " "
            button type="submit" name="action" value="resolve" { "Resolve" }
        }))
    }
}

/// The details of an alert in one line.
fn signals(detail: &Json) -> Markup {
    let fields = detail.as_object().into_iter().flatten();
    html! {
        @for (name, value) in fields {
            @match value {
                Json::Number(value) => { (name.replace('_', " ")) " " (number(value.as_f64().unwrap_or(f64::NAN))) " " }
                Json::String(value) => { (name.replace('_', " ")) " " (value) " " }
                _ => {}
            }
        }
    }
}
