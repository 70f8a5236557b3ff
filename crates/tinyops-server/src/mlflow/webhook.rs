//! Webhooks of the registry over HTTP. They are delivered as those for alerts are, out of the same outbox.

use std::time::Duration;

use axum::extract::{Path, State};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use tinyops_fleet::enrol::Entropy;
use tinyops_fleet::webhook::Target;
use tinyops_pipeline::tracking::Page;
use tinyops_pipeline::tracking::webhook::{self, About};
use tinyops_store::webhook::{self as records, DeliveryState, Webhook};

use super::Actor;
use super::error::MlflowError;
use super::input::{Input, maybe_whole};
use super::registry::by;
use super::view::Done;
use crate::app::App;
use crate::text::hex;

/// How long a test is awaited: one attempt, and the turn before it.
const TEST_WITHIN: Duration = Duration::from_secs(12);
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// An entity and an action, in capitals as protobuf has them, or small.
#[derive(Deserialize, Serialize)]
pub(super) struct EventView {
    entity: String,
    action: String,
}

impl EventView {
    fn word(&self) -> String {
        format!("{}.{}", self.entity, self.action).to_ascii_lowercase()
    }

    fn of(word: &str) -> EventView {
        let (entity, action) = word.split_once('.').unwrap_or_default();
        EventView {
            entity: entity.to_ascii_uppercase(),
            action: action.to_ascii_uppercase(),
        }
    }
}

#[derive(Serialize)]
pub(super) struct WebhookView {
    webhook_id: String,
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    description: String,
    url: String,
    events: Vec<EventView>,
    status: &'static str,
    creation_timestamp: i64,
    last_updated_timestamp: i64,
}

impl From<Webhook> for WebhookView {
    fn from(hook: Webhook) -> WebhookView {
        let about = About::of(&hook);
        let events = about.events.iter();
        WebhookView {
            webhook_id: hook.name,
            name: about.name,
            description: about.description,
            url: hook.url,
            events: events.map(|event| EventView::of(event)).collect(),
            status: match about.is_active {
                true => "ACTIVE",
                false => "DISABLED",
            },
            creation_timestamp: hook.created_at.0,
            last_updated_timestamp: about.updated_at_ms,
        }
    }
}

#[derive(Serialize)]
pub(super) struct One {
    webhook: WebhookView,
}

fn shown(hook: Webhook) -> Json<One> {
    let webhook = hook.into();
    Json(One { webhook })
}

#[derive(Deserialize)]
pub(super) struct Wish {
    name: Option<String>,
    description: Option<String>,
    url: Option<String>,
    #[serde(default)]
    events: Vec<EventView>,
    secret: Option<String>,
    status: Option<String>,
}

fn check_url(url: &str) -> Result<(), MlflowError> {
    match Target::parse(url) {
        Ok(_) => Ok(()),
        Err(why) => Err(MlflowError::invalid(format!(
            "Invalid webhook URL '{url}': {why}"
        ))),
    }
}

fn is_active(status: &str) -> Result<bool, MlflowError> {
    match status {
        "ACTIVE" => Ok(true),
        "DISABLED" => Ok(false),
        other => Err(MlflowError::invalid(format!(
            "Invalid webhook status: {other}. ACTIVE or DISABLED"
        ))),
    }
}

pub(super) async fn create(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Input(wish): Input<Wish>,
) -> Result<Json<One>, MlflowError> {
    let url = wish.url.unwrap_or_default();
    check_url(&url)?;
    let about = About {
        name: wish.name.unwrap_or_default(),
        description: wish.description.unwrap_or_default(),
        events: wish.events.iter().map(EventView::word).collect(),
        is_active: is_active(wish.status.as_deref().unwrap_or("ACTIVE"))?,
        updated_at_ms: 0,
    };
    let unique = hex(&Entropy::from_system().0[..16]);
    let secret = wish.secret.unwrap_or_default();
    let by = by(&app, &actor);
    let made = webhook::create(app.db(), &unique, &url, &secret, about, by).await?;
    Ok(shown(made))
}

#[derive(Deserialize)]
pub(super) struct Asked {
    #[serde(default, deserialize_with = "maybe_whole")]
    max_results: Option<i64>,
    #[serde(default)]
    page_token: Option<String>,
}

