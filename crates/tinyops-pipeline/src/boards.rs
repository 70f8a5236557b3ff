//! The boards of a project: those that TinyOps knows, and its own, one file each.

use std::{
    fs,
    path::{Path, PathBuf},
};

use tinyops_compile::{Board, BoardError, Boards};

/// The folder of a project's own boards, beside its project file.
pub const BOARDS_FOLDER: &str = "boards";

/// Why a board file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BoardFileError {
    /// The file or folder cannot be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is no board file.
    #[error("`{}`", path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: BoardError,
    },
}

/// Reads one board file.
///
/// # Errors
/// [`BoardFileError`].
pub fn read_board(path: &Path) -> Result<Board, BoardFileError> {
    let path = || path.to_path_buf();
    let text = fs::read_to_string(path()).map_err(|source| BoardFileError::Read {
        path: path(),
        source,
    })?;
    Board::from_toml(&text).map_err(|source| BoardFileError::Form {
        path: path(),
        source,
    })
}

/// The boards that TinyOps knows and those of `folder`'s `boards/*.toml`, in the order of their file names.
///
/// # Errors
/// [`BoardFileError`]: each file there must be a board, with a name of its own.
pub fn boards_of(folder: &Path) -> Result<Boards, BoardFileError> {
    let mut boards = Boards::default();
    let folder = folder.join(BOARDS_FOLDER);
    if !folder.is_dir() {
        return Ok(boards);
    }
    let unreadable = |source| BoardFileError::Read {
        path: folder.clone(),
        source,
    };
    let mut paths = Vec::new();
    for entry in fs::read_dir(&folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|end| end == "toml") {
            paths.push(path);
        }
    }
    paths.sort();
    for path in paths {
        let board = read_board(&path)?;
        boards
            .add(board)
            .map_err(|source| BoardFileError::Form { path, source })?;
    }
    Ok(boards)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_file_adds_a_board() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(boards_of(folder.path()).unwrap(), Boards::default());
        let own = folder.path().join(BOARDS_FOLDER);
        fs::create_dir(&own).unwrap();
        let text = include_str!("../../tinyops-compile/boards/nucleo-l4r5zi.toml");
        fs::write(own.join("readme.md"), "not a board").unwrap();
        fs::write(own.join("mine.toml"), text.replace("nucleo-l4r5zi", "mine")).unwrap();
        let boards = boards_of(folder.path()).unwrap();
        assert_eq!(boards.added().len(), 1);
        assert_eq!(boards.named("mine").unwrap().clock_hz, 120_000_000);

        fs::write(own.join("again.toml"), text).unwrap();
        let error = boards_of(folder.path()).unwrap_err();
        assert!(
            matches!(error, BoardFileError::Form { ref path, .. } if path.ends_with("again.toml"))
        );
        fs::write(own.join("again.toml"), "id = 3").unwrap();
        assert!(matches!(
            boards_of(folder.path()),
            Err(BoardFileError::Form {
                source: BoardError::Form(_),
                ..
            })
        ));
    }
}
