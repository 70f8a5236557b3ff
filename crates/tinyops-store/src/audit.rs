//! The audit log: who changed what, in the order it happened.
//!
//! Rows are added and never changed: the engines refuse `UPDATE` and `DELETE`. Each entry carries a digest over
//! itself and the digest of the entry before, so that whoever changes the file past the engine breaks the chain
//! from there on; a head that was noted elsewhere shows a log that was cut or written anew.

use crate::column::{Row, values};
use crate::db::{Query as _, Read};
use crate::{Digest, DigestBuilder, Json, StoreError, Timestamp, Tx};

/// What the digest of the first entry covers in place of one before it.
const START: Digest = Digest([0; 32]);
/// Names the rule by which entries are chained.
const RULE: &[u8] = b"tinyops audit 1";
/// Entries read at a time.
const PAGE: u32 = 1000;

/// One entry of the log.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Counts up with every entry; numbers may be left out.
    pub id: i64,
    /// When.
    pub at: Timestamp,
    /// Who: a person, a token's name, or the loop that acted.
    pub actor: String,
    /// What was done: `rollout.start`, `device.revoke`, ….
    pub action: String,
    /// To what.
    pub subject: String,
    /// With which figures, and why.
    pub detail: Json,
    /// Covers the entry and all before it; none in entries of before there was a chain.
    pub digest: Option<Digest>,
}

/// What a walk along the whole log found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Entries that hold together, from the first on.
    pub entry_count: u64,
    /// How many of them are of before there was a chain; the first chained entry covers them.
    pub unchained_count: u64,
    /// The last of them, and its digest.
    pub head: Option<(i64, Digest)>,
    /// The first entry whose digest does not follow from what stands before it.
    pub broken_at: Option<i64>,
}

/// Adds an entry behind the last one; [`Db::begin_audited`](crate::Db::begin_audited) begins the transaction.
pub async fn add(
    tx: &Tx,
    at: Timestamp,
    actor: &str,
    action: &str,
    subject: &str,
    detail: &Json,
) -> Result<(), StoreError> {
    let detail = detail.to_string();
    let digest = link(&head(tx).await?, at, actor, action, subject, &detail);
    tx.execute(
        "INSERT INTO audit (at, actor, action, subject, detail, digest) VALUES ($1, $2, $3, $4, $5, $6)",
        values![
            at,
            actor.to_owned(),
            action.to_owned(),
            subject.to_owned(),
            detail,
            digest
        ],
    )
    .await?;
    Ok(())
}

/// The digest of the last entry.
async fn head(tx: &Tx) -> Result<Digest, StoreError> {
    let sql = "SELECT digest FROM audit ORDER BY id DESC LIMIT 1";
    let Some(mut row) = tx.query_one(sql, vec![]).await? else {
        return Ok(START);
    };
    match row.take()? {
        Some(digest) => Ok(digest),
        // Once in the life of a log of before there was a chain: its first link covers them all.
        None => Ok(walk(tx).await?.head.map_or(START, |(_, digest)| digest)),
    }
}

/// SHA-256 over the rule's name, the digest before, the time, and each text behind its length (numbers of eight
/// bytes, least first).
fn link(
    before: &Digest,
    at: Timestamp,
    actor: &str,
    action: &str,
    subject: &str,
    detail: &str,
) -> Digest {
    let mut digest = DigestBuilder::new();
    digest.update(RULE);
    digest.update(&before.0);
    digest.update(&at.0.to_le_bytes());
    for text in [actor, action, subject, detail] {
        digest.update(&(text.len() as u64).to_le_bytes());
        digest.update(text.as_bytes());
    }
    digest.finish()
}

/// Walks the whole log from its first entry, and stops where it does not hold together.
pub async fn walk(on: &impl Read) -> Result<Chain, StoreError> {
    let mut chain = Chain {
        entry_count: 0,
        unchained_count: 0,
        head: None,
        broken_at: None,
    };
    let sql = "SELECT id, at, actor, action, subject, detail, digest FROM audit WHERE id > $1 ORDER BY id LIMIT $2";
    loop {
        let after = chain.head.map_or(i64::MIN, |(id, _)| id);
        let rows = on.query(sql, values![after, PAGE]).await?;
        if rows.is_empty() {
            return Ok(chain);
        }
        for row in rows {
            let mut row = row.of("audit entry");
            let id: i64 = row.take()?;
            let at = row.take()?;
            let (actor, action): (String, String) = (row.take()?, row.take()?);
            let (subject, detail): (String, String) = (row.take()?, row.take()?);
            let kept: Option<Digest> = row.take()?;
            let before = chain.head.map_or(START, |(_, digest)| digest);
            let digest = link(&before, at, &actor, &action, &subject, &detail);
            let is_first_chained = chain.unchained_count == chain.entry_count;
            match kept {
                None if is_first_chained => chain.unchained_count += 1,
                Some(kept) if kept == digest => {}
                _ => {
                    chain.broken_at = Some(id);
                    return Ok(chain);
                }
            }
            chain.entry_count += 1;
            chain.head = Some((id, digest));
        }
    }
}

/// The newest entries, newest first.
pub async fn list(on: &impl Read, limit: u32) -> Result<Vec<Entry>, StoreError> {
    let sql = "SELECT id, at, actor, action, subject, detail, digest FROM audit ORDER BY id DESC LIMIT $1";
    on.query(sql, values![limit])
        .await?
        .into_iter()
        .map(read)
        .collect()
}

/// The entries behind one of them, oldest first; from the first where `after` is none.
pub async fn behind(
    on: &impl Read,
    after: Option<i64>,
    limit: u32,
) -> Result<Vec<Entry>, StoreError> {
    let sql = "SELECT id, at, actor, action, subject, detail, digest FROM audit WHERE id > $1 ORDER BY id LIMIT $2";
    on.query(sql, values![after.unwrap_or(i64::MIN), limit])
        .await?
        .into_iter()
        .map(read)
        .collect()
}

/// The newest entries about one subject, newest first.
pub async fn about(on: &impl Read, subject: &str, limit: u32) -> Result<Vec<Entry>, StoreError> {
    let sql = "SELECT id, at, actor, action, subject, detail, digest FROM audit WHERE subject = $1 ORDER BY id DESC LIMIT $2";
    on.query(sql, values![subject.to_owned(), limit])
        .await?
        .into_iter()
        .map(read)
        .collect()
}

fn read(row: Row) -> Result<Entry, StoreError> {
    let mut row = row.of("audit entry");
    Ok(Entry {
        id: row.take()?,
        at: row.take()?,
        actor: row.take()?,
        action: row.take()?,
        subject: row.take()?,
        detail: row.take()?,
        digest: row.take()?,
    })
}
