//! The operating side over HTTP: the fleet in figures, rollouts, alerts, the audit log.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tinyops_fleet::FleetError;
use tinyops_fleet::confidence::{Interval, Withheld};
use tinyops_fleet::rollout::Wish;
use tinyops_fleet::selector::Selector;
use tinyops_store::alert;
use tinyops_store::rollout::{self, RolloutId};
use tinyops_store::{ModelId, Timestamp, audit, device, presence};

use super::auth::Actor;
use super::error::ApiError;
use super::frame::{Body, Path, Query};
use super::make::Limit;
use super::view::{AuditView, MemberView, RolloutDetailView, RolloutView};
use crate::app::App;
use crate::event::Event;
use crate::gate::tell;
use crate::release::release;
use crate::text::Text;

/// The fleet in figures.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct FleetView {
    pub now_ms: i64,
    pub device_count: i64,
    pub connected_count: usize,
    pub models: Vec<ModelShare>,
    pub cohorts: Vec<CohortShare>,
    pub standing_alert_count: usize,
    pub open_rollout_count: usize,
    pub accuracy: Vec<AccuracyView>,
}

/// How many active devices run a model.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ModelShare {
    /// None: those that never said.
    pub model: Option<Text<ModelId>>,
    pub device_count: i64,
}

/// How many active devices are in a cohort.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct CohortShare {
    pub cohort: String,
    pub device_count: i64,
    /// What confidences let expect of the share of right answers, which is no accuracy; none before any report.
    pub expected: Option<ExpectedView>,
}

/// Between what the share of right answers lies as far as confidences can tell, or why nothing is told.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ExpectedView {
    /// The least share.
    pub low: Option<f64>,
    /// The greatest.
    pub high: Option<f64>,
    /// Such as `embeddings moved`; null where an interval is told.
    pub withheld: Option<String>,
}

impl From<Result<Interval, Withheld>> for ExpectedView {
    fn from(expected: Result<Interval, Withheld>) -> ExpectedView {
        let interval = expected.ok();
        ExpectedView {
            low: interval.map(|interval| interval.low),
            high: interval.map(|interval| interval.high),
            withheld: expected.err().map(|withheld| withheld.reason().to_owned()),
        }
    }
}

/// How right a model is in a cohort, by labels that came back.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct AccuracyView {
    pub cohort: String,
    pub model: Text<ModelId>,
    pub right: i64,
    pub judged: i64,
    /// `[actual][predicted]`.
    pub confusion: Vec<Vec<i64>>,
}

/// Since when.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Since {
    since_ms: Option<i64>,
}

pub(super) async fn fleet(
    State(app): State<App>,
    Query(Since { since_ms }): Query<Since>,
) -> Result<Json<FleetView>, ApiError> {
    let db = app.db();
    let accuracy = app
        .fleet()
        .accuracy(Timestamp(since_ms.unwrap_or(0)))
        .await?;
    let models = presence::by_model(db).await?.into_iter();
    let mut cohorts = Vec::new();
    for (cohort, device_count) in device::cohorts(db).await? {
        let view = app.fleet().cohort_view(&cohort).await?;
        cohorts.push(CohortShare {
            cohort,
            device_count,
            expected: view.map(|view| view.expected.into()),
        });
    }
    Ok(Json(FleetView {
        now_ms: app.now().0,
        device_count: device::count(db).await?,
        connected_count: app.connected_count(),
        models: models
            .map(|(model, device_count)| ModelShare {
                model: model.map(Text),
                device_count,
            })
            .collect(),
        cohorts,
        standing_alert_count: alert::standing(db).await?.len(),
        open_rollout_count: rollout::open(db).await?.len(),
        accuracy: accuracy
            .into_iter()
            .map(|accuracy| AccuracyView {
                cohort: accuracy.cohort,
                model: Text(accuracy.model),
                right: accuracy.right,
                judged: accuracy.judged,
                confusion: accuracy.confusion,
            })
            .collect(),
    }))
}

pub(super) async fn rollouts(
    State(app): State<App>,
    Query(limit): Query<Limit>,
) -> Result<Json<Vec<RolloutView>>, ApiError> {
    let rollouts = rollout::list(app.db(), limit.count()).await?;
    Ok(Json(rollouts.into_iter().map(RolloutView::from).collect()))
}

pub(super) async fn rollout_detail(
    State(app): State<App>,
    Path(Text(id)): Path<Text<RolloutId>>,
) -> Result<Json<RolloutDetailView>, ApiError> {
    let row = rollout::get(app.db(), id).await?;
    let row = row.ok_or_else(|| ApiError::missing(format_args!("rollout {id}")))?;
    let members = rollout::members(app.db(), id).await?;
    Ok(Json(RolloutDetailView {
        rollout: row.into(),
        devices: members.into_iter().map(MemberView::from).collect(),
    }))
}

