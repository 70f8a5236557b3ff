//! Tracked runs over HTTP.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use axum::extract::State;
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use tinyops_pipeline::tracking::experiment;
use tinyops_pipeline::tracking::run::{self, Batch, Logged};
use tinyops_pipeline::tracking::{Page, Place};
use tinyops_store::tracking::experiment::ExperimentId;
use tinyops_store::tracking::run::{
    self as records, DatasetInput, NewTrackedRun, Status, TrackedRun,
};
use tinyops_store::tracking::{Lifecycle, Pair};

use super::Actor;
use super::error::MlflowError;
use super::experiment::ViewType;
use super::input::{Input, PairInput, maybe_whole, number, pairs, texts};
use super::view::{Done, MetricView, RunInfoView, RunView, moment};
use crate::app::App;
use crate::text::hex;

/// Points of a history's page at most.
const HISTORY_MAX: u32 = 25_000;

/// A run by its id, or by the older word for it.
#[derive(Deserialize)]
pub(super) struct ById {
    #[serde(default)]
    run_id: String,
    #[serde(default)]
    run_uuid: String,
}

impl ById {
    fn id(&self) -> &str {
        either(&self.run_id, &self.run_uuid)
    }
}

pub(super) fn either<'a>(id: &'a str, older: &'a str) -> &'a str {
    match id {
        "" => older,
        id => id,
    }
}

#[derive(Serialize)]
pub(super) struct One {
    run: RunView,
}

async fn shown(app: &App, found: TrackedRun) -> Result<Json<One>, MlflowError> {
    let mut views = views(app, vec![found]).await?;
    match views.pop() {
        Some(run) => Ok(Json(One { run })),
        None => Err(MlflowError::invalid("the run is gone")),
    }
}

/// Runs with all that is known of them.
async fn views(app: &App, runs: Vec<TrackedRun>) -> Result<Vec<RunView>, MlflowError> {
    let data = records::data_of(app.db(), &runs).await?;
    let places = places(app, runs.iter().map(|run| run.experiment)).await?;
    let view = |(run, data): (TrackedRun, _)| {
        let place = &places[&run.experiment];
        RunView::of(run, data, place)
    };
    Ok(runs.into_iter().zip(data).map(view).collect())
}

/// Where the files of these experiments are.
pub(super) async fn places(
    app: &App,
    experiments: impl Iterator<Item = ExperimentId>,
) -> Result<BTreeMap<ExperimentId, Place>, MlflowError> {
    let mut places = BTreeMap::new();
    for id in experiments {
        if let Entry::Vacant(free) = places.entry(id) {
            free.insert(Place::of_id(app.db(), id).await?);
        }
    }
    Ok(places)
}

pub(super) async fn get(
    State(app): State<App>,
    Input(by): Input<ById>,
) -> Result<Json<One>, MlflowError> {
    let found = run::get(app.db(), by.id()).await?;
    shown(&app, found).await
}

#[derive(Deserialize)]
pub(super) struct New {
    #[serde(default)]
    experiment_id: String,
    #[serde(default)]
    user_id: String,
    #[serde(default)]
    run_name: String,
    #[serde(default, deserialize_with = "maybe_whole")]
    start_time: Option<i64>,
    #[serde(default)]
    tags: Vec<PairInput>,
}

pub(super) async fn create(
    State(app): State<App>,
    Input(new): Input<New>,
) -> Result<Json<One>, MlflowError> {
    if new.experiment_id.is_empty() {
        return Err(MlflowError::invalid(
            "Missing value for required parameter 'experiment_id'",
        ));
    }
    let experiment = experiment::get(app.db(), &new.experiment_id).await?;
    let tags = pairs(new.tags);
    let id = random_id();
    let is_named = !new.run_name.is_empty() || tags.iter().any(|tag| tag.key == "mlflow.runName");
    let name = match is_named {
        true => new.run_name,
        false => format!("run-{}", &id[..8]),
    };
    let run = NewTrackedRun {
        id,
        experiment: experiment.id,
        name,
        user: new.user_id,
        status: Status::Running,
        started_at: moment(new.start_time, app.now()),
    };
    let made = run::create(app.db(), &run, &tags).await?;
    shown(&app, made).await
}

/// 32 hex digits that nobody can guess.
pub(super) fn random_id() -> String {
    let random = tinyops_fleet::enrol::Entropy::from_system().0;
    hex(&random[..16])
}

#[derive(Deserialize)]
pub(super) struct Update {
    #[serde(flatten)]
    by: ById,
    #[serde(default)]
    status: Option<String>,
    #[serde(default, deserialize_with = "maybe_whole")]
    end_time: Option<i64>,
    #[serde(default)]
    run_name: Option<String>,
}

#[derive(Serialize)]
pub(super) struct Info {
    run_info: RunInfoView,
}

