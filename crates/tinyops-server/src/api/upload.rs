//! Uploads over HTTP: which recordings came over the network, and of which devices.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Serialize;
use tinyops_store::Digest;
use tinyops_store::upload::{self, Source, Upload};

use super::error::ApiError;
use super::frame::Query;
use super::make::Limit;
use crate::app::App;
use crate::text::Text;

/// A recording that came over the network.
#[derive(Debug, Serialize, JsonSchema)]
pub struct UploadView {
    /// Its number.
    pub upload: i64,
    /// When it came, in Unix milliseconds.
    pub received_at_ms: i64,
    /// Who sent it.
    pub actor: String,
    /// `training`, `testing` or `anomaly`.
    pub category: &'static str,
    /// Where it lies, from the root of the source that takes uploads.
    pub path: String,
    /// The SHA-256 of its bytes as they came.
    pub digest: Text<Digest>,
    /// How many they are.
    pub bytes: u64,
    /// Its label as it came.
    pub label: Option<String>,
    /// The device that it says it is of.
    pub device: Option<String>,
    /// The kind of that device.
    pub device_type: Option<String>,
    /// Whether its signature was checked, and fits.
    pub is_signed: bool,
    /// What else its sender says of it.
    pub metadata: BTreeMap<String, String>,
    /// What it may be used for, if somebody was asked.
    pub purpose: Option<String>,
    /// Until when.
    pub consent_until_ms: Option<i64>,
    /// When its bytes were erased, if they were.
    pub erased_at_ms: Option<i64>,
}

impl From<Upload> for UploadView {
    fn from(upload: Upload) -> UploadView {
        let new = upload.new;
        UploadView {
            upload: upload.id.0,
            received_at_ms: upload.received_at.0,
            actor: new.actor,
            category: new.category.word(),
            path: new.path,
            digest: Text(new.digest),
            bytes: new.bytes,
            label: new.label,
            device: new.device,
            device_type: new.device_type,
            is_signed: new.is_signed,
            metadata: serde_json::from_value(new.metadata).unwrap_or_default(),
            purpose: new.purpose,
            consent_until_ms: new.consent_until.map(|until| until.0),
            erased_at_ms: upload.erased_at.map(|at| at.0),
        }
    }
}

/// A device that uploads name.
#[derive(Debug, Serialize, JsonSchema)]
pub struct UploadDeviceView {
    /// What it calls itself.
    pub device: String,
    /// Its kind, as it said last.
    pub device_type: Option<String>,
    /// How many recordings of it are here.
    pub count: i64,
    /// When the newest came, in Unix milliseconds.
    pub last_at_ms: i64,
}

impl From<Source> for UploadDeviceView {
    fn from(source: Source) -> UploadDeviceView {
        UploadDeviceView {
            device: source.device,
            device_type: source.device_type,
            count: source.count,
            last_at_ms: source.last_at.0,
        }
    }
}

/// The project that is served.
fn name(app: &App) -> &str {
    &app.workshop().project.project.name
}

pub(super) async fn list(
    State(app): State<App>,
    Query(limit): Query<Limit>,
) -> Result<Json<Vec<UploadView>>, ApiError> {
    let uploads = upload::list(app.db(), name(&app), limit.count()).await?;
    Ok(Json(uploads.into_iter().map(UploadView::from).collect()))
}

pub(super) async fn devices(
    State(app): State<App>,
) -> Result<Json<Vec<UploadDeviceView>>, ApiError> {
    let devices = upload::devices(app.db(), name(&app)).await?;
    Ok(Json(
        devices.into_iter().map(UploadDeviceView::from).collect(),
    ))
}
