//! The tracking API of MLflow (REST 2.0): what its clients call, at the paths and in the words that they know.
//!
//! What may be logged, changed and found is in `tinyops_pipeline::tracking`; here are paths, forms and error codes.

mod artifact;
mod error;
mod experiment;
mod input;
mod logged_model;
mod registry;
mod run;
#[cfg(test)]
mod tests;
mod view;
mod webhook;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, any, delete, get, patch, post};
use tinyops_fleet::access::Right;

use self::error::MlflowError;
use crate::access::{Who, identify};
use crate::app::App;

/// The version of MLflow whose REST API is spoken.
const VERSION: &str = "3.17.2";
/// Bytes of a JSON body at most: a dataset's figures may have 16 MiB.
const BODY_BYTES_MAX: usize = 20 << 20;

/// Where clients and browsers find the same calls.
const ROOTS: [&str; 2] = ["/api/2.0", "/ajax-api/2.0"];

/// The routes of the tracking API.
pub(crate) fn routes(app: &App) -> Router<App> {
    let mut router = Router::new().route("/version", get(VERSION)).merge(guarded(
        app,
        Right::Read,
        &[("/api/3.0/mlflow/server-info", || get(server_info))],
        "",
    ));
    for root in ROOTS {
        router = router
            .merge(guarded(app, Right::Read, LOOKS, root))
            .merge(guarded(app, Right::Operate, CHANGES, root))
            .merge(guarded(app, Right::Administer, WEBHOOKS, root))
            .merge(artifact::routes(app, root))
            .route(&format!("{root}/mlflow/{{*path}}"), any(unknown));
    }
    router.layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
}

