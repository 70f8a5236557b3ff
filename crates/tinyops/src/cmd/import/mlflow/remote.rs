//! The other server: its pages and its files.

use std::{collections::BTreeSet, io};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde_json::{Value, json};
use tinyops_pipeline::tracking::foreign::{
    self, ForeignError, ForeignExperiment, ForeignFile, ForeignModel, ForeignName, ForeignRun,
    ForeignVersion, Listed,
};
use tinyops_store::{
    Artifacts, Digest, Incoming, StoreError,
    tracking::{experiment::ExperimentId, metric::Sample},
};

use crate::{
    endpoint::Endpoint,
    http::{self, Parts},
};

/// Where the API begins.
const API: &str = "/api/2.0/mlflow";
/// Where files lie that the server hands on.
const PROXY: &str = "/api/2.0/mlflow-artifacts/artifacts";
/// Records of a page: a run may have hundreds of values.
const PAGE: u32 = 100;
/// Points of a page of a history: the most that servers give.
const POINTS: u32 = 25_000;
/// Folders in folders at most: nobody's server sends an import round in circles.
const DEPTH_MAX: usize = 64;
/// Records of a list at most, and pages of it: a list that goes on is no list of records.
const RECORDS_MAX: usize = 2_000_000;
/// Points of a history at most.
const HISTORY_MAX: usize = 20_000_000;
/// Files and folders of one run or logged model at most.
const FILES_MAX: usize = 200_000;
/// Bytes at most of a file whose length nobody told.
const FILE_BYTES_MAX: u64 = 256 << 30;

/// Why something could not be had of the other server.
#[derive(Debug, thiserror::Error)]
pub(super) enum RemoteError {
    #[error("{server} does not answer {path}: {cause}")]
    Unreachable {
        server: String,
        path: String,
        cause: io::Error,
    },
    #[error("the answer to {path} broke off: {cause}")]
    Broken { path: String, cause: io::Error },
    #[error("{path} should be {announced} bytes long, and {received} came")]
    Length {
        path: String,
        announced: u64,
        received: u64,
    },
    #[error("{path} lists without end")]
    Endless { path: String },
    #[error("{path} was answered with {status}: {why}")]
    Refused {
        path: String,
        status: u16,
        why: String,
    },
    #[error("what answers {path} is no document of MLflow's API: {why}")]
    Answer { path: String, why: String },
    #[error(transparent)]
    Foreign(#[from] ForeignError),
    #[error("{0} lies deeper than an import follows")]
    Deep(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A tracking server, and how it is spoken to.
pub(super) struct Remote {
    server: Endpoint,
    headers: Vec<(&'static str, String)>,
}

/// The files of one run or logged model.
pub(super) struct Files {
    id: String,
    is_run: bool,
    /// The path below the proxy, where the server hands files on itself.
    proxied: Option<String>,
}

impl Files {
    pub(super) fn of_run(id: &str, uri: &str) -> Files {
        Files {
            id: id.to_owned(),
            is_run: true,
            proxied: proxied(uri),
        }
    }

    pub(super) fn of_model(id: &str, uri: &str) -> Files {
        Files {
            is_run: false,
            ..Files::of_run(id, uri)
        }
    }

    /// Where a folder of them is listed.
    fn listing(&self, inner: &str) -> String {
        let (id, path) = (encoded(&self.id), encoded(inner));
        match (&self.proxied, self.is_run) {
            (Some(root), _) => {
                let path = joined(root, inner);
                format!("{PROXY}?path={}", encoded(&path))
            }
            (None, true) => format!("{API}/artifacts/list?run_id={id}&run_uuid={id}&path={path}"),
            (None, false) => format!(
                "{API}/logged-models/{id}/artifacts/directories?artifact_directory_path={path}"
            ),
        }
    }

    /// Where one of them is.
    fn file(&self, inner: &str) -> String {
        let (id, path) = (encoded(&self.id), encoded(inner));
        match (&self.proxied, self.is_run) {
            (Some(root), _) => {
                let path = joined(root, inner);
                let parts: Vec<String> = path.split('/').map(encoded).collect();
                format!("{PROXY}/{}", parts.join("/"))
            }
            (None, true) => format!("/get-artifact?run_uuid={id}&path={path}"),
            (None, false) => format!(
                "/ajax-api/2.0/mlflow/logged-models/{id}/artifacts/files?artifact_file_path={path}"
            ),
        }
    }
}

/// The path of a URI such as `mlflow-artifacts:/4/RUN/artifacts`, which may name a host.
fn proxied(uri: &str) -> Option<String> {
    let rest = uri.strip_prefix("mlflow-artifacts:")?;
    let path = match rest.strip_prefix("//") {
        Some(named) => named.split_once('/').map_or("", |(_, path)| path),
        None => rest,
    };
    Some(path.trim_matches('/').to_owned())
}

fn joined(root: &str, inner: &str) -> String {
    match inner {
        "" => root.to_owned(),
        inner => format!("{root}/{inner}"),
    }
}

/// As a query has it: all but what RFC 3986 leaves unreserved as `%XX`.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            _ => out += &format!("%{byte:02X}"),
        }
    }
    out
}

impl Remote {
    pub(super) fn new(server: Endpoint, user: Option<&str>, secret: Option<&str>) -> Remote {
        let shown = secret.map(|secret| match user {
            Some(user) => format!("Basic {}", BASE64.encode(format!("{user}:{secret}"))),
            None => format!("Bearer {secret}"),
        });
        let headers = shown.map(|shown| ("Authorization", shown));
        Remote {
            server,
            headers: headers.into_iter().collect(),
        }
    }

