//! `tinyops data schema`: what recordings look like, as text in Git, and what differs from it.

use std::{fmt::Write as _, fs, io};

use serde::Serialize;
use tinyops_data::{
    finding::{Report, Severity},
    schema::Schema as Text,
};
use tinyops_pipeline::{SCHEMA_FILE, Shelf, schema_of};
use tinyops_store::{Readers, write_new, write_whole};
use tokio::task::block_in_place;

use crate::{cmd::run::run_failure, context::Context, failure::Failure};

/// Say what recordings look like, and hold new ones against it
///
/// The schema is `schema.toml` in the project, text for Git: rate, channels, units, ranges, classes and their shares, and
/// how readings are distributed. `data validate`, `data add` and every run hold recordings against it.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Schema {
    Infer(Infer),
    Show(Show),
    Check(Check),
}

/// Write the schema that the recordings have now, with margins
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops data schema infer && git add schema.toml")]
pub(super) struct Infer {
    /// Replace the schema that is there
    #[arg(long)]
    force: bool,
}

/// Print the schema
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops data schema show --json")]
pub(super) struct Show {}

/// Say how the recordings differ from the schema, with file and row
///
/// Exits with 1 if a difference is an error: another rate, unit or channel, a reading out of range, a class that is not
/// known. What has moved is a warning.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops data schema check")]
pub(super) struct Check {}

/// `tinyops data schema check --json`
#[derive(Serialize)]
struct CheckView<'a> {
    passed: bool,
    errors: usize,
    warnings: usize,
    report: &'a Report,
}

pub(super) async fn run(context: &Context, verb: &Schema) -> Result<(), Failure> {
    match verb {
        Schema::Infer(args) => block_in_place(|| infer(context, args)),
        Schema::Show(_) => show(context),
        Schema::Check(_) => check(context).await,
    }
}

fn infer(context: &Context, args: &Infer) -> Result<(), Failure> {
    let project = context.project()?;
    let path = context.root.join(SCHEMA_FILE);
    let shelf =
        Shelf::list(&context.root, &project.data).map_err(|error| run_failure(context, error))?;
    let (dataset, report) = shelf.decoded();
    if report.has_errors() {
        context.terminal.tell(report);
        return Err(Failure::question(
            "the recordings are not sound, so nothing can be said of how they are meant",
        )
        .hint(
            "mend them, or leave them out with `exclude`; `tinyops data validate` lists them again",
        ));
    }
    let schema = Text::infer(dataset).ok_or_else(|| {
        Failure::question("no source finds recordings")
            .hint("`[[data.source]]` in tinyops.toml says where they lie")
    })?;
    let text = schema.encode();
    let written = match args.force {
        true => write_whole(&path, Readers::Usual, text.as_bytes()),
        false => write_new(&path, Readers::Usual, text.as_bytes()),
    };
    written.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            Failure::question(format!("`{}` is there already", path.display())).hint(
                "`--force` replaces it; `tinyops data schema check` says what differs from it",
            )
        }
        _ => Failure::environment(format!("cannot write `{}`", path.display())).cause(&error),
    })?;
    context.terminal.answer(&schema, || {
        format!(
            "Wrote {}: {} channels, {} classes, of {} recordings; `git add {SCHEMA_FILE}` keeps it\n",
            path.display(),
            schema.channels.len(),
            schema.classes.len(),
            dataset.samples.len()
        )
    });
    Ok(())
}

fn existing(context: &Context) -> Result<Text, Failure> {
    let schema = schema_of(&context.root).map_err(|error| run_failure(context, error))?;
    schema.ok_or_else(|| {
        Failure::question("the project has no schema")
            .hint("`tinyops data schema infer` writes one")
    })
}

fn show(context: &Context) -> Result<(), Failure> {
    let schema = existing(context)?;
    context.terminal.answer(&schema, || {
        // As it is in the file, with what people have noted there.
        fs::read_to_string(context.root.join(SCHEMA_FILE)).unwrap_or_else(|_| schema.encode())
    });
    Ok(())
}

async fn check(context: &Context) -> Result<(), Failure> {
    existing(context)?;
    let mut report = super::report(context).await?;
    if report.has_errors() && !report.is_refused_by_schema() {
        context.terminal.tell(&report);
        return Err(Failure::question("the recordings are not sound")
            .hint("mend them first; `tinyops data validate` lists them again"));
    }
    report
        .findings
        .retain(|finding| finding.code.is_of_schema());
    report.more.retain(|more| more.code.is_of_schema());
    let view = CheckView {
        passed: !report.has_errors(),
        errors: report.count(Severity::Error),
        warnings: report.count(Severity::Warning),
        report: &report,
    };
    context.terminal.answer(&view, || {
        let mut out = String::new();
        let _ = writeln!(out, "{report}");
        out
    });
    match view.passed {
        true => Ok(()),
        false => Err(Failure::no(format!(
            "the recordings differ from the schema in {} ways",
            view.errors
        ))
        .hint("mend the files, or `schema.toml` if this is how they are meant")),
    }
}
