//! `tinyops data add`: recordings from anywhere, copied to where the project's pattern finds them.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::Serialize;
use tinyops_data::{
    finding::Report,
    ingest::{Listing, ingest},
    pattern::{Captures, Pattern, PlaceError},
    spec::{DataSpec, SourceSpec},
};
use tinyops_pipeline::{files_below, schema_of, source_root};
use tinyops_store::{Readers, write_whole_with};

use tokio::task::block_in_place;

use super::versions::{self, AddedView};
use crate::{
    cmd::run::run_failure,
    context::Context,
    failure::{Exit, Failure},
};

/// Make a version of files or folders of the project, or copy recordings into it from elsewhere
///
/// A path in the project becomes a version: its files go into the cache, read-only and once, and a small pointer
/// `PATH.tinyops` beside it goes into Git in their place. What has not changed since is not read again.
///
/// A path from elsewhere, or one with `--label`, `--group` or `--set`, is copied to where the project's source finds it.
/// Each file is read first, as a run would read it; if one of them is not sound, none is copied. A recording that is
/// there already is left alone. Where it is copied to what is tracked, that becomes a new version.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples: tinyops data add data\n          tinyops data add ~/recordings/monday --label worn --group pump-3"
)]
pub(super) struct Add {
    /// Files, or folders of them
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// What they show: the `{label}` of the source's pattern
    #[arg(long)]
    label: Option<String>,
    /// Which machine, person or session they are of: its `{group}`
    #[arg(long)]
    group: Option<String>,
    /// Any other word in braces of the pattern
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = pair)]
    others: Vec<(String, String)>,
    /// Which `[[data.source]]` they belong to, from 0
    #[arg(long, default_value_t = 0)]
    source: usize,
    /// Wait for another process that works on the project's versions
    #[arg(long)]
    wait: bool,
}

/// `tinyops data add --json`
#[derive(Serialize)]
struct View {
    /// Where recordings were copied to; null if none were.
    root: Option<String>,
    added: Vec<String>,
    present: Vec<String>,
    versions: Vec<AddedView>,
}

/// One file on its way.
struct Parcel {
    from: PathBuf,
    /// From the root of the source on, with `/`.
    to: String,
}

pub(super) fn run(context: &Context, args: &Add) -> Result<(), Failure> {
    let project = context.project()?;
    let is_named = args.label.is_some() || args.group.is_some() || !args.others.is_empty();
    let is_inside = |path: &PathBuf| lies_in(path, &context.root);
    let mut view = View {
        root: None,
        added: Vec::new(),
        present: Vec::new(),
        versions: Vec::new(),
    };
    if !is_named && args.paths.iter().all(is_inside) {
        view.versions = block_in_place(|| versions::add(context, &args.paths, args.wait))?;
        context.terminal.answer(&view, || text(&view));
        return Ok(());
    }
    if !is_named && let Some(inside) = args.paths.iter().find(|path| is_inside(path)) {
        return Err(Failure::question(format!(
            "`{}` lies in the project, other paths do not",
            inside.display()
        ))
        .hint("one call makes versions of what is in the project, another copies what is not"));
    }
    if project.data.source.is_empty()
        && let Some(outside) = args.paths.first()
    {
        return Err(Failure::question(format!(
            "`{}` lies outside of the project",
            outside.display()
        ))
        .because("the project has no source that says where recordings go")
        .hint("move it into the project, or write a `[[data.source]]`"));
    }
    let source = project.data.source.get(args.source).ok_or_else(|| {
        Failure::question(format!("the project has no source {}", args.source)).hint(format!(
            "it has {}, counted from 0",
            project.data.source.len()
        ))
    })?;
    let root = source_root(&context.root, source).map_err(|error| run_failure(context, error))?;
    let parcels = parcels(args, source)?;
    check(context, &project.data, source, &parcels)?;
    view.root = Some(root.display().to_string());
    // Nothing is copied before it is known that everything can be.
    let mut missing = Vec::new();
    for parcel in parcels {
        let to = root.join(&parcel.to);
        match (fs::read(&to), fs::read(&parcel.from)) {
            (Ok(there), Ok(new)) if there == new => view.present.push(parcel.to),
            (Ok(_), _) => {
                return Err(
                    Failure::question(format!("`{}` is another recording", to.display()))
                        .because(format!("`{}` would overwrite it", parcel.from.display()))
                        .hint("rename the file; nothing was copied"),
                );
            }
            _ => missing.push(parcel),
        }
    }
    for parcel in missing {
        copy(&parcel.from, &root.join(&parcel.to)).map_err(|error| {
            Failure::environment(format!(
                "cannot write `{}`",
                root.join(&parcel.to).display()
            ))
            .cause(&error)
        })?;
        view.added.push(parcel.to);
    }
    if !view.added.is_empty() {
        let paths: Vec<PathBuf> = view.added.iter().map(|name| root.join(name)).collect();
        view.versions = block_in_place(|| versions::add_again(context, &paths, args.wait))?;
    }
    context.terminal.answer(&view, || text(&view));
    Ok(())
}

