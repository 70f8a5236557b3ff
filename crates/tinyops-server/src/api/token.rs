//! Access tokens over HTTP.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tinyops_fleet::enrol::Entropy;
use tinyops_store::Timestamp;
use tinyops_store::access::{self, AccessToken, Role};
use tinyops_store::ddi::Packing;

use super::auth::Actor;
use super::ddi::packing;
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
    /// Of a gateway: it also speaks hawkBit's DDI for the devices of this class, `BOARD/COHORT`, that have no token
    /// of their own.
    #[serde(default)]
    pub class: Option<String>,
    /// How what these devices install is packed, `files` or `swu`; `files` without it.
    #[serde(default)]
    pub packing: Option<String>,
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
    /// The class that it speaks for over the DDI, `BOARD/COHORT`, if it does.
    pub class: Option<String>,
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
            class: None,
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
    let (fleet, now) = (app.fleet(), app.now());
    let class = class_of(&wish, role)?;
    let (about, token) = match class {
        None => {
            fleet
                .make_access_token(&wish.name, role, expires_at, entropy, &actor, now)
                .await?
        }
        Some((class, packing)) => {
            fleet
                .make_class_gateway(&wish.name, class, packing, expires_at, entropy, &actor, now)
                .await?
        }
    };
    let about = TokenView {
        class: wish.class,
        ..about.into()
    };
    Ok((StatusCode::CREATED, Json(MadeToken { about, token })))
}

pub(super) async fn list(State(app): State<App>) -> Result<Json<Vec<TokenView>>, ApiError> {
    let tokens = access::list(app.db()).await?;
    let classes = tinyops_store::ddi::classes(app.db()).await?;
    let view = |token: AccessToken| {
        let class = classes.iter().find(|class| class.token == token.id);
        TokenView {
            class: class.map(|class| format!("{}/{}", class.board, class.cohort)),
            ..token.into()
        }
    };
    Ok(Json(tokens.into_iter().map(view).collect()))
}

/// Board and cohort of a class, and how what its devices install is packed.
type Class<'a> = ((&'a str, &'a str), Packing);

/// The class that a token is wanted for, and how what its devices install is packed.
fn class_of(wish: &TokenWish, role: Role) -> Result<Option<Class<'_>>, ApiError> {
    let wrong = |message: &str| {
        ApiError::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "class",
            message,
            "a token of the role gateway may have a class, `BOARD/COHORT`, and with it a packing",
        )
    };
    let Some(class) = &wish.class else {
        return match &wish.packing {
            Some(_) => Err(wrong("a packing without a class")),
            None => Ok(None),
        };
    };
    if role != Role::Gateway {
        return Err(wrong("only a gateway speaks for a class"));
    }
    let class = class.split_once('/');
    let class = class.ok_or_else(|| wrong("a class is written as `BOARD/COHORT`"))?;
    let packing = wish.packing.as_deref().map(packing).transpose()?;
    Ok(Some((class, packing.unwrap_or(Packing::Files))))
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
