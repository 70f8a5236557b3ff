//! Devices that poll the hawkBit DDI: how each is known there, what it is asked to install, and the tokens that
//! speak for a class of them. Of tokens only digests are kept.

use crate::access::AccessTokenId;
use crate::column::{Row, row_id, values, words};
use crate::db::{Query as _, Read, touched};
use crate::rollout::RolloutId;
use crate::{DeviceId, Digest, Json, ModelId, StoreError, Timestamp, Tx};

row_id! {
    /// The number of an action: one installation that one device is asked for.
    ActionId
}

words! {
    /// How a capsule and its statement are packed for a device.
    Packing {
        /// As two artifacts.
        Files = "files",
        /// In one `.swu`, for clients that take one artifact.
        Swu = "swu",
    }
}

words! {
    /// Where an action stands.
    ActionState {
        /// The user of the device has not consented yet.
        Waiting = "waiting",
        /// The device is asked to install it.
        Open = "open",
        /// The device is asked not to install it any more.
        Canceling = "canceling",
        /// The device has installed it.
        Finished = "finished",
        /// The device could not install it.
        Failed = "failed",
        /// It was taken back before the device installed it.
        Canceled = "canceled",
    }
}

impl ActionState {
    /// Whether the device may still answer.
    pub fn stands(self) -> bool {
        matches!(
            self,
            ActionState::Waiting | ActionState::Open | ActionState::Canceling
        )
    }
}

/// A device as the DDI knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// The device.
    pub device: DeviceId,
    /// What it calls itself in the path of its calls.
    pub controller: String,
    /// The digest of its own token; `None` for a device that a gateway speaks for.
    pub token: Option<Digest>,
    /// How what it installs is packed.
    pub packing: Packing,
    /// Whether its user is asked before each installation.
    pub asks_consent: bool,
    /// Who consented to all that comes, and when; null if nobody did.
    pub auto_confirm: Json,
    /// Whether it is asked for its attributes.
    pub wants_config: bool,
    /// When a poll was last counted as a report.
    pub counted_at: Option<Timestamp>,
    /// Counts the changes to this row.
    pub revision: i64,
}

/// One installation that one device is asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Action {
    /// Its number.
    pub id: ActionId,
    /// The device.
    pub device: DeviceId,
    /// The rollout that asks for it.
    pub rollout: RolloutId,
    /// The capsule.
    pub model: ModelId,
    /// Where it stands.
    pub state: ActionState,
    /// The director's statement for the device and the capsule.
    pub statement: Vec<u8>,
    /// What the device said of it, and what else is known.
    pub detail: Json,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub changed_at: Timestamp,
    /// Counts the changes to this row.
    pub revision: i64,
}

/// The class of devices that an access token speaks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Class {
    /// The token.
    pub token: AccessTokenId,
    /// The board of the devices.
    pub board: String,
    /// Their cohort.
    pub cohort: String,
    /// How what they install is packed.
    pub packing: Packing,
}

/// Adds a target, or gives a device another controller id, token, packing or rule of consent.
///
/// # Errors
/// [`StoreError::Exists`] if the controller id is another device's.
pub async fn set_target(tx: &Tx, target: &Target) -> Result<(), StoreError> {
    if get(tx, &target.controller)
        .await?
        .is_some_and(|other| other.device != target.device)
    {
        return Err(StoreError::Exists {
            entity: "controller",
            key: target.controller.clone(),
        });
    }
    tx.execute(
        "INSERT INTO ddi_targets (device, controller, token, packing, asks_consent, auto_confirm, wants_config,
                                  counted_at, revision)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0)
         ON CONFLICT (device) DO UPDATE SET controller = excluded.controller, token = excluded.token,
           packing = excluded.packing, asks_consent = excluded.asks_consent, auto_confirm = excluded.auto_confirm,
           wants_config = excluded.wants_config, counted_at = excluded.counted_at, revision = ddi_targets.revision + 1",
        values![
            target.device,
            target.controller,
            target.token,
            target.packing,
            target.asks_consent,
            target.auto_confirm,
            target.wants_config,
            target.counted_at
        ],
    )
    .await?;
    Ok(())
}

/// Changes what a target is asked for and has consented to.
///
/// # Errors
/// [`StoreError::Conflict`] if another writer changed it since `target` was read.
pub async fn put_target(tx: &Tx, target: &mut Target) -> Result<(), StoreError> {
    let count = tx
        .execute(
            "UPDATE ddi_targets SET auto_confirm = $1, wants_config = $2, counted_at = $3, revision = revision + 1
             WHERE device = $4 AND revision = $5",
            values![
                target.auto_confirm,
                target.wants_config,
                target.counted_at,
                target.device,
                target.revision
            ],
        )
        .await?;
    touched(count, "target", target.device)?;
    target.revision += 1;
    Ok(())
}

/// The target with this controller id.
pub async fn get(on: &impl Read, controller: &str) -> Result<Option<Target>, StoreError> {
    let sql = "SELECT device, controller, token, packing, asks_consent, auto_confirm, wants_config, counted_at, revision
               FROM ddi_targets WHERE controller = $1";
    on.query_one(sql, values![controller.to_owned()])
        .await?
        .map(read_target)
        .transpose()
}

/// How a device is known, if it polls the DDI.
pub async fn of_device(on: &impl Read, device: DeviceId) -> Result<Option<Target>, StoreError> {
    let sql = "SELECT device, controller, token, packing, asks_consent, auto_confirm, wants_config, counted_at, revision
               FROM ddi_targets WHERE device = $1";
    on.query_one(sql, values![device])
        .await?
        .map(read_target)
        .transpose()
}

