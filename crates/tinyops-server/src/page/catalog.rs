//! The catalog: one field that finds data, models, runs, experiments, devices and recordings.

use axum::extract::{Query, State};
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;
use tinyops_pipeline::catalog::{self, Found, Page as Hits};
use tinyops_store::catalog::{Hit, Kind};

use super::part;
use super::{Page, PageError, Place};
use crate::api::id_of;
use crate::app::App;

/// Entries of a page.
const PAGE: u32 = 50;

/// What to look for, and which page.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    q: String,
    offset: u64,
}

pub(super) async fn show(
    State(app): State<App>,
    Query(asked): Query<Asked>,
) -> Result<Response, PageError> {
    let found = match asked.q.parse::<catalog::Query>() {
        Ok(query) => {
            let artifacts = &app.fleet().artifacts;
            Ok(catalog::find(app.db(), artifacts, &query, asked.offset, PAGE).await?)
        }
        Err(error) => Err(error.to_string()),
    };
    let body = html! {
        section.card {
            form.search action="/catalog" method="get" role="search" {
                input type="search" name="q" value=(asked.q) maxlength="1000" autofocus aria-label="What to look for"
                    placeholder="fan kind:model metric:accuracy>0.9";
                button { "Find" }
            }
            p.muted {
                "All words must hold. "
                @for example in ["kind:run", "owner:ana", "label:worn", "tag:site=hall-1", "metric:macro_f1>0.9"] {
                    code { (example) } " "
                }
                "What has spaces stands between double quotes."
            }
            @match &found {
                Err(why) => p.bad { (why) },
                Ok(hits) => (list(&app, &asked, hits)),
            }
        }
    };
    Ok(Page {
        place: Place::Catalog,
        title: "Catalog".to_owned(),
        lead: html! { "Everything that is kept: data and its recordings, models, runs, experiments, devices and cohorts." },
        body,
    }
    .framed(&app))
}

fn list(app: &App, asked: &Asked, hits: &Hits) -> Markup {
    if hits.found.is_empty() {
        return part::empty(html! { "Nothing is found. Fewer words find more." });
    }
    let last = asked.offset + hits.found.len() as u64;
    let link = |offset: u64| {
        let query: String = form_urlencoded::byte_serialize(asked.q.as_bytes()).collect();
        format!("/catalog?q={query}&offset={offset}")
    };
    html! {
        div.tablewrap { table {
            thead { tr { th { "kind" } th { "name" } th { "owner" } th { "what" } th { "when" } } }
            @for found in &hits.found {
                @match found {
                    Found::Record(hit) => (record(app, hit)),
                    Found::Recording { project, version, entry } => tr {
                        td { "recording" }
                        td { (entry.name) }
                        td {}
                        td.wide { (catalog::about(entry, project)) " " (part::digest(version)) }
                        td {}
                    },
                }
            }
        } }
        p.muted {
            (asked.offset + 1) " to " (last) " of " (hits.total) " "
            @if asked.offset > 0 { a href=(link(asked.offset.saturating_sub(PAGE.into()))) { "back" } " " }
            @if last < hits.total { a href=(link(last)) { "on" } }
        }
    }
}

fn record(app: &App, hit: &Hit) -> Markup {
    let id = id_of(hit);
    let href = match hit.kind {
        Kind::Model => hit
            .key
            .split_once('@')
            .map(|(name, version)| format!("/models/{name}/{version}")),
        Kind::Run => hit
            .key
            .strip_prefix("tinyops-")
            .map(|run| format!("/runs/{run}")),
        Kind::Device => Some(format!("/devices/{id}")),
        Kind::Cohort => Some("/drift".to_owned()),
        Kind::Data | Kind::Experiment => None,
    };
    let name = if hit.kind == Kind::Device {
        &id
    } else {
        &hit.title
    };
    html! {
        tr {
            td { (hit.kind.word()) }
            td { @match href {
                Some(href) => a href=(href) { (name) },
                None => (name),
            } }
            td { (hit.owner) }
            td.wide { (hit.about) @if let Some(digest) = &hit.digest { " " (part::digest(digest)) } }
            td { (part::ago(hit.at, app.now())) }
        }
    }
}
