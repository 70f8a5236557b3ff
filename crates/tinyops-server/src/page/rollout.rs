//! Rollouts: who should run what, and how far that is.

use axum::extract::{Path, State};
use axum::response::Response;
use maud::{Markup, html};
use tinyops_store::rollout::{self, Member, Rollout, RolloutId};
use tinyops_store::{Db, Json, StoreError, Timestamp};

use super::part;
use super::{Page, PageError, Place};
use crate::app::App;
use crate::chart::{Part, Parts};
use crate::civil::{self, Moment};
use crate::text::Text;

pub(super) async fn list(State(app): State<App>) -> Result<Response, PageError> {
    let rollouts = rollout::list(app.db(), 100).await?;
    let now = app.now();
    let mut rows = Vec::new();
    for rollout in &rollouts {
        rows.push(row(rollout, progress(app.db(), rollout.id).await?, now));
    }
    let body = html! {
        section.card {
            @if rollouts.is_empty() {
                (part::empty(html! { "No rollout yet. " code { "tinyops rollout start MODEL@VERSION" } " offers a model to a canary, and to everyone when the canary is well." }))
            } @else {
                div.tablewrap { table {
                    thead { tr { th { "rollout" } th { "model" } th { "cohort" } th { "state" } th { "devices" } th { "began" } th.num { "took" } } }
                    @for row in rows { (row) }
                } }
            }
        }
    };
    Ok(Page {
        place: Place::Rollouts,
        title: "Rollouts".to_owned(),
        lead: html! { "A new version goes to a canary first. It goes on by itself when the canary is as well as the rest, and back when it is not." },
        body,
    }
    .framed(&app))
}

fn row(rollout: &Rollout, progress: Markup, now: Timestamp) -> Markup {
    let end = match part::is_open(rollout.state) {
        true => now,
        false => rollout.changed_at,
    };
    html! {
        tr {
            td { a href=(format!("/rollouts/{}", rollout.id)) { "#" (rollout.id) } }
            td { (part::model_link(&rollout.model, rollout.version)) }
            td { (rollout.cohort.as_deref().unwrap_or("all")) }
            td { (part::rollout_state(rollout.state)) }
            td.wide { (progress) }
            td { (part::ago(rollout.created_at, now)) }
            td.num { (civil::duration(end.ms_since(rollout.created_at))) }
        }
    }
}

/// The devices of a rollout by how far they are.
pub(super) async fn progress(db: &Db, id: RolloutId) -> Result<Markup, StoreError> {
    let parts = rollout::tally(db, id)
        .await?
        .into_iter()
        .map(|(delivery, count)| Part {
            name: delivery.word(),
            count: u64::try_from(count).unwrap_or(0),
            tone: part::delivery_tone(delivery),
        })
        .collect();
    Ok(Parts { parts }.draw())
}

pub(super) async fn show(
    State(app): State<App>,
    Path(Text(id)): Path<Text<RolloutId>>,
) -> Result<Response, PageError> {
    let db = app.db();
    let rollout = rollout::get(db, id)
        .await?
        .ok_or_else(|| PageError::Missing(format!("Rollout {id}")))?;
    let members = rollout::members(db, id).await?;
    let progress = progress(db, id).await?;
    let body = html! {
        div.grid {
            (part::card("w7", "Progress", None, progress))
            (part::card("w5", "Facts", None, facts(&rollout)))
            (part::card("", "Devices", None, members_table(&members, app.now())))
        }
    };
    Ok(Page {
        place: Place::Rollouts,
        title: format!("Rollout {id}"),
        lead: html! { (part::model_link(&rollout.model, rollout.version)) " to " (rollout.cohort.as_deref().unwrap_or("every device with a fitting board")) " " (part::rollout_state(rollout.state)) },
        body,
    }
    .framed(&app))
}

fn facts(rollout: &Rollout) -> Markup {
    html! {
        dl.facts {
            dt { "began" } dd { (Moment::of_ms(rollout.created_at.0).full()) " UTC" }
            dt { "last change" } dd { (Moment::of_ms(rollout.changed_at.0).full()) " UTC" }
            dt { "goes back to" } dd { @match rollout.previous { Some(previous) => (part::model_link(&rollout.model, previous)), None => span.muted { "the factory model" } } }
            (words("plan", &rollout.plan))
            (words("because", &rollout.reason))
        }
    }
}

/// A record's details as names and values.
fn words(prefix: &str, detail: &Json) -> Markup {
    let fields = detail.as_object().into_iter().flatten();
    html! {
        @for (name, value) in fields {
            dt { (prefix) ": " (name.replace('_', " ")) }
            dd { @match value.as_str() { Some(text) => (text), None => code { (value) } } }
        }
    }
}

fn members_table(members: &[Member], now: Timestamp) -> Markup {
    /// Rows on the page; a larger rollout is read through the API.
    const ROWS_MAX: usize = 500;
    if members.is_empty() {
        return part::empty(
            html! { "No device is in it: none has a board that this model was compiled for." },
        );
    }
    html! {
        div.tablewrap { table {
            thead { tr { th { "device" } th { "state" } th { "should run" } th { "since" } th { "said" } } }
            @for member in members.iter().take(ROWS_MAX) {
                tr {
                    td { a href=(format!("/devices/{}", member.device)) { code { (member.device) } } }
                    td { (part::pill(member.delivery.word(), part::delivery_tone(member.delivery))) }
                    td { @match member.target { Some(target) => code { (target) }, None => span.muted { "what it has" } } }
                    td { (part::ago(member.changed_at, now)) }
                    td.muted { @for (name, value) in member.detail.as_object().into_iter().flatten() { (name) " " (value) " " } }
                }
            }
        } }
        @if members.len() > ROWS_MAX { p.muted { (members.len() - ROWS_MAX) " more devices are in it." } }
    }
}
