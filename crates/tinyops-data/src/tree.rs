//! The files of a folder at a version: one line a file, sorted by path, and the digest of the text names the version.
//!
//! ```text
//! tinyops-tree 1
//! <digest> TAB <bytes> TAB <file or chunks> TAB <path>
//! ```
//! A path goes from the folder on, with `/`. Tab, line feed, carriage return and backslash in it are written `\t`, `\n`,
//! `\r`, `\\`; bytes that are no UTF-8 as `\x` and two hex digits. Whose paths could lead out of the folder, or to where
//! Git or TinyOps keeps things, is no tree.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, BufRead, Read as _};
use std::str::FromStr;

use tinyops_wire::id::Digest;

use crate::field::escaped;

/// The first line.
pub const TREE_HEADER: &str = "tinyops-tree 1\n";

/// Bytes of a line at most: what Linux takes as a path, each byte written in four.
const LINE_BYTES_MAX: u64 = 4 * 4096 + 200;

/// How the bytes of a file are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kept {
    /// As one object: the digest is that of the file.
    File,
    /// In pieces: the digest is that of their list ([`crate::chunk::Recipe`]).
    Chunks,
}

impl Kept {
    /// The word in a text.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Kept::File => "file",
            Kept::Chunks => "chunks",
        }
    }

    /// Reads the word.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Kept> {
        [Kept::File, Kept::Chunks]
            .into_iter()
            .find(|kept| kept.word() == word)
    }
}

/// What a file holds, and how that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Content {
    /// How.
    pub kept: Kept,
    /// The object's name.
    pub digest: Digest,
    /// Length of the file.
    pub bytes: u64,
}

/// One file of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeEntry {
    /// From the folder on, with `/`: the bytes of the name, which need not be UTF-8.
    pub path: Vec<u8>,
    /// What it holds.
    pub content: Content,
}

impl TreeEntry {
    /// Adds its line to a text.
    pub fn write_to(&self, text: &mut String) {
        let Content {
            kept,
            digest,
            bytes,
        } = &self.content;
        let (kept, path) = (kept.word(), shown(&self.path));
        writeln!(text, "{digest}\t{bytes}\t{kept}\t{path}").expect("a string takes any text");
    }
}

/// Why a text is no tree.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TreeError {
    /// The first line is another one.
    #[error("the first line is not `tinyops-tree 1`")]
    Header,
    /// A line is not an entry.
    #[error("line {row} of a list of files: {what}")]
    Line {
        /// The line, counted from 1.
        row: u64,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The text could not be read on.
    #[error("a list of files cannot be read")]
    Read(#[from] io::Error),
}

/// Reads the entries of a tree one by one, so that a million of them need no memory.
#[derive(Debug)]
pub struct TreeReader<R> {
    text: R,
    row: u64,
    last: Vec<u8>,
    /// Files whose names the last path begins with: only in these could the next one lie.
    above: Vec<Vec<u8>>,
    line: Vec<u8>,
}

impl<R: BufRead> TreeReader<R> {
    /// Begins with the first line.
    ///
    /// # Errors
    /// [`TreeError::Header`] and [`TreeError::Read`].
    pub fn new(mut text: R) -> Result<Self, TreeError> {
        let mut header = Vec::new();
        (&mut text)
            .take(TREE_HEADER.len() as u64)
            .read_to_end(&mut header)?;
        if header != TREE_HEADER.as_bytes() {
            return Err(TreeError::Header);
        }
        Ok(Self {
            text,
            row: 1,
            last: Vec::new(),
            above: Vec::new(),
            line: Vec::new(),
        })
    }

    /// The next entry; none at the end.
    ///
    /// # Errors
    /// [`TreeError::Line`] for a line that is not as it would be written, and what the reader says.
    pub fn read(&mut self) -> Result<Option<TreeEntry>, TreeError> {
        self.line.clear();
        self.row += 1;
        let fault = |row, what| TreeError::Line { row, what };
        let mut limited = (&mut self.text).take(LINE_BYTES_MAX);
        limited.read_until(b'\n', &mut self.line)?;
        if self.line.is_empty() {
            return Ok(None);
        }
        if self.line.pop() != Some(b'\n') {
            return Err(fault(
                self.row,
                "it ends without a line feed, or is too long",
            ));
        }
        let line =
            std::str::from_utf8(&self.line).map_err(|_| fault(self.row, "it is not UTF-8"))?;
        let entry = entry(line).map_err(|what| fault(self.row, what))?;
        let is_first = self.row == 2;
        if !is_first && self.last >= entry.path {
            return Err(fault(
                self.row,
                "its path does not come after the one before",
            ));
        }
        // A file `a` and a file `a/b` cannot both be: what stands between them in the order begins with `a`, too.
        let above = &mut self.above;
        while above.pop_if(|file| !entry.path.starts_with(file)).is_some() {}
        if above.iter().any(|file| lies_in(&entry.path, file)) {
            return Err(fault(self.row, "its path lies in a file"));
        }
        above.push(entry.path.clone());
        self.last.clone_from(&entry.path);
        Ok(Some(entry))
    }
}

impl<R: BufRead> Iterator for TreeReader<R> {
    type Item = Result<TreeEntry, TreeError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}

fn lies_in(path: &[u8], folder: &[u8]) -> bool {
    path.strip_prefix(folder)
        .is_some_and(|rest| rest.first() == Some(&b'/'))
}

fn entry(line: &str) -> Result<TreeEntry, &'static str> {
    let mut fields = line.split('\t');
    let mut field = || fields.next().ok_or("an entry has four fields");
    let (digest, bytes, kept, path) = (field()?, field()?, field()?, field()?);
    if fields.next().is_some() {
        return Err("an entry has four fields");
    }
    let path = unescaped(path).ok_or("its path is not written as paths are")?;
    if let Some(fault) = path_fault(&path) {
        return Err(fault);
    }
    Ok(TreeEntry {
        path,
        content: Content {
            kept: Kept::of_word(kept).ok_or("the third field is neither `file` nor `chunks`")?,
            digest: canonical(digest).ok_or("the first field is not a digest")?,
            bytes: canonical(bytes).ok_or("the second field is not a count")?,
        },
    })
}

