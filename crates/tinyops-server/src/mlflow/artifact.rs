//! Files of runs and models over HTTP: the artifact proxy.
//!
//! Names are in `tracked_files`, bytes among the artifacts. Below `tinyops/NAME/VERSION` lie the files of versions that
//! a pipeline registered; nobody writes there.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::Json;
use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderValue, header};
use axum::middleware;
use axum::response::Response;
use axum::routing::get;
use http_body::Frame;
use serde::{Deserialize, Serialize};
use tinyops_fleet::access::Right;
use tinyops_pipeline::tracking::{Place, check_path, own, registry, run};
use tinyops_store::tracking::file::{self, TrackedFile};
use tinyops_store::{Digest, Outgoing, StoreError, capsule, model};
use tokio::sync::mpsc;

use super::error::{Code, MlflowError};
use super::guard;
use super::input::Input;
use super::run::either;
use super::view::Done;
use crate::app::App;

/// Where the files of versions are that a pipeline registered.
const OWN: &str = "tinyops";
/// Bytes of a file that are gathered before they are written.
const PART_BYTES: usize = 256 << 10;

pub(super) fn routes(app: &App, root: &str) -> Router<App> {
    let guard = middleware::from_fn_with_state((app.clone(), Right::Operate), guard);
    let file = get(download)
        .put(upload)
        .delete(remove)
        .layer(DefaultBodyLimit::disable());
    Router::new()
        .route(&format!("{root}/mlflow-artifacts/artifacts"), get(list))
        .route(
            &format!("{root}/mlflow-artifacts/artifacts/{{*path}}"),
            file,
        )
        .route_layer(guard)
}

async fn upload(
    State(app): State<App>,
    Path(path): Path<String>,
    body: Body,
) -> Result<Json<Done>, MlflowError> {
    check_path(&path)?;
    check_foreign(&app, &path).await?;
    let (digest, bytes) = received(&app, body).await?;
    let file = TrackedFile {
        path,
        digest,
        bytes,
        changed_at: app.now(),
    };
    let tx = app.db().begin("keep a file of a run").await?;
    file::put(&tx, &file).await?;
    tx.commit().await?;
    Ok(Json(Done {}))
}

/// Takes a file part by part, so that one of any size takes little memory.
async fn received(app: &App, mut body: Body) -> Result<(Digest, u64), MlflowError> {
    let mut incoming = app.fleet().artifacts.receive().await?;
    let mut part: Vec<u8> = Vec::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let frame = frame.map_err(|cause| {
            MlflowError::new(
                Code::BadRequest,
                format!("the file did not come whole: {cause}"),
            )
        })?;
        if let Ok(bytes) = frame.into_data() {
            part.extend_from_slice(&bytes);
        }
        if part.len() >= PART_BYTES {
            incoming.write(std::mem::take(&mut part)).await?;
        }
    }
    if !part.is_empty() {
        incoming.write(part).await?;
    }
    Ok(incoming.finish().await?)
}

/// A file as it is sent: what does not read whole ends the connection, so that nobody takes a part for it.
struct Sent {
    parts: mpsc::Receiver<Result<Vec<u8>, StoreError>>,
}

impl Sent {
    fn of(mut file: Outgoing) -> Body {
        let (send, parts) = mpsc::channel(2);
        tokio::spawn(async move {
            while let Some(part) = file.next().await.transpose() {
                let is_last = part.is_err();
                if send.send(part).await.is_err() || is_last {
                    return;
                }
            }
        });
        Body::new(Sent { parts })
    }
}

impl HttpBody for Sent {
    type Data = Bytes;
    type Error = StoreError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StoreError>>> {
        let part = self.parts.poll_recv(context);
        part.map(|part| part.map(|part| part.map(|part| Frame::data(part.into()))))
    }
}

async fn download(
    State(app): State<App>,
    Path(path): Path<String>,
) -> Result<Response, MlflowError> {
    check_path(&path)?;
    let digest = match path.strip_prefix("tinyops/") {
        Some(rest) => own_files(&app, rest).await?.remove(&path),
        None => file::get(app.db(), &path).await?.map(|file| file.digest),
    };
    let digest = digest.ok_or_else(|| {
        MlflowError::new(
            Code::ResourceDoesNotExist,
            format!("No such artifact: '{path}'"),
        )
    })?;
    let artifacts = &app.fleet().artifacts;
    let bytes = artifacts.size(&digest).await?;
    let body = Sent::of(artifacts.read(&digest).await?);
    let name = path.rsplit('/').next().unwrap_or_default();
    let plain: String = name
        .chars()
        .map(|c| match c.is_ascii_alphanumeric() || "._-".contains(c) {
            true => c,
            false => '_',
        })
        .collect();
    // Whatever it is: a browser saves it, and runs nothing of it.
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/octet-stream"),
    );
    if let Some(bytes) = bytes {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(bytes));
    }
    if let Ok(value) = HeaderValue::from_str(&format!("attachment; filename={plain}")) {
        headers.insert(header::CONTENT_DISPOSITION, value);
    }
    Ok(response)
}

