use std::fmt::Write as _;

use serde::Serialize;
use tinyops_fleet::outcome::{FIELD_DAYS, FieldWorth};
use tinyops_pipeline::worth::{Appraisal, appraise};
use tinyops_server::FieldWorthView;
use tinyops_train::worth::{Expected, Worth, WorthOfNone};

use crate::{
    cmd::cost::{figure, mean_text, project_of, worth_failure},
    context::{Context, now},
    failure::Failure,
    model_ref::{ModelRef, chosen},
};

/// Say what a model saves: against answering the same always, and against the version before
///
/// On the test windows of both, each window counting as often as `[train.costs]` expects faults, and in the field by what
/// labels said since.
#[derive(Debug, clap::Args)]
#[command(
    name = "worth",
    after_help = "Example: tinyops worth fan@3 --against fan@2"
)]
pub(crate) struct WorthArgs {
    /// Model and version, such as `fan@3` [default: the project's]
    model: Option<ModelRef>,
    /// Another version [default: the one in production, or the one before that]
    #[arg(long)]
    against: Option<ModelRef>,
    /// Days that labels of the field are looked back at
    #[arg(long, default_value_t = FIELD_DAYS, value_parser = clap::value_parser!(u32).range(1..=3650))]
    days: u32,
}

/// `tinyops worth --json`
#[derive(Serialize)]
struct View {
    model: String,
    windows_per_month: Option<f64>,
    none: WorthOfNone,
    previous: Option<PreviousView>,
    incomparable: Option<String>,
    field: Option<FieldWorthView>,
}

/// What a version is worth against another.
#[derive(Serialize)]
struct PreviousView {
    /// Such as `fan@2`.
    against: String,
    #[serde(flatten)]
    worth: Worth,
}

pub(crate) async fn run(context: &Context, args: &WorthArgs) -> Result<(), Failure> {
    let fleet = context.fleet().await?;
    let model = chosen(context, &fleet.db, args.model.as_ref()).await?;
    let against = match &args.against {
        Some(against) => Some(against.resolve(&fleet.db).await?),
        None => None,
    };
    let project = project_of(context, &fleet.db, &model).await?;
    let test = appraise(
        &fleet.db,
        &fleet.artifacts,
        &model,
        against.as_ref(),
        &project,
    )
    .await
    .map_err(worth_failure)?;
    let price = |is: &str, said: &str| project.train.costs.price(is, said);
    let field = fleet
        .field_worth_of(&model.name, model.version, args.days, now(), price)
        .await?;
    let text = text(&test, field.as_ref(), args.days);
    let view = View {
        model: test.model,
        windows_per_month: test.windows_per_month,
        none: test.none,
        previous: test.previous.map(|of| PreviousView {
            against: of.model,
            worth: of.worth,
        }),
        incomparable: test.incomparable,
        field: field.map(FieldWorthView::from),
    };
    context.terminal.answer(&view, || text);
    Ok(())
}

fn text(test: &Appraisal, field: Option<&FieldWorth>, days: u32) -> String {
    let mut out = format!("{}, in the currency of `[train.costs]`\n", test.model);
    let none = &test.none;
    let _ = writeln!(out, "\nAgainst no model: always `{}`", none.answer);
    out += &worth_text(&none.worth, test.windows_per_month);
    match (&test.previous, &test.incomparable) {
        (Some(previous), _) => {
            let _ = writeln!(
                out,
                "\nAgainst {}, on the windows that both were tested on",
                previous.model
            );
            out += &worth_text(&previous.worth, test.windows_per_month);
        }
        (None, why) => {
            let _ = writeln!(
                out,
                "\nAgainst the version before: {}",
                why.as_deref().unwrap_or("–")
            );
        }
    }
    let _ = writeln!(out, "\nIn the field, by labels of {days} days");
    match field {
        None => out += "  no label came back of windows that it answered\n",
        Some(field) => {
            let _ = writeln!(
                out,
                "  a window costs {}\n  always `{}`    {:.4}\n  saves          {}\n  on {} labelled windows of {} devices",
                mean_text(&field.model),
                field.answer,
                field.constant,
                mean_text(&field.gain),
                field.windows,
                field.devices
            );
        }
    }
    out
}

fn worth_text(worth: &Worth, windows_per_month: Option<f64>) -> String {
    let mut out = format!(
        "  a window costs {}, without it {}\n  saves          {} a window\n",
        figure(&worth.model),
        figure(&worth.other),
        figure(&worth.gain)
    );
    if let Some(windows) = windows_per_month {
        let scaled = Expected {
            cost: worth.gain.cost * windows,
            interval: worth.gain.interval,
        };
        let range = scaled.interval.map_or_else(String::new, |of| {
            let ends = [of.low, of.high].map(|end| f64::from(end) * windows);
            format!(" ({:.0} to {:.0})", ends[0], ends[1])
        });
        let _ = writeln!(
            out,
            "                 {:.0}{range} a device and month, of {windows:.0} windows",
            scaled.cost
        );
    }
    let _ = writeln!(
        out,
        "  on {} windows of {} recordings or groups",
        worth.windows, worth.units
    );
    out
}
