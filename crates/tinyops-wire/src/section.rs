//! The small sections of a payload: scaler, labels, decision and golden vectors.
//!
//! The plan, the front end and the baseline have formats of their own, in the crates that own them; what the readings
//! were is in [`crate::sensor`].

use core::fmt;

use crate::bytes::{Reader, Writer};

const VERSION: u8 = 1;

/// What a model answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Task {
    /// One of some classes.
    Classify = 0,
    /// A number.
    Regress = 1,
    /// How unusual a window is.
    Anomaly = 2,
}

/// How it comes to the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum BodyKind {
    /// The plan's output: the confidence in each class, or the number.
    Network = 0,
    /// Mean squared error of the plan's output against its scaled input.
    Autoencoder = 1,
    /// Distance of the scaled features from clusters or from a mean.
    Distance = 2,
}

/// Section DECISION, 12 bytes: version, task, body, zero, threshold f32, least confidence f32.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DecisionSection {
    /// What the model answers.
    pub task: Task,
    /// How it comes to the answer.
    pub body: BodyKind,
    /// Anomaly: the score above which the device raises an alarm. Two classes: the confidence in the
    /// second from which it is the answer, 0 for whichever is greater. Otherwise unused.
    pub threshold: f32,
    /// Confidence, 0 to 1, below which the device says that it is not sure.
    pub min_confidence: f32,
}

impl DecisionSection {
    /// Bytes of the section.
    pub const BYTES: usize = 12;

    /// Writes the section.
    pub fn encode(&self) -> [u8; DecisionSection::BYTES] {
        let mut out = [0; DecisionSection::BYTES];
        out[..3].copy_from_slice(&[VERSION, self.task as u8, self.body as u8]);
        out[4..8].copy_from_slice(&self.threshold.to_le_bytes());
        out[8..].copy_from_slice(&self.min_confidence.to_le_bytes());
        out
    }

    /// Reads the section from bytes that may be anything.
    ///
    /// # Errors
    /// [`SectionError`], never a panic.
    pub fn decode(bytes: &[u8]) -> Result<DecisionSection, SectionError> {
        let bytes: &[u8; DecisionSection::BYTES] =
            bytes.try_into().map_err(|_| SectionError::Length)?;
        let mut reader = Reader::new(bytes);
        let [version, task, body, zero] = reader.array().ok_or(SectionError::Length)?;
        check_version(version)?;
        let task = match task {
            0 => Task::Classify,
            1 => Task::Regress,
            2 => Task::Anomaly,
            _ => return Err(SectionError::Value),
        };
        let body = match body {
            0 => BodyKind::Network,
            1 => BodyKind::Autoencoder,
            2 => BodyKind::Distance,
            _ => return Err(SectionError::Value),
        };
        let threshold = reader.f32().ok_or(SectionError::Length)?;
        let min_confidence = reader.f32().ok_or(SectionError::Length)?;
        if zero != 0 || threshold.is_nan() || min_confidence.is_nan() {
            return Err(SectionError::Value);
        }
        if (task == Task::Anomaly) == (body == BodyKind::Network) {
            return Err(SectionError::Value);
        }
        Ok(DecisionSection {
            task,
            body,
            threshold,
            min_confidence,
        })
    }
}

/// Section SCALER: number of groups u32, then as many means f32, then as many inverse spreads f32.
///
/// Feature `i` becomes `(x - mean[g]) * inv_sd[g]` with `g = i % groups`. No groups: features stay.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScalerSection<'a> {
    means: &'a [[u8; 4]],
    inv_sds: &'a [[u8; 4]],
}

impl<'a> ScalerSection<'a> {
    /// Bytes of a section of `groups` groups.
    pub const fn encoded_len(groups: usize) -> usize {
        4 + 8 * groups
    }

    /// Writes a section; answers how many bytes.
    ///
    /// # Errors
    /// [`SectionError::Length`] if the two differ in length or `out` is too short, [`SectionError::Value`] for numbers that are not finite.
    pub fn encode(means: &[f32], inv_sds: &[f32], out: &mut [u8]) -> Result<usize, SectionError> {
        let groups = u32::try_from(means.len()).map_err(|_| SectionError::Length)?;
        if means.len() != inv_sds.len() {
            return Err(SectionError::Length);
        }
        if !means.iter().chain(inv_sds).all(|value| value.is_finite()) {
            return Err(SectionError::Value);
        }
        let mut writer = Writer::new(out);
        writer
            .put(&groups.to_le_bytes())
            .ok_or(SectionError::Length)?;
        for value in means.iter().chain(inv_sds) {
            writer
                .put(&value.to_le_bytes())
                .ok_or(SectionError::Length)?;
        }
        Ok(writer.written())
    }

