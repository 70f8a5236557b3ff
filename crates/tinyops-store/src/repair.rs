//! Repairs: what the loop does about a drift, rung by rung, from the alert to the verdict.

use crate::column::{Row, row_id, values};
use crate::db::{Query as _, Read, touched};
use crate::{Json, ModelId, StoreError, Timestamp, Tx};

row_id! {
    /// The number of a repair.
    RepairId
}

/// One repair, open or over.
#[derive(Clone, Debug, PartialEq)]
pub struct Repair {
    /// Its number.
    pub id: RepairId,
    /// The model family that it is of: at most one of a family is open.
    pub name: String,
    /// The capsule that drifted.
    pub model: ModelId,
    /// Whether it goes on.
    pub is_open: bool,
    /// Where it stands, what was tried, and each step in words.
    pub state: Json,
    /// When it began.
    pub opened_at: Timestamp,
    /// When it last changed.
    pub changed_at: Timestamp,
    /// Counts the changes to this row.
    pub revision: i64,
}

macro_rules! columns {
    () => {
        "id, name, model_id, is_open, state, opened_at, changed_at, revision"
    };
}

/// Opens a repair and numbers it.
pub async fn add(
    tx: &Tx,
    name: &str,
    model: ModelId,
    state: &Json,
    now: Timestamp,
) -> Result<Repair, StoreError> {
    let sql = concat!(
        "INSERT INTO repairs (name, model_id, is_open, state, opened_at, changed_at, revision)
         VALUES ($1, $2, 1, $3, $4, $4, 0) RETURNING ",
        columns!()
    );
    let row = values![name.to_owned(), model, state.clone(), now];
    let row = tx.query_one(sql, row).await?;
    row.map(read).transpose()?.ok_or(StoreError::Closed)
}

/// Changes where a repair stands.
///
/// # Errors
/// [`StoreError::Conflict`] if another writer changed it since `repair` was read.
pub async fn put(tx: &Tx, repair: &mut Repair) -> Result<(), StoreError> {
    let count = tx
        .execute(
            "UPDATE repairs SET is_open = $1, state = $2, changed_at = $3, revision = revision + 1
             WHERE id = $4 AND revision = $5",
            values![
                repair.is_open,
                repair.state,
                repair.changed_at,
                repair.id,
                repair.revision
            ],
        )
        .await?;
    touched(count, "repair", repair.id)?;
    repair.revision += 1;
    Ok(())
}

/// One repair.
pub async fn get(on: &impl Read, id: RepairId) -> Result<Option<Repair>, StoreError> {
    let sql = concat!("SELECT ", columns!(), " FROM repairs WHERE id = $1");
    on.query_one(sql, values![id]).await?.map(read).transpose()
}

/// Repairs that go on, oldest first.
pub async fn open(on: &impl Read) -> Result<Vec<Repair>, StoreError> {
    // Spelt as the index is, so that it is used.
    let sql = concat!(
        "SELECT ",
        columns!(),
        " FROM repairs WHERE is_open = 1 ORDER BY id"
    );
    on.query(sql, vec![]).await?.into_iter().map(read).collect()
}

/// Repairs of a model family that began since `since`, newest first.
pub async fn since(
    on: &impl Read,
    name: &str,
    since: Timestamp,
) -> Result<Vec<Repair>, StoreError> {
    let sql = concat!(
        "SELECT ",
        columns!(),
        " FROM repairs WHERE name = $1 AND opened_at >= $2 ORDER BY id DESC"
    );
    let rows = on.query(sql, values![name.to_owned(), since]).await?;
    rows.into_iter().map(read).collect()
}

/// The newest repairs, newest first.
pub async fn list(on: &impl Read, limit: u32) -> Result<Vec<Repair>, StoreError> {
    let sql = concat!(
        "SELECT ",
        columns!(),
        " FROM repairs ORDER BY id DESC LIMIT $1"
    );
    let rows = on.query(sql, values![limit]).await?;
    rows.into_iter().map(read).collect()
}

fn read(row: Row) -> Result<Repair, StoreError> {
    let mut row = row.of("repair");
    Ok(Repair {
        id: row.take()?,
        name: row.take()?,
        model: row.take()?,
        is_open: row.take()?,
        state: row.take()?,
        opened_at: row.take()?,
        changed_at: row.take()?,
        revision: row.take()?,
    })
}