    /// Its address, by which what was taken over is marked.
    pub(super) fn name(&self) -> String {
        self.server.to_string()
    }

    /// What it says that it is.
    pub(super) async fn version(&self) -> Result<String, RemoteError> {
        let bytes = self.bytes("/version", None).await?;
        let text = String::from_utf8_lossy(&bytes);
        let text = text.trim();
        let is_version = !text.is_empty()
            && text.len() < 40
            && text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || ".+-".contains(c));
        match is_version {
            true => Ok(format!("MLflow {text}")),
            false => Err(RemoteError::Answer {
                path: "/version".to_owned(),
                why: "it tells no version".to_owned(),
            }),
        }
    }

    pub(super) async fn experiments(&self) -> Result<Listed<ForeignExperiment>, RemoteError> {
        let asked = |token: Option<&str>| json!({ "max_results": PAGE, "view_type": "ALL", "page_token": token });
        self.searched("experiments/search", asked, foreign::experiments)
            .await
    }

    pub(super) async fn runs(
        &self,
        experiment: &str,
        here: ExperimentId,
    ) -> Result<Listed<ForeignRun>, RemoteError> {
        let asked = |token: Option<&str>| {
            json!({
                "experiment_ids": [experiment], "run_view_type": "ALL", "max_results": PAGE, "page_token": token,
                "order_by": ["attributes.start_time ASC"],
            })
        };
        self.searched("runs/search", asked, |document| {
            foreign::runs(document, here)
        })
        .await
    }

    pub(super) async fn logged_models(
        &self,
        experiment: &str,
        here: ExperimentId,
    ) -> Result<Listed<ForeignModel>, RemoteError> {
        let asked = |token: Option<&str>| json!({ "experiment_ids": [experiment], "max_results": 50, "page_token": token });
        let found = self.searched("logged-models/search", asked, |document| {
            foreign::logged_models(document, here)
        });
        match found.await {
            // A server of MLflow 2 knows none.
            Err(RemoteError::Refused { status: 404, .. }) => Ok(Listed {
                items: Vec::new(),
                unread: Vec::new(),
                next: None,
            }),
            found => found,
        }
    }

    pub(super) async fn history(&self, run: &str, key: &str) -> Result<Vec<Sample>, RemoteError> {
        let id = encoded(run);
        let path = format!(
            "{API}/metrics/get-history?run_id={id}&run_uuid={id}&metric_key={}&max_results={POINTS}",
            encoded(key)
        );
        let read = |document: &Value| foreign::history(document, run);
        Ok(self.listed(&path, HISTORY_MAX, read).await?.items)
    }

    pub(super) async fn names(&self) -> Result<Listed<ForeignName>, RemoteError> {
        let path = format!("{API}/registered-models/search?max_results={PAGE}");
        let read = |document: &Value| Ok(foreign::names(document));
        self.listed(&path, RECORDS_MAX, read).await
    }

