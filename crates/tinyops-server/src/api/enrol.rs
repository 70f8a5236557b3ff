//! How devices are let in: enrolment, class tokens, claim authorities and claims.

use std::net::SocketAddr;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tinyops_fleet::credential::NewToken;
use tinyops_fleet::enrol::{Entropy, NewDevice};
use tinyops_fleet::enrolment::{Bringer, Enrolled};
use tinyops_fleet::keys::public_key;
use tinyops_store::{DeviceId, Digest, Timestamp, claim, class_token};
use tinyops_wire::enrolment::TokenId;

use super::auth::Actor;
use super::error::ApiError;
use super::frame::{Body, Path};
use crate::app::App;
use crate::listen::Peer;
use crate::mqtt::session::Closing;
use crate::mqtt::{down_topic, up_topic};
use crate::text::{Text, hex, unhex};

/// A device's own request; the answer is bytes, too (docs/formats/enrolment.md).
pub(super) async fn enrol(
    State(app): State<App>,
    peer: Option<axum::Extension<axum::extract::ConnectInfo<Peer>>>,
    request: Bytes,
) -> Result<Vec<u8>, ApiError> {
    let address = peer.map(|peer| peer.0.0.0).as_ref().map(SocketAddr::ip);
    let bringer = Bringer::Device { address };
    Ok(let_in(&app, &request, bringer).await?.answer)
}

/// A device that an operator brings: one with a key of its own, or one that polls the DDI alone.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Registration {
    /// The request that the device made, without a token or claim: hex digits.
    #[serde(default)]
    pub request: Option<String>,
    /// The board of a device that has no key.
    #[serde(default)]
    pub board: Option<String>,
    /// The id of a device that has no key, if it has one already: 16 hex digits.
    #[serde(default)]
    pub device: Option<Text<DeviceId>>,
    /// The cohort that it joins.
    #[serde(default)]
    pub cohort: String,
    /// Further words to choose it by.
    #[serde(default)]
    pub tags: Vec<String>,
}

/// What to bring back to the device; no secret is in it.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Registered {
    pub device: Text<DeviceId>,
    /// The answer to its request: hex digits. Only the device that made the request can use it; none without one.
    pub answer: Option<String>,
    /// The MQTT topic that it publishes to.
    pub up: String,
    /// The MQTT topic that it subscribes to.
    pub down: String,
}

pub(super) async fn register(
    State(app): State<App>,
    Actor(actor): Actor,
    Body(wish): Body<Registration>,
) -> Result<(StatusCode, Json<Registered>), ApiError> {
    let (id, answer) = match (&wish.request, wish.board) {
        (Some(request), None) if wish.device.is_none() => {
            let request = unhex(request.trim()).ok_or_else(|| {
                ApiError::new(
                    StatusCode::UNPROCESSABLE_ENTITY,
                    "malformed",
                    "the request is no hex digits",
                    "docs/formats/enrolment.md says what a request is",
                )
            })?;
            let bringer = Bringer::Operator {
                actor: &actor,
                cohort: &wish.cohort,
                tags: &wish.tags,
            };
            let enrolled = let_in(&app, &request, bringer).await?;
            (enrolled.device.id, Some(hex(&enrolled.answer)))
        }
        (None, Some(board)) => {
            let new = NewDevice {
                id: wish.device.map(|Text(id)| id),
                board,
                cohort: wish.cohort,
                tags: wish.tags,
            };
            let entropy = Entropy::from_system();
            let device = app
                .fleet()
                .register_keyless(&new, entropy, &actor, app.now())
                .await?;
            (device.id, None)
        }
        _ => {
            return Err(ApiError::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "body",
                "a device brings a request, or has a board and no key",
                "`request` is what the device made, and names its board and id",
            ));
        }
    };
    let registered = Registered {
        device: Text(id),
        answer,
        up: up_topic(id),
        down: down_topic(id),
    };
    Ok((StatusCode::CREATED, Json(registered)))
}

async fn let_in(app: &App, request: &[u8], bringer: Bringer<'_>) -> Result<Enrolled, ApiError> {
    let entropy = Entropy::from_system();
    let enrolled = app
        .fleet()
        .enrol(request, bringer, entropy, app.now())
        .await?;
    if enrolled.is_again {
        // Whoever speaks in its name has the key of before.
        app.inner()
            .sessions
            .close(enrolled.device.id, Closing::Revoked);
    }
    Ok(enrolled)
}

/// A class token to make.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ClassTokenWish {
    /// The board of the devices that it enrols.
    pub board: String,
    /// The cohort that they join.
    pub cohort: String,
    /// Further words to choose them by.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Most devices that it enrols.
    pub uses: u32,
    /// When it ends; without it, it does not end by itself.
    #[serde(default)]
    pub expires_at_ms: Option<i64>,
}

/// A class token, without the token itself.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ClassTokenView {
    pub id: String,
    pub board: String,
    pub cohort: String,
    pub tags: Vec<String>,
    /// Most devices that it enrols.
    pub uses: u32,
    /// Devices that it has enrolled.
    pub used: u32,
    pub created_at_ms: i64,
    pub created_by: String,
    pub expires_at_ms: Option<i64>,
    pub revoked_at_ms: Option<i64>,
}