/// Reads a field in the one form that it is written in: no sign, no leading zero, lower case.
pub(crate) fn canonical<T: FromStr + ToString>(field: &str) -> Option<T> {
    field
        .parse()
        .ok()
        .filter(|value: &T| value.to_string() == field)
}

/// What is wrong with a path inside a tracked folder; none if it leads to a place below it that may be written.
#[must_use]
pub fn path_fault(path: &[u8]) -> Option<&'static str> {
    if path.is_empty() {
        return Some("its path is empty");
    }
    for part in path.split(|byte| *byte == b'/') {
        let fault = match part {
            b"" => "its path is absolute, or a part of it is empty",
            b"." | b".." => "its path leads out of the folder",
            // Whoever writes there has commands run, by Git's hooks or by a key that is changed.
            part if is_reserved(part) => "its path leads to where Git or TinyOps keeps things",
            part if part.contains(&0) => "its path holds a zero byte",
            part if cfg!(windows) && part.iter().any(|byte| matches!(byte, b'\\' | b':')) => {
                "its path means another place on this system"
            }
            _ => continue,
        };
        return Some(fault);
    }
    None
}

/// Folders that no tracked path may lie in.
#[must_use]
pub fn is_reserved(part: &[u8]) -> bool {
    [&b".git"[..], b".tinyops"]
        .iter()
        .any(|reserved| part.eq_ignore_ascii_case(reserved))
}

/// A path as it is written in a tree, and shown: the same path gives the same text, and the other way round.
#[must_use]
pub fn shown(path: &[u8]) -> Cow<'_, str> {
    let is_plain = |text: &&str| !text.contains(['\t', '\n', '\r', '\\']);
    if let Some(text) = std::str::from_utf8(path).ok().filter(is_plain) {
        return Cow::Borrowed(text);
    }
    let mut text = String::with_capacity(path.len() + 8);
    for chunk in path.utf8_chunks() {
        text += &escaped(chunk.valid());
        for byte in chunk.invalid() {
            write!(text, "\\x{byte:02x}").expect("a string takes any text");
        }
    }
    Cow::Owned(text)
}

