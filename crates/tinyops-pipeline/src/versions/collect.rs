//! Collect: what no version needs any more leaves the cache.

use std::collections::BTreeSet;
use std::io::BufReader;

use tinyops_data::pointer::Target;
use tinyops_data::tree::{Content, Kept, TreeError, TreeReader};
use tinyops_store::{Digest, StoreError};

use super::forgotten::Forgotten;
use super::{VersionError, Versions, git};

/// What a collection found, or removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Objects that a version needs.
    pub kept: u64,
    /// Their length.
    pub kept_bytes: u64,
    /// Objects that no version needs, as far as is known.
    pub unneeded: u64,
    /// Their length.
    pub unneeded_bytes: u64,
    /// What may need others of the objects: versions whose lists the cache lacks, by their digests, and pointers that
    /// cannot be read, by their names.
    pub unknown: Vec<String>,
}

/// What is done with objects that no version needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// They are counted.
    None,
    /// They are removed, if all that may need them is known.
    Known,
    /// They are removed, whatever is not known.
    Anyway,
}

/// The objects that versions need.
#[derive(Debug, Default)]
pub(super) struct Needed {
    pub(super) objects: BTreeSet<Digest>,
    /// Lists that are not in the cache: what they name is not known.
    pub(super) unknown: BTreeSet<Digest>,
    /// Nobody needs these.
    forgotten: Forgotten,
}

impl Needed {
    /// What is needed of all that was not erased.
    pub(super) fn besides(forgotten: Forgotten) -> Needed {
        Needed {
            forgotten,
            ..Needed::default()
        }
    }
}

impl Versions {
    /// Finds the objects that neither a pointer below the project's folder, nor one of Git's index, branches, tags and
    /// stashes (with `history`: of any commit that Git still has), nor one of `pinned` needs.
    ///
    /// # Errors
    /// [`VersionError::Unknown`] where [`Removal::Known`] is asked for and something is not known; [`VersionError`]
    /// where Git cannot be asked. Nothing is removed then.
    pub fn collect(
        &self,
        pinned: &[Digest],
        history: bool,
        removal: Removal,
    ) -> Result<Collected, VersionError> {
        if removal != Removal::None {
            self.keep_list(&BTreeSet::new())?;
        }
        let (needed, unread) = self.needed(pinned, history)?;
        let lists = needed.unknown.iter().map(Digest::to_string);
        let mut found = Collected {
            unknown: unread.into_iter().chain(lists).collect(),
            ..Collected::default()
        };
        if removal == Removal::Known && !found.unknown.is_empty() {
            return Err(VersionError::Unknown(found.unknown));
        }
        let needed = needed.objects;
        for (digest, bytes) in self.cache.list()? {
            if needed.contains(&digest) {
                found.kept += 1;
                found.kept_bytes += bytes;
                continue;
            }
            found.unneeded += 1;
            found.unneeded_bytes += bytes;
            if removal != Removal::None {
                self.cache.remove(&digest)?;
            }
        }
        Ok(found)
    }

    /// What all versions that are known of need, and what of them cannot be read.
    fn needed(
        &self,
        pinned: &[Digest],
        history: bool,
    ) -> Result<(Needed, Vec<String>), VersionError> {
        let mut needed = Needed::besides(self.forgotten()?);
        let (here, mut unread) = self.pointers_anywhere()?;
        let mut pointers: Vec<_> = here.into_iter().map(|(_, pointer)| pointer).collect();
        if git::is_repository(&self.root) {
            let (of_git, unread_of_git) = git::pointers_everywhere(&self.root, history)?;
            pointers.extend(of_git.into_iter().map(|of| of.pointer));
            unread.extend(unread_of_git);
        }
        for pointer in pointers {
            self.need(&pointer.target, &mut needed)?;
        }
        for digest in pinned {
            self.need_pinned(digest, &mut needed)?;
        }
        Ok((needed, unread))
    }

    /// Adds all objects of a version.
    pub(super) fn need(&self, target: &Target, needed: &mut Needed) -> Result<(), VersionError> {
        match target {
            Target::File(kept, digest) => self.need_content(*kept, digest, needed),
            Target::Folder(digest) => {
                if !needed.objects.insert(*digest) {
                    return Ok(());
                }
                let object = match self.cache.read(digest) {
                    Err(StoreError::Missing { .. }) => {
                        needed.unknown.insert(*digest);
                        return Ok(());
                    }
                    object => object?,
                };
                let reader = BufReader::with_capacity(1 << 16, object);
                let broken = |source: TreeError| VersionError::Tree {
                    digest: *digest,
                    source,
                };
                for entry in TreeReader::new(reader).map_err(broken)? {
                    let Content { kept, digest, .. } = entry.map_err(broken)?.content;
                    self.need_content(kept, &digest, needed)?;
                }
                Ok(())
            }
        }
    }

    pub(super) fn need_content(
        &self,
        kept: Kept,
        digest: &Digest,
        needed: &mut Needed,
    ) -> Result<(), VersionError> {
        if needed.forgotten.is_refused(digest) || !needed.objects.insert(*digest) {
            return Ok(());
        }
        if kept != Kept::Chunks {
            return Ok(());
        }
        match self.recipe(digest) {
            Ok(recipe) => {
                let pieces = recipe.chunks.into_iter().map(|(digest, _)| digest);
                needed.objects.extend(pieces);
            }
            Err(VersionError::Store(StoreError::Missing { .. })) => {
                if !needed.forgotten.is_gone(digest) {
                    needed.unknown.insert(*digest);
                }
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Adds all objects of a version that a model was made of.
    fn need_pinned(&self, digest: &Digest, needed: &mut Needed) -> Result<(), VersionError> {
        match self.named(digest)? {
            Some(target) => self.need(&target, needed),
            None if needed.forgotten.is_gone(digest) => Ok(()),
            None => {
                needed.objects.insert(*digest);
                needed.unknown.insert(*digest);
                Ok(())
            }
        }
    }

    /// Of what a model was made of only the name is known: what the object is says its first line. None if it is not here.
    pub(super) fn named(&self, digest: &Digest) -> Result<Option<Target>, VersionError> {
        let mut first = [0; 16];
        let mut object = match self.cache.read(digest) {
            Err(StoreError::Missing { .. }) => return Ok(None),
            object => object?,
        };
        let path = self.cache.path(digest);
        let count = std::io::Read::read(&mut object, &mut first)
            .map_err(|error| VersionError::io("read", &path, error))?;
        Ok(Some(match &first[..count] {
            first if first.starts_with(b"tinyops-tree") => Target::Folder(*digest),
            first if first.starts_with(b"tinyops-chunks") => Target::File(Kept::Chunks, *digest),
            _ => Target::File(Kept::File, *digest),
        }))
    }
}
