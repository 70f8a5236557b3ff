//! Access tokens: what people and programs show to the server. Only their digests are kept.

use crate::column::{Row, row_id, values, words};
use crate::db::{Query as _, Read, touched};
use crate::{Digest, StoreError, Timestamp, Tx};

row_id! {
    /// The number of an access token.
    AccessTokenId
}

words! {
    /// What whoever shows a token is here for.
    Role {
        /// Looks.
        Viewer = "viewer",
        /// Keeps the fleet running.
        Operator = "operator",
        /// Sends models out, too.
        Releaser = "releaser",
        /// Does everything.
        Admin = "admin",
        /// Carries the envelopes of devices, and does nothing else.
        Gateway = "gateway",
        /// Sends recordings in, and does nothing else.
        Recorder = "recorder",
    }
}

/// One access token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessToken {
    /// Its number.
    pub id: AccessTokenId,
    /// What the audit log calls its holder; never given twice.
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// The digest of the token.
    pub digest: Digest,
    /// When it was made.
    pub created_at: Timestamp,
    /// By whom.
    pub created_by: String,
    /// When it ends, if it does.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked, if it was.
    pub revoked_at: Option<Timestamp>,
}

/// A token before it is numbered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewAccessToken {
    /// What the audit log calls its holder.
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// The digest of the token.
    pub digest: Digest,
    /// Who makes it.
    pub created_by: String,
    /// When it ends, if it does.
    pub expires_at: Option<Timestamp>,
}

/// Adds a token and numbers it.
///
/// # Errors
/// [`StoreError::Exists`] if the name was ever given.
pub async fn add(tx: &Tx, new: &NewAccessToken, now: Timestamp) -> Result<AccessToken, StoreError> {
    let row = tx
        .query_one(
            "INSERT INTO access_tokens (name, role, digest, created_at, created_by, expires_at)
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (name) DO NOTHING
             RETURNING id, name, role, digest, created_at, created_by, expires_at, revoked_at",
            values![
                new.name,
                new.role,
                new.digest,
                now,
                new.created_by,
                new.expires_at
            ],
        )
        .await?;
    row.map(read)
        .transpose()?
        .ok_or_else(|| StoreError::Exists {
            entity: "access token",
            key: new.name.clone(),
        })
}

/// The token with this digest, whatever its state.
pub async fn get(on: &impl Read, digest: &Digest) -> Result<Option<AccessToken>, StoreError> {
    let sql = "SELECT id, name, role, digest, created_at, created_by, expires_at, revoked_at
               FROM access_tokens WHERE digest = $1";
    on.query_one(sql, values![*digest])
        .await?
        .map(read)
        .transpose()
}

/// The token with this name, whatever its state.
pub async fn named(on: &impl Read, name: &str) -> Result<Option<AccessToken>, StoreError> {
    let sql = "SELECT id, name, role, digest, created_at, created_by, expires_at, revoked_at
               FROM access_tokens WHERE name = $1";
    on.query_one(sql, values![name.to_owned()])
        .await?
        .map(read)
        .transpose()
}

/// All tokens, oldest first.
pub async fn list(on: &impl Read) -> Result<Vec<AccessToken>, StoreError> {
    let sql = "SELECT id, name, role, digest, created_at, created_by, expires_at, revoked_at
               FROM access_tokens ORDER BY id";
    on.query(sql, vec![]).await?.into_iter().map(read).collect()
}

/// Ends a token; one that was revoked before stays as it was.
///
/// # Errors
/// [`StoreError::Conflict`] if it is revoked already.
pub async fn revoke(tx: &Tx, id: AccessTokenId, now: Timestamp) -> Result<(), StoreError> {
    let sql = "UPDATE access_tokens SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL";
    let count = tx.execute(sql, values![id, now]).await?;
    touched(count, "access token", id)
}

fn read(row: Row) -> Result<AccessToken, StoreError> {
    let mut row = row.of("access token");
    Ok(AccessToken {
        id: row.take()?,
        name: row.take()?,
        role: row.take()?,
        digest: row.take()?,
        created_at: row.take()?,
        created_by: row.take()?,
        expires_at: row.take()?,
        revoked_at: row.take()?,
    })
}
