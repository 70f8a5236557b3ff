//! Files of experiments: names that point to artifacts and may point to others later.

use crate::column::{Row, values};
use crate::db::Read;
use crate::{Digest, StoreError, Timestamp, Tx};

/// One file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackedFile {
    /// Its name, parts joined by `/`.
    pub path: String,
    /// The artifact with its bytes.
    pub digest: Digest,
    /// How many bytes these are.
    pub bytes: u64,
    /// When it was written last.
    pub changed_at: Timestamp,
}

/// Writes a file, over one of its name.
pub async fn put(tx: &Tx, file: &TrackedFile) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO tracked_files (path, digest, bytes, changed_at) VALUES ($1, $2, $3, $4)
         ON CONFLICT (path) DO UPDATE SET digest = excluded.digest, bytes = excluded.bytes, changed_at = excluded.changed_at",
        values![file.path.clone().into_bytes(), file.digest, file.bytes, file.changed_at],
    )
    .await?;
    Ok(())
}

/// One file.
pub async fn get(on: &impl Read, path: &str) -> Result<Option<TrackedFile>, StoreError> {
    let sql = "SELECT path, digest, bytes, changed_at FROM tracked_files WHERE path = $1";
    on.query_one(sql, values![path.as_bytes().to_vec()])
        .await?
        .map(read)
        .transpose()
}

/// Every file below a folder, by name; an empty folder is that of all.
pub async fn below(on: &impl Read, folder: &str) -> Result<Vec<TrackedFile>, StoreError> {
    // `0` is the byte after `/`.
    let (from, to) = match folder {
        "" => (Vec::new(), vec![0xff]),
        folder => (
            format!("{folder}/").into_bytes(),
            format!("{folder}0").into_bytes(),
        ),
    };
    let sql = "SELECT path, digest, bytes, changed_at FROM tracked_files WHERE path >= $1 AND path < $2 ORDER BY path";
    let rows = on.query(sql, values![from, to]).await?;
    rows.into_iter().map(read).collect()
}

/// Removes a file and all below it as a folder, and says how many there were.
pub async fn remove(tx: &Tx, path: &str) -> Result<u64, StoreError> {
    tx.execute(
        "DELETE FROM tracked_files WHERE path = $1 OR (path >= $2 AND path < $3)",
        values![
            path.as_bytes().to_vec(),
            format!("{path}/").into_bytes(),
            format!("{path}0").into_bytes()
        ],
    )
    .await
}

fn read(row: Row) -> Result<TrackedFile, StoreError> {
    let mut row = row.of("file of an experiment");
    Ok(TrackedFile {
        path: String::from_utf8_lossy(&row.take::<Vec<u8>>()?).into_owned(),
        digest: row.take()?,
        bytes: row.take()?,
        changed_at: row.take()?,
    })
}
