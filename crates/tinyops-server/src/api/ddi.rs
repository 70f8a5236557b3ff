//! The hawkBit DDI, version 1: what Linux clients poll, at the paths and in the words that they know.
//!
//! There is one fleet here, so any tenant's name will do. What the words mean to rollouts is in
//! `tinyops_fleet::ddi`; here are paths, links and forms.

mod answer;
mod caller;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tinyops_fleet::ddi::body::{AssignedVersion, AutoConfirm, ConfigData, Confirmation, Feedback};
use tinyops_fleet::ddi::{Artifact, Deployment, NewTarget, Told};
use tinyops_fleet::enrol::Entropy;
use tinyops_store::DeviceId;
use tinyops_store::ddi::{ActionId, Packing};

use self::answer::{Accepted, Said};
use self::caller::Caller;
use super::auth::Actor;
use super::error::ApiError;
use super::frame::{Body, Path, Query};
use super::operation::{Access, Content, Operation, Trace};
use super::range::ranged;
use crate::app::App;
use crate::text::Text;

/// What a file's name is followed by to get its digest in a line.
const MD5_ENDING: &str = ".MD5SUM";

const HISTORY: &[(&str, &str)] = &[
    ("c", "changes when how it shall be done changes"),
    (
        "actionHistory",
        "how many of the device's own sentences to tell; -1 is all, none without it",
    ),
];

/// The routes of the DDI.
pub(super) fn operations() -> Vec<Operation> {
    let read = |path, summary, handler| Operation {
        method: "get",
        path,
        summary,
        access: Access::Target,
        trace: Trace::Entry,
        query: &[],
        request: Content::Nothing,
        status: 200,
        response: Content::Ddi,
        handler,
    };
    let tell = |path, summary, handler| Operation {
        method: "post",
        trace: Trace::Record,
        request: Content::Ddi,
        response: Content::Nothing,
        ..read(path, summary, handler)
    };
    vec![
        read(
            "/{tenant}/controller/v1/{controller}",
            "hawkBit DDI: poll",
            get(poll),
        ),
        Operation {
            query: HISTORY,
            ..read(
                "/{tenant}/controller/v1/{controller}/deploymentBase/{action}",
                "hawkBit DDI: what to install",
                get(deployment),
            )
        },
        tell(
            "/{tenant}/controller/v1/{controller}/deploymentBase/{action}/feedback",
            "hawkBit DDI: how far it is; the answer means stored",
            post(feedback),
        ),
        read(
            "/{tenant}/controller/v1/{controller}/cancelAction/{action}",
            "hawkBit DDI: what not to install any more",
            get(cancellation),
        ),
        tell(
            "/{tenant}/controller/v1/{controller}/cancelAction/{action}/feedback",
            "hawkBit DDI: whether it was stopped; the answer means stored",
            post(cancel_feedback),
        ),
        Operation {
            query: HISTORY,
            ..read(
                "/{tenant}/controller/v1/{controller}/installedBase/{action}",
                "hawkBit DDI: what was installed last",
                get(installed),
            )
        },
        Operation {
            method: "put",
            ..tell(
                "/{tenant}/controller/v1/{controller}/installedBase",
                "hawkBit DDI: what the device has, however it came there",
                put(put_installed),
            )
        },
        Operation {
            method: "put",
            ..tell(
                "/{tenant}/controller/v1/{controller}/configData",
                "hawkBit DDI: the device's attributes, which become labels",
                put(config_data),
            )
        },
        read(
            "/{tenant}/controller/v1/{controller}/confirmationBase",
            "hawkBit DDI: whether the device's user is asked",
            get(confirmation_base),
        ),
        Operation {
            query: HISTORY,
            ..read(
                "/{tenant}/controller/v1/{controller}/confirmationBase/{action}",
                "hawkBit DDI: what the device's user is asked",
                get(confirmation),
            )
        },
        tell(
            "/{tenant}/controller/v1/{controller}/confirmationBase/{action}/feedback",
            "hawkBit DDI: the user's answer",
            post(confirm),
        ),
        tell(
            "/{tenant}/controller/v1/{controller}/confirmationBase/activateAutoConfirm",
            "hawkBit DDI: the user consents to all that comes",
            post(activate),
        ),
        Operation {
            request: Content::Nothing,
            ..tell(
                "/{tenant}/controller/v1/{controller}/confirmationBase/deactivateAutoConfirm",
                "hawkBit DDI: the user is asked again",
                post(deactivate),
            )
        },
        read(
            "/{tenant}/controller/v1/{controller}/softwaremodules/{module}/artifacts",
            "hawkBit DDI: the artifacts of an action",
            get(artifacts),
        ),
        Operation {
            response: Content::Bytes,
            ..read(
                "/{tenant}/controller/v1/{controller}/softwaremodules/{module}/artifacts/{file}",
                "hawkBit DDI: an artifact, or a byte range of it; with `.MD5SUM`, its digest",
                get(artifact),
            )
        },
    ]
}

