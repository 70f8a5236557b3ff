//! Recordings of devices in the project's own envelope (docs/formats/recording.md).

use std::future::poll_fn;
use std::pin::Pin;

use axum::Json;
use axum::body::{Body, Bytes, HttpBody as _};
use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;
use tinyops_fleet::recording::{Claimed, Unrecorded};
use tinyops_pipeline::upload::{self, Delivery, Envelope, Inlet, Labelling, UploadError};
use tinyops_store::upload::Category;
use tinyops_store::{Digest, Timestamp};

use super::error::ApiError;
use crate::app::App;
use crate::text::Text;

/// A recording that is kept.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Kept {
    /// Its number among the uploads.
    pub upload: i64,
    /// Where it lies, from the root of the source that takes uploads.
    pub path: String,
    /// The SHA-256 of its payload.
    pub digest: Text<Digest>,
}

/// Takes a recording: its head is believed, or not, before its payload is read.
pub(super) async fn take(
    State(app): State<App>,
    mut body: Body,
) -> Result<(StatusCode, Json<Kept>), ApiError> {
    let mut begun = Vec::new();
    let claimed = loop {
        if let Some(claimed) = Claimed::parse(&begun)? {
            break claimed;
        }
        let Some(chunk) = next(&mut body).await? else {
            return Err(Unrecorded::Malformed("it ends before its payload".to_owned()).into());
        };
        begun.extend_from_slice(&chunk);
    };
    app.fleet().admit_recording(&claimed, app.now()).await??;
    let head = &claimed.head;
    let category = Category::of_word(&head.category).ok_or_else(|| {
        Unrecorded::Malformed("its category is training, testing or anomaly".to_owned())
    })?;
    let mut metadata = std::collections::BTreeMap::new();
    metadata.insert("units".to_owned(), head.units.join(","));
    metadata.insert("counter".to_owned(), head.counter.to_string());
    let delivery = Delivery {
        actor: format!("device {}", claimed.device()),
        category,
        name: head.name.clone(),
        label: match &head.label {
            Some(label) => Labelling::As(label.clone()),
            None => Labelling::Not,
        },
        metadata,
        refuse_duplicates: false,
        is_dated: false,
        consent: Some((head.purpose.clone(), head.until_ms.map(Timestamp))),
    };
    let envelope = Envelope {
        device: claimed.device(),
        counter: head.counter,
        digest: claimed.digest(),
        bytes: head.bytes,
    };
    upload::admit(app.workshop(), &envelope).await?;
    let mut inlet = Inlet::open(app.workshop(), Some(envelope)).await?;
    inlet.take(&begun[claimed.head_bytes..]).await?;
    while let Some(chunk) = next(&mut body).await? {
        inlet.take(&chunk).await?;
    }
    let kept = inlet.keep(app.workshop(), delivery).await?;
    let kept = Kept {
        upload: kept.id.0,
        path: kept.new.path,
        digest: Text(kept.new.digest),
    };
    Ok((StatusCode::CREATED, Json(kept)))
}

async fn next(body: &mut Body) -> Result<Option<Bytes>, ApiError> {
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await {
        let frame = frame.map_err(|_| Unrecorded::Malformed("it broke off".to_owned()))?;
        if let Ok(chunk) = frame.into_data() {
            return Ok(Some(chunk));
        }
    }
    Ok(None)
}

impl From<Unrecorded> for ApiError {
    fn from(why: Unrecorded) -> ApiError {
        let (status, hint) = match why {
            Unrecorded::Tag => (
                StatusCode::UNAUTHORIZED,
                "enrol the device, or sign with the key that it has now",
            ),
            Unrecorded::NoConsent | Unrecorded::Ended => (
                StatusCode::FORBIDDEN,
                "ask its owner, and say what was agreed to",
            ),
            _ => (StatusCode::BAD_REQUEST, "docs/formats/recording.md"),
        };
        ApiError::new(status, why.word(), why.to_string(), hint)
    }
}

impl From<UploadError> for ApiError {
    fn from(error: UploadError) -> ApiError {
        let message = error.to_string();
        if error.is_full() {
            let hint = "free some space on the server's disk; nothing of the recording is kept";
            let message = "the server's disk is full";
            return ApiError::new(
                StatusCode::INSUFFICIENT_STORAGE,
                "store_full",
                message,
                hint,
            );
        }
        let (status, code, hint) = match error {
            UploadError::Store(cause) => return cause.into(),
            UploadError::NoSource => (StatusCode::CONFLICT, "no_source", ""),
            UploadError::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too_large", ""),
            UploadError::Replayed { .. } => (
                StatusCode::CONFLICT,
                "replayed",
                "count on from there; what was told to be kept is kept",
            ),
            UploadError::Digest => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "digest",
                "send it again under a new counter",
            ),
            UploadError::Length { .. } => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "length",
                "send it whole; its counter is not used up",
            ),
            UploadError::Duplicate(_) => (StatusCode::CONFLICT, "exists", ""),
            UploadError::Disk(_) | UploadError::Folder(_) => {
                return ApiError {
                    cause: Some(message),
                    ..ApiError::new(
                        StatusCode::SERVICE_UNAVAILABLE,
                        "store_busy",
                        "the recording cannot be kept just now",
                        "repeat the call in a moment",
                    )
                };
            }
            _ => (StatusCode::UNPROCESSABLE_ENTITY, "recording", ""),
        };
        ApiError::new(status, code, message, hint)
    }
}
