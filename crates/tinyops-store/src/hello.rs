//! What each device said of itself when it last booted: what it holds, and what it understands.

use crate::column::{Row, values};
use crate::db::Read;
use crate::{DeviceId, StoreError, Timestamp, Tx};

/// One device's last hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Whose.
    pub device: DeviceId,
    /// Its boots so far.
    pub boot_count: u32,
    /// Its arena for a model.
    pub arena_bytes: u32,
    /// Its room for a capsule.
    pub slot_bytes: u32,
    /// The sequence number of the key set that it holds; `None` for a device of before key sets.
    pub key_set: Option<u32>,
    /// What it understands, as bits of the wire format.
    pub features: u32,
    /// When it said so.
    pub at: Timestamp,
}

/// Writes what devices said.
pub async fn put_many(tx: &Tx, hellos: &[Hello]) -> Result<(), StoreError> {
    let rows = hellos
        .iter()
        .map(|h| {
            values![
                h.device,
                h.boot_count,
                h.arena_bytes,
                h.slot_bytes,
                h.key_set,
                h.features,
                h.at
            ]
        })
        .collect();
    tx.execute_many(
        "INSERT INTO hellos (device, boot_count, arena_bytes, slot_bytes, key_set, features, at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (device) DO UPDATE SET boot_count = excluded.boot_count, arena_bytes = excluded.arena_bytes,
           slot_bytes = excluded.slot_bytes, key_set = excluded.key_set, features = excluded.features, at = excluded.at",
        rows,
    )
    .await?;
    Ok(())
}

/// Notes the key set that a device holds since its last hello.
pub async fn put_key_set(tx: &Tx, device: DeviceId, key_set: u32) -> Result<(), StoreError> {
    let sql = "UPDATE hellos SET key_set = $2 WHERE device = $1";
    tx.execute(sql, values![device, key_set]).await?;
    Ok(())
}

/// One device's last hello, if it ever said one.
pub async fn get(on: &impl Read, device: DeviceId) -> Result<Option<Hello>, StoreError> {
    let sql = "SELECT device, boot_count, arena_bytes, slot_bytes, key_set, features, at
               FROM hellos WHERE device = $1";
    on.query_one(sql, values![device])
        .await?
        .map(read)
        .transpose()
}

/// The last hellos of those of many devices that ever said one.
pub async fn get_many(tx: &Tx, devices: &[DeviceId]) -> Result<Vec<Hello>, StoreError> {
    let sql = "SELECT device, boot_count, arena_bytes, slot_bytes, key_set, features, at
               FROM hellos WHERE device = $1";
    let answers = tx
        .query_many(sql, devices.iter().map(|id| values![*id]).collect())
        .await?;
    answers.into_iter().flatten().map(read).collect()
}

/// The devices that hold an older key set than the one with this sequence number: one device if it does, or all.
pub async fn behind(
    on: &impl Read,
    key_set: u32,
    device: Option<DeviceId>,
) -> Result<Vec<DeviceId>, StoreError> {
    let rows = match device {
        Some(device) => on.query(
            "SELECT device FROM hellos WHERE key_set < $1 AND device = $2",
            values![key_set, device],
        ),
        None => on.query(
            "SELECT device FROM hellos WHERE key_set < $1 ORDER BY device",
            values![key_set],
        ),
    };
    rows.await?.into_iter().map(|mut row| row.take()).collect()
}

/// The devices whose features have a bit.
pub async fn having(on: &impl Read, feature: u16) -> Result<Vec<DeviceId>, StoreError> {
    let sql = "SELECT device FROM hellos WHERE (features / $1) % 2 = 1 ORDER BY device";
    on.query(sql, values![u32::from(feature)])
        .await?
        .into_iter()
        .map(|mut row| row.take())
        .collect()
}

/// How many devices hold each key set; `None` counts those of before key sets.
pub async fn by_key_set(on: &impl Read) -> Result<Vec<(Option<u32>, i64)>, StoreError> {
    let sql = "SELECT key_set, COUNT(*) FROM hellos GROUP BY key_set ORDER BY key_set";
    on.query(sql, vec![])
        .await?
        .into_iter()
        .map(|mut row| Ok((row.take()?, row.take()?)))
        .collect()
}

fn read(row: Row) -> Result<Hello, StoreError> {
    let mut row = row.of("hello");
    Ok(Hello {
        device: row.take()?,
        boot_count: row.take()?,
        arena_bytes: row.take()?,
        slot_bytes: row.take()?,
        key_set: row.take()?,
        features: row.take()?,
        at: row.take()?,
    })
}
