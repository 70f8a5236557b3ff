//! Recordings that came over the network: what came when, from whom, and where it lies.

use crate::column::{Row, row_id, values, words};
use crate::db::{Query as _, Read, touched};
use crate::{DeviceId, Digest, Json, StoreError, Timestamp, Tx};

row_id! {
    /// The number of an upload.
    UploadId
}

words! {
    /// What a recording is for, as whoever sends it says.
    Category {
        /// It trains, or validates.
        Training = "training",
        /// It tests.
        Testing = "testing",
        /// It shows what a model of the normal has not seen, and tests.
        Anomaly = "anomaly",
    }
}

/// An upload before it is numbered.
#[derive(Clone, Debug, PartialEq)]
pub struct NewUpload {
    /// The project that it came to; none in a row of before several could be told apart.
    pub project: Option<String>,
    /// Who sent it, as the audit log calls them.
    pub actor: String,
    /// What it is for.
    pub category: Category,
    /// Where it lies, from the root of the source that takes uploads.
    pub path: String,
    /// The digest of its bytes as they came.
    pub digest: Digest,
    /// How many they are.
    pub bytes: u64,
    /// Its label, if it has one.
    pub label: Option<String>,
    /// The device that it says it is of.
    pub device: Option<String>,
    /// The kind of that device.
    pub device_type: Option<String>,
    /// Whether its signature was checked, and fits.
    pub is_signed: bool,
    /// What else its sender says of it: texts by name.
    pub metadata: Json,
    /// What it may be used for, if somebody was asked.
    pub purpose: Option<String>,
    /// Until when, if the consent ends.
    pub consent_until: Option<Timestamp>,
}

/// One upload.
#[derive(Clone, Debug, PartialEq)]
pub struct Upload {
    /// Its number.
    pub id: UploadId,
    /// When it came.
    pub received_at: Timestamp,
    /// What came.
    pub new: NewUpload,
    /// When its bytes were erased, if they were.
    pub erased_at: Option<Timestamp>,
}

/// A device that uploads name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// What it calls itself.
    pub device: String,
    /// Its kind, as it said last.
    pub device_type: Option<String>,
    /// How many recordings of it are here.
    pub count: i64,
    /// When the newest came.
    pub last_at: Timestamp,
}

macro_rules! columns {
    () => {
        "id, received_at, project, actor, category, path, digest, bytes, label, device, device_type, is_signed, metadata,
         purpose, consent_until, erased_at"
    };
}

/// Those of a project, which is the first parameter, and those of which nobody knows.
macro_rules! of_project {
    () => {
        "(project = $1 OR project IS NULL)"
    };
}

/// Adds an upload and numbers it.
pub async fn add(tx: &Tx, new: &NewUpload, now: Timestamp) -> Result<Upload, StoreError> {
    let sql = concat!(
        "INSERT INTO uploads (received_at, project, actor, category, path, digest, bytes, label, device, device_type,
           is_signed, metadata, purpose, consent_until)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) RETURNING ",
        columns!()
    );
    let row = values![
        now,
        new.project,
        new.actor,
        new.category,
        new.path,
        new.digest,
        new.bytes,
        new.label,
        new.device,
        new.device_type,
        new.is_signed,
        new.metadata,
        new.purpose,
        new.consent_until
    ];
    let row = tx.query_one(sql, row).await?;
    read(row.ok_or(StoreError::Closed)?)
}

/// Uses a counter of a device up: true if it is above all that were.
///
/// Counters are below 2⁶³.
pub async fn count_on(tx: &Tx, device: DeviceId, counter: u64) -> Result<bool, StoreError> {
    let Ok(counter) = i64::try_from(counter) else {
        return Ok(false);
    };
    let sql = "INSERT INTO upload_counters (device, counter) VALUES ($1, $2)
               ON CONFLICT (device) DO UPDATE SET counter = excluded.counter
               WHERE upload_counters.counter < excluded.counter";
    Ok(tx.execute(sql, values![device, counter]).await? == 1)
}

/// The newest counter of a device that was used up, if one was.
pub async fn newest_counter(on: &impl Read, device: DeviceId) -> Result<Option<u64>, StoreError> {
    let sql = "SELECT counter FROM upload_counters WHERE device = $1";
    let row = on.query_one(sql, values![device]).await?;
    let counter = |row: Row| row.of("counter of uploads").take::<i64>();
    Ok(row.map(counter).transpose()?.map(i64::unsigned_abs))
}

