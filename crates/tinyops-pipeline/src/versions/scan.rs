//! What the files of a tracked path hold: as noted where they have not changed, else read; and how that differs from a
//! version.

use std::fs::{self, File};
use std::io::{BufReader, Read as _};
use std::path::Path;
use std::sync::PoisonError;

use tinyops_data::chunk::{CHUNK_BYTES_MAX, CHUNKED_FROM_BYTES, Chunker, Recipe};
use tinyops_data::pointer::Target;
use tinyops_data::tree::{Content, Kept, TreeEntry, TreeReader, shown};
use tinyops_store::{Digest, DigestBuilder};

use super::index::{IndexReader, Noted};
use super::place::Tracked;
use super::walk::{Found, Stat, walk};
use super::{VersionError, Versions};

/// Bytes of a recipe at most: that of a file of a terabyte is shorter.
pub(super) const RECIPE_BYTES_MAX: u64 = 512 << 20;

/// What is done with what was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// It is hashed.
    Look,
    /// It becomes an object.
    Keep,
}

/// A file, and what it holds.
pub(super) struct Scanned<'a> {
    pub(super) path: &'a [u8],
    pub(super) full: &'a Path,
    pub(super) noted: Noted,
    /// What was noted of it before.
    pub(super) was: Option<Noted>,
    /// Whether it was read just now.
    pub(super) is_read: bool,
}

