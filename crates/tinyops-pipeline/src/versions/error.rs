//! Why versions of recordings cannot be kept or brought back.

use std::io;
use std::path::{Path, PathBuf};

use tinyops_data::chunk::RecipeError;
use tinyops_data::pointer::PointerError;
use tinyops_data::tree::TreeError;
use tinyops_store::{Digest, StoreError};

/// Why versions of recordings cannot be kept or brought back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VersionError {
    /// The cache or the remote.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The workspace.
    #[error("cannot {doing} `{}`", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A path that does not lie in the project.
    #[error("`{}` lies outside of the project", .0.display())]
    Outside(PathBuf),
    /// A path where Git or TinyOps keeps things, or that cannot be written down.
    #[error("`{path}` cannot be tracked: {why}")]
    Path {
        /// The path.
        path: String,
        /// What stands against it.
        why: &'static str,
    },
    /// Nothing lies at a path.
    #[error("`{0}` does not exist, and no pointer stands for it")]
    Missing(String),
    /// A folder without a file.
    #[error("`{0}` holds no file")]
    Empty(String),
    /// A link that is not followed.
    #[error("`{path}` is a link {why}")]
    Link {
        /// The link.
        path: String,
        /// Where it leads.
        why: &'static str,
    },
    /// A pipe, a socket, a device.
    #[error("`{0}` is neither file nor folder")]
    Special(String),
    /// Inside of what is tracked, or around it.
    #[error("`{path}` overlaps `{other}`, which is tracked already")]
    Overlap {
        /// What was to be tracked.
        path: String,
        /// What is.
        other: String,
    },
    /// A file changed while it was read.
    #[error("`{0}` changed while it was read")]
    Changed(String),
    /// A pointer that says nothing of use.
    #[error("pointer `{path}` cannot be read")]
    Pointer {
        /// The pointer.
        path: String,
        /// What is wrong.
        source: PointerError,
    },
    /// An object that should be a list of files is none.
    #[error("object {digest} is no list of files")]
    Tree {
        /// The object.
        digest: Digest,
        /// What is wrong.
        source: TreeError,
    },
    /// An object that should be a list of pieces is none.
    #[error("object {digest} is no list of pieces")]
    Recipe {
        /// The object.
        digest: Digest,
        /// What is wrong.
        source: RecipeError,
    },
    /// A file that was put together of its pieces is another one.
    #[error("the pieces of `{0}` make another file")]
    Assembled(String),
    /// What pointers name is not in the cache.
    #[error("{count} of the objects that `{path}` needs are not in the cache")]
    NotCached {
        /// The tracked path.
        path: String,
        /// How many.
        count: u64,
    },
    /// What pointers name is neither in the cache nor on the remote.
    #[error("{count} objects are neither in the cache nor on the remote")]
    Lost {
        /// How many.
        count: u64,
        /// Some of them, by the files that need them.
        examples: Vec<String>,
    },
    /// Of some versions not all is known here, so that nobody can say what they do not need.
    #[error("of {} versions it is not known here what they need", .0.len())]
    Unknown(Vec<String>),
    /// Files that would be overwritten are kept nowhere.
    #[error("{count} {} changes that no version keeps", if *.count == 1 { "file holds" } else { "files hold" })]
    Unsaved {
        /// How many.
        count: u64,
        /// Some of them.
        examples: Vec<String>,
    },
    /// Files hold what was erased.
    #[error("{count} {} erased", if *.count == 1 { "file holds what was" } else { "files hold what was" })]
    Erased {
        /// How many.
        count: u64,
        /// Some of them.
        examples: Vec<String>,
    },
    /// A `.tinyopsignore` or `.tinyopsforgotten` that cannot be read.
    #[error("`{path}`: {message}")]
    Ignore {
        /// The file.
        path: String,
        /// What is wrong in it.
        message: String,
    },
    /// Git does not answer as it should.
    #[error("git cannot {doing}: {said}")]
    Git {
        /// What was asked of it.
        doing: &'static str,
        /// What it said.
        said: String,
    },
    /// Git is not installed.
    #[error("git cannot be started")]
    NoGit(#[source] io::Error),
}

impl VersionError {
    pub(crate) fn io(doing: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io {
            doing,
            path: path.to_path_buf(),
            source,
        }
    }

    /// Of a walk over the files below a folder.
    pub(super) fn walk(root: &Path, error: &ignore::Error) -> Self {
        Self::Ignore {
            path: root.display().to_string(),
            message: error.to_string(),
        }
    }
}