/// An action before it is numbered.
#[derive(Clone, Debug, PartialEq)]
pub struct NewAction {
    /// The device.
    pub device: DeviceId,
    /// The rollout that asks for it.
    pub rollout: RolloutId,
    /// The capsule.
    pub model: ModelId,
    /// Where it stands.
    pub state: ActionState,
    /// The director's statement for the device and the capsule.
    pub statement: Vec<u8>,
    /// What is known of it.
    pub detail: Json,
}

/// Adds an action and numbers it.
pub async fn add_action(tx: &Tx, new: &NewAction, now: Timestamp) -> Result<Action, StoreError> {
    let row = tx
        .query_one(
            "INSERT INTO ddi_actions (device, rollout_id, model_id, state, statement, detail, created_at, changed_at, revision)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $7, 0)
             RETURNING id, device, rollout_id, model_id, state, statement, detail, created_at, changed_at, revision",
            values![
                new.device,
                new.rollout,
                new.model,
                new.state,
                new.statement,
                new.detail,
                now
            ],
        )
        .await?;
    row.map(read_action).transpose()?.ok_or(StoreError::Closed)
}

/// Changes the state and the details of an action.
///
/// # Errors
/// [`StoreError::Conflict`] if another writer changed it since `action` was read.
pub async fn put_action(tx: &Tx, action: &mut Action) -> Result<(), StoreError> {
    let count = tx
        .execute(
            "UPDATE ddi_actions SET state = $1, detail = $2, changed_at = $3, revision = revision + 1
             WHERE id = $4 AND revision = $5",
            values![
                action.state,
                action.detail,
                action.changed_at,
                action.id,
                action.revision
            ],
        )
        .await?;
    touched(count, "action", action.id)?;
    action.revision += 1;
    Ok(())
}

/// One action.
pub async fn action(on: &impl Read, id: ActionId) -> Result<Option<Action>, StoreError> {
    let sql = "SELECT id, device, rollout_id, model_id, state, statement, detail, created_at, changed_at, revision
               FROM ddi_actions WHERE id = $1";
    on.query_one(sql, values![id])
        .await?
        .map(read_action)
        .transpose()
}

/// The action that a device has not answered yet; there is one at most.
pub async fn standing(on: &impl Read, device: DeviceId) -> Result<Option<Action>, StoreError> {
    let sql = "SELECT id, device, rollout_id, model_id, state, statement, detail, created_at, changed_at, revision
               FROM ddi_actions WHERE device = $1 AND state IN ('waiting', 'open', 'canceling')";
    on.query_one(sql, values![device])
        .await?
        .map(read_action)
        .transpose()
}

/// The action that a device installed last.
pub async fn installed(on: &impl Read, device: DeviceId) -> Result<Option<Action>, StoreError> {
    let sql = "SELECT id, device, rollout_id, model_id, state, statement, detail, created_at, changed_at, revision
               FROM ddi_actions WHERE device = $1 AND state = 'finished' ORDER BY changed_at DESC, id DESC LIMIT 1";
    on.query_one(sql, values![device])
        .await?
        .map(read_action)
        .transpose()
}

/// The newest action of a device.
pub async fn newest(on: &impl Read, device: DeviceId) -> Result<Option<Action>, StoreError> {
    let sql = "SELECT id, device, rollout_id, model_id, state, statement, detail, created_at, changed_at, revision
               FROM ddi_actions WHERE device = $1 ORDER BY id DESC LIMIT 1";
    on.query_one(sql, values![device])
        .await?
        .map(read_action)
        .transpose()
}

/// Lets an access token speak for a class.
pub async fn put_class(tx: &Tx, class: &Class) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO ddi_classes (token_id, board, cohort, packing) VALUES ($1, $2, $3, $4)",
        values![class.token, class.board, class.cohort, class.packing],
    )
    .await?;
    Ok(())
}

/// The class that a token speaks for, if it speaks for one.
pub async fn class_of(on: &impl Read, token: AccessTokenId) -> Result<Option<Class>, StoreError> {
    let sql = "SELECT token_id, board, cohort, packing FROM ddi_classes WHERE token_id = $1";
    on.query_one(sql, values![token])
        .await?
        .map(read_class)
        .transpose()
}

/// The classes of all tokens.
pub async fn classes(on: &impl Read) -> Result<Vec<Class>, StoreError> {
    let sql = "SELECT token_id, board, cohort, packing FROM ddi_classes ORDER BY token_id";
    let rows = on.query(sql, vec![]).await?;
    rows.into_iter().map(read_class).collect()
}

fn read_target(row: Row) -> Result<Target, StoreError> {
    let mut row = row.of("target");
    Ok(Target {
        device: row.take()?,
        controller: row.take()?,
        token: row.take()?,
        packing: row.take()?,
        asks_consent: row.take()?,
        auto_confirm: row.take()?,
        wants_config: row.take()?,
        counted_at: row.take()?,
        revision: row.take()?,
    })
}

fn read_action(row: Row) -> Result<Action, StoreError> {
    let mut row = row.of("action");
    Ok(Action {
        id: row.take()?,
        device: row.take()?,
        rollout: row.take()?,
        model: row.take()?,
        state: row.take()?,
        statement: row.take()?,
        detail: row.take()?,
        created_at: row.take()?,
        changed_at: row.take()?,
        revision: row.take()?,
    })
}

fn read_class(row: Row) -> Result<Class, StoreError> {
    let mut row = row.of("class");
    Ok(Class {
        token: row.take()?,
        board: row.take()?,
        cohort: row.take()?,
        packing: row.take()?,
    })
}
