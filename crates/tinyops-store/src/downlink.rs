//! The numbers of messages down to devices: each is used once, even after a crash.

use crate::column::values;
use crate::{DeviceId, StoreError, Tx};

/// Takes the next `count` numbers for each device; returns the first of each.
pub async fn reserve_many(tx: &Tx, wanted: &[(DeviceId, u32)]) -> Result<Vec<u32>, StoreError> {
    let sql = "INSERT INTO downlinks (device, last_seq) VALUES ($1, $2)
               ON CONFLICT (device) DO UPDATE SET last_seq = downlinks.last_seq + excluded.last_seq
               RETURNING last_seq";
    let rows = wanted
        .iter()
        .map(|(device, count)| values![*device, *count])
        .collect();
    let answers = tx.query_many(sql, rows).await?;
    let first = |(rows, (_, count)): (Vec<crate::column::Row>, &(DeviceId, u32))| {
        let mut row = rows.into_iter().next().ok_or(StoreError::Closed)?;
        let last: u32 = row.take()?;
        Ok(last - count + 1)
    };
    answers.into_iter().zip(wanted).map(first).collect()
}
