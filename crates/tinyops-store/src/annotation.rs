//! Orders for windows that devices choose for an annotator, and the sealed parcels that come of them.

use crate::column::{Row, row_id, values, words};
use crate::db::{Query as _, Read};
use crate::{DeviceId, Digest, ModelId, StoreError, Timestamp, Tx};

row_id! {
    /// The number of an order, which the device says with whatever follows from it.
    AnnotationId
}

words! {
    /// Where an order stands.
    AnnotationState {
        /// The device has not said anything to it.
        Asked = "asked",
        /// It looks for windows.
        Collecting = "collecting",
        /// They are sealed, and their parcel comes part by part.
        Ready = "ready",
        /// The parcel is here.
        Whole = "whole",
        /// There will be none.
        Refused = "refused",
        /// The device's owner has taken the consent back, and what was here is deleted.
        Withdrawn = "withdrawn",
    }
}

/// An order as it is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewAnnotation {
    /// Who is asked.
    pub device: DeviceId,
    /// The model that it ran: one that runs another is not asked.
    pub model: ModelId,
    /// The public key that windows are to be sealed for.
    pub annotator: [u8; 32],
    /// How many windows at most.
    pub count: u32,
    /// Out of how many.
    pub windows: u32,
    /// From here on it is not told any more.
    pub expires_at: Timestamp,
}

/// An order, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Annotation {
    /// Its number.
    pub id: AnnotationId,
    /// What is asked for.
    pub asked: NewAnnotation,
    /// Where it stands.
    pub state: AnnotationState,
    /// Why it was refused, by the device's word; empty if it was not.
    pub reason: String,
    /// How many windows there will be at most, or are.
    pub chosen: u32,
    /// How many more the device would let go in its month, as it said last.
    pub quota_left: Option<u32>,
    /// Bytes of the parcel, once that is known.
    pub bytes: u32,
    /// The sealed parcel among the artifacts.
    pub parcel: Option<Digest>,
    /// When it was made.
    pub made_at: Timestamp,
    /// When something was last heard of it.
    pub changed_at: Timestamp,
}

macro_rules! columns {
    () => {
        "id, device, model_id, annotator, count, windows, expires_at, state, reason, chosen, quota_left, bytes, parcel,
         made_at, changed_at"
    };
}

/// Adds an order.
pub async fn add(tx: &Tx, asked: &NewAnnotation, now: Timestamp) -> Result<Annotation, StoreError> {
    let sql = concat!(
        "INSERT INTO annotations (device, model_id, annotator, count, windows, expires_at, state, reason, chosen, bytes,
           made_at, changed_at) VALUES ($1, $2, $3, $4, $5, $6, 'asked', '', 0, 0, $7, $7) RETURNING ",
        columns!()
    );
    let row = values![
        asked.device,
        asked.model,
        asked.annotator,
        asked.count,
        asked.windows,
        asked.expires_at,
        now
    ];
    let row = tx.query_one(sql, row).await?;
    read(row.ok_or(StoreError::Closed)?)
}

/// One order.
pub async fn get(on: &impl Read, id: AnnotationId) -> Result<Option<Annotation>, StoreError> {
    let sql = concat!("SELECT ", columns!(), " FROM annotations WHERE id = $1");
    on.query_one(sql, values![id]).await?.map(read).transpose()
}

/// The newest orders, newest first.
pub async fn list(on: &impl Read, limit: u32) -> Result<Vec<Annotation>, StoreError> {
    let sql = concat!(
        "SELECT ",
        columns!(),
        " FROM annotations ORDER BY id DESC LIMIT $1"
    );
    let rows = on.query(sql, values![limit]).await?;
    rows.into_iter().map(read).collect()
}

/// The orders of these numbers, from the first to the last.
pub async fn between(on: &impl Read, first: i64, last: i64) -> Result<Vec<Annotation>, StoreError> {
    let sql = concat!(
        "SELECT ",
        columns!(),
        " FROM annotations WHERE id >= $1 AND id <= $2 ORDER BY id"
    );
    let rows = on.query(sql, values![first, last]).await?;
    rows.into_iter().map(read).collect()
}

/// The orders that devices may be told something of, oldest first: of one device, or all. One that is to be looked for
/// takes the model that it was asked of; a parcel that is ready may be asked for whatever its device runs, which says
/// if it has it no more.
pub async fn open(
    on: &impl Read,
    device: Option<DeviceId>,
    now: Timestamp,
) -> Result<Vec<Annotation>, StoreError> {
    // Spelt as the index is, so that it is used.
    let rows = match device {
        Some(device) => {
            let sql = concat!(
                "SELECT ",
                columns!(),
                " FROM annotations a WHERE state IN ('asked', 'collecting', 'ready') AND (state = 'ready'
                   OR expires_at > $1 AND model_id = (SELECT p.model_id FROM presences p WHERE p.device = a.device))
                 AND device = $2 ORDER BY id"
            );
            on.query(sql, values![now, device]).await?
        }
        None => {
            let sql = concat!(
                "SELECT ",
                columns!(),
                " FROM annotations a WHERE state IN ('asked', 'collecting', 'ready') AND (state = 'ready'
                   OR expires_at > $1 AND model_id = (SELECT p.model_id FROM presences p WHERE p.device = a.device))
                 ORDER BY id"
            );
            on.query(sql, values![now]).await?
        }
    };
    rows.into_iter().map(read).collect()
}

