use std::fmt::Write as _;

use serde::Serialize;
use tinyops_data::finding::{Report, Severity};
use tinyops_pipeline::{
    BoardFit, Gate, Job, Outcome, Project, RunError, StepName, StepReport, TuneReport, Verdict,
    run as run_pipeline,
};
use tinyops_store::run::Run as Row;
use tinyops_train::interval::Interval;
use tinyops_train::{Comparison, Evaluation};

use crate::{
    cmd::tune::report_text,
    context::{Context, moment, store_failure},
    failure::{Exit, Failure},
    table::Table,
};

/// Run the pipeline: recordings in, a registered model out
///
/// Steps whose inputs have not changed are taken from the store, so that a run goes on where a killed one was
/// interrupted. One run of a project is at work at a time. Exits with 1 if a gate says no, with 2 if settings or
/// recordings are at fault, with 3 if another run is at work or the disk is full.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops run --project examples/fan-esp32")]
pub(crate) struct Run {
    /// The last step to do
    #[arg(value_enum)]
    step: Option<Step>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Step {
    Ingest,
    Validate,
    Featurize,
    Train,
    Quantize,
    Evaluate,
    Compile,
    Smoke,
    Register,
}

impl Step {
    fn name(self) -> StepName {
        match self {
            Self::Ingest => StepName::Ingest,
            Self::Validate => StepName::Validate,
            Self::Featurize => StepName::Featurize,
            Self::Train => StepName::Train,
            Self::Quantize => StepName::Quantize,
            Self::Evaluate => StepName::Evaluate,
            Self::Compile => StepName::Compile,
            Self::Smoke => StepName::Smoke,
            Self::Register => StepName::Register,
        }
    }
}

/// `tinyops run --json`, `tinyops tune --json`
#[derive(Serialize)]
struct View<'a> {
    run: String,
    /// The interrupted run that this one went on from.
    resumes: Option<String>,
    project: &'a str,
    version: Option<u32>,
    passed: bool,
    steps: &'a [StepReport],
    gates: &'a [Gate],
    evaluation: Option<&'a Comparison>,
    fits: &'a [BoardFit],
    #[serde(skip_serializing_if = "Option::is_none")]
    tune: Option<&'a TuneReport>,
    findings: &'a Report,
}

pub(crate) async fn run(context: &Context, args: &Run) -> Result<(), Failure> {
    let terminal = context.terminal;
    let workshop = context.workshop().await?;
    let name = workshop.project.project.name.clone();
    terminal.note(format_args!("{name}: {}", workshop.project.project.goal));
    let job = Job::Full {
        until: args.step.map(Step::name),
    };
    let outcome = run_pipeline(&workshop, &job, None, &terminal.reporter())
        .await
        .map_err(|error| run_failure(context, error))?;
    warn_of(context, &outcome.report);
    ended(context, &workshop.project, &outcome)
}

/// Shows what a run came to; that a gate refuses is the answer no.
pub(crate) fn ended(
    context: &Context,
    project: &Project,
    outcome: &Outcome,
) -> Result<(), Failure> {
    let name = &project.project.name;
    let refused: Vec<&Gate> = outcome
        .gates
        .iter()
        .filter(|gate| gate.verdict == Verdict::Fail)
        .collect();
    let view = View {
        run: outcome.run.to_string(),
        resumes: outcome.resumes.map(|run| run.to_string()),
        project: name,
        version: outcome.version,
        passed: refused.is_empty(),
        steps: &outcome.steps,
        gates: &outcome.gates,
        evaluation: outcome.evaluation.as_ref(),
        fits: &outcome.fits,
        tune: outcome.tune.as_ref(),
        findings: &outcome.report,
    };
    let slice_windows_min = project.gates.slice_windows_min;
    let text = || text(name, outcome, slice_windows_min);
    context.terminal.answer(&view, text);
    match refused.first() {
        None => Ok(()),
        Some(first) => Err(Failure::no(format!(
            "{} of {} gates refuse run {}",
            refused.len(),
            outcome.gates.len(),
            outcome.run
        ))
        .because(format!("{}: {}", first.name, first.reason))
        .hint("nothing was registered; `[project] threshold` and `[gates]` say what is asked")),
    }
}

