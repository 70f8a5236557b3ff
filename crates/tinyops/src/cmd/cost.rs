use std::fmt::Write as _;

use serde::Serialize;
use tinyops_fleet::outcome::{CostSpan, Mean, cost_spans};
use tinyops_pipeline::{
    Project, RunError,
    worth::{self, Bill, Prices, WorthError, bill},
};
use tinyops_store::{Db, ModelId, capsule, model::Model};
use tinyops_train::Costs;
use tinyops_train::worth::{CostPoint, Expected};

use crate::{
    context::{Context, moment, now, store_failure},
    failure::{Exit, Failure},
    model_ref::{ModelRef, chosen},
    table::Table,
};

/// Say what wrong answers cost: by alarm threshold on the test windows, by cohort and day in the field
///
/// Prices are those of `[train.costs]` in tinyops.toml.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops cost fan@3 --threshold 0.3")]
pub(crate) struct Cost {
    /// Model and version, such as `fan@3` [default: the project's]
    model: Option<ModelRef>,
    /// Price this alarm threshold too
    #[arg(long, short)]
    threshold: Option<f32>,
    /// Days that labels of the field are looked back at
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=3650))]
    days: u32,
    /// Days of one row of the field
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=365))]
    every: u32,
}

/// `tinyops cost --json`
#[derive(Serialize)]
struct View {
    test: Bill,
    field: Vec<SpanView>,
}

/// Labelled windows of one cohort and model in one span.
#[derive(Serialize)]
struct SpanView {
    begin_at_ms: i64,
    cohort: String,
    model_id: String,
    model: Option<String>,
    windows: i64,
    devices: usize,
    cost: f64,
    cost_per_window: f64,
    interval: Option<[f64; 2]>,
}

impl SpanView {
    fn of(span: CostSpan, model: Option<String>) -> Self {
        Self {
            begin_at_ms: span.begin.0,
            cohort: span.cohort,
            model_id: span.model.to_string(),
            model,
            windows: span.windows,
            devices: span.devices,
            cost: span.cost,
            cost_per_window: span.mean.value,
            interval: span.mean.interval.map(|(low, high)| [low, high]),
        }
    }
}

const DAY_MS: i64 = 24 * 3_600_000;

pub(crate) async fn run(context: &Context, args: &Cost) -> Result<(), Failure> {
    if args
        .threshold
        .is_some_and(|threshold| !threshold.is_finite())
    {
        return Err(Failure::question("a threshold is a finite number"));
    }
    let fleet = context.fleet().await?;
    let model = chosen(context, &fleet.db, args.model.as_ref()).await?;
    let project = project_of(context, &fleet.db, &model).await?;
    let costs = &project.train.costs;
    let test = bill(&fleet.db, &fleet.artifacts, &model, costs, args.threshold)
        .await
        .map_err(worth_failure)?;
    if args.threshold.is_some() && test.asked.is_none() {
        return Err(Failure::question(format!(
            "no threshold of {} can be priced: nothing says which classes are normal",
            test.model
        ))
        .hint("`normal = [\"…\"]` in `[train.costs]` of tinyops.toml does"));
    }
    let since = now().plus_ms(-i64::from(args.days) * DAY_MS);
    let (cells, labels) = fleet.judged(since, i64::from(args.every) * DAY_MS).await?;
    let mut field = Vec::new();
    let models: Vec<ModelId> = cells.iter().map(|cell| cell.model).collect();
    let prices = Prices::of(&fleet.db, &models, Some(&project)).await?;
    let price = |model, is: &str, said: &str| prices.price(model, is, said);
    for span in cost_spans(&cells, &labels, &price) {
        let capsule = capsule::get(&fleet.db, span.model).await?;
        let name = capsule.map(|of| (of.model.clone(), format!("{}@{}", of.model, of.version)));
        if name
            .as_ref()
            .is_none_or(|(family, _)| *family == model.name)
        {
            field.push(SpanView::of(span, name.map(|(_, title)| title)));
        }
    }
    let text = text(&test, &field, args.days);
    let view = View { test, field };
    context.terminal.answer(&view, || text);
    Ok(())
}

/// The settings that a version is judged by.
pub(super) async fn project_of(
    context: &Context,
    db: &Db,
    model: &Model,
) -> Result<Project, Failure> {
    let here = context.project_if_any()?;
    let found = worth::project_of(db, model, here.as_ref()).await;
    found.map_err(worth_failure)
}

