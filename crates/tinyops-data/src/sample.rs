//! One recording as a value: readings with their rate and units, labels, group, role and origin.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};
use tinyops_wire::id::{Digest, DigestBuilder};

/// One recording, or one image, with all that is known about it.
///
/// # Shapes
/// `readings` is `[reading, channel]` (interleaved); for an image `[row, column, channel]`. Its length is a multiple of
/// the number of channels, and every reading is finite.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Unique in its dataset: the file, then `#` and what in it, such as `train/y.txt#17`.
    pub name: String,
    /// Readings per second and channel; 0 for an image.
    pub rate_hz: f32,
    /// What each column of `readings` measures, in order.
    pub channels: Vec<Channel>,
    /// The readings, interleaved.
    pub readings: Vec<f32>,
    /// Height and width, if this is an image.
    pub image: Option<ImageSize>,
    /// What is known of its class or value.
    pub label: Label,
    /// Who or what must not stand on both sides of a split: a person, a machine, a session.
    pub group: String,
    /// The side of the split that the project fixed, if any.
    pub role: Option<Role>,
    /// Where it came from.
    pub origin: Origin,
    /// What else the file says, such as `rpm` or `device_name`.
    pub metadata: BTreeMap<String, String>,
}

/// One column of readings.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Channel {
    /// Such as `accx`.
    pub name: String,
    /// Such as `g`, `m/s2`, `FS` (full scale); empty if not known.
    pub unit: String,
}

/// The size of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageSize {
    /// Rows.
    pub height: u16,
    /// Columns.
    pub width: u16,
}

/// What is known of a sample's class or value.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Label {
    /// Nothing.
    #[default]
    None,
    /// The whole sample is of one class.
    Class(String),
    /// The class changes inside; segments are in order and do not overlap.
    Segments(Vec<Segment>),
    /// The whole sample has one value to regress.
    Value(f32),
    /// One value for each reading.
    Values(Vec<f32>),
}

impl Label {
    /// The classes in it; one may come more than once.
    pub fn classes(&self) -> impl Iterator<Item = &str> {
        let (whole, segments) = match self {
            Label::Class(class) => (Some(class.as_str()), &[][..]),
            Label::Segments(segments) => (None, segments.as_slice()),
            Label::None | Label::Value(_) | Label::Values(_) => (None, &[][..]),
        };
        let segments = segments.iter().map(|segment| segment.class.as_str());
        whole.into_iter().chain(segments)
    }
}

/// A span of a sample that is of one class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Readings, counted from 0.
    pub range: Range<usize>,
    /// The class.
    pub class: String,
}

/// A side of a split.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Weights are fitted to it.
    Train,
    /// Choices are made by it: when to stop, which threshold.
    Validation,
    /// Looked at once, at the end.
    Test,
}

impl Role {
    /// As written in `tinyops.toml` and manifests.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Train => "train",
            Role::Validation => "validation",
            Role::Test => "test",
        }
    }
}

/// Where a sample came from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// Index of the source in `tinyops.toml`.
    pub source: usize,
    /// The (first) file, as its source lists it.
    pub file: String,
    /// First row in the file, counted from 1; 0 if the format has no rows.
    pub row: u64,
    /// Which part of the recording this is, in readings at the file's own rate, if it was cut.
    pub cut: Option<Range<usize>>,
}

impl Sample {
    /// Readings per channel.
    pub fn len(&self) -> usize {
        self.readings
            .len()
            .checked_div(self.channels.len())
            .unwrap_or(0)
    }

    /// Whether it holds no readings.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Its length in seconds; 0 for an image.
    pub fn duration_s(&self) -> f64 {
        if self.rate_hz > 0.0 {
            self.len() as f64 / f64::from(self.rate_hz)
        } else {
            0.0
        }
    }

    /// The digest of what was measured: rate, channels and readings; not of labels or names.
    ///
    /// Two samples with the same digest are the same recording.
    pub fn content_digest(&self) -> Digest {
        let mut builder = DigestBuilder::new();
        builder.update(&self.rate_hz.to_bits().to_le_bytes());
        let size = self.image.map_or([0, 0], |size| [size.height, size.width]);
        size.iter()
            .for_each(|side| builder.update(&side.to_le_bytes()));
        for channel in &self.channels {
            // Lengths first, so that no two lists of names share their bytes.
            for text in [&channel.name, &channel.unit] {
                builder.update(&(text.len() as u64).to_le_bytes());
                builder.update(text.as_bytes());
            }
        }
        let mut block = Vec::with_capacity(4 * 1024);
        for readings in self.readings.chunks(1024) {
            block.clear();
            block.extend(
                readings
                    .iter()
                    .flat_map(|reading| reading.to_bits().to_le_bytes()),
            );
            builder.update(&block);
        }
        builder.finish()
    }
}
