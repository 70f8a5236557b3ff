//! The intake log: groups of envelopes that are acknowledged and not folded into the other tables yet.
//!
//! One row holds a group, so that what makes it durable costs the same for one envelope and for a thousand. Who
//! folds a group removes it in the same transaction: each is folded once, whoever does it.

use crate::column::{Row, row_id, values};
use crate::db::{Query as _, Read};
use crate::{StoreError, Timestamp, Tx};

row_id! {
    /// The number of a group; none is given twice.
    GroupId
}

/// A group that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its number.
    pub id: GroupId,
    /// When it came.
    pub at: Timestamp,
    /// Its envelopes, in a format of their owner.
    pub entries: Vec<u8>,
}

/// Appends a group; answers with its number.
pub async fn append(tx: &Tx, at: Timestamp, entries: &[u8]) -> Result<GroupId, StoreError> {
    let sql = "INSERT INTO intake_log (at, entries) VALUES ($1, $2) RETURNING id";
    let row = tx.query_one(sql, values![at, entries.to_vec()]).await?;
    row.ok_or(StoreError::Closed)?.take()
}

/// The groups that wait, oldest first.
pub async fn list(on: &impl Read) -> Result<Vec<Group>, StoreError> {
    let sql = "SELECT id, at, entries FROM intake_log ORDER BY id";
    on.query(sql, vec![]).await?.into_iter().map(read).collect()
}

/// Removes groups; says for each whether it was still there.
pub async fn remove_many(tx: &Tx, ids: &[GroupId]) -> Result<Vec<bool>, StoreError> {
    let rows = ids.iter().map(|id| values![*id]).collect();
    let counts = tx
        .execute_many("DELETE FROM intake_log WHERE id = $1", rows)
        .await?;
    Ok(counts.into_iter().map(|count| count > 0).collect())
}

fn read(row: Row) -> Result<Group, StoreError> {
    let mut row = row.of("group of the intake log");
    Ok(Group {
        id: row.take()?,
        at: row.take()?,
        entries: row.take()?,
    })
}
