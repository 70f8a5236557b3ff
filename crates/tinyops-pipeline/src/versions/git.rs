//! Pointers in Git's history, which Git itself is asked for: revisions have too many spellings, and its packs too many
//! forms, to be read twice.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tinyops_data::pointer::{POINTER_BYTES_MAX, Pointer, stands_for};

use super::VersionError;
use super::place::os_path;

/// Pointers by the paths that they stand for, sorted.
pub(super) type PointersByPath = Vec<(Vec<u8>, Pointer)>;

/// Whether a folder lies in a Git repository.
pub(super) fn is_repository(root: &Path) -> bool {
    root.ancestors().any(|above| above.join(".git").exists())
}

/// The pointers below a folder at a revision, by the paths that they stand for, from the folder on; none where Git knows
/// no such revision.
///
/// What is no pointer of a version that is known is left out: the history holds what it holds.
pub(super) fn pointers_at(
    root: &Path,
    revision: &str,
) -> Result<Option<PointersByPath>, VersionError> {
    let Some(commit) = commit(root, revision)? else {
        return Ok(None);
    };
    let listed = git(
        root,
        "list a revision",
        &["ls-tree", "-r", "-z", &commit, "."],
        &[],
    )?;
    let (blobs, paths): (Vec<&str>, Vec<&[u8]>) = pointer_blobs(&listed).unzip();
    let texts = contents(root, &blobs)?;
    let mut pointers: PointersByPath = paths
        .into_iter()
        .zip(texts)
        .filter_map(|(path, text)| Some((path.to_vec(), Pointer::decode(&text?).ok()?)))
        .collect();
    pointers.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(Some(pointers))
}

/// A pointer that Git has, with the paths that it stands for there: from the project's folder on, those of other folders
/// of the repository left out.
pub(super) struct OfGit {
    pub(super) pointer: Pointer,
    pub(super) paths: BTreeSet<Vec<u8>>,
}

/// The pointers of Git's index, of all branches, tags, stashes and remote branches, and of what is checked out; with
/// `history`, of every commit that Git still has. Besides them, the blobs that are called pointers and cannot be read.
pub(super) fn pointers_everywhere(
    root: &Path,
    history: bool,
) -> Result<(Vec<OfGit>, Vec<String>), VersionError> {
    let prefix = git(
        root,
        "find the project",
        &["rev-parse", "--show-prefix"],
        &[],
    )?;
    let prefix = prefix.trim_ascii_end();
    let mut blobs: BTreeMap<String, BTreeSet<Vec<u8>>> = BTreeMap::new();
    let mut add = |blob: &str, path: &[u8]| {
        let paths = blobs.entry(blob.to_owned()).or_default();
        paths.extend(path.strip_prefix(prefix).map(<[u8]>::to_vec));
    };
    let head = commit(root, "HEAD")?;
    if history {
        let mut args = vec!["rev-list", "--objects", "--all", "--reflog"];
        // A repository without a commit has no HEAD.
        args.extend(head.as_ref().map(|_| "HEAD"));
        let listed = git(root, "list the history", &args, &[])?;
        for line in listed.split(|byte| *byte == b'\n') {
            let Some(space) = line.iter().position(|byte| *byte == b' ') else {
                continue;
            };
            let (blob, path) = (&line[..space], &line[space + 1..]);
            if let Some(path) = stands_for(path) {
                add(&String::from_utf8_lossy(blob), path);
            }
        }
    } else {
        let format = "--format=%(objectname)";
        let refs = git(root, "list the branches", &["for-each-ref", format], &[])?;
        // The name of the stash stands for its newest entry alone.
        let stashed = match commit(root, "refs/stash")? {
            Some(_) => git(
                root,
                "list the stash",
                &["stash", "list", "--format=%H"],
                &[],
            )?,
            None => Vec::new(),
        };
        let named = [refs, stashed].concat();
        let named = String::from_utf8_lossy(&named).into_owned();
        let all: BTreeSet<String> = named.lines().map(str::to_owned).chain(head).collect();
        for named in all {
            // A tag may name what is no commit.
            let Some(commit) = commit(root, &named)? else {
                continue;
            };
            let args = ["ls-tree", "-r", "-z", "--full-tree", &commit];
            let listed = git(root, "list a branch", &args, &[])?;
            pointer_blobs(&listed).for_each(|(blob, path)| add(blob, path));
        }
    }
    let args = ["ls-files", "--stage", "--full-name", "-z", ":/"];
    let staged = git(root, "list the index", &args, &[])?;
    staged_blobs(&staged).for_each(|(blob, path)| add(blob, path));
    let names: Vec<&str> = blobs.keys().map(String::as_str).collect();
    let texts = contents(root, &names)?;
    let (mut pointers, mut unread) = (Vec::new(), Vec::new());
    for ((blob, paths), text) in blobs.into_iter().zip(texts) {
        match text.map(|text| Pointer::decode(&text)) {
            Some(Ok(pointer)) => pointers.push(OfGit { pointer, paths }),
            Some(Err(_)) | None => unread.push(format!("{blob} of Git")),
        }
    }
    Ok((pointers, unread))
}

