//! Reports: every accepted frame as it came, once.

use crate::column::{Row, values};
use crate::db::Read;
use crate::{DeviceId, ModelId, StoreError, Timestamp, Tx};

/// One accepted report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// From whom.
    pub device: DeviceId,
    /// Its number in the device's stream.
    pub seq: u32,
    /// The model that made it.
    pub model: ModelId,
    /// When it was stored; the device's own clock is not trusted.
    pub received_at: Timestamp,
    /// The frame inside the envelope.
    pub frame: Vec<u8>,
}

/// Adds reports; says for each whether it was new. A report with the same device and sequence number stays as it is.
pub async fn add_many(tx: &Tx, reports: &[Report]) -> Result<Vec<bool>, StoreError> {
    let rows = reports
        .iter()
        .map(|report| {
            values![
                report.device,
                report.seq,
                report.model,
                report.received_at,
                report.frame
            ]
        })
        .collect();
    let counts = tx
        .execute_many(
            "INSERT INTO reports (device, seq, model_id, received_at, frame) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (device, seq) DO NOTHING",
            rows,
        )
        .await?;
    Ok(counts.into_iter().map(|count| count > 0).collect())
}

/// One report.
pub async fn get(on: &impl Read, device: DeviceId, seq: u32) -> Result<Option<Report>, StoreError> {
    let sql = "SELECT device, seq, model_id, received_at, frame FROM reports WHERE device = $1 AND seq = $2";
    on.query_one(sql, values![device, seq])
        .await?
        .map(read)
        .transpose()
}

/// A device's newest reports, newest first.
pub async fn of_device(
    on: &impl Read,
    device: DeviceId,
    limit: u32,
) -> Result<Vec<Report>, StoreError> {
    let sql = "SELECT device, seq, model_id, received_at, frame FROM reports
               WHERE device = $1 ORDER BY seq DESC LIMIT $2";
    on.query(sql, values![device, limit])
        .await?
        .into_iter()
        .map(read)
        .collect()
}

/// How many reports are stored.
pub async fn count(on: &impl Read) -> Result<i64, StoreError> {
    match on.query_one("SELECT COUNT(*) FROM reports", vec![]).await? {
        Some(mut row) => row.take(),
        None => Ok(0),
    }
}

fn read(row: Row) -> Result<Report, StoreError> {
    let mut row = row.of("report");
    Ok(Report {
        device: row.take()?,
        seq: row.take()?,
        model: row.take()?,
        received_at: row.take()?,
        frame: row.take()?,
    })
}
