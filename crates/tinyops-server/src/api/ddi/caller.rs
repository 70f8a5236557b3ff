//! Which device calls, and how links back to it are written.

use axum::extract::{FromRequestParts, MatchedPath, RawPathParams};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use serde_json::{Value, json};
use tinyops_fleet::ddi::{Denied, Peer, Shown};
use tinyops_fleet::enrol::Entropy;

use crate::api::error::ApiError;
use crate::app::App;

/// A device that has shown that it may call.
#[derive(Debug)]
pub(super) struct Caller {
    pub peer: Peer,
    /// Whether it came over TLS, as far as this server or the proxy before it knows.
    pub is_tls: bool,
    /// `SCHEME://HOST/TENANT/controller/v1/CONTROLLER`, as it wrote them.
    base: String,
}

impl Caller {
    /// A link to a path below the device's own.
    pub(super) fn link(&self, path: &str) -> Value {
        json!({ "href": format!("{}/{path}", self.base) })
    }
}

impl FromRequestParts<App> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Caller, ApiError> {
        let text = |name: header::HeaderName| parts.headers.get(name)?.to_str().ok();
        let shown = text(header::AUTHORIZATION).and_then(Shown::parse);
        let shown = shown
            .ok_or_else(|| denied("this call needs a target's or a gateway's token".to_owned()))?;
        let forwarded = text(header::HeaderName::from_static("x-forwarded-proto"));
        let is_tls = app.inner().door.is_tls || forwarded == Some("https");
        let host = text(header::HOST).map(str::to_owned);
        let shown = match shown {
            Shown::Target(token) => (token.to_owned(), false),
            Shown::Gateway(token) => (token.to_owned(), true),
        };
        let segments: Vec<&str> = parts.uri.path().splitn(6, '/').take(5).collect();
        let path = segments.join("/");
        let scheme = if is_tls { "https" } else { "http" };
        let base = host.map_or(path.clone(), |host| format!("{scheme}://{host}{path}"));
        let is_poll = parts
            .extensions
            .get::<MatchedPath>()
            .is_some_and(|path| path.as_str().ends_with("/{controller}"));
        let controller = RawPathParams::from_request_parts(parts, app)
            .await
            .ok()
            .and_then(|params| {
                let found = params.iter().find(|(name, _)| *name == "controller");
                found.map(|(_, value)| value.to_owned())
            })
            .unwrap_or_default();
        let (token, is_gateway) = &shown;
        let shown = match is_gateway {
            true => Shown::Gateway(token),
            false => Shown::Target(token),
        };
        // A controller that nobody knows begins by polling.
        let entropy = (is_poll && *is_gateway).then(Entropy::from_system);
        let peer = app
            .fleet()
            .admit_target(&controller, shown, entropy, app.now())
            .await?;
        Ok(Caller {
            peer: peer.map_err(refuse)?,
            is_tls,
            base,
        })
    }
}

fn denied(message: String) -> ApiError {
    ApiError::new(
        StatusCode::UNAUTHORIZED,
        "target_token",
        message,
        "`Authorization: TargetToken TOKEN`; `tinyops devices ddi DEVICE` gives a device a new one",
    )
}

fn refuse(denial: Denied) -> ApiError {
    match denial {
        Denied::Class { .. } => ApiError::new(
            StatusCode::FORBIDDEN,
            "class",
            denial.to_string(),
            "`tinyops tokens make NAME --role gateway --class BOARD/COHORT` makes one of another class",
        ),
        _ => denied(denial.to_string()),
    }
}
