//! Schedules of projects, and up to when each has been answered.

use crate::column::values;
use crate::db::{Read, touched};
use crate::{StoreError, Timestamp, Tx};

/// The schedule of a project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// Whose.
    pub project: String,
    /// Its words: another schedule begins anew.
    pub expression: String,
    /// Its moments up to this one have been answered.
    pub answered_to: Timestamp,
    /// Counts the changes to this row; 0 of one that is not kept yet.
    pub revision: i64,
}

/// The schedule of a project, if it ever had one.
pub async fn get(on: &impl Read, project: &str) -> Result<Option<Schedule>, StoreError> {
    let sql = "SELECT project, expression, answered_to, revision FROM schedules WHERE project = $1";
    let Some(row) = on.query_one(sql, values![project.to_owned()]).await? else {
        return Ok(None);
    };
    let mut row = row.of("schedule");
    Ok(Some(Schedule {
        project: row.take()?,
        expression: row.take()?,
        answered_to: row.take()?,
        revision: row.take()?,
    }))
}

/// Keeps a schedule.
///
/// # Errors
/// [`StoreError::Conflict`] if another writer kept one since `schedule` was read.
pub async fn put(tx: &Tx, schedule: &mut Schedule) -> Result<(), StoreError> {
    let kept = values![
        schedule.project,
        schedule.expression,
        schedule.answered_to,
        schedule.revision
    ];
    let sql = match schedule.revision {
        0 => {
            "INSERT INTO schedules (project, expression, answered_to, revision) VALUES ($1, $2, $3, $4 + 1)
             ON CONFLICT (project) DO NOTHING"
        }
        _ => {
            "UPDATE schedules SET expression = $2, answered_to = $3, revision = revision + 1
             WHERE project = $1 AND revision = $4"
        }
    };
    let count = tx.execute(sql, kept).await?;
    touched(count, "schedule", &schedule.project)?;
    schedule.revision += 1;
    Ok(())
}
