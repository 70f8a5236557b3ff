//! Sums of the masked statistics of a round: one row per round and width, whatever the number of devices.

use crate::column::{Row, values};
use crate::db::Read;
use crate::round::RoundId;
use crate::{StoreError, Tx};

/// What the masked statistics of the devices of a round come to so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaskedUpdate {
    /// Of which round.
    pub round: RoundId,
    /// Width of the embeddings.
    pub width: u32,
    /// How many devices are in it.
    pub device_count: u32,
    /// The sums in the task's ring, u32 each, least byte first.
    pub numbers: Vec<u8>,
}

/// The sums of a round, by width.
pub async fn of_round(on: &impl Read, round: RoundId) -> Result<Vec<MaskedUpdate>, StoreError> {
    let sql = "SELECT round_id, width, device_count, numbers FROM masked_updates WHERE round_id = $1 ORDER BY width";
    on.query(sql, values![round])
        .await?
        .into_iter()
        .map(read)
        .collect()
}

/// Writes a sum.
pub async fn put(tx: &Tx, update: &MaskedUpdate) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO masked_updates (round_id, width, device_count, numbers) VALUES ($1, $2, $3, $4)
         ON CONFLICT (round_id, width) DO UPDATE SET device_count = excluded.device_count, numbers = excluded.numbers",
        values![update.round, update.width, update.device_count, update.numbers],
    )
    .await?;
    Ok(())
}

/// Forgets the sums of a round, as is due when it is over.
pub async fn forget(tx: &Tx, round: RoundId) -> Result<(), StoreError> {
    tx.execute(
        "DELETE FROM masked_updates WHERE round_id = $1",
        values![round],
    )
    .await?;
    Ok(())
}

/// Forgets the sum of one width of a round.
pub async fn forget_width(tx: &Tx, round: RoundId, width: u32) -> Result<(), StoreError> {
    tx.execute(
        "DELETE FROM masked_updates WHERE round_id = $1 AND width = $2",
        values![round, width],
    )
    .await?;
    Ok(())
}

fn read(row: Row) -> Result<MaskedUpdate, StoreError> {
    let mut row = row.of("masked update");
    Ok(MaskedUpdate {
        round: row.take()?,
        width: row.take()?,
        device_count: row.take()?,
        numbers: row.take()?,
    })
}
