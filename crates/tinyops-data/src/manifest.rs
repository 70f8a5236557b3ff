//! The text that names a dataset version: one line a sample, sorted, and its digest.
//!
//! ```text
//! tinyops-dataset 1
//! <digest> TAB <readings> TAB <role or -> TAB <label> TAB <group> TAB <name>
//! ```
//! Tab, line feed, carriage return and backslash inside a field are written `\t`, `\n`, `\r`, `\\`. A label is `none`,
//! `class NAME`, `segments FROM-TO NAME, …`, `value NUMBER` or `values DIGEST`.

use std::cmp::Ordering;
use std::fmt::Write as _;
use std::str::FromStr;

use tinyops_wire::id::{Digest, DigestBuilder};

use crate::dataset::Dataset;
use crate::field::{escaped, unescaped};
use crate::sample::{Label, Role};

const HEADER: &str = "tinyops-dataset 1";

/// All that a dataset holds, by name and digest. Its own digest is the dataset's version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// Sorted by name.
    pub entries: Vec<Entry>,
}

/// One sample of a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The sample's name.
    pub name: String,
    /// Digest of its readings, rate and channels.
    pub content: Digest,
    /// Readings per channel.
    pub len: usize,
    /// Its label as text.
    pub label: String,
    /// Its group.
    pub group: String,
    /// Its fixed role.
    pub role: Option<Role>,
}

/// What changed from one version to another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diff {
    /// In the new version only.
    pub added: Vec<Entry>,
    /// In the old version only.
    pub removed: Vec<Entry>,
    /// Under the same name in both, but different: old, then new.
    pub changed: Vec<(Entry, Entry)>,
}

/// Why a text is not a manifest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// The first line is another one.
    #[error("the first line is not `{HEADER}`")]
    Header,
    /// A line is not an entry.
    #[error("line {row}: {what}")]
    Line {
        /// The line, counted from 1.
        row: usize,
        /// What is wrong with it.
        what: &'static str,
    },
}

impl Manifest {
    /// Lists a dataset.
    pub fn of(dataset: &Dataset) -> Manifest {
        let entries = dataset.samples.iter().map(|sample| Entry {
            name: sample.name.clone(),
            content: sample.content_digest(),
            len: sample.len(),
            label: label_text(&sample.label),
            group: sample.group.clone(),
            role: sample.role,
        });
        let mut entries: Vec<Entry> = entries.collect();
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Manifest { entries }
    }

    /// The text: the same entries give the same bytes, always.
    pub fn encode(&self) -> String {
        let mut text = format!("{HEADER}\n");
        for entry in &self.entries {
            let role = entry.role.map_or("-", Role::as_str);
            let fields = [&entry.label, &entry.group, &entry.name].map(|field| escaped(field));
            let [label, group, name] = fields;
            let (content, len) = (entry.content, entry.len);
            writeln!(text, "{content}\t{len}\t{role}\t{label}\t{group}\t{name}")
                .expect("a string takes any text");
        }
        text
    }

    /// Reads what [`Manifest::encode`] wrote.
    ///
    /// # Errors
    /// [`ManifestError`] at the first line that is not canonical, so that equal manifests are equal texts.
    pub fn decode(text: &str) -> Result<Manifest, ManifestError> {
        let mut lines = text.split('\n');
        if lines.next() != Some(HEADER) {
            return Err(ManifestError::Header);
        }
        let mut entries: Vec<Entry> = Vec::new();
        let mut lines = lines.enumerate().peekable();
        while let Some((index, line)) = lines.next() {
            let row = index + 2;
            if line.is_empty() && lines.peek().is_none() {
                return Ok(Manifest { entries });
            }
            let entry = entry(line).map_err(|what| ManifestError::Line { row, what })?;
            if entries.last().is_some_and(|last| last.name >= entry.name) {
                let what = "its name does not come after the one before";
                return Err(ManifestError::Line { row, what });
            }
            entries.push(entry);
        }
        let row = entries.len() + 1;
        let what = "the text ends without a line feed";
        Err(ManifestError::Line { row, what })
    }

    /// The dataset's version: the digest of the text.
    pub fn digest(&self) -> Digest {
        Digest::of(self.encode().as_bytes())
    }

    /// What changed from this version to `newer`.
    pub fn diff(&self, newer: &Manifest) -> Diff {
        let mut diff = Diff::default();
        let (mut old, mut new) = (self.entries.as_slice(), newer.entries.as_slice());
        loop {
            let order = match (old.first(), new.first()) {
                (None, None) => return diff,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(old), Some(new)) => old.name.cmp(&new.name),
            };
            match order {
                Ordering::Less => diff.removed.extend(old.split_off_first().cloned()),
                Ordering::Greater => diff.added.extend(new.split_off_first().cloned()),
                Ordering::Equal => {
                    let pair = old.split_off_first().zip(new.split_off_first());
                    let pair = pair.filter(|(old, new)| old != new);
                    diff.changed
                        .extend(pair.map(|(old, new)| (old.clone(), new.clone())));
                }
            }
        }
    }
}

