//! Versions of recordings at the command line: objects in the cache, pointers in Git, objects on a remote.

use std::{fmt::Write as _, path::PathBuf};

use serde::Serialize;
use tinyops_data::ingest::expand;
use tinyops_pipeline::versions::{
    Added, Change, ChangeKind, Removal, Standing, TrackedStatus, VersionDiff, VersionError,
    Versions,
};
use tinyops_store::{StoreError, remote::Remote};

use crate::{
    context::Context,
    failure::{Exit, Failure},
};

/// Names of a kind that a person is shown; `--json` has them all.
pub(super) const LISTED: usize = 20;

/// Bring files to the versions that their pointers name, from the cache
///
/// What no version keeps is not overwritten: then nothing is touched, and the exit code is 1.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: git switch main && tinyops data checkout")]
pub(super) struct Checkout {
    /// Tracked files and folders [default: all]
    paths: Vec<PathBuf>,
    /// Overwrite and remove what no version keeps
    #[arg(long)]
    force: bool,
    /// Wait for another process that works on the project's versions
    #[arg(long)]
    wait: bool,
}

/// Bring versions to the remote, as far as it lacks them
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops data push --remote s3://recordings/pumps")]
pub(super) struct Push {
    /// Tracked files and folders [default: all]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    remote: RemoteArgs,
}

/// Bring versions from the remote into the cache, as far as it lacks them, and check them out
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: git clone … && tinyops data pull")]
pub(super) struct Pull {
    /// Tracked files and folders [default: all]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    remote: RemoteArgs,
    /// Read what the cache has, and bring again what is damaged
    #[arg(long)]
    repair: bool,
    /// Leave the workspace as it is
    #[arg(long)]
    no_checkout: bool,
    /// Overwrite and remove what no version keeps
    #[arg(long)]
    force: bool,
    /// Wait for another process that works on the project's versions
    #[arg(long)]
    wait: bool,
}

/// Read every object of the cache and say which are damaged, and which are missing
///
/// Exits with 1 if one is.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops data verify")]
pub(super) struct Verify {
    /// Tracked files and folders whose objects must be there [default: all]
    paths: Vec<PathBuf>,
}

/// Remove from the cache what no version needs any more
///
/// Needed is what a pointer below the project's folder names, or one of Git's index, stashes, branches and tags, and what
/// a registered model was made of. Says what would go; `--yes` removes it, if all of these can be read: exits with 1, and
/// removes nothing, where one cannot.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops data gc --history --yes")]
pub(super) struct Gc {
    /// Keep what any commit names that Git still has, not only the tips of branches and tags
    #[arg(long)]
    history: bool,
    /// Remove it
    #[arg(long)]
    yes: bool,
    /// Remove it although of some versions it is not known what they need
    #[arg(long, requires = "yes")]
    force: bool,
    /// Wait for another process that works on the project's versions
    #[arg(long)]
    wait: bool,
}

/// Where versions are shared.
#[derive(Debug, clap::Args)]
pub(super) struct RemoteArgs {
    /// A folder or `s3://BUCKET/PREFIX` [default: TINYOPS_REMOTE, else `remote` under `[versions]` of tinyops.toml]
    #[arg(long, value_name = "URL")]
    remote: Option<String>,
}

impl RemoteArgs {
    pub(super) const DEFAULT: RemoteArgs = RemoteArgs { remote: None };

    /// The URL, if there is one; a folder of the project file is meant from the project on.
    pub(super) fn url(&self, context: &Context) -> Result<Option<String>, Failure> {
        let given = self
            .remote
            .clone()
            .or_else(|| std::env::var("TINYOPS_REMOTE").ok());
        if let Some(url) = given.filter(|url| !url.is_empty()) {
            return Ok(Some(url));
        }
        let Some(url) = context.project()?.versions.remote else {
            return Ok(None);
        };
        let lookup = |name: &str| std::env::var(name).ok();
        let url = expand(&url, &lookup).map_err(|variable| {
            Failure::question(format!(
                "`remote` under `[versions]` names `${variable}`, which is not set"
            ))
            .hint("set it, or write `${NAME:-otherwise}`")
        })?;
        Ok(Some(match url.contains(':') {
            true => url,
            false => context.root.join(url).display().to_string(),
        }))
    }