async fn remove(
    State(app): State<App>,
    Path(path): Path<String>,
) -> Result<Json<Done>, MlflowError> {
    check_path(&path)?;
    check_foreign(&app, &path).await?;
    let tx = app.db().begin("forget files of a run").await?;
    file::remove(&tx, &path).await?;
    tx.commit().await?;
    Ok(Json(Done {}))
}

async fn check_foreign(app: &App, path: &str) -> Result<(), MlflowError> {
    match path == OWN || path.starts_with("tinyops/") {
        true => Err(MlflowError::new(
            Code::PermissionDenied,
            "files of versions that a pipeline registered never change",
        )),
        false => Ok(own::check_file(app.db(), path).await?),
    }
}

#[derive(Deserialize)]
pub(super) struct Folder {
    #[serde(default)]
    path: String,
    #[serde(default)]
    run_id: String,
    #[serde(default)]
    run_uuid: String,
}

#[derive(Serialize)]
pub(super) struct Listing {
    #[serde(skip_serializing_if = "String::is_empty")]
    root_uri: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    files: Vec<FileView>,
}

#[derive(Serialize)]
struct FileView {
    path: String,
    is_dir: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    file_size: Option<u64>,
}

/// What lies directly in a folder; names are told from the folder on.
async fn list(
    State(app): State<App>,
    Input(asked): Input<Folder>,
) -> Result<Json<Listing>, MlflowError> {
    let folder = asked.path.trim_matches('/');
    if !folder.is_empty() {
        check_path(folder)?;
    }
    Ok(Json(Listing {
        root_uri: String::new(),
        files: directly_in(&app, folder, "").await?,
    }))
}

/// What lies directly in a folder of a run; names are told from the run's own folder on.
pub(super) async fn of_run(
    State(app): State<App>,
    Input(asked): Input<Folder>,
) -> Result<Json<Listing>, MlflowError> {
    let found = run::get(app.db(), either(&asked.run_id, &asked.run_uuid)).await?;
    let place = Place::of_id(app.db(), found.experiment).await?;
    let root_uri = place.of_run(&found);
    let inner = asked.path.trim_matches('/');
    if !inner.is_empty() {
        check_path(inner)?;
    }
    let mut files = Vec::new();
    if let Some(root) = root_uri.strip_prefix("mlflow-artifacts:/") {
        let (folder, before) = match inner {
            "" => (root.to_owned(), String::new()),
            inner => (format!("{root}/{inner}"), format!("{inner}/")),
        };
        files = directly_in(&app, &folder, &before).await?;
    }
    Ok(Json(Listing { root_uri, files }))
}

async fn directly_in(app: &App, folder: &str, before: &str) -> Result<Vec<FileView>, MlflowError> {
    let mut found: BTreeMap<String, Option<u64>> = BTreeMap::new();
    let start = match folder {
        "" => 0,
        folder => folder.len() + 1,
    };
    let mut note = |path: &str, bytes: u64| {
        let Some(rest) = path.get(start..) else {
            return;
        };
        match rest.split_once('/') {
            Some((name, _)) => found.insert(name.to_owned(), None),
            None => found.insert(rest.to_owned(), Some(bytes)),
        };
    };
    match folder.strip_prefix("tinyops/") {
        Some(rest) => {
            for (path, digest) in own_files(app, rest).await? {
                if path
                    .strip_prefix(folder)
                    .is_some_and(|rest| rest.starts_with('/'))
                {
                    let bytes = app.fleet().artifacts.size(&digest).await?;
                    note(&path, bytes.unwrap_or(0));
                }
            }
        }
        None => {
            for file in file::below(app.db(), folder).await? {
                note(&file.path, file.bytes);
            }
        }
    }
    let view = |(name, file_size): (String, Option<u64>)| FileView {
        path: format!("{before}{name}"),
        is_dir: file_size.is_none(),
        file_size,
    };
    Ok(found.into_iter().map(view).collect())
}

/// The files of one version that a pipeline registered: the model, and what each board gets of it.
async fn own_files(app: &App, rest: &str) -> Result<BTreeMap<String, Digest>, MlflowError> {
    let mut parts = rest.split('/');
    let (name, number) = (
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
    );
    let version = registry::version(app.db(), name, number).await?;
    let mut files = BTreeMap::new();
    let Some(found) = model::get(app.db(), name, version.version).await? else {
        return Ok(files);
    };
    let folder = format!("{OWN}/{name}/{number}");
    files.insert(format!("{folder}/model.tinyops"), found.digest);
    for capsule in capsule::of_model(app.db(), name).await? {
        if capsule.version == version.version {
            files.insert(
                format!("{folder}/{}.capsule", capsule.board),
                capsule.digest,
            );
        }
    }
    Ok(files)
}
