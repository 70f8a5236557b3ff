//! Alerts: drifts and faults that someone should see.

use crate::column::{Row, row_id, values, words};
use crate::db::{Query as _, Read, touched};
use crate::drift::Scope;
use crate::{Json, ModelId, StoreError, Timestamp, Tx};

row_id! {
    /// The number of an alert.
    AlertId
}

words! {
    /// Whether someone has seen to it.
    AlertState {
        /// Nobody has.
        Open = "open",
        /// Someone knows.
        Acknowledged = "acknowledged",
        /// It is over.
        Resolved = "resolved",
    }
}

words! {
    /// What an alert is about. At most one of a kind stands for a scope and model.
    AlertKind {
        /// What comes in, or what the model says, left its own past; or a sensor is at fault.
        Drift = "drift",
        /// Labels say that the model errs more than it did.
        ConceptDrift = "concept-drift",
    }
}

/// One alert.
#[derive(Clone, Debug, PartialEq)]
pub struct Alert {
    /// Its number.
    pub id: AlertId,
    /// What it is about.
    pub scope: Scope,
    /// The model that was running.
    pub model: ModelId,
    /// What kind it is.
    pub kind: AlertKind,
    /// What is advised: `recalibrate`, `re-standardise`, `head-update`, `retrain`, `sensor-fault`.
    pub advice: String,
    /// Which signals fired, and how far.
    pub detail: Json,
    /// Whether someone has seen to it.
    pub state: AlertState,
    /// Who changed the state last.
    pub actor: String,
    /// Why they did, in their words.
    pub reason: String,
    /// Until when it is muted, if it ever was.
    pub muted_until: Option<Timestamp>,
    /// When it was raised.
    pub opened_at: Timestamp,
    /// When its state last changed.
    pub changed_at: Timestamp,
    /// Counts the changes to this row.
    pub revision: i64,
}

/// What is known of an alert before it is numbered.
#[derive(Clone, Debug, PartialEq)]
pub struct NewAlert {
    /// What it is about.
    pub scope: Scope,
    /// The model that was running.
    pub model: ModelId,
    /// What kind it is.
    pub kind: AlertKind,
    /// What is advised.
    pub advice: String,
    /// Which signals fired.
    pub detail: Json,
}

impl Alert {
    /// Whether it asks for nobody's attention, and for no repair, at this time.
    pub fn is_muted(&self, now: Timestamp) -> bool {
        self.state != AlertState::Resolved && self.muted_until.is_some_and(|until| now < until)
    }
}

/// The columns of an alert, in the order in which `read` takes them.
macro_rules! columns {
    () => {
        "id, scope, model_id, kind, advice, detail, state, actor, reason, muted_until, opened_at, changed_at, revision"
    };
}

/// Raises an alert, unless one of its kind that is not resolved stands for the same scope and model; says whether it did.
pub async fn raise(tx: &Tx, new: &NewAlert, now: Timestamp) -> Result<Option<Alert>, StoreError> {
    let standing = "SELECT id FROM alerts WHERE scope = $1 AND model_id = $2 AND kind = $3 AND state <> 'resolved' LIMIT 1";
    if tx
        .query_one(standing, values![new.scope.key(), new.model, new.kind])
        .await?
        .is_some()
    {
        return Ok(None);
    }
    let row = tx
        .query_one(
            concat!(
                "INSERT INTO alerts (scope, model_id, kind, advice, detail, state, actor, reason, opened_at, changed_at, revision)
                 VALUES ($1, $2, $3, $4, $5, $6, '', '', $7, $7, 0) RETURNING ",
                columns!()
            ),
            values![new.scope.key(), new.model, new.kind, new.advice, new.detail, AlertState::Open, now],
        )
        .await?;
    row.map(read).transpose()
}

/// Changes the state, advice and detail of an alert.
///
/// # Errors
/// [`StoreError::Conflict`] if another writer changed it since `alert` was read.
pub async fn put(tx: &Tx, alert: &mut Alert) -> Result<(), StoreError> {
    let count = tx
        .execute(
            "UPDATE alerts SET state = $1, actor = $2, reason = $3, muted_until = $4, advice = $5, detail = $6, changed_at = $7,
               revision = revision + 1 WHERE id = $8 AND revision = $9",
            values![
                alert.state,
                alert.actor,
                alert.reason,
                alert.muted_until,
                alert.advice,
                alert.detail,
                alert.changed_at,
                alert.id,
                alert.revision
            ],
        )
        .await?;
    touched(count, "alert", alert.id)?;
    alert.revision += 1;
    Ok(())
}

