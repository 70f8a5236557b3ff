use tinyops_pipeline::{Budget, Job, RunError, TuneReport, run as run_pipeline};
use tinyops_train::tune::{Candidate, OutOfReach};

use crate::{
    cmd::run::{ended, run_failure, warn_of},
    context::Context,
    failure::Failure,
    model_ref::{ModelRef, chosen},
    table::Table,
};

/// Fine-tune a model that devices hold to the project's recordings, by an update of few bytes
///
/// Tries several ways (which layers move, on which scales), measures the update of each as it would be delivered and
/// its score with the device's own arithmetic, and registers the best that is within the budget: at most so many bytes,
/// and at most so far below a fine-tune that may change everything. Exits with 1 if nothing is within it, and says what
/// came nearest.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops tune pump@production --delta-max 512 --loss-max 0.01")]
pub(crate) struct Tune {
    /// The version that devices hold; without it the project's in production, or else its newest
    model: Option<ModelRef>,
    /// Most bytes of the update, manifest and signature and all; without it `[tune] delta_bytes_max`
    #[arg(long, value_name = "BYTES")]
    delta_max: Option<u32>,
    /// Most that it may lie below a fine-tune that may change everything, in the unit of the metric (0.01 is one point
    /// of accuracy); without it `[tune] loss_max`
    #[arg(long, value_name = "LOSS")]
    loss_max: Option<f64>,
}

pub(crate) async fn run(context: &Context, args: &Tune) -> Result<(), Failure> {
    let workshop = context.workshop().await?;
    let project = &workshop.project;
    let budget = Budget {
        delta_bytes_max: args
            .delta_max
            .or(project.tune.delta_bytes_max)
            .ok_or_else(|| {
                Failure::question("how many bytes the update may take is not said").hint(
                    "`--delta-max 512`, or `delta_bytes_max = 512` under `[tune]` in tinyops.toml",
                )
            })?
            .into(),
        loss_max: args.loss_max.unwrap_or(project.tune.loss_max),
    };
    if let Err(why) = project.loss_is_sensible(budget.loss_max) {
        return Err(Failure::question(format!("`--loss-max` {why}")));
    }
    let parent = chosen(context, &workshop.db, args.model.as_ref()).await?;
    let name = project.project.name.clone();
    if parent.name != name {
        return Err(Failure::question(format!(
            "`{}@{}` is no model of project `{name}`",
            parent.name, parent.version
        ))
        .hint("its recordings and settings are those of another project: `-C DIR` goes there"));
    }
    context.terminal.note(format_args!(
        "{name}: {name}@{} fine-tuned, its update at most {} B",
        parent.version, budget.delta_bytes_max
    ));
    let job = Job::Tune {
        model: parent.digest,
        budget,
    };
    let outcome = run_pipeline(&workshop, &job, None, &context.terminal.reporter())
        .await
        .map_err(|error| failure(context, error))?;
    warn_of(context, &outcome.report);
    ended(context, &workshop.project, &outcome)
}

fn failure(context: &Context, error: RunError) -> Failure {
    match &error {
        RunError::OutOfReach(far) => {
            if !context.terminal.json {
                context.terminal.tell(candidates_text(&far.candidates, None));
            }
            Failure::no(far.to_string()).hint(way_out(far))
        }
        RunError::NoCapsule { .. } => Failure::question(error.to_string()).hint(
            "an update starts from what a device holds: `tinyops run` makes a version with capsules for all targets, \
             which goes out whole once",
        ),
        RunError::Train(_) => Failure::question(error.to_string()).hint(
            "a fine-tune keeps network, window, front end and classes; `tinyops run` trains anew with other ones",
        ),
        _ => run_failure(context, error),
    }
}

fn way_out(far: &OutOfReach) -> String {
    let mut ways = Vec::new();
    if let Some(good) = &far.within_loss {
        ways.push(format!("`--delta-max {}`", good.delta_bytes));
    }
    if let Some(small) = &far.within_bytes {
        // Rounded up, so that what is advised is enough.
        ways.push(format!(
            "`--loss-max {:.4}`",
            small.loss.max(0.0) + 0.000_05
        ));
    }
    match ways.is_empty() {
        true => "more windows in the validation part would tell the ways apart".to_owned(),
        false => format!(
            "{} is within reach; `tinyops run` trains anew",
            ways.join(" or ")
        ),
    }
}

/// What was tried and what came of it.
pub(crate) fn report_text(report: &TuneReport) -> String {
    let mut out = format!("\nUpdate from {}\n", report.parent);
    out += &candidates_text(&report.candidates, Some(report.chosen));
    let baseline = match report.is_baseline_new {
        true => "with a baseline of these recordings".to_owned(),
        false => format!(
            "with the baseline that devices have; {} B with one of these recordings",
            report.baseline_delta_bytes
        ),
    };
    out += &format!("  {} B, {baseline}\n", report.delta_bytes);
    out
}

fn candidates_text(candidates: &[Candidate], taken: Option<usize>) -> String {
    let mut table = Table::new([
        "layers",
        "scales",
        "numbers",
        "update",
        "validation",
        "below",
        "",
    ]);
    for (index, candidate) in candidates.iter().enumerate() {
        let layers = match (index, candidate.is_thinned) {
            (0, _) => "none: as it is".to_owned(),
            (1, _) => "all: unrestricted".to_owned(),
            (_, true) => format!("{}, thinned", candidate.layers),
            (_, false) => candidate.layers.to_string(),
        };
        let mark = if taken == Some(index) { "taken" } else { "" };
        table.row([
            layers,
            candidate.scales.to_string(),
            candidate.changed.to_string(),
            format!("{} B", candidate.delta_bytes),
            format!("{:.4}", candidate.metric),
            format!("{:.4}", candidate.loss),
            mark.to_owned(),
        ]);
    }
    table.text()
}
