//! The `[data]` part of `tinyops.toml`: sources, windows, split.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::finding::Code;
use crate::sample::Role;

/// `[data]`: where recordings lie, what they are, how they are cut and split.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataSpec {
    /// `[[data.source]]`, in order.
    pub source: Vec<SourceSpec>,
    /// Classes in the order of the model's outputs; empty takes those found, sorted.
    pub classes: Vec<String>,
    /// New names of labels, such as `"IR*" = "inner"`; the first match in the order of the text of the keys counts, and
    /// an exact key beats a pattern. An empty name drops what has the label.
    pub label_map: BTreeMap<String, String>,
    /// `[data.window]`.
    pub window: WindowSpec,
    /// `[data.split]`.
    pub split: SplitSpec,
    /// Kinds of findings that the project has seen and accepts, such as `["leak-family"]`; they become notes.
    pub accept: Vec<Code>,
}

/// `[[data.source]]`: files of one kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SourceSpec {
    /// Folder that patterns and side files start from; relative to the project, `$VAR` and `${VAR:-otherwise}` are
    /// replaced by the caller.
    pub root: String,
    /// Patterns such as `{label}/*.csv`: `*` and `{name}` stay inside a folder, `**` crosses folders,
    /// `{name:alpha}` and `{name:digit}` take letters or digits only. The first that matches a file counts.
    ///
    /// A capture named `channel` joins the files that differ in it alone into one recording.
    pub files: Vec<String>,
    /// Patterns of files to leave out.
    pub exclude: Vec<String>,
    /// How to read them.
    pub format: Format,
    /// Readings per second; overrides what the file says.
    pub rate_hz: Option<f32>,
    /// Which columns, variables or sensors to take, and in what order; empty takes all that hold readings.
    pub channels: Vec<String>,
    /// One unit for all channels, or one for each; empty takes what the file says.
    pub units: Vec<String>,
    /// Factor on every reading, such as 0.001 from mg to g.
    pub scale: f32,
    /// Height and width, if a row of [`Format::Lines`] is an image.
    pub image: Option<[u16; 2]>,
    /// Names of all columns of a table without a header.
    pub columns: Vec<String>,
    /// Whether the first row is a header; absent looks for itself.
    pub header: Option<bool>,
    /// What stands between columns; absent looks for itself. `" "` is any run of blanks.
    pub delimiter: Option<char>,
    /// Column with the time of a reading, from which the rate is taken.
    pub time_column: Option<String>,
    /// Unit of that column; absent guesses by its name and size.
    pub time_unit: Option<TimeUnit>,
    /// Column whose every new value begins another sample, such as the number of an engine.
    pub sample_column: Option<String>,
    /// Label of every file, with captures of the pattern: `"{label}"`, `"{fault}{diameter}"`, `"normal"`. Absent takes
    /// the capture named `label`, if there is one.
    pub label: Option<String>,
    /// Column with the label of a row; its index for [`Format::Lines`].
    pub label_column: Option<String>,
    /// Side file with labels: one a line for formats with one sample a line, `info.labels` or `path,label` otherwise.
    pub label_file: Option<String>,
    /// Side file that gives labels their names: `1 WALKING` a line.
    pub label_names: Option<String>,
    /// Column with the value to regress.
    pub target_column: Option<String>,
    /// Group of every file, with captures of the pattern. Absent takes the capture named `group`, or else each
    /// recording is a group of its own.
    pub group: Option<String>,
    /// Column with the group of a sample.
    pub group_column: Option<String>,
    /// Side file with groups, as `label_file`.
    pub group_file: Option<String>,
    /// Fixes the side of the split.
    pub role: Option<Role>,
    /// Cuts each recording in time and fixes the role of each piece.
    pub cut: Option<Cut>,
    /// Rows at the start of a file to leave out: readings, or samples if a row is one.
    pub rows_skip: u64,
    /// Rows of a file to read at most, after `rows_skip`.
    pub rows_max: Option<u64>,
    /// Files to read at most, in natural order of their names.
    pub files_max: Option<usize>,
    /// Keeps every n-th reading behind an anti-alias filter.
    pub decimate: u32,
    /// Resamples to this rate behind an anti-alias filter.
    pub resample_hz: Option<f32>,
    /// What to do with missing readings.
    pub missing: Missing,
    /// Side file with the HMAC key of signed Edge Impulse samples; a sample that does not verify is left out.
    pub hmac_key_file: Option<String>,
    /// Recordings that come over the network land here. Without `files` they are found by [`UPLOADS`], and nothing is
    /// wrong while none has come.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub uploads: bool,
}

/// Where uploads lie below the root of their source, `_` in the place of a label that is not known.
///
/// The capture `category` fixes the role of what tests: `testing` and `anomaly`.
pub const UPLOADS: [&str; 4] = [
    "{category}/_/{device}/*",
    "{category}/_/*",
    "{category}/{label}/{device}/*",
    "{category}/{label}/*",
];

/// Where what a sender says of an upload lies: hidden beside it, a JSON object of texts. Names that the pattern of the
/// source captures, and [`TOLD_BY_PATH`], say what they say whatever stands there.
pub fn metadata_beside(path: &str) -> String {
    match path.rsplit_once('/') {
        Some((folder, name)) => format!("{folder}/.{name}.metadata.json"),
        None => format!(".{path}.metadata.json"),
    }
}

