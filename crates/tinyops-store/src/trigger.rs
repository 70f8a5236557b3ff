//! Triggers: what the operating loop asks of the making loop. They meet here and nowhere else.

use std::collections::BTreeMap;

use crate::column::{Row, row_id, values, words};
use crate::db::{Query as _, Read, touched};
use crate::run::{Run, RunId};
use crate::{Digest, Json, StoreError, Timestamp, Tx};

row_id! {
    /// The number of a trigger.
    TriggerId
}

words! {
    /// How far a trigger is.
    TriggerState {
        /// Nobody took it yet.
        Waiting = "waiting",
        /// A pipeline took it.
        Taken = "taken",
        /// Its run is done.
        Done = "done",
        /// Its run failed or was refused.
        Failed = "failed",
    }
}

/// One wish for a pipeline run.
#[derive(Clone, Debug, PartialEq)]
pub struct Trigger {
    /// Its number.
    pub id: TriggerId,
    /// Which pipeline: `train`, `resolve-head`, ….
    pub kind: String,
    /// The model family it is about.
    pub model: String,
    /// Bytes that the run needs, kept as an artifact (statistics of a round, for `resolve-head`).
    pub payload: Option<Digest>,
    /// Why: the alert, the round, the person.
    pub detail: Json,
    /// How far it is.
    pub state: TriggerState,
    /// The run that answers it.
    pub run: Option<RunId>,
    /// How often it was taken.
    pub tries: u32,
    /// Nobody takes it before this.
    pub not_before: Timestamp,
    /// When it was made.
    pub created_at: Timestamp,
    /// When its state last changed.
    pub changed_at: Timestamp,
    /// Counts the changes to this row.
    pub revision: i64,
}

/// What is known of a trigger before it is numbered.
#[derive(Clone, Debug, PartialEq)]
pub struct NewTrigger {
    /// Which pipeline.
    pub kind: String,
    /// The model family.
    pub model: String,
    /// Bytes that the run needs.
    pub payload: Option<Digest>,
    /// Why.
    pub detail: Json,
}

/// Adds a waiting trigger and numbers it.
pub async fn add(tx: &Tx, new: &NewTrigger, now: Timestamp) -> Result<Trigger, StoreError> {
    let added = insert(tx, new, None, now).await?;
    added.ok_or(StoreError::Closed)
}

/// Adds a waiting trigger unless there is one of the same `once` already: that one is returned, and false.
pub async fn add_once(
    tx: &Tx,
    new: &NewTrigger,
    once: &str,
    now: Timestamp,
) -> Result<(Trigger, bool), StoreError> {
    if let Some(added) = insert(tx, new, Some(once), now).await? {
        return Ok((added, true));
    }
    let sql = "SELECT id, kind, model, payload, detail, state, run_id, tries, not_before, created_at, changed_at, revision
               FROM triggers WHERE once = $1";
    let found = tx.query_one(sql, values![once.to_owned()]).await?;
    let found = found.map(read).transpose()?;
    Ok((found.ok_or(StoreError::Closed)?, false))
}

async fn insert(
    tx: &Tx,
    new: &NewTrigger,
    once: Option<&str>,
    now: Timestamp,
) -> Result<Option<Trigger>, StoreError> {
    let row = tx
        .query_one(
            "INSERT INTO triggers (kind, model, payload, detail, state, once, created_at, changed_at, revision)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $7, 0)
             ON CONFLICT (once) DO NOTHING
             RETURNING id, kind, model, payload, detail, state, run_id, tries, not_before, created_at, changed_at, revision",
            values![
                new.kind, new.model, new.payload, new.detail, TriggerState::Waiting,
                once.map(str::to_owned), now
            ],
        )
        .await?;
    row.map(read).transpose()
}

/// The newest trigger before this one for the same model family.
pub async fn before(on: &impl Read, trigger: &Trigger) -> Result<Option<Trigger>, StoreError> {
    let sql =
        "SELECT id, kind, model, payload, detail, state, run_id, tries, not_before, created_at, changed_at, revision
               FROM triggers WHERE model = $1 AND id < $2 ORDER BY id DESC LIMIT 1";
    let found = on
        .query_one(sql, values![trigger.model, trigger.id])
        .await?;
    found.map(read).transpose()
}

