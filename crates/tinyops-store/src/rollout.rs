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
        /// It goes on, wave by wave.
        Running = "running",
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
        /// Not offered yet: the control arm.
        Control = "control",
        /// Is told to fetch it and to score windows with it beside what it runs, or does so: it is not installed.
        Shadowing = "shadowing",
        /// Is told to fetch it and keep it: it is installed later.
        Fetching = "fetching",
        /// Has it, checked, and waits until it may install it.
        Held = "held",
        /// Should have it; was or will be offered.
        Offered = "offered",
        /// Fetches it, or has it and tries it.
        Taken = "taken",
        /// Reports with it.
        Confirmed = "confirmed",
        /// Could not install it.
        Failed = "failed",
        /// Tried it and went back by itself.
        Reverted = "reverted",
        /// Was heard of and did not install it by the deadline, or took it and was not heard of again.
        Silent = "silent",
        /// Is sent back to the old one, after a halt.
        Recalled = "recalled",
        /// Belongs to the rollout no more: it went to another, matches no more, or may speak no more.
        Left = "left",
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
    /// The devices that it is for; empty is every device with a fitting board.
    pub selector: String,
    /// Of several open rollouts, a device belongs to the one of the highest priority.
    pub priority: i64,
    /// Where it stands.
    pub state: RolloutState,
    /// The plan: strategy, deadlines, windows, what halts it.
    pub plan: Json,
    /// How far it is: wave, share, evidence.
    pub progress: Json,
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
    /// The devices that it is for.
    pub selector: String,
    /// Its priority.
    pub priority: i64,
    /// The plan.
    pub plan: Json,
    /// How far it is.
    pub progress: Json,
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
            "INSERT INTO rollouts (model, version, previous, selector, priority, state, plan, progress, reason, created_at, changed_at, revision)
             VALUES ($1, $2, $3, $4, $5, 'running', $6, $7, '{}', $8, $8, 0)
             RETURNING id, model, version, previous, selector, priority, state, plan, progress, reason, created_at, changed_at, revision",
            values![new.model, new.version, new.previous, new.selector, new.priority, new.plan, new.progress, now],
        )
        .await?;
    row.map(read).transpose()?.ok_or(StoreError::Closed)
}

/// Changes the state, progress and reason of a rollout.
///
/// # Errors
/// [`StoreError::Conflict`] if another writer changed it since `rollout` was read.
pub async fn put(tx: &Tx, rollout: &mut Rollout) -> Result<(), StoreError> {
    let count = tx
        .execute(
            "UPDATE rollouts SET state = $1, progress = $2, reason = $3, changed_at = $4, revision = revision + 1
             WHERE id = $5 AND revision = $6",
            values![
                rollout.state, rollout.progress, rollout.reason, rollout.changed_at, rollout.id, rollout.revision
            ],
        )
        .await?;
    touched(count, "rollout", rollout.id)?;
    rollout.revision += 1;
    Ok(())
}

/// One rollout.
pub async fn get(on: &impl Read, id: RolloutId) -> Result<Option<Rollout>, StoreError> {
    let sql = "SELECT id, model, version, previous, selector, priority, state, plan, progress, reason, created_at, changed_at, revision
               FROM rollouts WHERE id = $1";
    on.query_one(sql, values![id]).await?.map(read).transpose()
}

/// Rollouts that may still change anything on a device, oldest first: not done, or halted.
pub async fn open(on: &impl Read) -> Result<Vec<Rollout>, StoreError> {
    let sql = "SELECT id, model, version, previous, selector, priority, state, plan, progress, reason, created_at, changed_at, revision
               FROM rollouts WHERE state IN ('running', 'paused') ORDER BY id";
    on.query(sql, vec![]).await?.into_iter().map(read).collect()
}

/// The newest rollouts, newest first.
pub async fn list(on: &impl Read, limit: u32) -> Result<Vec<Rollout>, StoreError> {
    let sql = "SELECT id, model, version, previous, selector, priority, state, plan, progress, reason, created_at, changed_at, revision
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

/// The memberships of many devices, in the order asked for, each newest rollout first.
pub async fn of_devices(tx: &Tx, devices: &[DeviceId]) -> Result<Vec<Vec<Member>>, StoreError> {
    let sql = "SELECT rollout_id, device, delivery, target, changed_at, detail FROM rollout_members
               WHERE device = $1 ORDER BY rollout_id DESC";
    let answers = tx
        .query_many(sql, devices.iter().map(|id| values![*id]).collect())
        .await?;
    let read_all = |rows: Vec<Row>| rows.into_iter().map(read_member).collect();
    answers.into_iter().map(read_all).collect()
}

/// What one device should run: at most one of its memberships says so.
pub async fn target(on: &impl Read, device: DeviceId) -> Result<Option<Member>, StoreError> {
    let sql = "SELECT rollout_id, device, delivery, target, changed_at, detail FROM rollout_members
               WHERE device = $1 AND target IS NOT NULL";
    on.query_one(sql, values![device])
        .await?
        .map(read_member)
        .transpose()
}

/// Members that do not run what they should: their target is not the model they last reported, they are to go back to
/// the factory's model and nothing else was told them since, or they are to score windows with a candidate. Those of
/// one device, or of all.
pub async fn outstanding(
    on: &impl Read,
    device: Option<DeviceId>,
) -> Result<Vec<Member>, StoreError> {
    macro_rules! among {
        ($which:literal) => {
            concat!(
                "SELECT m.rollout_id, m.device, m.delivery, m.target, m.changed_at, m.detail
                 FROM rollout_members m LEFT JOIN presences p ON p.device = m.device
                 WHERE ",
                $which,
                "(m.target IS NOT NULL AND (p.model_id IS NULL OR p.model_id <> m.target)
                  OR m.target IS NULL AND m.delivery = 'recalled' AND p.model_id IS NOT NULL
                     AND NOT EXISTS (SELECT 1 FROM rollout_members o WHERE o.device = m.device AND o.target IS NOT NULL)
                  OR m.delivery = 'shadowing')
                 ORDER BY m.device"
            )
        };
    }
    let rows = match device {
        Some(device) => on.query(among!("m.device = $1 AND "), values![device]),
        None => on.query(among!(""), vec![]),
    };
    rows.await?.into_iter().map(read_member).collect()
}

