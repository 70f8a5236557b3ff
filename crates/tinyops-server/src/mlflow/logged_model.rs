//! Logged models over HTTP.

use axum::Json;
use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};
use tinyops_pipeline::tracking::{Page, experiment, logged_model};
use tinyops_store::tracking::logged_model::{
    self as records, LoggedModel, LoggedModelStatus, NewLoggedModel,
};

use super::error::MlflowError;
use super::input::{Input, PairInput, maybe_whole, pairs, texts};
use super::run::{places, random_id};
use super::view::{Done, LoggedModelView};
use crate::app::App;

#[derive(Serialize)]
pub(super) struct One {
    model: LoggedModelView,
}

async fn shown(app: &App, found: LoggedModel) -> Result<Json<One>, MlflowError> {
    match views(app, vec![found]).await?.pop() {
        Some(model) => Ok(Json(One { model })),
        None => Err(MlflowError::invalid("the model is gone")),
    }
}

async fn views(app: &App, models: Vec<LoggedModel>) -> Result<Vec<LoggedModelView>, MlflowError> {
    let data = records::data_of(app.db(), &models).await?;
    let places = places(app, models.iter().map(|model| model.experiment)).await?;
    let view = |(model, data): (LoggedModel, _)| {
        let place = &places[&model.experiment];
        LoggedModelView::of(model, data, place)
    };
    Ok(models.into_iter().zip(data).map(view).collect())
}

#[derive(Deserialize)]
pub(super) struct New {
    #[serde(default)]
    experiment_id: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    model_type: Option<String>,
    #[serde(default)]
    source_run_id: Option<String>,
    #[serde(default)]
    params: Vec<PairInput>,
    #[serde(default)]
    tags: Vec<PairInput>,
}

pub(super) async fn create(
    State(app): State<App>,
    Input(new): Input<New>,
) -> Result<Json<One>, MlflowError> {
    let experiment = experiment::get(app.db(), &new.experiment_id).await?;
    let id = random_id();
    let model = NewLoggedModel {
        name: match new.name.as_str() {
            "" => format!("model-{}", &id[..8]),
            name => name.to_owned(),
        },
        id: format!("m-{id}"),
        experiment: experiment.id,
        model_type: new.model_type.unwrap_or_default(),
        source_run: new.source_run_id.unwrap_or_default(),
    };
    let (params, tags) = (pairs(new.params), pairs(new.tags));
    let made = logged_model::create(app.db(), &model, &params, &tags, app.now()).await?;
    shown(&app, made).await
}

pub(super) async fn get(
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<Json<One>, MlflowError> {
    let found = logged_model::get(app.db(), &id).await?;
    shown(&app, found).await
}

#[derive(Deserialize)]
pub(super) struct Finish {
    #[serde(default)]
    status: String,
}

pub(super) async fn finish(
    State(app): State<App>,
    Path(id): Path<String>,
    Input(asked): Input<Finish>,
) -> Result<Json<One>, MlflowError> {
    let status = LoggedModelStatus::of_word(&asked.status).ok_or_else(|| {
        MlflowError::invalid(format!(
            "Invalid value '{}' for parameter 'status'",
            asked.status
        ))
    })?;
    let found = logged_model::finish(app.db(), &id, status, app.now()).await?;
    shown(&app, found).await
}

pub(super) async fn remove(
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<Json<Done>, MlflowError> {
    logged_model::remove(app.db(), &id).await?;
    Ok(Json(Done {}))
}

#[derive(Deserialize)]
pub(super) struct Tags {
    #[serde(default)]
    tags: Vec<PairInput>,
}

pub(super) async fn set_tags(
    State(app): State<App>,
    Path(id): Path<String>,
    Input(asked): Input<Tags>,
) -> Result<Json<Done>, MlflowError> {
    logged_model::tag(app.db(), &id, &pairs(asked.tags)).await?;
    Ok(Json(Done {}))
}

pub(super) async fn delete_tag(
    State(app): State<App>,
    Path((id, key)): Path<(String, String)>,
) -> Result<Json<Done>, MlflowError> {
    logged_model::untag(app.db(), &id, &key).await?;
    Ok(Json(Done {}))
}

#[derive(Deserialize)]
pub(super) struct Params {
    #[serde(default)]
    params: Vec<PairInput>,
}

pub(super) async fn add_params(
    State(app): State<App>,
    Path(id): Path<String>,
    Input(asked): Input<Params>,
) -> Result<Json<Done>, MlflowError> {
    logged_model::add_params(app.db(), &id, &pairs(asked.params)).await?;
    Ok(Json(Done {}))
}

#[derive(Deserialize)]
pub(super) struct Search {
    #[serde(default, deserialize_with = "texts")]
    experiment_ids: Vec<String>,
    #[serde(default)]
    filter: String,
    #[serde(default, deserialize_with = "maybe_whole")]
    max_results: Option<i64>,
    #[serde(default)]
    order_by: Vec<OrderBy>,
    #[serde(default)]
    page_token: Option<String>,
}

#[derive(Deserialize)]
struct OrderBy {
    field_name: String,
    #[serde(default)]
    ascending: Option<bool>,
}

#[derive(Serialize)]
pub(super) struct Found {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    models: Vec<LoggedModelView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_page_token: Option<String>,
}

pub(super) async fn search(
    State(app): State<App>,
    Input(asked): Input<Search>,
) -> Result<Json<Found>, MlflowError> {
    let page = Page::of(asked.max_results, 50, 1000, asked.page_token.as_deref())?;
    let order = asked.order_by.iter().map(|order| {
        let way = match order.ascending.unwrap_or(true) {
            true => "ASC",
            false => "DESC",
        };
        format!("{} {way}", order.field_name)
    });
    let order: Vec<String> = order.collect();
    let mut found =
        logged_model::search(app.db(), &asked.experiment_ids, &asked.filter, &order, page).await?;
    let next_page_token = page.cut(&mut found);
    let models = views(&app, found).await?;
    Ok(Json(Found {
        models,
        next_page_token,
    }))
}
