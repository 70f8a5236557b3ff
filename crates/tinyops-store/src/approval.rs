//! Approvals: who said of a version of a model that it may go out.

use crate::access::Role;
use crate::column::{Row, values};
use crate::db::Read;
use crate::{StoreError, Timestamp, Tx};

/// One person's word for one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approval {
    /// The model's name.
    pub model: String,
    /// Its version.
    pub version: u32,
    /// Who.
    pub actor: String,
    /// As what.
    pub role: Role,
    /// Why.
    pub why: String,
    /// When.
    pub at: Timestamp,
}

/// Keeps an approval; the same person's later word takes the place of the earlier one.
pub async fn put(tx: &Tx, approval: &Approval) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO model_approvals (model, version, actor, role, why, at) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (model, version, actor) DO UPDATE SET role = excluded.role, why = excluded.why, at = excluded.at",
        values![
            approval.model,
            approval.version,
            approval.actor,
            approval.role,
            approval.why,
            approval.at
        ],
    )
    .await?;
    Ok(())
}

/// The approvals of one version, in the order in which they came.
pub async fn of(on: &impl Read, model: &str, version: u32) -> Result<Vec<Approval>, StoreError> {
    let sql = "SELECT model, version, actor, role, why, at FROM model_approvals
               WHERE model = $1 AND version = $2 ORDER BY at, actor";
    let rows = on.query(sql, values![model.to_owned(), version]).await?;
    rows.into_iter().map(read).collect()
}

fn read(row: Row) -> Result<Approval, StoreError> {
    let mut row = row.of("approval");
    Ok(Approval {
        model: row.take()?,
        version: row.take()?,
        actor: row.take()?,
        role: row.take()?,
        why: row.take()?,
        at: row.take()?,
    })
}
