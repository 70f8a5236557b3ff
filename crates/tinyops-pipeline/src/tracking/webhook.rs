//! Who is told of changes of the registry, in MLflow's words: which events there are, and what is owed for one.
//!
//! An event is written to the outbox in the transaction that it tells of; how it is delivered is the server's.

use chrono::{Datelike as _, Timelike as _};
use serde::{Deserialize, Serialize};
use tinyops_store::tracking::Pair;
use tinyops_store::webhook::{self, Delivery, Webhook, WebhookKind};
use tinyops_store::{Db, Json, Read, StoreError, Timestamp, Tx, audit};

use super::limit::{KEY_MAX, check_length};
use super::registry::By;
use super::{TrackingError, write};

/// Letters of a name at most.
const NAME_MAX: usize = 63;
/// Letters of a secret at most.
const SECRET_MAX: usize = 1000;
/// What ids of these webhooks begin with.
const ID_MARK: &str = "wh-";

/// What may happen, as MLflow pairs entities with actions. Of prompts and budgets there is nothing to tell here.
pub const EVENTS: [(&str, &str); 15] = [
    ("registered_model", "created"),
    ("model_version", "created"),
    ("model_version_tag", "set"),
    ("model_version_tag", "deleted"),
    ("model_version_alias", "created"),
    ("model_version_alias", "deleted"),
    ("prompt", "created"),
    ("prompt_version", "created"),
    ("prompt_tag", "set"),
    ("prompt_tag", "deleted"),
    ("prompt_version_tag", "set"),
    ("prompt_version_tag", "deleted"),
    ("prompt_alias", "created"),
    ("prompt_alias", "deleted"),
    ("budget_policy", "exceeded"),
];

/// What is known of such a webhook beside where it listens.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// What people call it.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// What it is told, as `entity.action`.
    pub events: Vec<String>,
    /// Whether it is told anything.
    pub is_active: bool,
    /// When it was changed last, milliseconds.
    pub updated_at_ms: i64,
}

impl About {
    /// What is known of a webhook.
    #[must_use]
    pub fn of(hook: &Webhook) -> About {
        About::deserialize(&hook.about).unwrap_or_default()
    }

    fn json(&self) -> Json {
        serde_json::to_value(self).expect("its keys are texts")
    }

    fn check(&self) -> Result<(), TrackingError> {
        let invalid = |why: String| Err(TrackingError::Invalid(why));
        let is_plain = |c: char| c.is_ascii_alphanumeric();
        let is_name = self.name.len() <= NAME_MAX
            && self.name.starts_with(is_plain)
            && self.name.ends_with(is_plain)
            && self.name.chars().all(|c| is_plain(c) || "._-".contains(c));
        if !is_name {
            return invalid(format!(
                "Webhook name '{}' is invalid. It must start and end with a letter or digit, be less than 63 characters long, and contain only letters, digits, dots (.), underscores (_), and hyphens (-).",
                self.name
            ));
        }
        if self.events.is_empty() {
            return invalid("Webhook events must be a non-empty list.".to_owned());
        }
        for event in &self.events {
            let is_known =
                |(entity, action): &(&str, &str)| event.split_once('.') == Some((*entity, *action));
            if !EVENTS.iter().any(is_known) {
                return invalid(format!("Invalid webhook event '{event}'."));
            }
        }
        check_length("The description", &self.description, 5000)
    }
}

/// Every webhook of the registry.
///
/// # Errors
/// When the records cannot be read.
pub async fn list(on: &impl Read) -> Result<Vec<Webhook>, TrackingError> {
    Ok(webhook::of_kind(on, WebhookKind::Registry).await?)
}

/// One by its id.
///
/// # Errors
/// [`TrackingError::Missing`].
pub async fn get(on: &impl Read, id: &str) -> Result<Webhook, TrackingError> {
    let found = list(on).await?.into_iter().find(|hook| hook.name == id);
    found.ok_or_else(|| TrackingError::Missing(format!("Webhook with ID {id} not found.")))
}