impl Diff {
    /// Whether both versions are the same.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }
}

fn label_text(label: &Label) -> String {
    match label {
        Label::None => "none".to_owned(),
        Label::Class(class) => format!("class {class}"),
        Label::Value(value) => format!("value {value}"),
        Label::Segments(segments) => {
            let segments = segments.iter().map(|segment| {
                let range = &segment.range;
                format!("{}-{} {}", range.start, range.end, segment.class)
            });
            format!("segments {}", segments.collect::<Vec<_>>().join(", "))
        }
        Label::Values(values) => {
            let mut digest = DigestBuilder::new();
            values
                .iter()
                .for_each(|value| digest.update(&value.to_bits().to_le_bytes()));
            format!("values {}", digest.finish())
        }
    }
}

fn entry(line: &str) -> Result<Entry, &'static str> {
    let fields: Vec<&str> = line.split('\t').collect();
    let [content, len, role, label, group, name] = fields[..] else {
        return Err("an entry has six fields");
    };
    let content: Digest = read(content).ok_or("the first field is not a digest")?;
    let len: usize = read(len).ok_or("the second field is not a count")?;
    let role = match role {
        "-" => None,
        "train" => Some(Role::Train),
        "validation" => Some(Role::Validation),
        "test" => Some(Role::Test),
        _ => return Err("the third field is not a role"),
    };
    let read_text = |field| {
        unescaped(field)
            .ok_or("a backslash is followed by another character, or a carriage return is bare")
    };
    let entry = Entry {
        name: read_text(name)?,
        content,
        len,
        label: read_text(label)?,
        group: read_text(group)?,
        role,
    };
    Ok(entry)
}

/// Reads a field in the one form that it is written in: no sign, no leading zero, lower case.
fn read<T: FromStr + ToString>(field: &str) -> Option<T> {
    field
        .parse()
        .ok()
        .filter(|value: &T| value.to_string() == field)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn manifest() -> impl Strategy<Value = Manifest> {
        let role = prop_oneof![
            Just(None),
            Just(Some(Role::Train)),
            Just(Some(Role::Validation)),
            Just(Some(Role::Test))
        ];
        let entry = (
            any::<[u8; 32]>(),
            any::<u32>(),
            "[a\t\\\\ \r\n]{0,4}",
            "\\PC{0,4}",
            role,
        );
        proptest::collection::btree_map("[ab\t\n\\\\]{0,3}", entry, 0..6).prop_map(|entries| {
            let entries = entries
                .into_iter()
                .map(|(name, (digest, len, label, group, role))| Entry {
                    name,
                    content: Digest(digest),
                    len: len as usize,
                    label,
                    group,
                    role,
                });
            Manifest {
                entries: entries.collect(),
            }
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(manifest in manifest()) {
            prop_assert_eq!(Manifest::decode(&manifest.encode()), Ok(manifest));
        }

        #[test]
        fn a_diff_leads_from_old_to_new(old in manifest(), new in manifest()) {
            let diff = old.diff(&new);
            let mut entries = old.entries.clone();
            entries.retain(|entry| !diff.removed.contains(entry));
            for entry in &mut entries {
                if let Some((_, changed)) = diff.changed.iter().find(|(before, _)| before == entry) {
                    *entry = changed.clone();
                }
            }
            entries.extend(diff.added.iter().cloned());
            entries.sort_by(|a, b| a.name.cmp(&b.name));
            prop_assert_eq!(diff.is_empty(), old == new);
            prop_assert_eq!(Manifest { entries }, new);
        }

        #[test]
        fn any_text_is_refused_or_canonical(manifest in manifest(), at in 0usize..400, byte in 0u8..128) {
            let mut text = manifest.encode().into_bytes();
            let at = at % text.len();
            text[at] = byte;
            if let Ok(text) = String::from_utf8(text) && let Ok(read) = Manifest::decode(&text) {
                prop_assert_eq!(read.encode(), text);
            }
        }
    }

    #[test]
    fn what_is_no_manifest() {
        let line = |row, what| Err(ManifestError::Line { row, what });
        assert_eq!(Manifest::decode(""), Err(ManifestError::Header));
        assert_eq!(
            Manifest::decode("tinyops-dataset 2\n"),
            Err(ManifestError::Header)
        );
        assert_eq!(
            Manifest::decode("tinyops-dataset 1\nx"),
            line(2, "an entry has six fields")
        );
        assert_eq!(
            Manifest::decode("tinyops-dataset 1"),
            line(1, "the text ends without a line feed")
        );
        let digest = "0".repeat(64);
        assert_eq!(
            Manifest::decode(&format!(
                "tinyops-dataset 1\n{digest}\t1\ttest\ta\tb\tc\r\n"
            )),
            line(
                2,
                "a backslash is followed by another character, or a carriage return is bare"
            )
        );
    }
}