    /// Reads a section from bytes that may be anything, in place.
    ///
    /// # Errors
    /// [`SectionError`], never a panic.
    pub fn decode(bytes: &'a [u8]) -> Result<ScalerSection<'a>, SectionError> {
        let (groups, rest) = bytes.split_first_chunk().ok_or(SectionError::Length)?;
        let groups = u32::from_le_bytes(*groups) as usize;
        let (values, rest) = rest.as_chunks::<4>();
        if !rest.is_empty() || groups.checked_mul(2) != Some(values.len()) {
            return Err(SectionError::Length);
        }
        if !values
            .iter()
            .all(|value| f32::from_le_bytes(*value).is_finite())
        {
            return Err(SectionError::Value);
        }
        let (means, inv_sds) = values.split_at(groups);
        Ok(ScalerSection { means, inv_sds })
    }

    /// Number of groups.
    pub fn groups(&self) -> usize {
        self.means.len()
    }

    /// Mean of each group, in the unit of its features.
    pub fn means(&self) -> impl ExactSizeIterator<Item = f32> + use<'a> {
        self.means.iter().map(|value| f32::from_le_bytes(*value))
    }

    /// Inverse spread of each group.
    pub fn inv_sds(&self) -> impl ExactSizeIterator<Item = f32> + use<'a> {
        self.inv_sds.iter().map(|value| f32::from_le_bytes(*value))
    }

    /// Standardises features in place.
    pub fn apply(&self, features: &mut [f32]) {
        if self.means.is_empty() {
            return;
        }
        for chunk in features.chunks_mut(self.means.len()) {
            for ((feature, mean), inv_sd) in chunk.iter_mut().zip(self.means()).zip(self.inv_sds())
            {
                *feature = (*feature - mean) * inv_sd;
            }
        }
    }
}

/// Section LABELS: number of names u8, then each as its length u8 and its UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Labels<'a> {
    count: u8,
    names: &'a [u8],
}

impl<'a> Labels<'a> {
    /// Bytes of a section of these names.
    pub fn encoded_len(names: &[&str]) -> usize {
        1 + names.iter().map(|name| 1 + name.len()).sum::<usize>()
    }

    /// Writes a section; answers how many bytes.
    ///
    /// # Errors
    /// [`SectionError::Length`] for too many names, too long a name, or too little room.
    pub fn encode(names: &[&str], out: &mut [u8]) -> Result<usize, SectionError> {
        let mut writer = Writer::new(out);
        let mut put = |bytes: &[u8]| writer.put(bytes).ok_or(SectionError::Length);
        let byte = |count: usize| u8::try_from(count).map_err(|_| SectionError::Length);
        put(&[byte(names.len())?])?;
        for name in names {
            put(&[byte(name.len())?])?;
            put(name.as_bytes())?;
        }
        Ok(writer.written())
    }

    /// Reads a section from bytes that may be anything, in place.
    ///
    /// # Errors
    /// [`SectionError`], never a panic.
    pub fn decode(bytes: &'a [u8]) -> Result<Labels<'a>, SectionError> {
        let (&count, names) = bytes.split_first().ok_or(SectionError::Length)?;
        let labels = Labels { count, names };
        let mut reader = Reader::new(names);
        for _ in 0..count {
            next_name(&mut reader).ok_or(SectionError::Value)?;
        }
        if reader.rest.is_empty() {
            Ok(labels)
        } else {
            Err(SectionError::Length)
        }
    }

    /// The names, in the order of the classes.
    pub fn names(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let mut reader = Reader::new(self.names);
        core::iter::from_fn(move || next_name(&mut reader))
    }

    /// How many names.
    pub fn count(&self) -> usize {
        usize::from(self.count)
    }
}

fn next_name<'a>(reader: &mut Reader<'a>) -> Option<&'a str> {
    let length = usize::from(reader.u8()?);
    core::str::from_utf8(reader.take(length)?).ok()
}

/// An input and what the device must make of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Golden<'a> {
    /// Bytes of the plan's input tensor (int8), and of its output tensor, exactly.
    Tensor {
        /// Input, as int8 in a byte each.
        input: &'a [u8],
        /// Output, as int8 in a byte each.
        output: &'a [u8],
    },
    /// A raw window of readings (f32, little-endian), and the plan's output tensor, exactly.
    Window {
        /// Interleaved readings.
        readings: &'a [[u8; 4]],
        /// Output, as int8 in a byte each.
        output: &'a [u8],
    },
    /// Features before scaling (f32, little-endian), and the score of a body that is not a network,
    /// to within a part in 10,000.
    Score {
        /// Features.
        features: &'a [[u8; 4]],
        /// Score.
        score: f32,
    },
}

/// Section GOLDEN: version u8, reserved u8 (0), number of vectors u16; per vector input length u24, kind u8
/// and output length u32, lengths in bytes, then input, output. Kinds: 0 tensor, 1 window, 2 score (its
/// output is an f32). Vectors of different kinds may stand together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GoldenSection<'a> {
    count: u16,
    vectors: &'a [u8],
}

