//! Webhooks: who is told over HTTP what happens, what they are owed, and what came of it.

use crate::column::{Row, row_id, values, words};
use crate::db::{Query as _, Read, touched};
use crate::{Json, StoreError, Timestamp, Tx};

row_id! {
    /// The number of a delivery; a receiver that has seen it passes it over.
    DeliveryId
}

words! {
    /// How far a delivery is.
    DeliveryState {
        /// It is sent, or sent again, when its time comes.
        Waiting = "waiting",
        /// The receiver took it.
        Delivered = "delivered",
        /// It was tried too often.
        Abandoned = "abandoned",
    }
}

words! {
    /// What a receiver is told of.
    WebhookKind {
        /// What happens to alerts.
        Alerts = "alerts",
        /// What changes in the registry of models, in the words of the tracking API.
        Registry = "registry",
        /// What runs of pipelines read and made, as events of OpenLineage.
        Lineage = "lineage",
    }
}

/// One receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// What it is called.
    pub name: String,
    /// Where it listens: `http://` or `https://`.
    pub url: String,
    /// What deliveries are signed with; receiver and sender know it.
    pub secret: String,
    /// Certificates of those who sign the receiver's, in PEM; the machine's own authorities where it is empty.
    pub authorities: String,
    /// When it was added.
    pub created_at: Timestamp,
    /// By whom.
    pub created_by: String,
    /// What it is told of.
    pub kind: WebhookKind,
    /// What else is known of it: nothing of one for alerts.
    pub about: Json,
}

/// One event for one receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Its number.
    pub id: DeliveryId,
    /// For which webhook.
    pub webhook: String,
    /// What happened: `alert.raise`, ….
    pub event: String,
    /// The document that is sent.
    pub body: String,
    /// How far it is.
    pub state: DeliveryState,
    /// How often it was tried.
    pub attempt_count: u32,
    /// When it is tried next.
    pub next_at: Timestamp,
    /// What came of the last attempt: a status, or what went wrong.
    pub answer: String,
    /// When it happened.
    pub created_at: Timestamp,
    /// When the row last changed.
    pub changed_at: Timestamp,
}

macro_rules! columns {
    () => {
        "id, webhook, event, body, state, attempt_count, next_at, answer, created_at, changed_at"
    };
}

/// Adds a receiver.
///
/// # Errors
/// [`StoreError::Exists`] if the name is taken.
pub async fn add(tx: &Tx, webhook: &Webhook) -> Result<(), StoreError> {
    let added = tx
        .execute(
            "INSERT INTO webhooks (name, url, secret, authorities, created_at, created_by, kind, about)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (name) DO NOTHING",
            values![
                webhook.name,
                webhook.url,
                webhook.secret,
                webhook.authorities,
                webhook.created_at,
                webhook.created_by,
                webhook.kind,
                webhook.about
            ],
        )
        .await?;
    match added {
        0 => Err(StoreError::Exists {
            entity: "webhook",
            key: webhook.name.clone(),
        }),
        _ => Ok(()),
    }
}

/// Removes a receiver and what it is still owed; says whether there was one. What it was sent stays in the log.
pub async fn remove(tx: &Tx, name: &str) -> Result<bool, StoreError> {
    tx.execute(
        "DELETE FROM webhook_deliveries WHERE webhook = $1 AND state = 'waiting'",
        values![name.to_owned()],
    )
    .await?;
    let removed = tx
        .execute(
            "DELETE FROM webhooks WHERE name = $1",
            values![name.to_owned()],
        )
        .await?;
    Ok(removed > 0)
}

/// Changes where a receiver listens, what it is told with, and what is known of it.
pub async fn change(tx: &Tx, webhook: &Webhook) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE webhooks SET url = $2, secret = $3, about = $4 WHERE name = $1",
        values![webhook.name, webhook.url, webhook.secret, webhook.about],
    )
    .await?;
    Ok(())
}

/// Every receiver that is told of alerts, by name.
pub async fn list(on: &impl Read) -> Result<Vec<Webhook>, StoreError> {
    of_kind(on, WebhookKind::Alerts).await
}

/// Every receiver of one kind, by name.
pub async fn of_kind(on: &impl Read, kind: WebhookKind) -> Result<Vec<Webhook>, StoreError> {
    let mut all = receivers(on).await?;
    all.retain(|webhook| webhook.kind == kind);
    Ok(all)
}

