//! What surrounds every request: its id, its limits, its errors' shape, its counters.

use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::{DefaultBodyLimit, FromRequest, FromRequestParts, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::{Json, Router};
use tracing::warn;

use super::error::ApiError;
use crate::app::App;

/// Bytes of a request's body at most: a report, or a small JSON document.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// JSON of exactly this shape, or an error of ours.
#[derive(FromRequest)]
#[from_request(via(Json), rejection(ApiError))]
pub(super) struct Body<T>(pub T);

/// Query parameters of exactly this shape, or an error of ours.
#[derive(FromRequestParts)]
#[from_request(via(axum::extract::Query), rejection(ApiError))]
pub(super) struct Query<T>(pub T);

/// Path parameters of exactly this shape, or an error of ours.
#[derive(FromRequestParts)]
#[from_request(via(axum::extract::Path), rejection(ApiError))]
pub(super) struct Path<T>(pub T);

/// Puts the frame around the routes.
pub(crate) fn framed(routes: Router<App>, app: &App) -> Router<App> {
    routes
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn_with_state(app.clone(), around))
}

async fn around(State(app): State<App>, request: Request, next: Next) -> Response {
    /// Counts requests of this process; its start is in the log, so the two name a request.
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let request_id = format!("{:08x}", NEXT.fetch_add(1, Ordering::Relaxed));
    let is_api = request.uri().path().starts_with("/api/");
    // Whoever looks sees all that has been acknowledged.
    if request.method() == Method::GET
        && let Err(cause) = app.settle().await
    {
        warn!(%cause, "the newest reports are not in what is shown");
    }
    let mut response = next.run(request).await;
    app.inner().metrics.http_requests.inc();
    if response.status().is_server_error() {
        app.inner().metrics.http_errors.inc();
    }
    if let Some(problem) = response.extensions_mut().remove::<ApiError>() {
        response = problem.answer(&request_id);
    } else if is_api && is_bare_error(&response) {
        response = bare(response.status()).answer(&request_id);
    }
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(&request_id) {
        headers.insert("x-request-id", id);
    }
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:",
        ),
    );
    response
}

/// An error of the router itself, which has no JSON.
fn is_bare_error(response: &Response) -> bool {
    let status = response.status();
    let json = HeaderValue::from_static("application/json");
    (status.is_client_error() || status.is_server_error())
        && response.headers().get(header::CONTENT_TYPE) != Some(&json)
}

fn bare(status: StatusCode) -> ApiError {
    let (code, hint) = match status {
        StatusCode::NOT_FOUND => ("no_route", "`/api/v1/openapi.json` lists every route"),
        StatusCode::METHOD_NOT_ALLOWED => ("method", "`/api/v1/openapi.json` lists every route"),
        StatusCode::PAYLOAD_TOO_LARGE => ("too_large", "a body has at most 64 KiB"),
        _ => ("request", ""),
    };
    let message = status.canonical_reason().unwrap_or("not done");
    ApiError::new(status, code, message.to_lowercase(), hint)
}
