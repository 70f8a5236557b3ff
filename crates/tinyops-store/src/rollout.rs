//! Rollouts: which devices should run a new capsule, and how far each has come.

use crate::column::{Row, row_id, values, words};
use crate::db::{Query as _, Read, touched};
use crate::{DeviceId, Json, ModelId, StoreError, Timestamp, Tx};

row_id! {
    /// The number of a rollout.
    RolloutId
}

words! {
    /// Where a rollout stands.
    RolloutState {
        /// A part of the fleet tries it.
        Canary = "canary",
        /// Everyone gets it.
        Full = "full",
        /// A person holds it.
        Paused = "paused",
        /// Every device has it.
        Done = "done",
        /// It made things worse: exposed devices go back.
        Halted = "halted",
    }
}

words! {
    /// How far one device of a rollout is.
    Delivery {
        /// Not offered yet: the control arm while the canary runs.
        Control = "control",
        /// Should have it; was or will be offered.
        Offered = "offered",
        /// Reports with it.
        Confirmed = "confirmed",
        /// Could not install it.
        Failed = "failed",
        /// Tried it and went back by itself.
        Reverted = "reverted",
        /// Took it and was not heard of by the deadline.
        Silent = "silent",
        /// Is offered the old one again, after a halt.
        Recalled = "recalled",
    }
}

/// One rollout.
#[derive(Clone, Debug, PartialEq)]
pub struct Rollout {
    /// Its number.
    pub id: RolloutId,
    /// The model family.
    pub model: String,
    /// The version that goes out.
    pub version: u32,
    /// The version to go back to.
    pub previous: Option<u32>,
    /// The cohort that it is for; `None` is every device with a fitting board.
    pub cohort: Option<String>,
    /// Where it stands.
    pub state: RolloutState,
    /// The plan: canary share, deadlines, limits of the health gate.
    pub plan: Json,
    /// Why it stands there: the metric that halted it, the person who paused it.
    pub reason: Json,
    /// When it was made.
    pub created_at: Timestamp,
    /// When its state last changed.
    pub changed_at: Timestamp,
    /// Counts the changes to this row.
    pub revision: i64,
}

/// What is known of a rollout before it is numbered.
#[derive(Clone, Debug, PartialEq)]
pub struct NewRollout {
    /// The model family.
    pub model: String,
    /// The version that goes out.
    pub version: u32,
    /// The version to go back to.
    pub previous: Option<u32>,
    /// The cohort that it is for.
    pub cohort: Option<String>,
    /// Where it begins.
    pub state: RolloutState,
    /// The plan.
    pub plan: Json,
}

/// One device of a rollout.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// Of which rollout.
    pub rollout: RolloutId,
    /// Which device.
    pub device: DeviceId,
    /// How far it is.
    pub delivery: Delivery,
    /// The capsule it should run now.
    pub target: Option<ModelId>,
    /// When the delivery last changed.
    pub changed_at: Timestamp,
    /// What the device said about it.
    pub detail: Json,
}

/// Adds a rollout and numbers it.
pub async fn add(tx: &Tx, new: &NewRollout, now: Timestamp) -> Result<Rollout, StoreError> {
    let row = tx
        .query_one(
            "INSERT INTO rollouts (model, version, previous, cohort, state, plan, reason, created_at, changed_at, revision)
             VALUES ($1, $2, $3, $4, $5, $6, '{}', $7, $7, 0)
             RETURNING id, model, version, previous, cohort, state, plan, reason, created_at, changed_at, revision",
            values![new.model, new.version, new.previous, new.cohort, new.state, new.plan, now],
        )
        .await?;
    row.map(read).transpose()?.ok_or(StoreError::Closed)
}

/// Changes the state, plan and reason of a rollout.
///
/// # Errors
/// [`StoreError::Conflict`] if another writer changed it since `rollout` was read.
pub async fn put(tx: &Tx, rollout: &mut Rollout) -> Result<(), StoreError> {
    let count = tx
        .execute(
            "UPDATE rollouts SET state = $1, plan = $2, reason = $3, changed_at = $4, revision = revision + 1
             WHERE id = $5 AND revision = $6",
            values![
                rollout.state, rollout.plan, rollout.reason, rollout.changed_at, rollout.id, rollout.revision
            ],
        )
        .await?;
    touched(count, "rollout", rollout.id)?;
    rollout.revision += 1;
    Ok(())
}

/// One rollout.
pub async fn get(on: &impl Read, id: RolloutId) -> Result<Option<Rollout>, StoreError> {
    let sql = "SELECT id, model, version, previous, cohort, state, plan, reason, created_at, changed_at, revision
               FROM rollouts WHERE id = $1";
    on.query_one(sql, values![id]).await?.map(read).transpose()
}

/// Rollouts that may still change anything on a device, oldest first: not done, or halted.
pub async fn open(on: &impl Read) -> Result<Vec<Rollout>, StoreError> {
    let sql = "SELECT id, model, version, previous, cohort, state, plan, reason, created_at, changed_at, revision
               FROM rollouts WHERE state IN ('canary', 'full', 'paused') ORDER BY id";
    on.query(sql, vec![]).await?.into_iter().map(read).collect()
}

