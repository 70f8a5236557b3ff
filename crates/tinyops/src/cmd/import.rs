mod dvc;
mod mlflow;

use std::{fmt::Write as _, fs, path::PathBuf};

use serde::Serialize;
use tinyops_compile::{CompileError, Survey, model_of, survey};
use tinyops_model::tflite::{self, ImportError};

use crate::{
    cmd::compile::told,
    context::Context,
    failure::{Exit, Failure},
    table::Table,
};

/// Read an int8 or int16x8 `.tflite` network: its layers, what it takes, and which boards it fits
///
/// Exits with 1 if it cannot be run, and says everything that stands in the way. `import dvc` takes over the recordings of
/// a DVC repository instead, `import mlflow` what an MLflow server has tracked.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "Examples: tinyops import keywords.tflite --plan keywords.plan\n          tinyops import dvc"
)]
pub(crate) struct Import {
    #[command(subcommand)]
    source: Option<Source>,
    /// The network
    #[arg(required = true)]
    file: Option<PathBuf>,
    /// Write it as a model here: readings are its input, labels are numbers
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Write the plan that a device runs here
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
}

#[derive(Debug, clap::Subcommand)]
enum Source {
    Dvc(dvc::Dvc),
    Mlflow(mlflow::Mlflow),
}

/// `tinyops import --json`
#[derive(Serialize)]
struct View {
    file: String,
    /// What the file has at its ends that is not the bytes of the network's.
    notes: Vec<String>,
    #[serde(flatten)]
    survey: Survey,
}

pub(crate) async fn run(context: &Context, args: &Import) -> Result<(), Failure> {
    let path = match (&args.source, &args.file) {
        (Some(Source::Dvc(args)), _) => return dvc::run(context, args),
        (Some(Source::Mlflow(args)), _) => return mlflow::run(context, args).await,
        (None, Some(path)) => path,
        (None, None) => return Err(Failure::question("no network is named")),
    };
    let file = path.display().to_string();
    let bytes = fs::read(path)
        .map_err(|error| Failure::question(format!("cannot read `{file}`")).cause(&error))?;
    let imported = tflite::import_with_ends(&bytes).map_err(|error| refused(&file, &error))?;
    let ends = imported.inputs.iter().chain(&imported.outputs);
    let mut notes: Vec<String> = ends.filter_map(tflite::End::note).collect();
    let graph = imported.graph;
    notes.extend(state_note(&graph));
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    let uncompiled = |error: CompileError| {
        let failure = Failure::of(Exit::No, &error);
        failure.hint(format!("`{file}` was read, but cannot be compiled"))
    };
    let (survey, compiled) = survey(&graph, &context.boards()?).map_err(uncompiled)?;
    let mut outputs = Vec::new();
    if let Some(path) = &args.plan {
        outputs.push((path, compiled.program));
    }
    if let Some(path) = &args.out {
        let model = model_of(&name, graph).map_err(uncompiled)?;
        outputs.push((path, model.encode()));
    }
    for (path, bytes) in outputs {
        context.write(path, &bytes)?;
    }
    let view = View {
        file,
        notes,
        survey,
    };
    context.terminal.answer(&view, || text(&view));
    Ok(())
}

/// What a network remembers between runs, if it does.
fn state_note(graph: &tinyops_model::Graph) -> Option<String> {
    let bytes = |id: tinyops_model::TensorId| -> u64 {
        let shape = graph.tensor(id).shape;
        shape.iter().map(|&dim| u64::from(dim)).product()
    };
    let all: u64 = graph.states.iter().map(|state| bytes(state.before)).sum();
    (all > 0).then(|| {
        format!(
            "it remembers {all} B between runs; in a model each window stands alone and begins with none of it"
        )
    })
}

/// What stands in the way of a file.
pub(crate) fn refused(file: &str, error: &ImportError) -> Failure {
    let failure = Failure::no(format!("`{file}` cannot be imported"));
    let failure = match error {
        ImportError::Unsupported(refusals) => refusals.iter().fold(failure, |failure, refusal| {
            failure.because(refusal.to_string())
        }),
        ImportError::Graph(faults) => faults
            .iter()
            .fold(failure, |failure, fault| failure.because(fault.to_string())),
        other => failure.because(other.to_string()),
    };
    failure.hint("`tinyops ops` lists the operators that are read, and how")
}

fn text(view: &View) -> String {
    let survey = &view.survey;
    let shape = |[_, height, width, channels]: [u16; 4]| format!("{height}×{width}×{channels}");
    let shapes = |all: &[[u16; 4]]| {
        let all: Vec<String> = all.iter().map(|&one| shape(one)).collect();
        all.join(" and ")
    };
    let mut table = Table::new(["", "layer", "shape", "MACs", "constants"]);
    for (index, layer) in survey.layers.iter().enumerate() {
        table.row([
            format!("{index} {}", layer.kind),
            brief(&layer.output).to_owned(),
            shape(layer.shape),
            layer.macs.to_string(),
            format!("{} B", layer.constant_bytes),
        ]);
    }
    let mut out = format!(
        "{}: {} to {}\n{}",
        view.file,
        shapes(&survey.inputs),
        shapes(&survey.outputs),
        table.text()
    );
    let _ = writeln!(
        out,
        "  {} multiply-accumulates, plan {} B, arena {} B",
        survey.macs, survey.plan_bytes, survey.arena_bytes
    );
    let saved = &survey.saved;
    if !saved.rewrites.is_empty() {
        let _ = writeln!(
            out,
            "  rewritten in {} places, the same to the bit: multiply-accumulates were {}, filters and biases {} B, now {} B",
            saved.rewrites.len(),
            saved.macs_before,
            saved.constant_bytes_before,
            saved.constant_bytes
        );
    }
    for note in &view.notes {
        let _ = writeln!(out, "  {note}");
    }
    for fit in &survey.boards {
        let board = &fit.board;
        let _ = match fit.reasons.join("; ") {
            why if why.is_empty() => writeln!(out, "  fits {board}, without its front end"),
            why => writeln!(out, "  does NOT fit {board}: {why}"),
        };
        if fit.shortfall.is_some() {
            let (places, options) = told(fit.shortfall.as_ref());
            for line in places.iter().chain([&options]) {
                let _ = writeln!(out, "    {line}");
            }
        }
    }
    out
}

/// The first part of a name that a converter has joined of many: what the tensor was called last.
pub(crate) fn brief(name: &str) -> &str {
    let first = name.split(';').find(|part| !part.is_empty());
    let first = first.unwrap_or(name);
    let start = first.char_indices().rev().nth(39);
    start.map_or(first, |(start, _)| &first[start..])
}
