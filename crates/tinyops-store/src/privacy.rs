//! Reports under masks or noise while they wait for their sum, and what devices have paid of their privacy budgets.

use crate::column::{Row, row_id, values, words};
use crate::db::{Query as _, Read};
use crate::{DeviceId, ModelId, StoreError, Timestamp, Tx};

row_id! {
    /// The number of a sum.
    SumId
}

words! {
    /// What hides the numbers of a report.
    Veil {
        /// Masks: it says nothing until the helper has told those of many.
        Masks = "masks",
        /// Noise of the device's own: it says little.
        Noise = "noise",
    }
}

/// A report under masks or noise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaskedReport {
    /// Whose.
    pub device: DeviceId,
    /// What hides its numbers.
    pub veil: Veil,
    /// The number of its envelope, which its masks depend on.
    pub seq: u32,
    /// The device's cohort when it came.
    pub cohort: String,
    /// The model that it is of.
    pub model: ModelId,
    /// The task that it was made by, as the wire has it.
    pub task: Vec<u8>,
    /// The numbers, u32 each, least byte first.
    pub numbers: Vec<u8>,
    /// When it came.
    pub received_at: Timestamp,
}

/// Reports of one cohort, model, task and veil that are in no sum yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Of which cohort.
    pub cohort: String,
    /// Under what.
    pub veil: Veil,
    /// Of which model.
    pub model: ModelId,
    /// By which task.
    pub task: Vec<u8>,
    /// How many reports.
    pub report_count: u32,
    /// Of how many devices.
    pub device_count: u32,
    /// When the oldest came.
    pub oldest: Timestamp,
}

/// A sum that a helper is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaskedSum {
    /// Its number.
    pub id: SumId,
    /// Of which cohort.
    pub cohort: String,
    /// Of which model.
    pub model: ModelId,
    /// By which task.
    pub task: Vec<u8>,
    /// Of how many devices.
    pub device_count: u32,
    /// When it was asked for first.
    pub asked_at: Timestamp,
    /// Why there is no answer yet; empty while none is late.
    pub problem: String,
}

/// What a device has paid for a purpose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paid {
    /// Which device.
    pub device: DeviceId,
    /// For what.
    pub purpose: String,
    /// Millionths of ρ, in this period.
    pub micro_rho: i64,
    /// When the period began, as the server has it.
    pub period_from: Timestamp,
    /// What the device itself said last of its budget: 0 none is kept, 1 spent, 2 less than half, 3 half or more.
    pub budget_class: u32,
    /// When it last paid, or last said so.
    pub changed_at: Timestamp,
}

/// Keeps reports; one with the same device and number stays as it is.
pub async fn add_many(tx: &Tx, reports: &[MaskedReport]) -> Result<(), StoreError> {
    let row = |r: &MaskedReport| {
        values![
            r.device,
            r.seq,
            r.cohort,
            r.model,
            r.task,
            r.numbers,
            r.received_at,
            r.veil
        ]
    };
    tx.execute_many(
        "INSERT INTO masked_reports (device, seq, cohort, model_id, task, numbers, received_at, veil, sum_id)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, NULL) ON CONFLICT (device, seq) DO NOTHING",
        reports.iter().map(row).collect(),
    )
    .await?;
    Ok(())
}

/// What waits to be in a sum.
pub async fn waiting(on: &impl Read) -> Result<Vec<Waiting>, StoreError> {
    let sql =
        "SELECT cohort, veil, model_id, task, COUNT(*), COUNT(DISTINCT device), MIN(received_at)
               FROM masked_reports WHERE sum_id IS NULL
               GROUP BY cohort, veil, model_id, task ORDER BY cohort, veil, model_id, task";
    let read = |row: Row| {
        let mut row = row.of("masked report");
        Ok(Waiting {
            cohort: row.take()?,
            veil: row.take()?,
            model: row.take()?,
            task: row.take()?,
            report_count: row.take()?,
            device_count: row.take()?,
            oldest: row.take()?,
        })
    };
    on.query(sql, vec![]).await?.into_iter().map(read).collect()
}

/// The oldest report of each device among those that wait together.
pub async fn oldest_of_each(
    on: &impl Read,
    waiting: &Waiting,
) -> Result<Vec<MaskedReport>, StoreError> {
    let sql = "SELECT r.device, r.veil, r.seq, r.cohort, r.model_id, r.task, r.numbers, r.received_at
               FROM masked_reports r
               JOIN (SELECT device, MIN(seq) AS seq FROM masked_reports WHERE sum_id IS NULL
                     AND cohort = $1 AND model_id = $2 AND task = $3 AND veil = $4 GROUP BY device) f
               ON r.device = f.device AND r.seq = f.seq ORDER BY r.device";
    on.query(sql, values_of(waiting))
        .await?
        .into_iter()
        .map(read_report)
        .collect()
}

