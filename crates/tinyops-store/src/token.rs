//! Class tokens: what a device shows to be enrolled. Only their digests are kept.

use crate::column::{Row, values};
use crate::db::Read;
use crate::{Digest, StoreError, Timestamp, Tx};

/// One class token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// The digest of the token.
    pub digest: Digest,
    /// The board of the devices that it enrols.
    pub board: String,
    /// The cohort that they join.
    pub cohort: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// Whether it enrols no more.
    pub revoked: bool,
}

/// Adds a token, or changes it.
pub async fn put(tx: &Tx, token: &Token) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO tokens (digest, board, cohort, created_at, revoked) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (digest) DO UPDATE SET board = excluded.board, cohort = excluded.cohort, revoked = excluded.revoked",
        values![token.digest, token.board, token.cohort, token.created_at, token.revoked],
    )
    .await?;
    Ok(())
}

/// The token with this digest.
pub async fn get(on: &impl Read, digest: &Digest) -> Result<Option<Token>, StoreError> {
    let sql = "SELECT digest, board, cohort, created_at, revoked FROM tokens WHERE digest = $1";
    on.query_one(sql, values![*digest])
        .await?
        .map(read)
        .transpose()
}

/// All tokens, oldest first.
pub async fn list(on: &impl Read) -> Result<Vec<Token>, StoreError> {
    let sql =
        "SELECT digest, board, cohort, created_at, revoked FROM tokens ORDER BY created_at, digest";
    on.query(sql, vec![]).await?.into_iter().map(read).collect()
}

fn read(row: Row) -> Result<Token, StoreError> {
    let mut row = row.of("token");
    Ok(Token {
        digest: row.take()?,
        board: row.take()?,
        cohort: row.take()?,
        created_at: row.take()?,
        revoked: row.take()?,
    })
}
