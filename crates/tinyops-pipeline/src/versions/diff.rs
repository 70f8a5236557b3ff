//! Diff: which files differ between two revisions, or between one and the workspace's pointers.

use std::cmp::Ordering;

use tinyops_data::pointer::Pointer;
use tinyops_data::tree::{TreeEntry, shown};
use tinyops_store::StoreError;

use super::place::Tracked;
use super::{VersionError, Versions, git};

/// What became of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChangeKind {
    /// It is new.
    Added,
    /// It holds something else.
    Changed,
    /// It is gone.
    Deleted,
}

/// A file that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What became of it.
    pub kind: ChangeKind,
    /// From the project's folder on.
    pub path: String,
}

/// How one tracked path differs between two versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionDiff {
    /// From the project's folder on.
    pub path: String,
    /// The digest of the old version; none where it was not tracked.
    pub old: Option<String>,
    /// The digest of the new version; none where it is not tracked any more.
    pub new: Option<String>,
    /// The files; none where the cache lacks a list of them.
    pub changes: Option<Vec<Change>>,
}

impl Versions {
    /// How what is tracked differs from revision `old` to revision `new`, or to the workspace's pointers.
    ///
    /// None where Git knows no such revision, or there is no Git.
    ///
    /// # Errors
    /// [`VersionError`].
    pub fn diff(
        &self,
        old: &str,
        new: Option<&str>,
    ) -> Result<Option<Vec<VersionDiff>>, VersionError> {
        let Some(old) = git::pointers_at(&self.root, old)? else {
            return Ok(None);
        };
        let new = match new {
            Some(revision) => match git::pointers_at(&self.root, revision)? {
                Some(pointers) => pointers,
                None => return Ok(None),
            },
            None => {
                let all = self.all_tracked()?;
                all.into_iter()
                    .map(|tracked| (tracked.path, tracked.pointer))
                    .collect()
            }
        };
        let mut diffs = Vec::new();
        let (mut old, mut new) = (old.into_iter().peekable(), new.into_iter().peekable());
        loop {
            let order = match (old.peek(), new.peek()) {
                (None, None) => return Ok(Some(diffs)),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some((old, _)), Some((new, _))) => old.cmp(new),
            };
            let before = if order.is_le() { old.next() } else { None };
            let after = if order.is_ge() { new.next() } else { None };
            let target = |side: &Option<(Vec<u8>, Pointer)>| {
                side.as_ref().map(|(_, pointer)| pointer.target)
            };
            if target(&before) != target(&after) {
                diffs.push(self.diff_of(before, after)?);
            }
        }
    }

    fn diff_of(
        &self,
        old: Option<(Vec<u8>, Pointer)>,
        new: Option<(Vec<u8>, Pointer)>,
    ) -> Result<VersionDiff, VersionError> {
        let path = old.as_ref().or(new.as_ref()).map(|(path, _)| path.clone());
        let path = path.expect("one of two sides is there");
        let side = |side: Option<(Vec<u8>, Pointer)>| -> Option<Tracked> {
            let (path, pointer) = side?;
            let base = self.root.join(super::place::os_path(&path).ok()?);
            Some(Tracked {
                path,
                pointer,
                base,
            })
        };
        let (old, new) = (side(old), side(new));
        let digest = |side: &Option<Tracked>| {
            let digest = |tracked: &Tracked| tracked.pointer.target.digest().to_string();
            side.as_ref().map(digest)
        };
        let changes = match self.changes(old.as_ref(), new.as_ref()) {
            Ok(changes) => Some(changes),
            Err(VersionError::Store(StoreError::Missing { .. })) => None,
            Err(error) => return Err(error),
        };
        Ok(VersionDiff {
            path: shown(&path).into_owned(),
            old: digest(&old),
            new: digest(&new),
            changes,
        })
    }

    fn changes(
        &self,
        old: Option<&Tracked>,
        new: Option<&Tracked>,
    ) -> Result<Vec<Change>, VersionError> {
        let mut sides = [old, new].map(|side| side.map(|tracked| self.wanted(tracked)));
        let mut read = |side: usize| -> Result<Option<TreeEntry>, VersionError> {
            match &mut sides[side] {
                None => Ok(None),
                Some(Ok(wanted)) => wanted.read(),
                Some(Err(_)) => match sides[side].take() {
                    Some(Err(error)) => Err(error),
                    _ => Ok(None),
                },
            }
        };
        let mut changes = Vec::new();
        let (mut before, mut after) = (read(0)?, read(1)?);
        loop {
            let order = match (&before, &after) {
                (None, None) => return Ok(changes),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(before), Some(after)) => before.path.cmp(&after.path),
            };
            let kind = match order {
                Ordering::Less => Some(ChangeKind::Deleted),
                Ordering::Greater => Some(ChangeKind::Added),
                Ordering::Equal => {
                    let content = |entry: &Option<TreeEntry>| entry.as_ref().map(|e| e.content);
                    (content(&before) != content(&after)).then_some(ChangeKind::Changed)
                }
            };
            let (entry, side) = match order {
                Ordering::Less => (&before, old),
                _ => (&after, new),
            };
            if let (Some(kind), Some(entry), Some(tracked)) = (kind, entry, side) {
                changes.push(Change {
                    kind,
                    path: tracked.file_name(&entry.path),
                });
            }
            if order.is_le() {
                before = read(0)?;
            }
            if order.is_ge() {
                after = read(1)?;
            }
        }
    }
}