/// Adds one; the caller has seen that its address is one, and draws `unique`.
///
/// # Errors
/// [`TrackingError::Invalid`].
pub async fn create(
    db: &Db,
    unique: &str,
    url: &str,
    secret: &str,
    mut about: About,
    by: By<'_>,
) -> Result<Webhook, TrackingError> {
    about.updated_at_ms = by.now.0;
    about.check()?;
    check_length("The secret", secret, SECRET_MAX)?;
    let new = Webhook {
        name: format!("{ID_MARK}{unique}"),
        url: url.to_owned(),
        secret: secret.to_owned(),
        authorities: String::new(),
        created_at: by.now,
        created_by: by.actor.to_owned(),
        kind: WebhookKind::Registry,
        about: about.json(),
    };
    write!(db.begin_audited("add a webhook of the registry"), |tx| {
        webhook::add(&tx, &new).await?;
        note(&tx, "webhook.add", &new, by).await?;
        new.clone()
    })
}

/// Changes one as a whole: address, secret, and what is known of it.
///
/// # Errors
/// [`TrackingError::Missing`], [`TrackingError::Invalid`].
pub async fn update(
    db: &Db,
    id: &str,
    change: impl Fn(&mut Webhook, &mut About),
    by: By<'_>,
) -> Result<Webhook, TrackingError> {
    write!(db.begin_audited("change a webhook of the registry"), |tx| {
        let mut found = get(&tx, id).await?;
        let mut about = About::of(&found);
        change(&mut found, &mut about);
        about.updated_at_ms = by.now.0;
        about.check()?;
        check_length("The secret", &found.secret, SECRET_MAX)?;
        found.about = about.json();
        webhook::change(&tx, &found).await?;
        note(&tx, "webhook.change", &found, by).await?;
        found
    })
}

/// Removes one, and what it is still owed.
///
/// # Errors
/// [`TrackingError::Missing`].
pub async fn remove(db: &Db, id: &str, by: By<'_>) -> Result<(), TrackingError> {
    write!(db.begin_audited("remove a webhook of the registry"), |tx| {
        let found = get(&tx, id).await?;
        webhook::remove(&tx, id).await?;
        note(&tx, "webhook.remove", &found, by).await?;
    })
}

/// Owes one an example of an event, to see whether it listens; without a wish that of its first event.
///
/// # Errors
/// [`TrackingError::Missing`]; [`TrackingError::Invalid`] for an event that there is not.
pub async fn test(
    db: &Db,
    id: &str,
    event: Option<&str>,
    by: By<'_>,
) -> Result<Delivery, TrackingError> {
    write!(db.begin_audited("test a webhook of the registry"), |tx| {
        let found = get(&tx, id).await?;
        let about = About::of(&found);
        let event = event.map_or_else(
            || about.events.first().cloned(),
            |event| Some(event.to_owned()),
        );
        let event = event.unwrap_or_default();
        let known = EVENTS
            .iter()
            .find(|(entity, action)| event == format!("{entity}.{action}"));
        let Some((entity, action)) = known else {
            return Err(TrackingError::Invalid(format!(
                "Invalid webhook event '{event}'."
            )));
        };
        let body = body(entity, action, example(entity, action), by.now);
        let delivery = webhook::owe(&tx, id, &event, &body, by.now).await?;
        note(&tx, "webhook.test", &found, by).await?;
        delivery
    })
}

/// Owes an event to all who are told of it, in the transaction that it tells of.
pub(crate) async fn owe(
    tx: &Tx,
    entity: &str,
    action: &str,
    data: Json,
    now: Timestamp,
) -> Result<(), StoreError> {
    let hooks = webhook::of_kind(tx, WebhookKind::Registry).await?;
    if hooks.is_empty() {
        return Ok(());
    }
    let event = format!("{entity}.{action}");
    let body = body(entity, action, data, now);
    for hook in hooks {
        let about = About::of(&hook);
        if about.is_active && about.events.contains(&event) {
            webhook::owe(tx, &hook.name, &event, &body, now).await?;
        }
    }
    Ok(())
}

