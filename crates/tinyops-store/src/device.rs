//! Devices: who may speak to us, with which key, on which board, in which cohort.

use crate::column::{Column, Row, Value, row_id, values, words};
use crate::db::{Read, touched};
use crate::{DeviceId, DeviceKey, StoreError, Timestamp, Tx};

row_id! {
    /// Where a page of devices begins: pass the last one's to get the next page.
    DevicePage
}

words! {
    /// Whether a device may speak to us.
    DeviceState {
        /// It may.
        Active = "active",
        /// Its key is not accepted any more.
        Revoked = "revoked",
    }
}

impl Column for DeviceKey {
    fn put(&self) -> Value {
        self.0.put()
    }
    fn take(value: Value) -> Option<DeviceKey> {
        Column::take(value).map(DeviceKey)
    }
}

/// One registered device. What it last told is its [`crate::presence`].
#[derive(Clone, Debug, PartialEq)]
pub struct Device {
    /// Its id, for life.
    pub id: DeviceId,
    /// What its envelopes are tagged with.
    pub key: DeviceKey,
    /// Its board, as `tinyops boards` names it.
    pub board: String,
    /// The group that it is compared with and rolled out with.
    pub cohort: String,
    /// Further words to choose devices by.
    pub tags: Vec<String>,
    /// Whether it may speak.
    pub state: DeviceState,
    /// When it was enrolled.
    pub enrolled_at: Timestamp,
    /// Counts the changes to this row.
    pub revision: i64,
}

/// Adds a device.
///
/// # Errors
/// [`StoreError::Exists`] if the id is taken.
pub async fn add(tx: &Tx, device: &Device) -> Result<(), StoreError> {
    let count = tx
        .execute(
            "INSERT INTO devices (id, device_key, board, cohort, tags, state, enrolled_at, revision)
             VALUES ($1, $2, $3, $4, $5, $6, $7, 0) ON CONFLICT (id) DO NOTHING",
            values![
                device.id, device.key, device.board, device.cohort, device.tags, device.state, device.enrolled_at
            ],
        )
        .await?;
    match count {
        0 => Err(StoreError::Exists {
            entity: "device",
            key: device.id.to_string(),
        }),
        _ => Ok(()),
    }
}

/// Two numbers that change when a device is added or changed.
pub async fn fingerprint(on: &impl Read) -> Result<(i64, i64), StoreError> {
    let sql = "SELECT COUNT(*), CAST(COALESCE(SUM(revision), 0) AS BIGINT) FROM devices";
    match on.query_one(sql, values![]).await? {
        Some(mut row) => Ok((row.take()?, row.take()?)),
        None => Ok((0, 0)),
    }
}

/// Changes the key, cohort, tags and state of a device.
///
/// # Errors
/// [`StoreError::Conflict`] if another writer changed it since `device` was read.
pub async fn put(tx: &Tx, device: &mut Device) -> Result<(), StoreError> {
    let count = tx
        .execute(
            "UPDATE devices SET device_key = $1, board = $2, cohort = $3, tags = $4, state = $5, revision = revision + 1
             WHERE id = $6 AND revision = $7",
            values![
                device.key, device.board, device.cohort, device.tags, device.state, device.id, device.revision
            ],
        )
        .await?;
    touched(count, "device", device.id)?;
    device.revision += 1;
    Ok(())
}

/// One device.
pub async fn get(on: &impl Read, id: DeviceId) -> Result<Option<Device>, StoreError> {
    let sql = "SELECT id, device_key, board, cohort, tags, state, enrolled_at, revision FROM devices WHERE id = $1";
    on.query_one(sql, values![id]).await?.map(read).transpose()
}

/// Many devices by id, in the order asked for; `None` for those that are not registered.
pub async fn get_many(tx: &Tx, ids: &[DeviceId]) -> Result<Vec<Option<Device>>, StoreError> {
    let sql = "SELECT id, device_key, board, cohort, tags, state, enrolled_at, revision FROM devices WHERE id = $1";
    let answers = tx
        .query_many(sql, ids.iter().map(|id| values![*id]).collect())
        .await?;
    answers
        .into_iter()
        .map(|rows| rows.into_iter().next().map(read).transpose())
        .collect()
}

/// Up to `limit` devices in the order of their ids (as signed numbers), after `page`.
pub async fn list(
    on: &impl Read,
    page: Option<DevicePage>,
    limit: u32,
) -> Result<Vec<Device>, StoreError> {
    let sql =
        "SELECT id, device_key, board, cohort, tags, state, enrolled_at, revision FROM devices
               WHERE id > $1 ORDER BY id LIMIT $2";
    let after = page.unwrap_or(DevicePage(i64::MIN));
    on.query(sql, values![after, limit])
        .await?
        .into_iter()
        .map(read)
        .collect()
}

/// The active devices of a cohort.
pub async fn in_cohort(on: &impl Read, cohort: &str) -> Result<Vec<Device>, StoreError> {
    let sql =
        "SELECT id, device_key, board, cohort, tags, state, enrolled_at, revision FROM devices
               WHERE cohort = $1 AND state = 'active' ORDER BY id";
    on.query(sql, values![cohort.to_owned()])
        .await?
        .into_iter()
        .map(read)
        .collect()
}

/// The cohorts and how many active devices each has.
pub async fn cohorts(on: &impl Read) -> Result<Vec<(String, i64)>, StoreError> {
    let sql = "SELECT cohort, COUNT(*) FROM devices WHERE state = 'active' GROUP BY cohort ORDER BY cohort";
    on.query(sql, vec![])
        .await?
        .into_iter()
        .map(|mut row| Ok((row.take()?, row.take()?)))
        .collect()
}

/// The devices that may not speak any more.
pub async fn revoked(on: &impl Read) -> Result<Vec<DeviceId>, StoreError> {
    let sql = "SELECT id FROM devices WHERE state = 'revoked'";
    on.query(sql, vec![])
        .await?
        .into_iter()
        .map(|mut row| row.take())
        .collect()
}

/// How many devices are registered, whatever their state.
pub async fn count(on: &impl Read) -> Result<i64, StoreError> {
    match on.query_one("SELECT COUNT(*) FROM devices", vec![]).await? {
        Some(mut row) => row.take(),
        None => Ok(0),
    }
}

impl DevicePage {
    /// The page that begins after `device`.
    pub fn after(device: &Device) -> DevicePage {
        DevicePage(i64::from_ne_bytes(device.id.0.to_ne_bytes()))
    }
}

fn read(row: Row) -> Result<Device, StoreError> {
    let mut row = row.of("device");
    Ok(Device {
        id: row.take()?,
        key: row.take()?,
        board: row.take()?,
        cohort: row.take()?,
        tags: row.take()?,
        state: row.take()?,
        enrolled_at: row.take()?,
        revision: row.take()?,
    })
}
