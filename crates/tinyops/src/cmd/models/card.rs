use std::{fmt::Write as _, path::PathBuf};

use serde::Serialize;
use tinyops_data::finding::Severity;
use tinyops_train::{Comparison, Evaluation};

use super::facts::{Facts, detail};
use crate::{
    cmd::run::range,
    context::{Context, moment},
    failure::Failure,
    model_ref::{ModelRef, title},
    record::output,
};

/// Write a model card from what is known: figures, slices, data, code, boards, limits
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops models card fan@3 --out MODEL_CARD.md")]
pub(super) struct Card {
    /// Model and version, such as `fan@3` [default: the project's]
    model: Option<ModelRef>,
    /// Write it here instead of stdout
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// `tinyops models card --json`
#[derive(Serialize)]
struct View {
    model: String,
    markdown: String,
}

pub(super) async fn run(context: &Context, args: &Card) -> Result<(), Failure> {
    let (db, artifacts) = context.existing_store().await?;
    let facts = Facts::load(context, &db, &artifacts, args.model.as_ref()).await?;
    let view = View {
        model: title(&facts.row),
        markdown: facts.markdown(),
    };
    if let Some(path) = &args.out {
        context.write(path, view.markdown.as_bytes())?;
        return Ok(());
    }
    context.terminal.answer(&view, || view.markdown.clone());
    Ok(())
}

impl Facts {
    pub(super) fn markdown(&self) -> String {
        let mut out = format!("# {}\n\n", title(&self.row));
        if !self.goal.is_empty() {
            let _ = writeln!(out, "{}.\n", self.goal.trim_end_matches('.'));
        }
        self.made(&mut out);
        self.data(&mut out);
        if let Some(comparison) = &self.evaluation {
            figures(&mut out, comparison);
        }
        self.boards(&mut out);
        self.gates(&mut out);
        out.push_str("## Limits\n\n");
        for limit in self.limits() {
            let _ = writeln!(out, "- {limit}");
        }
        out
    }

    fn made(&self, out: &mut String) {
        let _ = writeln!(out, "| | |\n|---|---|");
        let mut line = |name: &str, value: String| {
            let _ = writeln!(out, "| {name} | {value} |");
        };
        let front_end = &self.model.front_end;
        line("stage", self.row.stage.to_string());
        line("registered", format!("{} UTC", moment(self.row.created_at)));
        line("model", format!("`{}`", self.row.digest));
        line("task", format!("{:?}", self.model.task).to_lowercase());
        if !self.model.labels.is_empty() {
            line("classes", self.model.labels.join(", "));
        }
        line(
            "one window",
            format!(
                "{} readings of {} channels at {} Hz, {} features",
                front_end.window_len,
                front_end.channel_count,
                front_end.rate_hz,
                front_end.feature_count()
            ),
        );
        let decision = &self.model.decision;
        line(
            "decision",
            format!(
                "threshold {}, least confidence {}",
                decision.threshold, decision.min_confidence
            ),
        );
        if let Some(run) = &self.run {
            line(
                "run",
                format!("{} ({}), seed {}", run.id, run.kind, run.seed),
            );
            line("code", format!("`{}`", run.code));
            line("settings", format!("`{}`", run.settings));
        }
        if let Some((what, of)) = super::descent(&self.row) {
            line(what, of);
        }
        out.push('\n');
    }