impl<'a> GoldenSection<'a> {
    /// Bytes before the first vector.
    pub const HEADER_BYTES: usize = 4;

    /// Bytes of one vector.
    pub fn vector_len(golden: &Golden<'_>) -> usize {
        8 + match golden {
            Golden::Tensor { input, output } => input.len() + output.len(),
            Golden::Window { readings, output } => 4 * readings.len() + output.len(),
            Golden::Score { features, .. } => 4 * features.len() + 4,
        }
    }

    /// Writes a section; answers how many bytes.
    ///
    /// # Errors
    /// [`SectionError::Length`] for too many or too long vectors, or too little room.
    pub fn encode(vectors: &[Golden<'_>], out: &mut [u8]) -> Result<usize, SectionError> {
        let count = u16::try_from(vectors.len()).map_err(|_| SectionError::Length)?;
        let mut writer = Writer::new(out);
        let mut put = |bytes: &[u8]| writer.put(bytes).ok_or(SectionError::Length);
        put(&[VERSION, 0])?;
        put(&count.to_le_bytes())?;
        for golden in vectors {
            let score;
            let (kind, input, output) = match golden {
                Golden::Tensor { input, output } => (0, *input, *output),
                Golden::Window { readings, output } => (1, readings.as_flattened(), *output),
                Golden::Score {
                    features,
                    score: value,
                } => {
                    score = value.to_le_bytes();
                    (2, features.as_flattened(), &score[..])
                }
            };
            let [low, middle, high, 0] = byte_len(input)? else {
                return Err(SectionError::Length);
            };
            put(&[low, middle, high, kind])?;
            put(&byte_len(output)?)?;
            put(input)?;
            put(output)?;
        }
        Ok(writer.written())
    }

    /// Reads a section from bytes that may be anything, in place.
    ///
    /// # Errors
    /// [`SectionError`], never a panic.
    pub fn decode(bytes: &'a [u8]) -> Result<GoldenSection<'a>, SectionError> {
        let mut reader = Reader::new(bytes);
        let [version, reserved] = reader.array().ok_or(SectionError::Length)?;
        check_version(version)?;
        if reserved != 0 {
            return Err(SectionError::Value);
        }
        let count = reader.u16().ok_or(SectionError::Length)?;
        let section = GoldenSection {
            count,
            vectors: reader.rest,
        };
        for _ in 0..count {
            next_vector(&mut reader).ok_or(SectionError::Value)?;
        }
        if reader.rest.is_empty() {
            Ok(section)
        } else {
            Err(SectionError::Length)
        }
    }

    /// The vectors.
    pub fn vectors(&self) -> impl Iterator<Item = Golden<'a>> + use<'a> {
        let mut reader = Reader::new(self.vectors);
        core::iter::from_fn(move || next_vector(&mut reader))
    }

    /// How many vectors.
    pub fn count(&self) -> usize {
        usize::from(self.count)
    }
}

fn byte_len(bytes: &[u8]) -> Result<[u8; 4], SectionError> {
    let length = u32::try_from(bytes.len()).map_err(|_| SectionError::Length)?;
    Ok(length.to_le_bytes())
}

fn next_vector<'a>(reader: &mut Reader<'a>) -> Option<Golden<'a>> {
    let [low, middle, high, kind] = reader.array()?;
    let input_bytes = u32::from_le_bytes([low, middle, high, 0]) as usize;
    let output_bytes = reader.u32()? as usize;
    let (input, output) = (reader.take(input_bytes)?, reader.take(output_bytes)?);
    let numbers = || {
        let (numbers, rest) = input.as_chunks();
        rest.is_empty().then_some(numbers)
    };
    match kind {
        0 => Some(Golden::Tensor { input, output }),
        1 => Some(Golden::Window {
            readings: numbers()?,
            output,
        }),
        2 => {
            let score = f32::from_le_bytes(output.try_into().ok()?);
            Some(Golden::Score {
                features: numbers()?,
                score,
            })
        }
        _ => None,
    }
}

fn check_version(found: u8) -> Result<(), SectionError> {
    if found == VERSION {
        Ok(())
    } else {
        Err(SectionError::Version { found })
    }
}

/// Why bytes are not a section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SectionError {
    /// Too few bytes, bytes left over, or too little room.
    Length,
    /// A value that no capsule can have.
    Value,
    /// A version that this build does not know.
    Version {
        /// The version found.
        found: u8,
    },
}

impl fmt::Display for SectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SectionError::Length => write!(f, "the bytes and the section differ in length"),
            SectionError::Value => write!(f, "a value that no capsule can have"),
            SectionError::Version { found } => write!(f, "section version {found} is unknown"),
        }
    }
}

impl core::error::Error for SectionError {}
