//! Capsules: what devices install, one per model version and board.

use crate::column::{Row, values};
use crate::db::Read;
use crate::{Digest, Json, ModelId, StoreError, Timestamp, Tx};

/// One signed capsule.
#[derive(Clone, Debug, PartialEq)]
pub struct Capsule {
    /// The digest of its manifest, which names it.
    pub manifest_digest: Digest,
    /// The first four bytes of that, which every report of a device carries.
    pub id: ModelId,
    /// The model's name.
    pub model: String,
    /// The model's version.
    pub version: u32,
    /// The board that it was compiled for.
    pub board: String,
    /// The digest of the whole capsule, manifest and payload, which is an artifact: what an offer names.
    pub digest: Digest,
    /// How big it is.
    pub bytes: u32,
    /// The digest of its payload: what the signed manifest names.
    pub payload: Digest,
    /// Counts up with every capsule of a board: devices refuse to go back.
    pub sequence: u32,
    /// The monitor baseline inside, as the fleet's detectors need it.
    pub baseline: Vec<u8>,
    /// Labels, estimates of flash, RAM, latency and energy.
    pub detail: Json,
    /// When it was signed.
    pub created_at: Timestamp,
}

/// Adds a capsule.
///
/// # Errors
/// [`StoreError::Exists`] if a capsule with the same manifest, or with the same four first bytes, is there:
/// sign again with the next sequence number.
pub async fn add(tx: &Tx, capsule: &Capsule) -> Result<(), StoreError> {
    let count = tx
        .execute(
            "INSERT INTO capsules (manifest_digest, model_id, model, version, board, digest, bytes, payload, sequence, baseline, detail, created_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
             ON CONFLICT DO NOTHING",
            values![
                capsule.manifest_digest, capsule.id, capsule.model, capsule.version, capsule.board,
                capsule.digest, capsule.bytes, capsule.payload, capsule.sequence,
                capsule.baseline, capsule.detail, capsule.created_at
            ],
        )
        .await?;
    match count {
        0 => Err(StoreError::Exists {
            entity: "capsule",
            key: capsule.id.to_string(),
        }),
        _ => Ok(()),
    }
}

/// The capsule that a report's model id names.
pub async fn get(on: &impl Read, id: ModelId) -> Result<Option<Capsule>, StoreError> {
    let sql = "SELECT manifest_digest, model_id, model, version, board, digest, bytes, payload,
                      sequence, baseline, detail, created_at
               FROM capsules WHERE model_id = $1";
    on.query_one(sql, values![id]).await?.map(read).transpose()
}

/// The capsule whose payload these bytes are; the newest, if it was signed more than once.
pub async fn by_payload(on: &impl Read, payload: &Digest) -> Result<Option<Capsule>, StoreError> {
    let sql = "SELECT manifest_digest, model_id, model, version, board, digest, bytes, payload,
                      sequence, baseline, detail, created_at
               FROM capsules WHERE payload = $1 ORDER BY sequence DESC LIMIT 1";
    on.query_one(sql, values![*payload])
        .await?
        .map(read)
        .transpose()
}

/// The newest capsule of a model version for a board.
pub async fn for_board(
    on: &impl Read,
    model: &str,
    version: u32,
    board: &str,
) -> Result<Option<Capsule>, StoreError> {
    let sql = "SELECT manifest_digest, model_id, model, version, board, digest, bytes, payload,
                      sequence, baseline, detail, created_at
               FROM capsules WHERE model = $1 AND version = $2 AND board = $3 ORDER BY sequence DESC LIMIT 1";
    on.query_one(sql, values![model.to_owned(), version, board.to_owned()])
        .await?
        .map(read)
        .transpose()
}

/// The capsules of a model, newest first.
pub async fn of_model(on: &impl Read, model: &str) -> Result<Vec<Capsule>, StoreError> {
    let sql = "SELECT manifest_digest, model_id, model, version, board, digest, bytes, payload,
                      sequence, baseline, detail, created_at
               FROM capsules WHERE model = $1 ORDER BY version DESC, board, sequence DESC";
    on.query(sql, values![model.to_owned()])
        .await?
        .into_iter()
        .map(read)
        .collect()
}

/// The highest sequence number given to a board so far, 0 before the first.
pub async fn last_sequence(on: &impl Read, board: &str) -> Result<u32, StoreError> {
    let sql = "SELECT COALESCE(MAX(sequence), 0) FROM capsules WHERE board = $1";
    match on.query_one(sql, values![board.to_owned()]).await? {
        Some(mut row) => row.take(),
        None => Ok(0),
    }
}

fn read(row: Row) -> Result<Capsule, StoreError> {
    let mut row = row.of("capsule");
    Ok(Capsule {
        manifest_digest: row.take()?,
        id: row.take()?,
        model: row.take()?,
        version: row.take()?,
        board: row.take()?,
        digest: row.take()?,
        bytes: row.take()?,
        payload: row.take()?,
        sequence: row.take()?,
        baseline: row.take()?,
        detail: row.take()?,
        created_at: row.take()?,
    })
}
