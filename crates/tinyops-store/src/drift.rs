//! The detectors' memory: one state per device, and one per cohort.

use crate::column::{Row, values};
use crate::db::Read;
use crate::{DeviceId, Json, ModelId, StoreError, Timestamp, Tx};

/// What a detector watches.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// One device against its own past.
    Device(DeviceId),
    /// A cohort as a whole.
    Cohort(String),
}

/// The memory of one detector.
#[derive(Clone, Debug, PartialEq)]
pub struct DriftState {
    /// What it watches.
    pub scope: Scope,
    /// The model whose baseline it compares with; another model begins a new memory.
    pub model: ModelId,
    /// The memory, versioned by its owner.
    pub state: Vec<u8>,
    /// How far the scope is from its baseline: 1 is the alarm threshold.
    pub score: f64,
    /// Whether an alarm stands.
    pub alarmed: bool,
    /// When it last saw a report.
    pub updated_at: Timestamp,
}

/// One moment in the history of a detector.
#[derive(Clone, Debug, PartialEq)]
pub struct DriftPoint {
    /// What is watched.
    pub scope: Scope,
    /// The model that was running.
    pub model: ModelId,
    /// When.
    pub at: Timestamp,
    /// How far from the baseline: 1 is the alarm threshold.
    pub score: f64,
    /// Scores by signal and channel, live shares of the bins.
    pub detail: Json,
}

/// Appends moments to the history.
pub async fn add_points(tx: &Tx, points: &[DriftPoint]) -> Result<(), StoreError> {
    let rows = points
        .iter()
        .map(|p| values![p.scope.key(), p.model, p.at, p.score, p.detail])
        .collect();
    tx.execute_many(
        "INSERT INTO drift_points (scope, model_id, at, score, detail) VALUES ($1, $2, $3, $4, $5)",
        rows,
    )
    .await?;
    Ok(())
}

/// The newest moments of one detector since `since`, oldest first.
pub async fn history(
    on: &impl Read,
    scope: &Scope,
    since: Timestamp,
    limit: u32,
) -> Result<Vec<DriftPoint>, StoreError> {
    let sql = "SELECT scope, model_id, at, score, detail FROM drift_points
               WHERE scope = $1 AND at >= $2 ORDER BY id DESC LIMIT $3";
    let rows = on.query(sql, values![scope.key(), since, limit]).await?;
    let read = |row: Row| {
        let mut row = row.of("drift point");
        Ok(DriftPoint {
            scope: Scope::of_key(row.take()?),
            model: row.take()?,
            at: row.take()?,
            score: row.take()?,
            detail: row.take()?,
        })
    };
    rows.into_iter().rev().map(read).collect()
}

/// Writes the memories of many detectors.
pub async fn put_many(tx: &Tx, states: &[DriftState]) -> Result<(), StoreError> {
    let rows = states
        .iter()
        .map(|s| {
            let device = match s.scope {
                Scope::Device(device) => Some(device),
                Scope::Cohort(_) => None,
            };
            values![
                s.scope.key(),
                device,
                s.model,
                s.state,
                s.score,
                s.alarmed,
                s.updated_at
            ]
        })
        .collect();
    tx.execute_many(
        "INSERT INTO drift_states (scope, device, model_id, state, score, alarmed, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (scope, model_id) DO UPDATE SET state = excluded.state,
           score = excluded.score, alarmed = excluded.alarmed, updated_at = excluded.updated_at",
        rows,
    )
    .await?;
    Ok(())
}

/// The memories of many detectors, each of one model, in the order asked for.
pub async fn get_many(
    tx: &Tx,
    wanted: &[(Scope, ModelId)],
) -> Result<Vec<Option<DriftState>>, StoreError> {
    let sql = "SELECT scope, model_id, state, score, alarmed, updated_at FROM drift_states
               WHERE scope = $1 AND model_id = $2";
    let rows = wanted
        .iter()
        .map(|(scope, model)| values![scope.key(), *model])
        .collect();
    let answers = tx.query_many(sql, rows).await?;
    answers
        .into_iter()
        .map(|rows| rows.into_iter().next().map(read).transpose())
        .collect()
}