type Row = (&'static str, fn() -> MethodRouter<App>);

/// What looks and changes nothing; searches come as POST, too.
const LOOKS: &[Row] = &[
    ("/mlflow/experiments/get", || get(experiment::get)),
    ("/mlflow/experiments/get-by-name", || {
        get(experiment::by_name)
    }),
    ("/mlflow/experiments/search", || {
        get(experiment::search).post(experiment::search)
    }),
    ("/mlflow/runs/get", || get(run::get)),
    ("/mlflow/runs/search", || post(run::search)),
    ("/mlflow/metrics/get-history", || get(run::history)),
    ("/mlflow/artifacts/list", || get(artifact::of_run)),
    ("/mlflow/logged-models/search", || {
        post(logged_model::search)
    }),
    ("/mlflow/registered-models/get", || get(registry::get)),
    ("/mlflow/registered-models/search", || get(registry::search)),
    ("/mlflow/registered-models/get-latest-versions", || {
        get(registry::latest).post(registry::latest)
    }),
    ("/mlflow/model-versions/get", || get(registry::version)),
    ("/mlflow/model-versions/search", || {
        get(registry::search_versions)
    }),
    ("/mlflow/model-versions/get-download-uri", || {
        get(registry::download_uri)
    }),
];

/// What changes something.
const CHANGES: &[Row] = &[
    ("/mlflow/experiments/create", || post(experiment::create)),
    ("/mlflow/experiments/update", || post(experiment::update)),
    ("/mlflow/experiments/delete", || post(experiment::delete)),
    ("/mlflow/experiments/restore", || post(experiment::restore)),
    ("/mlflow/experiments/set-experiment-tag", || {
        post(experiment::set_tag)
    }),
    ("/mlflow/experiments/delete-experiment-tag", || {
        post(experiment::delete_tag)
    }),
    ("/mlflow/runs/create", || post(run::create)),
    ("/mlflow/runs/update", || post(run::update)),
    ("/mlflow/runs/delete", || post(run::delete)),
    ("/mlflow/runs/restore", || post(run::restore)),
    ("/mlflow/runs/log-metric", || post(run::log_metric)),
    ("/mlflow/runs/log-parameter", || post(run::log_param)),
    ("/mlflow/runs/log-batch", || post(run::log_batch)),
    ("/mlflow/runs/set-tag", || post(run::set_tag)),
    ("/mlflow/runs/delete-tag", || post(run::delete_tag)),
    ("/mlflow/runs/log-inputs", || post(run::log_inputs)),
    ("/mlflow/runs/outputs", || post(run::log_outputs)),
    ("/mlflow/runs/log-model", || post(run::log_model)),
    ("/mlflow/logged-models", || post(logged_model::create)),
    ("/mlflow/logged-models/{model}", || {
        get(logged_model::get)
            .patch(logged_model::finish)
            .delete(logged_model::remove)
    }),
    ("/mlflow/logged-models/{model}/tags", || {
        patch(logged_model::set_tags)
    }),
    ("/mlflow/logged-models/{model}/tags/{key}", || {
        delete(logged_model::delete_tag)
    }),
    ("/mlflow/logged-models/{model}/params", || {
        post(logged_model::add_params)
    }),
    ("/mlflow/registered-models/create", || {
        post(registry::create)
    }),
    ("/mlflow/registered-models/rename", || {
        post(registry::rename)
    }),
    ("/mlflow/registered-models/update", || {
        patch(registry::update).post(registry::update)
    }),
    ("/mlflow/registered-models/delete", || {
        delete(registry::remove).post(registry::remove)
    }),
    ("/mlflow/registered-models/set-tag", || {
        post(registry::set_tag)
    }),
    ("/mlflow/registered-models/delete-tag", || {
        delete(registry::delete_tag).post(registry::delete_tag)
    }),
    ("/mlflow/registered-models/alias", || {
        get(registry::by_alias)
            .post(registry::set_alias)
            .delete(registry::delete_alias)
    }),
    ("/mlflow/model-versions/create", || {
        post(registry::create_version)
    }),
    ("/mlflow/model-versions/update", || {
        patch(registry::update_version).post(registry::update_version)
    }),
    ("/mlflow/model-versions/delete", || {
        delete(registry::remove_version).post(registry::remove_version)
    }),
    ("/mlflow/model-versions/transition-stage", || {
        post(registry::transition)
    }),
    ("/mlflow/model-versions/set-tag", || {
        post(registry::set_version_tag)
    }),
    ("/mlflow/model-versions/delete-tag", || {
        delete(registry::delete_version_tag).post(registry::delete_version_tag)
    }),
];

/// Who is told of changes of the registry.
const WEBHOOKS: &[Row] = &[
    ("/mlflow/webhooks", || {
        get(webhook::list).post(webhook::create)
    }),
    ("/mlflow/webhooks/{webhook}", || {
        get(webhook::get)
            .patch(webhook::update)
            .delete(webhook::remove)
    }),
    ("/mlflow/webhooks/{webhook}/test", || post(webhook::test)),
];

fn guarded(app: &App, right: Right, rows: &[Row], root: &str) -> Router<App> {
    let guard = middleware::from_fn_with_state((app.clone(), right), guard);
    let mut router = Router::new();
    for (path, handler) in rows {
        let handler = handler().fallback(unknown);
        router = router.route(&format!("{root}{path}"), handler);
    }
    router.route_layer(guard)
}

/// Lets through who may call: reading asks for less than the route's right, but of webhooks, whose addresses are secrets.
async fn guard(
    State((app, right)): State<(App, Right)>,
    mut request: Request,
    next: Next,
) -> Response {
    let right = match request.method().is_safe() && right != Right::Administer {
        true => Right::Read,
        false => right,
    };
    let who = identify(&app, request.method(), request.headers()).await;
    match who.map_err(MlflowError::from) {
        Ok(Some(who)) if who.may(right) => {
            request.extensions_mut().insert(Actor(who.name()));
            next.run(request).await
        }
        Ok(Some(who)) => MlflowError::forbidden(&who, right).into_response(),
        Ok(None) => MlflowError::unknown_caller().into_response(),
        Err(error) => error.into_response(),
    }
}

/// What the audit log calls the caller.
#[derive(Clone)]
struct Actor(String);

async fn unknown(request: Request) -> MlflowError {
    MlflowError::no_route(request.method(), request.uri().path())
}

/// What a client asks a server of MLflow 3.
async fn server_info() -> impl IntoResponse {
    axum::Json(serde_json::json!({
        "store_type": "TinyOps",
        "workspaces_enabled": false,
        "trace_archival_enabled": false,
        "multipart_uploads_enabled": false,
        "multipart_downloads_enabled": false,
    }))
}

impl MlflowError {
    fn forbidden(who: &Who, right: Right) -> MlflowError {
        let (name, role) = (who.name(), who.role());
        MlflowError::new(
            error::Code::PermissionDenied,
            format!("`{name}` ({role}) may not {}", right.word()),
        )
    }

    fn unknown_caller() -> MlflowError {
        MlflowError::new(
            error::Code::Unauthenticated,
            "this call needs a token: set MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_PASSWORD (with any user name), to one that `tinyops tokens make` made",
        )
    }
}