    fn data(&self, out: &mut String) {
        let Some(ingest) = detail(&self.steps, "ingest") else {
            return;
        };
        out.push_str("## Data\n\n");
        if let Some(version) = output(&self.steps, "ingest", "dataset") {
            let _ = writeln!(out, "Dataset `{version}`:");
        }
        let _ = writeln!(
            out,
            "{}, {:.0} s at {} Hz.",
            ingest["summary"].as_str().unwrap_or_default(),
            ingest["seconds"].as_f64().unwrap_or(0.0),
            ingest["rate_hz"],
        );
        if let Some(split) = detail(&self.steps, "validate") {
            let _ = writeln!(
                out,
                "Split: {} recordings train, {} validate, {} test.",
                split["train"], split["validation"], split["test"]
            );
        }
        let _ = writeln!(out, "\n| class | recordings |\n|---|---|");
        let classes = ingest["classes"].as_array().into_iter().flatten();
        let counts = ingest["class_counts"].as_array().into_iter().flatten();
        for (class, count) in classes.zip(counts) {
            let _ = writeln!(out, "| {} | {count} |", class.as_str().unwrap_or_default());
        }
        out.push('\n');
    }

    fn boards(&self, out: &mut String) {
        let Some(compiled) = &self.compiled else {
            return;
        };
        let _ = writeln!(
            out,
            "## Boards\n\nProgram {} B, {} multiply-accumulates, payload {} B. Latency and energy are estimates.\n",
            compiled.program_bytes, compiled.macs, compiled.payload_bytes
        );
        let _ = writeln!(
            out,
            "| board | fits | RAM of free | flash of free | latency |\n|---|---|---|---|---|"
        );
        for fit in &compiled.fits {
            let (typical, [low, high]) = (fit.latency_ms, fit.latency_ms_band);
            let _ = writeln!(
                out,
                "| {} | {} | {} of {} B | {} of {} B | {typical:.2} ms ({low:.2} to {high:.2}) |",
                fit.board,
                if fit.fits { "yes" } else { "no" },
                fit.ram_bytes,
                fit.ram_free_bytes,
                fit.flash_bytes,
                fit.flash_free_bytes,
            );
        }
        out.push('\n');
    }

    fn gates(&self, out: &mut String) {
        if self.gates.is_empty() {
            return;
        }
        out.push_str("## Gates\n\n");
        for gate in &self.gates {
            let word = match gate.passed {
                Some(true) => "pass",
                Some(false) => "**fail**",
                None => "not run",
            };
            let why = gate.why.trim_start_matches("not run: ");
            let _ = writeln!(out, "- {word}: {}: {why}", gate.gate);
        }
        out.push('\n');
    }

