//! One shape for every error: `{code, message, hint, request_id}`.

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;
use tinyops_fleet::FleetError;
use tinyops_fleet::annotate::Unasked;
use tinyops_fleet::enrolment::Unenrolled;
use tinyops_fleet::label::Unlabelled;
use tinyops_pipeline::RunError;
use tinyops_pipeline::worth::WorthError;
use tinyops_store::StoreError;
use tracing::error;

use crate::release::ReleaseError;

/// What a client is told when something is wrong.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct Problem {
    /// A word that programs can match on.
    pub code: String,
    /// What is wrong, for a person.
    pub message: String,
    /// What to do about it; empty where nothing can be said.
    pub hint: String,
    /// Names this request in the server's log.
    pub request_id: String,
    /// True where a device is not let in and the same request would be refused again, however often it is sent.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schemars(default)]
    pub is_final: bool,
}

/// Why a call was not done.
#[derive(Debug, Clone)]
pub(crate) struct ApiError {
    pub status: StatusCode,
    pub code: &'static str,
    pub message: String,
    pub hint: &'static str,
    /// Whether a device that asks to be let in need not ask so again.
    pub is_final: bool,
    /// What is for the log only.
    pub cause: Option<String>,
}

impl ApiError {
    pub(crate) fn new(
        status: StatusCode,
        code: &'static str,
        message: impl Into<String>,
        hint: &'static str,
    ) -> ApiError {
        ApiError {
            status,
            code,
            message: message.into(),
            hint,
            is_final: false,
            cause: None,
        }
    }

    pub(crate) fn missing(what: impl std::fmt::Display) -> ApiError {
        let message = format!("{what} does not exist");
        ApiError::new(StatusCode::NOT_FOUND, "missing", message, "")
    }

    /// The answer, with the request's id in it.
    pub(super) fn answer(self, request_id: &str) -> Response {
        if let Some(cause) = &self.cause {
            error!(request_id, code = self.code, cause, "a request failed");
        }
        let problem = Problem {
            code: self.code.to_owned(),
            message: self.message,
            hint: self.hint.to_owned(),
            request_id: request_id.to_owned(),
            is_final: self.is_final,
        };
        (self.status, Json(problem)).into_response()
    }
}

/// The frame around the API fills in the request's id, so the error travels as an extension.
impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<StoreError> for ApiError {
    fn from(cause: StoreError) -> ApiError {
        let message = cause.to_string();
        match &cause {
            StoreError::Missing { .. } => {
                ApiError::new(StatusCode::NOT_FOUND, "missing", message, "")
            }
            StoreError::Exists { .. } => {
                ApiError::new(StatusCode::CONFLICT, "exists", message, "choose another id")
            }
            StoreError::Conflict { .. } => {
                let hint = "read it again and repeat the change if it still makes sense";
                ApiError::new(StatusCode::CONFLICT, "conflict", message, hint)
            }
            StoreError::Full { .. } => internal(
                StatusCode::INSUFFICIENT_STORAGE,
                "store_full",
                "free some space on the server's disk; nothing was half-written",
                &cause,
            ),
            StoreError::Busy { .. } | StoreError::Unreachable { .. } => internal(
                StatusCode::SERVICE_UNAVAILABLE,
                "store_busy",
                "repeat the call in a moment",
                &cause,
            ),
            _ => internal(
                StatusCode::INTERNAL_SERVER_ERROR,
                "store",
                "the server's log says more under this request id",
                &cause,
            ),
        }
    }
}

