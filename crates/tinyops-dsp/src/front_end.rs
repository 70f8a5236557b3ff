//! The front end: settings, shape, and one window in, its features out.

mod code;
mod settings;

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
    /// A reading is not a finite number.
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
            Self::NotFinite { index } => write!(f, "reading {index} is not a finite number"),
        }
    }
}

impl core::error::Error for FrontEndError {}

impl FrontEnd {
    /// Whether every setting is in range; each other method may then be called.
    ///
    /// # Errors
    /// [`FrontEndError::Setting`] names the first that is not.
    pub fn check(&self) -> Result<(), FrontEndError> {
        todo!()
    }

    /// Extents of the features.
    pub fn shape(&self) -> Shape {
        todo!()
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
        todo!()
    }

    /// Computes the features of one window.
    ///
    /// # Errors
    /// Settings out of range, slices of the wrong length, or a reading that is not finite.
    pub fn extract(
        &self,
        window: &[f32],
        features: &mut [f32],
        scratch: &mut [f32],
    ) -> Result<(), FrontEndError> {
        let _ = (window, features, scratch);
        todo!()
    }
}
