//! The HTTP API under `/api/v1`: JSON in and out, documented by `/api/v1/openapi.json`.

use axum::Router;

use crate::app::App;

pub(crate) fn routes() -> Router<App> {
    Router::new()
}

pub(crate) fn framed(routes: Router<App>, _app: &App) -> Router<App> {
    routes
}