/// What cannot be priced is the question's fault; what cannot be read, or a bug, is not.
pub(super) fn worth_failure(error: WorthError) -> Failure {
    let hint = match &error {
        WorthError::NotKept { .. } => {
            "it was imported, or made before this was kept: `tinyops run` makes a version that can be priced"
        }
        WorthError::NoClasses { .. } => "prices are of classes; `rmse` speaks for values",
        WorthError::NoSettings { .. } => "`--project DIR` names its folder",
        WorthError::Run(RunError::Store(error)) => return store_failure(error),
        _ => return Failure::of(Exit::Environment, &error),
    };
    Failure::of(Exit::Question, &error).hint(hint)
}

pub(super) fn figure(of: &Expected) -> String {
    match of.interval {
        Some(interval) => format!(
            "{:.4} ({:.4} to {:.4})",
            of.cost, interval.low, interval.high
        ),
        None => format!(
            "{:.4} (too few recordings or groups for an interval)",
            of.cost
        ),
    }
}

fn text(test: &Bill, field: &[SpanView], days: u32) -> String {
    let mut out = format!(
        "{}: cost of a window, on {} test windows\n",
        test.model, test.windows
    );
    out += &prices_text(&test.costs);
    let _ = writeln!(out, "\n  as it answers          {}", figure(&test.answers));
    if let Some(by_shares) = &test.by_shares {
        let _ = writeln!(out, "  by least expected cost {}", figure(by_shares));
    }
    if let Some(curve) = &test.curve {
        let mut table = Table::new(["alarm above", "false alarms", "missed", "cost", "95 %", ""]);
        let mut row = |point: &CostPoint, note: &str| {
            table.row([
                format!("{:.4}", point.threshold),
                format!("{:.1} %", 100.0 * point.false_alarm_rate),
                format!("{:.1} %", 100.0 * point.miss_rate),
                format!("{:.4}", point.expected.cost),
                super::run::range(point.expected.interval),
                note.to_owned(),
            ]);
        };
        // Few rows for a person; `--json` and the page have all.
        let step = curve.points.len().div_ceil(ROWS).max(1);
        let mut shown: Vec<(CostPoint, &str)> = curve
            .points
            .iter()
            .step_by(step)
            .map(|point| (*point, ""))
            .collect();
        shown.push((curve.own, "the model's own"));
        shown.push((curve.cheapest, "cheapest"));
        shown.extend(test.asked.map(|asked| (asked, "asked for")));
        shown.sort_by(|a, b| a.0.threshold.total_cmp(&b.0.threshold));
        shown.iter().for_each(|(point, note)| row(point, note));
        out += "\nBy alarm threshold\n";
        out += &table.text();
    } else {
        out += "\n  no threshold is priced: `normal = [\"…\"]` in `[train.costs]` says which classes are no alarm\n";
    }
    let mut table = Table::new([
        "from (UTC)",
        "cohort",
        "model",
        "labels",
        "devices",
        "cost",
        "a window",
    ]);
    for span in field {
        let mean = Mean {
            value: span.cost_per_window,
            interval: span.interval.map(|[low, high]| (low, high)),
        };
        table.row([
            moment(tinyops_store::Timestamp(span.begin_at_ms)),
            span.cohort.clone(),
            span.model.clone().unwrap_or(span.model_id.clone()),
            span.windows.to_string(),
            span.devices.to_string(),
            format!("{:.2}", span.cost),
            mean_text(&mean),
        ]);
    }
    let _ = writeln!(out, "\nIn the field, by labels of {days} days");
    if table.is_empty() {
        out += "  no label came back; `tinyops labels add DEVICE CLASS` tells what was really the case\n";
    } else {
        out += &table.text();
    }
    out
}

/// Rows of a curve that are printed.
const ROWS: usize = 8;

pub(super) fn mean_text(mean: &Mean) -> String {
    match mean.interval {
        Some((low, high)) => format!("{:.4} ({low:.4} to {high:.4})", mean.value),
        None => format!("{:.4} (one device: no interval)", mean.value),
    }
}

fn prices_text(costs: &Costs) -> String {
    let mut out = String::new();
    match costs.normal.is_empty() {
        true => {
            let _ = writeln!(out, "  a wrong answer costs {}", costs.miss);
        }
        false => {
            let _ = writeln!(
                out,
                "  a false alarm costs {}, a miss {}; {} % of windows are faulty",
                costs.false_alarm,
                costs.miss,
                100.0 * costs.fault_share
            );
        }
    }
    for price in &costs.cost {
        let _ = writeln!(
            out,
            "  `{}` said of `{}` costs {}",
            price.said, price.is, price.cost
        );
    }
    out
}
