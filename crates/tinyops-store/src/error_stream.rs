//! What is remembered of the labelled errors of each cohort and model.

use crate::column::values;
use crate::db::Read;
use crate::{ModelId, StoreError, Timestamp, Tx};

/// One stream's memory.
#[derive(Clone, Debug, PartialEq)]
pub struct ErrorStream {
    /// Of which cohort.
    pub cohort: String,
    /// By which model.
    pub model: ModelId,
    /// The memory, versioned by its owner.
    pub state: Vec<u8>,
    /// When it last took an outcome.
    pub updated_at: Timestamp,
}

/// Writes the memories of some streams.
pub async fn put_many(tx: &Tx, streams: &[ErrorStream]) -> Result<(), StoreError> {
    let rows = streams
        .iter()
        .map(|s| values![s.cohort, s.model, s.state, s.updated_at])
        .collect();
    tx.execute_many(
        "INSERT INTO error_streams (cohort, model_id, state, updated_at) VALUES ($1, $2, $3, $4)
         ON CONFLICT (cohort, model_id) DO UPDATE SET state = excluded.state, updated_at = excluded.updated_at",
        rows,
    )
    .await?;
    Ok(())
}

/// The memory of one stream, if there is one.
pub async fn get(
    on: &impl Read,
    cohort: &str,
    model: ModelId,
) -> Result<Option<ErrorStream>, StoreError> {
    let sql = "SELECT cohort, model_id, state, updated_at FROM error_streams WHERE cohort = $1 AND model_id = $2";
    let row = on.query_one(sql, values![cohort.to_owned(), model]).await?;
    let Some(row) = row else { return Ok(None) };
    let mut row = row.of("error stream");
    Ok(Some(ErrorStream {
        cohort: row.take()?,
        model: row.take()?,
        state: row.take()?,
        updated_at: row.take()?,
    }))
}