/// The orders for a device.
pub async fn of_device(on: &impl Read, device: DeviceId) -> Result<Vec<Annotation>, StoreError> {
    let sql = concat!(
        "SELECT ",
        columns!(),
        " FROM annotations WHERE device = $1 ORDER BY id"
    );
    let rows = on.query(sql, values![device]).await?;
    rows.into_iter().map(read).collect()
}

/// Writes what has become of an order.
pub async fn put(tx: &Tx, annotation: &Annotation) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE annotations SET state = $2, reason = $3, chosen = $4, quota_left = $5, bytes = $6, parcel = $7,
           changed_at = $8 WHERE id = $1",
        values![
            annotation.id,
            annotation.state,
            annotation.reason,
            annotation.chosen,
            annotation.quota_left,
            annotation.bytes,
            annotation.parcel,
            annotation.changed_at
        ],
    )
    .await?;
    Ok(())
}

/// Lets devices that have booted be asked again for what they looked for, which a reset has ended.
pub async fn ask_again(tx: &Tx, devices: &[DeviceId]) -> Result<(), StoreError> {
    let rows = devices.iter().map(|device| values![*device]).collect();
    tx.execute_many(
        "UPDATE annotations SET state = 'asked' WHERE device = $1 AND state = 'collecting'
           AND state IN ('asked', 'collecting', 'ready')",
        rows,
    )
    .await?;
    Ok(())
}

/// Keeps bytes of a parcel of `total`, as far as what is here already, unless the first of them is here; whether any were
/// kept.
///
/// No byte is kept twice, however parts overlap, and none as fewer than `least` at a time unless they fill the gap or end
/// the parcel: what is kept of a parcel is bounded by its bytes, and by how many parts of `least` they make.
pub async fn put_part(
    tx: &Tx,
    id: AnnotationId,
    first_byte: u32,
    bytes: &[u8],
    (least, total): (usize, u32),
) -> Result<bool, StoreError> {
    let first = i64::from(first_byte);
    let before = tx
        .query_one(
            "SELECT first_byte + LENGTH(bytes) FROM annotation_parts
             WHERE annotation_id = $1 AND first_byte <= $2 ORDER BY first_byte DESC LIMIT 1",
            values![id, first],
        )
        .await?;
    let covered: i64 = match before {
        Some(mut row) => row.take()?,
        None => 0,
    };
    if covered > first {
        return Ok(false);
    }
    let after = tx
        .query_one(
            "SELECT first_byte FROM annotation_parts
             WHERE annotation_id = $1 AND first_byte > $2 ORDER BY first_byte LIMIT 1",
            values![id, first],
        )
        .await?;
    let until: i64 = match after {
        Some(mut row) => row.take()?,
        None => total.into(),
    };
    let end = until.min(first + bytes.len() as i64);
    let fills = first == covered && end == until;
    if end <= first || (end - first < least as i64 && !fills && end != i64::from(total)) {
        return Ok(false);
    }
    let kept = &bytes[..(end - first) as usize];
    tx.execute(
        "INSERT INTO annotation_parts (annotation_id, first_byte, bytes) VALUES ($1, $2, $3)",
        values![id, first, kept.to_vec()],
    )
    .await?;
    Ok(true)
}

/// What has come of a parcel, by where it belongs.
pub async fn parts(on: &impl Read, id: AnnotationId) -> Result<Vec<(u32, Vec<u8>)>, StoreError> {
    let sql = "SELECT first_byte, bytes FROM annotation_parts WHERE annotation_id = $1 ORDER BY first_byte";
    let rows = on.query(sql, values![id]).await?;
    rows.into_iter()
        .map(|mut row| Ok((row.take()?, row.take()?)))
        .collect()
}

/// Where the bytes that have come of a parcel begin, and how many they are, by where they belong.
pub async fn spans(on: &impl Read, id: AnnotationId) -> Result<Vec<(u32, u32)>, StoreError> {
    let sql = "SELECT first_byte, LENGTH(bytes) FROM annotation_parts WHERE annotation_id = $1 ORDER BY first_byte";
    let rows = on.query(sql, values![id]).await?;
    rows.into_iter()
        .map(|mut row| Ok((row.take()?, row.take()?)))
        .collect()
}

/// Forgets the parts of a parcel.
pub async fn forget_parts(tx: &Tx, id: AnnotationId) -> Result<(), StoreError> {
    tx.execute(
        "DELETE FROM annotation_parts WHERE annotation_id = $1",
        values![id],
    )
    .await?;
    Ok(())
}

fn read(row: Row) -> Result<Annotation, StoreError> {
    let mut row = row.of("annotation");
    Ok(Annotation {
        id: row.take()?,
        asked: NewAnnotation {
            device: row.take()?,
            model: row.take()?,
            annotator: row.take()?,
            count: row.take()?,
            windows: row.take()?,
            expires_at: row.take()?,
        },
        state: row.take()?,
        reason: row.take()?,
        chosen: row.take()?,
        quota_left: row.take()?,
        bytes: row.take()?,
        parcel: row.take()?,
        made_at: row.take()?,
        changed_at: row.take()?,
    })
}