/// Puts reports into a new sum.
pub async fn begin_sum(
    tx: &Tx,
    waiting: &Waiting,
    reports: &[MaskedReport],
    now: Timestamp,
) -> Result<MaskedSum, StoreError> {
    let row = tx
        .query_one(
            "INSERT INTO masked_sums (cohort, model_id, task, device_count, asked_at, problem)
             VALUES ($1, $2, $3, $4, $5, '')
             RETURNING id, cohort, model_id, task, device_count, asked_at, problem",
            values![
                waiting.cohort,
                waiting.model,
                waiting.task,
                reports.len() as u32,
                now
            ],
        )
        .await?;
    let sum = row.map(read_sum).transpose()?.ok_or(StoreError::Closed)?;
    tx.execute_many(
        "UPDATE masked_reports SET sum_id = $1 WHERE device = $2 AND seq = $3",
        reports
            .iter()
            .map(|report| values![sum.id, report.device, report.seq])
            .collect(),
    )
    .await?;
    Ok(sum)
}

/// Sums without an answer, oldest first.
pub async fn open_sums(on: &impl Read) -> Result<Vec<MaskedSum>, StoreError> {
    let sql = "SELECT id, cohort, model_id, task, device_count, asked_at, problem FROM masked_sums ORDER BY id";
    on.query(sql, vec![])
        .await?
        .into_iter()
        .map(read_sum)
        .collect()
}

/// The reports of a sum, by device.
pub async fn of_sum(on: &impl Read, id: SumId) -> Result<Vec<MaskedReport>, StoreError> {
    let sql =
        "SELECT device, veil, seq, cohort, model_id, task, numbers, received_at FROM masked_reports
               WHERE sum_id = $1 ORDER BY device";
    on.query(sql, values![id])
        .await?
        .into_iter()
        .map(read_report)
        .collect()
}

/// Notes why a sum has no answer yet.
pub async fn put_problem(tx: &Tx, id: SumId, problem: &str) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE masked_sums SET problem = $2 WHERE id = $1",
        values![id, problem.to_owned()],
    )
    .await?;
    Ok(())
}

/// Forgets a sum and its reports; whether it was there.
pub async fn end_sum(tx: &Tx, id: SumId) -> Result<bool, StoreError> {
    tx.execute("DELETE FROM masked_reports WHERE sum_id = $1", values![id])
        .await?;
    let count = tx
        .execute("DELETE FROM masked_sums WHERE id = $1", values![id])
        .await?;
    Ok(count > 0)
}

/// Forgets reports that are in no sum and came before a moment; how many.
pub async fn forget_waiting(tx: &Tx, waiting: &Waiting) -> Result<u64, StoreError> {
    let sql = "DELETE FROM masked_reports
               WHERE sum_id IS NULL AND cohort = $1 AND model_id = $2 AND task = $3 AND veil = $4";
    tx.execute(sql, values_of(waiting)).await
}

/// Forgets reports that have been added up without a helper.
pub async fn forget_reports(tx: &Tx, reports: &[MaskedReport]) -> Result<(), StoreError> {
    let row = |report: &MaskedReport| values![report.device, report.seq];
    tx.execute_many(
        "DELETE FROM masked_reports WHERE device = $1 AND seq = $2",
        reports.iter().map(row).collect(),
    )
    .await?;
    Ok(())
}

fn values_of(waiting: &Waiting) -> Vec<crate::column::Value> {
    values![waiting.cohort, waiting.model, waiting.task, waiting.veil]
}

/// What a device has paid, by purpose.
pub async fn paid(on: &impl Read, device: DeviceId) -> Result<Vec<Paid>, StoreError> {
    let sql = "SELECT device, purpose, micro_rho, period_from, budget_class, changed_at FROM privacy_ledgers
               WHERE device = $1 ORDER BY purpose";
    on.query(sql, values![device])
        .await?
        .into_iter()
        .map(read_paid)
        .collect()
}

/// What many devices have paid for one purpose, in the order asked for; of those that did at all.
pub async fn paid_many(
    tx: &Tx,
    devices: &[DeviceId],
    purpose: &str,
) -> Result<Vec<Option<Paid>>, StoreError> {
    let sql = "SELECT device, purpose, micro_rho, period_from, budget_class, changed_at FROM privacy_ledgers
               WHERE device = $1 AND purpose = $2";
    let answers = tx
        .query_many(
            sql,
            devices
                .iter()
                .map(|id| values![*id, purpose.to_owned()])
                .collect(),
        )
        .await?;
    answers
        .into_iter()
        .map(|rows| rows.into_iter().next().map(read_paid).transpose())
        .collect()
}