pub(super) async fn update(
    State(app): State<App>,
    Input(update): Input<Update>,
) -> Result<Json<Info>, MlflowError> {
    let status = update.status.as_deref().map(|word| {
        Status::of_word(word).ok_or_else(|| {
            MlflowError::invalid(format!("Invalid value {word} for parameter 'status'"))
        })
    });
    let ended_at = update.end_time.map(tinyops_store::Timestamp);
    let found = run::update(
        app.db(),
        update.by.id(),
        status.transpose()?,
        ended_at,
        update.run_name.as_deref(),
    )
    .await?;
    let place = Place::of_id(app.db(), found.experiment).await?;
    let run_info = RunInfoView::of(found, &place);
    Ok(Json(Info { run_info }))
}

pub(super) async fn delete(
    State(app): State<App>,
    Extension(Actor(actor)): Extension<Actor>,
    Input(by): Input<ById>,
) -> Result<Json<Done>, MlflowError> {
    run::set_lifecycle(app.db(), by.id(), Lifecycle::Deleted, &actor, app.now()).await?;
    Ok(Json(Done {}))
}

pub(super) async fn restore(
    State(app): State<App>,
    Extension(Actor(actor)): Extension<Actor>,
    Input(by): Input<ById>,
) -> Result<Json<Done>, MlflowError> {
    run::set_lifecycle(app.db(), by.id(), Lifecycle::Active, &actor, app.now()).await?;
    Ok(Json(Done {}))
}

/// A metric's point.
#[derive(Deserialize)]
pub(super) struct MetricInput {
    #[serde(default)]
    key: String,
    #[serde(deserialize_with = "number")]
    value: f64,
    #[serde(default, deserialize_with = "maybe_whole")]
    timestamp: Option<i64>,
    #[serde(default, deserialize_with = "maybe_whole")]
    step: Option<i64>,
    #[serde(default)]
    model_id: Option<String>,
    #[serde(default)]
    dataset_name: Option<String>,
    #[serde(default)]
    dataset_digest: Option<String>,
}

impl MetricInput {
    fn logged(self) -> Result<Logged, MlflowError> {
        let at = self.timestamp.ok_or_else(|| {
            MlflowError::invalid("Missing value for required parameter 'timestamp'")
        })?;
        Ok(Logged {
            model: self.model_id.unwrap_or_default(),
            dataset_name: self.dataset_name.unwrap_or_default(),
            dataset_digest: self.dataset_digest.unwrap_or_default(),
            ..Logged::of(self.key, at, self.step.unwrap_or(0), self.value)
        })
    }
}

#[derive(Deserialize)]
pub(super) struct LogMetric {
    #[serde(flatten)]
    by: ById,
    #[serde(flatten)]
    metric: MetricInput,
}

pub(super) async fn log_metric(
    State(app): State<App>,
    Input(input): Input<LogMetric>,
) -> Result<Json<Done>, MlflowError> {
    let batch = Batch {
        metrics: vec![input.metric.logged()?],
        ..Batch::default()
    };
    run::log(app.db(), input.by.id(), &batch).await?;
    Ok(Json(Done {}))
}

/// A parameter or a tag of a run.
#[derive(Deserialize)]
pub(super) struct LogPair {
    #[serde(flatten)]
    by: ById,
    #[serde(default)]
    key: String,
    #[serde(default)]
    value: String,
}

impl LogPair {
    fn pair(&self) -> Vec<Pair> {
        vec![Pair {
            key: self.key.clone(),
            value: self.value.clone(),
        }]
    }
}

pub(super) async fn log_param(
    State(app): State<App>,
    Input(input): Input<LogPair>,
) -> Result<Json<Done>, MlflowError> {
    let batch = Batch {
        params: input.pair(),
        ..Batch::default()
    };
    run::log(app.db(), input.by.id(), &batch).await?;
    Ok(Json(Done {}))
}

pub(super) async fn set_tag(
    State(app): State<App>,
    Input(input): Input<LogPair>,
) -> Result<Json<Done>, MlflowError> {
    let batch = Batch {
        tags: input.pair(),
        ..Batch::default()
    };
    run::log(app.db(), input.by.id(), &batch).await?;
    Ok(Json(Done {}))
}

pub(super) async fn delete_tag(
    State(app): State<App>,
    Input(input): Input<LogPair>,
) -> Result<Json<Done>, MlflowError> {
    run::untag(app.db(), input.by.id(), &input.key).await?;
    Ok(Json(Done {}))
}

#[derive(Deserialize)]
pub(super) struct LogBatch {
    #[serde(default)]
    run_id: String,
    #[serde(default)]
    metrics: Vec<MetricInput>,
    #[serde(default)]
    params: Vec<PairInput>,
    #[serde(default)]
    tags: Vec<PairInput>,
}

pub(super) async fn log_batch(
    State(app): State<App>,
    Input(input): Input<LogBatch>,
) -> Result<Json<Done>, MlflowError> {
    let metrics = input.metrics.into_iter().map(MetricInput::logged);
    let batch = Batch {
        metrics: metrics.collect::<Result<_, _>>()?,
        params: pairs(input.params),
        tags: pairs(input.tags),
    };
    run::log(app.db(), &input.run_id, &batch).await?;
    Ok(Json(Done {}))
}

/// What older clients write when they log a model: a line of a run's history of models.
#[derive(Deserialize)]
pub(super) struct LogModel {
    #[serde(default)]
    run_id: String,
    #[serde(default)]
    model_json: String,
}

