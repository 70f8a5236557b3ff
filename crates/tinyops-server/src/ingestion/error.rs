//! Errors as uploaders read them: a status, and one sentence that they show.

use axum::Json;
use axum::extract::multipart::{MultipartError, MultipartRejection};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tinyops_pipeline::upload::UploadError;
use tinyops_store::StoreError;
use tracing::warn;

use crate::access::{Denied, Who};

/// An answer that is an error.
#[derive(Debug)]
pub(super) struct IngestError {
    pub status: StatusCode,
    pub message: String,
}

impl IngestError {
    fn new(status: StatusCode, message: impl Into<String>) -> IngestError {
        IngestError {
            status,
            message: message.into(),
        }
    }

    pub(super) fn bad(message: impl Into<String>) -> IngestError {
        IngestError::new(StatusCode::BAD_REQUEST, message)
    }

    pub(super) fn header(name: &str, what: &str) -> IngestError {
        IngestError::bad(format!("header `{name}` {what}"))
    }

    pub(super) fn no_name() -> IngestError {
        let message = "header `x-file-name` is missing";
        IngestError::new(StatusCode::UNPROCESSABLE_ENTITY, message)
    }

    pub(super) fn no_part() -> IngestError {
        IngestError::bad("the form has no part `data`")
    }

    pub(super) fn too_many(most: usize) -> IngestError {
        let message = format!("a request has at most {most} files; those before it are kept");
        IngestError::new(StatusCode::PAYLOAD_TOO_LARGE, message)
    }

    pub(super) fn no_key() -> IngestError {
        let message =
            "header `x-api-key` is missing: `tinyops tokens make NAME --role recorder` makes one";
        IngestError::new(StatusCode::UNAUTHORIZED, message)
    }

    pub(super) fn forbidden(who: &Who) -> IngestError {
        let message = format!("`{}` ({}) may not send recordings", who.name(), who.role());
        IngestError::new(StatusCode::FORBIDDEN, message)
    }
}

impl IntoResponse for IngestError {
    fn into_response(self) -> Response {
        let body = Json(json!({ "success": false, "error": self.message }));
        (self.status, body).into_response()
    }
}

impl From<UploadError> for IngestError {
    fn from(error: UploadError) -> IngestError {
        let message = error.to_string();
        if error.is_full() {
            warn!(%error, "a recording was turned away");
            let message = "the server's disk is full; nothing of the recording is kept";
            return IngestError::new(StatusCode::INSUFFICIENT_STORAGE, message);
        }
        let status = match &error {
            UploadError::NoSource | UploadError::Duplicate(_) => StatusCode::CONFLICT,
            UploadError::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            UploadError::Unsound(_)
            | UploadError::Word { .. }
            | UploadError::Class(_)
            | UploadError::Unplaced(_) => StatusCode::BAD_REQUEST,
            // Its cause may name a place on this machine.
            _ => {
                let cause: &dyn std::error::Error = &error;
                warn!(error = cause, "a recording could not be kept");
                let message = "the recording cannot be kept just now: send it again";
                return IngestError::new(StatusCode::SERVICE_UNAVAILABLE, message);
            }
        };
        IngestError::new(status, message)
    }
}

impl From<MultipartError> for IngestError {
    fn from(error: MultipartError) -> IngestError {
        IngestError::new(error.status(), error.body_text())
    }
}

impl From<MultipartRejection> for IngestError {
    fn from(rejection: MultipartRejection) -> IngestError {
        IngestError::bad(rejection.body_text())
    }
}

impl From<Denied> for IngestError {
    fn from(denied: Denied) -> IngestError {
        match denied {
            Denied::Token(_) | Denied::Device => IngestError::new(
                StatusCode::UNAUTHORIZED,
                "Invalid API key: `tinyops tokens ls` lists those that are valid",
            ),
            Denied::Foreign => IngestError::new(
                StatusCode::FORBIDDEN,
                "a page of another site made this call",
            ),
            Denied::Store(cause) => {
                warn!(%cause, "a token could not be looked up");
                IngestError::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "the records cannot be reached just now: send it again",
                )
            }
        }
    }
}

impl From<StoreError> for IngestError {
    fn from(cause: StoreError) -> IngestError {
        UploadError::Store(cause).into()
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn what_the_disk_says_is_told_without_its_places() {
        for (kind, status) in [
            (io::ErrorKind::StorageFull, 507),
            (io::ErrorKind::QuotaExceeded, 507),
            (io::ErrorKind::PermissionDenied, 503),
        ] {
            let cause = io::Error::new(kind, "/srv/secret/uploads: it does not go");
            let error = IngestError::from(UploadError::from(cause));
            assert_eq!(error.status.as_u16(), status);
            assert!(!error.message.contains("/srv"), "{}", error.message);
        }
    }
}
