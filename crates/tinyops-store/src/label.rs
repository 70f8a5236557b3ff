//! Labels that people give the newest windows of a device, and whether the device was told.

use crate::column::{Row, row_id, values};
use crate::db::{Query as _, Read};
use crate::{DeviceId, ModelId, StoreError, Timestamp, Tx};

row_id! {
    /// The number of a label.
    LabelId
}

/// What a label says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewLabel {
    /// Whose windows.
    pub device: DeviceId,
    /// The model that has judged them: one that runs another is not told.
    pub model: ModelId,
    /// Place of the class among the model's.
    pub class: u8,
    /// The class by its name.
    pub class_name: String,
    /// How many of the newest windows, when the device is told; 0 takes back whatever has been labelled before.
    pub windows: u16,
    /// From here on, the newest windows are others.
    pub expires_at: Timestamp,
}

/// A label, and whether its device was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// Its number.
    pub id: LabelId,
    /// What it says.
    pub said: NewLabel,
    /// When it came.
    pub made_at: Timestamp,
    /// When the device was told, if it was.
    pub told_at: Option<Timestamp>,
}

/// Adds a label.
pub async fn add(tx: &Tx, new: &NewLabel, now: Timestamp) -> Result<LabelId, StoreError> {
    let sql =
        "INSERT INTO labels (device, model_id, class, class_name, windows, made_at, expires_at)
               VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING id";
    let row = values![
        new.device,
        new.model,
        u32::from(new.class),
        new.class_name,
        u32::from(new.windows),
        now,
        new.expires_at
    ];
    let row = tx.query_one(sql, row).await?;
    row.ok_or(StoreError::Closed)?.take()
}

/// The labels that devices which run their model have not been told, oldest first: of one device, or all.
pub async fn untold(
    on: &impl Read,
    device: Option<DeviceId>,
    now: Timestamp,
) -> Result<Vec<Label>, StoreError> {
    let rows = match device {
        Some(device) => {
            let sql = "SELECT l.id, l.device, l.model_id, l.class, l.class_name, l.windows,
                       l.expires_at, l.made_at, l.told_at FROM labels l
                       JOIN presences p ON p.device = l.device AND (l.windows = 0 OR p.model_id = l.model_id)
                       WHERE l.told_at IS NULL AND l.expires_at > $1 AND l.device = $2 ORDER BY l.id";
            on.query(sql, values![now, device]).await?
        }
        None => {
            let sql = "SELECT l.id, l.device, l.model_id, l.class, l.class_name, l.windows,
                       l.expires_at, l.made_at, l.told_at FROM labels l
                       JOIN presences p ON p.device = l.device AND (l.windows = 0 OR p.model_id = l.model_id)
                       WHERE l.told_at IS NULL AND l.expires_at > $1 ORDER BY l.id";
            on.query(sql, values![now]).await?
        }
    };
    rows.into_iter().map(read).collect()
}

/// The newest labels, newest first.
pub async fn list(on: &impl Read, limit: u32) -> Result<Vec<Label>, StoreError> {
    let sql =
        "SELECT id, device, model_id, class, class_name, windows, expires_at, made_at, told_at FROM labels
               ORDER BY id DESC LIMIT $1";
    let rows = on.query(sql, values![limit]).await?;
    rows.into_iter().map(read).collect()
}

/// Notes that a device was told; false if it was before.
pub async fn mark_told(tx: &Tx, id: LabelId, now: Timestamp) -> Result<bool, StoreError> {
    let sql = "UPDATE labels SET told_at = $2 WHERE id = $1 AND told_at IS NULL";
    Ok(tx.execute(sql, values![id, now]).await? > 0)
}

fn read(row: Row) -> Result<Label, StoreError> {
    let mut row = row.of("label");
    let id = row.take()?;
    let (device, model) = (row.take()?, row.take()?);
    let class: u32 = row.take()?;
    let class_name = row.take()?;
    let windows: u32 = row.take()?;
    let too_large = |index| StoreError::Column {
        entity: "label",
        index,
    };
    let said = NewLabel {
        device,
        model,
        class: class.try_into().map_err(|_| too_large(3))?,
        class_name,
        windows: windows.try_into().map_err(|_| too_large(5))?,
        expires_at: row.take()?,
    };
    Ok(Label {
        id,
        said,
        made_at: row.take()?,
        told_at: row.take()?,
    })
}
