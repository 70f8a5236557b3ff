//! Access tokens over HTTP.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tinyops_fleet::enrol::Entropy;
use tinyops_store::Timestamp;
use tinyops_store::access::{self, AccessToken, Role};

use super::auth::Actor;
use super::error::ApiError;
use super::frame::{Body, Path};
use crate::app::App;

/// An access token to make.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TokenWish {
    /// What the audit log calls its holder; never given twice.
    pub name: String,
    /// `viewer`, `operator`, `releaser`, `admin` or `gateway`.
    pub role: String,
    /// When it ends; without it, it does not end by itself.
    #[serde(default)]
    pub expires_at_ms: Option<i64>,
}

/// An access token, without the token itself.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct TokenView {
    pub name: String,
    pub role: &'static str,
    pub created_at_ms: i64,
    pub created_by: String,
    pub expires_at_ms: Option<i64>,
    pub revoked_at_ms: Option<i64>,
}

impl From<AccessToken> for TokenView {
    fn from(token: AccessToken) -> TokenView {
        TokenView {
            name: token.name,
            role: token.role.word(),
            created_at_ms: token.created_at.0,
            created_by: token.created_by,
            expires_at_ms: token.expires_at.map(|at| at.0),
            revoked_at_ms: token.revoked_at.map(|at| at.0),
        }
    }
}

/// An access token that was just made; shown this once.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct MadeToken {
    #[serde(flatten)]
    pub about: TokenView,
    /// What its holder shows.
    pub token: String,
}

pub(super) async fn make(
    State(app): State<App>,
    Actor(actor): Actor,
    Body(wish): Body<TokenWish>,
) -> Result<(StatusCode, Json<MadeToken>), ApiError> {
    let role = Role::of_word(&wish.role).ok_or_else(|| {
        ApiError::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "role_unknown",
            format!("`{}` is no role", wish.role),
            "roles are viewer, operator, releaser, admin and gateway",
        )
    })?;
    let (expires_at, entropy) = (wish.expires_at_ms.map(Timestamp), Entropy::from_system());
    let made = app
        .fleet()
        .make_access_token(&wish.name, role, expires_at, entropy, &actor, app.now())
        .await?;
    let (about, token) = made;
    let about = about.into();
    Ok((StatusCode::CREATED, Json(MadeToken { about, token })))
}

pub(super) async fn list(State(app): State<App>) -> Result<Json<Vec<TokenView>>, ApiError> {
    let tokens = access::list(app.db()).await?;
    Ok(Json(tokens.into_iter().map(TokenView::from).collect()))
}

pub(super) async fn revoke(
    State(app): State<App>,
    Actor(actor): Actor,
    Path(name): Path<String>,
) -> Result<StatusCode, ApiError> {
    app.fleet()
        .revoke_access_token(&name, &actor, app.now())
        .await?;
    Ok(StatusCode::NO_CONTENT)
}
