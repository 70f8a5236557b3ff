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
use tinyops_pipeline::{files_below, source_root};
use tinyops_store::{Readers, write_whole_with};

use crate::{
    cmd::run::run_failure,
    context::Context,
    failure::{Exit, Failure},
};

/// Copy recordings into the project, to where its source finds them, with their label and group
///
/// Each file is read first, as a run would read it; if one of them is not sound, none is copied. A recording that is
/// there already is left alone.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops data add ~/recordings/monday --label worn --group pump-3")]
pub(super) struct Add {
    /// Recordings, or folders of them
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
}

/// `tinyops data add --json`
#[derive(Serialize)]
struct View {
    root: String,
    added: Vec<String>,
    present: Vec<String>,
}

/// One file on its way.
struct Parcel {
    from: PathBuf,
    /// From the root of the source on, with `/`.
    to: String,
}

pub(super) fn run(context: &Context, args: &Add) -> Result<(), Failure> {
    let project = context.project()?;
    let source = project.data.source.get(args.source).ok_or_else(|| {
        Failure::question(format!("the project has no source {}", args.source)).hint(format!(
            "it has {}, counted from 0",
            project.data.source.len()
        ))
    })?;
    let root = source_root(&context.root, source).map_err(|error| run_failure(context, error))?;
    let parcels = parcels(args, source)?;
    check(context, &project.data, source, &parcels)?;
    let mut view = View {
        root: root.display().to_string(),
        added: Vec::new(),
        present: Vec::new(),
    };
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
    context.terminal.answer(&view, || text(&view));
    Ok(())
}

fn text(view: &View) -> String {
    let mut out = String::new();
    for name in view.added.iter().take(5) {
        out += &format!("  + {}/{name}\n", view.root);
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
    ingest(&spec, &[listing], &mut read, &mut report);
    if !report.has_errors() {
        return Ok(());
    }
    if !context.terminal.json {
        context.terminal.tell(&report);
    }
    Err(
        Failure::question("the recordings are not sound; none was copied")
            .because(
                report
                    .findings
                    .iter()
                    .find(|finding| finding.severity == tinyops_data::finding::Severity::Error)
                    .map(ToString::to_string)
                    .unwrap_or_default(),
            )
            .hint("mend them, or name those that are sound"),
    )
}

/// A copy that is there whole or not at all.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to.parent().unwrap_or(Path::new("")))?;
    let mut from = fs::File::open(from)?;
    write_whole_with(to, Readers::Usual, |file| {
        io::copy(&mut from, file).map(drop)
    })
}
