//! The files of a tracked path, in the order of a tree: one folder's names are in memory, never the whole.

use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use tinyops_data::pointer::POINTER_SUFFIX;
use tinyops_data::tree::{is_reserved, shown};
use tinyops_store::cache::PART_PREFIX;

use super::VersionError;
use super::ignored::Rules;

/// What tells without reading whether a file is the one that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) bytes: u64,
    /// Since 1970.
    pub(super) changed_ns: i64,
    /// 0 where the system has none.
    pub(super) inode: u64,
}

impl Stat {
    pub(super) fn of(about: &Metadata) -> Stat {
        let changed = about.modified().ok();
        let since = changed.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        Stat {
            bytes: about.len(),
            changed_ns: since.map_or(0, |since| i64::try_from(since.as_nanos()).unwrap_or(0)),
            inode: inode(about),
        }
    }
}

#[cfg(unix)]
fn inode(about: &Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(about)
}

#[cfg(not(unix))]
fn inode(_: &Metadata) -> u64 {
    0
}

/// One file on the way.
pub(super) struct Found<'a> {
    /// From the tracked folder on, with `/`; of a tracked file its name.
    pub(super) path: &'a [u8],
    pub(super) full: &'a Path,
    pub(super) stat: Stat,
    /// Whether it is the workspace's, and by its own name, not by a symbolic link.
    pub(super) is_own: bool,
}

/// What is done with each file.
pub(super) type Visit<'a> = &'a mut dyn FnMut(Found<'_>) -> Result<(), VersionError>;

/// Visits the files of a folder, or the one file, that `base` is; what `.tinyopsignore` names is left out.
///
/// `sweeps` says that the lock is held, so that what is half-written is nobody's and may go.
pub(super) fn walk(
    root: &Path,
    base: &Path,
    sweeps: bool,
    visit: Visit<'_>,
) -> Result<(), VersionError> {
    let about =
        fs::symlink_metadata(base).map_err(|error| VersionError::io("look at", base, error))?;
    let mut walk = Walk {
        root,
        base,
        rules: Rules::above(root, base)?,
        path: Vec::new(),
        sweeps,
        visit,
    };
    if about.is_dir() {
        return walk.folder(base);
    }
    if about.is_symlink() {
        let path = base.display().to_string();
        let why = "; track what it leads to";
        return Err(VersionError::Link { path, why });
    }
    if !about.is_file() {
        return Err(VersionError::Special(base.display().to_string()));
    }
    let name = base.file_name().unwrap_or_default();
    (walk.visit)(Found {
        path: name.as_encoded_bytes(),
        full: base,
        stat: Stat::of(&about),
        is_own: true,
    })
}

struct Walk<'a> {
    root: &'a Path,
    base: &'a Path,
    rules: Rules,
    path: Vec<u8>,
    sweeps: bool,
    visit: Visit<'a>,
}

/// One name of a folder.
struct Entry {
    name: Vec<u8>,
    is_folder: bool,
    is_link: bool,
    entry: fs::DirEntry,
}

impl Walk<'_> {
    fn folder(&mut self, folder: &Path) -> Result<(), VersionError> {
        let explain = |error| VersionError::io("list", folder, error);
        let mut entries = Vec::new();
        let mut has_rules = false;
        for entry in fs::read_dir(folder).map_err(explain)? {
            let entry = entry.map_err(explain)?;
            let kind = entry.file_type().map_err(explain)?;
            let name = entry.file_name().as_encoded_bytes().to_vec();
            has_rules |= name == super::ignored::IGNORE_FILE.as_bytes();
            if name.starts_with(PART_PREFIX.as_bytes()) {
                if self.sweeps {
                    // What a killed process left; if it cannot be removed, nobody takes it for a recording.
                    let _ = fs::remove_file(entry.path());
                }
                continue;
            }
            if is_reserved(&name) {
                continue;
            }
            entries.push(Entry {
                name,
                is_folder: kind.is_dir(),
                is_link: kind.is_symlink(),
                entry,
            });
        }
        // As the paths of all files sort: a folder's name is followed by a slash there.
        let end = |entry: &Entry| entry.is_folder.then_some(&b'/');
        entries.sort_unstable_by(|a, b| {
            let (a, b) = (a.name.iter().chain(end(a)), b.name.iter().chain(end(b)));
            a.cmp(b)
        });
        let entered = has_rules && self.rules.enter(folder)?;
        for entry in entries {
            self.entry(folder, entry)?;
        }
        if entered {
            self.rules.leave();
        }
        Ok(())
    }

    fn entry(&mut self, folder: &Path, entry: Entry) -> Result<(), VersionError> {
        let full = folder.join(entry.entry.file_name());
        if self.rules.leave_out(&full, entry.is_folder) {
            return Ok(());
        }
        let length = self.path.len();
        if length > 0 {
            self.path.push(b'/');
        }
        self.path.extend_from_slice(&entry.name);
        let done = if entry.is_folder {
            self.folder(&full)
        } else {
            self.file(&full, &entry)
        };
        self.path.truncate(length);
        done
    }

    fn file(&mut self, full: &Path, entry: &Entry) -> Result<(), VersionError> {
        let path = || shown(&self.path).into_owned();
        let about = match entry.is_link {
            false => entry.entry.metadata(),
            true => self.behind(full)?.metadata(),
        };
        let about = about.map_err(|error| VersionError::io("look at", full, error))?;
        if !about.is_file() {
            return Err(VersionError::Special(path()));
        }
        if entry.name.ends_with(POINTER_SUFFIX.as_bytes()) {
            let below = |path: &Path| {
                let below = path.strip_prefix(self.root).unwrap_or(path);
                shown(below.as_os_str().as_encoded_bytes()).into_owned()
            };
            let other = below(full);
            let other = other
                .strip_suffix(POINTER_SUFFIX)
                .unwrap_or(&other)
                .to_owned();
            let path = below(self.base);
            return Err(VersionError::Overlap { path, other });
        }
        (self.visit)(Found {
            path: &self.path,
            full,
            stat: Stat::of(&about),
            is_own: !entry.is_link,
        })
    }

    /// Where a link to a file leads, which must be in the project. A link to a folder is not followed, so that no walk
    /// goes in circles or visits a folder by ever more names.
    fn behind(&self, link: &Path) -> Result<PathBuf, VersionError> {
        let fault = |why| VersionError::Link {
            path: shown(&self.path).into_owned(),
            why,
        };
        let to = link.canonicalize().map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => fault("to nothing"),
            _ => fault("that leads in a circle, or to where nothing can be read"),
        })?;
        if !to.starts_with(self.root) {
            return Err(fault("that leads out of the project"));
        }
        match to.is_dir() {
            true => Err(fault("to a folder")),
            false => Ok(to),
        }
    }
}
