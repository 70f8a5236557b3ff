//! The front end: settings, shape, and one window in, its features out.

mod code;
mod flatten;
mod image;
mod settings;
mod sound;
mod spectral;

pub use settings::{
    Analysis, Bands, Bank, Block, Filter, FilterKind, Flatten, Framing, Image, Level, MaxHold,
    Mfcc, Mfe, Normalize, Raw, Spectral, Taper, Timeline,
};

/// Turns one window of raw readings into features.
///
/// # Shapes
/// A window holds `window_len` readings of `channel_count` channels, reading by reading
/// (`x0 y0 z0 x1 y1 z1 …`).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FrontEnd {
    /// Readings per second and channel.
    pub rate_hz: f32,
    /// Channels.
    pub channel_count: u16,
    /// Readings per window and channel.
    pub window_len: u32,
    /// What is made of them.
    pub block: Block,
}

/// Extents of a feature block, in order of memory: `[height, width, channels]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Frames or rows; 1 where time or space plays no part.
    pub height: u16,
    /// Features, coefficients or columns.
    pub width: u16,
    /// Sensor or colour channels, where they are kept apart.
    pub channels: u16,
}

impl Shape {
    /// Number of features.
    pub fn feature_count(&self) -> usize {
        usize::from(self.height) * usize::from(self.width) * usize::from(self.channels)
    }

    /// A single row; one that is too long for a shape comes out empty, which [`FrontEnd::check`] refuses.
    fn row(feature_count: usize) -> Self {
        Self {
            height: 1,
            width: u16::try_from(feature_count).unwrap_or(0),
            channels: 1,
        }
    }
}

/// Why a front end cannot be, or cannot do what is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FrontEndError {
    /// A setting lies outside its range; its name.
    Setting(&'static str),
    /// The encoded bytes end too early, or the buffer for them is too short.
    Truncated,
    /// The encoded bytes carry a version that this crate does not know.
    Version(u8),
    /// The encoded bytes name a block or choice that does not exist.
    Tag(u8),
    /// The window does not hold `window_len * channel_count` readings.
    WindowLength {
        /// Readings expected.
        expected: usize,
        /// Readings found.
        found: usize,
    },
    /// The buffer for the features is not as long as [`FrontEnd::feature_count`].
    FeatureLength {
        /// Features made.
        expected: usize,
        /// Room found.
        found: usize,
    },
    /// The scratch memory is shorter than [`FrontEnd::scratch_len`].
    ScratchLength {
        /// Words needed.
        expected: usize,
        /// Words found.
        found: usize,
    },
    /// A reading is not a number, or beyond 10¹⁵ after scaling, where its square would overflow.
    NotFinite {
        /// Its place in the window.
        index: usize,
    },
}

impl core::fmt::Display for FrontEndError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Setting(name) => write!(f, "front-end setting `{name}` is out of range"),
            Self::Truncated => f.write_str("front-end settings are cut short"),
            Self::Version(version) => {
                write!(f, "front-end settings have unknown version {version}")
            }
            Self::Tag(tag) => write!(f, "front-end settings have unknown tag {tag}"),
            Self::WindowLength { expected, found } => {
                write!(f, "window has {found} readings, front end takes {expected}")
            }
            Self::FeatureLength { expected, found } => {
                write!(f, "room for {found} features, front end makes {expected}")
            }
            Self::ScratchLength { expected, found } => {
                write!(f, "scratch has {found} words, front end needs {expected}")
            }
            Self::NotFinite { index } => {
                write!(f, "reading {index} is not a number, or beyond 1e15")
            }
        }
    }
}

impl core::error::Error for FrontEndError {}

/// Longest window, over all channels: 2²⁴ readings, beyond which a count is no longer exact as `f32`.
const READING_COUNT_MAX: usize = 1 << 24;
/// Largest reading after scaling: the power of a full transform of it still fits `f32`.
const READING_MAX: f32 = 1e15;
/// Most features of a window.
const FEATURE_COUNT_MAX: usize = 1 << 20;
/// Most channels.
const CHANNEL_COUNT_MAX: u16 = 256;

impl FrontEnd {
    /// Whether every setting is in range; each other method may then be called.
    ///
    /// # Errors
    /// [`FrontEndError::Setting`] names the first that is not.
    pub fn check(&self) -> Result<(), FrontEndError> {
        // A picture has no rate, and these blocks never ask for it.
        let is_timeless = matches!(
            self.block,
            Block::Raw(_) | Block::Flatten(_) | Block::Image(_)
        );
        let is_rate = self.rate_hz > 0.0 || (is_timeless && self.rate_hz == 0.0);
        require(self.rate_hz.is_finite() && is_rate, "rate_hz")?;
        require(
            (1..=CHANNEL_COUNT_MAX).contains(&self.channel_count),
            "channel_count",
        )?;
        require(self.window_len >= 1, "window_len")?;
        require(
            self.window_len as usize <= READING_COUNT_MAX / usize::from(self.channel_count),
            "window_len",
        )?;
        match &self.block {
            Block::Raw(raw) => {
                require_finite(raw.scale, "raw.scale")?;
                require(self.window_len <= u32::from(u16::MAX), "window_len")?;
            }
            Block::Flatten(flatten) => flatten.check()?,
            Block::Spectral(spectral) => spectral.check(self)?,
            Block::Mfe(mfe) => mfe.check(self)?,
            Block::Mfcc(mfcc) => mfcc.check(self)?,
            Block::Image(image) => image.check(self)?,
        }
        require(
            (1..=FEATURE_COUNT_MAX).contains(&self.feature_count()),
            "feature count",
        )
    }

