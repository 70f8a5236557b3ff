//! Who may call what.
//!
//! A device shows its id and password, a person the admin token. On loopback a person needs
//! none: whoever can connect there can read the store's file, too.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use tinyops_store::{DeviceId, Digest};

use super::error::ApiError;
use crate::app::App;

/// A caller who may manage the fleet; the name is what the audit log says.
#[derive(Debug)]
pub(super) struct Manager(pub &'static str);

impl FromRequestParts<App> for Manager {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Manager, ApiError> {
        let Some(token) = &app.inner().admin_token else {
            return Ok(Manager("local"));
        };
        // Digests are compared, so that the time taken says nothing of the token.
        let shown = bearer(parts).unwrap_or_default();
        match Digest::of(shown.as_bytes()) == Digest::of(token.as_bytes()) {
            true => Ok(Manager("admin")),
            false => Err(ApiError::new(
                StatusCode::UNAUTHORIZED,
                "token",
                "this call needs the admin token",
                "`Authorization: Bearer TOKEN`, with the token from the server's admin token file",
            )),
        }
    }
}

/// A gateway, which carries the envelopes of many devices and has no key of any.
///
/// It shows the token that management calls show.
#[derive(Debug)]
pub(super) struct Carrier;

impl FromRequestParts<App> for Carrier {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Carrier, ApiError> {
        Manager::from_request_parts(parts, app)
            .await
            .map(|_| Carrier)
    }
}

/// A device that showed its password: `Authorization: Bearer DEVICE.PASSWORD`.
#[derive(Debug)]
pub(super) struct Caller(pub DeviceId);

impl FromRequestParts<App> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Caller, ApiError> {
        let denied = || {
            ApiError::new(
                StatusCode::UNAUTHORIZED,
                "device",
                "this call needs a device's id and password",
                "`Authorization: Bearer DEVICE.PASSWORD`, the same password as for MQTT",
            )
        };
        let shown = bearer(parts).and_then(|shown| shown.split_once('.'));
        let (id, password) = shown.ok_or_else(denied)?;
        let id: DeviceId = id.parse().map_err(|_| denied())?;
        match app.fleet().admit(id, password).await? {
            true => Ok(Caller(id)),
            false => Err(denied()),
        }
    }
}

fn bearer(parts: &Parts) -> Option<&str> {
    let shown = parts.headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    shown.strip_prefix("Bearer ").map(str::trim)
}