    fn open(&self, context: &Context) -> Result<Remote, Failure> {
        let url = self.url(context)?.ok_or_else(|| {
            Failure::question("the project has no remote").hint(
                "name one: `remote = \"s3://BUCKET/PREFIX\"` or a folder, under `[versions]` of tinyops.toml",
            )
        })?;
        Ok(Remote::open(&url)?)
    }
}

/// The project's versions.
pub(super) fn open(context: &Context) -> Result<Versions, Failure> {
    let project = context.project()?;
    Ok(Versions::open(&context.root, project.versions.link)?)
}

impl From<VersionError> for Failure {
    fn from(error: VersionError) -> Self {
        let (exit, hint) = match &error {
            VersionError::Store(StoreError::Busy { .. }) => (
                Exit::Environment,
                "try again when it is done, or `--wait` for it",
            ),
            VersionError::Store(StoreError::DamagedArtifact { .. }) => (
                Exit::Environment,
                "`tinyops data verify` names what is damaged, `tinyops data pull --repair` brings it from the remote",
            ),
            VersionError::Store(error) => return crate::context::store_failure(error),
            VersionError::Io { .. } => return Failure::of(Exit::Environment, &error),
            VersionError::Outside(_) => (
                Exit::Question,
                "move it into the project; `--label` and `--group` copy recordings to where the source finds them",
            ),
            VersionError::Missing(_) => (
                Exit::Question,
                "`tinyops data status` lists what is tracked, `tinyops data add PATH` tracks more",
            ),
            VersionError::Link { .. } => (
                Exit::Question,
                "name it in `.tinyopsignore`, or put what it leads to in its place",
            ),
            VersionError::Special(_) | VersionError::Empty(_) => (
                Exit::Question,
                "recordings are files; `.tinyopsignore` leaves others out",
            ),
            VersionError::Overlap { .. } => (
                Exit::Question,
                "a file has one pointer: add the outer folder alone, and remove the pointers of what lies in it",
            ),
            VersionError::Changed(_) => (
                Exit::Question,
                "add it when nothing writes to it any more; no pointer was changed",
            ),
            VersionError::Pointer { .. } => (
                Exit::Question,
                "take it from Git again, or `tinyops data add` what lies there now",
            ),
            VersionError::Tree { .. }
            | VersionError::Recipe { .. }
            | VersionError::Assembled(_) => (
                Exit::Question,
                "the pointer or the object was not written by TinyOps; take the pointer from Git again",
            ),
            VersionError::NotCached { .. } => (
                Exit::Question,
                "`tinyops data pull` brings them from the remote",
            ),
            VersionError::Lost { examples, .. } => {
                let failure = Failure::of(Exit::No, &error);
                let failure = examples.iter().fold(failure, |failure, file| {
                    failure.because(format!("`{file}` needs one of them"))
                });
                return failure.hint(
                    "whoever added them has not pushed them: ask for `tinyops data push`; all others were brought",
                );
            }
            VersionError::Unknown(versions) => {
                let failure = Failure::of(Exit::No, &error);
                let failure = versions
                    .iter()
                    .take(LISTED)
                    .fold(failure, |failure, version| {
                        failure.because(format!("what {version} needs"))
                    });
                return failure.hint(
                    "nothing was removed: `tinyops data pull` brings lists of files, `--force` removes what may be needed, too",
                );
            }
            VersionError::Erased { examples, .. } => {
                let failure = Failure::of(Exit::No, &error);
                let failure = examples.iter().fold(failure, |failure, file| {
                    failure.because(format!("`{file}` was erased"))
                });
                return failure.hint(
                    "no pointer was changed: remove them; where they may be kept again, take their lines out of `.tinyopsforgotten`",
                );
            }
            VersionError::Unsaved { examples, .. } => {
                let failure = Failure::of(Exit::No, &error);
                let failure = examples.iter().fold(failure, |failure, file| {
                    failure.because(format!("`{file}` would be lost"))
                });
                return failure.hint(
                    "nothing was touched: `tinyops data add` keeps them as a version, `--force` lets them go",
                );
            }
            VersionError::NoGit(_) => (
                Exit::Environment,
                "install git: it knows which versions its branches need",
            ),
            VersionError::Ignore { .. } => (Exit::Question, "mend that line"),
            _ => return Failure::of(Exit::Question, &error),
        };
        Failure::of(exit, &error).hint(hint)
    }
}

