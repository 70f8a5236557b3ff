//! Forget: what versions keep of files that are erased leaves the cache and the remotes.
//!
//! Meant is what any version that is known here holds at the path of an erased file, and the same bytes wherever they lie,
//! unless a file that stays has them, too. Of a long recording the pieces go that no other file shares.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use tinyops_data::pointer::Target;
use tinyops_data::tree::{Content, shown};
use tinyops_store::remote::Remote;
use tinyops_store::{Digest, StoreError};

use super::collect::Needed;
use super::place::{Tracked, pointer_beside, prefixes};
use super::scan::Reading;
use super::walk::{Found, Stat};
use super::{SourceVersion, VersionError, Versions, git};

/// What versions keep of files that are to be erased.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traces {
    /// Tracked paths of the workspace that hold such files: they get a version without them.
    pub paths: Vec<String>,
    /// Digests that name versions with such files.
    pub versions: BTreeSet<String>,
    /// Objects that nothing but such files needs.
    pub objects: BTreeSet<Digest>,
    /// How many of the objects the cache has.
    pub cached: u64,
    /// Their length.
    pub cached_bytes: u64,
    /// What may hold such files, too: versions whose lists the cache lacks, by their digests, and pointers that cannot be
    /// read, by their names.
    pub unknown: Vec<String>,
}

impl Traces {
    /// Whether versions keep nothing of the files.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.paths.is_empty() && self.objects.is_empty()
    }
}

/// What is done with each file of a version: its path from the project on, where that is known, and what it holds.
type Visit<'a> = &'a mut dyn FnMut(Option<&[u8]>, Content) -> Result<(), VersionError>;

/// One version, with the path that it is of where that is known.
struct Version {
    path: Option<Vec<u8>>,
    target: Target,
    bytes: u64,
    is_here: bool,
}

impl Versions {
    /// Finds what versions keep of these files of the workspace; nothing is changed. `pinned` are versions that models
    /// were made from.
    ///
    /// # Errors
    /// [`VersionError`].
    pub fn traces(
        &self,
        files: &BTreeSet<PathBuf>,
        pinned: &[SourceVersion],
    ) -> Result<Traces, VersionError> {
        let mut traces = Traces::default();
        // What is erased: whole paths from the project on, and what lies there now.
        let (mut paths, mut contents) = (BTreeSet::new(), BTreeSet::new());
        let mut touched: BTreeMap<Vec<u8>, Tracked> = BTreeMap::new();
        for file in files {
            let Ok(path) = self.relative(file) else {
                continue; // It lies outside of the project.
            };
            for above in prefixes(&path) {
                if let Some(tracked) = self.tracked(above)? {
                    touched.insert(tracked.path.clone(), tracked);
                    contents.extend(self.held(file)?.map(|content| content.digest));
                    paths.insert(path.clone());
                }
            }
        }
        if touched.is_empty() {
            return Ok(traces);
        }
        traces.paths = touched.values().map(Tracked::name).collect();
        let all = self.all_versions(pinned, &mut traces)?;
        // Bytes that a file of the workspace has that stays are not only of who is erased.
        let mut staying = BTreeSet::new();
        for version in all.iter().filter(|version| version.is_here) {
            self.entries(version, &mut traces.unknown, &mut |path, content| {
                if path.is_some_and(|path| !paths.contains(path)) {
                    staying.insert(content.digest);
                }
                Ok(())
            })?;
        }
        let (mut erased, mut others) = (Needed::default(), Needed::default());
        for version in &all {
            let mut has_some = false;
            self.entries(version, &mut traces.unknown, &mut |path, content| {
                let is_erased = path.is_some_and(|path| paths.contains(path))
                    || contents.contains(&content.digest) && !staying.contains(&content.digest);
                has_some |= is_erased;
                let needed = match is_erased {
                    true => &mut erased,
                    false => &mut others,
                };
                self.need_content(content.kept, &content.digest, needed)
            })?;
            if has_some {
                traces.versions.insert(version.target.digest().to_string());
            }
        }
        traces.objects = erased
            .objects
            .difference(&others.objects)
            .copied()
            .collect();
        for digest in &traces.objects {
            if let Ok(about) = fs::metadata(self.cache.path(digest)) {
                traces.cached += 1;
                traces.cached_bytes += about.len();
            }
        }
        // A list of pieces that is not here: whose pieces they are is not known either.
        let lists = erased.unknown.union(&others.unknown);
        traces.unknown.extend(lists.map(Digest::to_string));
        traces.unknown.sort();
        traces.unknown.dedup();
        Ok(traces)
    }

