//! Versions of recordings: files and folders of a project as objects named by their digest, and a small pointer beside
//! each that is in Git in their place.
//!
//! ```text
//! data/                    recordings, which `.gitignore` keeps out of Git
//! data.tinyops             their pointer: digest, bytes, count
//! .tinyops/cache/objects/  every version of them, once
//! .tinyops/cache/index/    what each file was when it was last read: it is not read again while that holds
//! .tinyopsforgotten        objects that were erased, which never come back
//! ```
//!
//! Whatever changes the cache or the workspace holds the cache's lock. Objects come before the lists that name them, and
//! lists before pointers: a process that is killed leaves objects that nobody needs, never a pointer to none.

mod add;
mod checkout;
mod collect;
mod diff;
mod dvc;
mod error;
mod exchange;
mod forget;
mod forgotten;
mod git;
mod ignored;
mod index;
mod place;
mod scan;
mod status;
mod verify;
mod walk;

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};
use tinyops_store::cache::{Cache, CacheLock, Link};
use tinyops_store::{Db, StoreError, model, step};

pub use add::Added;
pub use checkout::CheckedOut;
pub use collect::{Collected, Removal};
pub use diff::{Change, ChangeKind, VersionDiff};
pub use dvc::{Imported, ImportedOutput};
pub use error::VersionError;
pub use exchange::{Pulled, Pushed};
pub use forget::Traces;
pub use status::{Standing, TrackedStatus};
pub use verify::Verified;

/// `[versions]`: where versions of recordings are shared, and how the workspace shares bytes with the cache.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VersionsSection {
    /// A folder or `s3://BUCKET/PREFIX`; `$VAR` and `${VAR:-otherwise}` work. Without one, nothing is pushed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote: Option<String>,
    /// How a file of the workspace and its object share their bytes.
    pub link: LinkChoice,
}

/// How a file of the workspace and its object share their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LinkChoice {
    /// A reflink where the file system has them, else a hard link, else a copy.
    #[default]
    Auto,
    /// A reflink, else a copy: the workspace stays writable.
    Reflink,
    /// A hard link, else a copy: the workspace is read-only.
    Hardlink,
    /// Two copies.
    Copy,
}

impl LinkChoice {
    fn ladder(self) -> &'static [Link] {
        match self {
            Self::Auto => &[Link::Reflink, Link::Hardlink],
            Self::Reflink => &[Link::Reflink],
            Self::Hardlink => &[Link::Hardlink],
            Self::Copy => &[],
        }
    }
}

/// A tracked path that a run reads, at the version of its pointer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceVersion {
    /// From the project's folder on.
    pub path: String,
    /// The digest that names the version.
    pub version: String,
}

/// The versions of tracked paths that registered models of a project were made from.
///
/// # Errors
/// [`StoreError`].
pub async fn pinned(db: &Db, project: &str) -> Result<Vec<SourceVersion>, StoreError> {
    let mut pinned = Vec::new();
    let models = model::list(db).await?;
    let of_project = models.into_iter().filter(|model| model.project == project);
    for run in of_project.filter_map(|model| model.run) {
        for step in step::of_run(db, run).await? {
            let pointers = step.detail["pointers"].as_array().into_iter().flatten();
            pinned.extend(pointers.filter_map(|of| SourceVersion::deserialize(of).ok()));
        }
    }
    Ok(pinned)
}

/// The versions of what is tracked and overlaps one of the folders; none of a project that tracks nothing.
pub(crate) fn versions_below(
    root: &Path,
    folders: &[PathBuf],
) -> Result<Vec<SourceVersion>, VersionError> {
    // Who keeps no versions need not look for pointers, either: servers list their sources often.
    if !root.join(".tinyops").join("cache").is_dir() {
        return Ok(Vec::new());
    }
    let folders: Vec<PathBuf> = folders
        .iter()
        .filter_map(|f| f.canonicalize().ok())
        .collect();
    let all = Versions::open(root, LinkChoice::Auto)?.all_tracked()?;
    let is_read = |base: &Path| {
        let overlaps = |folder: &PathBuf| base.starts_with(folder) || folder.starts_with(base);
        folders.iter().any(overlaps)
    };
    let read = all.into_iter().filter(|tracked| is_read(&tracked.base));
    let version = |tracked: place::Tracked| SourceVersion {
        path: tracked.name(),
        version: tracked.pointer.target.digest().to_string(),
    };
    Ok(read.map(version).collect())
}

/// How far some work has come: files or objects done.
pub type Step<'a> = &'a (dyn Fn(u64) + Sync);

/// The tracked files of a project, and the cache of their versions.
#[derive(Debug)]
pub struct Versions {
    /// Absolute, without links.
    root: PathBuf,
    cache: Cache,
    /// Bytes of the file that is read at the moment.
    scratch: Mutex<Vec<u8>>,
    /// Whether the lock was taken: then what is half-written in the workspace is nobody's.
    is_locked: AtomicBool,
}

impl Versions {
    /// Opens those of the project in a folder; the cache is made when something is kept.
    ///
    /// # Errors
    /// [`VersionError::Io`].
    pub fn open(root: &Path, link: LinkChoice) -> Result<Versions, VersionError> {
        let root = root
            .canonicalize()
            .map_err(|error| VersionError::io("find the project", root, error))?;
        let cache = Cache::open(&root.join(".tinyops").join("cache"), link.ladder());
        Ok(Versions {
            root,
            cache,
            scratch: Mutex::default(),
            is_locked: AtomicBool::new(false),
        })
    }

    /// Takes the right to change cache and workspace; `wait` says whether to wait for another process.
    ///
    /// # Errors
    /// [`VersionError::Store`] with [`tinyops_store::StoreError::Busy`].
    pub fn lock(&self, wait: bool) -> Result<CacheLock, VersionError> {
        let lock = self.cache.lock(wait)?;
        self.is_locked.store(true, Ordering::Relaxed);
        Ok(lock)
    }

    /// Files of tracked paths, by their pointers: all without any given.
    ///
    /// # Errors
    /// [`VersionError`] of what is given, and of a pointer that says nothing of use.
    pub fn files(&self, given: &[PathBuf]) -> Result<u64, VersionError> {
        let selected = self.selected(given)?;
        Ok(selected.iter().map(|tracked| tracked.pointer.files).sum())
    }

    /// Objects in the cache.
    ///
    /// # Errors
    /// [`VersionError::Store`].
    pub fn objects(&self) -> Result<u64, VersionError> {
        Ok(self.cache.list()?.len() as u64)
    }

    /// The tracked paths that hold these files; what lies outside of the project or is not tracked has none.
    ///
    /// # Errors
    /// [`VersionError::Pointer`].
    pub fn tracked_around(&self, files: &[PathBuf]) -> Result<Vec<PathBuf>, VersionError> {
        let mut around = std::collections::BTreeSet::new();
        for file in files {
            let Ok(path) = self.relative(file) else {
                continue;
            };
            for above in place::prefixes(&path) {
                around.extend(self.tracked(above)?.map(|tracked| tracked.base));
            }
        }
        Ok(around.into_iter().collect())
    }
}
