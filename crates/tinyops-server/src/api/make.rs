//! The making side over HTTP: models, runs, datasets, lineage, triggers.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tinyops_pipeline::promotion::{self, ApprovalError, Standing};
use tinyops_store::access::Role;
use tinyops_store::approval::Approval;
use tinyops_store::run::{self, RunId};
use tinyops_store::trigger;
use tinyops_store::{Digest, Json as Detail, ModelId, capsule, dataset, lineage, model, step};

use super::auth::Actor;
use super::error::ApiError;
use super::frame::{Body, Path, Query};
use super::operate::Why;
use super::view::{
    CapsuleView, DatasetView, EdgeView, ModelView, RunDetailView, RunView, TriggerView,
};
use crate::LineageGraph;
use crate::access::Who;
use crate::app::App;
use crate::retrain::{self, WishError};
use crate::text::Text;

/// How many rows.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Limit {
    limit: Option<u32>,
}

impl Limit {
    pub(super) fn count(&self) -> u32 {
        self.limit.unwrap_or(100).min(1000)
    }
}

pub(super) async fn models(State(app): State<App>) -> Result<Json<Vec<ModelView>>, ApiError> {
    let models = model::list(app.db()).await?;
    Ok(Json(models.into_iter().map(ModelView::from).collect()))
}

/// A version with its capsules.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ModelDetailView {
    #[serde(flatten)]
    pub model: ModelView,
    pub capsules: Vec<CapsuleView>,
}

pub(super) async fn model_version(
    State(app): State<App>,
    Path((name, version)): Path<(String, u32)>,
) -> Result<Json<ModelDetailView>, ApiError> {
    let row = model::get(app.db(), &name, version).await?;
    let row = row.ok_or_else(|| ApiError::missing(format_args!("model `{name}@{version}`")))?;
    let capsules = capsule::of_model(app.db(), &name).await?;
    let of_version = capsules.into_iter().filter(|c| c.version == version);
    Ok(Json(ModelDetailView {
        model: row.into(),
        capsules: of_version.map(CapsuleView::from).collect(),
    }))
}

pub(super) async fn runs(
    State(app): State<App>,
    Query(limit): Query<Limit>,
) -> Result<Json<Vec<RunView>>, ApiError> {
    let runs = run::list(app.db(), limit.count()).await?;
    let triggers = trigger::of_runs(app.db(), &runs).await?;
    let now = app.now();
    let view = |run: run::Run| {
        let trigger = run.trigger.and_then(|id| triggers.get(&id));
        RunView::at(now, run, trigger)
    };
    Ok(Json(runs.into_iter().map(view).collect()))
}

pub(super) async fn run_detail(
    State(app): State<App>,
    Path(Text(id)): Path<Text<RunId>>,
) -> Result<Json<RunDetailView>, ApiError> {
    let row = run::get(app.db(), id).await?;
    let row = row.ok_or_else(|| ApiError::missing(format_args!("run {id}")))?;
    let steps = step::of_run(app.db(), id).await?;
    let triggers = trigger::of_runs(app.db(), std::slice::from_ref(&row)).await?;
    Ok(Json(RunDetailView {
        run: RunView::at(app.now(), row, triggers.values().next()),
        steps: steps.into_iter().map(Into::into).collect(),
    }))
}

/// A pipeline run to ask for.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RunWish {
    /// Why, for the records.
    #[serde(default)]
    pub reason: String,
    /// Names the wish, as an idempotency key does: who asks again under it asks for nothing new.
    #[serde(default)]
    pub key: Option<String>,
}

/// Leaves a trigger that the loop takes to the pipeline.
pub(super) async fn ask_for_run(
    State(app): State<App>,
    Actor(actor): Actor,
    Body(wish): Body<RunWish>,
) -> Result<(StatusCode, Json<TriggerView>), ApiError> {
    let wish = retrain::RunWish {
        actor: &actor,
        reason: &wish.reason,
        key: wish.key.as_deref(),
    };
    let asked = retrain::ask_for_run(app.workshop(), wish).await?;
    Ok((StatusCode::ACCEPTED, Json(asked.into())))
}

impl From<WishError> for ApiError {
    fn from(error: WishError) -> ApiError {
        let (status, code, hint) = match error {
            WishError::Store(error) => return error.into(),
            WishError::NoData | WishError::Sources(_) => (
                StatusCode::CONFLICT,
                "no_data",
                "put recordings where the `[[data.source]]` of tinyops.toml looks",
            ),
            WishError::Length => (StatusCode::UNPROCESSABLE_ENTITY, "value", ""),
            WishError::KeyUsed(_) => (StatusCode::CONFLICT, "key_used", "choose another key"),
        };
        ApiError::new(status, code, error.to_string(), hint)
    }
}

pub(super) async fn triggers(
    State(app): State<App>,
    Query(limit): Query<Limit>,
) -> Result<Json<Vec<TriggerView>>, ApiError> {
    let triggers = trigger::list(app.db(), limit.count()).await?;
    let view = |trigger: trigger::Trigger| {
        let at = app.inner().at_work.of(trigger.id);
        TriggerView::at_work(trigger, at)
    };
    Ok(Json(triggers.into_iter().map(view).collect()))
}

/// Which datasets.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OfProject {
    project: String,
}

