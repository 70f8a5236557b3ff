//! What training saw of each monitored channel, carried in the capsule next to the model.

use core::fmt;

use crate::bytes::{Reader, Writer};
use crate::{BINS, CHANNELS_MAX, CLASSES_MAX};

/// What a baseline needs that watches features and the output alone.
const VERSION: u8 = 1;
/// With the distance of the embedding, or with how often answers were right.
const VERSION_EMBEDDING: u8 = 2;
const OUTPUT: u16 = u16::MAX;
const EMBEDDING: u16 = u16::MAX - 1;
/// In the fourth byte of version 2: a calibration follows the classes.
const HAS_CALIBRATION: u8 = 1;
const CALIBRATION_BYTES: usize = 4 * BINS + 8;
const HEADER_BYTES: usize = 8;
const CHANNEL_BYTES: usize = 2 + 4 * (2 + (BINS - 1) + BINS + 3);

/// What training saw: the reference that every live stream of this model is held against.
#[derive(Clone, Debug, PartialEq)]
pub struct Baseline {
    /// Windows that it was made of.
    pub window_count: u32,
    channel_count: usize,
    channels: [ChannelBaseline; CHANNELS_MAX],
    class_count: usize,
    class_prior: [f32; CLASSES_MAX],
    calibration: Option<Calibration>,
    /// Where the channels of the output and of the embedding stand, so that no window searches for them; past all where
    /// there is none.
    output: u8,
    embedding: u8,
}

/// How often the model was right on windows that it was not fitted on, by its confidence.
///
/// From it the server estimates, without a label, what a fleet's accuracy may be, while embeddings lie where they did
/// here (`docs/monitoring.md`).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Calibration {
    /// Windows in each bin of the output's channel.
    pub windows: [u16; BINS],
    /// Of these, windows that the model was right about.
    pub right: [u16; BINS],
    /// Mean of the distance of their embeddings, from that of the embedding's channel and in its standard deviations;
    /// 0 without such a channel.
    pub embedding_mean: f32,
    /// Standard deviation of the same; 0 without such a channel.
    pub embedding_sd: f32,
}

impl Calibration {
    /// Windows of all bins.
    pub fn window_count(&self) -> u32 {
        self.windows.iter().map(|&windows| u32::from(windows)).sum()
    }

    fn is_sound(&self) -> bool {
        self.window_count() > 0
            && self
                .windows
                .iter()
                .zip(&self.right)
                .all(|(windows, right)| right <= windows)
            && self.embedding_mean.is_finite()
            && self.embedding_sd.is_finite()
            && self.embedding_sd >= 0.0
    }
}

/// What training saw of one channel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ChannelBaseline {
    /// Where its values come from.
    pub source: Source,
    /// Mean, in the unit of the source.
    pub mean: f32,
    /// Standard deviation, in the unit of the source; above 0.
    pub sd: f32,
    /// `1 / sd`, so that no value costs a division.
    pub inv_sd: f32,
    /// Inner edges of the bins, ascending: the octiles. A value belongs to the bin whose index is the number of edges at or below it.
    pub edges: [f32; BINS - 1],
    /// Share of the training windows in each bin; sums to 1. Eighths, unless values tie.
    pub shares: [f32; BINS],
    /// How much the statistics of this channel move although nothing has changed.
    pub noise: Noise,
}

/// How much the statistics of a channel move from one block of stable training windows to the next.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Noise {
    /// Standard deviation of the block mean, in standard deviations of the channel.
    pub mean: f32,
    /// Standard deviation of the natural logarithm of the block's standard deviation.
    pub ln_sd: f32,
    /// Mean population stability index of a block against the baseline, in nats.
    pub psi: f32,
}

/// Where a monitored channel takes its values from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The feature at this index, as the front end makes it, before scaling.
    Feature(u16),
    /// How far the embedding lies from those of the factory, as `tinyops_nn::EmbeddingDistance` tells it.
    Embedding,
    /// What the model says: the confidence in its class, the anomaly score, or the regressed value.
    Output,
}

