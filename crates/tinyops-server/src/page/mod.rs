//! The pages: what a person sees of the fleet, drawn on the server.
//!
//! One file a page: it reads rows from the store, makes a [`Markup`], and decides nothing.
//! `style.css` and the few lines of `live.js` are compiled in.

mod alert;
mod audit;
mod catalog;
mod device;
mod drift;
mod episode;
mod figure;
mod hand;
mod label;
#[cfg(test)]
mod label_tests;
mod lineage;
mod login;
mod model;
mod overview;
mod part;
mod repair;
mod rollout;
mod run;
mod slices;
#[cfg(test)]
mod tests;
mod worth;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::middleware;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use tinyops_fleet::FleetError;
use tinyops_store::StoreError;
use tracing::error;

use crate::app::App;
use crate::civil::Moment;

/// The routes of the pages and of what they load.
pub(crate) fn routes(app: &App) -> Router<App> {
    let guard = middleware::from_fn_with_state(app.clone(), login::guard);
    let pages = Router::new()
        .route("/", get(overview::show))
        .route("/runs", get(run::list))
        .route("/runs/{run}", get(run::show))
        .route("/models", get(model::list))
        .route("/models/{name}/{version}", get(model::show))
        .route("/labels", get(label::show).post(label::look))
        .route("/labels/{issue}", post(label::say))
        .route("/labels/{issue}/picture", get(label::picture))
        .route("/lineage", get(lineage::show))
        .route("/devices", get(device::list))
        .route("/devices/{device}", get(device::show))
        .route("/drift", get(drift::show))
        .route("/alerts/{alert}", post(alert::act))
        .route("/episodes/{episode}", get(episode::show))
        .route("/repairs/{repair}", get(repair::show))
        .route("/rollouts", get(rollout::list))
        .route("/rollouts/{rollout}", get(rollout::show))
        .route("/catalog", get(catalog::show))
        .route("/audit", get(audit::show))
        .route_layer(guard);
    Router::new()
        .route("/login", get(login::show).post(login::enter))
        .route("/logout", post(login::leave))
        .route("/assets/style.css", get(style))
        .route("/assets/live.js", get(live))
        .merge(pages)
}

async fn style() -> impl IntoResponse {
    asset("text/css; charset=utf-8", include_str!("style.css"))
}

async fn live() -> impl IntoResponse {
    asset("text/javascript; charset=utf-8", include_str!("live.js"))
}

fn asset(kind: &'static str, text: &'static str) -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "max-age=86400"),
    ];
    (headers, text)
}

/// Where a page stands in the navigation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Overview,
    Labels,
    Runs,
    Models,
    Devices,
    Drift,
    Rollouts,
    Catalog,
    Audit,
    /// Off the navigation: it is for those who are asked who they are.
    Login,
}

const PLACES: [(Place, &str, &str); 9] = [
    (Place::Overview, "/", "Overview"),
    (Place::Labels, "/labels", "Labels"),
    (Place::Runs, "/runs", "Runs"),
    (Place::Models, "/models", "Models"),
    (Place::Devices, "/devices", "Devices"),
    (Place::Drift, "/drift", "Drift"),
    (Place::Rollouts, "/rollouts", "Rollouts"),
    (Place::Catalog, "/catalog", "Catalog"),
    (Place::Audit, "/audit", "Audit"),
];

/// A page before it has its frame.
struct Page {
    place: Place,
    title: String,
    /// One sentence under the title.
    lead: Markup,
    body: Markup,
}

impl Page {
    /// Puts the frame around: head, navigation, clock.
    fn framed(self, app: &App) -> Response {
        let now = Moment::of_ms(app.now().0).full();
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    title { (self.title) " · TinyOps" }
                    link rel="stylesheet" href=(concat!("/assets/style.css?v=", env!("CARGO_PKG_VERSION")));
                    link rel="icon" href="data:,";
                    script defer src=(concat!("/assets/live.js?v=", env!("CARGO_PKG_VERSION"))) {}
                }
                body {
                    header.top {
                        div {
                            a.brand href="/" { (PreEscaped(LOGO)) "TinyOps" }
                            nav {
                                @for (place, path, name) in PLACES {
                                    a href=(path) aria-current=[(place == self.place).then_some("page")] { (name) }
                                }
                                @if !app.inner().door.is_open_here {
                                    a href="/login" aria-current=[(self.place == Place::Login).then_some("page")] { "You" }
                                }
                            }
                            span.clock { (now) " UTC" }
                        }
                    }
                    main {
                        h1 { (self.title) }
                        p.lead { (self.lead) }
                        (self.body)
                    }
                }
            }
        };
        Html(page.into_string()).into_response()
    }
}

/// A chip with a pulse on it.
const LOGO: &str = r##"<svg viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="1.8" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true"><rect x="5" y="5" width="14" height="14" rx="2.5"/><path d="M9 2v3M15 2v3M9 19v3M15 19v3M2 9h3M2 15h3M19 9h3M19 15h3"/><path d="M7.5 12.5h2l1.5-3.5 2 6 1.5-2.5h2" stroke="var(--accent)"/></svg>"##;

/// Why a page cannot be shown.
#[derive(Debug)]
enum PageError {
    /// There is no such thing; the words say what was looked for.
    Missing(String),
    /// The caller may not; the words say who may not do what.
    Denied(String),
    /// It cannot be done so; the words say why.
    Refused(String),
    /// The server cannot, through no fault of the caller's; the words say what.
    Broken(String),
    Store(FleetError),
}

impl From<StoreError> for PageError {
    fn from(cause: StoreError) -> PageError {
        PageError::Store(cause.into())
    }
}

impl From<FleetError> for PageError {
    fn from(cause: FleetError) -> PageError {
        PageError::Store(cause)
    }
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        let (status, what, hint) = match self {
            PageError::Missing(what) => (
                StatusCode::NOT_FOUND,
                format!("{what} does not exist"),
                "The navigation at the top of every page lists what does.",
            ),
            PageError::Denied(what) => (
                StatusCode::FORBIDDEN,
                what,
                "docs/guide/access.md says which role may; another token can be shown at /login.",
            ),
            PageError::Refused(why) => (
                StatusCode::CONFLICT,
                why,
                "Go back; the page shows how things stand now.",
            ),
            PageError::Broken(what) => (
                StatusCode::INTERNAL_SERVER_ERROR,
                what,
                "The server's log says why; whoever looks after it can mend it.",
            ),
            PageError::Store(cause) => {
                error!(%cause, "a page could not be read from the store");
                (
                    StatusCode::SERVICE_UNAVAILABLE,
                    "The store does not answer".to_owned(),
                    "The server's log says why; the page comes back by itself when the store does.",
                )
            }
        };
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    title { (what) " · TinyOps" }
                    link rel="stylesheet" href="/assets/style.css";
                }
                body { main { h1 { (what) } p.lead { (hint) } p { a href="/" { "To the overview" } } } }
            }
        };
        (status, Html(page.into_string())).into_response()
    }
}
