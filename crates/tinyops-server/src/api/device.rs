//! Devices over HTTP: their list, reports, what they are owed, capsules.

use std::collections::HashMap;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tinyops_fleet::DELTA_EDGE;
use tinyops_fleet::cost::Newest;
use tinyops_fleet::own_head::answers_by_own_head;
use tinyops_store::device::{self, DevicePage};
use tinyops_store::lineage::Edge;
use tinyops_store::presence::{self, Presence};
use tinyops_store::{DeviceId, Digest, withdrawal};
use tokio::sync::oneshot;

use super::auth::{Actor, Caller};
use super::error::ApiError;
use super::frame::{Body, Path, Query};
use super::range::ranged;
use super::view::{DeviceDetailView, DeviceView};
use crate::app::App;
use crate::mqtt::Verdict;
use crate::mqtt::commit::{NotStored, Work};
use crate::mqtt::session::Closing;
use crate::text::{Text, hex};

/// Which devices.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DeviceList {
    #[serde(default)]
    after: Option<Text<DeviceId>>,
    #[serde(default)]
    limit: Option<u32>,
}

pub(super) async fn list(
    State(app): State<App>,
    Query(wanted): Query<DeviceList>,
) -> Result<Json<Vec<DeviceView>>, ApiError> {
    let db = app.db();
    let after = match wanted.after {
        Some(Text(id)) => device::get(db, id).await?.as_ref().map(DevicePage::after),
        None => None,
    };
    let devices = device::list(db, after, wanted.limit.unwrap_or(100).min(1000)).await?;
    let presences: HashMap<DeviceId, Presence> = presence::list(db, 100_000)
        .await?
        .into_iter()
        .map(|presence| (presence.device, presence))
        .collect();
    let view = |device: device::Device| {
        let presence = presences.get(&device.id);
        DeviceView::new(device, presence)
    };
    Ok(Json(devices.into_iter().map(view).collect()))
}

pub(super) async fn show(
    State(app): State<App>,
    Path(Text(id)): Path<Text<DeviceId>>,
) -> Result<Json<DeviceDetailView>, ApiError> {
    let device = device::get(app.db(), id).await?;
    let device = device.ok_or_else(|| ApiError::missing(format_args!("device `{id}`")))?;
    let presence = presence::get(app.db(), id).await?;
    let newest = Newest::read(app.db(), &device).await?;
    Ok(Json(DeviceDetailView {
        device: DeviceView::new(device, presence.as_ref()),
        cost: newest.map(Into::into),
        answers_by_own_head: answers_by_own_head(app.db(), id).await?,
        sums_withdrawn_at_ms: withdrawal::get(app.db(), id).await?.map(|said| said.at.0),
    }))
}

pub(super) async fn revoke(
    State(app): State<App>,
    Actor(actor): Actor,
    Path(Text(id)): Path<Text<DeviceId>>,
) -> Result<StatusCode, ApiError> {
    app.fleet().revoke(id, &actor, app.now()).await?;
    app.inner().sessions.close(id, Closing::Revoked);
    Ok(StatusCode::NO_CONTENT)
}

/// How long a device may enrol once more.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Permit {
    /// Hours from now on, 1 to 720.
    #[serde(default = "a_day")]
    pub hours: u32,
}

fn a_day() -> u32 {
    24
}

pub(super) async fn allow(
    State(app): State<App>,
    Actor(actor): Actor,
    Path(Text(id)): Path<Text<DeviceId>>,
    Body(wish): Body<Permit>,
) -> Result<StatusCode, ApiError> {
    if !(1..=720).contains(&wish.hours) {
        let hint = "between 1 and 720 hours";
        let message = format!("{} hours is no time to enrol in", wish.hours);
        return Err(ApiError::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "expiry",
            message,
            hint,
        ));
    }
    let until = app.now().plus_ms(i64::from(wish.hours) * 3_600_000);
    app.fleet().allow(id, until, &actor, app.now()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What became of a report.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Receipt {
    /// False for a report that no repetition could make right; it was counted.
    pub kept: bool,
    /// Sealed envelopes for the device, each in hex.
    pub down: Vec<String>,
}

/// Takes the same envelope as MQTT; the answer means that it is stored.
pub(super) async fn report(
    State(app): State<App>,
    Caller(device): Caller,
    bytes: Bytes,
) -> Result<Json<Receipt>, ApiError> {
    let verdict = store(&app, [(Some(device), bytes.to_vec())])
        .await?
        .remove(0);
    Ok(Json(Receipt {
        kept: verdict.kept,
        down: verdict.down.iter().map(|message| hex(message)).collect(),
    }))
}

/// Hands reports to the store; when it answers, all that is kept is durable.
pub(super) async fn store(
    app: &App,
    reports: impl IntoIterator<Item = (Option<DeviceId>, Vec<u8>)>,
) -> Result<Vec<Verdict>, ApiError> {
    let refuse = |why| match why {
        NotStored::Full => ApiError::new(
            StatusCode::INSUFFICIENT_STORAGE,
            "store_full",
            "the report was not stored: the server's disk is full",
            "free some space on the server's disk, and send it again",
        ),
        NotStored::Failed => ApiError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "not_stored",
            "the report was not stored",
            "send it again in a moment",
        ),
    };
    let mut waiting = Vec::new();
    for (device, bytes) in reports {
        let (done, verdict) = oneshot::channel();
        let work = Work::Upload {
            device,
            bytes,
            done,
        };
        let queued = app.inner().work.send(work).await;
        queued.map_err(|_| refuse(NotStored::Failed))?;
        waiting.push(verdict);
    }
    let mut verdicts = Vec::with_capacity(waiting.len());
    for verdict in waiting {
        let verdict = verdict.await.unwrap_or(Err(NotStored::Failed));
        verdicts.push(verdict.map_err(refuse)?);
    }
    Ok(verdicts)
}

/// What a device is owed.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct OwedView {
    /// Sealed envelopes, each in hex.
    pub down: Vec<String>,
}

pub(super) async fn owed(
    State(app): State<App>,
    Caller(device): Caller,
) -> Result<Json<OwedView>, ApiError> {
    let messages = app.fleet().owed(device, app.now()).await?;
    let down = messages.iter().map(|message| hex(message)).collect();
    Ok(Json(OwedView { down }))
}

/// A capsule by its digest, or a delta that makes one, whole or a range of it: the capsule is signed, and says so itself.
pub(super) async fn capsule(
    State(app): State<App>,
    Path(Text(digest)): Path<Text<Digest>>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let made_from = tinyops_store::lineage::made_from(app.db(), &digest).await?;
    let is_for_devices = |edge: &Edge| edge.kind == "sign" || edge.kind == DELTA_EDGE;
    if !made_from.iter().any(is_for_devices) {
        return Err(ApiError::missing(format_args!("capsule `{digest}`")));
    }
    let bytes = app.fleet().artifacts.get(&digest).await?;
    let mut response = ranged(&bytes, &headers, "the capsule")?;
    response.headers_mut().insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("max-age=31536000, immutable"),
    );
    Ok(response)
}
