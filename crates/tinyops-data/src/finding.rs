//! What is wrong, or worth knowing, in input data: findings with file and row, never just the first.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Findings of one kind in one file that are kept in full; the others are counted.
pub const DETAILED_PER_FILE: usize = 20;

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing; nothing was changed or left out.
    Note,
    /// The data can be used, but the result may not mean what it seems to.
    Warning,
    /// Data was left out, or the whole is not usable.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Error => "error",
        })
    }
}

/// The kind of a finding: stable, for programs and for `accept` in `tinyops.toml`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Code {
    /// A setting contradicts itself or the files.
    Setting,
    /// A pattern of a source matches no file.
    NoFile,
    /// A file could not be read.
    Unreadable,
    /// A file holds nothing.
    Empty,
    /// A file ends before what it promises.
    Truncated,
    /// The bytes are not of the format they should be of.
    Malformed,
    /// The format is right, but this variant of it is not read.
    Unsupported,
    /// A file asks for more memory than its size allows.
    TooLarge,
    /// A row has another number of columns than the first.
    RowWidth,
    /// A value that should be a number is something else.
    NotANumber,
    /// A reading is NaN or infinite.
    NotFinite,
    /// A column, channel or variable that was asked for is not there.
    MissingColumn,
    /// A signature does not fit its bytes.
    Signature,
    /// Timestamps go backwards or leave gaps.
    Time,
    /// No sampling rate is known.
    MissingRate,
    /// Samples of one dataset differ in rate.
    RateMismatch,
    /// Samples of one dataset differ in channels or units.
    ChannelMismatch,
    /// A sample has no label.
    MissingLabel,
    /// A label is not among the classes of the project.
    UnknownLabel,
    /// A side file has another number of entries than what it describes.
    SideFile,
    /// A channel never changes.
    Constant,
    /// A channel stays at its extremes.
    Clipped,
    /// A sample is shorter than the window.
    TooShort,
    /// Two samples hold the same readings.
    Duplicate,
    /// One class is much rarer than another.
    Imbalance,
    /// A class is missing from training or test.
    MissingClass,
    /// Training, validation or test holds nothing.
    EmptyPart,
    /// A group stands on both sides of the split.
    LeakGroup,
    /// Pieces of one recording stand on both sides of the split.
    LeakRecording,
    /// Files whose names show a common origin stand on both sides of the split.
    LeakFamily,
    /// The same readings stand on both sides of the split.
    LeakDuplicate,
    /// Almost the same readings, shifted or rescaled, stand on both sides of the split.
    LeakSimilar,
    /// A recording has another rate than the schema says.
    SchemaRate,
    /// A recording has other channels or units than the schema says.
    SchemaChannel,
    /// A recording is shorter or longer than the schema says.
    SchemaLength,
    /// A reading lies outside of its range in the schema.
    SchemaRange,
    /// A reading is no whole number, as the schema says.
    SchemaWhole,
    /// A channel repeats its readings more often than the schema says.
    SchemaHeld,
    /// A class that the schema does not know, or one that no recording is of.
    SchemaClass,
    /// A class is more or less frequent than the schema says.
    SchemaBalance,
    /// Readings are distributed otherwise than when the schema was made.
    SchemaDrift,
}

impl Code {
    /// Whether it says how recordings that can be read differ from the schema.
    #[must_use]
    pub fn is_of_schema(self) -> bool {
        matches!(
            self,
            Code::SchemaRate
                | Code::SchemaChannel
                | Code::SchemaLength
                | Code::SchemaRange
                | Code::SchemaWhole
                | Code::SchemaHeld
                | Code::SchemaClass
                | Code::SchemaBalance
                | Code::SchemaDrift
        )
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// One thing found, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// Its kind.
    pub code: Code,
    /// The file, as its source lists it; none if it is about the whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Where in the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// What, in one sentence without a full stop.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// A place in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// A line or row, counted from 1 as editors do.
    Row(u64),
    /// A byte, counted from 0.
    Offset(u64),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Row(row) => write!(f, "row {row}"),
            Place::Offset(offset) => write!(f, "byte {offset}"),
        }
    }
}

impl Finding {
    /// An error; place and hint can follow.
    pub fn error(code: Code, message: impl Into<String>) -> Finding {
        Finding::new(Severity::Error, code, message)
    }

    /// A warning; place and hint can follow.
    pub fn warning(code: Code, message: impl Into<String>) -> Finding {
        Finding::new(Severity::Warning, code, message)
    }

    /// A note; place and hint can follow.
    pub fn note(code: Code, message: impl Into<String>) -> Finding {
        Finding::new(Severity::Note, code, message)
    }

    fn new(severity: Severity, code: Code, message: impl Into<String>) -> Finding {
        Finding {
            severity,
            code,
            file: None,
            place: None,
            message: message.into(),
            hint: None,
        }
    }