/// What became a version, as programs see it.
#[derive(Debug, Serialize)]
pub(super) struct AddedView {
    pub(super) path: String,
    pointer: String,
    version: String,
    files: u64,
    bytes: u64,
    read: u64,
    pub(super) changed: bool,
    overwritten: Vec<String>,
}

impl From<Added> for AddedView {
    fn from(added: Added) -> Self {
        Self {
            path: added.path,
            pointer: added.pointer,
            version: added.digest,
            files: added.files,
            bytes: added.bytes,
            read: added.read,
            changed: added.changed,
            overwritten: added.overwritten,
        }
    }
}

impl AddedView {
    pub(super) fn text(&self) -> String {
        let state = match self.changed {
            true => format!("now version {}", &self.version[..12]),
            false => format!("still version {}", &self.version[..12]),
        };
        let mut out = format!(
            "  {}: {state}, {}, {}; {} read\n",
            self.path,
            counted(self.files, "file"),
            sized(self.bytes),
            self.read
        );
        for file in self.overwritten.iter().take(LISTED) {
            let _ = writeln!(
                out,
                "  warning: `{file}` was written to through its link to the version before, of which it is lost here; \
                 `tinyops data pull --repair` brings it from the remote"
            );
        }
        out
    }
}

/// What lies in the project becomes a version, each path for itself.
pub(super) fn add(
    context: &Context,
    paths: &[PathBuf],
    wait: bool,
) -> Result<Vec<AddedView>, Failure> {
    let versions = open(context)?;
    let _lock = versions.lock(wait)?;
    let mut added = Vec::with_capacity(paths.len());
    for path in paths {
        let total = match context.terminal.is_watched() {
            true => versions.count(path),
            false => 0,
        };
        let bar = context.terminal.bar("add", total);
        added.push(versions.add(path, &|done| bar.at(done))?.into());
    }
    Ok(added)
}

/// Makes new versions of what is tracked and holds one of these files; of what is not tracked, none.
pub(super) fn add_again(
    context: &Context,
    files: &[PathBuf],
    wait: bool,
) -> Result<Vec<AddedView>, Failure> {
    let tracked = open(context)?.tracked_around(files)?;
    match tracked.is_empty() {
        true => Ok(Vec::new()),
        false => add(context, &tracked, wait),
    }
}

pub(super) fn checkout(context: &Context, args: &Checkout) -> Result<(), Failure> {
    let versions = open(context)?;
    let _lock = versions.lock(args.wait)?;
    let bar = context
        .terminal
        .bar("checkout", total(&versions, &args.paths)?);
    let done = versions.checkout(&args.paths, args.force, &|done| bar.at(done))?;
    drop(bar);
    let view = serde_json::json!({
        "paths": done.paths,
        "written": done.written,
        "removed": done.removed,
        "unchanged": done.unchanged,
        "erased": done.erased,
    });
    context.terminal.answer(&view, || {
        format!(
            "  {} written, {} removed, {} unchanged in {}\n{}",
            done.written,
            done.removed,
            done.unchanged,
            named(&done.paths),
            erased_text(done.erased)
        )
    });
    Ok(())
}

