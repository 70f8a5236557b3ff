mod add;
mod label;
mod schema;
mod uploads;
mod versions;

use std::{fmt::Write as _, path::PathBuf};

use serde::Serialize;
use tinyops_data::{
    finding::{Report, Severity},
    manifest::{Diff, Entry},
};
use tinyops_pipeline::{
    Job, Outcome, RunError, StepName, run as run_pipeline, versions::pinned as versions_of_models,
};
use tinyops_store::{
    Artifacts, Db, Digest, Json, dataset, dataset::Dataset, model, run::RunId, step,
};

use tokio::task::block_in_place;
use versions::{ChangesView, TrackedView};
pub(crate) use versions::{counted, sized};

use crate::{
    cmd::run::run_failure,
    context::{Context, moment, short},
    failure::Failure,
    model_ref::ModelRef,
    record::{manifest, output},
    table::Table,
};

/// Add recordings to a project, keep their versions, share them, and look at them
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
    Checkout(versions::Checkout),
    Push(versions::Push),
    Pull(versions::Pull),
    Verify(versions::Verify),
    Gc(versions::Gc),
    Validate(Validate),
    #[command(subcommand)]
    Schema(schema::Schema),
    Ls(Ls),
    Show(Show),
    Diff(DiffArgs),
    Uploads(uploads::Uploads),
    Label(label::Label),
}

/// Say how tracked files differ from their pointers, and the recordings from what the newest model was made from
///
/// With paths, only how these differ from their pointers: then no recording is decoded.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops data status")]
struct Status {
    /// Tracked files and folders
    paths: Vec<PathBuf>,
}

/// List every finding about the recordings, with file and row
///
/// Exits with 2 if any of them is an error, with 1 if all errors are of recordings that can be read and are not as the
/// project's schema says.
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
/// A version is named as for `show`, or is a revision of Git: then pointers are compared, file by file. Exits with 0
/// whether or not they differ.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops data diff fan@2 fan@3")]
struct DiffArgs {
    /// The old version, named as for `show`, or a revision of Git [default: HEAD]
    old: Option<String>,
    /// The new version [default: the newest, or the workspace's pointers]
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

/// What changed between two versions, by the names of recordings.
#[derive(Serialize)]
struct DiffView {
    old: String,
    new: String,
    #[serde(flatten)]
    changes: ChangesView,
}

impl DiffView {
    fn of(old: Digest, new: Digest, diff: Diff) -> Self {
        let names = |entries: Vec<Entry>| entries.into_iter().map(|entry| entry.name).collect();
        Self {
            old: old.to_string(),
            new: new.to_string(),
            changes: ChangesView {
                added: names(diff.added),
                removed: names(diff.removed),
                changed: names(diff.changed.into_iter().map(|(_, new)| new).collect()),
            },
        }
    }

