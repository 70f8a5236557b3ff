//! Add: what lies in the workspace becomes a version.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use tinyops_data::pointer::{Pointer, Target};
use tinyops_data::tree::{Kept, TREE_HEADER, TreeEntry, shown};

use super::index::IndexWriter;
use super::place::{pointer_beside, prefixes};
use super::scan::{Reading, Scanned};
use super::{Step, VersionError, Versions};

/// Files that a refusal names.
const ERASED_SHOWN: usize = 5;

/// What became a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Added {
    /// From the project's folder on.
    pub path: String,
    /// Its pointer's file, from the project's folder on.
    pub pointer: String,
    /// The digest that names the version.
    pub digest: String,
    /// Files of it.
    pub files: u64,
    /// Their length.
    pub bytes: u64,
    /// How many of them were read: the others had not changed.
    pub read: u64,
    /// Whether the pointer says something new.
    pub changed: bool,
    /// Files that were written to through the link that they shared with an older version, of which the cache has them no
    /// more.
    pub overwritten: Vec<String>,
}

impl Versions {
    /// Makes a version of a file or folder of the project, and a pointer to it.
    ///
    /// Nothing but objects is written before all files were read, so that a killed process changes no version.
    ///
    /// # Errors
    /// [`VersionError`]; then no pointer has changed.
    pub fn add(&self, given: &Path, step: Step<'_>) -> Result<Added, VersionError> {
        let path = self.relative(given)?;
        let base = self.base(&path)?;
        self.refuse_overlap(&path)?;
        let old = self.tracked(&path)?.map(|tracked| tracked.pointer);
        let about = fs::symlink_metadata(&base).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => VersionError::Missing(given.display().to_string()),
            _ => VersionError::io("look at", &base, error),
        })?;
        let index_path = self.index_path(&path);
        let unwritten = |error| VersionError::io("write", &index_path, error);
        let mut index = IndexWriter::create(&index_path).map_err(unwritten)?;
        let mut tree = self.cache.writer()?;
        let cache_path = self.cache.root().to_path_buf();
        let unkept = |error| VersionError::io("write to", &cache_path, error);
        tree.write_all(TREE_HEADER.as_bytes()).map_err(unkept)?;
        let mut added = Added {
            path: shown(&path).into_owned(),
            pointer: String::new(),
            digest: String::new(),
            files: 0,
            bytes: 0,
            read: 0,
            changed: false,
            overwritten: Vec::new(),
        };
        let (mut line, mut last) = (String::new(), None);
        let forgotten = self.forgotten()?;
        let (mut erased, mut again) = (Vec::new(), BTreeSet::new());
        self.scan(&base, self.index(&path), Reading::Keep, &mut |found| {
            let content = found.noted.content;
            if forgotten.is_refused(&content.digest) {
                // It was kept on the way.
                self.cache.remove(&content.digest)?;
                erased.push(match about.is_dir() {
                    true => format!("{}/{}", added.path, shown(found.path)),
                    false => added.path.clone(),
                });
            } else if forgotten.is_gone(&content.digest) {
                again.insert(content.digest);
            }
            if found.is_read && self.was_overwritten(found)? {
                added.overwritten.push(shown(found.path).into_owned());
            }
            line.clear();
            let entry = TreeEntry {
                path: found.path.to_vec(),
                content,
            };
            entry.write_to(&mut line);
            tree.write_all(line.as_bytes()).map_err(unkept)?;
            index.add(found.path, &found.noted).map_err(unwritten)?;
            added.files += 1;
            added.bytes += content.bytes;
            added.read += u64::from(found.is_read);
            last = Some(content);
            step(added.files);
            Ok(())
        })?;
        if !erased.is_empty() {
            let count = erased.len() as u64;
            erased.truncate(ERASED_SHOWN);
            return Err(VersionError::Erased {
                count,
                examples: erased,
            });
        }
        let Some(last) = last else {
            return Err(VersionError::Empty(added.path));
        };
        let mut pointer = match about.is_dir() {
            false => Pointer::to_file(last),
            true => Pointer {
                target: Target::Folder(tree.finish()?),
                files: added.files,
                bytes: added.bytes,
                origin: None,
            },
        };
        // Where it came from stays true as long as it is the same.
        if let Some(old) = old.filter(|old| old.target == pointer.target) {
            pointer.origin = old.origin;
        }
        if !again.is_empty() {
            self.keep_list(&again)?;
        }
        self.cache.sync();
        self.keep_out_of_git(&base)?;
        added.changed = self.point(&base, &pointer)?;
        index.finish().map_err(unwritten)?;
        added.digest = pointer.target.digest().to_string();
        added.pointer = format!("{}.tinyops", added.path);
        Ok(added)
    }

    /// How many files there are to read in a path, at most; for a bar that shows how far it is.
    #[must_use]
    pub fn count(&self, given: &Path) -> u64 {
        let mut count = 0;
        let base = self.relative(given).and_then(|path| self.base(&path));
        // What cannot be walked says so when it is added.
        let _ = base.and_then(|base| {
            super::walk::walk(&self.root, &base, false, &mut |_| {
                count += 1;
                Ok(())
            })
        });
        count
    }

    /// Whether the file's own inode is what the cache still has under the name of what it held before: then that version of
    /// it is no more, and its name must not stand for something else.
    fn was_overwritten(&self, found: &Scanned<'_>) -> Result<bool, VersionError> {
        let (Some(was), now) = (found.was, found.noted) else {
            return Ok(false);
        };
        let is_other = was.content.digest != now.content.digest;
        if !is_other || was.stat.inode != now.stat.inode || was.content.kept != Kept::File {
            return Ok(false);
        }
        match self.cache.found(&was.content.digest)? {
            Some(digest) if digest != was.content.digest => {
                self.cache.remove(&was.content.digest)?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    pub(super) fn refuse_overlap(&self, path: &[u8]) -> Result<(), VersionError> {
        for above in prefixes(path).filter(|above| above.len() < path.len()) {
            if pointer_beside(&self.base(above)?).is_file() {
                return Err(VersionError::Overlap {
                    path: shown(path).into_owned(),
                    other: shown(above).into_owned(),
                });
            }
        }
        Ok(())
    }

    /// Adds a tracked path to the `.gitignore` beside it, and TinyOps' own folder to that of the project.
    pub(super) fn keep_out_of_git(&self, base: &Path) -> Result<(), VersionError> {
        if !self
            .root
            .ancestors()
            .any(|above| above.join(".git").exists())
        {
            return Ok(());
        }
        let own = [".tinyops", ".tinyops/", "/.tinyops", "/.tinyops/"].map(str::as_bytes);
        ignore_line(&self.root, &own, b"/.tinyops/")?;
        let name = base.file_name().unwrap_or_default().as_encoded_bytes();
        let mut line = b"/".to_vec();
        for (at, byte) in name.iter().enumerate() {
            let is_last = at + 1 == name.len();
            if b"*?[\\".contains(byte) || (is_last && *byte == b' ') {
                line.push(b'\\');
            }
            line.push(*byte);
        }
        let folder = base.parent().unwrap_or(&self.root);
        ignore_line(folder, &[&line], &line)
    }
}

/// Adds a line to a `.gitignore` that has none of `known`.
fn ignore_line(folder: &Path, known: &[&[u8]], line: &[u8]) -> Result<(), VersionError> {
    let path: PathBuf = folder.join(".gitignore");
    let mut text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(VersionError::io("read", &path, error)),
    };
    let has = |line: &[u8]| known.contains(&line.strip_suffix(b"\r").unwrap_or(line));
    if text.split(|byte| *byte == b'\n').any(has) {
        return Ok(());
    }
    if text.last().is_some_and(|last| *last != b'\n') {
        text.push(b'\n');
    }
    text.extend_from_slice(line);
    text.push(b'\n');
    tinyops_store::write_whole(&path, tinyops_store::Readers::Usual, &text)
        .map_err(|error| VersionError::io("write", &path, error))
}