pub(super) async fn log_model(
    State(app): State<App>,
    Input(input): Input<LogModel>,
) -> Result<Json<Done>, MlflowError> {
    run::note_model(app.db(), &input.run_id, &input.model_json).await?;
    Ok(Json(Done {}))
}

#[derive(Deserialize)]
pub(super) struct LogInputs {
    #[serde(default)]
    run_id: String,
    #[serde(default)]
    datasets: Vec<DatasetInputInput>,
    #[serde(default)]
    models: Vec<ModelInput>,
}

#[derive(Deserialize)]
struct DatasetInputInput {
    #[serde(default)]
    tags: Vec<PairInput>,
    dataset: Dataset,
}

#[derive(Deserialize)]
struct Dataset {
    #[serde(default)]
    name: String,
    #[serde(default)]
    digest: String,
    #[serde(default)]
    source_type: String,
    #[serde(default)]
    source: String,
    #[serde(default)]
    schema: String,
    #[serde(default)]
    profile: String,
}

#[derive(Deserialize)]
struct ModelInput {
    model_id: String,
    #[serde(default, deserialize_with = "maybe_whole")]
    step: Option<i64>,
}

pub(super) async fn log_inputs(
    State(app): State<App>,
    Input(input): Input<LogInputs>,
) -> Result<Json<Done>, MlflowError> {
    let datasets = input.datasets.into_iter().map(|input| DatasetInput {
        name: input.dataset.name,
        digest: input.dataset.digest,
        source_type: input.dataset.source_type,
        source: input.dataset.source,
        schema: input.dataset.schema,
        profile: input.dataset.profile,
        context: String::new(),
        tags: pairs(input.tags),
    });
    let datasets: Vec<DatasetInput> = datasets.collect();
    let models: Vec<String> = input
        .models
        .into_iter()
        .map(|model| model.model_id)
        .collect();
    run::log_inputs(app.db(), &input.run_id, &datasets, &models).await?;
    Ok(Json(Done {}))
}

#[derive(Deserialize)]
pub(super) struct LogOutputs {
    #[serde(default)]
    run_id: String,
    #[serde(default)]
    models: Vec<ModelInput>,
}

pub(super) async fn log_outputs(
    State(app): State<App>,
    Input(input): Input<LogOutputs>,
) -> Result<Json<Done>, MlflowError> {
    let models = input.models.into_iter();
    let models = models.map(|model| (model.model_id, model.step.unwrap_or(0)));
    let models: Vec<(String, i64)> = models.collect();
    run::log_outputs(app.db(), &input.run_id, &models).await?;
    Ok(Json(Done {}))
}

#[derive(Deserialize)]
pub(super) struct Search {
    #[serde(default, deserialize_with = "texts")]
    experiment_ids: Vec<String>,
    #[serde(default)]
    filter: String,
    #[serde(default)]
    run_view_type: ViewType,
    #[serde(default, deserialize_with = "maybe_whole")]
    max_results: Option<i64>,
    #[serde(default, deserialize_with = "texts")]
    order_by: Vec<String>,
    #[serde(default)]
    page_token: Option<String>,
}

#[derive(Serialize)]
pub(super) struct Found {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    runs: Vec<RunView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_page_token: Option<String>,
}

pub(super) async fn search(
    State(app): State<App>,
    Input(asked): Input<Search>,
) -> Result<Json<Found>, MlflowError> {
    let page = Page::of(asked.max_results, 1000, 50_000, asked.page_token.as_deref())?;
    let mut found = run::search(
        app.db(),
        &asked.experiment_ids,
        &asked.filter,
        &asked.order_by,
        asked.run_view_type.into(),
        page,
    )
    .await?;
    let next_page_token = page.cut(&mut found);
    let runs = views(&app, found).await?;
    Ok(Json(Found {
        runs,
        next_page_token,
    }))
}

#[derive(Deserialize)]
pub(super) struct History {
    #[serde(flatten)]
    by: ById,
    #[serde(default)]
    metric_key: String,
    #[serde(default, deserialize_with = "maybe_whole")]
    max_results: Option<i64>,
    #[serde(default)]
    page_token: Option<String>,
}

#[derive(Serialize)]
pub(super) struct Points {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    metrics: Vec<MetricView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_page_token: Option<String>,
}

pub(super) async fn history(
    State(app): State<App>,
    Input(asked): Input<History>,
) -> Result<Json<Points>, MlflowError> {
    let page = Page::of(
        asked.max_results,
        HISTORY_MAX,
        HISTORY_MAX,
        asked.page_token.as_deref(),
    )?;
    let points = run::history(app.db(), asked.by.id(), &asked.metric_key).await?;
    let start = usize::try_from(page.offset).unwrap_or(usize::MAX);
    let rest = points.into_iter().skip(start);
    let mut points: Vec<_> = rest.take(page.and_one() as usize).collect();
    let next_page_token = page.cut(&mut points);
    let view = |point| MetricView::point(&asked.metric_key, point);
    Ok(Json(Points {
        metrics: points.into_iter().map(view).collect(),
        next_page_token,
    }))
}
