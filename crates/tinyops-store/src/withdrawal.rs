//! Devices whose sums no round asks for, since their owners have withdrawn them.

use crate::column::{Row, values};
use crate::db::Read;
use crate::{DeviceId, StoreError, Timestamp, Tx};

/// One device that is left out of rounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Withdrawal {
    /// Which.
    pub device: DeviceId,
    /// Who said so: a person, or the device itself.
    pub actor: String,
    /// Why.
    pub why: String,
    /// Since when.
    pub at: Timestamp,
}

/// Notes that a device is left out of rounds from now on; whether that is news.
pub async fn add(tx: &Tx, withdrawal: &Withdrawal) -> Result<bool, StoreError> {
    let count = tx
        .execute(
            "INSERT INTO withdrawals (device, actor, why, at) VALUES ($1, $2, $3, $4) ON CONFLICT (device) DO NOTHING",
            values![
                withdrawal.device,
                withdrawal.actor,
                withdrawal.why,
                withdrawal.at
            ],
        )
        .await?;
    Ok(count > 0)
}

/// Lets a device take part in rounds again; whether it had been left out.
pub async fn remove(tx: &Tx, device: DeviceId) -> Result<bool, StoreError> {
    let count = tx
        .execute("DELETE FROM withdrawals WHERE device = $1", values![device])
        .await?;
    Ok(count > 0)
}

/// Whether and since when a device is left out.
pub async fn get(on: &impl Read, device: DeviceId) -> Result<Option<Withdrawal>, StoreError> {
    let sql = "SELECT device, actor, why, at FROM withdrawals WHERE device = $1";
    on.query_one(sql, values![device])
        .await?
        .map(read)
        .transpose()
}

/// All of them, by device.
pub async fn list(on: &impl Read) -> Result<Vec<Withdrawal>, StoreError> {
    let sql = "SELECT device, actor, why, at FROM withdrawals ORDER BY device";
    on.query(sql, vec![]).await?.into_iter().map(read).collect()
}

fn read(row: Row) -> Result<Withdrawal, StoreError> {
    let mut row = row.of("withdrawal");
    Ok(Withdrawal {
        device: row.take()?,
        actor: row.take()?,
        why: row.take()?,
        at: row.take()?,
    })
}
