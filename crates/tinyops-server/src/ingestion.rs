//! The ingestion service: recordings in Edge Impulse's data acquisition format, at the paths, with the headers and
//! answers that firmware and uploaders of it know.
//!
//! What is kept, and where, is in `tinyops_pipeline::upload`; here are paths, headers and status codes.

mod error;
mod header;
#[cfg(test)]
mod tests;

use std::future::poll_fn;
use std::pin::Pin;

use axum::Router;
use axum::body::HttpBody as _;
use axum::extract::multipart::{Multipart, MultipartRejection};
use axum::extract::{DefaultBodyLimit, FromRequest as _, Request, State};
use axum::http::{HeaderMap, header::CONTENT_TYPE};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde::Serialize;
use tinyops_fleet::access::Right;
use tinyops_pipeline::upload::{Delivery, Inlet, Labelling};
use tinyops_store::upload::{Category, Upload};

use self::error::IngestError;
use self::header::Told;
use crate::access::identify;
use crate::app::App;

/// Files of one request at most.
const FILES_MAX: usize = 1000;

/// The routes of the ingestion service.
pub(crate) fn routes(app: &App) -> Router<App> {
    let guard = middleware::from_fn_with_state(app.clone(), guard);
    let mut router = Router::new();
    for &category in Category::ALL {
        let one = move |app, actor, request| data(app, actor, category, request);
        let many = move |app, actor, request| files(app, actor, category, request);
        router = router
            .route(&format!("/api/{category}/data"), post(one))
            .route(&format!("/api/{category}/files"), post(many));
    }
    // A recording is counted as it comes in.
    router.route_layer(guard).layer(DefaultBodyLimit::disable())
}

/// What the index calls the caller.
#[derive(Clone)]
struct Actor(String);

type Caller = axum::Extension<Actor>;

async fn guard(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let who = identify(&app, request.method(), request.headers()).await;
    match who.map_err(IngestError::from) {
        Ok(Some(who)) if who.may(Right::Ingest) => {
            request.extensions_mut().insert(Actor(who.name()));
            next.run(request).await
        }
        Ok(Some(who)) => IngestError::forbidden(&who).into_response(),
        Ok(None) => IngestError::no_key().into_response(),
        Err(error) => error.into_response(),
    }
}

/// One message, as the body or as the part `data` of a form; the answer is the name that it is kept under.
async fn data(
    State(app): State<App>,
    caller: Caller,
    category: Category,
    request: Request,
) -> Result<String, IngestError> {
    let told = Told::of(request.headers())?;
    let kept = match is_form(request.headers()) {
        false => {
            let name = told.name.clone().ok_or_else(IngestError::no_name)?;
            let mut inlet = Inlet::open(app.workshop(), None).await?;
            let mut body = request.into_body();
            while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
                let frame = frame.map_err(|_| IngestError::bad("the body broke off"))?;
                if let Ok(chunk) = frame.into_data() {
                    inlet.take(&chunk).await?;
                }
            }
            let delivery = delivery(&told, &caller.0, category, name);
            inlet.keep(app.workshop(), delivery).await?
        }
        true => {
            let mut form = form(request).await?;
            let mut field = loop {
                match form.next_field().await? {
                    Some(field) if field.name() == Some("data") => break field,
                    Some(_) => {}
                    None => return Err(IngestError::no_part()),
                }
            };
            let name = told.name.clone();
            let name = name.or_else(|| field.file_name().map(str::to_owned));
            let name = name.ok_or_else(IngestError::no_name)?;
            let mut inlet = Inlet::open(app.workshop(), None).await?;
            while let Some(chunk) = field.chunk().await? {
                inlet.take(&chunk).await?;
            }
            let delivery = delivery(&told, &caller.0, category, name);
            inlet.keep(app.workshop(), delivery).await?
        }
    };
    Ok(file_name(&kept))
}

/// What became of several files.
#[derive(Serialize)]
struct Kept {
    success: bool,
    files: Vec<KeptFile>,
}

/// What became of one of them.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct KeptFile {
    success: bool,
    file_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    project_id: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sample_id: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// One or more files, each a part `data` of a form. If none is kept, the answer has the status of what was wrong with the
/// first.
async fn files(
    State(app): State<App>,
    caller: Caller,
    category: Category,
    request: Request,
) -> Result<Response, IngestError> {
    let told = Told::of(request.headers())?;
    let mut form = form(request).await?;
    let mut files = Vec::new();
    let mut first_wrong = None;
    while let Some(mut field) = form.next_field().await? {
        if field.name() != Some("data") {
            continue;
        }
        if files.len() == FILES_MAX {
            return Err(IngestError::too_many(FILES_MAX));
        }
        let sent = field.file_name().map(str::to_owned);
        let sent = sent.or_else(|| told.name.clone()).unwrap_or_default();
        let mut inlet = Inlet::open(app.workshop(), None).await?;
        let mut wrong: Option<IngestError> = None;
        while let Some(chunk) = field.chunk().await? {
            // What is too long is read to its end, so that the files behind it come in.
            if wrong.is_none() {
                wrong = inlet.take(&chunk).await.err().map(IngestError::from);
            }
        }
        let kept = match wrong {
            Some(error) => Err(error),
            None => {
                let delivery = delivery(&told, &caller.0, category, sent.clone());
                inlet
                    .keep(app.workshop(), delivery)
                    .await
                    .map_err(IngestError::from)
            }
        };
        files.push(match kept {
            Ok(upload) => KeptFile {
                success: true,
                file_name: file_name(&upload),
                // There is one project here.
                project_id: Some(1),
                sample_id: Some(upload.id.0),
                error: None,
            },
            Err(error) => {
                let message = error.message.clone();
                first_wrong.get_or_insert(error.status);
                KeptFile {
                    success: false,
                    file_name: sent,
                    project_id: None,
                    sample_id: None,
                    error: Some(message),
                }
            }
        });
    }
    if files.is_empty() {
        return Err(IngestError::no_part());
    }
    let is_any_kept = files.iter().any(|file| file.success);
    let kept = Kept {
        success: first_wrong.is_none(),
        files,
    };
    let mut response = axum::Json(kept).into_response();
    if let (false, Some(status)) = (is_any_kept, first_wrong) {
        *response.status_mut() = status;
    }
    Ok(response)
}

async fn form(request: Request) -> Result<Multipart, IngestError> {
    let form: Result<Multipart, MultipartRejection> = Multipart::from_request(request, &()).await;
    form.map_err(IngestError::from)
}

fn is_form(headers: &HeaderMap) -> bool {
    let kind = headers
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| kind.to_ascii_lowercase().starts_with("multipart/"))
}

fn delivery(told: &Told, actor: &Actor, category: Category, name: String) -> Delivery {
    Delivery {
        actor: actor.0.clone(),
        category,
        name,
        label: match (&told.label, told.is_unlabelled) {
            (_, true) => Labelling::Not,
            (Some(label), _) => Labelling::As(label.clone()),
            (None, _) => Labelling::ByName,
        },
        metadata: told.metadata.clone(),
        refuse_duplicates: told.refuse_duplicates,
        is_dated: told.is_dated,
        consent: None,
    }
}

fn file_name(upload: &Upload) -> String {
    let path = &upload.new.path;
    path.rsplit('/').next().unwrap_or(path).to_owned()
}