impl ChannelBaseline {
    /// A channel by its statistics; a spread of 0 is lifted so that it can divide.
    pub fn new(source: Source, mean: f32, sd: f32) -> ChannelBaseline {
        // A constant channel that starts to move must show, whatever its scale.
        let sd = sd.max(1e-6 * libm::fabsf(mean)).max(1e-12);
        ChannelBaseline {
            source,
            mean,
            sd,
            inv_sd: 1.0 / sd,
            edges: [0.0; BINS - 1],
            shares: [1.0 / BINS as f32; BINS],
            noise: Noise::default(),
        }
    }

    /// The bin that `value` falls into; one that is not a number falls into the last.
    #[inline]
    pub fn bin(&self, value: f32) -> usize {
        // How many of the edges, which ascend, are at or below it: three comparisons, and no branch. What is no number
        // is below none.
        let edges = &self.edges;
        let mut bin = if value < edges[3] { 0 } else { 4 };
        bin += if value < edges[bin + 1] { 0 } else { 2 };
        bin + if value < edges[bin] { 0 } else { 1 }
    }

    fn is_sound(&self) -> bool {
        let finite = [
            self.mean,
            self.inv_sd,
            self.noise.mean,
            self.noise.ln_sd,
            self.noise.psi,
        ];
        // The two indices above it mean other sources in the bytes.
        let is_source = !matches!(self.source, Source::Feature(EMBEDDING..));
        is_source
            && self.sd > 0.0
            && self.sd.is_finite()
            && finite.iter().all(|value| value.is_finite())
            && self.edges.iter().all(|edge| edge.is_finite())
            && self.edges.is_sorted()
            && is_distribution(&self.shares)
    }
}

impl Baseline {
    /// A baseline of these channels and class shares.
    ///
    /// # Errors
    /// [`BaselineError`] for too many of either, or for numbers that no training can have given.
    pub fn new(
        window_count: u32,
        channels: &[ChannelBaseline],
        class_prior: &[f32],
    ) -> Result<Baseline, BaselineError> {
        if channels.len() > CHANNELS_MAX {
            return Err(BaselineError::Channels);
        }
        if class_prior.len() > CLASSES_MAX {
            return Err(BaselineError::Classes);
        }
        let mut baseline = Baseline::empty(window_count);
        baseline.channel_count = channels.len();
        baseline.channels[..channels.len()].copy_from_slice(channels);
        baseline.class_count = class_prior.len();
        baseline.class_prior[..class_prior.len()].copy_from_slice(class_prior);
        baseline.settle()?;
        Ok(baseline)
    }

    fn empty(window_count: u32) -> Baseline {
        Baseline {
            window_count,
            channel_count: 0,
            channels: [ChannelBaseline::new(Source::Output, 0.0, 1.0); CHANNELS_MAX],
            class_count: 0,
            class_prior: [0.0; CLASSES_MAX],
            calibration: None,
            output: NOWHERE,
            embedding: NOWHERE,
        }
    }

    /// Checks what it was filled with, and finds the places. Where it lies: a copy of it is a kilobyte of a device's stack.
    #[inline(never)]
    fn settle(&mut self) -> Result<(), BaselineError> {
        let is_sound = self.channels().iter().all(ChannelBaseline::is_sound)
            && (self.class_count == 0 || is_distribution(self.class_prior()))
            && self
                .calibration
                .is_none_or(|calibration| calibration.is_sound());
        if !is_sound {
            return Err(BaselineError::Number);
        }
        self.output = place_of(self.channels(), Source::Output);
        self.embedding = place_of(self.channels(), Source::Embedding);
        Ok(())
    }

    /// The monitored channels.
    pub fn channels(&self) -> &[ChannelBaseline] {
        &self.channels[..self.channel_count]
    }

    /// Share of each class among the training windows; empty for a model without classes.
    pub fn class_prior(&self) -> &[f32] {
        &self.class_prior[..self.class_count]
    }