/// Names of the pointers, and the paths that they stand for, in what `git ls-files --stage -z` said.
fn staged_blobs(listed: &[u8]) -> impl Iterator<Item = (&str, &[u8])> {
    listed.split(|byte| *byte == 0).filter_map(|line| {
        let tab = line.iter().position(|byte| *byte == b'\t')?;
        let (about, path) = (std::str::from_utf8(&line[..tab]).ok()?, &line[tab + 1..]);
        let mut about = about.split(' ');
        let is_file = about.next()?.starts_with("100");
        is_file.then_some((about.next()?, stands_for(path)?))
    })
}

/// What Git keeps below a folder, by the paths from it on; none where there is no repository.
pub(super) fn kept_by_git(root: &Path) -> Result<Vec<PathBuf>, VersionError> {
    if !is_repository(root) {
        return Ok(Vec::new());
    }
    let listed = git(root, "list the index", &["ls-files", "-z"], &[])?;
    let paths = listed.split(|byte| *byte == 0);
    paths.filter(|path| !path.is_empty()).map(os_path).collect()
}

fn commit(root: &Path, revision: &str) -> Result<Option<String>, VersionError> {
    if revision.starts_with('-') || !is_repository(root) {
        return Ok(None);
    }
    let name = format!("{revision}^{{commit}}");
    let args = [
        "rev-parse",
        "--verify",
        "--quiet",
        "--end-of-options",
        &name,
    ];
    match git(root, "find a revision", &args, &[]) {
        Ok(said) => Ok(Some(String::from_utf8_lossy(&said).trim().to_owned())),
        Err(VersionError::Git { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Names of the pointers, and the paths that they stand for, in what `git ls-tree -z` said.
fn pointer_blobs(listed: &[u8]) -> impl Iterator<Item = (&str, &[u8])> {
    listed.split(|byte| *byte == 0).filter_map(|line| {
        let tab = line.iter().position(|byte| *byte == b'\t')?;
        let (about, path) = (std::str::from_utf8(&line[..tab]).ok()?, &line[tab + 1..]);
        let mut about = about.split(' ');
        let is_file = about.next()?.starts_with("100") && about.next()? == "blob";
        is_file.then_some((about.next()?, stands_for(path)?))
    })
}

/// The bytes of blobs, in their order; none of one that a clone does not have, and nothing of one that is longer than a
/// pointer.
fn contents(root: &Path, blobs: &[&str]) -> Result<Vec<Option<Vec<u8>>>, VersionError> {
    let mut asked = blobs.join("\n").into_bytes();
    if asked.is_empty() {
        return Ok(Vec::new());
    }
    asked.push(b'\n');
    let said = git(root, "read pointers", &["cat-file", "--batch"], &asked)?;
    let cut = || VersionError::Git {
        doing: "read pointers",
        said: "its answer ends in the middle".to_owned(),
    };
    let mut texts = Vec::with_capacity(blobs.len());
    let mut rest = said.as_slice();
    for _ in blobs {
        let end = rest
            .iter()
            .position(|byte| *byte == b'\n')
            .ok_or_else(cut)?;
        let head = String::from_utf8_lossy(&rest[..end]).into_owned();
        rest = &rest[end + 1..];
        let Some(length) = head
            .rsplit(' ')
            .next()
            .and_then(|length| length.parse().ok())
        else {
            texts.push(None); // `… missing`: a clone that has not everything.
            continue;
        };
        let text: &[u8] = rest.get(..length).ok_or_else(cut)?;
        texts.push(Some(match length <= POINTER_BYTES_MAX {
            true => text.to_vec(),
            false => Vec::new(),
        }));
        rest = rest.get(length + 1..).ok_or_else(cut)?;
    }
    Ok(texts)
}

fn git(
    root: &Path,
    doing: &'static str,
    args: &[&str],
    input: &[u8],
) -> Result<Vec<u8>, VersionError> {
    let mut child = Command::new("git")
        .arg("-C")
        .arg(root)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(VersionError::NoGit)?;
    let stdin = child.stdin.take();
    let output = std::thread::scope(|scope| {
        // Beside the reading: either pipe may be full.
        let sent = scope.spawn(move || -> io::Result<()> {
            stdin.map_or(Ok(()), |mut stdin| stdin.write_all(input))
        });
        let output = child.wait_with_output();
        let _ = sent.join();
        output
    });
    let output = output.map_err(VersionError::NoGit)?;
    match output.status.success() {
        true => Ok(output.stdout),
        false => Err(VersionError::Git {
            doing,
            said: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        }),
    }
}
