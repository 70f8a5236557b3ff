//! Forgotten: objects that an erasure removed, so that nobody takes them for lost, and nobody brings them back.
//!
//! ```text
//! .tinyopsforgotten           beside the project file, in Git: it tells whoever has the objects, too
//! .tinyops/cache/forgotten    the same of this cache: a branch from before the erasure does not have the other
//! ```
//! One digest a line, sorted, after a comment. Only files and lists of pieces are named: pieces go with their list. Of a
//! merge that nobody has settled both sides hold.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tinyops_data::tree::Content;
use tinyops_store::{Digest, Readers, write_whole};

use super::{VersionError, Versions};

/// The list's name in the project's folder.
const SHARED: &str = ".tinyopsforgotten";
/// Its name in the cache.
const OWN: &str = "forgotten";

const COMMENT: &str = "# What `tinyops erase` removed: nothing brings it back while it is named here. Keep it in Git.\n";

/// The objects that were erased.
#[derive(Clone, Debug, Default)]
pub(super) struct Forgotten {
    /// By the list that is shared.
    shared: BTreeSet<Digest>,
    /// By the list of this cache.
    own: BTreeSet<Digest>,
}

impl Forgotten {
    /// Whether an object that is not here is so on purpose.
    pub(super) fn is_gone(&self, digest: &Digest) -> bool {
        self.shared.contains(digest) || self.own.contains(digest)
    }

    /// Whether an object must not come back, and goes where it still is.
    pub(super) fn is_refused(&self, digest: &Digest) -> bool {
        self.shared.contains(digest)
    }
}

impl Versions {
    /// The objects that were erased, by the lists that are here.
    pub(super) fn forgotten(&self) -> Result<Forgotten, VersionError> {
        Ok(Forgotten {
            shared: read(&self.root.join(SHARED))?,
            own: read(&self.own_list())?,
        })
    }

    /// Whether what a version has of a file was erased: it may be named in the shared list while the cache has it.
    pub(super) fn is_erased(
        &self,
        forgotten: &Forgotten,
        content: &Content,
    ) -> Result<bool, VersionError> {
        Ok(forgotten.is_refused(&content.digest)
            || forgotten.is_gone(&content.digest) && self.missing_of(content)? > 0)
    }

    /// Names objects as erased, in both lists, before they go.
    pub(super) fn note_forgotten(&self, erased: &BTreeSet<Digest>) -> Result<(), VersionError> {
        if erased.is_empty() {
            return Ok(());
        }
        let Forgotten { shared, own } = self.forgotten()?;
        write(&self.own_list(), &own.union(erased).copied().collect())?;
        write(
            &self.root.join(SHARED),
            &shared.union(erased).copied().collect(),
        )
    }

    /// What this cache takes over from the shared list, and no longer holds for erased because it was added again.
    pub(super) fn keep_list(&self, added: &BTreeSet<Digest>) -> Result<(), VersionError> {
        let Forgotten { shared, own } = self.forgotten()?;
        let mut now: BTreeSet<Digest> = own.union(&shared).copied().collect();
        now.retain(|digest| !added.contains(digest));
        match now == own {
            true => Ok(()),
            false => write(&self.own_list(), &now),
        }
    }

    fn own_list(&self) -> PathBuf {
        self.cache.root().join(OWN)
    }
}

fn read(path: &Path) -> Result<BTreeSet<Digest>, VersionError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        Err(error) => return Err(VersionError::io("read", path, error)),
    };
    let mut digests = BTreeSet::new();
    for (row, line) in (1..).zip(text.lines().map(str::trim)) {
        let is_mark = ["#", "<<<<<<<", "|||||||", "=======", ">>>>>>>"]
            .iter()
            .any(|mark| line.starts_with(mark));
        if is_mark || line.is_empty() {
            continue;
        }
        // A line that says nothing would let something come back.
        let digest = line.parse().map_err(|_| VersionError::Ignore {
            path: path.display().to_string(),
            message: format!("line {row}: `{line}` is no digest of 64 hex digits"),
        })?;
        digests.insert(digest);
    }
    Ok(digests)
}

fn write(path: &Path, digests: &BTreeSet<Digest>) -> Result<(), VersionError> {
    let mut text = COMMENT.to_owned();
    for digest in digests {
        text += &digest.to_string();
        text.push('\n');
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(|error| VersionError::io("make", folder, error))?;
    }
    write_whole(path, Readers::Usual, text.as_bytes())
        .map_err(|error| VersionError::io("write", path, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_of_a_merge_hold_and_another_line_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("list");
        assert_eq!(read(&path).expect("there is none"), BTreeSet::new());
        let all: BTreeSet<Digest> = (0..3u8).map(|of| Digest::of(&[of])).collect();
        write(&path, &all).expect("writes");
        assert_eq!(read(&path).expect("reads"), all);
        let [a, b, c] = [0, 1, 2].map(|of: u8| Digest::of(&[of]));
        let merge = format!("{COMMENT}<<<<<<< HEAD\n{a}\n=======\n{b}\n>>>>>>> other\n\n{c}\r\n");
        fs::write(&path, merge).expect("writes");
        assert_eq!(read(&path).expect("reads"), all);
        fs::write(&path, format!("{a}\nnone\n")).expect("writes");
        let refused = read(&path).expect_err("it says nothing").to_string();
        assert!(refused.contains("line 2: `none`"), "{refused}");
    }
}