/// The newest rollouts, newest first.
pub async fn list(on: &impl Read, limit: u32) -> Result<Vec<Rollout>, StoreError> {
    let sql = "SELECT id, model, version, previous, cohort, state, plan, reason, created_at, changed_at, revision
               FROM rollouts ORDER BY id DESC LIMIT $1";
    on.query(sql, values![limit])
        .await?
        .into_iter()
        .map(read)
        .collect()
}

/// Writes members of a rollout, new or changed.
pub async fn put_members(tx: &Tx, members: &[Member]) -> Result<(), StoreError> {
    let rows = members
        .iter()
        .map(|m| {
            values![
                m.rollout,
                m.device,
                m.delivery,
                m.target,
                m.changed_at,
                m.detail
            ]
        })
        .collect();
    tx.execute_many(
        "INSERT INTO rollout_members (rollout_id, device, delivery, target, changed_at, detail)
         VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (rollout_id, device) DO UPDATE SET delivery = excluded.delivery, target = excluded.target,
           changed_at = excluded.changed_at, detail = excluded.detail",
        rows,
    )
    .await?;
    Ok(())
}

/// All members of a rollout, by device.
pub async fn members(on: &impl Read, rollout: RolloutId) -> Result<Vec<Member>, StoreError> {
    let sql = "SELECT rollout_id, device, delivery, target, changed_at, detail FROM rollout_members
               WHERE rollout_id = $1 ORDER BY device";
    on.query(sql, values![rollout])
        .await?
        .into_iter()
        .map(read_member)
        .collect()
}

/// How many members stand where.
pub async fn tally(on: &impl Read, rollout: RolloutId) -> Result<Vec<(Delivery, i64)>, StoreError> {
    let sql = "SELECT delivery, COUNT(*) FROM rollout_members WHERE rollout_id = $1 GROUP BY delivery ORDER BY delivery";
    on.query(sql, values![rollout])
        .await?
        .into_iter()
        .map(|mut row| Ok((row.take()?, row.take()?)))
        .collect()
}

/// The memberships of one device, newest rollout first.
pub async fn of_device(on: &impl Read, device: DeviceId) -> Result<Vec<Member>, StoreError> {
    let sql = "SELECT rollout_id, device, delivery, target, changed_at, detail FROM rollout_members
               WHERE device = $1 ORDER BY rollout_id DESC";
    on.query(sql, values![device])
        .await?
        .into_iter()
        .map(read_member)
        .collect()
}

/// What one device should run: the target of its newest membership that has one.
pub async fn target(on: &impl Read, device: DeviceId) -> Result<Option<Member>, StoreError> {
    let sql = "SELECT rollout_id, device, delivery, target, changed_at, detail FROM rollout_members
               WHERE device = $1 AND target IS NOT NULL ORDER BY rollout_id DESC LIMIT 1";
    on.query_one(sql, values![device])
        .await?
        .map(read_member)
        .transpose()
}

/// Members that do not run what they should: their newest target is not the model they last reported.
pub async fn outstanding(on: &impl Read) -> Result<Vec<Member>, StoreError> {
    let sql = "SELECT m.rollout_id, m.device, m.delivery, m.target, m.changed_at, m.detail
               FROM rollout_members m LEFT JOIN presences p ON p.device = m.device
               WHERE m.target IS NOT NULL AND (p.model_id IS NULL OR p.model_id <> m.target)
                 AND m.rollout_id = (SELECT MAX(n.rollout_id) FROM rollout_members n
                                     WHERE n.device = m.device AND n.target IS NOT NULL)
               ORDER BY m.device";
    on.query(sql, vec![])
        .await?
        .into_iter()
        .map(read_member)
        .collect()
}

/// The newest memberships with a target of many devices, in the order asked for.
pub async fn targets(tx: &Tx, devices: &[DeviceId]) -> Result<Vec<Option<Member>>, StoreError> {
    let sql = "SELECT rollout_id, device, delivery, target, changed_at, detail FROM rollout_members
               WHERE device = $1 AND target IS NOT NULL ORDER BY rollout_id DESC LIMIT 1";
    let answers = tx
        .query_many(sql, devices.iter().map(|id| values![*id]).collect())
        .await?;
    answers
        .into_iter()
        .map(|rows| rows.into_iter().next().map(read_member).transpose())
        .collect()
}

fn read(row: Row) -> Result<Rollout, StoreError> {
    let mut row = row.of("rollout");
    Ok(Rollout {
        id: row.take()?,
        model: row.take()?,
        version: row.take()?,
        previous: row.take()?,
        cohort: row.take()?,
        state: row.take()?,
        plan: row.take()?,
        reason: row.take()?,
        created_at: row.take()?,
        changed_at: row.take()?,
        revision: row.take()?,
    })
}

fn read_member(row: Row) -> Result<Member, StoreError> {
    let mut row = row.of("rollout member");
    Ok(Member {
        rollout: row.take()?,
        device: row.take()?,
        delivery: row.take()?,
        target: row.take()?,
        changed_at: row.take()?,
        detail: row.take()?,
    })
}