/// Whether a path lies in a folder, also where it does not exist.
fn lies_in(path: &Path, folder: &Path) -> bool {
    let Ok(folder) = folder.canonicalize() else {
        return false;
    };
    let Ok(absolute) = std::path::absolute(path) else {
        return false;
    };
    if absolute.canonicalize().is_ok_and(|path| path == folder) {
        return true;
    }
    // Of a path that is a link counts where it lies, not where it leads.
    let parent = absolute.parent().map(|parent| parent.canonicalize());
    match (parent, absolute.file_name()) {
        (Some(Ok(parent)), Some(_)) => parent.starts_with(&folder),
        _ => absolute
            .canonicalize()
            .is_ok_and(|path| path.starts_with(&folder)),
    }
}

fn text(view: &View) -> String {
    let mut out: String = view.versions.iter().map(AddedView::text).collect();
    let Some(root) = &view.root else {
        let changed: Vec<&str> = view
            .versions
            .iter()
            .filter(|added| added.changed)
            .map(|added| added.path.as_str())
            .collect();
        if let Some(first) = changed.first() {
            out += &format!("  keep this version in Git: `git add {first}.tinyops .gitignore`");
            out += if changed.len() > 1 {
                " and so on\n"
            } else {
                "\n"
            };
        }
        return out;
    };
    for name in view.added.iter().take(5) {
        out += &format!("  + {root}/{name}\n");
    }
    if view.added.len() > 5 {
        out += &format!("  + {} more\n", view.added.len() - 5);
    }
    out + &format!(
        "  {} added, {} were there; `tinyops data status` says what is there now\n",
        view.added.len(),
        view.present.len()
    )
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text
        .split_once('=')
        .ok_or_else(|| "is not NAME=VALUE".to_owned())?;
    Ok((name.to_owned(), value.to_owned()))
}

