//! Rounds: one gathering of statistics from the fleet. Contributions live until their round closes, or for as long after
//! it as [`Round::kept_until`] says.

use crate::column::{Row, row_id, values, words};
use crate::db::{Query as _, Read, touched};
use crate::{DeviceId, Digest, Json, ModelId, StoreError, Timestamp, Tx};

row_id! {
    /// The number of a round.
    RoundId
}

words! {
    /// Where a round stands.
    RoundState {
        /// Devices are asked to begin their sums anew, so that they are of the world as it is now.
        Clearing = "clearing",
        /// Devices are asked for their sums and answer.
        Gathering = "gathering",
        /// Masked sums are complete, and wait for the helper to tell their masks.
        Opening = "opening",
        /// The sum is made.
        Closed = "closed",
        /// Too few answered by the deadline.
        Abandoned = "abandoned",
    }
}

/// One gathering.
#[derive(Clone, Debug, PartialEq)]
pub struct Round {
    /// Its number.
    pub id: RoundId,
    /// The capsule whose embeddings are summed: only devices that run it can answer.
    pub model: ModelId,
    /// The cohort that is asked; `None` is everyone who runs the capsule.
    pub cohort: Option<String>,
    /// Where it stands.
    pub state: RoundState,
    /// How many whole contributions make a sum that may be used.
    pub device_count_min: u32,
    /// How many were whole when it closed, or are so far.
    pub device_count: u32,
    /// When devices are asked for their sums; until then they are cleared.
    pub gather_at: Timestamp,
    /// When it closes with what has come.
    pub deadline: Timestamp,
    /// The sum, an artifact, once it is closed.
    pub statistics: Option<Digest>,
    /// Which alert asked for it, counts per class, how many were clipped.
    pub detail: Json,
    /// When it was opened.
    pub created_at: Timestamp,
    /// Until when the contributions of a closed round are kept; `None` if there are none.
    pub kept_until: Option<Timestamp>,
    /// Whether contributions have changed since the sum was made of them, or a sum that was replaced is to be removed.
    pub is_stale: bool,
    /// Counts the changes to this row.
    pub revision: i64,
}

/// What is known of a round before it is numbered.
#[derive(Clone, Debug, PartialEq)]
pub struct NewRound {
    /// The capsule whose embeddings are summed.
    pub model: ModelId,
    /// The cohort that is asked.
    pub cohort: Option<String>,
    /// How many whole contributions make a sum.
    pub device_count_min: u32,
    /// When devices are asked for their sums; until then they are cleared.
    pub gather_at: Timestamp,
    /// When it closes.
    pub deadline: Timestamp,
    /// Which alert asked for it.
    pub detail: Json,
}

/// What one device has sent of its statistics, in the order of the parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contribution {
    /// To which round.
    pub round: RoundId,
    /// From whom.
    pub device: DeviceId,
    /// The parts, put together so far by their receiver.
    pub bytes: Vec<u8>,
    /// Whether every part is there.
    pub whole: bool,
}

/// Opens a round and numbers it.
pub async fn add(tx: &Tx, new: &NewRound, now: Timestamp) -> Result<Round, StoreError> {
    let row = tx
        .query_one(
            "INSERT INTO rounds (model_id, cohort, state, device_count_min, device_count, gather_at, deadline, detail,
                                 created_at, revision)
             VALUES ($1, $2, $3, $4, 0, $5, $6, $7, $8, 0)
             RETURNING id, model_id, cohort, state, device_count_min, device_count, gather_at, deadline, statistics,
                       detail, created_at, kept_until, is_stale, revision",
            values![
                new.model, new.cohort, RoundState::Clearing, new.device_count_min, new.gather_at, new.deadline,
                new.detail, now
            ],
        )
        .await?;
    row.map(read).transpose()?.ok_or(StoreError::Closed)
}