/// The newest uploads of a project, newest first; those whose bytes were erased, too.
pub async fn list(on: &impl Read, project: &str, limit: u32) -> Result<Vec<Upload>, StoreError> {
    let sql = concat!(
        "SELECT ",
        columns!(),
        " FROM uploads WHERE ",
        of_project!(),
        " ORDER BY id DESC LIMIT $2"
    );
    let rows = on.query(sql, values![project.to_owned(), limit]).await?;
    rows.into_iter().map(read).collect()
}

/// The uploads of a project with these bytes that are still here, oldest first.
pub async fn of_digest(
    on: &impl Read,
    project: &str,
    digest: &Digest,
) -> Result<Vec<Upload>, StoreError> {
    let sql = concat!(
        "SELECT ",
        columns!(),
        " FROM uploads WHERE ",
        of_project!(),
        " AND digest = $2 AND erased_at IS NULL ORDER BY id"
    );
    let rows = on.query(sql, values![project.to_owned(), *digest]).await?;
    rows.into_iter().map(read).collect()
}

/// The uploads of a project whose bytes are still here, oldest first.
pub async fn kept(on: &impl Read, project: &str) -> Result<Vec<Upload>, StoreError> {
    let sql = concat!(
        "SELECT ",
        columns!(),
        " FROM uploads WHERE ",
        of_project!(),
        " AND erased_at IS NULL ORDER BY id"
    );
    let rows = on.query(sql, values![project.to_owned()]).await?;
    rows.into_iter().map(read).collect()
}

/// Says of an upload of before several projects could be told apart that it is of this one; others keep theirs.
pub async fn claim(tx: &Tx, id: UploadId, project: &str) -> Result<(), StoreError> {
    let sql = "UPDATE uploads SET project = $2 WHERE id = $1 AND project IS NULL";
    tx.execute(sql, values![id, project.to_owned()]).await?;
    Ok(())
}

/// Notes that the bytes of an upload were erased, and forgets what its sender said of it.
///
/// # Errors
/// [`StoreError::Conflict`] if that was done before.
pub async fn erase(tx: &Tx, id: UploadId, now: Timestamp) -> Result<(), StoreError> {
    let sql =
        "UPDATE uploads SET erased_at = $2, metadata = $3 WHERE id = $1 AND erased_at IS NULL";
    let nothing = Json::Object(serde_json::Map::new());
    let count = tx.execute(sql, values![id, now, nothing]).await?;
    touched(count, "upload", id)
}

/// The devices that uploads of a project name, by name.
pub async fn devices(on: &impl Read, project: &str) -> Result<Vec<Source>, StoreError> {
    let sql = concat!(
        "WITH own AS (SELECT * FROM uploads WHERE ",
        of_project!(),
        ")
         SELECT u.device, (SELECT l.device_type FROM own l WHERE l.device = u.device ORDER BY l.id DESC LIMIT 1),
           COUNT(*), MAX(u.received_at)
         FROM own u WHERE u.device IS NOT NULL AND u.erased_at IS NULL GROUP BY u.device ORDER BY u.device"
    );
    let rows = on.query(sql, values![project.to_owned()]).await?;
    let source = |row: Row| {
        let mut row = row.of("device of uploads");
        Ok(Source {
            device: row.take()?,
            device_type: row.take()?,
            count: row.take()?,
            last_at: row.take()?,
        })
    };
    rows.into_iter().map(source).collect()
}

fn read(row: Row) -> Result<Upload, StoreError> {
    let mut row = row.of("upload");
    Ok(Upload {
        id: row.take()?,
        received_at: row.take()?,
        new: NewUpload {
            project: row.take()?,
            actor: row.take()?,
            category: row.take()?,
            path: row.take()?,
            digest: row.take()?,
            bytes: row.take()?,
            label: row.take()?,
            device: row.take()?,
            device_type: row.take()?,
            is_signed: row.take()?,
            metadata: row.take()?,
            purpose: row.take()?,
            consent_until: row.take()?,
        },
        erased_at: row.take()?,
    })
}