/// Resolves what stands of scopes about other models than the ones they run now; what that was.
pub async fn resolve_others(
    tx: &Tx,
    running: &[(Scope, ModelId)],
    actor: &str,
    now: Timestamp,
) -> Result<Vec<Alert>, StoreError> {
    let sql = concat!(
        "SELECT ",
        columns!(),
        " FROM alerts WHERE scope = $1 AND model_id <> $2 AND state <> 'resolved' ORDER BY id"
    );
    let row = |(scope, model): &(Scope, ModelId)| values![scope.key(), *model];
    let answers = tx.query_many(sql, running.iter().map(row).collect());
    let rows = answers.await?.into_iter().flatten();
    let mut resolved: Vec<Alert> = rows.map(read).collect::<Result<_, _>>()?;
    for alert in &mut resolved {
        alert.state = AlertState::Resolved;
        actor.clone_into(&mut alert.actor);
        "another model runs there".clone_into(&mut alert.reason);
        alert.changed_at = now;
        put(tx, alert).await?;
    }
    Ok(resolved)
}

/// One alert.
pub async fn get(on: &impl Read, id: AlertId) -> Result<Option<Alert>, StoreError> {
    let sql = concat!("SELECT ", columns!(), " FROM alerts WHERE id = $1");
    on.query_one(sql, values![id]).await?.map(read).transpose()
}

/// The alert of a kind that stands for a scope and model, if one does.
pub async fn standing_of(
    on: &impl Read,
    scope: &Scope,
    model: ModelId,
    kind: AlertKind,
) -> Result<Option<Alert>, StoreError> {
    let sql = concat!(
        "SELECT ",
        columns!(),
        " FROM alerts WHERE scope = $1 AND model_id = $2 AND kind = $3 AND state <> 'resolved' LIMIT 1"
    );
    on.query_one(sql, values![scope.key(), model, kind])
        .await?
        .map(read)
        .transpose()
}

/// Alerts that are not resolved, newest first.
pub async fn standing(on: &impl Read) -> Result<Vec<Alert>, StoreError> {
    let sql = concat!(
        "SELECT ",
        columns!(),
        " FROM alerts WHERE state <> 'resolved' ORDER BY id DESC"
    );
    on.query(sql, vec![]).await?.into_iter().map(read).collect()
}

/// The alerts of a model that were raised in a stretch of time, its end not in it, oldest first.
pub async fn raised(
    on: &impl Read,
    model: ModelId,
    (after, before): (Timestamp, Timestamp),
) -> Result<Vec<Alert>, StoreError> {
    let sql = concat!(
        "SELECT ",
        columns!(),
        " FROM alerts WHERE model_id = $1 AND opened_at >= $2 AND opened_at < $3 ORDER BY opened_at, id"
    );
    let rows = on.query(sql, values![model, after, before]).await?;
    rows.into_iter().map(read).collect()
}

/// The newest alerts in any state, newest first.
pub async fn list(on: &impl Read, limit: u32) -> Result<Vec<Alert>, StoreError> {
    let sql = concat!(
        "SELECT ",
        columns!(),
        " FROM alerts ORDER BY id DESC LIMIT $1"
    );
    on.query(sql, values![limit])
        .await?
        .into_iter()
        .map(read)
        .collect()
}

fn read(row: Row) -> Result<Alert, StoreError> {
    let mut row = row.of("alert");
    Ok(Alert {
        id: row.take()?,
        scope: Scope::of_key(row.take()?),
        model: row.take()?,
        kind: row.take()?,
        advice: row.take()?,
        detail: row.take()?,
        state: row.take()?,
        actor: row.take()?,
        reason: row.take()?,
        muted_until: row.take()?,
        opened_at: row.take()?,
        changed_at: row.take()?,
        revision: row.take()?,
    })
}