/// Files of what is selected, by its pointers: how long a bar is.
fn total(versions: &Versions, paths: &[PathBuf]) -> Result<u64, Failure> {
    Ok(versions.files(paths)?)
}

pub(super) fn push(context: &Context, args: &Push) -> Result<(), Failure> {
    let versions = open(context)?;
    let remote = args.remote.open(context)?;
    let bar = context.terminal.bar("push", total(&versions, &args.paths)?);
    let done = versions.push(&args.paths, &remote, &|done| bar.at(done))?;
    drop(bar);
    let view = serde_json::json!({
        "remote": remote.url(),
        "paths": done.paths,
        "pushed": done.pushed,
        "present": done.present,
        "erased": done.erased,
    });
    context.terminal.answer(&view, || {
        format!(
            "  {} pushed to {}, {} were there: {}\n{}",
            counted(done.pushed, "object"),
            remote.url(),
            done.present,
            named(&done.paths),
            erased_text(done.erased)
        )
    });
    Ok(())
}

pub(super) fn pull(context: &Context, args: &Pull) -> Result<(), Failure> {
    let versions = open(context)?;
    let _lock = versions.lock(args.wait)?;
    let remote = args.remote.open(context)?;
    let bar = context.terminal.bar("pull", total(&versions, &args.paths)?);
    let done = versions.pull(&args.paths, &remote, args.repair, &|done| bar.at(done))?;
    drop(bar);
    let checked_out = match args.no_checkout {
        true => None,
        false => {
            let bar = context
                .terminal
                .bar("checkout", total(&versions, &args.paths)?);
            Some(versions.checkout(&args.paths, args.force, &|done| bar.at(done))?)
        }
    };
    let view = serde_json::json!({
        "remote": remote.url(),
        "paths": done.paths,
        "pulled": done.pulled,
        "pulled_bytes": done.pulled_bytes,
        "present": done.present,
        "repaired": done.repaired,
        "erased": done.erased,
        "written": checked_out.as_ref().map(|done| done.written),
        "removed": checked_out.as_ref().map(|done| done.removed),
    });
    context.terminal.answer(&view, || {
        let mut out = format!(
            "  {} ({}) pulled, {} were here: {}\n",
            counted(done.pulled, "object"),
            sized(done.pulled_bytes),
            done.present,
            named(&done.paths)
        );
        for digest in done.repaired.iter().take(LISTED) {
            let _ = writeln!(out, "  repaired {}", &digest[..12]);
        }
        if let Some(done) = &checked_out {
            let _ = writeln!(
                out,
                "  {} written, {} removed, {} unchanged",
                done.written, done.removed, done.unchanged
            );
        }
        out += &erased_text(done.erased);
        out
    });
    Ok(())
}

pub(super) fn verify(context: &Context, args: &Verify) -> Result<(), Failure> {
    let versions = open(context)?;
    let bar = context.terminal.bar("verify", versions.objects()?);
    let found = versions.verify(&args.paths, &|done| bar.at(done))?;
    drop(bar);
    let damaged: Vec<_> = found
        .damaged
        .iter()
        .map(|(object, file)| serde_json::json!({ "object": object, "file": file }))
        .collect();
    let missing: Vec<_> = found
        .missing
        .iter()
        .map(|(object, file)| serde_json::json!({ "object": object, "file": file }))
        .collect();
    let view = serde_json::json!({
        "sound": found.is_sound(),
        "objects": found.objects,
        "bytes": found.bytes,
        "damaged": damaged,
        "missing": missing,
    });
    context.terminal.answer(&view, || {
        let mut out = String::new();
        for (object, file) in found.damaged.iter().take(LISTED) {
            let file = file
                .as_deref()
                .unwrap_or("no file of the workspace's versions");
            let _ = writeln!(out, "  damaged {object}: {file}");
        }
        for (object, file) in found.missing.iter().take(LISTED) {
            let _ = writeln!(out, "  missing {object}: {file}");
        }
        let _ = writeln!(
            out,
            "  {} ({}) read: {} damaged, {} missing",
            counted(found.objects, "object"),
            sized(found.bytes),
            found.damaged.len(),
            found.missing.len()
        );
        out
    });
    match found.is_sound() {
        true => Ok(()),
        false => Err(Failure::no("the cache is not whole")
            .hint("`tinyops data pull --repair` brings from the remote what it lacks")),
    }
}

