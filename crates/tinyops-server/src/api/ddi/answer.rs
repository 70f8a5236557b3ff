//! Documents of the DDI, out and in: JSON or CBOR, as the client says.

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, OptionalFromRequest, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tinyops_fleet::ddi::body::{self, BodyError, Form};

use crate::api::error::ApiError;
use crate::app::App;

/// The form in which a client takes answers.
#[derive(Debug)]
pub(super) struct Accepted {
    form: Form,
    kind: &'static str,
}

impl Accepted {
    pub(super) fn answer(&self, document: &Value) -> Response {
        let kind = HeaderValue::from_static(self.kind);
        let bytes = body::write(self.form, document);
        ([(header::CONTENT_TYPE, kind)], bytes).into_response()
    }
}

impl FromRequestParts<App> for Accepted {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Accepted, ApiError> {
        let json = Accepted {
            form: Form::Json,
            kind: "application/json",
        };
        let mut wanted = media_types(&parts.headers, header::ACCEPT).peekable();
        if wanted.peek().is_none() {
            return Ok(json);
        }
        let known = wanted.find_map(|kind| {
            Some(match kind.as_str() {
                "application/json" | "application/*" | "*/*" => ("application/json", Form::Json),
                "application/hal+json" => ("application/hal+json", Form::Json),
                "application/cbor" => ("application/cbor", Form::Cbor),
                _ => return None,
            })
        });
        let (kind, form) = known.ok_or_else(|| {
            ApiError::new(
                StatusCode::NOT_ACCEPTABLE,
                "accept",
                "there is no answer in a form that the client takes",
                "answers are application/json, application/hal+json or application/cbor",
            )
        })?;
        Ok(Accepted { form, kind })
    }
}

/// What a client says.
#[derive(Debug)]
pub(super) struct Said<T>(pub T);

impl<T: DeserializeOwned> FromRequest<App> for Said<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<Said<T>, ApiError> {
        let form = form_of(request.headers());
        let bytes = bytes_of(request, app).await?;
        read(form, &bytes)
    }
}

/// What a client may say, or leave out.
impl<T: DeserializeOwned> OptionalFromRequest<App> for Said<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<Option<Said<T>>, ApiError> {
        let form = form_of(request.headers());
        let bytes = bytes_of(request, app).await?;
        match bytes.is_empty() {
            true => Ok(None),
            false => read(form, &bytes).map(Some),
        }
    }
}

fn read<T: DeserializeOwned>(form: Option<Form>, bytes: &[u8]) -> Result<Said<T>, ApiError> {
    let form = form.ok_or_else(|| {
        ApiError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "content_type",
            "the body is in no form that is known here",
            "`Content-Type: application/json` or `application/cbor`",
        )
    })?;
    body::read(form, bytes)
        .map(Said)
        .map_err(|error| match error {
            BodyError::Length => too_large(),
            error => ApiError::new(
                StatusCode::BAD_REQUEST,
                "body",
                error.to_string(),
                "docs/guide/hawkbit.md shows each body",
            ),
        })
}

async fn bytes_of(request: Request, app: &App) -> Result<Bytes, ApiError> {
    let bytes = Bytes::from_request(request, app).await;
    bytes.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => too_large(),
        status => ApiError::new(status, "body", rejection.body_text(), "send it again"),
    })
}

fn too_large() -> ApiError {
    ApiError::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "too_large",
        "the body is too large",
        "a body has at most 64 KiB",
    )
}

fn form_of(headers: &HeaderMap) -> Option<Form> {
    match media_types(headers, header::CONTENT_TYPE).next()?.as_str() {
        "application/json" => Some(Form::Json),
        "application/cbor" => Some(Form::Cbor),
        _ => None,
    }
}

/// The media types of a header, in lower case and without their parameters.
fn media_types(headers: &HeaderMap, name: header::HeaderName) -> impl Iterator<Item = String> {
    let values = headers.get_all(name).into_iter();
    let texts = values.filter_map(|value| value.to_str().ok());
    texts
        .flat_map(|text| text.split(','))
        .map(|kind| {
            let kind = kind.split(';').next().unwrap_or_default();
            kind.trim().to_ascii_lowercase()
        })
        .filter(|kind| !kind.is_empty())
}