/// What a path names besides the device. Anything but a number is no action.
#[derive(Debug, Deserialize)]
struct Named {
    #[serde(default, alias = "module")]
    action: String,
    #[serde(default)]
    file: String,
}

impl Named {
    fn action(&self) -> Result<ActionId, ApiError> {
        self.action.parse().map_err(|_| {
            let what = format_args!("action `{}`", self.action);
            ApiError::missing(what)
        })
    }
}

/// What a query asks for; what else is in it is passed over.
#[derive(Debug, Default, Deserialize)]
struct Wanted {
    #[serde(default, rename = "actionHistory")]
    history: i64,
}

async fn poll(
    State(app): State<App>,
    caller: Caller,
    accepted: Accepted,
) -> Result<Response, ApiError> {
    let poll = app.fleet().poll_target(&caller.peer, app.now()).await?;
    let mut links = Map::new();
    let mut link = |name: &str, path: String| links.insert(name.to_owned(), caller.link(&path));
    match poll.told {
        Some(Told::Deploy(id, change)) => {
            link("deploymentBase", format!("deploymentBase/{id}?c={change}"));
        }
        Some(Told::Cancel(id)) => {
            link("cancelAction", format!("cancelAction/{id}"));
        }
        Some(Told::Confirm(id, change)) => {
            link(
                "confirmationBase",
                format!("confirmationBase/{id}?c={change}"),
            );
        }
        None => {}
    }
    if let Some(id) = poll.installed {
        link("installedBase", format!("installedBase/{id}"));
    }
    if poll.wants_config {
        link("configData", "configData".to_owned());
    }
    let seconds = poll.sleep_seconds;
    let sleep = format!(
        "{:02}:{:02}:{:02}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    );
    let document = json!({ "config": { "polling": { "sleep": sleep } }, "_links": links });
    Ok(accepted.answer(&document))
}

async fn deployment(
    State(app): State<App>,
    caller: Caller,
    Path(named): Path<Named>,
    Query(wanted): Query<Wanted>,
    accepted: Accepted,
) -> Result<Response, ApiError> {
    let fleet = app.fleet();
    let found = fleet
        .deployment(&caller.peer, named.action()?, app.now())
        .await?;
    Ok(accepted.answer(&document(&caller, &found, "deployment", wanted.history)))
}

async fn feedback(
    State(app): State<App>,
    caller: Caller,
    Path(named): Path<Named>,
    Said(said): Said<Feedback>,
) -> Result<StatusCode, ApiError> {
    let fleet = app.fleet();
    fleet
        .take_feedback(&caller.peer, named.action()?, &said, app.now())
        .await?;
    Ok(StatusCode::OK)
}

async fn cancellation(
    State(app): State<App>,
    caller: Caller,
    Path(named): Path<Named>,
    accepted: Accepted,
) -> Result<Response, ApiError> {
    let fleet = app.fleet();
    let action = fleet.cancellation(&caller.peer, named.action()?).await?;
    let id = action.id.to_string();
    Ok(accepted.answer(&json!({ "id": id, "cancelAction": { "stopId": id } })))
}

async fn cancel_feedback(
    State(app): State<App>,
    caller: Caller,
    Path(named): Path<Named>,
    Said(said): Said<Feedback>,
) -> Result<StatusCode, ApiError> {
    let fleet = app.fleet();
    fleet
        .take_cancel_feedback(&caller.peer, named.action()?, &said, app.now())
        .await?;
    Ok(StatusCode::OK)
}

async fn installed(
    State(app): State<App>,
    caller: Caller,
    Path(named): Path<Named>,
    Query(wanted): Query<Wanted>,
    accepted: Accepted,
) -> Result<Response, ApiError> {
    let fleet = app.fleet();
    let found = fleet.installed(&caller.peer, named.action()?).await?;
    Ok(accepted.answer(&document(&caller, &found, "deployment", wanted.history)))
}

async fn put_installed(
    State(app): State<App>,
    caller: Caller,
    Said(said): Said<AssignedVersion>,
) -> Result<StatusCode, ApiError> {
    let fleet = app.fleet();
    let is_new = fleet.take_installed(&caller.peer, &said, app.now()).await?;
    Ok(match is_new {
        true => StatusCode::CREATED,
        false => StatusCode::OK,
    })
}

async fn config_data(
    State(app): State<App>,
    caller: Caller,
    Said(said): Said<ConfigData>,
) -> Result<StatusCode, ApiError> {
    let fleet = app.fleet();
    fleet
        .take_attributes(&caller.peer, &said, app.now())
        .await?;
    Ok(StatusCode::OK)
}

async fn confirmation_base(
    State(app): State<App>,
    caller: Caller,
    accepted: Accepted,
) -> Result<Response, ApiError> {
    let poll = app.fleet().poll_target(&caller.peer, app.now()).await?;
    let given = &caller.peer.target.auto_confirm;
    let is_active = !given.is_null();
    let turn = match is_active {
        true => "deactivateAutoConfirm",
        false => "activateAutoConfirm",
    };
    let mut links = Map::new();
    links.insert(
        turn.to_owned(),
        caller.link(&format!("confirmationBase/{turn}")),
    );
    if let Some(Told::Confirm(id, change)) = poll.told {
        let path = format!("confirmationBase/{id}?c={change}");
        links.insert("confirmationBase".to_owned(), caller.link(&path));
    }
    let mut about = json!({ "active": is_active });
    if is_active {
        about["initiator"] = given["initiator"].clone();
        about["remark"] = given["remark"].clone();
        about["activatedAt"] = given["at_ms"].clone();
    }
    Ok(accepted.answer(&json!({ "autoConfirm": about, "_links": links })))
}

async fn confirmation(
    State(app): State<App>,
    caller: Caller,
    Path(named): Path<Named>,
    Query(wanted): Query<Wanted>,
    accepted: Accepted,
) -> Result<Response, ApiError> {
    let fleet = app.fleet();
    let found = fleet
        .confirmation(&caller.peer, named.action()?, app.now())
        .await?;
    Ok(accepted.answer(&document(&caller, &found, "confirmation", wanted.history)))
}

async fn confirm(
    State(app): State<App>,
    caller: Caller,
    Path(named): Path<Named>,
    Said(said): Said<Confirmation>,
) -> Result<StatusCode, ApiError> {
    let fleet = app.fleet();
    fleet
        .take_confirmation(&caller.peer, named.action()?, &said, app.now())
        .await?;
    Ok(StatusCode::OK)
}

async fn activate(
    State(app): State<App>,
    caller: Caller,
    said: Option<Said<AutoConfirm>>,
) -> Result<StatusCode, ApiError> {
    let given = said.map(|Said(said)| said).unwrap_or_default();
    app.fleet()
        .auto_confirm(&caller.peer, Some(&given), app.now())
        .await?;
    Ok(StatusCode::OK)
}

async fn deactivate(State(app): State<App>, caller: Caller) -> Result<StatusCode, ApiError> {
    app.fleet()
        .auto_confirm(&caller.peer, None, app.now())
        .await?;
    Ok(StatusCode::OK)
}

async fn artifacts(
    State(app): State<App>,
    caller: Caller,
    Path(named): Path<Named>,
    accepted: Accepted,
) -> Result<Response, ApiError> {
    let id = named.action()?;
    let found = app
        .fleet()
        .artifacts_of(&caller.peer, id, false, app.now())
        .await?;
    let documents = found
        .iter()
        .map(|artifact| described(&caller, id, artifact));
    Ok(accepted.answer(&documents.collect()))
}

async fn artifact(
    State(app): State<App>,
    caller: Caller,
    Path(named): Path<Named>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let id = named.action()?;
    let (name, is_digest) = match named.file.strip_suffix(MD5_ENDING) {
        Some(name) => (name, true),
        None => (named.file.as_str(), false),
    };
    let begins = !is_digest && !headers.contains_key(header::RANGE);
    let found = app
        .fleet()
        .artifacts_of(&caller.peer, id, begins, app.now())
        .await?;
    let found = found.into_iter().find(|artifact| artifact.name == name);
    let found =
        found.ok_or_else(|| ApiError::missing(format_args!("artifact `{name}` of action {id}")))?;
    let kind = |kind| (header::CONTENT_TYPE, HeaderValue::from_static(kind));
    if is_digest {
        let line = format!("{}  {name}", found.hashes().md5);
        return Ok(([kind("text/plain")], line).into_response());
    }
    let mut response = ranged(&found.bytes, &headers, &format!("`{name}`"))?;
    let (name, value) = kind("application/octet-stream");
    response.headers_mut().insert(name, value);
    Ok(response)
}

/// A deployment as the DDI writes it.
fn document(caller: &Caller, found: &Deployment, what: &str, history: i64) -> Value {
    let id = found.action.id;
    let artifacts = found.artifacts.iter();
    let artifacts: Vec<Value> = artifacts
        .map(|artifact| described(caller, id, artifact))
        .collect();
    let mut metadata =
        vec![json!({ "key": "tinyops.model", "value": found.capsule.id.to_string() })];
    if let Some(undone) = found.undoes() {
        metadata.push(json!({ "key": "tinyops.undoes", "value": undone }));
    }
    let mut deployment = json!({
        "download": found.download.word(),
        "update": found.update.word(),
        "chunks": [{
            "part": "bApp",
            "version": found.capsule.version.to_string(),
            "name": found.capsule.model,
            "artifacts": artifacts,
            "metadata": metadata,
        }],
    });
    if let Some(is_open) = found.window {
        let word = if is_open { "available" } else { "unavailable" };
        deployment["maintenanceWindow"] = word.into();
    }
    let mut document = json!({ "id": id.to_string(), what: deployment });
    if history != 0 {
        let (status, messages) = found.history(history);
        document["actionHistory"] = json!({ "status": status, "messages": messages });
    }
    document
}

/// An artifact as the DDI writes it. The links of a server that speaks no TLS are called so.
fn described(caller: &Caller, id: ActionId, artifact: &Artifact) -> Value {
    let path = format!("softwaremodules/{id}/artifacts/{}", artifact.name);
    let (file, digest) = match caller.is_tls {
        true => ("download", "md5sum"),
        false => ("download-http", "md5sum-http"),
    };
    let hashes = artifact.hashes();
    json!({
        "filename": artifact.name,
        "hashes": { "sha1": hashes.sha1, "md5": hashes.md5, "sha256": hashes.sha256 },
        "size": artifact.bytes.len(),
        "_links": {
            file: caller.link(&path),
            digest: caller.link(&format!("{path}{MD5_ENDING}")),
        },
    })
}

/// How a device is to be known to the DDI.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TargetWish {
    /// What it calls itself; its device id in hex where there is none.
    #[serde(default)]
    pub controller: Option<String>,
    /// Whether its user is asked before each installation.
    #[serde(default)]
    pub consent: bool,
    /// `files` (the capsule and the statement as two artifacts) or `swu` (both in one, for SWUpdate and for clients
    /// that take one artifact); `files` without it.
    #[serde(default)]
    pub packing: Option<String>,
}

