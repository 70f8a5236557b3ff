//! Episodes: a drift, what was done about it, and whether that helped, on one page.

use axum::extract::{Path, State};
use axum::response::Response;
use maud::{Markup, html};
use tinyops_fleet::episode::{Episode, Judged};
use tinyops_store::Timestamp;
use tinyops_store::trigger::TriggerId;

use super::part::{self, Names};
use super::{Page, PageError, Place};
use crate::app::App;
use crate::civil::{self, Moment};
use crate::text::Text;

/// Episodes in the table.
const ROWS_MAX: u32 = 10;

pub(super) async fn show(
    State(app): State<App>,
    Path(Text(id)): Path<Text<TriggerId>>,
) -> Result<Response, PageError> {
    let episode = app.fleet().episode(id).await?;
    let episode = episode.ok_or_else(|| PageError::Missing(format!("Episode {id}")))?;
    let names = Names::load(app.db()).await?;
    let now = app.now();
    let body = html! {
        div.tiles {
            (part::tile(None, "Repaired", names.link(episode.repaired), html! { "what the devices ran" }, None))
            (part::tile(None, "By", level(&episode), html! { "the pipeline that was asked for" }, None))
            (part::tile(None, "Right meanwhile", share(episode.during), judged(episode.during), None))
            (part::tile(None, "Right afterwards", share(episode.after), judged(episode.after), None))
        }
        div.grid {
            (part::card("w8", "What happened", None, story(&episode, now)))
            (part::card("w4", "In the records", None, records(&episode)))
        }
    };
    Ok(Page {
        place: Place::Drift,
        title: format!("Episode {id}"),
        lead: html! { "From the first alert to the verdict, as the records have it: " (took(&episode, now)) "." },
        body,
    }
    .framed(&app))
}

/// The newest episodes, each a line.
pub(super) async fn table(app: &App, names: &Names, now: Timestamp) -> Result<Markup, PageError> {
    let episodes = app.fleet().episodes(ROWS_MAX).await?;
    if episodes.is_empty() {
        return Ok(part::empty(
            html! { "Nothing had to be repaired yet, and nobody asked a server for a run." },
        ));
    }
    Ok(html! {
        div.tablewrap { table {
            thead { tr {
                th { "episode" } th { "repaired" } th { "by" } th.num { "alerts" } th { "came of it" } th { "rollout" }
                th.num { "right meanwhile" } th.num { "right afterwards" } th { "began" }
            } }
            @for episode in &episodes {
                tr {
                    td { a href=(format!("/episodes/{}", episode.trigger.id)) { "#" (episode.trigger.id) } }
                    td { (names.link(episode.repaired)) }
                    td { (level(episode)) }
                    td.num { (episode.alerts.len()) }
                    td { (made(episode)) }
                    td { @if let Some(rollout) = &episode.rollout { (part::rollout_state(rollout.state)) } }
                    td.num { (share(episode.during)) }
                    td.num { (share(episode.after)) }
                    td { (part::ago(episode.began_at(), now)) }
                }
            }
        } }
    })
}

/// How a model is repaired.
fn level(episode: &Episode) -> Markup {
    html! {
        @match episode.trigger.kind.as_str() {
            "resolve-head" => "a new head from sums",
            "train" => "training",
            kind => (kind),
        }
    }
}

/// The version, or how far the wish is.
fn made(episode: &Episode) -> Markup {
    html! {
        @match &episode.model {
            Some(model) => (part::model_link(&model.name, model.version)),
            None => span.muted { (episode.trigger.state.word()) },
        }
    }
}

fn share(of: Judged) -> Markup {
    match of.share() {
        Some(share) => html! { (part::percent(share)) },
        None => html! { "–" },
    }
}

fn judged(of: Judged) -> Markup {
    html! { "of " (of.judged) " windows that labels judged" }
}

fn took(episode: &Episode, now: Timestamp) -> Markup {
    let done = episode.rollout.as_ref();
    let done = done.filter(|rollout| !part::is_open(rollout.state));
    let began = episode.began_at();
    html! {
        @match done {
            Some(rollout) => { (civil::duration(rollout.changed_at.ms_since(began))) " in all" }
            None => { "it began " (part::ago(began, now)) }
        }
    }
}

fn story(episode: &Episode, now: Timestamp) -> Markup {
    let began = episode.began_at();
    html! {
        ol.story {
            @for moment in episode.moments() {
                li {
                    time title=(Moment::of_ms(moment.at.0).full()) {
                        @if moment.at == began { (part::ago(began, now)) } @else { "+" (civil::duration(moment.at.ms_since(began))) }
                    }
                    span { (moment.what) }
                }
            }
        }
    }
}

fn records(episode: &Episode) -> Markup {
    html! {
        dl.facts {
            dt { "alerts" } dd {
                @if episode.alerts.is_empty() { "none" }
                @for alert in episode.alerts.iter().take(12) { "#" (alert.id) " " }
                @if episode.alerts.len() > 12 { "and " (episode.alerts.len() - 12) " more" }
            }
            @if let Some((repair, _)) = &episode.repair {
                dt { "repair" } dd { a href=(format!("/repairs/{}", repair.id)) { "#" (repair.id) } }
            }
            dt { "round" } dd { @match &episode.round { Some(round) => (round.id), None => "none" } }
            dt { "run" } dd { @match &episode.run { Some(run) => a href=(format!("/runs/{}", run.id)) { "#" (run.id) }, None => "none yet" } }
            dt { "version" } dd { (made(episode)) }
            dt { "rollout" } dd { @match &episode.rollout { Some(rollout) => a href=(format!("/rollouts/{}", rollout.id)) { "#" (rollout.id) }, None => "none" } }
        }
    }
}