    /// Says which file it is about.
    #[must_use]
    pub fn in_file(mut self, file: &str) -> Finding {
        self.file = Some(file.to_owned());
        self
    }

    /// Says which row it is about, counted from 1.
    #[must_use]
    pub fn at_row(mut self, row: u64) -> Finding {
        self.place = Some(Place::Row(row));
        self
    }

    /// Says which byte it is about, counted from 0.
    #[must_use]
    pub fn at_offset(mut self, offset: u64) -> Finding {
        self.place = Some(Place::Offset(offset));
        self
    }

    /// Says what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Finding {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]: ", self.severity, self.code)?;
        match (&self.file, &self.place) {
            (Some(file), Some(place)) => write!(f, "{file}, {place}: ")?,
            (Some(file), None) => write!(f, "{file}: ")?,
            (None, Some(place)) => write!(f, "{place}: ")?,
            (None, None) => {}
        }
        f.write_str(&self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, "\n  hint: {hint}")?;
        }
        Ok(())
    }
}

/// Everything found, in the order it was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The findings kept in full.
    pub findings: Vec<Finding>,
    /// How many more of a kind there were in a file, past [`DETAILED_PER_FILE`].
    pub more: Vec<More>,
    #[serde(skip)]
    counts: BTreeMap<(Option<String>, Code), usize>,
}

/// Findings of one kind in one file that were counted only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct More {
    /// The file; none if they are about the whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Their kind.
    pub code: Code,
    /// The gravest severity among them.
    pub severity: Severity,
    /// How many.
    pub count: usize,
}

impl Report {
    /// An empty report.
    pub fn new() -> Report {
        Report::default()
    }

    /// Adds a finding; past [`DETAILED_PER_FILE`] of a kind in a file it is only counted, so that a report stays
    /// readable and its memory bounded by the number of files.
    pub fn push(&mut self, finding: Finding) {
        let key = (finding.file.clone(), finding.code);
        let count = self.counts.entry(key).or_default();
        *count += 1;
        if *count <= DETAILED_PER_FILE {
            self.findings.push(finding);
            return;
        }
        let known = self
            .more
            .iter_mut()
            .find(|more| more.file == finding.file && more.code == finding.code);
        match known {
            Some(more) => {
                more.count += 1;
                more.severity = more.severity.max(finding.severity);
            }
            None => self.more.push(More {
                file: finding.file,
                code: finding.code,
                severity: finding.severity,
                count: 1,
            }),
        }
    }

    /// Adds all of another report.
    pub fn append(&mut self, other: Report) {
        for finding in other.findings {
            self.push(finding);
        }
        self.more.extend(other.more);
    }

    /// How many findings of a severity there are, counted ones included.
    pub fn count(&self, severity: Severity) -> usize {
        let full = self
            .findings
            .iter()
            .filter(|finding| finding.severity == severity);
        let counted = self.more.iter().filter(|more| more.severity == severity);
        full.count() + counted.map(|more| more.count).sum::<usize>()
    }

    /// Whether any finding is an error.
    pub fn has_errors(&self) -> bool {
        self.count(Severity::Error) > 0
    }

    /// Whether there are errors, and all of them say how recordings differ from the schema: then they can be read, and the
    /// answer is that they are not as they should be.
    pub fn is_refused_by_schema(&self) -> bool {
        let full = self
            .findings
            .iter()
            .map(|finding| (finding.severity, finding.code));
        let counted = self.more.iter().map(|more| (more.severity, more.code));
        let mut errors = full
            .chain(counted)
            .filter(|(severity, _)| *severity == Severity::Error)
            .peekable();
        errors.peek().is_some() && errors.all(|(_, code)| code.is_of_schema())
    }

    /// The findings of one kind that were kept in full.
    pub fn of(&self, code: Code) -> impl Iterator<Item = &Finding> {
        self.findings
            .iter()
            .filter(move |finding| finding.code == code)
    }

    /// Turns findings of the accepted kinds into notes: the project has seen them and says they are meant.
    pub fn accept(&mut self, codes: &[Code]) {
        for finding in &mut self.findings {
            if codes.contains(&finding.code) {
                finding.severity = Severity::Note;
            }
        }
        for more in &mut self.more {
            if codes.contains(&more.code) {
                more.severity = Severity::Note;
            }
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for severity in [Severity::Error, Severity::Warning, Severity::Note] {
            for finding in &self.findings {
                if finding.severity == severity {
                    writeln!(f, "{finding}")?;
                }
            }
            for more in &self.more {
                if more.severity == severity {
                    let file = more.file.as_deref().unwrap_or("the dataset");
                    writeln!(
                        f,
                        "{severity}[{}]: {file}: {} more of this kind",
                        more.code, more.count
                    )?;
                }
            }
        }
        write!(
            f,
            "{} errors, {} warnings, {} notes",
            self.count(Severity::Error),
            self.count(Severity::Warning),
            self.count(Severity::Note)
        )
    }
}
