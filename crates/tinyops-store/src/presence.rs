//! What each device last told, and how its stream of reports has been. The hot row of ingest.

use crate::column::{Row, values};
use crate::db::Read;
use crate::{DeviceId, ModelId, StoreError, Timestamp, Tx};

/// The state of one device's stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Presence {
    /// Whose.
    pub device: DeviceId,
    /// The model that its newest report carries.
    pub model: Option<ModelId>,
    /// The highest sequence number accepted.
    pub last_seq: Option<u32>,
    /// When anything authentic last came from it.
    pub last_seen: Option<Timestamp>,
    /// Reports stored.
    pub report_count: i64,
    /// Bytes received from it in accepted envelopes.
    pub byte_count: i64,
    /// Sequence numbers skipped and not come late.
    pub missing_count: i64,
    /// Reports that came again.
    pub duplicate_count: i64,
    /// Envelopes in its name that could not be read or were not tagged by its key.
    pub malformed_count: i64,
}

/// Writes the state of many devices' streams.
pub async fn put_many(tx: &Tx, presences: &[Presence]) -> Result<(), StoreError> {
    let rows = presences
        .iter()
        .map(|p| {
            values![
                p.device,
                p.model,
                p.last_seq,
                p.last_seen,
                p.report_count,
                p.byte_count,
                p.missing_count,
                p.duplicate_count,
                p.malformed_count
            ]
        })
        .collect();
    tx.execute_many(
        "INSERT INTO presences (device, model_id, last_seq, last_seen, report_count, byte_count, missing_count,
                                duplicate_count, malformed_count)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         ON CONFLICT (device) DO UPDATE SET model_id = excluded.model_id, last_seq = excluded.last_seq,
           last_seen = excluded.last_seen, report_count = excluded.report_count, byte_count = excluded.byte_count,
           missing_count = excluded.missing_count, duplicate_count = excluded.duplicate_count,
           malformed_count = excluded.malformed_count",
        rows,
    )
    .await?;
    Ok(())
}

/// One device's, if it ever spoke.
pub async fn get(on: &impl Read, device: DeviceId) -> Result<Option<Presence>, StoreError> {
    let sql =
        "SELECT device, model_id, last_seq, last_seen, report_count, byte_count, missing_count,
                      duplicate_count, malformed_count FROM presences WHERE device = $1";
    on.query_one(sql, values![device])
        .await?
        .map(read)
        .transpose()
}

/// Many devices', in the order asked for; a device that never spoke has the default.
pub async fn get_many(tx: &Tx, devices: &[DeviceId]) -> Result<Vec<Presence>, StoreError> {
    let sql =
        "SELECT device, model_id, last_seq, last_seen, report_count, byte_count, missing_count,
                      duplicate_count, malformed_count FROM presences WHERE device = $1";
    let answers = tx
        .query_many(sql, devices.iter().map(|id| values![*id]).collect())
        .await?;
    let read_or_new = |(rows, device): (Vec<Row>, &DeviceId)| match rows.into_iter().next() {
        Some(row) => read(row),
        None => Ok(Presence {
            device: *device,
            ..Presence::default()
        }),
    };
    answers.into_iter().zip(devices).map(read_or_new).collect()
}

/// All active devices whose newest report carries one model, with their cohorts.
pub async fn running(
    on: &impl Read,
    model: ModelId,
) -> Result<Vec<(DeviceId, String)>, StoreError> {
    let sql = "SELECT d.id, d.cohort FROM devices d JOIN presences p ON p.device = d.id
               WHERE p.model_id = $1 AND d.state = 'active' ORDER BY d.id";
    on.query(sql, values![model])
        .await?
        .into_iter()
        .map(|mut row| Ok((row.take()?, row.take()?)))
        .collect()
}

/// As [`running`], of one device.
pub async fn is_running(
    on: &impl Read,
    model: ModelId,
    device: DeviceId,
) -> Result<Option<(DeviceId, String)>, StoreError> {
    let sql = "SELECT d.id, d.cohort FROM devices d JOIN presences p ON p.device = d.id
               WHERE d.id = $2 AND p.model_id = $1 AND d.state = 'active'";
    let row = on.query_one(sql, values![model, device]).await?;
    row.map(|mut row| Ok((row.take()?, row.take()?)))
        .transpose()
}

/// All devices that ever spoke, newest first.
pub async fn list(on: &impl Read, limit: u32) -> Result<Vec<Presence>, StoreError> {
    let sql = "SELECT device, model_id, last_seq, last_seen, report_count, byte_count, missing_count,
                      duplicate_count, malformed_count FROM presences ORDER BY last_seen DESC LIMIT $1";
    on.query(sql, values![limit])
        .await?
        .into_iter()
        .map(read)
        .collect()
}

/// How many active devices run each model; `None` counts those that never said.
pub async fn by_model(on: &impl Read) -> Result<Vec<(Option<ModelId>, i64)>, StoreError> {
    let sql = "SELECT p.model_id, COUNT(*) FROM devices d LEFT JOIN presences p ON p.device = d.id
               WHERE d.state = 'active' GROUP BY p.model_id ORDER BY p.model_id";
    on.query(sql, vec![])
        .await?
        .into_iter()
        .map(|mut row| Ok((row.take()?, row.take()?)))
        .collect()
}

fn read(row: Row) -> Result<Presence, StoreError> {
    let mut row = row.of("presence");
    Ok(Presence {
        device: row.take()?,
        model: row.take()?,
        last_seq: row.take()?,
        last_seen: row.take()?,
        report_count: row.take()?,
        byte_count: row.take()?,
        missing_count: row.take()?,
        duplicate_count: row.take()?,
        malformed_count: row.take()?,
    })
}
