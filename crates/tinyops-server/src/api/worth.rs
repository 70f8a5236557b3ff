//! Costs and worth over HTTP: what wrong answers cost, and what a version saves.

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tinyops_fleet::outcome::{CostSpan, FIELD_DAYS, FieldWorth, cost_spans};
use tinyops_pipeline::worth::{
    Appraisal, Bill, CostPoint, Expected, Prices, Worth, appraise, bill, project_of,
};
use tinyops_store::{ModelId, model};

use super::error::ApiError;
use super::frame::{Path, Query};
use crate::app::App;
use crate::text::Text;

/// A figure of a window, and where it lies.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ExpectedView {
    pub cost: f64,
    /// At 95 %, by drawing recordings or groups anew; null of too few.
    pub interval: Option<[f64; 2]>,
}

impl From<Expected> for ExpectedView {
    fn from(of: Expected) -> ExpectedView {
        ExpectedView {
            cost: of.cost,
            interval: of.interval.map(|of| [of.low.into(), of.high.into()]),
        }
    }
}

/// What an alarm threshold does.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct CostPointView {
    pub threshold: f64,
    pub false_alarm_rate: f64,
    pub miss_rate: f64,
    pub expected: ExpectedView,
}

impl From<CostPoint> for CostPointView {
    fn from(of: CostPoint) -> CostPointView {
        CostPointView {
            threshold: of.threshold.into(),
            false_alarm_rate: of.false_alarm_rate,
            miss_rate: of.miss_rate,
            expected: of.expected.into(),
        }
    }
}

/// What a version's answers cost on its test windows.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct BillView {
    pub model: String,
    pub windows: usize,
    /// As a device answers.
    pub answers: ExpectedView,
    /// By the answers of least expected cost; null without classes.
    pub by_shares: Option<ExpectedView>,
    /// By alarm threshold; empty where no class is normal.
    pub curve: Vec<CostPointView>,
    pub cheapest: Option<CostPointView>,
    /// The model's own threshold.
    pub own: Option<CostPointView>,
    /// The threshold that was asked for.
    pub asked: Option<CostPointView>,
}

impl From<Bill> for BillView {
    fn from(of: Bill) -> BillView {
        let curve = of.curve;
        BillView {
            model: of.model,
            windows: of.windows,
            answers: of.answers.into(),
            by_shares: of.by_shares.map(Into::into),
            cheapest: curve.as_ref().map(|curve| curve.cheapest.into()),
            own: curve.as_ref().map(|curve| curve.own.into()),
            curve: curve.map_or_else(Vec::new, |curve| {
                curve.points.into_iter().map(Into::into).collect()
            }),
            asked: of.asked.map(Into::into),
        }
    }
}

/// What a version saves against another's answers.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct WorthView {
    /// Another version, or the constant answer of no model.
    pub against: String,
    pub windows: usize,
    /// Recordings or groups.
    pub units: usize,
    pub model: ExpectedView,
    pub other: ExpectedView,
    /// What a window saves.
    pub gain: ExpectedView,
}

impl WorthView {
    fn of(against: String, worth: Worth) -> WorthView {
        WorthView {
            against,
            windows: worth.windows,
            units: worth.units,
            model: worth.model.into(),
            other: worth.other.into(),
            gain: worth.gain.into(),
        }
    }
}

/// What a version is worth on its test windows.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct AppraisalView {
    pub model: String,
    /// Windows that a device decides on in a month.
    pub windows_per_month: Option<f64>,
    /// Against the cheapest constant answer.
    pub none: WorthView,
    /// Against the version before.
    pub previous: Option<WorthView>,
    /// Why there is none.
    pub incomparable: Option<String>,
    /// By windows of the field that were labelled in the days asked for; null where none was.
    pub field: Option<FieldWorthView>,
}

/// What labelled windows of the field say of a version.
#[derive(Debug, Serialize, JsonSchema)]
pub struct FieldWorthView {
    /// Labelled windows that it rests on.
    pub windows: i64,
    /// Devices that they come from.
    pub devices: usize,
    /// The cheapest constant answer.
    pub answer: String,
    /// What a window costs with the model.
    pub model: f64,
    /// At 95 %, by how devices differ; null of one device.
    pub model_interval: Option<[f64; 2]>,
    /// What a window costs with the constant answer.
    pub other: f64,
    /// What the model saves a window.
    pub gain: f64,
    /// At 95 %, by how devices differ; null of one device.
    pub gain_interval: Option<[f64; 2]>,
}