/// Writes what devices have paid.
pub async fn put_paid(tx: &Tx, paid: &[Paid]) -> Result<(), StoreError> {
    let row = |p: &Paid| {
        values![
            p.device,
            p.purpose,
            p.micro_rho,
            p.period_from,
            p.budget_class,
            p.changed_at
        ]
    };
    tx.execute_many(
        "INSERT INTO privacy_ledgers (device, purpose, micro_rho, period_from, budget_class, changed_at)
         VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (device, purpose) DO UPDATE SET micro_rho = excluded.micro_rho,
           period_from = excluded.period_from, budget_class = excluded.budget_class, changed_at = excluded.changed_at",
        paid.iter().map(row).collect(),
    )
    .await?;
    Ok(())
}

/// A device that can report under masks or noise, and what it is known to have been told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Masking {
    /// Which device.
    pub device: DeviceId,
    /// What it understands, as its hello said.
    pub features: u32,
    /// The model that it runs.
    pub model: ModelId,
    /// The task that it was told, and when that was last known to hold.
    pub told: Option<(u32, Timestamp)>,
}

/// The devices whose features have any of these bits, and that run a model: one device if it does, or all.
pub async fn masking(
    on: &impl Read,
    features: u16,
    device: Option<DeviceId>,
) -> Result<Vec<Masking>, StoreError> {
    macro_rules! among {
        ($which:literal) => {
            concat!(
                "SELECT h.device, h.features, p.model_id, t.task, t.at FROM hellos h
                 JOIN presences p ON p.device = h.device
                 LEFT JOIN masked_tasks t ON t.device = h.device
                 WHERE (h.features & $1) <> 0 AND p.model_id IS NOT NULL",
                $which,
                " ORDER BY h.device"
            )
        };
    }
    let read = |row: Row| {
        let mut row = row.of("masking device");
        let (device, features, model) = (row.take()?, row.take()?, row.take()?);
        let (task, at): (Option<u32>, Option<Timestamp>) = (row.take()?, row.take()?);
        Ok(Masking {
            device,
            features,
            model,
            told: task.zip(at),
        })
    };
    let features = u32::from(features);
    let rows = match device {
        Some(device) => on.query(among!(" AND h.device = $2"), values![features, device]),
        None => on.query(among!(""), values![features]),
    };
    rows.await?.into_iter().map(read).collect()
}

/// Notes by which task devices report.
pub async fn put_told(tx: &Tx, told: &[(DeviceId, u32)], now: Timestamp) -> Result<(), StoreError> {
    tx.execute_many(
        "INSERT INTO masked_tasks (device, task, at) VALUES ($1, $2, $3)
         ON CONFLICT (device) DO UPDATE SET task = excluded.task, at = excluded.at",
        told.iter()
            .map(|(device, task)| values![*device, *task, now])
            .collect(),
    )
    .await?;
    Ok(())
}

/// Notes that devices have forgotten their task, as they do at a boot.
pub async fn forget_told(tx: &Tx, devices: &[DeviceId]) -> Result<(), StoreError> {
    tx.execute_many(
        "DELETE FROM masked_tasks WHERE device = $1",
        devices.iter().map(|device| values![*device]).collect(),
    )
    .await?;
    Ok(())
}

fn read_report(row: Row) -> Result<MaskedReport, StoreError> {
    let mut row = row.of("masked report");
    Ok(MaskedReport {
        device: row.take()?,
        veil: row.take()?,
        seq: row.take()?,
        cohort: row.take()?,
        model: row.take()?,
        task: row.take()?,
        numbers: row.take()?,
        received_at: row.take()?,
    })
}

fn read_sum(row: Row) -> Result<MaskedSum, StoreError> {
    let mut row = row.of("masked sum");
    Ok(MaskedSum {
        id: row.take()?,
        cohort: row.take()?,
        model: row.take()?,
        task: row.take()?,
        device_count: row.take()?,
        asked_at: row.take()?,
        problem: row.take()?,
    })
}

fn read_paid(row: Row) -> Result<Paid, StoreError> {
    let mut row = row.of("privacy ledger");
    Ok(Paid {
        device: row.take()?,
        purpose: row.take()?,
        micro_rho: row.take()?,
        period_from: row.take()?,
        budget_class: row.take()?,
        changed_at: row.take()?,
    })
}