/// The newest memory of one scope.
pub async fn get(on: &impl Read, scope: &Scope) -> Result<Option<DriftState>, StoreError> {
    let sql = "SELECT scope, model_id, state, score, alarmed, updated_at FROM drift_states
               WHERE scope = $1 ORDER BY updated_at DESC, model_id LIMIT 1";
    on.query_one(sql, values![scope.key()])
        .await?
        .map(read)
        .transpose()
}

/// The memories of one scope, the newest first: a scope has one for each model that it runs.
pub async fn of_scope(on: &impl Read, scope: &Scope) -> Result<Vec<DriftState>, StoreError> {
    let sql = "SELECT scope, model_id, state, score, alarmed, updated_at FROM drift_states
               WHERE scope = $1 ORDER BY updated_at DESC, model_id";
    on.query(sql, values![scope.key()])
        .await?
        .into_iter()
        .map(read)
        .collect()
}

/// The memories of all cohorts, the newest first.
pub async fn of_cohorts(on: &impl Read) -> Result<Vec<DriftState>, StoreError> {
    let sql = "SELECT scope, model_id, state, score, alarmed, updated_at FROM drift_states
               WHERE device IS NULL ORDER BY updated_at DESC, scope";
    on.query(sql, vec![]).await?.into_iter().map(read).collect()
}

/// Forgets what scopes remember of all models but one each.
pub async fn forget_others(tx: &Tx, kept: &[(Scope, ModelId)]) -> Result<(), StoreError> {
    let row = |(scope, model): &(Scope, ModelId)| values![scope.key(), *model];
    tx.execute_many(
        "DELETE FROM drift_states WHERE scope = $1 AND model_id <> $2",
        kept.iter().map(row).collect(),
    )
    .await?;
    Ok(())
}

/// Up to `limit` detectors, those farthest from their baseline first.
pub async fn list(on: &impl Read, limit: u32) -> Result<Vec<DriftState>, StoreError> {
    let sql = "SELECT scope, model_id, state, score, alarmed, updated_at FROM drift_states
               ORDER BY score DESC, scope LIMIT $1";
    on.query(sql, values![limit])
        .await?
        .into_iter()
        .map(read)
        .collect()
}

/// The memories of the active devices of a cohort that run one model.
pub async fn in_cohort(
    on: &impl Read,
    cohort: &str,
    model: ModelId,
) -> Result<Vec<DriftState>, StoreError> {
    let sql = "SELECT s.scope, s.model_id, s.state, s.score, s.alarmed, s.updated_at
               FROM drift_states s JOIN devices d ON d.id = s.device
               WHERE d.cohort = $1 AND s.model_id = $2 AND d.state = 'active' ORDER BY s.device";
    on.query(sql, values![cohort.to_owned(), model])
        .await?
        .into_iter()
        .map(read)
        .collect()
}

impl Scope {
    /// How the scope is stored and shown: 16 hex digits, or `cohort:NAME`.
    pub fn key(&self) -> String {
        match self {
            Scope::Device(device) => device.to_string(),
            Scope::Cohort(cohort) => format!("cohort:{cohort}"),
        }
    }

    /// The scope of a stored key.
    pub fn of_key(key: String) -> Scope {
        match key.parse() {
            Ok(device) => Scope::Device(device),
            Err(_) => Scope::Cohort(
                key.strip_prefix("cohort:")
                    .map(str::to_owned)
                    .unwrap_or(key),
            ),
        }
    }
}

fn read(row: Row) -> Result<DriftState, StoreError> {
    let mut row = row.of("drift state");
    Ok(DriftState {
        scope: Scope::of_key(row.take()?),
        model: row.take()?,
        state: row.take()?,
        score: row.take()?,
        alarmed: row.take()?,
        updated_at: row.take()?,
    })
}
