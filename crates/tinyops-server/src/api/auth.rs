//! Who may call what: the guard in front of every route, and what a handler learns of its caller.

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tinyops_fleet::access::{Refused, Right};
use tinyops_store::DeviceId;

use super::error::ApiError;
use super::operation::Access;
use crate::access::{Denied, Who, identify};
use crate::app::App;

/// Lets through who may call, and tells the handler who that is.
pub(super) async fn guard(
    State((app, access)): State<(App, Access)>,
    mut request: Request,
    next: Next,
) -> Response {
    if matches!(access, Access::Open | Access::Target) {
        return next.run(request).await;
    }
    let (method, headers) = (request.method(), request.headers());
    let who = identify(&app, method, headers).await;
    match who
        .map_err(ApiError::from)
        .and_then(|who| check(access, who))
    {
        Ok(Some(who)) => {
            request.extensions_mut().insert(who);
            next.run(request).await
        }
        Ok(None) => next.run(request).await,
        Err(error) => {
            let mut response = error.into_response();
            if response.status() == StatusCode::UNAUTHORIZED {
                let scheme = header::HeaderValue::from_static("Bearer");
                let headers = response.headers_mut();
                headers.insert(header::WWW_AUTHENTICATE, scheme);
            }
            response
        }
    }
}

/// The table of operations says what a route asks for; here it is held against the caller.
fn check(access: Access, who: Option<Who>) -> Result<Option<Who>, ApiError> {
    match (access, who) {
        (Access::Open | Access::Target, _) => Ok(None),
        (Access::Device | Access::DeviceOr(_), Some(who @ Who::Device(_))) => Ok(Some(who)),
        (Access::Right(right) | Access::DeviceOr(right), Some(who)) => match who.may(right) {
            true => Ok(Some(who)),
            false => Err(forbidden(&who, right)),
        },
        (Access::Right(_) | Access::DeviceOr(_), None) => Err(ApiError::new(
            StatusCode::UNAUTHORIZED,
            "token",
            "this call needs a token",
            "`Authorization: Bearer TOKEN`; `tinyops tokens make` makes one",
        )),
        (Access::Device, _) => Err(not_a_device()),
    }
}

fn forbidden(who: &Who, right: Right) -> ApiError {
    let message = format!("`{}` ({}) may not {}", who.name(), who.role(), right.word());
    let hint =
        "docs/guide/access.md says which role may; `tinyops tokens make` makes a token of one";
    ApiError::new(StatusCode::FORBIDDEN, "role", message, hint)
}

fn not_a_device() -> ApiError {
    ApiError::new(
        StatusCode::UNAUTHORIZED,
        "device",
        "this call needs a device's id and password",
        "`Authorization: Bearer DEVICE.PASSWORD`, the same password as for MQTT",
    )
}

impl From<Denied> for ApiError {
    fn from(denied: Denied) -> ApiError {
        let token = |message| {
            let hint = "`tinyops tokens ls` lists the tokens, `tinyops tokens make` makes one";
            ApiError::new(StatusCode::UNAUTHORIZED, "token", message, hint)
        };
        match denied {
            Denied::Token(Refused::Unknown) => token("the token was not made here"),
            Denied::Token(Refused::Revoked) => token("the token is revoked"),
            Denied::Token(Refused::Expired) => token("the token's time is over"),
            Denied::Device => not_a_device(),
            Denied::Foreign => ApiError::new(
                StatusCode::FORBIDDEN,
                "origin",
                "a page of another site made this call",
                "programs show a token and no `Origin`",
            ),
            Denied::Store(cause) => cause.into(),
        }
    }
}

/// The name of a caller who may do what the route asks for: what the audit log says.
#[derive(Debug)]
pub(super) struct Actor(pub String);

impl FromRequestParts<App> for Actor {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Actor, ApiError> {
        let who = parts.extensions.get::<Who>();
        let who = who.ok_or_else(|| {
            ApiError::new(
                StatusCode::UNAUTHORIZED,
                "token",
                "this call needs a token",
                "`Authorization: Bearer TOKEN`",
            )
        })?;
        Ok(Actor(who.name()))
    }
}

/// A device that showed its password.
#[derive(Debug)]
pub(super) struct Caller(pub DeviceId);

impl FromRequestParts<App> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Caller, ApiError> {
        match parts.extensions.get::<Who>() {
            Some(Who::Device(id)) => Ok(Caller(*id)),
            _ => Err(not_a_device()),
        }
    }
}
