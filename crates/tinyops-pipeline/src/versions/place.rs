//! Paths of the project: what is tracked, where its pointer lies, and that nothing leads elsewhere.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use ignore::WalkBuilder;
use tinyops_data::pointer::{POINTER_SUFFIX, Pointer, stands_for};
use tinyops_data::tree::{path_fault, shown};
use tinyops_store::{Digest, Readers, write_whole};

use super::git::PointersByPath;
use super::index::IndexReader;
use super::walk::Stat;
use super::{VersionError, Versions};

/// A path with its pointer.
#[derive(Clone, Debug)]
pub(super) struct Tracked {
    /// From the project's folder on, with `/`.
    pub(super) path: Vec<u8>,
    pub(super) pointer: Pointer,
    /// The same path, absolute.
    pub(super) base: PathBuf,
}

impl Tracked {
    pub(super) fn name(&self) -> String {
        shown(&self.path).into_owned()
    }

    /// Where a file of it lies.
    pub(super) fn full(&self, path: &[u8]) -> Result<PathBuf, VersionError> {
        match self.pointer.content() {
            Some(_) => Ok(self.base.clone()),
            None => Ok(self.base.join(os_path(path)?)),
        }
    }

    /// A file of it as people name it: from the project's folder on.
    pub(super) fn file_name(&self, path: &[u8]) -> String {
        match self.pointer.content() {
            Some(_) => self.name(),
            None => format!("{}/{}", self.name(), shown(path)),
        }
    }
}

/// A path as the system has it.
#[cfg(unix)]
pub(super) fn os_path(path: &[u8]) -> Result<PathBuf, VersionError> {
    use std::os::unix::ffi::OsStrExt as _;
    Ok(PathBuf::from(std::ffi::OsStr::from_bytes(path)))
}

#[cfg(not(unix))]
pub(super) fn os_path(path: &[u8]) -> Result<PathBuf, VersionError> {
    let text = std::str::from_utf8(path).map_err(|_| VersionError::Path {
        path: shown(path).into_owned(),
        why: "this system has no such names",
    })?;
    Ok(PathBuf::from(text))
}

impl Versions {
    /// A path as given, from the project's folder on; the name of a pointer stands for what it points to.
    pub(super) fn relative(&self, given: &Path) -> Result<Vec<u8>, VersionError> {
        let absolute =
            std::path::absolute(given).map_err(|error| VersionError::io("find", given, error))?;
        let plain = without_dots(&absolute);
        // A folder above may be reached by a link, the path itself must not be one.
        let parent = plain.parent().map(Path::canonicalize);
        let resolved = match (parent, plain.file_name()) {
            (Some(Ok(parent)), Some(name)) => parent.join(name),
            _ => plain,
        };
        let inside = resolved
            .strip_prefix(&self.root)
            .map_err(|_| VersionError::Outside(given.to_path_buf()))?;
        let parts: Vec<&[u8]> = inside
            .components()
            .map(|part| part.as_os_str().as_encoded_bytes())
            .collect();
        let mut path = parts.join(&b'/');
        if path.ends_with(POINTER_SUFFIX.as_bytes()) && !resolved.is_dir() {
            path.truncate(path.len() - POINTER_SUFFIX.len());
        }
        let why = match path.is_empty() {
            true => Some("it is the project itself; track its folders of recordings"),
            false => path_fault(&path),
        };
        match why {
            None => Ok(path),
            Some(why) => Err(VersionError::Path {
                path: given.display().to_string(),
                why,
            }),
        }
    }

    /// The place of a path, which no link on the way leads away from.
    pub(super) fn base(&self, path: &[u8]) -> Result<PathBuf, VersionError> {
        let base = self.root.join(os_path(path)?);
        for above in base
            .ancestors()
            .skip(1)
            .take_while(|above| *above != self.root)
        {
            if above.is_symlink() {
                return Err(VersionError::Link {
                    path: above.display().to_string(),
                    why: "; what is tracked lies in folders",
                });
            }
        }
        Ok(base)
    }