/// Every receiver, whatever it is told of, by name.
pub async fn receivers(on: &impl Read) -> Result<Vec<Webhook>, StoreError> {
    let sql = "SELECT name, url, secret, authorities, created_at, created_by, kind, about FROM webhooks ORDER BY name";
    let read = |row: Row| {
        let mut row = row.of("webhook");
        Ok(Webhook {
            name: row.take()?,
            url: row.take()?,
            secret: row.take()?,
            authorities: row.take()?,
            created_at: row.take()?,
            created_by: row.take()?,
            kind: row.take()?,
            about: row.take()?,
        })
    };
    on.query(sql, vec![]).await?.into_iter().map(read).collect()
}

/// Owes a receiver an event from now on.
pub async fn owe(
    tx: &Tx,
    webhook: &str,
    event: &str,
    body: &str,
    now: Timestamp,
) -> Result<Delivery, StoreError> {
    let row = tx
        .query_one(
            concat!(
                "INSERT INTO webhook_deliveries (webhook, event, body, state, attempt_count, next_at, answer, created_at, changed_at)
                 VALUES ($1, $2, $3, $4, 0, $5, '', $5, $5) RETURNING ",
                columns!()
            ),
            values![
                webhook.to_owned(),
                event.to_owned(),
                body.to_owned(),
                DeliveryState::Waiting,
                now
            ],
        )
        .await?;
    row.map(read)
        .transpose()?
        .ok_or_else(|| StoreError::Missing {
            entity: "webhook delivery",
            key: webhook.to_owned(),
        })
}

/// What is to be sent by now, oldest first.
pub async fn due(on: &impl Read, now: Timestamp, limit: u32) -> Result<Vec<Delivery>, StoreError> {
    let sql = concat!(
        "SELECT ",
        columns!(),
        " FROM webhook_deliveries WHERE state = 'waiting' AND next_at <= $1 ORDER BY id LIMIT $2"
    );
    on.query(sql, values![now, limit])
        .await?
        .into_iter()
        .map(read)
        .collect()
}

/// The newest deliveries in any state, newest first.
pub async fn deliveries(on: &impl Read, limit: u32) -> Result<Vec<Delivery>, StoreError> {
    let sql = concat!(
        "SELECT ",
        columns!(),
        " FROM webhook_deliveries ORDER BY id DESC LIMIT $1"
    );
    on.query(sql, values![limit])
        .await?
        .into_iter()
        .map(read)
        .collect()
}

/// One delivery.
pub async fn delivery(on: &impl Read, id: DeliveryId) -> Result<Option<Delivery>, StoreError> {
    let sql = concat!(
        "SELECT ",
        columns!(),
        " FROM webhook_deliveries WHERE id = $1"
    );
    on.query_one(sql, values![id]).await?.map(read).transpose()
}

/// Writes how far a delivery is. `attempts_before` are those that it had when it was read.
///
/// # Errors
/// [`StoreError::Conflict`] if another process has tried it since.
pub async fn put(tx: &Tx, delivery: &Delivery, attempts_before: u32) -> Result<(), StoreError> {
    let count = tx
        .execute(
            "UPDATE webhook_deliveries SET state = $1, attempt_count = $2, next_at = $3, answer = $4, changed_at = $5
             WHERE id = $6 AND attempt_count = $7",
            values![
                delivery.state,
                delivery.attempt_count,
                delivery.next_at,
                delivery.answer,
                delivery.changed_at,
                delivery.id,
                attempts_before
            ],
        )
        .await?;
    touched(count, "webhook delivery", delivery.id)
}

/// Forgets deliveries that are over and were made before `before`.
pub async fn forget(tx: &Tx, before: Timestamp) -> Result<(), StoreError> {
    tx.execute(
        "DELETE FROM webhook_deliveries WHERE state <> 'waiting' AND changed_at < $1",
        values![before],
    )
    .await?;
    Ok(())
}

fn read(row: Row) -> Result<Delivery, StoreError> {
    let mut row = row.of("webhook delivery");
    Ok(Delivery {
        id: row.take()?,
        webhook: row.take()?,
        event: row.take()?,
        body: row.take()?,
        state: row.take()?,
        attempt_count: row.take()?,
        next_at: row.take()?,
        answer: row.take()?,
        created_at: row.take()?,
        changed_at: row.take()?,
    })
}