/// A list of tags as these documents have it.
pub(crate) fn tags_of(tags: &[Pair]) -> Json {
    tags.iter()
        .map(|tag| (tag.key.clone(), Json::from(tag.value.as_str())))
        .collect()
}

/// A text, or nothing where it is empty.
pub(crate) fn or_null(text: &str) -> Json {
    match text {
        "" => Json::Null,
        text => text.into(),
    }
}

fn body(entity: &str, action: &str, data: Json, now: Timestamp) -> String {
    let at = chrono::DateTime::from_timestamp_millis(now.0).unwrap_or_default();
    let (year, month, day) = (at.year(), at.month(), at.day());
    let (hour, minute, second) = (at.hour(), at.minute(), at.second());
    let micros = at.timestamp_subsec_micros();
    serde_json::json!({
        "entity": entity,
        "action": action,
        "timestamp": format!(
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}+00:00"
        ),
        "data": data,
    })
    .to_string()
}

/// What a test tells.
fn example(entity: &str, action: &str) -> Json {
    match (entity, action) {
        ("registered_model" | "prompt", _) => serde_json::json!({
            "name": "example_model", "tags": { "example_key": "example_value" },
            "description": "An example registered model",
        }),
        ("model_version" | "prompt_version", _) => serde_json::json!({
            "name": "example_model", "version": "1", "source": "models:/123",
            "run_id": "abcd1234abcd5678", "tags": { "example_key": "example_value" },
            "description": "An example model version",
        }),
        (_, "set") => serde_json::json!({
            "name": "example_model", "version": "1", "key": "example_key", "value": "example_value",
        }),
        ("model_version_tag" | "prompt_tag" | "prompt_version_tag", _) => {
            serde_json::json!({ "name": "example_model", "version": "1", "key": "example_key" })
        }
        (_, "created") => serde_json::json!({
            "name": "example_model", "alias": "example_alias", "version": "1",
        }),
        _ => serde_json::json!({ "name": "example_model", "alias": "example_alias" }),
    }
}

async fn note(tx: &Tx, action: &str, hook: &Webhook, by: By<'_>) -> Result<(), TrackingError> {
    let url: String = hook.url.chars().take(KEY_MAX).collect();
    let detail = serde_json::json!({ "url": url, "name": About::of(hook).name });
    Ok(audit::add(tx, by.now, by.actor, action, &hook.name, &detail).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, events: &[&str], is_fine: bool) {
        let about = About {
            name: name.to_owned(),
            events: events.iter().map(|event| (*event).to_owned()).collect(),
            ..About::default()
        };
        assert_eq!(about.check().is_ok(), is_fine, "{about:?}");
    }

    #[test]
    fn names_and_events() {
        check("ci", &["model_version.created"], true);
        check(
            "ci-2.main_x",
            &["registered_model.created", "model_version_alias.deleted"],
            true,
        );
        for name in ["", "-ci", "ci.", "c i", &"c".repeat(64)] {
            check(name, &["model_version.created"], false);
        }
        check("ci", &[], false);
        check("ci", &["model_version.deleted"], false);
        check("ci", &["created"], false);
    }

    #[test]
    fn a_document_is_as_receivers_know_it() {
        let body = body(
            "model_version",
            "created",
            example("model_version", "created"),
            Timestamp(1_700_000_000_123),
        );
        let body: Json = serde_json::from_str(&body).unwrap();
        assert_eq!(body["timestamp"], "2023-11-14T22:13:20.123000+00:00");
        assert_eq!(
            (&body["entity"], &body["data"]["version"]),
            (&Json::from("model_version"), &Json::from("1"))
        );
    }
}
