//! Experiments over HTTP.

use axum::extract::State;
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use tinyops_pipeline::tracking::Page;
use tinyops_pipeline::tracking::experiment::{self, View};
use tinyops_store::tracking::experiment as records;
use tinyops_store::tracking::{Lifecycle, Pair};

use super::Actor;
use super::error::{Code, MlflowError};
use super::input::{Input, PairInput, maybe_whole, pairs, texts};
use super::view::{Done, ExperimentView};
use crate::app::App;

#[derive(Deserialize)]
pub(super) struct ById {
    #[serde(default)]
    experiment_id: String,
}

#[derive(Serialize)]
pub(super) struct One {
    experiment: ExperimentView,
}

async fn shown(app: &App, found: records::Experiment) -> Result<Json<One>, MlflowError> {
    let mut tags = records::tags(app.db(), &[found.id]).await?;
    let tags = tags.remove(&found.id).unwrap_or_default();
    let experiment = ExperimentView::of(found, tags);
    Ok(Json(One { experiment }))
}

pub(super) async fn get(
    State(app): State<App>,
    Input(by): Input<ById>,
) -> Result<Json<One>, MlflowError> {
    let found = experiment::get(app.db(), &by.experiment_id).await?;
    shown(&app, found).await
}

#[derive(Deserialize)]
pub(super) struct ByName {
    #[serde(default)]
    experiment_name: String,
}

pub(super) async fn by_name(
    State(app): State<App>,
    Input(by): Input<ByName>,
) -> Result<Json<One>, MlflowError> {
    let name = by.experiment_name;
    let found = records::named(app.db(), &name).await?;
    let found = found.ok_or_else(|| {
        let message = format!("Could not find experiment with name '{name}'");
        MlflowError::new(Code::ResourceDoesNotExist, message)
    })?;
    shown(&app, found).await
}

#[derive(Deserialize)]
pub(super) struct New {
    #[serde(default)]
    name: String,
    #[serde(default)]
    artifact_location: String,
    #[serde(default)]
    tags: Vec<PairInput>,
}

#[derive(Serialize)]
pub(super) struct Made {
    experiment_id: String,
}

pub(super) async fn create(
    State(app): State<App>,
    Input(new): Input<New>,
) -> Result<Json<Made>, MlflowError> {
    let tags = pairs(new.tags);
    let made = experiment::create(
        app.db(),
        &new.name,
        &new.artifact_location,
        &tags,
        app.now(),
    )
    .await?;
    let experiment_id = made.id.to_string();
    Ok(Json(Made { experiment_id }))
}

#[derive(Deserialize)]
pub(super) struct Update {
    #[serde(default)]
    experiment_id: String,
    #[serde(default)]
    new_name: String,
}

pub(super) async fn update(
    State(app): State<App>,
    Input(update): Input<Update>,
) -> Result<Json<Done>, MlflowError> {
    experiment::rename(app.db(), &update.experiment_id, &update.new_name, app.now()).await?;
    Ok(Json(Done {}))
}

pub(super) async fn delete(
    State(app): State<App>,
    Extension(Actor(actor)): Extension<Actor>,
    Input(by): Input<ById>,
) -> Result<Json<Done>, MlflowError> {
    let to = Lifecycle::Deleted;
    experiment::set_lifecycle(app.db(), &by.experiment_id, to, &actor, app.now()).await?;
    Ok(Json(Done {}))
}

pub(super) async fn restore(
    State(app): State<App>,
    Extension(Actor(actor)): Extension<Actor>,
    Input(by): Input<ById>,
) -> Result<Json<Done>, MlflowError> {
    let to = Lifecycle::Active;
    experiment::set_lifecycle(app.db(), &by.experiment_id, to, &actor, app.now()).await?;
    Ok(Json(Done {}))
}

#[derive(Deserialize)]
pub(super) struct Tag {
    #[serde(default)]
    experiment_id: String,
    #[serde(default)]
    key: String,
    #[serde(default)]
    value: String,
}

pub(super) async fn set_tag(
    State(app): State<App>,
    Input(tag): Input<Tag>,
) -> Result<Json<Done>, MlflowError> {
    let pair = Pair {
        key: tag.key,
        value: tag.value,
    };
    experiment::tag(app.db(), &tag.experiment_id, pair, app.now()).await?;
    Ok(Json(Done {}))
}

pub(super) async fn delete_tag(
    State(app): State<App>,
    Input(tag): Input<Tag>,
) -> Result<Json<Done>, MlflowError> {
    experiment::untag(app.db(), &tag.experiment_id, &tag.key, app.now()).await?;
    Ok(Json(Done {}))
}

/// Which records a search looks at, in the client's words.
#[derive(Deserialize, Clone, Copy, Default)]
pub(super) enum ViewType {
    #[default]
    #[serde(rename = "ACTIVE_ONLY")]
    Active,
    #[serde(rename = "DELETED_ONLY")]
    Deleted,
    #[serde(rename = "ALL")]
    All,
}

impl From<ViewType> for View {
    fn from(view: ViewType) -> View {
        match view {
            ViewType::Active => View::Active,
            ViewType::Deleted => View::Deleted,
            ViewType::All => View::All,
        }
    }
}

#[derive(Deserialize)]
pub(super) struct Search {
    #[serde(default, deserialize_with = "maybe_whole")]
    max_results: Option<i64>,
    #[serde(default)]
    page_token: Option<String>,
    #[serde(default)]
    filter: String,
    #[serde(default, deserialize_with = "texts")]
    order_by: Vec<String>,
    #[serde(default)]
    view_type: ViewType,
}

#[derive(Serialize)]
pub(super) struct Found {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    experiments: Vec<ExperimentView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_page_token: Option<String>,
}

pub(super) async fn search(
    State(app): State<App>,
    Input(asked): Input<Search>,
) -> Result<Json<Found>, MlflowError> {
    let page = Page::of(asked.max_results, 1000, 50_000, asked.page_token.as_deref())?;
    let view = asked.view_type.into();
    let mut found =
        experiment::search(app.db(), &asked.filter, &asked.order_by, view, page).await?;
    let next_page_token = page.cut(&mut found);
    let ids: Vec<_> = found.iter().map(|experiment| experiment.id).collect();
    let mut tags = records::tags(app.db(), &ids).await?;
    let experiments = found.into_iter().map(|experiment| {
        let tags = tags.remove(&experiment.id).unwrap_or_default();
        ExperimentView::of(experiment, tags)
    });
    Ok(Json(Found {
        experiments: experiments.collect(),
        next_page_token,
    }))
}