/// What of an upload its place alone tells.
pub const TOLD_BY_PATH: [&str; 5] = ["category", "label", "device", "group", "channel"];

impl SourceSpec {
    /// The patterns that find its files: `files`, or else those of uploads, if it takes them.
    pub fn patterns(&self) -> Vec<&str> {
        if self.files.is_empty() && self.uploads {
            return UPLOADS.to_vec();
        }
        self.files.iter().map(String::as_str).collect()
    }
}

impl Default for SourceSpec {
    fn default() -> SourceSpec {
        SourceSpec {
            root: ".".to_owned(),
            files: Vec::new(),
            exclude: Vec::new(),
            format: Format::Auto,
            rate_hz: None,
            channels: Vec::new(),
            units: Vec::new(),
            scale: 1.0,
            image: None,
            columns: Vec::new(),
            header: None,
            delimiter: None,
            time_column: None,
            time_unit: None,
            sample_column: None,
            label: None,
            label_column: None,
            label_file: None,
            label_names: None,
            target_column: None,
            group: None,
            group_column: None,
            group_file: None,
            role: None,
            cut: None,
            rows_skip: 0,
            rows_max: None,
            files_max: None,
            decimate: 1,
            resample_hz: None,
            missing: Missing::Refuse,
            hmac_key_file: None,
            uploads: false,
        }
    }
}

/// How the bytes of a file are read. `.gz` behind any extension is unpacked first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// By extension: `.csv .tsv .dat` table, `.wav`, `.mat`, `.idx` and `-ubyte`, `.json` and `.cbor` Edge Impulse,
    /// `.txt` table.
    #[default]
    Auto,
    /// Rows of columns: one reading of all channels a row.
    Table,
    /// One sample a line, its readings one after the other.
    Lines,
    /// RIFF/WAVE.
    Wav,
    /// MATLAB 5 `.mat`.
    Mat,
    /// IDX, as MNIST has it.
    Idx,
    /// Edge Impulse data acquisition format in JSON.
    EiJson,
    /// Edge Impulse data acquisition format in CBOR.
    EiCbor,
}

/// Unit of a time column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TimeUnit {
    /// Seconds.
    S,
    /// Milliseconds.
    Ms,
    /// Microseconds.
    Us,
    /// Nanoseconds.
    Ns,
}

/// What to do with readings that are empty, NaN or infinite.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Missing {
    /// Leave the sample out, with an error for each.
    #[default]
    Refuse,
    /// Repeat the channel's last reading (the next one at the start), with a warning.
    Hold,
}

/// Cuts a recording in time: the first part trains, then one validates, the rest tests.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cut {
    /// Share of the readings that trains.
    pub train: f32,
    /// Share of the readings that validates.
    #[serde(default)]
    pub validation: f32,
    /// Left out between two pieces, in milliseconds.
    #[serde(default)]
    pub gap_ms: f32,
}

/// `[data.window]`: the span that one prediction sees.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WindowSpec {
    /// Readings per channel in a window; absent with `ms` absent takes whole samples, which must then be equally long.
    pub len: Option<u32>,
    /// The same in milliseconds.
    pub ms: Option<f32>,
    /// Readings from one window's start to the next; absent with `hop_ms` absent takes the window's length.
    pub hop: Option<u32>,
    /// The same in milliseconds.
    pub hop_ms: Option<f32>,
    /// What becomes of the rest at the end of a sample.
    pub tail: Tail,
    /// What becomes of a sample shorter than a window.
    pub short: Short,
    /// Share of a window that its most common label must cover, or the window is left out.
    pub label_share: f32,
}

impl Default for WindowSpec {
    fn default() -> WindowSpec {
        WindowSpec {
            len: None,
            ms: None,
            hop: None,
            hop_ms: None,
            tail: Tail::Drop,
            short: Short::Drop,
            label_share: 0.5,
        }
    }
}

/// What becomes of the readings behind the last whole window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tail {
    /// They are left out.
    #[default]
    Drop,
    /// One more window ends with the last reading.
    Overlap,
}

/// What becomes of a sample that is shorter than a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Short {
    /// It is left out, with a warning.
    #[default]
    Drop,
    /// Zeros follow it.
    Zeros,
    /// It starts again.
    Repeat,
}

/// `[data.split]`: which samples train, which choose, which test.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SplitSpec {
    /// What is kept together.
    pub by: SplitBy,
    /// Share for validation.
    pub validation: f32,
    /// Share for test; sources with the role `test` make it 0.
    pub test: Option<f32>,
    /// Groups that test, whatever the shares say.
    pub hold_out: Vec<String>,
    /// With `by = "every"`: one file in so many tests.
    pub every: u32,
    /// Another seed gives another split.
    pub seed: u64,
}

impl Default for SplitSpec {
    fn default() -> SplitSpec {
        SplitSpec {
            by: SplitBy::Group,
            validation: 0.15,
            test: None,
            hold_out: Vec::new(),
            every: 4,
            seed: 0,
        }
    }
}

/// What a split keeps together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SplitBy {
    /// A group stands on one side, chosen by the hash of its name: added data moves no other.
    #[default]
    Group,
    /// Within a folder and label, the first samples train and the last test.
    Time,
    /// Every n-th sample tests, in natural order of names.
    Every,
}