pub(super) async fn gc(context: &Context, args: &Gc) -> Result<(), Failure> {
    let versions = open(context)?;
    let _lock = versions.lock(args.wait)?;
    let pinned = super::pinned(context).await?;
    let removal = match (args.yes, args.force) {
        (false, _) => Removal::None,
        (true, false) => Removal::Known,
        (true, true) => Removal::Anyway,
    };
    let found = versions.collect(&pinned, args.history, removal)?;
    let view = serde_json::json!({
        "removed": args.yes,
        "unneeded": found.unneeded,
        "unneeded_bytes": found.unneeded_bytes,
        "kept": found.kept,
        "kept_bytes": found.kept_bytes,
        "unknown": found.unknown.len(),
        "unknown_versions": found.unknown,
    });
    context.terminal.answer(&view, || {
        let mut out = format!(
            "  {} ({}) needed, {} ({}) {}\n",
            counted(found.kept, "object"),
            sized(found.kept_bytes),
            found.unneeded,
            sized(found.unneeded_bytes),
            match args.yes {
                true => "removed",
                false => "not needed by any pointer, branch, tag or model; `--yes` removes them",
            }
        );
        for version in found.unknown.iter().take(LISTED) {
            let _ = writeln!(out, "  not known here: what {version} needs");
        }
        if !found.unknown.is_empty() {
            out += "  `--yes` removes nothing while that is so; `tinyops data pull` brings lists of files\n";
        }
        out
    });
    Ok(())
}

/// A tracked path, as programs see it.
#[derive(Debug, Serialize)]
pub(super) struct TrackedView {
    path: String,
    version: String,
    files: u64,
    bytes: u64,
    standing: &'static str,
    pushed: Option<bool>,
    #[serde(flatten)]
    changes: ChangesView,
}

/// Names of files, by what became of them.
#[derive(Debug, Default, Serialize)]
pub(super) struct ChangesView {
    pub(super) added: Vec<String>,
    pub(super) removed: Vec<String>,
    pub(super) changed: Vec<String>,
}

impl ChangesView {
    fn of(changes: Vec<Change>) -> Self {
        let mut view = Self::default();
        for Change { kind, path } in changes {
            match kind {
                ChangeKind::Added => view.added.push(path),
                ChangeKind::Changed => view.changed.push(path),
                ChangeKind::Deleted => view.removed.push(path),
            }
        }
        view
    }

