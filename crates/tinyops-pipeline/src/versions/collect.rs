//! Collect: what no version needs any more leaves the cache.

use std::collections::BTreeSet;
use std::io::BufReader;

use tinyops_data::pointer::{Pointer, Target};
use tinyops_data::tree::{Content, Kept, TreeError, TreeReader};
use tinyops_store::{Digest, StoreError};

use super::{VersionError, Versions, git};

/// What a collection found, or removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Objects that a version needs.
    pub kept: u64,
    /// Their length.
    pub kept_bytes: u64,
    /// Objects that no version needs.
    pub unneeded: u64,
    /// Their length.
    pub unneeded_bytes: u64,
    /// Versions whose list of files the cache lacks: what else of them is there counts as unneeded.
    pub unknown: u64,
}

/// What a version needs: an object, and whether others name it only through this one.
pub(super) type Needed = BTreeSet<Digest>;

impl Versions {
    /// Finds the objects that neither a pointer of the workspace, nor of any Git branch or tag (with `history`: of any
    /// commit), nor one of `pinned` needs; with `remove` they are removed.
    ///
    /// # Errors
    /// [`VersionError`]; where Git cannot be asked nothing is removed.
    pub fn collect(
        &self,
        pinned: &[Digest],
        history: bool,
        remove: bool,
    ) -> Result<Collected, VersionError> {
        let mut needed = Needed::new();
        let mut found = Collected::default();
        let mut pointers: Vec<Pointer> = Vec::new();
        pointers.extend(
            self.all_tracked()?
                .into_iter()
                .map(|tracked| tracked.pointer),
        );
        if git::is_repository(&self.root) {
            pointers.extend(git::pointers_everywhere(&self.root, history)?);
        }
        for pointer in pointers {
            match self.need(&pointer.target, &mut needed) {
                Ok(()) => {}
                Err(VersionError::Store(StoreError::Missing { .. })) => found.unknown += 1,
                Err(error) => return Err(error),
            }
        }
        for digest in pinned {
            match self.need_pinned(digest, &mut needed) {
                Ok(()) => {}
                Err(VersionError::Store(StoreError::Missing { .. })) => found.unknown += 1,
                Err(error) => return Err(error),
            }
        }
        for (digest, bytes) in self.cache.list()? {
            if needed.contains(&digest) {
                found.kept += 1;
                found.kept_bytes += bytes;
                continue;
            }
            found.unneeded += 1;
            found.unneeded_bytes += bytes;
            if remove {
                self.cache.remove(&digest)?;
            }
        }
        Ok(found)
    }

    /// Adds all objects of a version.
    pub(super) fn need(&self, target: &Target, needed: &mut Needed) -> Result<(), VersionError> {
        match target {
            Target::File(kept, digest) => self.need_content(*kept, digest, needed),
            Target::Folder(digest) => {
                if !needed.insert(*digest) {
                    return Ok(());
                }
                let reader = BufReader::with_capacity(1 << 16, self.cache.read(digest)?);
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

    fn need_content(
        &self,
        kept: Kept,
        digest: &Digest,
        needed: &mut Needed,
    ) -> Result<(), VersionError> {
        if needed.insert(*digest) && kept == Kept::Chunks && self.cache.has(digest) {
            needed.extend(
                self.recipe(digest)?
                    .chunks
                    .into_iter()
                    .map(|(digest, _)| digest),
            );
        }
        Ok(())
    }

    /// Of what a model was made of only the name is known: what the object is says its first line.
    fn need_pinned(&self, digest: &Digest, needed: &mut Needed) -> Result<(), VersionError> {
        let mut first = [0; 16];
        let mut object = self.cache.read(digest)?;
        let path = self.cache.path(digest);
        let count = std::io::Read::read(&mut object, &mut first)
            .map_err(|error| VersionError::io("read", &path, error))?;
        let target = match &first[..count] {
            first if first.starts_with(b"tinyops-tree") => Target::Folder(*digest),
            first if first.starts_with(b"tinyops-chunks") => Target::File(Kept::Chunks, *digest),
            _ => Target::File(Kept::File, *digest),
        };
        self.need(&target, needed)
    }
}
