//! The small text beside a tracked file or folder, which is in Git in its place.
//!
//! ```text
//! # Kept by TinyOps: `tinyops data pull` brings it.
//! version = 1
//! kind = "folder"
//! files = 10000
//! bytes = 320440000
//! digest = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
//! ```
//! It is TOML with these keys in this order, so that two versions differ in the lines that say something. The pointer of
//! `data` is called `data.tinyops` and lies beside it.

use std::fmt::Write as _;

use serde::Deserialize;
use tinyops_wire::id::Digest;

use crate::tree::{Content, Kept};

/// How the name of a pointer ends.
pub const POINTER_SUFFIX: &str = ".tinyops";

/// The path that a pointer's path stands for; none of a path that names no pointer.
#[must_use]
pub fn stands_for(path: &[u8]) -> Option<&[u8]> {
    let path = path.strip_suffix(POINTER_SUFFIX.as_bytes())?;
    (!path.is_empty() && !path.ends_with(b"/")).then_some(path)
}

/// Bytes of a pointer at most; what is longer is none of ours.
pub const POINTER_BYTES_MAX: usize = 4096;

const COMMENT: &str = "# Kept by TinyOps: `tinyops data pull` brings it.\n";

/// A file or folder at a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pointer {
    /// What it points to.
    pub target: Target,
    /// How many files that are.
    pub files: u64,
    /// How long they are together.
    pub bytes: u64,
    /// Where it came from, if it was imported: one line for people and for later look-ups.
    pub origin: Option<String>,
}

/// What a pointer points to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A folder: the digest of its tree.
    Folder(Digest),
    /// One file.
    File(Kept, Digest),
}

impl Target {
    /// The object that it begins with.
    #[must_use]
    pub fn digest(self) -> Digest {
        match self {
            Target::Folder(digest) | Target::File(_, digest) => digest,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Target::Folder(_) => "folder",
            Target::File(kept, _) => kept.word(),
        }
    }
}

/// Why a text is no pointer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PointerError {
    /// It is longer than any pointer.
    #[error("it has more than {POINTER_BYTES_MAX} bytes")]
    TooLong,
    /// Two versions of it were merged and nobody has chosen.
    #[error("it holds the marks of a merge: keep the lines of one side")]
    Merge,
    /// It is not TOML, or a key is missing or not known.
    #[error("{0}")]
    Syntax(String),
    /// A newer TinyOps wrote it.
    #[error("it has version {0}, this TinyOps knows version 1")]
    Version(u64),
    /// A value is not what its key should hold.
    #[error("`{key}` is `{value}`: {expected}")]
    Value {
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
        /// What it should be.
        expected: &'static str,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    version: u64,
    kind: String,
    files: u64,
    bytes: u64,
    digest: String,
    origin: Option<String>,
}

impl Pointer {
    /// A pointer to one file.
    #[must_use]
    pub fn to_file(content: Content) -> Pointer {
        Pointer {
            target: Target::File(content.kept, content.digest),
            files: 1,
            bytes: content.bytes,
            origin: None,
        }
    }

    /// What the file holds; none for a folder.
    #[must_use]
    pub fn content(&self) -> Option<Content> {
        match self.target {
            Target::Folder(_) => None,
            Target::File(kept, digest) => Some(Content {
                kept,
                digest,
                bytes: self.bytes,
            }),
        }
    }

    /// The text: the same pointer gives the same bytes, always.
    #[must_use]
    pub fn encode(&self) -> String {
        let Pointer {
            target,
            files,
            bytes,
            origin,
        } = self;
        let (kind, digest) = (target.word(), target.digest());
        let mut text = format!(
            "{COMMENT}version = 1\nkind = \"{kind}\"\nfiles = {files}\nbytes = {bytes}\ndigest = \"{digest}\"\n"
        );
        if let Some(origin) = origin {
            let origin = toml::Value::String(origin.clone());
            writeln!(text, "origin = {origin}").expect("a string takes any text");
        }
        text
    }