/// Changes everything of a round but its model, its cohort and its times.
///
/// # Errors
/// [`StoreError::Conflict`] if another writer changed it since `round` was read.
pub async fn put(tx: &Tx, round: &mut Round) -> Result<(), StoreError> {
    let count = tx
        .execute(
            "UPDATE rounds SET state = $1, device_count = $2, statistics = $3, detail = $4, device_count_min = $5,
                    kept_until = $6, is_stale = $7, revision = revision + 1
             WHERE id = $8 AND revision = $9",
            values![
                round.state, round.device_count, round.statistics, round.detail, round.device_count_min,
                round.kept_until, round.is_stale, round.id, round.revision
            ],
        )
        .await?;
    touched(count, "round", round.id)?;
    round.revision += 1;
    Ok(())
}

/// One round.
pub async fn get(on: &impl Read, id: RoundId) -> Result<Option<Round>, StoreError> {
    let sql = "SELECT id, model_id, cohort, state, device_count_min, device_count, gather_at, deadline, statistics, detail,
                      created_at, kept_until, is_stale, revision FROM rounds WHERE id = $1";
    on.query_one(sql, values![id]).await?.map(read).transpose()
}

/// Rounds that are not over, oldest first.
pub async fn open(on: &impl Read) -> Result<Vec<Round>, StoreError> {
    let sql = "SELECT id, model_id, cohort, state, device_count_min, device_count, gather_at, deadline, statistics, detail,
                      created_at, kept_until, is_stale, revision FROM rounds WHERE state IN ('clearing', 'gathering', 'opening') ORDER BY id";
    on.query(sql, vec![]).await?.into_iter().map(read).collect()
}

/// Rounds that take contributions: those that are not over, and closed ones whose contributions are kept; oldest first.
pub async fn taking(on: &impl Read) -> Result<Vec<Round>, StoreError> {
    let sql = "SELECT id, model_id, cohort, state, device_count_min, device_count, gather_at, deadline, statistics, detail,
                      created_at, kept_until, is_stale, revision FROM rounds
               WHERE state IN ('clearing', 'gathering', 'opening') OR kept_until IS NOT NULL ORDER BY id";
    on.query(sql, vec![]).await?.into_iter().map(read).collect()
}

/// Closed rounds whose contributions are kept and which are the newest of their model: devices have begun no other sums
/// since; oldest first.
pub async fn latest_kept(on: &impl Read) -> Result<Vec<Round>, StoreError> {
    let sql = "SELECT id, model_id, cohort, state, device_count_min, device_count, gather_at, deadline, statistics, detail,
                      created_at, kept_until, is_stale, revision FROM rounds
               WHERE kept_until IS NOT NULL
                     AND NOT EXISTS (SELECT 1 FROM rounds newer
                                     WHERE newer.model_id = rounds.model_id AND newer.id > rounds.id)
               ORDER BY id";
    on.query(sql, vec![]).await?.into_iter().map(read).collect()
}

/// Rounds of which something is to be done although they are over: their contributions have changed, or have been kept
/// for long enough; oldest first.
pub async fn due(on: &impl Read, now: Timestamp) -> Result<Vec<Round>, StoreError> {
    let sql = "SELECT id, model_id, cohort, state, device_count_min, device_count, gather_at, deadline, statistics, detail,
                      created_at, kept_until, is_stale, revision FROM rounds
               WHERE is_stale = 1 OR kept_until <= $1 ORDER BY id";
    on.query(sql, values![now])
        .await?
        .into_iter()
        .map(read)
        .collect()
}

/// Notes that contributions to a closed round have changed.
pub async fn mark_stale(tx: &Tx, id: RoundId) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE rounds SET is_stale = $1 WHERE id = $2",
        values![true, id],
    )
    .await?;
    Ok(())
}

/// The newest rounds, newest first.
pub async fn list(on: &impl Read, limit: u32) -> Result<Vec<Round>, StoreError> {
    let sql = "SELECT id, model_id, cohort, state, device_count_min, device_count, gather_at, deadline, statistics, detail,
                      created_at, kept_until, is_stale, revision FROM rounds ORDER BY id DESC LIMIT $1";
    on.query(sql, values![limit])
        .await?
        .into_iter()
        .map(read)
        .collect()
}