/// A device that may poll; the token is shown this once.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct MadeTarget {
    pub device: Text<DeviceId>,
    /// What it calls itself in the path.
    pub controller: String,
    /// What it shows: `Authorization: TargetToken TOKEN`.
    pub target_token: String,
}

/// Lets a device poll, or gives it a new token.
pub(super) async fn make_target(
    State(app): State<App>,
    Actor(actor): Actor,
    Path(Text(device)): Path<Text<DeviceId>>,
    Body(wish): Body<TargetWish>,
) -> Result<(StatusCode, Json<MadeTarget>), ApiError> {
    let new = NewTarget {
        controller: wish.controller,
        asks_consent: wish.consent,
        packing: wish.packing.as_deref().map(packing).transpose()?,
    };
    let entropy = Entropy::from_system();
    let (target, target_token) = app
        .fleet()
        .make_target(device, &new, entropy, &actor, app.now())
        .await?;
    let made = MadeTarget {
        device: Text(device),
        controller: target.controller,
        target_token,
    };
    Ok((StatusCode::CREATED, Json(made)))
}

/// A packing by its word.
pub(super) fn packing(word: &str) -> Result<Packing, ApiError> {
    Packing::of_word(word).ok_or_else(|| {
        ApiError::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "packing",
            format!("`{word}` is no packing"),
            "packings are files and swu",
        )
    })
}