/// What a run that could not be finished looks like to a person.
pub(crate) fn run_failure(context: &Context, error: RunError) -> Failure {
    match &error {
        RunError::Findings { report } => {
            if !context.terminal.json {
                context.terminal.tell(report);
            }
            // Recordings that can be read and are not as they should be are an answer.
            let (exit, hint) = match report.is_refused_by_schema() {
                true => (Exit::No, "`tinyops data schema check` shows it again; mend the files, or `schema.toml`"),
                false => (Exit::Question, "`tinyops data validate` shows the report again; fix the files or exclude them"),
            };
            Failure::of(exit, &error).hint(hint)
        }
        RunError::AtWork(run) => Failure::of(Exit::Environment, &error)
            .because(at_work(run))
            .hint("wait until it ends, or stop that process, and run again: the steps that are done are used"),
        RunError::FolderBusy { .. } => Failure::of(Exit::Environment, &error)
            .hint("one run works in a project folder at a time: wait until it ends"),
        RunError::TakenOver { .. } => Failure::of(Exit::Environment, &error)
            .hint("its lease ran out before it was renewed; `tinyops run` shows what the other run came to"),
        RunError::Store(store) => store_failure(store),
        RunError::NoSource => Failure::of(Exit::Question, &error)
            .hint("add `[[data.source]]` with `root` and `files` to tinyops.toml"),
        RunError::Source { root, source } if source.kind() == std::io::ErrorKind::NotFound => {
            Failure::question(format!("there is no folder `{}`", root.display())).hint(
                "put recordings there, or let `root` of the source, which starts at the project folder, say where they are",
            )
        }
        RunError::Variable { .. } => {
            Failure::of(Exit::Environment, &error).hint("set it, or write `${NAME:-otherwise}`")
        }
        RunError::Train(_) | RunError::Window(_) => {
            Failure::of(Exit::Question, &error)
                .hint("the settings are in tinyops.toml; `tinyops data status` shows what the recordings hold")
        }
        RunError::Schema { .. } => Failure::of(Exit::Question, &error)
            .hint("mend it, take it from Git again, or `tinyops data schema infer --force` writes a new one"),
        RunError::Changed => Failure::of(Exit::Question, &error).hint("run again"),
        RunError::Panicked { .. } => Failure::of(Exit::Environment, &error)
            .hint("this is a bug in tinyops; the trace above belongs into its report"),
        _ => Failure::of(Exit::Question, &error),
    }
}

/// Who works on a run, since when, and until when that holds without a word.
fn at_work(run: &Row) -> String {
    let owner = run.owner.as_deref().unwrap_or("an unknown process");
    let mut text = format!("{owner}, since {} UTC", moment(run.started_at));
    if let Some(until) = run.lease_until {
        text += &format!(
            "; if it is gone, the next run takes over after {} UTC",
            moment(until)
        );
    }
    text
}

/// Warnings that a person should see even when all gates pass, such as leaks.
pub(crate) fn warn_of(context: &Context, report: &Report) {
    if context.terminal.json {
        return;
    }
    for finding in &report.findings {
        if finding.severity == Severity::Warning {
            context.terminal.note(finding);
        }
    }
}