    /// The pointer of a path, if it has one.
    pub(super) fn tracked(&self, path: &[u8]) -> Result<Option<Tracked>, VersionError> {
        let base = self.base(path)?;
        let pointer = match fs::read(pointer_beside(&base)) {
            Ok(bytes) => decode(path, &bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(VersionError::io("read", &pointer_beside(&base), error)),
        };
        Ok(Some(Tracked {
            path: path.to_vec(),
            pointer,
            base,
        }))
    }

    /// Everything with a pointer, sorted by path. What Git ignores is not looked at, nor what is hidden.
    pub(super) fn all_tracked(&self) -> Result<Vec<Tracked>, VersionError> {
        let mut paths = Vec::new();
        let walk = WalkBuilder::new(&self.root)
            .ignore(false)
            .git_global(false)
            .require_git(false)
            .filter_entry(|entry| {
                let is_folder = entry.file_type().is_some_and(|kind| kind.is_dir());
                // The recordings themselves may be many.
                !(is_folder && entry.depth() > 0 && pointer_beside(entry.path()).is_file())
            })
            .build();
        for entry in walk {
            let entry = entry.map_err(|error| VersionError::walk(&self.root, &error))?;
            let is_pointer = stands_for(entry.file_name().as_encoded_bytes()).is_some()
                && entry.file_type().is_some_and(|kind| kind.is_file());
            if is_pointer {
                paths.push(self.relative(entry.path())?);
            }
        }
        paths.sort_unstable();
        let mut all = Vec::with_capacity(paths.len());
        for path in paths {
            all.extend(self.tracked(&path)?);
        }
        Ok(all)
    }

    /// Every pointer below the project's folder, also where Git ignores it, where it is hidden and where it lies in what is
    /// tracked: what must not be lost is looked for everywhere. Each with the path that it stands for; and the names of those
    /// that say nothing of use.
    pub(super) fn pointers_anywhere(&self) -> Result<(PointersByPath, Vec<String>), VersionError> {
        let (mut pointers, mut unread) = (Vec::new(), Vec::new());
        let own = self.cache.root().to_path_buf();
        let walk = WalkBuilder::new(&self.root)
            .standard_filters(false)
            .filter_entry(move |entry| entry.path() != own && entry.file_name() != ".git")
            .build();
        for entry in walk {
            let entry = entry.map_err(|error| VersionError::walk(&self.root, &error))?;
            let is_pointer = stands_for(entry.file_name().as_encoded_bytes()).is_some()
                && entry.file_type().is_some_and(|kind| !kind.is_dir());
            if !is_pointer {
                continue;
            }
            let path = entry.path();
            let below = path.strip_prefix(&self.root).unwrap_or(path);
            let read = || Pointer::decode(&fs::read(path).ok()?).ok();
            match read() {
                Some(pointer) => {
                    let parts = below.components();
                    let parts: Vec<&[u8]> = parts
                        .map(|part| part.as_os_str().as_encoded_bytes())
                        .collect();
                    let mut stands_for = parts.join(&b'/');
                    stands_for.truncate(stands_for.len() - POINTER_SUFFIX.len());
                    pointers.push((stands_for, pointer));
                }
                None => unread.push(below.display().to_string()),
            }
        }
        Ok((pointers, unread))
    }

    /// The tracked paths that are meant: all without any; a folder stands for what is tracked below it, and a path in a
    /// tracked folder for that folder.
    pub(super) fn selected(&self, given: &[PathBuf]) -> Result<Vec<Tracked>, VersionError> {
        if given.is_empty() {
            return self.all_tracked();
        }
        let mut selected = BTreeMap::new();
        let mut all = None;
        for given in given {
            let path = match std::path::absolute(given) {
                Ok(absolute) if without_dots(&absolute) == self.root => Vec::new(),
                _ => self.relative(given)?,
            };
            let above = prefixes(&path).filter_map(|path| self.tracked(path).transpose());
            let found: Vec<Tracked> = above.collect::<Result<_, _>>()?;
            let found = match found.is_empty() {
                false => found,
                true => {
                    let all = match &mut all {
                        Some(all) => all,
                        none => none.insert(self.all_tracked()?),
                    };
                    let below = |tracked: &&Tracked| {
                        path.is_empty()
                            || tracked
                                .path
                                .strip_prefix(path.as_slice())
                                .is_some_and(|rest| rest.starts_with(b"/"))
                    };
                    all.iter().filter(below).cloned().collect()
                }
            };
            if found.is_empty() {
                return Err(VersionError::Missing(given.display().to_string()));
            }
            selected.extend(
                found
                    .into_iter()
                    .map(|tracked| (tracked.path.clone(), tracked)),
            );
        }
        Ok(selected.into_values().collect())
    }

    pub(super) fn index_path(&self, path: &[u8]) -> PathBuf {
        let mut name = Digest::of(path).to_string();
        name.truncate(32);
        self.cache.root().join("index").join(name)
    }

    pub(super) fn index(&self, path: &[u8]) -> Option<IndexReader> {
        IndexReader::open(&self.index_path(path))
    }

    /// What the file system's own clock shows, which stamps its files: that of another machine may differ.
    pub(super) fn now_ns(&self) -> Result<i64, VersionError> {
        let folder = self.cache.root().join("tmp");
        let path = folder.join(format!("now.{}", std::process::id()));
        let made = fs::create_dir_all(&folder).and_then(|()| {
            let file = fs::File::create(&path)?;
            // An empty file may keep the time of its name; a write stamps it.
            io::Write::write_all(&mut &file, b"now")?;
            file.metadata()
        });
        let _ = fs::remove_file(&path);
        let about = made.map_err(|error| VersionError::io("write", &path, error))?;
        Ok(Stat::of(&about).changed_ns)
    }

    /// Writes a pointer; whether it says something new.
    pub(super) fn point(&self, base: &Path, pointer: &Pointer) -> Result<bool, VersionError> {
        let place = pointer_beside(base);
        let text = pointer.encode();
        if fs::read(&place).is_ok_and(|there| there == text.as_bytes()) {
            return Ok(false);
        }
        write_whole(&place, Readers::Usual, text.as_bytes())
            .map_err(|error| VersionError::io("write", &place, error))?;
        Ok(true)
    }
}

/// The paths above a path and itself, the shortest first.
pub(super) fn prefixes(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let ends = path
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b'/')
        .map(|(at, _)| at);
    let whole = (!path.is_empty()).then_some(path.len());
    ends.chain(whole).map(|end| &path[..end])
}

/// Where the pointer of a path lies.
pub(super) fn pointer_beside(base: &Path) -> PathBuf {
    let mut name = base.file_name().unwrap_or_default().to_owned();
    name.push(POINTER_SUFFIX);
    base.with_file_name(name)
}

/// Reads the pointer of a path.
pub(super) fn decode(path: &[u8], bytes: &[u8]) -> Result<Pointer, VersionError> {
    Pointer::decode(bytes).map_err(|source| VersionError::Pointer {
        path: format!("{}{POINTER_SUFFIX}", shown(path)),
        source,
    })
}

/// A path without `.` and `..`, by its words alone.
pub(super) fn without_dots(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                plain.pop();
            }
            other => plain.push(other),
        }
    }
    plain
}
