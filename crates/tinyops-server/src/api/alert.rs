//! Alerts over HTTP: what stands, what people say of it, and the webhooks that are told.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tinyops_fleet::enrol::Entropy;
use tinyops_fleet::webhook::{Proof, receivers};
use tinyops_store::Timestamp;
use tinyops_store::alert::{self, AlertId};
use tinyops_store::webhook::{self, Delivery, Webhook, WebhookKind};

use super::auth::Actor;
use super::error::ApiError;
use super::frame::{Body, Path, Query};
use super::make::Limit;
use super::view::AlertView;
use crate::app::App;
use crate::text::Text;
use crate::tls_client::trusting;

pub(super) async fn list(
    State(app): State<App>,
    Query(limit): Query<Limit>,
) -> Result<Json<Vec<AlertView>>, ApiError> {
    let alerts = alert::list(app.db(), limit.count()).await?;
    Ok(Json(alerts.into_iter().map(AlertView::from).collect()))
}

pub(super) async fn acknowledge(
    State(app): State<App>,
    Actor(actor): Actor,
    Path(Text(id)): Path<Text<AlertId>>,
) -> Result<Json<AlertView>, ApiError> {
    let alert = app.fleet().acknowledge(id, &actor, app.now()).await?;
    Ok(Json(alert.into()))
}

/// How long an alert is left alone.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Mute {
    /// When it counts again.
    pub until_ms: i64,
    /// Why, for the records.
    #[serde(default)]
    pub reason: String,
}

pub(super) async fn mute(
    State(app): State<App>,
    Actor(actor): Actor,
    Path(Text(id)): Path<Text<AlertId>>,
    Body(Mute { until_ms, reason }): Body<Mute>,
) -> Result<Json<AlertView>, ApiError> {
    let until = Timestamp(until_ms);
    let fleet = app.fleet();
    let alert = fleet.mute(id, until, &reason, &actor, app.now()).await?;
    Ok(Json(alert.into()))
}

/// Why an alert is over.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Resolution {
    /// What was done, or found out.
    pub reason: String,
}

pub(super) async fn resolve(
    State(app): State<App>,
    Actor(actor): Actor,
    Path(Text(id)): Path<Text<AlertId>>,
    Body(Resolution { reason }): Body<Resolution>,
) -> Result<Json<AlertView>, ApiError> {
    let fleet = app.fleet();
    let alert = fleet.resolve(id, &reason, &actor, app.now()).await?;
    Ok(Json(alert.into()))
}

/// A webhook to add.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WebhookWish {
    /// What it is called.
    pub name: String,
    /// Where it listens: `http://` or `https://`.
    pub url: String,
    /// Certificates of those who sign the receiver's, in PEM; without them, whom this machine trusts.
    #[serde(default)]
    pub authorities: String,
    /// What it is told of: `alerts`, or `lineage`, which is what runs read and made, as events of OpenLineage.
    #[serde(default)]
    pub tells: Tells,
    /// What a receiver of lineage asks for as `Authorization: Bearer`.
    #[serde(default)]
    pub token: Option<String>,
}

/// What a webhook is told of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Tells {
    /// What becomes of alerts.
    #[default]
    Alerts,
    /// What runs of pipelines read and made.
    Lineage,
}

/// A webhook, without its secret.
#[derive(Debug, Serialize, JsonSchema)]
pub struct WebhookView {
    /// What it is called.
    pub name: String,
    /// Where it listens.
    pub url: String,
    /// What it is told of.
    pub tells: Tells,
    /// Whether it has authorities of its own.
    pub has_authorities: bool,
    /// When it was added.
    pub created_at_ms: i64,
    /// Who added it.
    pub created_by: String,
}

impl From<Webhook> for WebhookView {
    fn from(hook: Webhook) -> WebhookView {
        WebhookView {
            tells: match hook.kind {
                WebhookKind::Lineage => Tells::Lineage,
                WebhookKind::Alerts | WebhookKind::Registry => Tells::Alerts,
            },
            name: hook.name,
            url: hook.url,
            has_authorities: !hook.authorities.is_empty(),
            created_at_ms: hook.created_at.0,
            created_by: hook.created_by,
        }
    }
}