fn text(name: &str, outcome: &Outcome, slice_windows_min: u32) -> String {
    let mut out = String::new();
    if let Some(tune) = &outcome.tune {
        out += &report_text(tune);
    }
    if let Some(comparison) = &outcome.evaluation {
        out += &evaluation_text(comparison, slice_windows_min);
    }
    if !outcome.fits.is_empty() {
        out += "\n";
        out += &fits_text(&outcome.fits);
    }
    if !outcome.gates.is_empty() {
        out += "\nGates\n";
    }
    for gate in &outcome.gates {
        let word = match gate.verdict {
            Verdict::Pass => "pass",
            Verdict::Fail => "FAIL",
            Verdict::NotRun => "–",
        };
        let _ = writeln!(out, "  {word:<5} {}: {}", gate.name, gate.reason);
    }
    match outcome.version {
        Some(version) => {
            let _ = writeln!(out, "\nRegistered {name}@{version} (run {})", outcome.run);
        }
        None => {
            let _ = writeln!(out, "\nRun {} registered nothing", outcome.run);
        }
    }
    out
}

/// The figures of a model: int8 and float side by side, confusion matrix, classes, slices.
pub(crate) fn evaluation_text(comparison: &Comparison, slice_windows_min: u32) -> String {
    let int8 = &comparison.int8;
    let mut out = format!("\nTest split, {} windows\n", int8.windows);
    let mut table = Table::new(["", "int8", "float"]);
    let mut row = |name: &str, figure: &dyn Fn(&Evaluation) -> Option<f32>| {
        let Some(value) = figure(int8) else { return };
        let float = comparison.float.as_ref().and_then(figure);
        let float = float.map_or_else(|| "–".to_owned(), |value| format!("{value:.4}"));
        table.row([name.to_owned(), format!("{value:.4}"), float]);
    };
    row("accuracy", &|evaluation| evaluation.accuracy);
    row("macro F1", &|evaluation| evaluation.macro_f1);
    row("AUC", &|evaluation| Some(evaluation.roc.as_ref()?.auc));
    row("RMSE", &|evaluation| evaluation.rmse);
    row("mean absolute error", &|evaluation| {
        evaluation.mean_absolute_error
    });
    row("false alarm rate", &|evaluation| {
        Some(evaluation.operation.as_ref()?.false_alarm_rate)
    });
    row("miss rate", &|evaluation| {
        Some(evaluation.operation.as_ref()?.miss_rate)
    });
    row("expected cost", &|evaluation| {
        Some(evaluation.operation.as_ref()?.expected_cost)
    });
    out += &table.text();
    if !int8.confusion.is_empty() {
        out += "\nConfusion (rows are the truth), precision, recall, F1 of each class\n";
        out += &confusion_text(int8);
    }
    out += &slices_text(int8, slice_windows_min);
    out
}

/// The slices, the weakest first, and how far those of one key lie apart.
pub(crate) fn slices_text(int8: &Evaluation, slice_windows_min: u32) -> String {
    let mut out = String::new();
    let metric = int8.metric.unwrap_or_default();
    // As the gate does: what a handful of windows says of a slice is chance.
    let (mut judged, small): (Vec<_>, Vec<_>) = int8
        .slices
        .iter()
        .partition(|slice| slice.windows >= slice_windows_min as usize);
    let badness =
        |figure: Option<f32>| figure.map_or(f64::INFINITY, |figure| metric.goodness(figure.into()));
    judged.sort_by(|a, b| badness(a.metric).total_cmp(&badness(b.metric)));
    let mut table = Table::new(["slice", "windows", "figure", "is", "95 %", "of all"]);
    let figure =
        |figure: Option<f32>| figure.map_or_else(|| "–".to_owned(), |of| format!("{of:.4}"));
    for slice in judged.iter().take(SLICES_MAX) {
        table.row([
            format!("{}={}", slice.key, slice.value),
            slice.windows.to_string(),
            slice.figure.clone(),
            figure(slice.metric),
            range(slice.interval),
            figure(slice.whole),
        ]);
    }
    if !table.is_empty() {
        out += "\nSlices, the weakest first\n";
        out += &table.text();
        if judged.len() > SLICES_MAX {
            let _ = writeln!(out, "  and {} better ones", judged.len() - SLICES_MAX);
        }
    }
    let mut table = Table::new(["by", "gap of", "is", "95 %", "worst", "best"]);
    for fairness in &int8.fairness {
        // Of the classes the widest gap speaks for all; `--json` has each.
        let recall = fairness
            .recalls
            .iter()
            .max_by(|a, b| a.gap.total_cmp(&b.gap));
        let named = [
            fairness.metric.as_ref().map(|gap| (gap, gap.of.clone())),
            recall.map(|gap| (gap, format!("recall of {}", gap.of))),
            fairness
                .false_alarms
                .as_ref()
                .map(|gap| (gap, "false alarms".to_owned())),
        ];
        for (gap, of) in named.into_iter().flatten() {
            let [best, worst] = gap.figures;
            table.row([
                fairness.key.clone(),
                of,
                format!("{:.4}", gap.gap),
                range(gap.interval),
                format!("{} {worst:.4}", gap.worst),
                format!("{} {best:.4}", gap.best),
            ]);
        }
    }
    if !table.is_empty() {
        out += "\nGaps between slices; one whose interval holds 0 may be chance\n";
        out += &table.text();
    }
    if !small.is_empty() {
        let _ = writeln!(
            out,
            "  {} slices have fewer than {slice_windows_min} windows and are not judged",
            small.len()
        );
    }
    out
}

