//! The audit log: who changed what, in the order it happened. Rows are added and never changed.

use crate::column::{Row, values};
use crate::db::Read;
use crate::{Json, StoreError, Timestamp, Tx};

/// One entry of the log.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Counts up with every entry.
    pub id: i64,
    /// When.
    pub at: Timestamp,
    /// Who: a person, a token's name, or the loop that acted.
    pub actor: String,
    /// What was done: `rollout.start`, `device.revoke`, ….
    pub action: String,
    /// To what.
    pub subject: String,
    /// With which figures, and why.
    pub detail: Json,
}

/// Adds an entry.
pub async fn add(
    tx: &Tx,
    at: Timestamp,
    actor: &str,
    action: &str,
    subject: &str,
    detail: &Json,
) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO audit (at, actor, action, subject, detail) VALUES ($1, $2, $3, $4, $5)",
        values![
            at,
            actor.to_owned(),
            action.to_owned(),
            subject.to_owned(),
            *detail
        ],
    )
    .await?;
    Ok(())
}

/// The newest entries, newest first.
pub async fn list(on: &impl Read, limit: u32) -> Result<Vec<Entry>, StoreError> {
    let sql = "SELECT id, at, actor, action, subject, detail FROM audit ORDER BY id DESC LIMIT $1";
    on.query(sql, values![limit])
        .await?
        .into_iter()
        .map(read)
        .collect()
}

/// The newest entries about one subject, newest first.
pub async fn about(on: &impl Read, subject: &str, limit: u32) -> Result<Vec<Entry>, StoreError> {
    let sql = "SELECT id, at, actor, action, subject, detail FROM audit WHERE subject = $1 ORDER BY id DESC LIMIT $2";
    on.query(sql, values![subject.to_owned(), limit])
        .await?
        .into_iter()
        .map(read)
        .collect()
}

fn read(row: Row) -> Result<Entry, StoreError> {
    let mut row = row.of("audit entry");
    Ok(Entry {
        id: row.take()?,
        at: row.take()?,
        actor: row.take()?,
        action: row.take()?,
        subject: row.take()?,
        detail: row.take()?,
    })
}