    pub(super) async fn versions(&self, name: &str) -> Result<Listed<ForeignVersion>, RemoteError> {
        let filter = format!("name='{}'", name.replace('\'', "''"));
        let path = format!(
            "{API}/model-versions/search?filter={}&max_results={PAGE}",
            encoded(&filter)
        );
        let read = |document: &Value| Ok(foreign::versions(document));
        self.listed(&path, RECORDS_MAX, read).await
    }

    /// Every file of a run or logged model, by its path below their folder.
    pub(super) async fn files(&self, of: &Files) -> Result<Vec<ForeignFile>, RemoteError> {
        let mut found = Vec::new();
        let mut folders = vec![String::new()];
        let mut seen = 0;
        while let Some(folder) = folders.pop() {
            if folder.split('/').count() > DEPTH_MAX {
                return Err(RemoteError::Deep(folder));
            }
            let document = match self.document(&of.listing(&folder), None).await {
                // Nothing was ever put there.
                Err(RemoteError::Refused { status: 404, .. }) if folder.is_empty() => continue,
                document => document?,
            };
            for file in foreign::files(&document)? {
                seen += 1;
                if seen > FILES_MAX {
                    return Err(RemoteError::Endless {
                        path: of.listing(""),
                    });
                }
                // A proxy tells names from the folder on, the other lists from the root on.
                let path = match of.proxied {
                    Some(_) => joined(&folder, &file.path)
                        .trim_start_matches('/')
                        .to_owned(),
                    None => file.path.clone(),
                };
                let is_below = folder.is_empty() || path.starts_with(&format!("{folder}/"));
                match file.is_folder {
                    _ if !is_below => {}
                    true => folders.push(path),
                    false => found.push(ForeignFile { path, ..file }),
                }
            }
        }
        found.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(found)
    }

    /// Brings one file among the artifacts, part by part, as long as its listing tells.
    pub(super) async fn file(
        &self,
        of: &Files,
        file: &ForeignFile,
        artifacts: &Artifacts,
    ) -> Result<(Digest, u64), RemoteError> {
        let path = of.file(&file.path);
        let mut kept = Kept {
            incoming: artifacts.receive().await?,
            received: 0,
            most: file.bytes.unwrap_or(FILE_BYTES_MAX),
        };
        let fetched = self.fetched(&path, None, &mut kept).await;
        let received = kept.received;
        match file.bytes {
            // What came is told rather than that the rest was not waited for.
            Some(announced)
                if received > announced || (fetched.is_ok() && received < announced) =>
            {
                Err(RemoteError::Length {
                    path,
                    announced,
                    received,
                })
            }
            _ => {
                fetched?;
                Ok(kept.incoming.finish().await?)
            }
        }
    }

    /// All pages of a search.
    async fn searched<T>(
        &self,
        what: &str,
        asked: impl Fn(Option<&str>) -> Value,
        read: impl Fn(&Value) -> Listed<T>,
    ) -> Result<Listed<T>, RemoteError> {
        let path = format!("{API}/{what}");
        let mut all = All::new(&path, RECORDS_MAX);
        let mut token: Option<String> = None;
        loop {
            let mut asked = asked(token.as_deref());
            if token.is_none()
                && let Some(fields) = asked.as_object_mut()
            {
                fields.remove("page_token");
            }
            let page = read(&self.document(&path, Some(&asked)).await?);
            token = all.add(page)?;
            if token.is_none() {
                return Ok(all.listed);
            }
        }
    }

    /// All pages of a list.
    async fn listed<T>(
        &self,
        path: &str,
        most: usize,
        read: impl Fn(&Value) -> Result<Listed<T>, ForeignError>,
    ) -> Result<Listed<T>, RemoteError> {
        let mut all = All::new(path, most);
        let mut token: Option<String> = None;
        loop {
            let paged = match &token {
                Some(token) => format!("{path}&page_token={}", encoded(token)),
                None => path.to_owned(),
            };
            let page = read(&self.document(&paged, None).await?)?;
            token = all.add(page)?;
            if token.is_none() {
                return Ok(all.listed);
            }
        }
    }

    async fn document(&self, path: &str, posted: Option<&Value>) -> Result<Value, RemoteError> {
        let bytes = self.bytes(path, posted).await?;
        serde_json::from_slice(&bytes).map_err(|error| RemoteError::Answer {
            path: path.to_owned(),
            why: error.to_string(),
        })
    }

