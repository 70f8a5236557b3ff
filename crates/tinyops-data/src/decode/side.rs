//! Side files: labels or groups that stand beside the recordings.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::text::{self, Dialect};
use super::{Findings, gzip, idx};
use crate::finding::{Code, Finding};
use crate::sample::Role;

/// What a side file says.
#[derive(Clone, Debug, PartialEq)]
pub enum Side {
    /// One entry for each sample, in order.
    List(Vec<String>),
    /// Entries by path or name.
    ByName(BTreeMap<String, Entry>),
}

/// What a side file says of one file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Entry {
    /// One label for all of it.
    pub label: Option<String>,
    /// Labels of spans, first and last reading included.
    pub spans: Vec<(usize, usize, String)>,
    /// The side of the split.
    pub role: Option<Role>,
}

/// Reads a side file of any kind: `info.labels` and `structured_labels.labels` of Edge Impulse, IDX, `path,label` with
/// or without header, or one entry a line.
pub fn decode(bytes: &[u8], findings: &mut Findings<'_>) -> Side {
    let unpacked;
    let mut bytes = bytes;
    if gzip::is_gzip(bytes) {
        let (all, finding) = gzip::unpack_gzip(bytes);
        if let Some(finding) = finding {
            findings.push(finding);
        }
        unpacked = all;
        bytes = &unpacked;
    }
    if bytes.starts_with(&[0, 0, 8, 1]) || bytes.starts_with(&[0, 0, 0x0c, 1]) {
        return Side::List(idx::decode_labels(bytes, findings));
    }
    if bytes.trim_ascii_start().starts_with(b"{") {
        return edge_impulse(bytes, findings);
    }
    if let Some(finding) = text::not_text(bytes) {
        findings.push(finding);
        return Side::List(Vec::new());
    }
    let lines = text::lines(bytes).map(|(_, line)| line);
    let dialect = Dialect::sniff(lines.clone().take(16), None);
    let is_list = lines
        .clone()
        .take(16)
        .all(|line| dialect.cells(line).count() == 1);
    if is_list {
        return Side::List(lines.map(text::text).collect());
    }
    let mut entries = BTreeMap::new();
    for (row, line) in text::lines(bytes) {
        let mut cells = dialect.cells(line);
        match (cells.next(), cells.next()) {
            (Some(name), Some(label)) if !name.is_empty() => {
                let entry = Entry {
                    label: (!label.is_empty()).then(|| text::text(label)),
                    ..Entry::default()
                };
                entries.insert(text::text(name), entry);
            }
            _ => {
                let finding =
                    Finding::error(Code::SideFile, "a row has no name and label").at_row(row);
                findings.push(finding);
            }
        }
    }
    Side::ByName(entries)
}

/// Reads names of labels: `1 WALKING` a line.
pub fn decode_names(bytes: &[u8]) -> BTreeMap<String, String> {
    let lines = text::lines(bytes).map(|(_, line)| line);
    let dialect = Dialect::sniff(lines.clone().take(16), None);
    let names = lines.filter_map(|line| {
        let mut cells = dialect.cells(line);
        let (key, name) = (cells.next()?, cells.next()?);
        Some((text::text(key), text::text(name)))
    });
    names.collect()
}

#[derive(Deserialize)]
struct InfoLabels {
    #[serde(default)]
    files: Vec<InfoFile>,
    #[serde(default, rename = "structuredLabels")]
    structured: BTreeMap<String, Vec<Span>>,
}

#[derive(Deserialize)]
struct InfoFile {
    #[serde(default)]
    path: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    category: String,
    #[serde(default)]
    label: InfoLabel,
}

#[derive(Default, Deserialize)]
#[serde(untagged)]
enum InfoLabel {
    Text(String),
    Map {
        #[serde(default)]
        label: Option<String>,
        #[serde(default)]
        labels: Vec<Span>,
    },
    #[default]
    Other,
}