    /// The same baseline with how often answers were right, or without it: what was measured of one head says nothing
    /// of another.
    ///
    /// # Errors
    /// [`BaselineError::Number`] for counts or distances that no windows can have.
    pub fn with_calibration(
        mut self,
        calibration: Option<Calibration>,
    ) -> Result<Baseline, BaselineError> {
        self.calibration = calibration;
        self.settle()?;
        Ok(self)
    }

    /// How often answers were right, by confidence, on windows that the model was not fitted on; `None` where nobody
    /// has measured it.
    pub fn calibration(&self) -> Option<&Calibration> {
        self.calibration.as_ref()
    }

    /// Bytes that [`Baseline::encode`] writes.
    pub fn encoded_len(&self) -> usize {
        let calibration = self.calibration.map_or(0, |_| CALIBRATION_BYTES);
        HEADER_BYTES + CHANNEL_BYTES * self.channel_count + 4 * self.class_count + calibration
    }

    /// Which channel watches the model's output, if one does.
    #[inline]
    pub fn output_channel(&self) -> Option<usize> {
        (self.output != NOWHERE).then_some(self.output.into())
    }

    /// Which channel watches how far the embedding lies from those of the factory, if one does.
    #[inline]
    pub fn embedding_channel(&self) -> Option<usize> {
        (self.embedding != NOWHERE).then_some(self.embedding.into())
    }

    /// Writes the bytes of `docs/formats/capsule.md`, section BASELINE; answers how many.
    ///
    /// # Errors
    /// [`BaselineError::Length`] if `out` is shorter than [`Baseline::encoded_len`].
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, BaselineError> {
        let mut writer = Writer(out);
        self.write(&mut writer).ok_or(BaselineError::Length)?;
        Ok(self.encoded_len())
    }

    fn write(&self, out: &mut Writer<'_>) -> Option<()> {
        let flags = self.calibration.map_or(0, |_| HAS_CALIBRATION);
        // What needs no later version is readable for devices of before.
        let version = match (self.embedding_channel(), self.calibration) {
            (None, None) => VERSION,
            _ => VERSION_EMBEDDING,
        };
        out.put(&[
            version,
            self.channel_count as u8,
            self.class_count as u8,
            flags,
        ])?;
        out.put(&self.window_count.to_le_bytes())?;
        for channel in self.channels() {
            let source = match channel.source {
                Source::Feature(index) => index,
                Source::Embedding => EMBEDDING,
                Source::Output => OUTPUT,
            };
            out.put(&source.to_le_bytes())?;
            let noise = [channel.noise.mean, channel.noise.ln_sd, channel.noise.psi];
            for number in [channel.mean, channel.sd]
                .iter()
                .chain(&channel.edges)
                .chain(&channel.shares)
                .chain(&noise)
            {
                out.put(&number.to_le_bytes())?;
            }
        }
        for share in self.class_prior() {
            out.put(&share.to_le_bytes())?;
        }
        if let Some(calibration) = &self.calibration {
            for count in calibration.windows.iter().chain(&calibration.right) {
                out.put(&count.to_le_bytes())?;
            }
            for number in [calibration.embedding_mean, calibration.embedding_sd] {
                out.put(&number.to_le_bytes())?;
            }
        }
        Some(())
    }

    /// Reads what [`Baseline::encode`] wrote, from bytes that may be anything.
    ///
    /// # Errors
    /// [`BaselineError`], never a panic.
    pub fn decode(bytes: &[u8]) -> Result<Baseline, BaselineError> {
        let mut baseline = Baseline::default();
        baseline.read(bytes)?;
        Ok(baseline)
    }

