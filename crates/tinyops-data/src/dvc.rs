//! What DVC writes down of the files it tracks: `*.dvc`, `dvc.lock`, and lists of folders.
//!
//! Of YAML only that is read which DVC writes: block lists of block maps, indented by spaces, with scalars in one line.

use serde::Deserialize;

use crate::tree::path_fault;

/// Bytes of a list of a folder at most: ten million files.
pub const LIST_BYTES_MAX: u64 = 1 << 30;

/// One output: a file or folder, and its digest by DVC's measure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DvcOutput {
    /// From the folder of the `.dvc` file on, or from where its `wdir` leads.
    pub path: String,
    /// 32 hex digits, and `.dir` of a folder; none where DVC has not run the stage yet.
    pub md5: Option<String>,
    /// Whether DVC keeps it.
    pub is_cached: bool,
    /// Whether a DVC of before version 3 noted it: then digests of texts are of their lines as Unix ends them.
    pub is_legacy: bool,
}

/// The outputs of a `.dvc` file or a `dvc.lock`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DvcFile {
    /// Where its paths begin, from its own folder on.
    pub folder: String,
    /// In the order of the file.
    pub outputs: Vec<DvcOutput>,
}

/// Why a text is none of DVC's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DvcError {
    /// A line that DVC does not write.
    #[error("line {row}: {what}")]
    Line {
        /// The line, counted from 1.
        row: usize,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A list of a folder that is none.
    #[error("it is no list of files: {0}")]
    List(String),
}

/// Reads a `.dvc` file or a `dvc.lock`: the outputs of all its stages.
///
/// # Errors
/// [`DvcError::Line`].
pub fn read(text: &str) -> Result<DvcFile, DvcError> {
    let mut file = DvcFile::default();
    // The indentation of the list of outputs that is read, and of the keys of its item.
    let (mut list, mut keys): (Option<usize>, Option<usize>) = (None, None);
    for (index, line) in text.lines().enumerate() {
        let fault = |what| DvcError::Line {
            row: index + 1,
            what,
        };
        let trimmed = line.trim_start_matches(' ');
        if trimmed.is_empty() || trimmed.starts_with('#') {
            continue;
        }
        if trimmed.starts_with('\t') {
            return Err(fault("it is indented by a tab"));
        }
        let mut indent = line.len() - trimmed.len();
        let mut content = trimmed.trim_end();
        let is_item = content == "-" || content.starts_with("- ");
        if list.is_some_and(|list| indent < list || (indent == list && !is_item)) {
            (list, keys) = (None, None);
        }
        let Some(of_list) = list else {
            match pair(content) {
                Some(("outs", "")) => list = Some(indent),
                Some(("wdir", value)) if indent == 0 => {
                    file.folder = scalar(value).ok_or_else(|| fault("it is no text"))?;
                }
                _ => {}
            }
            continue;
        };
        if is_item && keys.is_none_or(|keys| indent < keys) {
            // Items stand below the word `outs`, or as far to the left as it.
            if indent < of_list {
                continue;
            }
            let rest = content[1..].trim_start_matches(' ');
            indent += content.len() - rest.len();
            content = rest;
            keys = Some(indent);
            file.outputs.push(DvcOutput {
                path: String::new(),
                md5: None,
                is_cached: true,
                is_legacy: true,
            });
        }
        // What is deeper is more about an output than is asked.
        if keys != Some(indent) {
            continue;
        }
        let output = file.outputs.last_mut().expect("its keys have an item");
        let Some((key, value)) = pair(content) else {
            return Err(fault("it is neither `key: value` nor an item of a list"));
        };
        let text = || scalar(value).ok_or_else(|| fault("it is no text in one line"));
        match key {
            "path" => output.path = text()?,
            "md5" => output.md5 = Some(text()?),
            "cache" => output.is_cached = text()? != "false",
            // Version 3 began to name the measure, and to take bytes as they are.
            "hash" => output.is_legacy = text()? != "md5",
            _ => {}
        }
    }
    for output in &file.outputs {
        if output.path.is_empty() {
            return Err(DvcError::Line {
                row: 1,
                what: "an output has no path",
            });
        }
        if output.md5.as_deref().is_some_and(|md5| !is_md5(md5)) {
            return Err(DvcError::Line {
                row: 1,
                what: "an `md5` has not 32 hex digits",
            });
        }
    }
    Ok(file)
}

/// Reads the list of a folder: path and digest of each file, sorted by path.
///
/// # Errors
/// [`DvcError::List`]; a path that leads out of the folder is none.
pub fn read_list(bytes: &[u8]) -> Result<Vec<(Vec<u8>, String)>, DvcError> {
    #[derive(Deserialize)]
    struct Item {
        md5: String,
        relpath: String,
    }
    let items: Vec<Item> =
        serde_json::from_slice(bytes).map_err(|error| DvcError::List(error.to_string()))?;
    let mut files = Vec::with_capacity(items.len());
    for item in items {
        if let Some(fault) = path_fault(item.relpath.as_bytes()) {
            return Err(DvcError::List(format!("`{}`: {fault}", item.relpath)));
        }
        if !is_md5(&item.md5) || item.md5.ends_with(".dir") {
            return Err(DvcError::List(format!("`{}` has no digest", item.relpath)));
        }
        files.push((item.relpath.into_bytes(), item.md5));
    }
    files.sort();
    let is_twice = |pair: &[(Vec<u8>, String)]| pair[0].0 == pair[1].0;
    match files.windows(2).find(|pair| is_twice(pair)) {
        None => Ok(files),
        Some(pair) => Err(DvcError::List(format!(
            "`{}` comes twice",
            String::from_utf8_lossy(&pair[0].0)
        ))),
    }
}