/// Where each file goes.
fn parcels(args: &Add, source: &SourceSpec) -> Result<Vec<Parcel>, Failure> {
    let text = source
        .files
        .first()
        .ok_or_else(|| Failure::question(format!("source {} has no `files`", args.source)))?;
    let pattern = Pattern::new(text).map_err(|error| Failure::of(Exit::Question, &error))?;
    let mut values = Captures::new();
    for (name, value) in [("label", &args.label), ("group", &args.group)] {
        if let Some(value) = value {
            values.insert(name.to_owned(), value.clone());
        }
    }
    values.extend(args.others.iter().cloned());
    let refused = |error: PlaceError| {
        let failure = Failure::question("the source does not say where the recordings go")
            .because(format!("pattern `{text}`: {error}"));
        match &error {
            PlaceError::Unnamed(name) if name == "label" || name == "group" => {
                failure.hint(format!("add `--{name} NAME`"))
            }
            PlaceError::Unnamed(name) => failure.hint(format!("add `--set {name}=VALUE`")),
            PlaceError::NoCapture(name) if name == "label" && source.label_file.is_some() => failure
                .hint("labels of this source stand in its `label_file`: add a line there, and leave `--label` out"),
            PlaceError::NoCapture(_) => {
                failure.hint("leave the option out, or change `files` of the source")
            }
            _ => failure.hint("rename the file, or copy it by hand to where the pattern finds it"),
        }
    };
    let mut parcels: Vec<Parcel> = Vec::new();
    for path in &args.paths {
        let unreadable = |error: io::Error| {
            Failure::question(format!("cannot read `{}`", path.display()))
                .cause(&error)
                .hint("give recordings, or folders of them")
        };
        let is_folder = fs::metadata(path).map_err(unreadable)?.is_dir();
        let files = if is_folder {
            let files = files_below(path).map_err(unreadable)?;
            files.into_iter().map(|(name, _)| path.join(name)).collect()
        } else {
            vec![path.clone()]
        };
        let before = parcels.len();
        for from in files {
            let name = from.file_name().unwrap_or_default().to_string_lossy();
            match pattern.place(&name, &values) {
                Ok(to) => parcels.push(Parcel { from, to }),
                // In a folder there may be a README, too.
                Err(PlaceError::Name(_)) if is_folder => {}
                Err(error) => return Err(refused(error)),
            }
        }
        if parcels.len() == before {
            return Err(Failure::question(format!(
                "`{}` holds no file that `{text}` finds",
                path.display()
            )));
        }
    }
    parcels.sort_by(|a, b| a.to.cmp(&b.to));
    if let Some(two) = parcels.windows(2).find(|two| two[0].to == two[1].to) {
        return Err(Failure::question(format!(
            "`{}` and `{}` would both become `{}`",
            two[0].from.display(),
            two[1].from.display(),
            two[0].to
        ))
        .hint("rename one of them; nothing was copied"));
    }
    Ok(parcels)
}

/// Reads the files as a run would, from where they are, by the names they will have.
fn check(
    context: &Context,
    data: &DataSpec,
    source: &SourceSpec,
    parcels: &[Parcel],
) -> Result<(), Failure> {
    let root = source_root(&context.root, source).map_err(|error| run_failure(context, error))?;
    let spec = DataSpec {
        source: vec![SourceSpec {
            files: source.files.iter().take(1).cloned().collect(),
            ..source.clone()
        }],
        classes: Vec::new(),
        ..data.clone()
    };
    let listing = Listing {
        files: parcels.iter().map(|parcel| parcel.to.clone()).collect(),
    };
    let mut read = |_: usize, path: &str| match parcels.iter().find(|parcel| parcel.to == path) {
        Some(parcel) => fs::read(&parcel.from),
        // A side file of the source.
        None => fs::read(root.join(path)),
    };
    let mut report = Report::new();
    let dataset = ingest(&spec, &[listing], &mut read, &mut report);
    if let Some(schema) = schema_of(&context.root).map_err(|error| run_failure(context, error))? {
        schema.check_recordings(&dataset, &spec, &mut report);
    }
    report.accept(&data.accept);
    if !report.has_errors() {
        return Ok(());
    }
    let is_refused = report.is_refused_by_schema();
    if !context.terminal.json {
        context.terminal.tell(&report);
    }
    let failure = match is_refused {
        true => Failure::no("the recordings differ from the schema; none was copied"),
        false => Failure::question("the recordings are not sound; none was copied"),
    };
    Err(failure
        .because(
            report
                .findings
                .iter()
                .find(|finding| finding.severity == tinyops_data::finding::Severity::Error)
                .map(ToString::to_string)
                .unwrap_or_default(),
        )
        .hint("mend them, or name those that are sound"))
}

/// A copy that is there whole or not at all.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to.parent().unwrap_or(Path::new("")))?;
    let mut from = fs::File::open(from)?;
    write_whole_with(to, Readers::Usual, |file| {
        io::copy(&mut from, file).map(drop)
    })
}