    /// Becomes what [`Baseline::decode`] would answer, where it lies: a copy of it is a kilobyte of a device's stack.
    ///
    /// # Errors
    /// As [`Baseline::decode`]; it is no baseline then.
    #[inline(never)]
    pub fn read(&mut self, bytes: &[u8]) -> Result<(), BaselineError> {
        let mut reader = Reader(bytes);
        let [version, channel_count, class_count, flags] =
            reader.array().ok_or(BaselineError::Length)?;
        let has_calibration = match (version, flags) {
            (VERSION, _) => false,
            (VERSION_EMBEDDING, 0 | HAS_CALIBRATION) => flags == HAS_CALIBRATION,
            _ => return Err(BaselineError::Version),
        };
        let (channel_count, class_count) = (usize::from(channel_count), usize::from(class_count));
        let window_count = reader.u32().ok_or(BaselineError::Length)?;
        *self = Baseline::empty(window_count);
        let channels = self
            .channels
            .get_mut(..channel_count)
            .ok_or(BaselineError::Channels)?;
        for channel in channels.iter_mut() {
            *channel = read_channel(&mut reader, version).ok_or(BaselineError::Length)?;
        }
        self.channel_count = channel_count;
        let class_prior = self
            .class_prior
            .get_mut(..class_count)
            .ok_or(BaselineError::Classes)?;
        for share in class_prior.iter_mut() {
            *share = reader.f32().ok_or(BaselineError::Length)?;
        }
        self.class_count = class_count;
        if has_calibration {
            let calibration = read_calibration(&mut reader).ok_or(BaselineError::Length)?;
            self.calibration = Some(calibration);
        }
        if !reader.0.is_empty() {
            return Err(BaselineError::Length);
        }
        self.settle()
    }
}

impl Default for Baseline {
    /// Watches nothing.
    fn default() -> Baseline {
        Baseline::empty(0)
    }
}

/// A place that no channel has.
const NOWHERE: u8 = u8::MAX;

/// The last channel of a source.
fn place_of(channels: &[ChannelBaseline], source: Source) -> u8 {
    let is_it = |channel: &ChannelBaseline| channel.source == source;
    let found = channels.iter().rposition(is_it);
    found.map_or(NOWHERE, |place| place as u8)
}

fn read_calibration(reader: &mut Reader<'_>) -> Option<Calibration> {
    let mut calibration = Calibration::default();
    let counts = calibration.windows.iter_mut().chain(&mut calibration.right);
    for count in counts {
        *count = reader.u16()?;
    }
    calibration.embedding_mean = reader.f32()?;
    calibration.embedding_sd = reader.f32()?;
    Some(calibration)
}

fn read_channel(reader: &mut Reader<'_>, version: u8) -> Option<ChannelBaseline> {
    let source = match reader.u16()? {
        OUTPUT => Source::Output,
        EMBEDDING if version >= VERSION_EMBEDDING => Source::Embedding,
        index => Source::Feature(index),
    };
    let (mean, sd) = (reader.f32()?, reader.f32()?);
    let mut channel = ChannelBaseline {
        sd,
        inv_sd: 1.0 / sd,
        ..ChannelBaseline::new(source, mean, 1.0)
    };
    for edge in &mut channel.edges {
        *edge = reader.f32()?;
    }
    for share in &mut channel.shares {
        *share = reader.f32()?;
    }
    channel.noise = Noise {
        mean: reader.f32()?,
        ln_sd: reader.f32()?,
        psi: reader.f32()?,
    };
    Some(channel)
}

fn is_distribution(shares: &[f32]) -> bool {
    let sum: f32 = shares.iter().sum();
    shares.iter().all(|&share| share >= 0.0) && libm::fabsf(sum - 1.0) < 1e-3
}

/// Why bytes or numbers are not a baseline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BaselineError {
    /// More than [`CHANNELS_MAX`] channels.
    Channels,
    /// More than [`CLASSES_MAX`] classes.
    Classes,
    /// Too few bytes, bytes left over, or too little room.
    Length,
    /// A spread, edge or share that no training can have given.
    Number,
    /// A version that this build does not know.
    Version,
}

impl fmt::Display for BaselineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BaselineError::Channels => write!(f, "a baseline has at most {CHANNELS_MAX} channels"),
            BaselineError::Classes => write!(f, "a baseline has at most {CLASSES_MAX} classes"),
            BaselineError::Length => write!(f, "the bytes and the baseline differ in length"),
            BaselineError::Number => {
                write!(f, "a spread, edge or share that no training can have given")
            }
            BaselineError::Version => write!(f, "a baseline of an unknown version"),
        }
    }
}

impl core::error::Error for BaselineError {}