#[derive(Serialize)]
pub(super) struct Found {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    webhooks: Vec<WebhookView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_page_token: Option<String>,
}

pub(super) async fn list(
    State(app): State<App>,
    Input(asked): Input<Asked>,
) -> Result<Json<Found>, MlflowError> {
    let page = Page::of(asked.max_results, 100, 1000, asked.page_token.as_deref())?;
    let start = usize::try_from(page.offset).unwrap_or(usize::MAX);
    let rest = webhook::list(app.db()).await?.into_iter().skip(start);
    let mut hooks: Vec<Webhook> = rest.take(page.and_one() as usize).collect();
    let next_page_token = page.cut(&mut hooks);
    Ok(Json(Found {
        webhooks: hooks.into_iter().map(WebhookView::from).collect(),
        next_page_token,
    }))
}

pub(super) async fn get(
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<Json<One>, MlflowError> {
    Ok(shown(webhook::get(app.db(), &id).await?))
}

pub(super) async fn update(
    State(app): State<App>,
    Path(id): Path<String>,
    Extension(actor): Extension<Actor>,
    Input(wish): Input<Wish>,
) -> Result<Json<One>, MlflowError> {
    if let Some(url) = &wish.url {
        check_url(url)?;
    }
    let status = wish.status.as_deref().map(is_active).transpose()?;
    let change = |hook: &mut Webhook, about: &mut About| {
        if let Some(url) = &wish.url {
            hook.url.clone_from(url);
        }
        if let Some(secret) = &wish.secret {
            hook.secret.clone_from(secret);
        }
        if let Some(name) = &wish.name {
            about.name.clone_from(name);
        }
        if let Some(description) = &wish.description {
            about.description.clone_from(description);
        }
        if !wish.events.is_empty() {
            about.events = wish.events.iter().map(EventView::word).collect();
        }
        about.is_active = status.unwrap_or(about.is_active);
    };
    let found = webhook::update(app.db(), &id, change, by(&app, &actor)).await?;
    Ok(shown(found))
}

pub(super) async fn remove(
    State(app): State<App>,
    Path(id): Path<String>,
    Extension(actor): Extension<Actor>,
) -> Result<Json<Done>, MlflowError> {
    webhook::remove(app.db(), &id, by(&app, &actor)).await?;
    Ok(Json(Done {}))
}

#[derive(Deserialize)]
pub(super) struct TestWish {
    event: Option<EventView>,
}

#[derive(Serialize)]
pub(super) struct Tested {
    result: TestView,
}

#[derive(Serialize)]
struct TestView {
    success: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_message: Option<String>,
}

impl TestView {
    fn failed(why: &str) -> TestView {
        TestView {
            success: false,
            response_status: None,
            error_message: Some(why.to_owned()),
        }
    }
}

/// Owes an example and waits for what comes of the first attempt.
pub(super) async fn test(
    State(app): State<App>,
    Path(id): Path<String>,
    Extension(actor): Extension<Actor>,
    Input(wish): Input<TestWish>,
) -> Result<Json<Tested>, MlflowError> {
    let event = wish.event.map(|event| event.word());
    let owed = webhook::test(app.db(), &id, event.as_deref(), by(&app, &actor)).await?;
    let tried = async {
        loop {
            match records::delivery(app.db(), owed.id).await {
                Ok(Some(delivery)) if delivery.answer.is_empty() => {}
                other => return other,
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    let result = match tokio::time::timeout(TEST_WITHIN, tried).await {
        Ok(Ok(Some(delivery))) => match delivery.answer.parse::<u16>() {
            Ok(status) => TestView {
                success: delivery.state == DeliveryState::Delivered,
                response_status: Some(status),
                error_message: None,
            },
            Err(_) => TestView::failed(&delivery.answer),
        },
        Ok(Ok(None)) => TestView::failed("the webhook was removed"),
        Ok(Err(cause)) => return Err(cause.into()),
        Err(_) => TestView::failed("it was not tried yet: a server delivers while its loops turn"),
    };
    Ok(Json(Tested { result }))
}
