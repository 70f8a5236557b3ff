//! The history of a project's labels: who said what of which recordings, when and why, and what holds of it now.
//!
//! ```text
//! tinyops-labels 1
//! <moment> TAB <who> TAB <act> TAB <what> TAB <label> TAB <why>
//! ```
//! Lines are only ever added, so that two people's files are joined by taking the lines of both. An act is `set` (of a
//! recording), `range FROM-TO` (of readings in it, counted from 0, the last not included), `rule` (of all recordings
//! whose `field=pattern` fits), `keep` (a doubt about a recording's label was looked into: it is right) or `undo` (of an
//! entry, by its id). A later entry beats an earlier one, and all beat what path, column and side file say. An empty
//! label takes a label away. Tab, line feed, carriage return and backslash are written `\t`, `\n`, `\r`, `\\`.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use tinyops_wire::id::Digest;

use crate::annotate::whole_of;
use crate::field::{escaped, unescaped};
use crate::finding::{Code, Finding};
use crate::pattern::Pattern;
use crate::sample::{Label, Sample, Segment};

/// What the file is called in the project's folder.
pub const FILE_NAME: &str = "labels.tsv";

const HEADER: &str = "tinyops-labels 1";

/// Every entry, in the order of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// Oldest first.
    pub entries: Vec<Entry>,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When, as `2026-11-29T21:50:00.125Z`; texts of one zone sort as moments do.
    pub at: String,
    /// Who.
    pub who: String,
    /// What was done.
    pub act: Act,
    /// Why; may be empty.
    pub why: String,
}

/// What an entry does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// The whole of a recording is of a class; of none if the label is empty.
    Set {
        /// Its name in the dataset.
        recording: String,
        /// The class.
        label: String,
    },
    /// Some readings of a recording are of a class; the others stay what they are.
    Range {
        /// Its name in the dataset.
        recording: String,
        /// Which readings.
        readings: Range<usize>,
        /// The class.
        label: String,
    },
    /// All recordings that fit are of a class.
    Rule {
        /// `name`, `group`, `label`, or the name of metadata.
        field: String,
        /// A pattern as in `files`.
        pattern: String,
        /// The class.
        label: String,
    },
    /// A recording's label was doubted, and is right.
    Keep {
        /// Its name in the dataset.
        recording: String,
        /// The label that it had and keeps.
        label: String,
    },
    /// An entry holds no more.
    Undo {
        /// Its id.
        id: String,
    },
}

/// Why a text is no history.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("row {row}: {what}")]
pub struct HistoryError {
    /// The row, counted from 1.
    pub row: usize,
    /// What is wrong with it.
    pub what: &'static str,
}

impl Entry {
    /// The line, without its end.
    pub fn encode(&self) -> String {
        let (act, what, label) = match &self.act {
            Act::Set { recording, label } => ("set".to_owned(), recording.clone(), label.as_str()),
            Act::Range {
                recording,
                readings,
                label,
            } => (
                format!("range {}-{}", readings.start, readings.end),
                recording.clone(),
                label.as_str(),
            ),
            Act::Rule {
                field,
                pattern,
                label,
            } => (
                "rule".to_owned(),
                format!("{field}={pattern}"),
                label.as_str(),
            ),
            Act::Keep { recording, label } => {
                ("keep".to_owned(), recording.clone(), label.as_str())
            }
            Act::Undo { id } => ("undo".to_owned(), id.clone(), ""),
        };
        [&self.at, &self.who, &act, &what, label, &self.why]
            .map(escaped)
            .join("\t")
    }

    /// Eight hex digits that name it: of the digest of its line.
    pub fn id(&self) -> String {
        let digest = Digest::of(self.encode().as_bytes()).to_string();
        digest[..8].to_owned()
    }

    fn decode(line: &str) -> Result<Entry, &'static str> {
        let fields = line.split('\t').map(unescaped);
        let fields: Option<Vec<String>> = fields.collect();
        let mut fields = fields.ok_or("a backslash is followed by another character")?;
        if fields.len() == 4 || fields.len() == 5 {
            // Some editors take tabs at the end of a line away: an empty label and no reason.
            fields.resize(6, String::new());
        }
        let Ok([at, who, act, what, label, why]) = <[String; 6]>::try_from(fields) else {
            return Err("an entry has six fields");
        };
        let act = match act.split_once(' ') {
            None => match act.as_str() {
                "set" => Act::Set {
                    recording: what,
                    label,
                },
                "keep" => Act::Keep {
                    recording: what,
                    label,
                },
                "undo" => Act::Undo { id: what },
                "rule" => {
                    let (field, pattern) =
                        what.split_once('=').ok_or("a rule is of `field=pattern`")?;
                    Pattern::new(pattern).map_err(|_| "the pattern of a rule is none")?;
                    Act::Rule {
                        field: field.to_owned(),
                        pattern: pattern.to_owned(),
                        label,
                    }
                }
                _ => return Err("an act is `set`, `range FROM-TO`, `rule`, `keep` or `undo`"),
            },
            Some(("range", span)) => Act::Range {
                recording: what,
                readings: range(span).ok_or("a range is FROM-TO, of readings")?,
                label,
            },
            Some(_) => return Err("an act is `set`, `range FROM-TO`, `rule`, `keep` or `undo`"),
        };
        Ok(Entry { at, who, act, why })
    }
}

/// Reads `100-250`: the first reading, and the first behind the last.
pub fn range(text: &str) -> Option<Range<usize>> {
    let (start, end) = text.split_once('-')?;
    let range = start.parse().ok()?..end.parse().ok()?;
    (range.start < range.end).then_some(range)
}

impl History {
    /// The text before the first entry.
    pub fn header() -> String {
        format!("{HEADER}\n")
    }