    /// Extents of the features.
    pub fn shape(&self) -> Shape {
        match &self.block {
            Block::Raw(_) => {
                let width = u16::try_from(self.window_len).unwrap_or(u16::MAX);
                Shape {
                    height: 1,
                    width,
                    channels: self.channel_count,
                }
            }
            Block::Flatten(flatten) => Shape::row(flatten.feature_count(self)),
            Block::Spectral(spectral) => Shape::row(spectral.feature_count(self)),
            Block::Mfe(mfe) => mfe.shape(self),
            Block::Mfcc(mfcc) => mfcc.shape(self),
            Block::Image(image) => image.shape(self),
        }
    }

    /// Number of features.
    pub fn feature_count(&self) -> usize {
        self.shape().feature_count()
    }

    /// Readings in a window, over all channels.
    pub fn reading_count(&self) -> usize {
        self.window_len as usize * usize::from(self.channel_count)
    }

    /// Words of scratch memory that [`FrontEnd::extract`] needs.
    pub fn scratch_len(&self) -> usize {
        match &self.block {
            Block::Raw(_) | Block::Image(_) => 0,
            Block::Flatten(_) => self.window_len as usize,
            Block::Spectral(spectral) => spectral.scratch_len(self),
            Block::Mfe(mfe) => mfe.scratch_len(self),
            Block::Mfcc(mfcc) => mfcc.scratch_len(self),
        }
    }

    /// Computes the features of one window.
    ///
    /// # Errors
    /// Settings out of range, slices of the wrong length, or a reading that is no usable number.
    pub fn extract(
        &self,
        window: &[f32],
        features: &mut [f32],
        scratch: &mut [f32],
    ) -> Result<(), FrontEndError> {
        self.check()?;
        let (expected, found) = (self.reading_count(), window.len());
        if expected != found {
            return Err(FrontEndError::WindowLength { expected, found });
        }
        let (expected, found) = (self.feature_count(), features.len());
        if expected != found {
            return Err(FrontEndError::FeatureLength { expected, found });
        }
        let (expected, found) = (self.scratch_len(), scratch.len());
        let scratch = scratch
            .get_mut(..expected)
            .ok_or(FrontEndError::ScratchLength { expected, found })?;
        let scale = self.scale();
        let usable = |x: &f32| (x * scale).abs() <= READING_MAX; // False for a NaN too.
        if let Some(index) = window.iter().position(|x| !usable(x)) {
            return Err(FrontEndError::NotFinite { index });
        }
        match &self.block {
            Block::Raw(raw) => {
                for (feature, x) in features.iter_mut().zip(window) {
                    *feature = x * raw.scale;
                }
            }
            Block::Flatten(flatten) => flatten.extract(self, window, features, scratch),
            Block::Spectral(spectral) => spectral.extract(self, window, features, scratch),
            Block::Mfe(mfe) => mfe.extract(self, window, features, scratch),
            Block::Mfcc(mfcc) => mfcc.extract(self, window, features, scratch),
            Block::Image(image) => image.extract(window, features),
        }
        Ok(())
    }

    /// The factor on every reading.
    fn scale(&self) -> f32 {
        match &self.block {
            Block::Raw(raw) => raw.scale,
            Block::Flatten(flatten) => flatten.scale,
            Block::Spectral(spectral) => spectral.scale,
            Block::Mfe(mfe) => mfe.framing.scale,
            Block::Mfcc(mfcc) => mfcc.framing.scale,
            Block::Image(_) => 1.0,
        }
    }

    /// Copies a channel out of a window, scaled.
    fn copy_channel(&self, window: &[f32], channel: usize, scale: f32, into: &mut [f32]) {
        let readings = window[channel..]
            .iter()
            .step_by(usize::from(self.channel_count));
        for (y, x) in into.iter_mut().zip(readings) {
            *y = x * scale;
        }
    }
}

fn require(holds: bool, setting: &'static str) -> Result<(), FrontEndError> {
    if holds {
        Ok(())
    } else {
        Err(FrontEndError::Setting(setting))
    }
}

fn require_finite(x: f32, setting: &'static str) -> Result<(), FrontEndError> {
    require(x.is_finite(), setting)
}