    fn text(&self) -> String {
        self.changes.text()
    }
}

pub(crate) async fn run(context: &Context, args: &Data) -> Result<(), Failure> {
    match &args.verb {
        Verb::Add(args) => add::run(context, args),
        Verb::Status(args) => status(context, args).await,
        // Work on files, all of it on this thread.
        Verb::Checkout(args) => block_in_place(|| versions::checkout(context, args)),
        Verb::Push(args) => block_in_place(|| versions::push(context, args)),
        Verb::Pull(args) => block_in_place(|| versions::pull(context, args)),
        Verb::Verify(args) => block_in_place(|| versions::verify(context, args)),
        Verb::Gc(args) => versions::gc(context, args).await,
        Verb::Validate(_) => validate(context).await,
        Verb::Schema(args) => schema::run(context, args).await,
        Verb::Ls(_) => ls(context).await,
        Verb::Show(args) => show(context, args).await,
        Verb::Diff(args) => diff(context, args).await,
        Verb::Uploads(args) => uploads::run(context, args).await,
        Verb::Label(args) => label::run(context, args),
    }
}

/// `tinyops data status --json`
#[derive(Serialize)]
struct StatusView {
    /// What has a pointer.
    tracked: Vec<TrackedView>,
    /// That of the recordings which the sources find; null where only tracked paths were asked for, or there is no source.
    version: Option<String>,
    /// Recordings, classes, groups, seconds, errors and warnings, as the ingest step found them.
    detail: Json,
    /// The newest model, as `fan@3`.
    model: Option<String>,
    /// What changed since that was made.
    since: Option<DiffView>,
}

async fn status(context: &Context, args: &Status) -> Result<(), Failure> {
    let mut view = StatusView {
        tracked: block_in_place(|| versions::status(context, &args.paths))?,
        version: None,
        detail: Json::Null,
        model: None,
        since: None,
    };
    if args.paths.is_empty() && !context.project()?.data.source.is_empty() {
        look_at_recordings(context, &mut view).await?;
    }
    context.terminal.answer(&view, || status_text(&view));
    Ok(())
}

/// Reads the sources, as far as they have changed.
async fn look_at_recordings(context: &Context, view: &mut StatusView) -> Result<(), Failure> {
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
    view.version = Some(version.to_string());
    view.detail = steps
        .into_iter()
        .next()
        .map_or(Json::Null, |step| step.detail);
    if let Some(newest) = model::latest(&workshop.db, name).await?
        && let Some(old) = newest.metrics["dataset"].as_str()
        && let Ok(old) = old.parse::<Digest>()
    {
        view.model = Some(crate::model_ref::title(&newest));
        view.since = Some(compare(&workshop.artifacts, old, version).await?);
    }
    let ended = uploads::ended(&workshop.db, &workshop.project.project.name).await?;
    if ended > 0 {
        context.terminal.note(format_args!(
            "the consent of {ended} recordings has ended; `tinyops erase --expired` says which"
        ));
    }
    Ok(())
}

fn status_text(view: &StatusView) -> String {
    let detail = &view.detail;
    let mut out: String = view.tracked.iter().map(TrackedView::text).collect();
    let Some(version) = &view.version else {
        if view.tracked.is_empty() {
            out += "nothing is tracked, and no source finds recordings: `tinyops data add PATH` begins\n";
        }
        return out;
    };
    let _ = writeln!(out, "dataset {version}");
    if let Some(summary) = detail["summary"].as_str() {
        // The sum of nothing is -0.
        let seconds = detail["seconds"].as_f64().unwrap_or(0.0) + 0.0;
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
    let count = |key: &str, what| counted(detail[key].as_u64().unwrap_or(0), what);
    let (errors, warnings) = (count("errors", "error"), count("warnings", "warning"));
    let _ = writeln!(
        out,
        "  {errors}, {warnings} so far; `tinyops data validate` lists them, and looks at the split"
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

/// Every finding of ingest, schema and split.
async fn report(context: &Context) -> Result<Report, Failure> {
    let workshop = context.workshop().await?;
    let until = Job::Full {
        until: Some(StepName::Validate),
    };
    match run_pipeline(&workshop, &until, None, &context.terminal.reporter()).await {
        Ok(Outcome { report, .. }) => Ok(report),
        Err(RunError::Findings { report }) => Ok(*report),
        Err(error) => Err(run_failure(context, error)),
    }
}

async fn validate(context: &Context) -> Result<(), Failure> {
    let report = report(context).await?;
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
    } else if report.is_refused_by_schema() {
        Err(Failure::no(format!(
            "the recordings differ from the schema in {} ways",
            view.errors
        ))
        .hint("mend the files, or `schema.toml` if this is how they are meant"))
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
    let Some(old) = &args.old else {
        return match block_in_place(|| versions::diff(context, "HEAD", None))? {
            true => Ok(()),
            false => Err(Failure::question("there is no commit to compare with").hint(
                "`tinyops data status` compares with the pointers, `tinyops data ls` lists versions by digest",
            )),
        };
    };
    let unknown = match diff_of_datasets(context, old, args.new.as_deref()).await {
        Ok(()) => return Ok(()),
        Err(unknown) => unknown,
    };
    match block_in_place(|| versions::diff(context, old, args.new.as_deref()))? {
        true => Ok(()),
        false => Err(unknown),
    }
}

async fn diff_of_datasets(context: &Context, old: &str, new: Option<&str>) -> Result<(), Failure> {
    let (db, artifacts) = context.existing_store().await?;
    let old = find(context, &db, Some(old)).await?;
    let new = find(context, &db, new).await?;
    let view = compare(&artifacts, old, new).await?;
    context.terminal.answer(&view, || view.text());
    Ok(())
}

/// The remote of the project, if it has one.
pub(crate) fn remote_url(context: &Context) -> Result<Option<String>, Failure> {
    versions::RemoteArgs::DEFAULT.url(context)
}

/// The versions of tracked files that registered models were made from.
pub(super) async fn pinned(context: &Context) -> Result<Vec<Digest>, Failure> {
    let (db, _) = context.store().await?;
    let pinned = versions_of_models(&db, &context.project()?.project.name).await?;
    let digests = pinned
        .iter()
        .filter_map(|pinned| pinned.version.parse().ok());
    Ok(digests.collect())
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