    /// Reads a file. Line ends of other machines, and empty lines that a join may leave, are taken.
    ///
    /// # Errors
    /// [`HistoryError`] at the first line that is no entry.
    pub fn decode(text: &str) -> Result<History, HistoryError> {
        let mut lines = text.lines().enumerate();
        if lines.next().is_none_or(|(_, first)| first != HEADER) {
            let what = "the first line is not `tinyops-labels 1`";
            return Err(HistoryError { row: 1, what });
        }
        let mut entries = Vec::new();
        // A join of two files may leave both first lines.
        let is_entry = |(_, line): &(usize, &str)| !line.is_empty() && *line != HEADER;
        for (index, line) in lines.filter(is_entry) {
            let row = index + 1;
            let entry = Entry::decode(line).map_err(|what| HistoryError { row, what })?;
            entries.push(entry);
        }
        Ok(History { entries })
    }

    /// The entries that hold, oldest first: those that were not undone. An undo may be undone.
    pub fn in_force(&self) -> impl Iterator<Item = &Entry> {
        let mut undone = BTreeSet::new();
        for entry in self.entries.iter().rev() {
            if let Act::Undo { id } = &entry.act
                && !undone.contains(&entry.id())
            {
                undone.insert(id.clone());
            }
        }
        let holds = move |entry: &&Entry| !undone.contains(&entry.id());
        self.entries.iter().filter(holds)
    }

    /// The labels that were doubted and are right: recording and label.
    pub fn kept(&self) -> BTreeSet<(String, String)> {
        let kept = self.in_force().filter_map(|entry| match &entry.act {
            Act::Keep { recording, label } => Some((recording.clone(), label.clone())),
            _ => None,
        });
        kept.collect()
    }

    /// Gives recordings the labels that the history says; what names no recording is a warning.
    pub fn apply(&self, samples: &mut [Sample], findings: &mut Vec<Finding>) {
        if self.entries.is_empty() {
            return;
        }
        let mut by_name: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (index, sample) in samples.iter().enumerate() {
            by_name.entry(sample.name.clone()).or_default().push(index);
            // A piece of a recording that was cut is meant as well where the whole is named.
            if let Some(whole) = whole_of(&sample.name)
                && sample.origin.cut.is_some()
            {
                by_name.entry(whole.to_owned()).or_default().push(index);
            }
        }
        for entry in self.in_force() {
            let lost = match &entry.act {
                Act::Set { recording, label } => {
                    let found = by_name.get(recording);
                    for &index in found.into_iter().flatten() {
                        samples[index].label = of_text(label);
                    }
                    found.is_none().then_some(recording)
                }
                Act::Range {
                    recording,
                    readings,
                    label,
                } => {
                    let found = by_name.get(recording);
                    for &index in found.into_iter().flatten() {
                        overlay(&mut samples[index], readings, label);
                    }
                    found.is_none().then_some(recording)
                }
                Act::Rule {
                    field,
                    pattern,
                    label,
                } => {
                    by_rule(samples, field, pattern, label);
                    None
                }
                Act::Keep { .. } | Act::Undo { .. } => None,
            };
            if let Some(recording) = lost {
                let message = format!(
                    "entry {} of {} labels `{recording}`, which is not there",
                    entry.id(),
                    entry.at
                );
                let finding = Finding::warning(Code::SideFile, message).in_file(FILE_NAME);
                findings.push(finding.hint("`tinyops data label undo` takes an entry back"));
            }
        }
    }
}

fn of_text(label: &str) -> Label {
    match label {
        "" => Label::None,
        label => Label::Class(label.to_owned()),
    }
}

fn by_rule(samples: &mut [Sample], field: &str, pattern: &str, label: &str) {
    let Ok(pattern) = Pattern::new(pattern) else {
        return;
    };
    for sample in samples {
        let fits = |text: &str| pattern.matches(text).is_some();
        let is_meant = match field {
            "name" => fits(&sample.name),
            "group" => fits(&sample.group),
            "label" => matches!(&sample.label, Label::Class(class) if fits(class)),
            other => sample.metadata.get(other).is_some_and(|value| fits(value)),
        };
        if is_meant {
            sample.label = of_text(label);
        }
    }
}

/// Labels some readings; what the others were they stay.
fn overlay(sample: &mut Sample, readings: &Range<usize>, label: &str) {
    let len = sample.len();
    let over = readings.start.min(len)..readings.end.min(len);
    if over.is_empty() {
        return;
    }
    let old = match std::mem::take(&mut sample.label) {
        Label::Segments(segments) => segments,
        Label::Class(class) => vec![Segment {
            range: 0..len,
            class,
        }],
        Label::None => Vec::new(),
        // A value is no class; nothing is laid over it.
        other => {
            sample.label = other;
            return;
        }
    };
    let mut segments = Vec::with_capacity(old.len() + 2);
    for segment in old {
        let Segment { range, class } = segment;
        let before = range.start..range.end.min(over.start);
        let after = range.start.max(over.end)..range.end;
        for range in [before, after] {
            if !range.is_empty() {
                let class = class.clone();
                segments.push(Segment { range, class });
            }
        }
    }
    if !label.is_empty() {
        segments.push(Segment {
            range: over,
            class: label.to_owned(),
        });
    }
    segments.sort_by_key(|segment| segment.range.start);
    segments.dedup_by(|next, last| {
        let is_one = last.class == next.class && last.range.end == next.range.start;
        if is_one {
            last.range.end = next.range.end;
        }
        is_one
    });
    sample.label = match segments.as_slice() {
        [one] if one.range == (0..len) => Label::Class(one.class.clone()),
        _ => Label::Segments(segments),
    };
}

#[cfg(test)]
#[path = "history_tests.rs"]
mod tests;