    /// What follows from the facts, and nothing else.
    pub(super) fn limits(&self) -> Vec<String> {
        let mut limits = Vec::new();
        let mut line = |text: String| limits.push(text);
        if !self.model.labels.is_empty() {
            let unsure = match self.model.decision.min_confidence {
                least if least > 0.0 => format!(", or called unsure below a confidence of {least}"),
                _ => String::new(),
            };
            line(format!(
                "It knows {} classes; anything else is given one of them{unsure}.",
                self.model.labels.len()
            ));
        }
        if let Some(int8) = self.evaluation.as_ref().map(|comparison| &comparison.int8) {
            line(format!("Its figures are of {} windows.", int8.windows));
            if let Some(weakest) = int8
                .per_class
                .iter()
                .min_by(|a, b| a.recall.total_cmp(&b.recall))
            {
                line(format!(
                    "It is weakest on `{}`: {:.3} of its {} windows are found.",
                    weakest.label, weakest.recall, weakest.windows
                ));
            }
            if let Some((slice, metric)) = weakest_slice(int8) {
                line(format!("Of its slices, {slice} lies lowest: {metric:.4}."));
            }
        }
        for gate in &self.gates {
            if gate.passed.is_none() {
                line(format!(
                    "Not tested: {} ({}).",
                    gate.gate,
                    gate.why.trim_start_matches("not run: ")
                ));
            }
        }
        let warnings = self.report.iter().flat_map(|report| &report.findings);
        for finding in warnings.filter(|finding| finding.severity == Severity::Warning) {
            let file = finding
                .file
                .as_ref()
                .map_or_else(String::new, |file| format!(" ({file})"));
            line(format!(
                "Warning about the data{file}: {}.",
                finding.message
            ));
        }
        line(
            "Latency and energy are estimated from operation counts, not measured on a board."
                .to_owned(),
        );
        limits
    }
}

fn weakest_slice(evaluation: &Evaluation) -> Option<(String, f32)> {
    let metric = evaluation.metric.unwrap_or_default();
    // A slice without an interval is too small to be spoken of.
    let told = evaluation
        .slices
        .iter()
        .filter(|slice| slice.interval.is_some());
    let figures = told.filter_map(|slice| Some((slice, slice.metric?)));
    let (slice, figure) = figures.min_by(|a, b| {
        metric
            .goodness(a.1.into())
            .total_cmp(&metric.goodness(b.1.into()))
    })?;
    Some((format!("`{}={}`", slice.key, slice.value), figure))
}

fn figures(out: &mut String, comparison: &Comparison) {
    let int8 = &comparison.int8;
    let _ = writeln!(
        out,
        "## Figures\n\nOn {} test windows, by the int8 arithmetic that devices run.\n\n| | int8 | float |\n|---|---|---|",
        int8.windows
    );
    for name in [
        "accuracy",
        "macro_f1",
        "auc",
        "rmse",
        "false_alarm_rate",
        "miss_rate",
        "expected_cost",
    ] {
        let Some(value) = int8.metric_named(name) else {
            continue;
        };
        let float = comparison
            .float
            .as_ref()
            .and_then(|float| float.metric_named(name));
        let float = float.map_or_else(|| "–".to_owned(), |value| format!("{value:.4}"));
        let _ = writeln!(out, "| {} | {value:.4} | {float} |", name.replace('_', " "));
    }
    if let Some(parity) = &comparison.parity {
        let same = parity.agreement.map_or_else(String::new, |share| {
            format!(", the same class for {share:.4} of the windows")
        });
        let _ = writeln!(
            out,
            "\nint8 against float, window by window: scores differ by {:.5} at most, {:.5} in the mean{same}.",
            parity.max_error, parity.mean_error
        );
    }
    if !int8.per_class.is_empty() {
        let _ = writeln!(
            out,
            "\n| class | windows | precision | recall | F1 |\n|---|---|---|---|---|"
        );
    }
    for class in &int8.per_class {
        let _ = writeln!(
            out,
            "| {} | {} | {:.3} | {:.3} | {:.3} |",
            class.label, class.windows, class.precision, class.recall, class.f1
        );
    }
    if !int8.slices.is_empty() {
        let _ = writeln!(
            out,
            "\n| slice | windows | recordings | figure | is | 95 % |\n|---|---|---|---|---|---|"
        );
    }
    for slice in &int8.slices {
        let metric = slice
            .metric
            .map_or_else(|| "–".to_owned(), |value| format!("{value:.4}"));
        let _ = writeln!(
            out,
            "| {}={} | {} | {} | {} | {metric} | {} |",
            slice.key,
            slice.value,
            slice.windows,
            slice.recordings,
            slice.figure,
            range(slice.interval)
        );
    }
    for fairness in &int8.fairness {
        let rows = fairness
            .metric
            .iter()
            .map(|gap| (gap, gap.of.clone()))
            .chain(
                fairness
                    .recalls
                    .iter()
                    .map(|gap| (gap, format!("recall of {}", gap.of))),
            )
            .chain(
                fairness
                    .false_alarms
                    .iter()
                    .map(|gap| (gap, "false alarms".to_owned())),
            );
        let _ = writeln!(
            out,
            "\n| gap by {} | is | 95 % | worst | best |\n|---|---|---|---|---|",
            fairness.key
        );
        for (gap, of) in rows {
            let [best, worst] = gap.figures;
            let _ = writeln!(
                out,
                "| {of} | {:.4} | {} | {} {worst:.4} | {} {best:.4} |",
                gap.gap,
                range(gap.interval),
                gap.worst,
                gap.best
            );
        }
    }
    out.push('\n');
}