/// The memberships of many devices in rollouts that still listen to them: open ones, and those done, whose devices
/// may yet go back.
pub async fn listening(tx: &Tx, devices: &[DeviceId]) -> Result<Vec<Member>, StoreError> {
    let sql = "SELECT m.rollout_id, m.device, m.delivery, m.target, m.changed_at, m.detail
               FROM rollout_members m JOIN rollouts r ON r.id = m.rollout_id
               WHERE m.device = $1 AND m.delivery <> 'left' AND r.state <> 'halted'
                 AND (r.state <> 'done' OR m.target IS NOT NULL)";
    let answers = tx
        .query_many(sql, devices.iter().map(|id| values![*id]).collect())
        .await?;
    answers.into_iter().flatten().map(read_member).collect()
}

/// Says that no rollout but this one has a word for these devices.
pub async fn clear_targets(
    tx: &Tx,
    keep: RolloutId,
    devices: &[DeviceId],
) -> Result<(), StoreError> {
    let rows = devices.iter().map(|id| values![*id, keep]).collect();
    tx.execute_many(
        "UPDATE rollout_members SET target = NULL WHERE device = $1 AND rollout_id <> $2 AND target IS NOT NULL",
        rows,
    )
    .await?;
    Ok(())
}

/// The devices that have left a rollout.
pub async fn left(on: &impl Read, rollout: RolloutId) -> Result<Vec<DeviceId>, StoreError> {
    let sql = "SELECT device FROM rollout_members WHERE rollout_id = $1 AND delivery = 'left'";
    on.query(sql, values![rollout])
        .await?
        .into_iter()
        .map(|mut row| row.take())
        .collect()
}

/// The rollouts of a model, newest first.
pub async fn of_model(on: &impl Read, model: &str) -> Result<Vec<Rollout>, StoreError> {
    let sql = "SELECT id, model, version, previous, selector, priority, state, plan, progress, reason, created_at, changed_at, revision
               FROM rollouts WHERE model = $1 ORDER BY id DESC";
    on.query(sql, values![model.to_owned()])
        .await?
        .into_iter()
        .map(read)
        .collect()
}

/// Which devices belong to an open rollout, and to which: those that have not left it.
pub async fn owned(on: &impl Read) -> Result<Vec<(DeviceId, RolloutId)>, StoreError> {
    let sql = "SELECT m.device, m.rollout_id FROM rollout_members m JOIN rollouts r ON r.id = m.rollout_id
               WHERE r.state IN ('running', 'paused') AND m.delivery <> 'left'";
    on.query(sql, vec![])
        .await?
        .into_iter()
        .map(|mut row| Ok((row.take()?, row.take()?)))
        .collect()
}

/// How the devices of rollouts that went well answered: those that installed, and those that did not. Of the
/// newest `limit` rollouts.
pub async fn past_installs(on: &impl Read, limit: u32) -> Result<(i64, i64), StoreError> {
    let sql = "SELECT m.delivery, COUNT(*) FROM rollout_members m
               JOIN (SELECT id FROM rollouts WHERE state = 'done' ORDER BY id DESC LIMIT $1) r ON r.id = m.rollout_id
               WHERE m.delivery IN ('confirmed', 'failed', 'reverted', 'silent') GROUP BY m.delivery";
    let (mut well, mut failed) = (0, 0);
    for mut row in on.query(sql, values![limit]).await? {
        let (delivery, count): (Delivery, i64) = (row.take()?, row.take()?);
        match delivery {
            Delivery::Confirmed => well += count,
            _ => failed += count,
        }
    }
    Ok((well, failed))
}

fn read(row: Row) -> Result<Rollout, StoreError> {
    let mut row = row.of("rollout");
    Ok(Rollout {
        id: row.take()?,
        model: row.take()?,
        version: row.take()?,
        previous: row.take()?,
        selector: row.take()?,
        priority: row.take()?,
        state: row.take()?,
        plan: row.take()?,
        progress: row.take()?,
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
