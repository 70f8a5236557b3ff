//! Which code made a run: the commit of the project folder, else the version of this program.

use std::{fs, path::Path};

/// The commit checked out in `folder` or in the nearest folder above it, as `git:<40 hex digits>`;
/// where there is none, `tinyops:<version>`.
///
/// Reads `.git` as files: a machine without Git makes models, too. Uncommitted changes are not
/// seen: the digests of a run's inputs tell those apart.
#[must_use]
pub fn code_version(folder: &Path) -> String {
    let absolute = folder
        .canonicalize()
        .unwrap_or_else(|_| folder.to_path_buf());
    absolute
        .ancestors()
        .find_map(commit_at)
        .map_or_else(own_version, |commit| format!("git:{commit}"))
}

fn own_version() -> String {
    format!("tinyops:{}", env!("CARGO_PKG_VERSION"))
}

fn commit_at(folder: &Path) -> Option<String> {
    let dot_git = folder.join(".git");
    let git_dir = if dot_git.is_dir() {
        dot_git
    } else {
        // A worktree or submodule: one line, `gitdir: <path>`.
        let line = fs::read_to_string(&dot_git).ok()?;
        folder.join(line.strip_prefix("gitdir:")?.trim())
    };
    let head = fs::read_to_string(git_dir.join("HEAD")).ok()?;
    let Some(name) = head.trim().strip_prefix("ref: ") else {
        return commit(&head);
    };
    // Refs of a worktree live in the repository it was made from.
    let common = fs::read_to_string(git_dir.join("commondir"))
        .map_or_else(|_| git_dir.clone(), |path| git_dir.join(path.trim()));
    [&git_dir, &common]
        .iter()
        .find_map(|dir| commit(&fs::read_to_string(dir.join(name)).ok()?))
        .or_else(|| packed(&fs::read_to_string(common.join("packed-refs")).ok()?, name))
}

fn packed(text: &str, name: &str) -> Option<String> {
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .find(|(_, reference)| *reference == name)
        .and_then(|(hash, _)| commit(hash))
}

fn commit(text: &str) -> Option<String> {
    let text = text.trim();
    (text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    #[track_caller]
    fn check(files: &[(&str, &str)], expected: &str) {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let project = folder.path().join("project");
        fs::create_dir_all(&project).unwrap();
        assert_eq!(code_version(&project), expected);
    }

    #[test]
    fn commits() {
        let expected = format!("git:{COMMIT}");
        check(&[(".git/HEAD", COMMIT)], &expected);
        check(
            &[
                (".git/HEAD", "ref: refs/heads/main\n"),
                (".git/refs/heads/main", COMMIT),
            ],
            &expected,
        );
        check(
            &[
                (".git/HEAD", "ref: refs/heads/main\n"),
                (
                    ".git/packed-refs",
                    &format!("# pack-refs\n{COMMIT} refs/heads/main\n"),
                ),
            ],
            &expected,
        );
        check(
            &[
                (".git", "gitdir: real/worktrees/a\n"),
                ("real/worktrees/a/HEAD", "ref: refs/heads/a\n"),
                ("real/worktrees/a/commondir", "../..\n"),
                ("real/refs/heads/a", COMMIT),
            ],
            &expected,
        );
    }
}
