//! Repairs over HTTP: what the loop does about a drift, rung by rung, and how somebody ends it.

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tinyops_fleet::FleetError;
use tinyops_fleet::ladder::Rung;
use tinyops_fleet::repair::details;
use tinyops_store::ModelId;
use tinyops_store::repair::{self, Repair, RepairId};

use super::auth::Actor;
use super::error::ApiError;
use super::frame::{Body, Path, Query};
use super::make::Limit;
use crate::app::App;
use crate::text::Text;

/// The state of a record that this version cannot read.
pub(crate) const UNREADABLE: &str = "unreadable";

/// What is done about a drift, from the cheapest repair to the dearest.
#[derive(Debug, Serialize, JsonSchema)]
pub struct RepairView {
    /// Its number.
    pub repair: i64,
    /// The model family.
    pub name: String,
    /// The capsule that drifted.
    pub model: Text<ModelId>,
    /// `open`, or how it ended: `repaired`, `unjudged`, `unrepaired`, `alerts-over` or `stopped`; `unreadable` of a record
    /// that this version cannot read, which holds up others of its model until it is ended.
    pub state: String,
    /// What it is at, in a few words.
    pub doing: String,
    /// Why it began.
    pub why: String,
    /// The level that is being tried, 0 to 3; none between two, and at the end.
    pub level: Option<u8>,
    /// The share of windows that it is to be right about, where anything tells.
    pub target: Option<f64>,
    /// What later labels found the version right about that was kept last.
    pub best: Option<f64>,
    /// The versions that were kept.
    pub kept: Vec<KeptView>,
    /// Bytes that a device has sent for it.
    pub device_bytes: u64,
    /// When it began, in Unix milliseconds.
    pub opened_at_ms: i64,
    /// When it last changed.
    pub changed_at_ms: i64,
    /// What has happened, oldest first.
    pub steps: Vec<StepView>,
}

/// A version that a repair has kept.
#[derive(Debug, Serialize, JsonSchema)]
pub struct KeptView {
    /// The level that made it.
    pub level: u8,
    /// The version.
    pub version: u32,
}

/// One step of a repair.
#[derive(Debug, Serialize, JsonSchema)]
pub struct StepView {
    /// When, in Unix milliseconds.
    pub at_ms: i64,
    /// The level that it is of, if of one.
    pub level: Option<u8>,
    /// What happened.
    pub what: String,
}

impl RepairView {
    /// Whether this version can read the record.
    #[must_use]
    pub fn is_read(&self) -> bool {
        self.state != UNREADABLE
    }

    /// A repair as people read it; a record that cannot be read says so.
    pub fn of(repair: &Repair) -> RepairView {
        RepairView::read(repair).unwrap_or_else(|error| RepairView {
            repair: repair.id.0,
            name: repair.name.clone(),
            model: Text(repair.model),
            state: UNREADABLE.to_owned(),
            doing: unreadable(repair, &error),
            why: String::new(),
            level: None,
            target: None,
            best: None,
            kept: Vec::new(),
            device_bytes: 0,
            opened_at_ms: repair.opened_at.0,
            changed_at_ms: repair.changed_at.0,
            steps: Vec::new(),
        })
    }

    fn read(repair: &Repair) -> Result<RepairView, FleetError> {
        let ladder = details(repair)?;
        let kept = |(rung, version): &(Rung, u32)| KeptView {
            level: rung.level(),
            version: *version,
        };
        Ok(RepairView {
            repair: repair.id.0,
            name: repair.name.clone(),
            model: Text(repair.model),
            state: ladder.end().map_or("open", |end| end.word()).to_owned(),
            doing: ladder.state_words(),
            level: ladder.rung().map(Rung::level),
            target: ladder.target,
            best: ladder.best,
            kept: ladder.kept.iter().map(kept).collect(),
            device_bytes: ladder.device_bytes,
            opened_at_ms: repair.opened_at.0,
            changed_at_ms: repair.changed_at.0,
            why: ladder.why,
            steps: ladder
                .steps
                .into_iter()
                .map(|step| StepView {
                    at_ms: step.at_ms,
                    level: step.rung.map(Rung::level),
                    what: step.what,
                })
                .collect(),
        })
    }
}

/// What a record that cannot be read holds up, and what ends that.
pub(crate) fn unreadable(repair: &Repair, error: &FleetError) -> String {
    match repair.is_open {
        true => format!(
            "{error}; no other repair of {} begins until somebody ends it",
            repair.name
        ),
        false => format!("{error}; it is over"),
    }
}

pub(super) async fn list(
    State(app): State<App>,
    Query(limit): Query<Limit>,
) -> Result<Json<Vec<RepairView>>, ApiError> {
    let repairs = repair::list(app.db(), limit.count()).await?;
    Ok(Json(repairs.iter().map(RepairView::of).collect()))
}

pub(super) async fn show(
    State(app): State<App>,
    Path(Text(id)): Path<Text<RepairId>>,
) -> Result<Json<RepairView>, ApiError> {
    let found = repair::get(app.db(), id).await?;
    let found = found.ok_or(FleetError::NoRepair(id))?;
    Ok(Json(RepairView::of(&found)))
}

/// Why a repair is ended.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Stop {
    /// Why, for the records.
    pub why: String,
}

pub(super) async fn stop(
    State(app): State<App>,
    Actor(actor): Actor,
    Path(Text(id)): Path<Text<RepairId>>,
    Body(stop): Body<Stop>,
) -> Result<Json<RepairView>, ApiError> {
    let ended = app.fleet().stop_repair(id, &actor, &stop.why, app.now());
    Ok(Json(RepairView::of(&ended.await?)))
}