    async fn bytes(&self, path: &str, posted: Option<&Value>) -> Result<Vec<u8>, RemoteError> {
        let mut bytes = Vec::new();
        self.fetched(path, posted, &mut bytes).await?;
        Ok(bytes)
    }

    async fn fetched(
        &self,
        path: &str,
        posted: Option<&Value>,
        into: &mut impl Parts,
    ) -> Result<(), RemoteError> {
        let stream = self.server.connect().await;
        let stream = stream.map_err(|cause| RemoteError::Unreachable {
            server: self.name(),
            path: path.to_owned(),
            cause,
        })?;
        let answer = http::fetch(stream, &self.server, path, &self.headers, posted, into).await;
        let answer = answer.map_err(|cause| match cause.downcast::<StoreError>() {
            Ok(cause) => RemoteError::Store(cause),
            Err(cause) => RemoteError::Broken {
                path: path.to_owned(),
                cause,
            },
        })?;
        match answer.status {
            200..=299 => Ok(()),
            status => Err(RemoteError::Refused {
                path: path.to_owned(),
                status,
                why: said(&answer),
            }),
        }
    }
}

/// What a server says of a refusal: its message, or the beginning of its page.
fn said(answer: &http::Answer) -> String {
    let document = answer.document();
    let text = match document["message"].as_str() {
        Some(message) => message.to_owned(),
        None => String::from_utf8_lossy(&answer.body).into_owned(),
    };
    text.chars().take(300).collect()
}

/// An artifact that is on its way in.
struct Kept {
    incoming: Incoming,
    received: u64,
    most: u64,
}

impl Parts for Kept {
    async fn take(&mut self, part: Vec<u8>) -> io::Result<()> {
        self.received += part.len() as u64;
        if self.received > self.most {
            return Err(io::Error::other("it is longer than it may be"));
        }
        self.incoming.write(part).await.map_err(io::Error::other)
    }
}

/// The pages of a list so far.
struct All<'a, T> {
    path: &'a str,
    most: usize,
    listed: Listed<T>,
    /// The tokens that led to them.
    tokens: BTreeSet<String>,
}

impl<'a, T> All<'a, T> {
    fn new(path: &'a str, most: usize) -> Self {
        All {
            path,
            most,
            listed: Listed {
                items: Vec::new(),
                unread: Vec::new(),
                next: None,
            },
            tokens: BTreeSet::new(),
        }
    }

    /// Takes a page, and says by which token the next is had; none where that was the last.
    fn add(&mut self, page: Listed<T>) -> Result<Option<String>, RemoteError> {
        let is_empty = page.items.is_empty() && page.unread.is_empty();
        self.listed.items.extend(page.items);
        self.listed.unread.extend(page.unread);
        let next = page.next.filter(|_| !is_empty);
        let count = self.listed.items.len() + self.listed.unread.len();
        let is_new = next
            .as_ref()
            .is_none_or(|next| self.tokens.insert(next.clone()));
        match is_new && count <= self.most {
            true => Ok(next),
            false => Err(RemoteError::Endless {
                path: self.path.to_owned(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_asked_for_where_they_are() {
        let check = |uri: &str, listing: &str, file: &str| {
            let files = Files::of_run("24f0", uri);
            assert_eq!(files.listing("a b"), listing);
            assert_eq!(files.file("a b/c.json"), file);
        };
        check(
            "mlflow-artifacts:/4/24f0/artifacts",
            "/api/2.0/mlflow-artifacts/artifacts?path=4%2F24f0%2Fartifacts%2Fa%20b",
            "/api/2.0/mlflow-artifacts/artifacts/4/24f0/artifacts/a%20b/c.json",
        );
        check(
            "mlflow-artifacts://hall:5000/4/24f0/artifacts",
            "/api/2.0/mlflow-artifacts/artifacts?path=4%2F24f0%2Fartifacts%2Fa%20b",
            "/api/2.0/mlflow-artifacts/artifacts/4/24f0/artifacts/a%20b/c.json",
        );
        check(
            "/srv/mlruns/4/24f0/artifacts",
            "/api/2.0/mlflow/artifacts/list?run_id=24f0&run_uuid=24f0&path=a%20b",
            "/get-artifact?run_uuid=24f0&path=a%20b%2Fc.json",
        );
        assert_eq!(encoded("größe"), "gr%C3%B6%C3%9Fe");
    }
}