impl From<FieldWorth> for FieldWorthView {
    fn from(of: FieldWorth) -> FieldWorthView {
        let pair = |interval: Option<(f64, f64)>| interval.map(|(low, high)| [low, high]);
        FieldWorthView {
            windows: of.windows,
            devices: of.devices,
            answer: of.answer,
            model: of.model.value,
            model_interval: pair(of.model.interval),
            other: of.constant,
            gain: of.gain.value,
            gain_interval: pair(of.gain.interval),
        }
    }
}

impl AppraisalView {
    fn of(of: Appraisal, field: Option<FieldWorth>) -> AppraisalView {
        AppraisalView {
            field: field.map(FieldWorthView::from),
            model: of.model,
            windows_per_month: of.windows_per_month,
            none: WorthView::of(of.none.answer, of.none.worth),
            previous: of
                .previous
                .map(|previous| WorthView::of(previous.model, previous.worth)),
            incomparable: of.incomparable,
        }
    }
}

/// What labelled windows of one cohort and model cost in one span.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct CostSpanView {
    pub begin_at_ms: i64,
    pub cohort: String,
    pub model: Text<ModelId>,
    /// Labelled windows that it rests on.
    pub windows: i64,
    pub devices: usize,
    pub cost: f64,
    pub cost_per_window: f64,
    /// At 95 %, by how devices differ; null of one device.
    pub interval: Option<[f64; 2]>,
}

impl From<CostSpan> for CostSpanView {
    fn from(of: CostSpan) -> CostSpanView {
        CostSpanView {
            begin_at_ms: of.begin.0,
            cohort: of.cohort,
            model: Text(of.model),
            windows: of.windows,
            devices: of.devices,
            cost: of.cost,
            cost_per_window: of.mean.value,
            interval: of.mean.interval.map(|(low, high)| [low, high]),
        }
    }
}

/// Which threshold.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct At {
    threshold: Option<f32>,
}

pub(super) async fn cost(
    State(app): State<App>,
    Path((name, version)): Path<(String, u32)>,
    Query(at): Query<At>,
) -> Result<Json<BillView>, ApiError> {
    let row = model::get(app.db(), &name, version).await?;
    let row = row.ok_or_else(|| ApiError::missing(format_args!("model `{name}@{version}`")))?;
    let project = project_of(app.db(), &row, Some(&app.workshop().project)).await?;
    let (artifacts, costs) = (&app.fleet().artifacts, &project.train.costs);
    let bill = bill(app.db(), artifacts, &row, costs, at.threshold).await?;
    Ok(Json(bill.into()))
}

/// Which other version.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Against {
    against: Option<u32>,
    days: Option<u32>,
}

pub(super) async fn worth(
    State(app): State<App>,
    Path((name, version)): Path<(String, u32)>,
    Query(asked): Query<Against>,
) -> Result<Json<AppraisalView>, ApiError> {
    let get = async |version: u32| {
        let row = model::get(app.db(), &name, version).await?;
        row.ok_or_else(|| ApiError::missing(format_args!("model `{name}@{version}`")))
    };
    let row = get(version).await?;
    let against = match asked.against {
        Some(version) => Some(get(version).await?),
        None => None,
    };
    let project = project_of(app.db(), &row, Some(&app.workshop().project)).await?;
    let artifacts = &app.fleet().artifacts;
    let appraisal = appraise(app.db(), artifacts, &row, against.as_ref(), &project).await?;
    let days = asked.days.unwrap_or(FIELD_DAYS).clamp(1, 3650);
    let price = |is: &str, said: &str| project.train.costs.price(is, said);
    let field = app
        .fleet()
        .field_worth_of(&row.name, row.version, days, app.now(), price)
        .await?;
    Ok(Json(AppraisalView::of(appraisal, field)))
}

/// Which days, and how many to a span.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Days {
    days: Option<u32>,
    every: Option<u32>,
}

const DAY_MS: i64 = 24 * 3_600_000;

pub(super) async fn costs(
    State(app): State<App>,
    Query(asked): Query<Days>,
) -> Result<Json<Vec<CostSpanView>>, ApiError> {
    let days = i64::from(asked.days.unwrap_or(30).clamp(1, 3650));
    let every = i64::from(asked.every.unwrap_or(1).clamp(1, 365));
    let since = app.now().plus_ms(-days * DAY_MS);
    let (cells, labels) = app.fleet().judged(since, every * DAY_MS).await?;
    let models: Vec<ModelId> = cells.iter().map(|cell| cell.model).collect();
    let prices = Prices::of(app.db(), &models, Some(&app.workshop().project)).await?;
    let spans = cost_spans(&cells, &labels, &|model, is, said| {
        prices.price(model, is, said)
    });
    Ok(Json(spans.into_iter().map(Into::into).collect()))
}
