//! What can go wrong between a record and the disk.

use std::fmt;

/// What the engine underneath said, kept as text so that no engine's type leaves this crate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause(pub(crate) String);

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Cause {}

/// Why a record or an artifact could not be kept or found.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The named thing does not exist.
    #[error("{entity} `{key}` does not exist")]
    Missing {
        /// What kind of thing.
        entity: &'static str,
        /// Which one.
        key: String,
    },
    /// The thing is there already and may not be replaced.
    #[error("{entity} `{key}` exists already")]
    Exists {
        /// What kind of thing.
        entity: &'static str,
        /// Which one.
        key: String,
    },
    /// Another writer changed the thing since it was read: read it again and decide again.
    #[error("{entity} `{key}` was changed by another writer")]
    Conflict {
        /// What kind of thing.
        entity: &'static str,
        /// Which one.
        key: String,
    },
    /// The disk, or a quota on it, is full.
    #[error("no space is left at `{place}`: free some, or move the store to a larger disk")]
    Full {
        /// Folder, file or URL.
        place: String,
        /// What the system said.
        source: Cause,
    },
    /// The process may not read or write there.
    #[error("`{place}` may not be read or written: check its owner and its permissions")]
    Permission {
        /// Folder, file or URL.
        place: String,
        /// What the system said.
        source: Cause,
    },
    /// The file is no database of ours, or it is damaged.
    #[error(
        "`{place}` is damaged or no TinyOps store: restore it from a backup, or choose another place"
    )]
    Damaged {
        /// File or URL.
        place: String,
        /// What the engine said.
        source: Cause,
    },
    /// The bytes under a digest are not the bytes that were put.
    #[error("artifact `{digest}` is damaged: its bytes hash to `{found}`")]
    DamagedArtifact {
        /// The name asked for.
        digest: tinyops_wire::id::Digest,
        /// What its bytes hash to.
        found: tinyops_wire::id::Digest,
    },
    /// A newer TinyOps made this store.
    #[error("`{place}` has schema {found}, this version knows up to {known}: use a newer TinyOps")]
    Newer {
        /// File or URL.
        place: String,
        /// Its schema.
        found: i64,
        /// The newest schema known here.
        known: i64,
    },
    /// Another process holds the store.
    #[error("`{place}` is busy: another process is writing to it")]
    Busy {
        /// File or URL.
        place: String,
        /// What the engine said.
        source: Cause,
    },
    /// The database server does not answer, or the connection broke.
    #[error("`{place}` cannot be reached: check that it runs and that user and password are right")]
    Unreachable {
        /// URL without its password.
        place: String,
        /// What the connection said.
        source: Cause,
    },
    /// The URL names no engine of ours.
    #[error("`{url}` is no store: use {expected}")]
    Url {
        /// What was given, without a password.
        url: String,
        /// What would be understood.
        expected: &'static str,
    },
    /// A stored value is not what its column should hold.
    #[error("column {index} of {entity} holds an unexpected value")]
    Column {
        /// What kind of row.
        entity: &'static str,
        /// Which column, from 0.
        index: usize,
    },
    /// The engine refused a statement.
    #[error("could not {doing}")]
    Engine {
        /// What was being done.
        doing: &'static str,
        /// What the engine said.
        source: Cause,
    },
    /// The store is shutting down.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    /// Whether reading again and deciding again may succeed.
    pub fn is_conflict(&self) -> bool {
        matches!(self, StoreError::Conflict { .. })
    }

    pub(crate) fn io(
        place: impl fmt::Display,
        doing: &'static str,
        error: &std::io::Error,
    ) -> StoreError {
        use std::io::ErrorKind;
        let place = place.to_string();
        let source = Cause(error.to_string());
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
                StoreError::Full { place, source }
            }
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
                StoreError::Permission { place, source }
            }
            _ => StoreError::Engine { doing, source },
        }
    }
}
