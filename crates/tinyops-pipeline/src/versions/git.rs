//! Pointers in Git's history, which Git itself is asked for: revisions have too many spellings, and its packs too many
//! forms, to be read twice.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tinyops_data::pointer::{POINTER_BYTES_MAX, Pointer, stands_for};

use super::VersionError;
use super::place::os_path;

/// What the names of pointers look like to Git, in the whole repository.
const POINTERS: &str = ":(top,glob)**/*.tinyops";
/// So many pointers are read at once: 16 MB at most.
const BLOBS_AT_ONCE: usize = 4096;

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
        // Not `rev-list --objects`, which names each blob once: two paths with the same pointer would be one.
        let mut args = vec!["rev-list", "--all", "--reflog", "--full-history"];
        // A repository without a commit has no HEAD.
        args.extend(head.as_ref().map(|_| "HEAD"));
        args.extend(["--", POINTERS]);
        let commits = git(root, "list the history", &args, &[])?;
        changed_blobs(root, &commits, &mut add)?;
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
/// pointer, which is not read.
fn contents(root: &Path, blobs: &[&str]) -> Result<Vec<Option<Vec<u8>>>, VersionError> {
    let mut texts = Vec::with_capacity(blobs.len());
    for blobs in blobs.chunks(BLOBS_AT_ONCE) {
        let lines = |blobs: &[&str]| (blobs.join("\n") + "\n").into_bytes();
        let args = ["cat-file", "--batch-check=%(objectsize)"];
        let sizes = git(root, "look at pointers", &args, &lines(blobs))?;
        let sizes = String::from_utf8_lossy(&sizes);
        // `… missing`: a clone that has not everything.
        let sizes = sizes.lines().map(|size| size.parse::<usize>().ok());
        let sizes: Vec<Option<usize>> = sizes.collect();
        let is_short = |size: &Option<usize>| size.is_some_and(|size| size <= POINTER_BYTES_MAX);
        let short = blobs.iter().zip(&sizes).filter(|(_, size)| is_short(size));
        let short: Vec<&str> = short.map(|(blob, _)| *blob).collect();
        let read = match short.is_empty() {
            true => Vec::new(),
            false => git(
                root,
                "read pointers",
                &["cat-file", "--batch"],
                &lines(&short),
            )?,
        };
        let mut rest = read.as_slice();
        for size in sizes {
            texts.push(match size {
                Some(length) if is_short(&size) => {
                    Some(next_blob(&mut rest, length).ok_or_else(cut_off)?)
                }
                size => size.map(|_| Vec::new()),
            });
        }
    }
    match texts.len() == blobs.len() {
        true => Ok(texts),
        false => Err(cut_off()),
    }
}

/// The next blob of what `git cat-file --batch` said.
fn next_blob(said: &mut &[u8], length: usize) -> Option<Vec<u8>> {
    let head = said.iter().position(|byte| *byte == b'\n')?;
    let rest = &said[head + 1..];
    let text = rest.get(..length)?.to_vec();
    *said = rest.get(length + 1..)?;
    Some(text)
}

fn cut_off() -> VersionError {
    VersionError::Git {
        doing: "read pointers",
        said: "its answer ends in the middle".to_owned(),
    }
}

/// Adds each pointer that one of the commits has and a parent of it has not, or has at another path; of all commits of a
/// history that is every pointer at every path. The answer is read as it comes: it may be long.
fn changed_blobs(
    root: &Path,
    commits: &[u8],
    add: &mut dyn FnMut(&str, &[u8]),
) -> Result<(), VersionError> {
    let args = [
        "diff-tree",
        "--stdin",
        "--root",
        "-m",
        "-r",
        "-z",
        "--raw",
        "--no-abbrev",
        "--no-renames",
        "--no-commit-id",
        "--",
        POINTERS,
    ];
    ask(root, "read the history", &args, commits, &mut |said| {
        let (mut about, mut path) = (Vec::new(), Vec::new());
        loop {
            about.clear();
            path.clear();
            if said.read_until(0, &mut about)? == 0 {
                return Ok(());
            }
            // `:MODE MODE BLOB BLOB STATUS`, old before new.
            let Some(told) = about.strip_prefix(b":") else {
                continue;
            };
            said.read_until(0, &mut path)?;
            let told = String::from_utf8_lossy(told);
            let told: Vec<&str> = told.split(' ').collect();
            let path = stands_for(path.strip_suffix(&[0]).unwrap_or(&path));
            if let ([_, mode, _, blob, ..], Some(path)) = (&told[..], path)
                && mode.starts_with("100")
            {
                add(blob, path);
            }
        }
    })
}

fn git(
    root: &Path,
    doing: &'static str,
    args: &[&str],
    input: &[u8],
) -> Result<Vec<u8>, VersionError> {
    let mut all = Vec::new();
    ask(root, doing, args, input, &mut |said| {
        said.read_to_end(&mut all).map(drop)
    })?;
    Ok(all)
}

/// Asks Git, and reads what it says as it comes.
fn ask(
    root: &Path,
    doing: &'static str,
    args: &[&str],
    input: &[u8],
    read: &mut dyn FnMut(&mut dyn BufRead) -> io::Result<()>,
) -> Result<(), VersionError> {
    let mut child = Command::new("git")
        .arg("-C")
        .arg(root)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(VersionError::NoGit)?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (has_read, complaint) = std::thread::scope(|scope| {
        // Beside the reading: any of the pipes may be full.
        let sent = scope.spawn(move || -> io::Result<()> {
            stdin.map_or(Ok(()), |mut stdin| stdin.write_all(input))
        });
        let complaint = scope.spawn(move || {
            let mut complaint = Vec::new();
            let _ = stderr.map(|mut stderr| stderr.read_to_end(&mut complaint));
            complaint
        });
        let has_read = match stdout {
            Some(stdout) => read(&mut BufReader::with_capacity(1 << 16, stdout)),
            None => Ok(()),
        };
        let _ = sent.join();
        (has_read, complaint.join().unwrap_or_default())
    });
    let status = child.wait().map_err(VersionError::NoGit)?;
    has_read.map_err(|error| VersionError::Git {
        doing,
        said: error.to_string(),
    })?;
    match status.success() {
        true => Ok(()),
        false => Err(VersionError::Git {
            doing,
            said: String::from_utf8_lossy(&complaint).trim().to_owned(),
        }),
    }
}
