//! Class tokens: what lets devices of a class enrol. Kept is the key that proves one, from which it cannot be found.

use tinyops_wire::enrolment::{TokenId, TokenKey};

use crate::column::{Column, Row, Value, values};
use crate::db::{Read, touched};
use crate::{StoreError, Timestamp, Tx};

impl Column for TokenId {
    fn put(&self) -> Value {
        self.0.put()
    }
    fn take(value: Value) -> Option<TokenId> {
        u64::take(value).map(TokenId)
    }
}

impl Column for TokenKey {
    fn put(&self) -> Value {
        self.0.put()
    }
    fn take(value: Value) -> Option<TokenKey> {
        Column::take(value).map(TokenKey)
    }
}

/// One class token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassToken {
    /// Its name, which is no secret.
    pub id: TokenId,
    /// What a request by it is proven with.
    pub key: TokenKey,
    /// The board of the devices that it enrols.
    pub board: String,
    /// The cohort that they join.
    pub cohort: String,
    /// Further words to choose them by.
    pub tags: Vec<String>,
    /// Most devices that it enrols.
    pub uses_max: u32,
    /// Devices that it has enrolled.
    pub use_count: u32,
    /// When it was made.
    pub created_at: Timestamp,
    /// By whom.
    pub created_by: String,
    /// When it ends, if it does.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked, if it was.
    pub revoked_at: Option<Timestamp>,
}

/// Adds a token.
///
/// # Errors
/// [`StoreError::Exists`] if its id was ever given.
pub async fn add(tx: &Tx, token: &ClassToken) -> Result<(), StoreError> {
    let count = tx
        .execute(
            "INSERT INTO class_tokens (id, token_key, board, cohort, tags, uses_max, use_count, created_at, created_by,
                                       expires_at, revoked_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT (id) DO NOTHING",
            values![
                token.id,
                token.key,
                token.board,
                token.cohort,
                token.tags,
                token.uses_max,
                token.use_count,
                token.created_at,
                token.created_by,
                token.expires_at,
                token.revoked_at
            ],
        )
        .await?;
    match count {
        0 => Err(StoreError::Exists {
            entity: "class token",
            key: token.id.to_string(),
        }),
        _ => Ok(()),
    }
}

/// One token, whatever its state.
pub async fn get(on: &impl Read, id: TokenId) -> Result<Option<ClassToken>, StoreError> {
    let sql = "SELECT id, token_key, board, cohort, tags, uses_max, use_count, created_at, created_by, expires_at,
                      revoked_at FROM class_tokens WHERE id = $1";
    on.query_one(sql, values![id]).await?.map(read).transpose()
}

/// All tokens, oldest first.
pub async fn list(on: &impl Read) -> Result<Vec<ClassToken>, StoreError> {
    let sql = "SELECT id, token_key, board, cohort, tags, uses_max, use_count, created_at, created_by, expires_at,
                      revoked_at FROM class_tokens ORDER BY created_at, id";
    on.query(sql, vec![]).await?.into_iter().map(read).collect()
}

/// Counts one more device.
///
/// # Errors
/// [`StoreError::Conflict`] if it has enrolled as many as it may.
pub async fn count_use(tx: &Tx, id: TokenId) -> Result<(), StoreError> {
    let sql =
        "UPDATE class_tokens SET use_count = use_count + 1 WHERE id = $1 AND use_count < uses_max";
    touched(tx.execute(sql, values![id]).await?, "class token", id)
}

/// Ends a token: it enrols nobody any more.
///
/// # Errors
/// [`StoreError::Conflict`] if it is revoked already.
pub async fn revoke(tx: &Tx, id: TokenId, now: Timestamp) -> Result<(), StoreError> {
    let sql = "UPDATE class_tokens SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL";
    touched(tx.execute(sql, values![id, now]).await?, "class token", id)
}

fn read(row: Row) -> Result<ClassToken, StoreError> {
    let mut row = row.of("class token");
    Ok(ClassToken {
        id: row.take()?,
        key: row.take()?,
        board: row.take()?,
        cohort: row.take()?,
        tags: row.take()?,
        uses_max: row.take()?,
        use_count: row.take()?,
        created_at: row.take()?,
        created_by: row.take()?,
        expires_at: row.take()?,
        revoked_at: row.take()?,
    })
}