/// A rollout to start.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RolloutWish {
    pub model: String,
    pub version: u32,
    /// The devices, such as `site = "north" and board != esp-eye`; every device with a fitting board where there
    /// is none. Devices that come later and match get it too.
    #[serde(default)]
    pub selector: String,
    /// A device belongs to the open rollout of the highest priority that it matches, of those to the oldest.
    #[serde(default)]
    pub priority: i64,
    /// Fields of the fleet's plan to change, such as `{"strategy": {"kind": "staged", "waves": [0.05, 0.25, 1]}}`.
    #[serde(default)]
    pub plan: Option<serde_json::Map<String, serde_json::Value>>,
}

/// Signs the version for the boards that it was compiled for, and offers it to the canary.
pub(super) async fn start_rollout(
    State(app): State<App>,
    Actor(actor): Actor,
    Body(wish): Body<RolloutWish>,
) -> Result<(StatusCode, Json<RolloutView>), ApiError> {
    let fleet = app.fleet();
    let changes = wish.plan.map(serde_json::Value::Object);
    let plan = changes.map(|changes| fleet.policy.rollout.changed(&changes));
    let plan = plan.transpose().map_err(FleetError::Plan)?;
    Selector::parse(&wish.selector).map_err(FleetError::Selector)?;
    let keys = fleet.keys().ok_or(FleetError::NoReleaseKey)?;
    release(fleet, &keys, &wish.model, wish.version, app.now()).await?;
    let wish = Wish {
        model: &wish.model,
        version: wish.version,
        selector: &wish.selector,
        priority: wish.priority,
        plan,
    };
    let (rollout, events) = fleet.start_rollout(&wish, &actor, app.now()).await?;
    tell(&app.inner().events, events.into_iter().map(Event::Fleet));
    app.inner().wake.notify_one();
    Ok((StatusCode::CREATED, Json(rollout.into())))
}

/// Why, for the records.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Why {
    #[serde(default)]
    pub why: String,
}

pub(super) async fn pause_rollout(
    State(app): State<App>,
    Actor(actor): Actor,
    Path(Text(id)): Path<Text<RolloutId>>,
    Body(Why { why }): Body<Why>,
) -> Result<Json<RolloutView>, ApiError> {
    let rollout = app
        .fleet()
        .pause_rollout(id, &actor, &why, app.now())
        .await?;
    Ok(Json(rollout.into()))
}

pub(super) async fn resume_rollout(
    State(app): State<App>,
    Actor(actor): Actor,
    Path(Text(id)): Path<Text<RolloutId>>,
) -> Result<Json<RolloutView>, ApiError> {
    let rollout = app.fleet().resume_rollout(id, &actor, app.now()).await?;
    app.inner().wake.notify_one();
    Ok(Json(rollout.into()))
}

pub(super) async fn install_rollout(
    State(app): State<App>,
    Actor(actor): Actor,
    Path(Text(id)): Path<Text<RolloutId>>,
) -> Result<Json<RolloutView>, ApiError> {
    let rollout = app.fleet().install_rollout(id, &actor, app.now()).await?;
    app.inner().wake.notify_one();
    Ok(Json(rollout.into()))
}

pub(super) async fn revert_rollout(
    State(app): State<App>,
    Actor(actor): Actor,
    Path(Text(id)): Path<Text<RolloutId>>,
    Body(Why { why }): Body<Why>,
) -> Result<Json<RolloutView>, ApiError> {
    let rollout = app
        .fleet()
        .revert_rollout(id, &actor, &why, app.now())
        .await?;
    app.inner().wake.notify_one();
    Ok(Json(rollout.into()))
}

/// Takes the fleet back from a model's newest version.
pub(super) async fn take_back(
    State(app): State<App>,
    Actor(actor): Actor,
    Path(Text(name)): Path<Text<String>>,
    Body(Why { why }): Body<Why>,
) -> Result<Json<Vec<RolloutView>>, ApiError> {
    let taken_back = app
        .fleet()
        .take_back(&name, &actor, &why, app.now())
        .await?;
    app.inner().wake.notify_one();
    Ok(Json(
        taken_back.into_iter().map(RolloutView::from).collect(),
    ))
}

pub(super) async fn audit_log(
    State(app): State<App>,
    Query(limit): Query<Limit>,
) -> Result<Json<Vec<AuditView>>, ApiError> {
    let entries = audit::list(app.db(), limit.count()).await?;
    Ok(Json(entries.into_iter().map(AuditView::from).collect()))
}

/// Prometheus' text, with what the store counts brought up to date.
pub(super) async fn metrics(State(app): State<App>) -> Result<String, ApiError> {
    let db = app.db();
    let metrics = &app.inner().metrics;
    metrics.devices.set(device::count(db).await?);
    metrics
        .alerts_open
        .set(alert::standing(db).await?.len() as i64);
    metrics
        .rollouts_active
        .set(rollout::open(db).await?.len() as i64);
    Ok(metrics.text())
}
