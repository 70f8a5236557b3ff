//! The listener of a helper: a process of its own, which shares neither memory nor disk with a server.
//!
//! | call | answer |
//! |---|---|
//! | `GET /healthz` | that it is there |
//! | `POST /v1/sum` | the sum of the masks of the reports that are named (`docs/formats/masked.md`) |

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tinyops_fleet::helper::{Denied, Helper, SumRequest};
use tinyops_store::Digest;
use tinyops_wire::mask::Task;
use tokio::task::JoinHandle;
use tracing::{info, warn};

use crate::app::Clock;
use crate::listen::serve_http;
use crate::serve::{ServeError, bind_http};
use crate::stop::{self, Stopper};
use crate::text::{hex, unhex};
use crate::tls::{Tls, TlsFiles};

/// Bytes of a request: a million devices by name.
const REQUEST_BYTES_MAX: usize = 48 * 1024 * 1024;

/// Between two looks at the files of the certificate.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What a helper's listener needs.
pub struct HelperConfig {
    /// Where HTTP listens; port 0 takes any free one.
    pub http: SocketAddr,
    /// Who answers.
    pub helper: Helper,
    /// The token that the server shows.
    pub token: String,
    /// Makes the listener speak TLS.
    pub tls: Option<TlsFiles>,
    /// What time it is, for the certificate.
    pub now: Clock,
}

/// A helper at work. Dropping it stops it without waiting.
#[derive(Debug)]
pub struct HelperRunning {
    /// Where HTTP listens.
    pub http: SocketAddr,
    tls: Option<Tls>,
    stopper: Stopper,
    task: JoinHandle<()>,
}

/// What is asked.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SumQuestion {
    /// The task's bytes as hex.
    pub task: String,
    /// Numbers of each report.
    pub values: usize,
    /// Device and number of the envelope of each report.
    pub reports: Vec<(String, u32)>,
}

#[derive(Debug)]
struct Shared {
    helper: Helper,
    /// A digest takes the same time to compare wherever the first difference is known to nobody.
    token: Digest,
}

impl SumQuestion {
    /// A request as it goes over HTTP.
    pub fn of(request: &SumRequest) -> SumQuestion {
        SumQuestion {
            task: hex(&request.task.encode()),
            values: request.value_count,
            reports: request
                .reports
                .iter()
                .map(|(device, sequence)| (device.to_string(), *sequence))
                .collect(),
        }
    }

    fn read(&self) -> Result<SumRequest, &'static str> {
        let task = unhex(&self.task).and_then(|bytes| Task::decode(bytes.as_array()?));
        let reports = self.reports.iter();
        let reports = reports
            .map(|(device, sequence)| {
                Ok((
                    device.parse().map_err(|_| "a device has 16 hex digits")?,
                    *sequence,
                ))
            })
            .collect::<Result<_, &'static str>>()?;
        Ok(SumRequest {
            task: task.ok_or("the task is none: 32 hex digits of docs/formats/masked.md")?,
            value_count: self.values,
            reports,
        })
    }
}

/// Starts the listener.
///
/// # Errors
/// [`ServeError`]; nothing is left running then.
pub async fn serve_helper(config: HelperConfig) -> Result<HelperRunning, ServeError> {
    let tls = config.tls.as_ref();
    let tls = tls.map(|files| Tls::open(files, config.now, LOOK_EVERY));
    let tls = tls.transpose()?;
    let listener = bind_http(config.http, tls.as_ref()).await?;
    let http = listener.address();
    let router = router(config.helper, &config.token);
    let (stopper, stop) = stop::pair();
    let task = tokio::spawn(serve_http(listener, router, stop));
    info!(%http, "the helper is ready");
    Ok(HelperRunning {
        http,
        tls,
        stopper,
        task,
    })
}

/// The helper's routes without a socket.
fn router(helper: Helper, token: &str) -> Router {
    let shared = Shared {
        helper,
        token: Digest::of(token.as_bytes()),
    };
    Router::new()
        .route("/healthz", get(async || Json(json!({ "status": "ok" }))))
        .route("/v1/sum", post(sum))
        .layer(DefaultBodyLimit::max(REQUEST_BYTES_MAX))
        .with_state(Arc::new(shared))
}

/// The server, which has shown its token. It stands before the body among what a handler takes: from nobody else is a
/// body read.
struct Server;

impl FromRequestParts<Arc<Shared>> for Server {
    type Rejection = Response;

    async fn from_request_parts(
        parts: &mut Parts,
        shared: &Arc<Shared>,
    ) -> Result<Server, Response> {
        let shown = parts
            .headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.strip_prefix("Bearer "));
        match shown.map(|token| Digest::of(token.as_bytes())) == Some(shared.token) {
            true => Ok(Server),
            false => Err(refuse(
                StatusCode::UNAUTHORIZED,
                "token",
                "show the helper's server token as a bearer token",
            )),
        }
    }
}

async fn sum(
    State(shared): State<Arc<Shared>>,
    _: Server,
    question: Result<Json<SumQuestion>, axum::extract::rejection::JsonRejection>,
) -> Response {
    let request = match question {
        Ok(Json(question)) => match question.read() {
            Ok(request) => request,
            Err(problem) => return refuse(StatusCode::BAD_REQUEST, "malformed", problem),
        },
        Err(rejection) => {
            return refuse(StatusCode::BAD_REQUEST, "malformed", &rejection.body_text());
        }
    };
    // Masks of many devices take a while, and the log waits for the disk.
    let answer = tokio::task::spawn_blocking(move || {
        let answer = shared.helper.sum(&request);
        (answer, request.reports.len())
    });
    match answer.await {
        Ok((Ok(masks), devices)) => {
            info!(devices, "answered a sum");
            Json(json!({ "masks": masks })).into_response()
        }
        Ok((Err(denied), devices)) => {
            warn!(devices, %denied, "refused a sum");
            let status = match denied {
                Denied::Log(_) => StatusCode::SERVICE_UNAVAILABLE,
                _ => StatusCode::CONFLICT,
            };
            refuse(status, denied.word(), &denied.to_string())
        }
        Err(_) => refuse(
            StatusCode::INTERNAL_SERVER_ERROR,
            "failed",
            "the sum could not be made",
        ),
    }
}

fn refuse(status: StatusCode, code: &str, problem: &str) -> Response {
    (status, Json(json!({ "code": code, "problem": problem }))).into_response()
}

impl HelperRunning {
    /// Takes up the certificate that is in its files now; whoever is connected stays.
    pub fn reload(&self) {
        if let Some(tls) = &self.tls {
            tls.reload();
        }
    }

    /// Lets calls that have begun end, for a second, and stops.
    pub async fn stop(self) {
        self.stopper.stop();
        drop(self.task.await);
    }
}