/// Takes the oldest waiting trigger of a model family whose time has come, if there is one: it is `taken` once the
/// transaction commits. One of no family, whose model the store does not know, anybody takes.
///
/// # Errors
/// [`StoreError::Conflict`] if somebody else took it at the same moment.
pub async fn take(tx: &Tx, model: &str, now: Timestamp) -> Result<Option<Trigger>, StoreError> {
    let sql =
        "SELECT id, kind, model, payload, detail, state, run_id, tries, not_before, created_at, changed_at, revision
               FROM triggers WHERE state = 'waiting' AND not_before <= $1 AND model IN ($2, '') ORDER BY id LIMIT 1";
    let Some(row) = tx.query_one(sql, values![now, model.to_owned()]).await? else {
        return Ok(None);
    };
    let mut trigger = read(row)?;
    trigger.state = TriggerState::Taken;
    trigger.run = None;
    trigger.tries += 1;
    trigger.changed_at = now;
    put(tx, &mut trigger).await?;
    Ok(Some(trigger))
}

/// Changes everything of a trigger but its kind, its model and when it was made.
///
/// # Errors
/// [`StoreError::Conflict`] if another writer changed it since `trigger` was read.
pub async fn put(tx: &Tx, trigger: &mut Trigger) -> Result<(), StoreError> {
    let count = tx
        .execute(
            "UPDATE triggers SET state = $1, run_id = $2, detail = $3, changed_at = $4, tries = $5, not_before = $6,
             payload = $7, revision = revision + 1 WHERE id = $8 AND revision = $9",
            values![
                trigger.state, trigger.run, trigger.detail, trigger.changed_at, trigger.tries,
                trigger.not_before, trigger.payload, trigger.id, trigger.revision
            ],
        )
        .await?;
    touched(count, "trigger", trigger.id)?;
    trigger.revision += 1;
    Ok(())
}

/// One trigger.
pub async fn get(on: &impl Read, id: TriggerId) -> Result<Option<Trigger>, StoreError> {
    let sql =
        "SELECT id, kind, model, payload, detail, state, run_id, tries, not_before, created_at, changed_at, revision
               FROM triggers WHERE id = $1";
    on.query_one(sql, values![id]).await?.map(read).transpose()
}

/// What these runs answer, by number.
pub async fn of_runs(
    on: &impl Read,
    runs: &[Run],
) -> Result<BTreeMap<TriggerId, Trigger>, StoreError> {
    let ids = || runs.iter().filter_map(|run| run.trigger);
    let (Some(first), Some(last)) = (ids().min(), ids().max()) else {
        return Ok(BTreeMap::new());
    };
    let sql =
        "SELECT id, kind, model, payload, detail, state, run_id, tries, not_before, created_at, changed_at, revision
               FROM triggers WHERE id BETWEEN $1 AND $2";
    let rows = on.query(sql, values![first, last]).await?;
    let keyed = |row| read(row).map(|trigger| (trigger.id, trigger));
    rows.into_iter().map(keyed).collect()
}

/// Triggers that are waiting or taken, oldest first.
pub async fn open(on: &impl Read) -> Result<Vec<Trigger>, StoreError> {
    let sql =
        "SELECT id, kind, model, payload, detail, state, run_id, tries, not_before, created_at, changed_at, revision
               FROM triggers WHERE state IN ('waiting', 'taken') ORDER BY id";
    on.query(sql, vec![]).await?.into_iter().map(read).collect()
}

/// The newest triggers, newest first.
pub async fn list(on: &impl Read, limit: u32) -> Result<Vec<Trigger>, StoreError> {
    let sql =
        "SELECT id, kind, model, payload, detail, state, run_id, tries, not_before, created_at, changed_at, revision
               FROM triggers ORDER BY id DESC LIMIT $1";
    on.query(sql, values![limit])
        .await?
        .into_iter()
        .map(read)
        .collect()
}

fn read(row: Row) -> Result<Trigger, StoreError> {
    let mut row = row.of("trigger");
    Ok(Trigger {
        id: row.take()?,
        kind: row.take()?,
        model: row.take()?,
        payload: row.take()?,
        detail: row.take()?,
        state: row.take()?,
        run: row.take()?,
        tries: row.take()?,
        not_before: row.take()?,
        created_at: row.take()?,
        changed_at: row.take()?,
        revision: row.take()?,
    })
}
