//! Status: how the workspace differs from its pointers.

use std::path::PathBuf;

use tinyops_store::StoreError;

use super::diff::{Change, ChangeKind};
use super::index::{IndexWriter, Noted};
use super::place::Tracked;
use super::scan::Difference;
use super::{VersionError, Versions};

/// How a tracked path stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// As its pointer says.
    Unchanged,
    /// It differs from its pointer.
    Changed,
    /// Nothing of it is there.
    Absent,
    /// The cache lacks the list of its files, so nobody can tell.
    Unknown,
}

/// A tracked path, and how it differs from its pointer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackedStatus {
    /// From the project's folder on.
    pub path: String,
    /// The digest that names its version.
    pub digest: String,
    /// Files of the version.
    pub files: u64,
    /// Their length.
    pub bytes: u64,
    /// How it stands.
    pub standing: Standing,
    /// What differs; empty while nothing of it is there.
    pub changes: Vec<Change>,
    /// Whether the remote has it, as far as this project has brought it there or from there; none without a remote.
    pub pushed: Option<bool>,
}

impl Versions {
    /// How tracked paths stand: all without any given. `remote` is the URL that pushes go to.
    ///
    /// # Errors
    /// [`VersionError`].
    pub fn status(
        &self,
        given: &[PathBuf],
        remote: Option<&str>,
    ) -> Result<Vec<TrackedStatus>, VersionError> {
        let pushed = remote.map(|url| self.pushed(url));
        let mut all = Vec::new();
        for tracked in self.selected(given)? {
            let (standing, changes) = self.standing(&tracked)?;
            let digest = tracked.pointer.target.digest();
            all.push(TrackedStatus {
                path: tracked.name(),
                digest: digest.to_string(),
                files: tracked.pointer.files,
                bytes: tracked.pointer.bytes,
                standing,
                changes,
                pushed: pushed.as_ref().map(|pushed| pushed.contains(&digest)),
            });
        }
        Ok(all)
    }

    fn standing(&self, tracked: &Tracked) -> Result<(Standing, Vec<Change>), VersionError> {
        if !self.is_present(tracked)? {
            return Ok((Standing::Absent, Vec::new()));
        }
        let mut changes = Vec::new();
        let mut read: Vec<(Vec<u8>, Noted)> = Vec::new();
        let forgotten = self.forgotten()?;
        let compared = self.compare(tracked, &mut |difference| {
            let (kind, path) = match &difference {
                Difference::None(found) => (None, found.path),
                // A version of before has it, and nothing brings it back.
                Difference::Deleted(entry) if self.is_erased(&forgotten, &entry.content)? => {
                    return Ok(());
                }
                Difference::Added(found) => (Some(ChangeKind::Added), found.path),
                Difference::Changed(found, _) => (Some(ChangeKind::Changed), found.path),
                Difference::Deleted(entry) => (Some(ChangeKind::Deleted), &entry.path[..]),
            };
            if let Difference::None(found) = &difference
                && found.is_read
            {
                read.push((found.path.to_vec(), found.noted));
            }
            changes.extend(kind.map(|kind| Change {
                kind,
                path: tracked.file_name(path),
            }));
            Ok(())
        });
        match compared {
            Ok(()) => {}
            Err(VersionError::Store(StoreError::Missing { .. })) => {
                return Ok((Standing::Unknown, Vec::new()));
            }
            Err(error) => return Err(error),
        }
        if !read.is_empty() {
            self.note(tracked, &read);
        }
        let standing = match changes.is_empty() {
            true => Standing::Unchanged,
            false => Standing::Changed,
        };
        Ok((standing, changes))
    }

    /// Notes what was read and is as the version has it, so that it need not be read again. Whoever holds the lock notes
    /// more, so nobody waits for it.
    fn note(&self, tracked: &Tracked, read: &[(Vec<u8>, Noted)]) {
        let Ok(_lock) = self.cache.lock(false) else {
            return;
        };
        let noted = || -> Result<(), VersionError> {
            let path = self.index_path(&tracked.path);
            let unwritten = |error| VersionError::io("write", &path, error);
            let mut old = self.index(&tracked.path);
            let mut index = IndexWriter::create(&path).map_err(unwritten)?;
            let mut read = read.iter().peekable();
            let mut wanted = self.wanted(tracked)?;
            while let Some(entry) = wanted.read()? {
                let fresh = read.next_if(|(path, _)| *path == entry.path);
                let before = old.as_mut().and_then(|old| old.find(&entry.path));
                if let Some(noted) = fresh.map(|(_, noted)| *noted).or(before) {
                    index.add(&entry.path, &noted).map_err(unwritten)?;
                }
            }
            index.finish().map_err(unwritten)
        };
        // It saves time, and nothing depends on it.
        if let Err(error) = noted() {
            tracing::debug!(%error, "what was read is not noted");
        }
    }
}
