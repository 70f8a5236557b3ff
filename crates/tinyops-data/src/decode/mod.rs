//! From the bytes of one file to its recordings, whatever the bytes are.
//!
//! No decoder panics, and none takes more memory than a small multiple of its input: a header is believed only as far
//! as bytes follow it. What can be read is returned even where something is wrong; what is wrong is in the report.

pub mod cbor;
pub mod columns;
pub mod edge_impulse;
pub mod gzip;
pub mod idx;
pub mod lines;
pub mod mat;
pub mod side;
pub mod table;
mod text;
pub mod wav;

use std::collections::BTreeMap;

use crate::finding::{Code, Finding, Report, Severity};
use crate::sample::{Channel, ImageSize, Label};
use crate::spec::{Format, Missing, SourceSpec};

/// What a decoder found in a file: one recording of it, before labels, groups and units of the project apply.
///
/// # Shapes
/// `readings` is `[reading, channel]`. A reading that is missing is NaN; it is in the report.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recording {
    /// Which part of the file: a row, a variable, an engine; empty if the file is one recording.
    pub part: String,
    /// First row in the file, counted from 1; 0 if the format has no rows.
    pub row: u64,
    /// Readings per second, if the file says.
    pub rate_hz: Option<f32>,
    /// Names and units, as far as the file says.
    pub channels: Vec<Channel>,
    /// Interleaved.
    pub readings: Vec<f32>,
    /// If it is an image.
    pub image: Option<ImageSize>,
    /// From a column.
    pub label: Label,
    /// From a column.
    pub group: Option<String>,
    /// What else the file says.
    pub metadata: BTreeMap<String, String>,
}

/// Where a decoder says what it found: a report, and the file it is about.
pub struct Findings<'a> {
    file: &'a str,
    report: &'a mut Report,
    missing: Severity,
}

impl<'a> Findings<'a> {
    /// Findings about `file`; missing readings weigh as `missing` says.
    pub fn new(file: &'a str, missing: Missing, report: &'a mut Report) -> Findings<'a> {
        let missing = match missing {
            Missing::Refuse => Severity::Error,
            Missing::Hold => Severity::Warning,
        };
        Findings {
            file,
            report,
            missing,
        }
    }

    /// Adds a finding about this file.
    pub fn push(&mut self, finding: Finding) {
        self.report.push(finding.in_file(self.file));
    }

    /// Adds a reading that is empty, NaN or infinite.
    pub(crate) fn missing(&mut self, finding: Finding) {
        let severity = self.missing;
        self.push(Finding {
            severity,
            ..finding
        });
    }

    /// Adds one finding for each channel with readings that are not finite, by their index.
    pub(crate) fn not_finite(&mut self, recording: &Recording) {
        let width = recording.channels.len().max(1);
        for (index, channel) in recording.channels.iter().enumerate() {
            let readings = recording.readings.iter().skip(index).step_by(width);
            let mut lost = readings
                .enumerate()
                .filter(|(_, reading)| !reading.is_finite());
            if let Some((first, _)) = lost.next() {
                let count = lost.count() + 1;
                let message = format!(
                    "channel `{}`{} has {count} readings that are not finite, the first at index {first}",
                    channel.name,
                    of_part(&recording.part),
                );
                self.missing(
                    Finding::error(Code::NotFinite, message)
                        .at_row(recording.row.max(1).saturating_add(first as u64))
                        .hint("mend the file, or set `missing = \"hold\"`"),
                );
            }
        }
    }
}

fn of_part(part: &str) -> String {
    if part.is_empty() {
        String::new()
    } else {
        format!(" of `{part}`")
    }
}

/// Decodes the files of one recording set: one file, or one for each channel of [`Format::Lines`].
///
/// `files` are names of channels (empty for other formats) and unpacked bytes; `key` is the HMAC key of signed samples.
pub fn decode(
    format: Format,
    files: &[(String, Vec<u8>)],
    spec: &SourceSpec,
    key: Option<&[u8]>,
    findings: &mut Findings<'_>,
) -> Vec<Recording> {
    let Some((_, bytes)) = files.first() else {
        return Vec::new();
    };
    if files.iter().any(|(_, bytes)| bytes.is_empty()) {
        let finding = Finding::error(Code::Empty, "the file is empty");
        findings.push(finding.hint("record it again, or leave it out with `exclude`"));
        return Vec::new();
    }
    match format {
        Format::Lines => lines::decode(files, spec, findings),
        Format::Auto | Format::Table => table::decode(bytes, spec, findings),
        Format::Wav => wav::decode(bytes, findings).into_iter().collect(),
        Format::Mat => mat::decode(bytes, &spec.channels, findings)
            .into_iter()
            .collect(),
        Format::Idx => idx::decode(bytes, findings),
        Format::EiJson | Format::EiCbor => {
            let recording = edge_impulse::decode(bytes, format, key, findings);
            recording.into_iter().collect()
        }
    }
}

/// The format that a file's name tells, if any.
pub fn format_of(path: &str) -> Option<Format> {
    let name = path.rsplit('/').next().unwrap_or(path).to_ascii_lowercase();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    match extension {
        "csv" | "tsv" | "dat" | "txt" => Some(Format::Table),
        "wav" => Some(Format::Wav),
        "mat" => Some(Format::Mat),
        "idx" => Some(Format::Idx),
        "json" => Some(Format::EiJson),
        "cbor" => Some(Format::EiCbor),
        _ if name.ends_with("-ubyte") => Some(Format::Idx),
        _ => None,
    }
}
