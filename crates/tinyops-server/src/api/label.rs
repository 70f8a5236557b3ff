//! Labels over HTTP: what people know of the newest windows of devices.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tinyops_fleet::label::LabelWish;
use tinyops_store::label::{self, Label};
use tinyops_store::{DeviceId, ModelId};

use super::auth::Actor;
use super::error::ApiError;
use super::frame::{Body, Path, Query};
use super::make::Limit;
use crate::app::App;
use crate::text::Text;

/// A label for the newest windows of a device.
#[derive(Debug, Serialize, JsonSchema)]
pub struct LabelView {
    /// Its number.
    pub label: i64,
    /// Whose windows.
    pub device: Text<DeviceId>,
    /// The model that the device ran then, and must run still.
    pub model: Text<ModelId>,
    /// What they are; empty where what was labelled before is taken back.
    pub class: String,
    /// How many of the newest windows, when the device is told; 0 where what was labelled before is taken back.
    pub windows: u16,
    /// When it came, in Unix milliseconds.
    pub made_at_ms: i64,
    /// From here on it is not told any more.
    pub expires_at_ms: i64,
    /// None: the device was not told.
    pub told_at_ms: Option<i64>,
}

impl From<Label> for LabelView {
    fn from(label: Label) -> LabelView {
        let said = label.said;
        LabelView {
            label: label.id.0,
            device: Text(said.device),
            model: Text(said.model),
            class: said.class_name,
            windows: said.windows,
            made_at_ms: label.made_at.0,
            expires_at_ms: said.expires_at.0,
            told_at_ms: label.told_at.map(|at| at.0),
        }
    }
}

pub(super) async fn list(
    State(app): State<App>,
    Query(limit): Query<Limit>,
) -> Result<Json<Vec<LabelView>>, ApiError> {
    let labels = label::list(app.db(), limit.count()).await?;
    Ok(Json(labels.into_iter().map(LabelView::from).collect()))
}

/// What someone knows of a device's newest windows.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Wish {
    pub device: Text<DeviceId>,
    /// A class of the model that the device runs.
    pub class: String,
    /// How many of the newest windows, when the device is told.
    pub windows: u16,
    /// How long these may be the newest ones, 31 days at most: a device that is not there by then is not told.
    #[serde(default = "an_hour")]
    pub minutes: u32,
    /// Why, for the records.
    #[serde(default)]
    pub why: String,
}

fn an_hour() -> u32 {
    60
}

pub(super) async fn add(
    State(app): State<App>,
    Actor(actor): Actor,
    Body(wish): Body<Wish>,
) -> Result<(StatusCode, Json<LabelView>), ApiError> {
    let asked = LabelWish {
        class: &wish.class,
        windows: wish.windows,
        within_ms: i64::from(wish.minutes) * 60_000,
        why: &wish.why,
    };
    let fleet = app.fleet();
    let label = fleet
        .label(wish.device.0, &asked, &actor, app.now())
        .await?;
    app.inner().wake.notify_one();
    Ok((StatusCode::CREATED, Json(label.into())))
}

/// That what was labelled on a device is taken back.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TakeBack {
    /// Why, for the records.
    #[serde(default)]
    pub why: String,
}

pub(super) async fn take_back(
    State(app): State<App>,
    Actor(actor): Actor,
    Path(Text(id)): Path<Text<DeviceId>>,
    Body(wish): Body<TakeBack>,
) -> Result<(StatusCode, Json<LabelView>), ApiError> {
    let fleet = app.fleet();
    let label = fleet
        .take_labels_back(id, &wish.why, &actor, app.now())
        .await?;
    app.inner().wake.notify_one();
    Ok((StatusCode::CREATED, Json(label.into())))
}
