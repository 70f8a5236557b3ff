mod add;

use std::fmt::Write as _;

use serde::Serialize;
use tinyops_data::{
    finding::{Report, Severity},
    manifest::{Diff, Entry},
};
use tinyops_pipeline::{Job, Outcome, RunError, StepName, run as run_pipeline};
use tinyops_store::{
    Artifacts, Db, Digest, Json, dataset, dataset::Dataset, model, run::RunId, step,
};

use crate::{
    cmd::run::run_failure,
    context::{Context, moment, short},
    failure::Failure,
    model_ref::ModelRef,
    record::{manifest, output},
    table::Table,
};

/// Add recordings to a project, look at them and at the versions of its dataset
///
/// A version is the digest of a list of all recordings: the same recordings are the same version, anywhere.
#[derive(Debug, clap::Args)]
pub(crate) struct Data {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    Add(add::Add),
    Status(Status),
    Validate(Validate),
    Ls(Ls),
    Show(Show),
    Diff(DiffArgs),
}

/// Read the sources and say how they differ from what the newest model was made from
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops data status")]
struct Status {}

/// List every finding about the recordings, with file and row
///
/// Exits with 2 if any of them is an error.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops data validate --json")]
struct Validate {}

/// List the versions of the dataset, newest first
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops data ls")]
struct Ls {}

/// List the recordings of a version
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops data show fan@3")]
struct Show {
    /// Its first digits, or the model that was made from it, such as `fan@3` [default: the newest]
    version: Option<String>,
}

/// Say what changed from one version to another
///
/// Exits with 0 whether or not they differ.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops data diff fan@2 fan@3")]
struct DiffArgs {
    /// The old version, named as for `show`
    old: String,
    /// The new version [default: the newest]
    new: Option<String>,
}

/// One recording of a version.
#[derive(Serialize)]
struct RecordingView {
    name: String,
    label: String,
    group: String,
    readings: usize,
    role: Option<&'static str>,
    content: String,
}

impl RecordingView {
    fn of(entry: &Entry) -> Self {
        Self {
            name: entry.name.clone(),
            label: entry.label.clone(),
            group: entry.group.clone(),
            readings: entry.len,
            role: entry.role.map(tinyops_data::sample::Role::as_str),
            content: entry.content.to_string(),
        }
    }
}

/// Names of a kind that a person is shown; `--json` has them all.
const LISTED: usize = 20;

/// What changed between two versions, by the names of recordings.
#[derive(Serialize)]
struct DiffView {
    old: String,
    new: String,
    added: Vec<String>,
    removed: Vec<String>,
    changed: Vec<String>,
}

impl DiffView {
    fn of(old: Digest, new: Digest, diff: Diff) -> Self {
        let names = |entries: Vec<Entry>| entries.into_iter().map(|entry| entry.name).collect();
        Self {
            old: old.to_string(),
            new: new.to_string(),
            added: names(diff.added),
            removed: names(diff.removed),
            changed: names(diff.changed.into_iter().map(|(_, new)| new).collect()),
        }
    }

    fn text(&self) -> String {
        let mut out = String::new();
        for (sign, names) in [
            ('+', &self.added),
            ('-', &self.removed),
            ('~', &self.changed),
        ] {
            for name in names.iter().take(LISTED) {
                let _ = writeln!(out, "  {sign} {name}");
            }
            if names.len() > LISTED {
                let _ = writeln!(out, "  {sign} and {} more", names.len() - LISTED);
            }
        }
        let _ = writeln!(
            out,
            "  {} added, {} removed, {} changed",
            self.added.len(),
            self.removed.len(),
            self.changed.len()
        );
        out
    }
}

pub(crate) async fn run(context: &Context, args: &Data) -> Result<(), Failure> {
    match &args.verb {
        Verb::Add(args) => add::run(context, args),
        Verb::Status(_) => status(context).await,
        Verb::Validate(_) => validate(context).await,
        Verb::Ls(_) => ls(context).await,
        Verb::Show(args) => show(context, args).await,
        Verb::Diff(args) => diff(context, args).await,
    }
}