/// How a file differs from a version.
pub(super) enum Difference<'a> {
    /// Not at all.
    None(&'a Scanned<'a>),
    /// It is not in the version.
    Added(&'a Scanned<'a>),
    /// It holds something else there.
    Changed(&'a Scanned<'a>, &'a TreeEntry),
    /// It is in the version alone.
    Deleted(&'a TreeEntry),
}

/// The files of a version, one by one.
pub(super) enum Wanted {
    Tree(Digest, Box<TreeReader<BufReader<File>>>),
    File(Option<TreeEntry>),
}

impl Wanted {
    pub(super) fn read(&mut self) -> Result<Option<TreeEntry>, VersionError> {
        match self {
            Wanted::Tree(digest, reader) => reader.read().map_err(|source| VersionError::Tree {
                digest: *digest,
                source,
            }),
            Wanted::File(entry) => Ok(entry.take()),
        }
    }
}

impl Versions {
    /// The files of the version that a pointer names.
    pub(super) fn wanted(&self, tracked: &Tracked) -> Result<Wanted, VersionError> {
        match tracked.pointer.target {
            Target::Folder(_) => self.listed(&tracked.pointer.target),
            Target::File(kept, digest) => {
                let name = tracked.base.file_name().unwrap_or_default();
                Ok(Wanted::File(Some(TreeEntry {
                    path: name.as_encoded_bytes().to_vec(),
                    content: Content {
                        kept,
                        digest,
                        bytes: tracked.pointer.bytes,
                    },
                })))
            }
        }
    }

    /// The files of a version of a folder, one by one; none of a file.
    pub(super) fn listed(&self, target: &Target) -> Result<Wanted, VersionError> {
        let Target::Folder(digest) = *target else {
            return Ok(Wanted::File(None));
        };
        let object = self.cache.read(&digest)?;
        let reader = TreeReader::new(BufReader::with_capacity(1 << 16, object))
            .map_err(|source| VersionError::Tree { digest, source })?;
        Ok(Wanted::Tree(digest, Box::new(reader)))
    }

    /// Reads a list of pieces.
    pub(super) fn recipe(&self, digest: &Digest) -> Result<Recipe, VersionError> {
        let mut text = String::new();
        let path = self.cache.path(digest);
        self.cache
            .read(digest)?
            .take(RECIPE_BYTES_MAX)
            .read_to_string(&mut text)
            .map_err(|error| VersionError::io("read", &path, error))?;
        Recipe::decode(&text).map_err(|source| VersionError::Recipe {
            digest: *digest,
            source,
        })
    }

    /// Visits the files of a tracked path with what they hold.
    pub(super) fn scan(
        &self,
        base: &Path,
        mut index: Option<IndexReader>,
        reading: Reading,
        visit: &mut dyn FnMut(&Scanned<'_>) -> Result<(), VersionError>,
    ) -> Result<(), VersionError> {
        let now_ns = self.now_ns()?;
        let sweeps = self.is_locked.load(std::sync::atomic::Ordering::Relaxed);
        walk(&self.root, base, sweeps, &mut |found: Found<'_>| {
            let was = index.as_mut().and_then(|index| index.find(found.path));
            let known = was.filter(|was| was.stat == found.stat);
            let noted = match known {
                Some(noted) => noted,
                None => {
                    let (content, stat) = self.content(&found, reading)?;
                    Noted::at(content, stat, now_ns)
                }
            };
            visit(&Scanned {
                path: found.path,
                full: found.full,
                noted,
                was,
                is_read: known.is_none(),
            })
        })
    }

    /// Reads a file.
    pub(super) fn content(
        &self,
        found: &Found<'_>,
        reading: Reading,
    ) -> Result<(Content, Stat), VersionError> {
        let explain = |error| VersionError::io("read", found.full, error);
        let mut file = File::open(found.full).map_err(explain)?;
        let before = Stat::of(&file.metadata().map_err(explain)?);
        let content = match before.bytes < CHUNKED_FROM_BYTES {
            true => self.whole(found, &mut file, before.bytes, reading)?,
            false => self.pieces(found, &mut file, reading)?,
        };
        let after = Stat::of(&file.metadata().map_err(explain)?);
        if after == before && content.bytes == before.bytes {
            return Ok((content, after));
        }
        if reading == Reading::Keep {
            // By a hard link the object changed, too.
            if content.kept == Kept::File
                && self.cache.found(&content.digest)? != Some(content.digest)
            {
                self.cache.remove(&content.digest)?;
            }
            return Err(VersionError::Changed(shown(found.path).into_owned()));
        }
        Ok((content, before))
    }

    fn whole(
        &self,
        found: &Found<'_>,
        file: &mut File,
        expected: u64,
        reading: Reading,
    ) -> Result<Content, VersionError> {
        let mut bytes = self.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        bytes.clear();
        bytes.reserve(usize::try_from(expected).unwrap_or(0) + 1);
        let mut limited = (&mut *file).take(CHUNKED_FROM_BYTES);
        limited
            .read_to_end(&mut bytes)
            .map_err(|error| VersionError::io("read", found.full, error))?;
        let digest = match reading {
            Reading::Look => Digest::of(&bytes),
            Reading::Keep => self
                .cache
                .keep_file(found.full, file, &bytes, found.is_own)?,
        };
        Ok(Content {
            kept: Kept::File,
            digest,
            bytes: bytes.len() as u64,
        })
    }

    fn pieces(
        &self,
        found: &Found<'_>,
        file: &mut File,
        reading: Reading,
    ) -> Result<Content, VersionError> {
        let mut block = self.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        block.resize(1 << 20, 0);
        let mut piece = Vec::with_capacity(CHUNK_BYTES_MAX);
        let (mut chunker, mut whole) = (Chunker::new(), DigestBuilder::new());
        let mut chunks = Vec::new();
        let mut end_piece = |piece: &mut Vec<u8>| -> Result<(), VersionError> {
            let digest = match reading {
                Reading::Look => Digest::of(piece),
                Reading::Keep => self.cache.keep(piece)?,
            };
            chunks.push((digest, piece.len() as u64));
            piece.clear();
            Ok(())
        };
        loop {
            let count = match file.read(&mut block) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(VersionError::io("read", found.full, error)),
            };
            let mut rest = &block[..count];
            whole.update(rest);
            while let Some(end) = chunker.cut(rest) {
                piece.extend_from_slice(&rest[..end]);
                end_piece(&mut piece)?;
                rest = &rest[end..];
            }
            piece.extend_from_slice(rest);
        }
        if !piece.is_empty() {
            end_piece(&mut piece)?;
        }
        let recipe = Recipe {
            whole: whole.finish(),
            chunks,
        };
        let text = recipe.encode();
        let digest = match reading {
            Reading::Look => Digest::of(text.as_bytes()),
            Reading::Keep => self.cache.keep(text.as_bytes())?,
        };
        Ok(Content {
            kept: Kept::Chunks,
            digest,
            bytes: recipe.bytes(),
        })
    }

    /// Visits everything of a tracked path and of its version, in order.
    ///
    /// # Errors
    /// [`tinyops_store::StoreError::Missing`] where the version's list of files is not in the cache.
    pub(super) fn compare(
        &self,
        tracked: &Tracked,
        visit: &mut dyn FnMut(Difference<'_>) -> Result<(), VersionError>,
    ) -> Result<(), VersionError> {
        let mut wanted = self.wanted(tracked)?;
        let mut next = wanted.read()?;
        if self.is_present(tracked)? {
            let index = self.index(&tracked.path);
            self.scan(&tracked.base, index, Reading::Look, &mut |found| {
                while let Some(entry) = next.take_if(|entry| entry.path.as_slice() < found.path) {
                    visit(Difference::Deleted(&entry))?;
                    next = wanted.read()?;
                }
                match next.take_if(|entry| entry.path == found.path) {
                    None => visit(Difference::Added(found))?,
                    Some(entry) => {
                        match entry.content == found.noted.content {
                            true => visit(Difference::None(found))?,
                            false => visit(Difference::Changed(found, &entry))?,
                        }
                        next = wanted.read()?;
                    }
                }
                Ok(())
            })?;
        }
        while let Some(entry) = next {
            visit(Difference::Deleted(&entry))?;
            next = wanted.read()?;
        }
        Ok(())
    }

    /// Whether a tracked path is there, and is what its pointer says, a file or a folder.
    pub(super) fn is_present(&self, tracked: &Tracked) -> Result<bool, VersionError> {
        let about = match fs::symlink_metadata(&tracked.base) {
            Ok(about) => about,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(VersionError::io("look at", &tracked.base, error)),
        };
        let is_folder = matches!(tracked.pointer.target, Target::Folder(_));
        // A link is refused where it is walked.
        if about.is_symlink() || about.is_dir() == is_folder {
            return Ok(true);
        }
        Err(VersionError::Path {
            path: tracked.name(),
            why: match is_folder {
                true => "a file lies where its pointer has a folder; move it away",
                false => "a folder lies where its pointer has a file; move it away",
            },
        })
    }
}