#[derive(Deserialize)]
struct Span {
    #[serde(rename = "startIndex")]
    start: usize,
    #[serde(rename = "endIndex")]
    end: usize,
    label: String,
}

fn edge_impulse(bytes: &[u8], findings: &mut Findings<'_>) -> Side {
    let info: InfoLabels = match serde_json::from_slice(bytes) {
        Ok(info) => info,
        Err(error) => {
            let finding = Finding::error(
                Code::Malformed,
                format!("the side file is not read: {error}"),
            );
            findings.push(finding.at_row(error.line() as u64));
            return Side::ByName(BTreeMap::new());
        }
    };
    let spans = |spans: Vec<Span>| {
        spans
            .into_iter()
            .map(|span| (span.start, span.end, span.label))
            .collect()
    };
    let mut entries = BTreeMap::new();
    for file in info.files {
        let (label, labels) = match file.label {
            InfoLabel::Text(label) => (Some(label), Vec::new()),
            InfoLabel::Map { label, labels } => (label, labels),
            InfoLabel::Other => (None, Vec::new()),
        };
        let entry = Entry {
            label,
            spans: spans(labels),
            // The other category, `training`, leaves room for validation and a split of the project's own.
            role: (file.category == "testing").then_some(Role::Test),
        };
        let key = if file.path.is_empty() {
            file.name
        } else {
            file.path
        };
        entries.insert(key, entry);
    }
    for (path, labels) in info.structured {
        entries.insert(
            path,
            Entry {
                spans: spans(labels),
                ..Entry::default()
            },
        );
    }
    Side::ByName(entries)
}

impl Side {
    /// What it says of a file: by its path from the source's root, from the side file's folder, or by its name alone.
    pub fn of_file(&self, path: &str, side_path: &str) -> Option<&Entry> {
        let Side::ByName(entries) = self else {
            return None;
        };
        let folder = side_path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let from_folder = path
            .strip_prefix(folder)
            .map(|path| path.trim_start_matches('/'));
        let name = path.rsplit('/').next();
        let keys = [Some(path), from_folder, name];
        keys.into_iter().flatten().find_map(|key| entries.get(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Report;
    use crate::spec::Missing;

    fn read(text: &str) -> Side {
        let mut report = Report::new();
        let side = decode(
            text.as_bytes(),
            &mut Findings::new("side", Missing::Refuse, &mut report),
        );
        assert_eq!(report.findings, []);
        side
    }

    #[test]
    fn lists_and_tables() {
        assert_eq!(
            read("5\n5\n2\n"),
            Side::List(vec!["5".into(), "5".into(), "2".into()])
        );
        let side = read("path,label\na/b.wav,on\nc.wav,\n");
        let label = |path| {
            side.of_file(path, "labels.csv")
                .and_then(|entry| entry.label.as_deref())
        };
        assert_eq!(label("a/b.wav"), Some("on"));
        assert_eq!(label("x/c.wav"), None);
        assert_eq!(decode_names(b"1 WALKING\n2 SITTING\n")["2"], "SITTING");
    }

    #[test]
    fn labels_of_an_export() {
        let side = read(
            r#"{"version":1,"files":[
                {"path":"testing/a.json","category":"testing","label":{"type":"label","label":"idle"}},
                {"path":"b.json","label":"walk"},
                {"path":"c.json","label":{"type":"multi-label","labels":[{"label":"x","startIndex":0,"endIndex":4}]}},
                {"path":"d.json","label":{"type":"unlabeled"}}]}"#,
        );
        let entry = side.of_file("export/testing/a.json", "export/info.labels");
        assert_eq!(entry.and_then(|entry| entry.role), Some(Role::Test));
        assert_eq!(entry.and_then(|entry| entry.label.as_deref()), Some("idle"));
        let spans = side
            .of_file("c.json", "info.labels")
            .map(|entry| entry.spans.clone());
        assert_eq!(spans, Some(vec![(0, 4, "x".to_owned())]));
    }
}
