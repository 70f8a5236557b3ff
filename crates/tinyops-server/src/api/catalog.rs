//! The catalog over HTTP: one search over everything that is kept.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tinyops_pipeline::catalog::{self, Found, QueryError, about};
use tinyops_store::DeviceId;
use tinyops_store::catalog::{Hit, Kind};

use super::error::ApiError;
use super::frame::Query;
use crate::app::App;

/// A page of what was found, best first.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct PageView {
    /// In all.
    pub total: u64,
    pub offset: u64,
    pub found: Vec<EntryView>,
}

/// One thing that was found.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct EntryView {
    /// `data`, `model`, `run`, `experiment`, `device`, `cohort` or `recording`.
    pub kind: &'static str,
    pub name: String,
    /// `fan@3`, the id of a run, experiment or device, a digest.
    pub id: String,
    pub owner: Option<String>,
    /// What else is known, in few words.
    pub about: String,
    /// Null of recordings.
    pub at_ms: Option<i64>,
}

impl From<Found> for EntryView {
    fn from(found: Found) -> EntryView {
        match found {
            Found::Record(hit) => EntryView {
                kind: hit.kind.word(),
                id: id_of(&hit),
                name: match hit.kind {
                    Kind::Device => id_of(&hit),
                    _ => hit.title,
                },
                owner: Some(hit.owner).filter(|owner| !owner.is_empty()),
                about: hit.about,
                at_ms: Some(hit.at.0),
            },
            Found::Recording { project, entry, .. } => EntryView {
                kind: "recording",
                id: entry.content.to_string(),
                about: about(&entry, &project),
                name: entry.name,
                owner: None,
                at_ms: None,
            },
        }
    }
}

/// What a record is found again by.
pub(crate) fn id_of(hit: &Hit) -> String {
    let number = hit.key.parse::<i64>().ok();
    match (number, &hit.digest) {
        (Some(number), _) if hit.kind == Kind::Device => DeviceId(number as u64).to_string(),
        (_, Some(digest)) => digest.to_string(),
        _ => hit.key.clone(),
    }
}

/// What to look for, and which page.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    #[serde(default)]
    q: String,
    #[serde(default)]
    offset: u64,
    limit: Option<u32>,
}

pub(super) async fn find(
    State(app): State<App>,
    Query(asked): Query<Asked>,
) -> Result<Json<PageView>, ApiError> {
    let query: catalog::Query = asked.q.parse()?;
    let artifacts = &app.fleet().artifacts;
    let limit = asked.limit.unwrap_or(100);
    let page = catalog::find(app.db(), artifacts, &query, asked.offset, limit).await?;
    Ok(Json(PageView {
        total: page.total,
        offset: asked.offset,
        found: page.found.into_iter().map(Into::into).collect(),
    }))
}

impl From<QueryError> for ApiError {
    fn from(error: QueryError) -> ApiError {
        let hint = "docs/guide/catalog.md lists what a query may say";
        ApiError::new(StatusCode::BAD_REQUEST, "query", error.to_string(), hint)
    }
}
