//! Errors in MLflow's words. Its clients try 429 and 5xx again, so that only what may go well later is one of these.

use axum::Json;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tinyops_pipeline::tracking::TrackingError;
use tinyops_store::StoreError;
use tracing::warn;

use crate::access::Denied;

/// The codes that clients know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    InvalidParameterValue,
    ResourceAlreadyExists,
    ResourceDoesNotExist,
    EndpointNotFound,
    BadRequest,
    Unauthenticated,
    PermissionDenied,
    ResourceConflict,
    TemporarilyUnavailable,
    InternalError,
}

impl Code {
    fn word(self) -> &'static str {
        match self {
            Code::InvalidParameterValue => "INVALID_PARAMETER_VALUE",
            Code::ResourceAlreadyExists => "RESOURCE_ALREADY_EXISTS",
            Code::ResourceDoesNotExist => "RESOURCE_DOES_NOT_EXIST",
            Code::EndpointNotFound => "ENDPOINT_NOT_FOUND",
            Code::BadRequest => "BAD_REQUEST",
            Code::Unauthenticated => "UNAUTHENTICATED",
            Code::PermissionDenied => "PERMISSION_DENIED",
            Code::ResourceConflict => "RESOURCE_CONFLICT",
            Code::TemporarilyUnavailable => "TEMPORARILY_UNAVAILABLE",
            Code::InternalError => "INTERNAL_ERROR",
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Code::InvalidParameterValue | Code::ResourceAlreadyExists | Code::BadRequest => {
                StatusCode::BAD_REQUEST
            }
            Code::ResourceDoesNotExist | Code::EndpointNotFound => StatusCode::NOT_FOUND,
            Code::Unauthenticated => StatusCode::UNAUTHORIZED,
            Code::PermissionDenied => StatusCode::FORBIDDEN,
            Code::ResourceConflict => StatusCode::CONFLICT,
            Code::TemporarilyUnavailable => StatusCode::SERVICE_UNAVAILABLE,
            Code::InternalError => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// An answer that is an error.
#[derive(Debug)]
pub(super) struct MlflowError {
    code: Code,
    message: String,
}

impl MlflowError {
    pub(super) fn new(code: Code, message: impl Into<String>) -> MlflowError {
        MlflowError {
            code,
            message: message.into(),
        }
    }

    pub(super) fn invalid(message: impl Into<String>) -> MlflowError {
        MlflowError::new(Code::InvalidParameterValue, message)
    }

    pub(super) fn no_route(method: &Method, path: &str) -> MlflowError {
        MlflowError::new(
            Code::EndpointNotFound,
            format!("{method} {path} is no call of this server"),
        )
    }
}

impl IntoResponse for MlflowError {
    fn into_response(self) -> Response {
        let body = Json(json!({ "error_code": self.code.word(), "message": self.message }));
        let mut response = (self.code.status(), body).into_response();
        if self.code == Code::Unauthenticated {
            // Never `Basic`: a browser would ask, and show what it was told to whichever page makes it call.
            let scheme = HeaderValue::from_static("Bearer");
            let headers = response.headers_mut();
            headers.insert(header::WWW_AUTHENTICATE, scheme);
        }
        response
    }
}

impl From<TrackingError> for MlflowError {
    fn from(error: TrackingError) -> MlflowError {
        let message = error.to_string();
        match error {
            TrackingError::Store(cause) => cause.into(),
            TrackingError::Invalid(_) => MlflowError::invalid(message),
            TrackingError::Missing(_) => MlflowError::new(Code::ResourceDoesNotExist, message),
            TrackingError::Exists(_) => MlflowError::new(Code::ResourceAlreadyExists, message),
            TrackingError::Forbidden(_) => MlflowError::new(Code::PermissionDenied, message),
            _ => internal(&error),
        }
    }
}

impl From<StoreError> for MlflowError {
    fn from(cause: StoreError) -> MlflowError {
        match &cause {
            StoreError::Exists { .. } => {
                MlflowError::new(Code::ResourceAlreadyExists, cause.to_string())
            }
            StoreError::Conflict { .. } => MlflowError::new(
                Code::ResourceConflict,
                "another call changed the same thing: make this one again",
            ),
            StoreError::Busy { .. } | StoreError::Unreachable { .. } | StoreError::Full { .. } => {
                warn!(%cause, "a tracking call was put off");
                let message = "the records cannot be reached or written just now";
                MlflowError::new(Code::TemporarilyUnavailable, message)
            }
            _ => internal(&cause),
        }
    }
}

impl From<Denied> for MlflowError {
    fn from(denied: Denied) -> MlflowError {
        match denied {
            Denied::Token(_) | Denied::Device => MlflowError::new(
                Code::Unauthenticated,
                "this token opens nothing here: `tinyops tokens ls` lists those that do",
            ),
            Denied::Foreign => MlflowError::new(
                Code::PermissionDenied,
                "a page of another site made this call",
            ),
            Denied::Store(cause) => internal(&cause),
        }
    }
}

/// What the client can do nothing about: its cause stays in the log.
fn internal(cause: &dyn std::error::Error) -> MlflowError {
    warn!(%cause, "a tracking call failed");
    MlflowError::new(Code::InternalError, "the server could not do this now")
}