    /// What a file of the workspace holds; none if it is not there.
    pub(super) fn held(&self, file: &Path) -> Result<Option<Content>, VersionError> {
        let about = match fs::metadata(file) {
            Ok(about) if about.is_file() => about,
            _ => return Ok(None),
        };
        let found = Found {
            path: file.file_name().unwrap_or_default().as_encoded_bytes(),
            full: file,
            stat: Stat::of(&about),
            is_own: false,
        };
        Ok(Some(self.content(&found, Reading::Look)?.0))
    }

    /// Every version that is known: of pointers here and in Git's whole history, and those that models were made from.
    fn all_versions(
        &self,
        pinned: &[SourceVersion],
        traces: &mut Traces,
    ) -> Result<Vec<Version>, VersionError> {
        let (here, unread) = self.pointers_anywhere()?;
        traces.unknown.extend(unread);
        let mut all: Vec<Version> = here
            .into_iter()
            .map(|(path, pointer)| Version {
                path: Some(path),
                target: pointer.target,
                bytes: pointer.bytes,
                is_here: true,
            })
            .collect();
        if git::is_repository(&self.root) {
            let (of_git, unread) = git::pointers_everywhere(&self.root, true)?;
            traces.unknown.extend(unread);
            for of in of_git {
                let (target, bytes) = (of.pointer.target, of.pointer.bytes);
                let version = |path| Version {
                    path,
                    target,
                    bytes,
                    is_here: false,
                };
                // One of another folder of the repository may hold the same bytes.
                match of.paths.is_empty() {
                    true => all.push(version(None)),
                    false => all.extend(of.paths.into_iter().map(|path| version(Some(path)))),
                }
            }
        }
        for source in pinned {
            let Ok(digest) = source.version.parse::<Digest>() else {
                continue;
            };
            match self.named(&digest)? {
                Some(target) => all.push(Version {
                    path: Some(source.path.clone().into_bytes()),
                    target,
                    bytes: 0,
                    is_here: false,
                }),
                None => traces.unknown.push(source.version.clone()),
            }
        }
        Ok(all)
    }

    /// Visits the files of a version, each with its path from the project on; of one whose list is not here, none.
    fn entries(
        &self,
        version: &Version,
        unknown: &mut Vec<String>,
        visit: Visit<'_>,
    ) -> Result<(), VersionError> {
        if let Target::File(kept, digest) = version.target {
            let content = Content {
                kept,
                digest,
                bytes: version.bytes,
            };
            return visit(version.path.as_deref(), content);
        }
        let mut wanted = match self.listed(&version.target) {
            Err(VersionError::Store(StoreError::Missing { .. })) => {
                unknown.push(version.target.digest().to_string());
                return Ok(());
            }
            wanted => wanted?,
        };
        while let Some(entry) = wanted.read()? {
            let full = version.path.as_ref().map(|path| {
                let parts = [path.as_slice(), &entry.path];
                parts.join(&b'/')
            });
            visit(full.as_deref(), entry.content)?;
        }
        Ok(())
    }

    /// Removes what only erased files need, from the remotes first: while the cache has it, the same call finds it again.
    /// The caller holds the lock.
    ///
    /// # Errors
    /// What cache or remote say; the same call again goes on where it stopped.
    pub fn forget(&self, traces: &Traces, remotes: &[Remote]) -> Result<(), VersionError> {
        for remote in remotes {
            for digest in &traces.objects {
                remote.remove(digest)?;
            }
        }
        for digest in &traces.objects {
            self.cache.remove(digest)?;
        }
        Ok(())
    }

    /// Makes new versions of tracked paths whose files were erased; one that holds nothing any more is tracked no longer.
    ///
    /// # Errors
    /// [`VersionError`].
    pub fn renew(&self, traces: &Traces) -> Result<(), VersionError> {
        for path in &traces.paths {
            let base = self.root.join(path);
            match self.add(&base, &|_| {}) {
                Err(VersionError::Empty(_) | VersionError::Missing(_)) => {
                    let pointer = pointer_beside(&base);
                    fs::remove_file(&pointer)
                        .map_err(|error| VersionError::io("remove", &pointer, error))?;
                }
                added => {
                    let added = added?;
                    tracing::debug!(path = %shown(added.path.as_bytes()), "a version without what was erased");
                }
            }
        }
        Ok(())
    }
}