pub(super) async fn datasets(
    State(app): State<App>,
    Query(OfProject { project }): Query<OfProject>,
) -> Result<Json<Vec<DatasetView>>, ApiError> {
    let datasets = dataset::list(app.db(), &project).await?;
    Ok(Json(datasets.into_iter().map(DatasetView::from).collect()))
}

/// Where something came from, and what was made with it.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct LineageView {
    /// What was asked about.
    pub digest: Text<Digest>,
    /// The model version that a model id in reports stands for.
    pub model: Option<String>,
    /// Back to the sources, nearest first.
    pub made_from: Vec<EdgeView>,
    /// On to what devices run, nearest first.
    pub made_into: Vec<EdgeView>,
}

/// Of a digest (64 hex digits), or of the model id that a report carries (8).
pub(super) async fn lineage_of(
    State(app): State<App>,
    Path(name): Path<String>,
) -> Result<Json<LineageView>, ApiError> {
    let db = app.db();
    let (digest, model) = if let Ok(digest) = name.parse::<Digest>() {
        (digest, None)
    } else if let Ok(id) = name.parse::<ModelId>() {
        let capsule = capsule::get(db, id).await?;
        let capsule = capsule.ok_or_else(|| ApiError::missing(format_args!("model id `{id}`")))?;
        let name = format!("{}@{}", capsule.model, capsule.version);
        (capsule.digest, Some(name))
    } else {
        return Err(ApiError::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "name",
            format!("`{name}` is no digest and no model id"),
            "give 64 hex digits of a digest, or the 8 that a report carries",
        ));
    };
    let made_from = lineage::ancestors(db, &digest).await?;
    let made_into = lineage::descendants(db, &digest).await?;
    Ok(Json(LineageView {
        digest: Text(digest),
        model,
        made_from: made_from.into_iter().map(EdgeView::from).collect(),
        made_into: made_into.into_iter().map(EdgeView::from).collect(),
    }))
}

/// What keeps a version back, and who spoke for it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct StandingView {
    /// How many approvals of each role its project asks for.
    pub wanted: BTreeMap<String, u32>,
    /// Those that were given.
    pub approvals: Vec<ApprovalView>,
    /// Why it may not be promoted or signed; empty if it may.
    pub reasons: Vec<String>,
}

/// One person's word for a version.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ApprovalView {
    /// Who.
    pub actor: String,
    /// As what.
    pub role: &'static str,
    /// Why.
    pub why: String,
    /// When.
    pub at_ms: i64,
}

impl From<Standing> for StandingView {
    fn from(standing: Standing) -> StandingView {
        let view = |approval: Approval| ApprovalView {
            actor: approval.actor,
            role: approval.role.word(),
            why: approval.why,
            at_ms: approval.at.0,
        };
        StandingView {
            wanted: standing.wanted,
            approvals: standing.approvals.into_iter().map(view).collect(),
            reasons: standing.reasons,
        }
    }
}

async fn version_of(app: &App, name: &str, version: u32) -> Result<model::Model, ApiError> {
    let row = model::get(app.db(), name, version).await?;
    row.ok_or_else(|| ApiError::missing(format_args!("model `{name}@{version}`")))
}

pub(super) async fn standing(
    State(app): State<App>,
    Path((name, version)): Path<(String, u32)>,
) -> Result<Json<StandingView>, ApiError> {
    let row = version_of(&app, &name, version).await?;
    Ok(Json(promotion::standing(app.db(), &row).await?.into()))
}

pub(super) async fn approve(
    State(app): State<App>,
    Extension(who): Extension<Who>,
    Path((name, version)): Path<(String, u32)>,
    Body(Why { why }): Body<Why>,
) -> Result<Json<StandingView>, ApiError> {
    let row = version_of(&app, &name, version).await?;
    let actor = who.name();
    let role = Role::of_word(who.role()).unwrap_or(Role::Viewer);
    let given = promotion::approve(app.db(), &row, &actor, role, &why, app.now()).await;
    match given {
        Ok(_) => Ok(Json(promotion::standing(app.db(), &row).await?.into())),
        Err(ApprovalError::Store(cause)) => Err(cause.into()),
        Err(cause) => Err(ApiError::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "approval",
            cause.to_string(),
            "`GET` the same place says what is missing",
        )),
    }
}

/// What is followed.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Followed {
    of: String,
}

/// Both ways, from recordings to devices.
pub(super) async fn lineage_graph(
    State(app): State<App>,
    Query(followed): Query<Followed>,
) -> Result<Json<LineageGraph>, ApiError> {
    let graph = crate::lineage(app.db(), &app.workshop().artifacts, &followed.of).await?;
    match graph.nodes.is_empty() {
        true => Err(ApiError::missing(format_args!("`{}`", followed.of))),
        false => Ok(Json(graph)),
    }
}

/// Whether the server answers.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Health {
    /// `ok`.
    pub status: &'static str,
    pub version: &'static str,
    pub detail: Detail,
}

pub(super) async fn health() -> Json<Health> {
    Json(Health {
        status: "ok",
        version: env!("CARGO_PKG_VERSION"),
        detail: Detail::Null,
    })
}

/// Whether the store answers, too.
pub(super) async fn ready(State(app): State<App>) -> Result<Json<Health>, ApiError> {
    let devices = tinyops_store::device::count(app.db()).await?;
    Ok(Json(Health {
        status: "ok",
        version: env!("CARGO_PKG_VERSION"),
        detail: serde_json::json!({ "devices": devices }),
    }))
}