/// Reads what [`shown`] wrote; none for what it would not have written so.
fn unescaped(text: &str) -> Option<Vec<u8>> {
    if !text.contains('\\') {
        return (!text.contains('\r')).then(|| text.as_bytes().to_vec());
    }
    let mut path = Vec::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => match characters.next()? {
                't' => path.push(b'\t'),
                'n' => path.push(b'\n'),
                'r' => path.push(b'\r'),
                '\\' => path.push(b'\\'),
                'x' => {
                    let digits = [characters.next()?, characters.next()?];
                    let digits = digits.map(|digit| digit.to_digit(16));
                    let [Some(high), Some(low)] = digits else {
                        return None;
                    };
                    path.push(u8::try_from(high * 16 + low).ok()?);
                }
                _ => return None,
            },
            other => path.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    (shown(&path) == text).then_some(path)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(entries: &[TreeEntry]) -> String {
        let mut text = TREE_HEADER.to_owned();
        entries.iter().for_each(|entry| entry.write_to(&mut text));
        text
    }

    fn read(text: &[u8]) -> Result<Vec<TreeEntry>, TreeError> {
        TreeReader::new(text)?.collect()
    }

    fn entries() -> impl Strategy<Value = Vec<TreeEntry>> {
        let part = prop_oneof![
            "[a-c]{1,2}".prop_map(String::into_bytes),
            proptest::collection::vec(any::<u8>(), 1..4)
        ];
        let path = proptest::collection::vec(part, 1..3).prop_map(|parts| parts.join(&b'/'));
        let content = (any::<[u8; 32]>(), any::<u64>(), any::<bool>());
        proptest::collection::btree_map(path, content, 0..6).prop_map(|entries| {
            let mut kept: Vec<TreeEntry> = Vec::new();
            for (path, (digest, bytes, chunked)) in entries {
                let lies = kept.iter().any(|entry| lies_in(&path, &entry.path));
                if path_fault(&path).is_none() && !lies {
                    let content = Content {
                        kept: if chunked { Kept::Chunks } else { Kept::File },
                        digest: Digest(digest),
                        bytes,
                    };
                    kept.push(TreeEntry { path, content });
                }
            }
            kept
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(entries in entries()) {
            prop_assert_eq!(read(written(&entries).as_bytes()).expect("reads"), entries);
        }

        #[test]
        fn any_text_is_refused_or_canonical(entries in entries(), at in 0usize..400, byte in any::<u8>()) {
            let mut text = written(&entries).into_bytes();
            let at = at % text.len();
            text[at] = byte;
            if let Ok(read) = read(&text) {
                prop_assert_eq!(written(&read).into_bytes(), text);
            }
        }
    }

    #[test]
    fn hostile_paths_are_no_tree() {
        let digest = "0".repeat(64);
        let why = |path: &str| {
            let text = format!("tinyops-tree 1\n{digest}\t1\tfile\t{path}\n");
            read(text.as_bytes()).unwrap_err().to_string()
        };
        for path in ["../a", "a/../b", "a/..", "./a"] {
            assert!(why(path).contains("leads out"), "{path}: {}", why(path));
        }
        for path in ["/etc/passwd", "a//b", "a/"] {
            assert!(why(path).contains("absolute"), "{path}: {}", why(path));
        }
        for path in [".git/hooks/post-checkout", "a/.GIT/config", ".tinyops/key"] {
            assert!(why(path).contains("keeps things"), "{path}: {}", why(path));
        }
        assert!(why("").contains("empty"));
        assert!(why("a\0b").contains("zero byte"));
        // Written in another way than it would be: it could name a file twice.
        assert!(why("\\x61").contains("not written as paths are"));
        assert!(why("a\\").contains("not written as paths are"));
    }

    #[test]
    fn what_is_no_tree() {
        let why = |text: &str| read(text.as_bytes()).unwrap_err().to_string();
        let digest = "0".repeat(64);
        assert!(why("").contains("first line"));
        assert!(why("tinyops-tree 2\n").contains("first line"));
        let line = |text: &str| why(&format!("tinyops-tree 1\n{text}"));
        assert!(line("x\n").contains("four fields"));
        assert!(line("xyz\t1\tfile\ta\n").contains("not a digest"));
        assert!(line(&format!("{digest}\t01\tfile\ta\n")).contains("not a count"));
        assert!(line(&format!("{digest}\t1\tlink\ta\n")).contains("neither"));
        assert!(line(&format!("{digest}\t1\tfile\ta")).contains("line feed"));
        let two = |first: &str, second: &str| {
            line(&format!(
                "{digest}\t1\tfile\t{first}\n{digest}\t1\tfile\t{second}\n"
            ))
        };
        assert!(two("b", "a").contains("does not come after"));
        assert!(two("a", "a").contains("does not come after"));
        assert!(two("a", "a/b").contains("lies in a file"));
        let three = ["a", "a-b", "a/b"].map(|path| format!("{digest}\t1\tfile\t{path}\n"));
        assert!(line(&three.concat()).contains("lies in a file"));
        assert!(line(&"x".repeat(100_000)).contains("too long"));
    }
}
