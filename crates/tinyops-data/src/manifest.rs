//! The text that names a dataset version: one line a sample, sorted, and its digest.

use tinyops_wire::id::Digest;

use crate::dataset::Dataset;
use crate::sample::Role;

/// All that a dataset holds, by name and digest. Its own digest is the dataset's version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// Sorted by name.
    pub entries: Vec<Entry>,
}

/// One sample of a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The sample's name.
    pub name: String,
    /// Digest of its readings, rate and channels.
    pub content: Digest,
    /// Readings per channel.
    pub len: usize,
    /// Its label as text.
    pub label: String,
    /// Its group.
    pub group: String,
    /// Its fixed role.
    pub role: Option<Role>,
}

/// What changed from one version to another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diff {
    /// In the new version only.
    pub added: Vec<Entry>,
    /// In the old version only.
    pub removed: Vec<Entry>,
    /// Under the same name in both, but different: old, then new.
    pub changed: Vec<(Entry, Entry)>,
}

impl Manifest {
    /// Lists a dataset.
    pub fn of(_dataset: &Dataset) -> Manifest {
        todo!()
    }

    /// The text: the same entries give the same bytes, always.
    pub fn encode(&self) -> String {
        todo!()
    }

    /// Reads what [`Manifest::encode`] wrote.
    pub fn decode(_text: &str) -> Result<Manifest, ManifestError> {
        todo!()
    }

    /// The dataset's version: the digest of the text.
    pub fn digest(&self) -> Digest {
        Digest::of(self.encode().as_bytes())
    }

    /// What changed from this version to `newer`.
    pub fn diff(&self, _newer: &Manifest) -> Diff {
        todo!()
    }
}

/// Why a text is not a manifest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// The first line is another one.
    #[error("the first line is not `{expected}`")]
    Header {
        /// What it should be.
        expected: &'static str,
    },
    /// A line is not an entry.
    #[error("line {row}: {what}")]
    Line {
        /// The line, counted from 1.
        row: usize,
        /// What is wrong with it.
        what: &'static str,
    },
}