/// Writes what one device has sent so far.
pub async fn put_contribution(tx: &Tx, contribution: &Contribution) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO contributions (round_id, device, bytes, whole) VALUES ($1, $2, $3, $4)
         ON CONFLICT (round_id, device) DO UPDATE SET bytes = excluded.bytes, whole = excluded.whole",
        values![contribution.round, contribution.device, contribution.bytes, contribution.whole],
    )
    .await?;
    Ok(())
}

/// What one device has sent so far.
pub async fn contribution(
    on: &impl Read,
    round: RoundId,
    device: DeviceId,
) -> Result<Option<Contribution>, StoreError> {
    let sql = "SELECT round_id, device, bytes, whole FROM contributions WHERE round_id = $1 AND device = $2";
    on.query_one(sql, values![round, device])
        .await?
        .map(read_contribution)
        .transpose()
}

/// All contributions to a round, by device.
pub async fn contributions(
    on: &impl Read,
    round: RoundId,
) -> Result<Vec<Contribution>, StoreError> {
    let sql = "SELECT round_id, device, bytes, whole FROM contributions WHERE round_id = $1 ORDER BY device";
    on.query(sql, values![round])
        .await?
        .into_iter()
        .map(read_contribution)
        .collect()
}

/// Who has contributed to a round, by device, and whether with every part; without what.
pub async fn contributors(
    on: &impl Read,
    round: RoundId,
) -> Result<Vec<(DeviceId, bool)>, StoreError> {
    let sql = "SELECT device, whole FROM contributions WHERE round_id = $1 ORDER BY device";
    on.query(sql, values![round])
        .await?
        .into_iter()
        .map(|mut row| Ok((row.take()?, row.take()?)))
        .collect()
}

/// Who has begun to contribute to a round and has not told every part, by device.
pub async fn owing(on: &impl Read, round: RoundId) -> Result<Vec<DeviceId>, StoreError> {
    let sql = "SELECT device FROM contributions WHERE round_id = $1 AND whole = 0 ORDER BY device";
    on.query(sql, values![round])
        .await?
        .into_iter()
        .map(|mut row| row.take())
        .collect()
}

/// Forgets the contributions to a round that are not whole.
pub async fn forget_partial(tx: &Tx, round: RoundId) -> Result<(), StoreError> {
    tx.execute(
        "DELETE FROM contributions WHERE round_id = $1 AND whole = $2",
        values![round, false],
    )
    .await?;
    Ok(())
}

/// Forgets what one device has contributed to a round; whether there was anything.
pub async fn forget_contribution(
    tx: &Tx,
    round: RoundId,
    device: DeviceId,
) -> Result<bool, StoreError> {
    let count = tx
        .execute(
            "DELETE FROM contributions WHERE round_id = $1 AND device = $2",
            values![round, device],
        )
        .await?;
    Ok(count > 0)
}

/// Forgets the contributions to a round, as is due when it is closed and they are not kept.
pub async fn forget_contributions(tx: &Tx, round: RoundId) -> Result<(), StoreError> {
    tx.execute(
        "DELETE FROM contributions WHERE round_id = $1",
        values![round],
    )
    .await?;
    Ok(())
}

fn read(row: Row) -> Result<Round, StoreError> {
    let mut row = row.of("round");
    Ok(Round {
        id: row.take()?,
        model: row.take()?,
        cohort: row.take()?,
        state: row.take()?,
        device_count_min: row.take()?,
        device_count: row.take()?,
        gather_at: row.take()?,
        deadline: row.take()?,
        statistics: row.take()?,
        detail: row.take()?,
        created_at: row.take()?,
        kept_until: row.take()?,
        is_stale: row.take()?,
        revision: row.take()?,
    })
}

fn read_contribution(row: Row) -> Result<Contribution, StoreError> {
    let mut row = row.of("contribution");
    Ok(Contribution {
        round: row.take()?,
        device: row.take()?,
        bytes: row.take()?,
        whole: row.take()?,
    })
}