/// Slices that are listed.
const SLICES_MAX: usize = 8;

pub(crate) fn range(interval: Option<Interval>) -> String {
    interval.map_or_else(
        || "–".to_owned(),
        |interval| format!("{:.3}–{:.3}", interval.low, interval.high),
    )
}

fn confusion_text(evaluation: &Evaluation) -> String {
    let mut head = vec![String::new()];
    head.extend((0..evaluation.classes.len()).map(|index| format!("{}", index + 1)));
    head.extend(["prec.", "recall", "F1"].map(str::to_owned));
    let mut table = Table::new(head);
    for (index, (counts, figures)) in evaluation
        .confusion
        .iter()
        .zip(&evaluation.per_class)
        .enumerate()
    {
        let mut row = vec![format!("{} {}", index + 1, figures.label)];
        row.extend(counts.iter().map(|&count| match count {
            0 => "·".to_owned(),
            count => count.to_string(),
        }));
        row.extend(
            [figures.precision, figures.recall, figures.f1].map(|value| format!("{value:.3}")),
        );
        table.row(row);
    }
    table.text()
}

/// What the model takes of each board.
pub(crate) fn fits_text(fits: &[BoardFit]) -> String {
    let mut table = Table::new(["board", "fits", "RAM", "flash", "latency", "energy"]);
    for fit in fits {
        let of = |used: u32, free: u32| format!("{:.1} of {:.1} KiB", kib(used), kib(free));
        let star = if fit.is_target { " *" } else { "" };
        table.row([
            format!("{}{star}", fit.board),
            if fit.fits { "yes" } else { "NO" }.to_owned(),
            of(fit.ram_bytes, fit.ram_free_bytes),
            of(fit.flash_bytes, fit.flash_free_bytes),
            band(fit.latency_ms, fit.latency_ms_band, "ms"),
            band(fit.energy_mj, fit.energy_mj_band, "mJ"),
        ]);
    }
    let mut out = table.text();
    for fit in fits.iter().filter(|fit| !fit.fits) {
        for reason in &fit.reasons {
            let _ = writeln!(out, "  {}: {reason}", fit.board);
        }
    }
    if fits.iter().any(|fit| fit.is_target) {
        out += "  * asked for by the project; flash is two slots, times and energy are estimates\n";
    }
    out
}

fn kib(bytes: u32) -> f64 {
    f64::from(bytes) / 1024.0
}

fn band(typical: f64, [low, high]: [f64; 2], unit: &str) -> String {
    format!("{typical:.2} {unit} ({low:.2}–{high:.2})")
}