/// `tinyops data status --json`
#[derive(Serialize)]
struct StatusView {
    version: String,
    /// Recordings, classes, groups, seconds, errors and warnings, as the ingest step found them.
    detail: Json,
    /// The newest model, as `fan@3`.
    model: Option<String>,
    /// What changed since that was made.
    since: Option<DiffView>,
}

async fn status(context: &Context) -> Result<(), Failure> {
    let workshop = context.workshop().await?;
    let until = Job::Full {
        until: Some(StepName::Ingest),
    };
    let outcome = run_pipeline(&workshop, &until, None, &context.terminal.reporter())
        .await
        .map_err(|error| run_failure(context, error))?;
    let name = &workshop.project.project.name;
    let steps = step::of_run(&workshop.db, RunId(outcome.run)).await?;
    let version = output(&steps, "ingest", "dataset")
        .ok_or_else(|| Failure::question("the run kept no dataset"))?;
    let mut view = StatusView {
        version: version.to_string(),
        detail: steps
            .into_iter()
            .next()
            .map_or(Json::Null, |step| step.detail),
        model: None,
        since: None,
    };
    if let Some(newest) = model::latest(&workshop.db, name).await?
        && let Some(old) = newest.metrics["dataset"].as_str()
        && let Ok(old) = old.parse::<Digest>()
    {
        view.model = Some(crate::model_ref::title(&newest));
        view.since = Some(compare(&workshop.artifacts, old, version).await?);
    }
    context.terminal.answer(&view, || status_text(&view));
    Ok(())
}

fn status_text(view: &StatusView) -> String {
    let detail = &view.detail;
    let mut out = format!("dataset {}\n", view.version);
    if let Some(summary) = detail["summary"].as_str() {
        let seconds = detail["seconds"].as_f64().unwrap_or(0.0);
        let _ = writeln!(out, "  {summary}, {seconds:.1} s");
    }
    let classes = detail["classes"].as_array().into_iter().flatten();
    let counts = detail["class_counts"].as_array().into_iter().flatten();
    let mut table = Table::new(["class", "recordings"]);
    for (class, count) in classes.zip(counts) {
        table.row([
            class.as_str().unwrap_or_default().to_owned(),
            count.to_string(),
        ]);
    }
    if !table.is_empty() {
        out += &table.text();
    }
    let (errors, warnings) = (&detail["errors"], &detail["warnings"]);
    let _ = writeln!(
        out,
        "  {errors} errors, {warnings} warnings so far; `tinyops data validate` lists them, and looks at the split"
    );
    if let (Some(model), Some(since)) = (&view.model, &view.since) {
        let _ = writeln!(out, "since {model} was made:");
        out += &since.text();
    }
    out
}

/// `tinyops data validate --json`
#[derive(Serialize)]
struct ValidateView<'a> {
    passed: bool,
    errors: usize,
    warnings: usize,
    notes: usize,
    report: &'a Report,
}

async fn validate(context: &Context) -> Result<(), Failure> {
    let workshop = context.workshop().await?;
    let until = Job::Full {
        until: Some(StepName::Validate),
    };
    let report = match run_pipeline(&workshop, &until, None, &context.terminal.reporter()).await {
        Ok(Outcome { report, .. }) => report,
        Err(RunError::Findings { report }) => *report,
        Err(error) => return Err(run_failure(context, error)),
    };
    let view = ValidateView {
        passed: !report.has_errors(),
        errors: report.count(Severity::Error),
        warnings: report.count(Severity::Warning),
        notes: report.count(Severity::Note),
        report: &report,
    };
    context.terminal.answer(&view, || format!("{report}\n"));
    if view.passed {
        Ok(())
    } else {
        Err(
            Failure::question(format!("the recordings have {} errors", view.errors))
                .hint("mend the files, leave them out with `exclude`, or accept a kind in `[data] accept`"),
        )
    }
}

