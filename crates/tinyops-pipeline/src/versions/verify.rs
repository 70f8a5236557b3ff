//! Verify: whether the objects of the cache are what their names say, and all there that pointers need.

use std::collections::BTreeMap;
use std::path::PathBuf;

use tinyops_data::tree::Kept;
use tinyops_store::{Digest, StoreError};

use super::{Step, VersionError, Versions};

/// What is wrong with the cache.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Objects that were read.
    pub objects: u64,
    /// Their length.
    pub bytes: u64,
    /// Digests of objects whose bytes are others, and a file that needs them, if a pointer of the workspace does.
    pub damaged: Vec<(String, Option<String>)>,
    /// Digests of objects that pointers of the workspace need and that are not there, and a file that needs them.
    pub missing: Vec<(String, String)>,
}

impl Verified {
    /// Whether all is well.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.damaged.is_empty() && self.missing.is_empty()
    }
}

impl Versions {
    /// Reads every object of the cache, and looks for those that tracked paths need: all without any given.
    ///
    /// # Errors
    /// [`VersionError`].
    pub fn verify(&self, given: &[PathBuf], step: Step<'_>) -> Result<Verified, VersionError> {
        let mut verified = Verified::default();
        let mut damaged = BTreeMap::new();
        for (digest, bytes) in self.cache.list()? {
            verified.objects += 1;
            verified.bytes += bytes;
            step(verified.objects);
            if self
                .cache
                .found(&digest)?
                .is_some_and(|found| found != digest)
            {
                damaged.insert(digest, None);
            }
        }
        let forgotten = self.forgotten()?;
        for tracked in self.selected(given)? {
            let mut need = |digest: &Digest, name: String| match damaged.get_mut(digest) {
                Some(file) => *file = file.take().or(Some(name)),
                None if !self.cache.has(digest) && !forgotten.is_gone(digest) => {
                    verified.missing.push((digest.to_string(), name));
                }
                None => {}
            };
            let root = tracked.pointer.target.digest();
            need(&root, tracked.name());
            let mut wanted = match self.wanted(&tracked) {
                Ok(wanted) => wanted,
                Err(
                    VersionError::Store(StoreError::Missing { .. }) | VersionError::Tree { .. },
                ) => {
                    continue;
                }
                Err(error) => return Err(error),
            };
            // A list that is damaged has been told; what it still names is.
            while let Ok(Some(entry)) = wanted.read() {
                if self.is_erased(&forgotten, &entry.content).unwrap_or(false) {
                    continue;
                }
                let name = tracked.file_name(&entry.path);
                if entry.content.digest != root {
                    need(&entry.content.digest, name.clone());
                }
                if entry.content.kept == Kept::Chunks
                    && let Ok(recipe) = self.recipe(&entry.content.digest)
                {
                    for (digest, _) in recipe.chunks {
                        need(&digest, name.clone());
                    }
                }
            }
        }
        let damaged = damaged
            .into_iter()
            .map(|(digest, file)| (digest.to_string(), file));
        verified.damaged = damaged.collect();
        Ok(verified)
    }
}