impl From<FleetError> for ApiError {
    fn from(cause: FleetError) -> ApiError {
        let message = cause.to_string();
        let (status, code, hint) = match cause {
            FleetError::Store(cause) => return cause.into(),
            FleetError::NoDevice(_)
            | FleetError::NoRollout(_)
            | FleetError::NoRepair(_)
            | FleetError::NoRound(_) => (StatusCode::NOT_FOUND, "missing", ""),
            FleetError::NoSum(_) | FleetError::NotWithdrawn(_) => {
                (StatusCode::CONFLICT, "state", "")
            }
            FleetError::Label(why) => {
                let status = match why {
                    Unlabelled::NoModel(_) | Unlabelled::NoClasses(_) => StatusCode::CONFLICT,
                    _ => StatusCode::UNPROCESSABLE_ENTITY,
                };
                (status, "label", "")
            }
            FleetError::NoStatistics => (StatusCode::CONFLICT, "privacy", ""),
            FleetError::Annotation(why) => {
                let status = match why {
                    Unasked::NoOrder(_) => StatusCode::NOT_FOUND,
                    Unasked::Gone(_) => StatusCode::GONE,
                    Unasked::Nobody | Unasked::NoParcel { .. } => StatusCode::CONFLICT,
                    _ => StatusCode::UNPROCESSABLE_ENTITY,
                };
                (status, "annotation", "")
            }
            FleetError::NoModel(_) => (
                StatusCode::NOT_FOUND,
                "missing",
                "reports of devices carry the id of the model that they run",
            ),
            FleetError::NoAction(_) => (
                StatusCode::NOT_FOUND,
                "missing",
                "poll: its links name what there is to do",
            ),
            FleetError::NoVersion { .. } => (
                StatusCode::NOT_FOUND,
                "missing",
                "`GET /api/v1/models` lists every version",
            ),
            FleetError::ActionClosed(_) => (
                StatusCode::GONE,
                "closed",
                "its last answer stands; poll for what there is to do now",
            ),
            FleetError::AutoConfirmed => (
                StatusCode::CONFLICT,
                "confirmed",
                "`deactivateAutoConfirm` ends it",
            ),
            FleetError::Controller(_) => (StatusCode::BAD_REQUEST, "controller", ""),
            FleetError::Attributes(_) => (StatusCode::BAD_REQUEST, "attributes", ""),
            FleetError::Enrolment(why) => {
                return ApiError {
                    is_final: why.is_final(),
                    ..ApiError::new(status_of(why), why.word(), message, why.hint())
                };
            }
            FleetError::NoDirectorKey => (
                StatusCode::CONFLICT,
                "no_director_key",
                "`tinyops keys new` makes the keys of a server",
            ),
            FleetError::NoClassToken(_) => (
                StatusCode::NOT_FOUND,
                "missing",
                "`GET /api/v1/class-tokens` lists them",
            ),
            FleetError::NoAuthority(_) => (
                StatusCode::NOT_FOUND,
                "missing",
                "`GET /api/v1/claims` lists them",
            ),
            FleetError::Uses | FleetError::Serial(_) => {
                (StatusCode::UNPROCESSABLE_ENTITY, "value", "")
            }
            FleetError::Name(_) => (StatusCode::UNPROCESSABLE_ENTITY, "name", ""),
            FleetError::NoToken(_) => (
                StatusCode::NOT_FOUND,
                "missing",
                "`GET /api/v1/tokens` lists them",
            ),
            FleetError::TokenRevoked(_) => (StatusCode::CONFLICT, "revoked", ""),
            FleetError::TokenEnds => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "expiry",
                "choose a time that is still to come",
            ),
            FleetError::RepairOver(_) => (StatusCode::CONFLICT, "state", "its last step says how"),
            FleetError::AlertOver(_) => (StatusCode::CONFLICT, "state", "its reason stands"),
            FleetError::MuteEnds => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "until",
                "choose a time that is still to come",
            ),
            FleetError::Reason => (StatusCode::UNPROCESSABLE_ENTITY, "reason", ""),
            FleetError::NoWebhook(_) => (
                StatusCode::NOT_FOUND,
                "missing",
                "`GET /api/v1/webhooks` lists them",
            ),
            FleetError::WebhookToken => (StatusCode::UNPROCESSABLE_ENTITY, "token", ""),
            FleetError::WebhookTest(_) => (
                StatusCode::CONFLICT,
                "kind",
                "the next run of the pipeline is told",
            ),
            FleetError::WebhookUrl(_) => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "url",
                "such as https://pager.example/hooks/tinyops",
            ),
            FleetError::NoCapsule { .. } => (
                StatusCode::CONFLICT,
                "no_capsule",
                "register devices whose board the model was compiled for",
            ),
            FleetError::Underway(_) => (
                StatusCode::CONFLICT,
                "underway",
                "wait until it is done, or revert it",
            ),
            FleetError::Selector(_) => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "selector",
                "such as `site = \"north\" and board != esp-eye`",
            ),
            FleetError::Plan(_) | FleetError::Window(_) => {
                (StatusCode::UNPROCESSABLE_ENTITY, "plan", "")
            }
            FleetError::NothingToTakeBack(_) => (StatusCode::CONFLICT, "nothing_to_take_back", ""),
            FleetError::WrongState { .. } => (StatusCode::CONFLICT, "state", ""),
            FleetError::NothingWaits(_) => (
                StatusCode::CONFLICT,
                "nothing_waits",
                "a plan with `install` = `later` waits for this word, once",
            ),
            FleetError::NoReleaseKey => (
                StatusCode::CONFLICT,
                "no-release-key",
                "`tinyops release request` makes what the holder of the key signs, `tinyops release import` takes it in",
            ),
            FleetError::Capsule(_) => (StatusCode::CONFLICT, "capsule", "run the pipeline again"),
            _ => {
                return internal(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "fleet",
                    "the server's log says more under this request id",
                    &cause,
                );
            }
        };
        ApiError::new(status, code, message, hint)
    }
}