    /// Reads a pointer; comments and the order of keys are free, an unknown key is an error.
    ///
    /// # Errors
    /// [`PointerError`].
    pub fn decode(bytes: &[u8]) -> Result<Pointer, PointerError> {
        if bytes.len() > POINTER_BYTES_MAX {
            return Err(PointerError::TooLong);
        }
        let text = std::str::from_utf8(bytes)
            .map_err(|_| PointerError::Syntax("it is not UTF-8".into()))?;
        if text.lines().any(|line| line.starts_with("<<<<<<< ")) {
            return Err(PointerError::Merge);
        }
        // Of a newer version not even the keys are known.
        #[derive(Deserialize)]
        struct Version {
            version: u64,
        }
        let syntax = |error: toml::de::Error| PointerError::Syntax(error.message().to_owned());
        match toml::from_str::<Version>(text).map_err(syntax)?.version {
            1 => {}
            newer => return Err(PointerError::Version(newer)),
        }
        let text: Text = toml::from_str(text).map_err(syntax)?;
        debug_assert_eq!(text.version, 1, "it was looked at before");
        let digest: Digest = text.digest.parse().map_err(|_| PointerError::Value {
            key: "digest",
            value: text.digest.clone(),
            expected: "it should have 64 hex digits",
        })?;
        let target = match (text.kind.as_str(), Kept::of_word(&text.kind)) {
            ("folder", _) => Target::Folder(digest),
            (_, Some(kept)) => Target::File(kept, digest),
            _ => {
                return Err(PointerError::Value {
                    key: "kind",
                    value: text.kind,
                    expected: "it should be `folder`, `file` or `chunks`",
                });
            }
        };
        if matches!(target, Target::File(..)) && text.files != 1 {
            return Err(PointerError::Value {
                key: "files",
                value: text.files.to_string(),
                expected: "a file is one",
            });
        }
        Ok(Pointer {
            target,
            files: text.files,
            bytes: text.bytes,
            origin: text.origin,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pointer() -> impl Strategy<Value = Pointer> {
        let target = (any::<[u8; 32]>(), 0..3u8).prop_map(|(digest, kind)| match kind {
            0 => Target::Folder(Digest(digest)),
            1 => Target::File(Kept::File, Digest(digest)),
            _ => Target::File(Kept::Chunks, Digest(digest)),
        });
        let counts = (0..1u64 << 60, 0..1u64 << 60);
        (target, counts, proptest::option::of("\\PC{0,20}")).prop_map(
            |(target, (files, bytes), origin)| Pointer {
                target,
                files: if matches!(target, Target::Folder(_)) {
                    files
                } else {
                    1
                },
                bytes,
                origin,
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(pointer in pointer()) {
            prop_assert_eq!(Pointer::decode(pointer.encode().as_bytes()), Ok(pointer));
        }

        #[test]
        fn any_bytes_are_refused_or_a_pointer(pointer in pointer(), at in 0usize..400, byte in any::<u8>()) {
            let mut text = pointer.encode().into_bytes();
            let at = at % text.len();
            text[at] = byte;
            if let Ok(read) = Pointer::decode(&text) {
                prop_assert_eq!(Pointer::decode(read.encode().as_bytes()), Ok(read));
            }
        }
    }

    #[test]
    fn it_reads_as_the_format_says() {
        let pointer = Pointer {
            target: Target::Folder(Digest::of(b"test")),
            files: 10_000,
            bytes: 320_440_000,
            origin: None,
        };
        insta::assert_snapshot!(pointer.encode());
    }

    #[test]
    fn what_is_no_pointer() {
        let good = Pointer::to_file(Content {
            kept: Kept::File,
            digest: Digest::of(b""),
            bytes: 0,
        });
        let good = good.encode();
        let why = |text: &str| Pointer::decode(text.as_bytes()).unwrap_err().to_string();
        assert!(why("").contains("version"));
        assert!(why("version = 2\nnews = 1\n").contains("version 2"));
        assert!(why(&good.replace("files", "count")).contains("unknown field"));
        assert!(why(&good.replace("\"file\"", "\"link\"")).contains("`kind` is `link`"));
        assert!(why(&good.replace("files = 1", "files = 2")).contains("a file is one"));
        assert!(why(&good.replace("files = 1", "files = -1")).contains("invalid value"));
        let hostile = good.replace(&Digest::of(b"").to_string(), "../../etc/passwd");
        assert!(why(&hostile).contains("64 hex digits"));
        let merge = format!("<<<<<<< HEAD\n{good}=======\n{good}>>>>>>> other\n");
        assert!(why(&merge).contains("marks of a merge"));
        assert!(why(&"#".repeat(5000)).contains("4096"));
    }
}