    pub(super) fn text(&self) -> String {
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

impl From<TrackedStatus> for TrackedView {
    fn from(status: TrackedStatus) -> Self {
        Self {
            path: status.path,
            version: status.digest,
            files: status.files,
            bytes: status.bytes,
            standing: match status.standing {
                Standing::Unchanged => "unchanged",
                Standing::Changed => "changed",
                Standing::Absent => "absent",
                Standing::Unknown => "unknown",
            },
            pushed: status.pushed,
            changes: ChangesView::of(status.changes),
        }
    }
}

impl TrackedView {
    pub(super) fn text(&self) -> String {
        let mut out = format!(
            "{}  version {}, {}, {}",
            self.path,
            &self.version[..12],
            counted(self.files, "file"),
            sized(self.bytes)
        );
        match self.standing {
            "absent" => {
                out += "\n  nothing of it is here: `tinyops data checkout` or `tinyops data pull` brings it"
            }
            "unknown" => {
                out += "\n  the cache lacks the list of its files: `tinyops data pull` brings it"
            }
            "changed" => {
                out += "\n";
                out += self.changes.text().trim_end();
                out += "; `tinyops data add` keeps them, `tinyops data checkout` goes back";
            }
            _ => {}
        }
        if self.pushed == Some(false) {
            out += "\n  not pushed: `tinyops data push`";
        }
        out + "\n"
    }
}

/// How tracked paths stand.
pub(super) fn status(context: &Context, paths: &[PathBuf]) -> Result<Vec<TrackedView>, Failure> {
    let versions = open(context)?;
    let url = RemoteArgs::DEFAULT.url(context)?;
    let all = versions.status(paths, url.as_deref())?;
    Ok(all.into_iter().map(TrackedView::from).collect())
}

/// How one tracked path differs between revisions.
#[derive(Debug, Serialize)]
struct PathDiffView {
    path: String,
    old: Option<String>,
    new: Option<String>,
}

/// `tinyops data diff --json` between revisions of Git.
#[derive(Debug, Serialize)]
struct RevisionDiffView {
    old: String,
    new: Option<String>,
    #[serde(flatten)]
    changes: ChangesView,
    paths: Vec<PathDiffView>,
    /// Paths whose lists of files the cache lacks.
    unknown: Vec<String>,
}

/// What differs between two revisions of Git, or one and the workspace's pointers; whether Git knows them.
pub(super) fn diff(context: &Context, old: &str, new: Option<&str>) -> Result<bool, Failure> {
    let versions = open(context)?;
    let Some(diffs) = versions.diff(old, new)? else {
        return Ok(false);
    };
    let (mut all, mut paths, mut unknown) = (Vec::new(), Vec::new(), Vec::new());
    for VersionDiff {
        path,
        old,
        new,
        changes,
    } in diffs
    {
        match changes {
            Some(changes) => all.extend(changes),
            None => unknown.push(path.clone()),
        }
        paths.push(PathDiffView { path, old, new });
    }
    let view = RevisionDiffView {
        old: old.to_owned(),
        new: new.map(str::to_owned),
        changes: ChangesView::of(all),
        paths,
        unknown,
    };
    context.terminal.answer(&view, || {
        let mut out = String::new();
        let brief = |digest: &Option<String>| {
            digest.as_deref().map_or("nothing".to_owned(), |digest| digest[..12].to_owned())
        };
        for path in &view.paths {
            let _ = writeln!(out, "{}  {} to {}", path.path, brief(&path.old), brief(&path.new));
        }
        out += &view.changes.text();
        if view.paths.is_empty() && view.new.is_none() {
            out += "  the pointers are the same; `tinyops data status` says how files differ from them\n";
        }
        for path in &view.unknown {
            let _ = writeln!(
                out,
                "  of `{path}` the cache lacks a list of files; `tinyops data pull` brings that of the workspace's version"
            );
        }
        out
    });
    Ok(true)
}

/// Of files that a version has and nobody any more.
fn erased_text(count: u64) -> String {
    match count {
        0 => String::new(),
        count => format!(
            "  {} erased since, which stays away\n",
            counted(count, "file")
        ),
    }
}

fn named(paths: &[String]) -> String {
    match paths {
        [] => "nothing is tracked; `tinyops data add PATH` begins".to_owned(),
        [one] => one.clone(),
        [first, rest @ ..] => format!("{first} and {} more", rest.len()),
    }
}

pub(crate) fn counted(count: u64, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        count => format!("{count} {what}s"),
    }
}

/// Bytes as a person reads them.
pub(crate) fn sized(bytes: u64) -> String {
    let mut scaled = bytes as f64;
    for unit in ["B", "kB", "MB", "GB"] {
        if scaled < 1000.0 {
            return match unit {
                "B" => format!("{bytes} B"),
                unit => format!("{scaled:.1} {unit}"),
            };
        }
        scaled /= 1000.0;
    }
    format!("{scaled:.1} TB")
}