fn status_of(why: Unenrolled) -> StatusCode {
    match why {
        Unenrolled::Request(_) | Unenrolled::OwnProof => StatusCode::UNPROCESSABLE_ENTITY,
        Unenrolled::AddressRate | Unenrolled::ClassRate => StatusCode::TOO_MANY_REQUESTS,
        Unenrolled::KeyUsed | Unenrolled::IdTaken => StatusCode::CONFLICT,
        Unenrolled::NoProof | Unenrolled::TokenTag | Unenrolled::ClaimProof => {
            StatusCode::UNAUTHORIZED
        }
        _ => StatusCode::FORBIDDEN,
    }
}

impl From<ReleaseError> for ApiError {
    fn from(cause: ReleaseError) -> ApiError {
        let message = cause.to_string();
        match cause {
            ReleaseError::Store(cause) => cause.into(),
            ReleaseError::Fleet(cause) => cause.into(),
            ReleaseError::NoModel { .. } => {
                ApiError::new(StatusCode::NOT_FOUND, "missing", message, "")
            }
            ReleaseError::Kept { .. } => {
                let hint = "`GET /api/v1/models/NAME/VERSION/standing` says what is missing";
                ApiError::new(StatusCode::CONFLICT, "kept", message, hint)
            }
            ReleaseError::NoPayload { .. } => {
                let hint = "run the pipeline with this board in `[boards]`";
                ApiError::new(StatusCode::CONFLICT, "no_payload", message, hint)
            }
        }
    }
}

impl From<WorthError> for ApiError {
    fn from(cause: WorthError) -> ApiError {
        let message = cause.to_string();
        match cause {
            WorthError::NotKept { .. } => {
                let hint = "it was imported, or made before this was kept: a new run makes one that can be priced";
                ApiError::new(StatusCode::CONFLICT, "not_kept", message, hint)
            }
            WorthError::NoSettings { .. } => {
                let hint = "a run of its project records what it asks, and its prices";
                ApiError::new(StatusCode::CONFLICT, "no_settings", message, hint)
            }
            WorthError::NoClasses { .. } => {
                ApiError::new(StatusCode::CONFLICT, "no_classes", message, "")
            }
            WorthError::Run(RunError::Store(cause)) => cause.into(),
            cause => internal(
                StatusCode::INTERNAL_SERVER_ERROR,
                "worth",
                "the server's log says more under this request id",
                &cause,
            ),
        }
    }
}

/// An error that the client can do nothing about: its cause stays in the log.
fn internal(
    status: StatusCode,
    code: &'static str,
    hint: &'static str,
    cause: &dyn std::error::Error,
) -> ApiError {
    let mut text = cause.to_string();
    let mut source = cause.source();
    while let Some(next) = source {
        text = format!("{text}: {next}");
        source = next.source();
    }
    ApiError {
        cause: Some(text),
        ..ApiError::new(status, code, "the server could not do this now", hint)
    }
}

impl From<JsonRejection> for ApiError {
    fn from(rejection: JsonRejection) -> ApiError {
        let hint = "`/api/v1/openapi.json` documents every body; unknown fields are refused";
        ApiError::new(rejection.status(), "body", rejection.body_text(), hint)
    }
}

impl From<QueryRejection> for ApiError {
    fn from(rejection: QueryRejection) -> ApiError {
        let hint = "`/api/v1/openapi.json` documents every parameter; unknown ones are refused";
        ApiError::new(rejection.status(), "query", rejection.body_text(), hint)
    }
}

impl From<PathRejection> for ApiError {
    fn from(rejection: PathRejection) -> ApiError {
        ApiError::new(rejection.status(), "path", rejection.body_text(), "")
    }
}