/// A webhook that was just added; its secret is shown this once.
#[derive(Debug, Serialize, JsonSchema)]
pub struct AddedWebhook {
    /// The webhook.
    #[serde(flatten)]
    pub about: WebhookView,
    /// What its deliveries are signed with; of lineage, the token that it asked for.
    pub secret: String,
}

impl From<Webhook> for AddedWebhook {
    fn from(hook: Webhook) -> AddedWebhook {
        AddedWebhook {
            secret: hook.secret.clone(),
            about: hook.into(),
        }
    }
}

/// One event for one webhook.
#[derive(Debug, Serialize, JsonSchema)]
pub struct DeliveryView {
    /// Its number, which a receiver knows a repeated one by.
    pub delivery: i64,
    /// Who is told.
    pub webhook: String,
    /// `alert.raise`, `alert.mute`, …, or `webhook.test`.
    pub event: String,
    /// `waiting`, `delivered` or `abandoned`.
    pub state: &'static str,
    /// How often it was sent.
    pub attempts: u32,
    /// When it is tried next, if it waits.
    pub next_at_ms: Option<i64>,
    /// The status of the last answer, or what went wrong.
    pub answer: String,
    /// When the event was.
    pub created_at_ms: i64,
}

impl From<Delivery> for DeliveryView {
    fn from(delivery: Delivery) -> DeliveryView {
        let waits = delivery.state == webhook::DeliveryState::Waiting;
        DeliveryView {
            delivery: delivery.id.0,
            webhook: delivery.webhook,
            event: delivery.event,
            state: delivery.state.word(),
            attempts: delivery.attempt_count,
            next_at_ms: waits.then_some(delivery.next_at.0),
            answer: delivery.answer,
            created_at_ms: delivery.created_at.0,
        }
    }
}

pub(super) async fn webhooks(State(app): State<App>) -> Result<Json<Vec<WebhookView>>, ApiError> {
    let hooks = receivers(app.db()).await?;
    Ok(Json(hooks.into_iter().map(WebhookView::from).collect()))
}

pub(super) async fn add_webhook(
    State(app): State<App>,
    Actor(actor): Actor,
    Body(wish): Body<WebhookWish>,
) -> Result<(StatusCode, Json<AddedWebhook>), ApiError> {
    if !wish.authorities.is_empty() {
        trusting(wish.authorities.as_bytes()).map_err(|problem| {
            ApiError::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "authorities",
                format!("`authorities` names nobody who signs certificates: {problem}"),
                "PEM begins with `-----BEGIN CERTIFICATE-----`",
            )
        })?;
    }
    let proof = match (wish.tells, wish.token) {
        (Tells::Alerts, None) => Proof::Signature(Entropy::from_system()),
        (Tells::Alerts, Some(_)) => {
            return Err(ApiError::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "token",
                "`token` is shown to receivers of lineage; alerts are signed".to_owned(),
                "leave `token` out, or say `\"tells\": \"lineage\"`",
            ));
        }
        (Tells::Lineage, token) => Proof::Token(token),
    };
    let fleet = app.fleet();
    let hook = fleet
        .add_webhook(
            &wish.name,
            &wish.url,
            &wish.authorities,
            proof,
            &actor,
            app.now(),
        )
        .await?;
    Ok((StatusCode::CREATED, Json(hook.into())))
}

pub(super) async fn remove_webhook(
    State(app): State<App>,
    Actor(actor): Actor,
    Path(name): Path<String>,
) -> Result<StatusCode, ApiError> {
    app.fleet().remove_webhook(&name, &actor, app.now()).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn test_webhook(
    State(app): State<App>,
    Actor(actor): Actor,
    Path(name): Path<String>,
) -> Result<(StatusCode, Json<DeliveryView>), ApiError> {
    let delivery = app.fleet().test_webhook(&name, &actor, app.now()).await?;
    Ok((StatusCode::ACCEPTED, Json(delivery.into())))
}

pub(super) async fn deliveries(
    State(app): State<App>,
    Query(limit): Query<Limit>,
) -> Result<Json<Vec<DeliveryView>>, ApiError> {
    let deliveries = webhook::deliveries(app.db(), limit.count()).await?;
    Ok(Json(
        deliveries.into_iter().map(DeliveryView::from).collect(),
    ))
}