async fn ls(context: &Context) -> Result<(), Failure> {
    let (db, _) = context.existing_store().await?;
    let versions = dataset::list(&db, &context.project()?.project.name).await?;
    let mut table = Table::new(["version", "recordings", "first seen (UTC)", ""]);
    for version in &versions {
        table.row([
            short(&version.digest),
            version.sample_count.to_string(),
            moment(version.created_at),
            version.detail["summary"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
        ]);
    }
    let text = table.text();
    let view: Vec<Json> = versions
        .into_iter()
        .map(|version: Dataset| {
            serde_json::json!({
                "version": version.digest.to_string(),
                "sample_count": version.sample_count,
                "created_at_ms": version.created_at.0,
                "detail": version.detail,
            })
        })
        .collect();
    context
        .terminal
        .answer(&serde_json::json!({ "versions": view }), || text);
    Ok(())
}

async fn show(context: &Context, args: &Show) -> Result<(), Failure> {
    let (db, artifacts) = context.existing_store().await?;
    let version = find(context, &db, args.version.as_deref()).await?;
    let manifest = manifest(&artifacts, &version).await?;
    let mut table = Table::new(["recording", "label", "group", "readings", "content"]);
    for entry in &manifest.entries {
        table.row([
            entry.name.clone(),
            // The manifest says of a label what it is, too: a class, a value.
            entry
                .label
                .strip_prefix("class ")
                .unwrap_or(&entry.label)
                .to_owned(),
            entry.group.clone(),
            entry.len.to_string(),
            short(&entry.content),
        ]);
    }
    let recordings: Vec<RecordingView> = manifest.entries.iter().map(RecordingView::of).collect();
    let view = serde_json::json!({ "version": version.to_string(), "recordings": recordings });
    context
        .terminal
        .answer(&view, || format!("dataset {version}\n{}", table.text()));
    Ok(())
}

async fn diff(context: &Context, args: &DiffArgs) -> Result<(), Failure> {
    let (db, artifacts) = context.existing_store().await?;
    let old = find(context, &db, Some(&args.old)).await?;
    let new = find(context, &db, args.new.as_deref()).await?;
    let view = compare(&artifacts, old, new).await?;
    context.terminal.answer(&view, || view.text());
    Ok(())
}

async fn compare(artifacts: &Artifacts, old: Digest, new: Digest) -> Result<DiffView, Failure> {
    let before = manifest(artifacts, &old).await?;
    let after = manifest(artifacts, &new).await?;
    Ok(DiffView::of(old, new, before.diff(&after)))
}

/// The version that first digits, or a model, stand for; without a name the newest.
async fn find(context: &Context, db: &Db, name: Option<&str>) -> Result<Digest, Failure> {
    let versions = dataset::list(db, &context.project()?.project.name).await?;
    let Some(name) = name else {
        return versions
            .first()
            .map(|version| version.digest)
            .ok_or_else(|| {
                Failure::question("the project has no dataset version yet")
                    .hint("`tinyops data status` makes one of the recordings that are there")
            });
    };
    let mut named = versions
        .iter()
        .filter(|version| version.digest.to_string().starts_with(name));
    match (named.next(), named.next()) {
        (Some(version), None) => return Ok(version.digest),
        (Some(_), Some(_)) => {
            return Err(
                Failure::question(format!("several versions begin with `{name}`"))
                    .hint("give more digits"),
            );
        }
        _ => {}
    }
    if name.contains('@') {
        let wanted: ModelRef = name.parse().expect("every text is a reference");
        let model = wanted.resolve(db).await?;
        let version = model.metrics["dataset"].as_str();
        if let Some(Ok(version)) = version.map(str::parse) {
            return Ok(version);
        }
    }
    Err(
        Failure::question(format!("no version of the dataset is called `{name}`"))
            .hint("`tinyops data ls` lists them"),
    )
}
