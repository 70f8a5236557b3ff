//! Orders for windows over HTTP: devices are asked for few that are worth a look, and the parcels that come are handed
//! out as they are, sealed for the annotator.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tinyops_fleet::annotate::{AnnotationWish, Whom};
use tinyops_store::annotation::{self, Annotation, AnnotationId};
use tinyops_store::{DeviceId, Digest, ModelId};
use tinyops_wire::annotation::ORDER_WINDOWS_MAX;
use tinyops_wire::sealing::AnnotatorKey;

use super::auth::Actor;
use super::error::ApiError;
use super::frame::{Body, Path, Query};
use super::make::Limit;
use crate::app::App;
use crate::text::Text;

/// An order for windows, and what came of it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct AnnotationView {
    /// Its number.
    pub order: i64,
    /// Who is asked.
    pub device: Text<DeviceId>,
    /// The model that the device ran.
    pub model: Text<ModelId>,
    /// The public key that windows are sealed for, in hex.
    pub annotator: Text<Digest>,
    /// How many windows at most.
    pub count: u32,
    /// Out of how many.
    pub windows: u32,
    /// asked, collecting, ready, whole, refused or withdrawn.
    pub state: String,
    /// Why the device refuses: consent, annotator, quota, room, model, lost, key or flash; empty if it does not.
    pub reason: String,
    /// How many windows there will be at most, or are.
    pub chosen: u32,
    /// How many more windows the device would let go in its month, as it said last.
    pub quota_left: Option<u32>,
    /// Bytes of the sealed parcel, once that is known.
    pub bytes: u32,
    /// Digest of the parcel, once all of it is here.
    pub parcel: Option<Text<Digest>>,
    /// When it was made, in Unix milliseconds.
    pub made_at_ms: i64,
    /// From here on it is not told any more.
    pub expires_at_ms: i64,
    /// When something was last heard of it.
    pub changed_at_ms: i64,
}

impl From<Annotation> for AnnotationView {
    fn from(order: Annotation) -> AnnotationView {
        let asked = order.asked;
        AnnotationView {
            order: order.id.0,
            device: Text(asked.device),
            model: Text(asked.model),
            annotator: Text(Digest(asked.annotator)),
            count: asked.count,
            windows: asked.windows,
            state: order.state.word().to_owned(),
            reason: order.reason,
            chosen: order.chosen,
            quota_left: order.quota_left,
            bytes: order.bytes,
            parcel: order.parcel.map(Text),
            made_at_ms: order.made_at.0,
            expires_at_ms: asked.expires_at.0,
            changed_at_ms: order.changed_at.0,
        }
    }
}

pub(super) async fn list(
    State(app): State<App>,
    Query(limit): Query<Limit>,
) -> Result<Json<Vec<AnnotationView>>, ApiError> {
    let orders = annotation::list(app.db(), limit.count()).await?;
    Ok(Json(orders.into_iter().map(AnnotationView::from).collect()))
}

/// Which devices are asked for windows: those to which all of it applies that is given, and something must be.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Wish {
    /// This device.
    #[serde(default)]
    pub device: Option<Text<DeviceId>>,
    /// Those that run this model.
    #[serde(default)]
    pub model: Option<Text<ModelId>>,
    /// Those of this cohort.
    #[serde(default)]
    pub cohort: Option<String>,
    /// The public key that windows are to be sealed for, in hex; a device that has not consented to it refuses.
    pub annotator: Text<Digest>,
    /// How many windows at most, from each, 1 to 8.
    #[serde(default = "most")]
    pub count: u8,
    /// Out of how many that come next.
    #[serde(default = "many")]
    pub windows: u16,
    /// Hours in which devices may be told, 1 to 8,760 (a year).
    #[serde(default = "three_days")]
    pub hours: u32,
    /// Why, for the records.
    #[serde(default)]
    pub why: String,
}

fn most() -> u8 {
    ORDER_WINDOWS_MAX
}

fn many() -> u16 {
    500
}

fn three_days() -> u32 {
    72
}

pub(super) async fn ask(
    State(app): State<App>,
    Actor(actor): Actor,
    Body(wish): Body<Wish>,
) -> Result<(StatusCode, Json<Vec<AnnotationView>>), ApiError> {
    let whom = Whom {
        device: wish.device.map(|device| device.0),
        model: wish.model.map(|model| model.0),
        cohort: wish.cohort,
    };
    let asked = AnnotationWish {
        annotator: AnnotatorKey(wish.annotator.0.0),
        count: wish.count,
        windows: wish.windows,
        within_ms: i64::from(wish.hours) * 3_600_000,
        why: &wish.why,
    };
    let orders = app
        .fleet()
        .ask_windows(&whom, &asked, &actor, app.now())
        .await?;
    app.inner().wake.notify_one();
    let views = orders.into_iter().map(AnnotationView::from).collect();
    Ok((StatusCode::CREATED, Json(views)))
}

/// The parcel as it came: this server cannot open it.
pub(super) async fn parcel(
    State(app): State<App>,
    Path(order): Path<i64>,
) -> Result<Response, ApiError> {
    let (_, bytes) = app.fleet().parcel(AnnotationId(order)).await?;
    let mut response = bytes.into_response();
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}