fn is_md5(text: &str) -> bool {
    let digits = text.strip_suffix(".dir").unwrap_or(text);
    digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn pair(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.split_once(':')?;
    let is_key = value.is_empty() || value.starts_with(' ');
    is_key.then(|| (key.trim_matches(['\'', '"']), value.trim()))
}

/// A text in one line: plain, or in quotes.
fn scalar(text: &str) -> Option<String> {
    if let Some(quoted) = text.strip_prefix('\'') {
        return Some(quoted.strip_suffix('\'')?.replace("''", "'"));
    }
    if text.starts_with('"') {
        // What YAML escapes in double quotes is what JSON does, as far as paths go.
        return serde_json::from_str(text).ok();
    }
    let plain = text.split(" #").next().unwrap_or_default().trim_end();
    let is_plain =
        !plain.is_empty() && !plain.starts_with(['|', '>', '&', '*', '!', '{', '[', '%', '@']);
    is_plain.then(|| plain.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MD5: &str = "0123456789abcdef0123456789abcdef";

    fn output(path: &str, md5: Option<&str>, is_cached: bool) -> DvcOutput {
        DvcOutput {
            is_legacy: true,
            path: path.to_owned(),
            md5: md5.map(str::to_owned),
            is_cached,
        }
    }

    #[test]
    fn what_dvc_add_writes() {
        let text =
            format!("outs:\n- md5: {MD5}.dir\n  size: 36\n  nfiles: 6\n  hash: md5\n  path: rec\n");
        let folder = format!("{MD5}.dir");
        let read = read(&text).expect("reads");
        let expected = DvcOutput {
            is_legacy: false,
            ..output("rec", Some(&folder), true)
        };
        assert_eq!(read.outputs, [expected]);
    }

    #[test]
    fn what_other_commands_write() {
        let text = format!(
            "md5: {MD5}\nfrozen: true\nwdir: ../raw # there\ndeps:\n- path: other\n  md5: {MD5}\nouts:\n  - path: 'it''s'\n    md5: {MD5}\n    meta:\n      path: no\n      outs:\n      - path: neither\n  - path: \"a b\"\n    cache: false\n  - md5: {MD5}\n    path: c: d\nmeta:\n  path: no\n"
        );
        let read = read(&text).expect("reads");
        assert_eq!(read.folder, "../raw");
        let expected = [
            output("it's", Some(MD5), true),
            output("a b", None, false),
            output("c: d", Some(MD5), true),
        ];
        assert_eq!(read.outputs, expected);
    }

    #[test]
    fn what_dvc_lock_holds() {
        let text = format!(
            "schema: '2.0'\nstages:\n  cut:\n    cmd: python cut.py\n    deps:\n    - path: raw\n      md5: {MD5}\n    outs:\n    - path: windows\n      hash: md5\n      md5: {MD5}.dir\n      size: 4\n  fit:\n    cmd:\n    - a\n    - b\n    params:\n      params.yaml:\n        rate: 1\n    outs:\n    - path: net.tflite\n      md5: {MD5}\n"
        );
        let paths = |file: DvcFile| {
            file.outputs
                .into_iter()
                .map(|output| output.path)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            paths(read(&text).expect("reads")),
            ["windows", "net.tflite"]
        );
    }

    #[test]
    fn what_is_none_of_dvcs() {
        assert!(read("outs:\n- path: x\n  md5: ../../etc\n").is_err());
        assert!(read("outs:\n- md5: 0\n").is_err());
        assert!(read("outs:\n\t- path: x\n").is_err());
        assert!(read("outs:\n- path: |\n    x\n").is_err());
        assert_eq!(read("nothing of it"), Ok(DvcFile::default()));
    }

    #[test]
    fn lists_of_folders() {
        let list = format!(
            r#"[{{"md5": "{MD5}", "relpath": "b"}}, {{"md5": "{MD5}", "relpath": "a/c"}}]"#
        );
        let read = read_list(list.as_bytes()).expect("reads");
        assert_eq!(read[0], (b"a/c".to_vec(), MD5.to_owned()));
        for path in ["../x", "/x", ".git/config", ""] {
            let list = format!(r#"[{{"md5": "{MD5}", "relpath": "{path}"}}]"#);
            assert!(read_list(list.as_bytes()).is_err(), "{path}");
        }
        let twice =
            format!(r#"[{{"md5": "{MD5}", "relpath": "b"}}, {{"md5": "{MD5}", "relpath": "b"}}]"#);
        assert!(read_list(twice.as_bytes()).is_err());
        assert!(read_list(b"{}").is_err());
    }
}