impl From<class_token::ClassToken> for ClassTokenView {
    fn from(token: class_token::ClassToken) -> ClassTokenView {
        ClassTokenView {
            id: token.id.to_string(),
            board: token.board,
            cohort: token.cohort,
            tags: token.tags,
            uses: token.uses_max,
            used: token.use_count,
            created_at_ms: token.created_at.0,
            created_by: token.created_by,
            expires_at_ms: token.expires_at.map(|at| at.0),
            revoked_at_ms: token.revoked_at.map(|at| at.0),
        }
    }
}

/// A class token that was just made; shown this once.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct MadeClassToken {
    #[serde(flatten)]
    pub about: ClassTokenView,
    /// What its devices are given.
    pub token: String,
}

pub(super) async fn make_token(
    State(app): State<App>,
    Actor(actor): Actor,
    Body(wish): Body<ClassTokenWish>,
) -> Result<(StatusCode, Json<MadeClassToken>), ApiError> {
    let new = NewToken {
        board: wish.board,
        cohort: wish.cohort,
        tags: wish.tags,
        uses: wish.uses,
        expires_at: wish.expires_at_ms.map(Timestamp),
    };
    let entropy = Entropy::from_system();
    let (about, token) = app
        .fleet()
        .make_class_token(&new, entropy, &actor, app.now())
        .await?;
    let token = token.text().to_string();
    let about = about.into();
    Ok((StatusCode::CREATED, Json(MadeClassToken { about, token })))
}

pub(super) async fn tokens(State(app): State<App>) -> Result<Json<Vec<ClassTokenView>>, ApiError> {
    let tokens = class_token::list(app.db()).await?;
    Ok(Json(tokens.into_iter().map(ClassTokenView::from).collect()))
}

pub(super) async fn revoke_token(
    State(app): State<App>,
    Actor(actor): Actor,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    let id: TokenId = id
        .parse()
        .map_err(|_| ApiError::missing(format_args!("class token `{id}`")))?;
    app.fleet()
        .revoke_class_token(id, &actor, app.now())
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Who signs claims, and the claims that were used or revoked.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ClaimsView {
    pub authorities: Vec<AuthorityView>,
    pub claims: Vec<ClaimView>,
}

/// Whoever signs claims.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct AuthorityView {
    pub name: String,
    /// Its public key: 64 hex digits.
    pub public: String,
    pub created_at_ms: i64,
    pub created_by: String,
    pub revoked_at_ms: Option<i64>,
}

/// A claim that was used or revoked.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ClaimView {
    pub serial: String,
    /// Devices that it has enrolled.
    pub used: u32,
    pub used_at_ms: Option<i64>,
    pub revoked_at_ms: Option<i64>,
}

pub(super) async fn claims(State(app): State<App>) -> Result<Json<ClaimsView>, ApiError> {
    let authority = |authority: claim::Authority| AuthorityView {
        name: authority.name,
        public: Digest(authority.public).to_string(),
        created_at_ms: authority.created_at.0,
        created_by: authority.created_by,
        revoked_at_ms: authority.revoked_at.map(|at| at.0),
    };
    let claim = |claim: claim::Claim| ClaimView {
        serial: claim.serial,
        used: claim.use_count,
        used_at_ms: claim.used_at.map(|at| at.0),
        revoked_at_ms: claim.revoked_at.map(|at| at.0),
    };
    let authorities = claim::authorities(app.db()).await?;
    let claims = claim::list(app.db()).await?;
    Ok(Json(ClaimsView {
        authorities: authorities.into_iter().map(authority).collect(),
        claims: claims.into_iter().map(claim).collect(),
    }))
}

/// An authority to trust.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AuthorityWish {
    /// What people call it; never given twice.
    pub name: String,
    /// Its Ed25519 public key: 64 hex digits.
    pub public: String,
}

pub(super) async fn trust(
    State(app): State<App>,
    Actor(actor): Actor,
    Body(wish): Body<AuthorityWish>,
) -> Result<StatusCode, ApiError> {
    let public = public_key(&wish.public).map_err(|problem| {
        let hint = "`tinyops claims authority` makes an authority and shows its public key";
        ApiError::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "public_key",
            problem,
            hint,
        )
    })?;
    app.fleet()
        .trust_authority(&wish.name, &public, &actor, app.now())
        .await?;
    Ok(StatusCode::CREATED)
}

pub(super) async fn distrust(
    State(app): State<App>,
    Actor(actor): Actor,
    Path(name): Path<String>,
) -> Result<StatusCode, ApiError> {
    app.fleet()
        .distrust_authority(&name, &actor, app.now())
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn revoke_claim(
    State(app): State<App>,
    Actor(actor): Actor,
    Path(serial): Path<String>,
) -> Result<StatusCode, ApiError> {
    app.fleet().revoke_claim(&serial, &actor, app.now()).await?;
    Ok(StatusCode::NO_CONTENT)
}
