//! What each block can be told; plain values that mean the same on every target.

/// What a front end makes of a window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Block {
    /// The readings themselves, for networks that learn their own filters.
    Raw(Raw),
    /// A few statistics per channel, for slow signals.
    Flatten(Flatten),
    /// Statistics and spectra per channel, for vibration and motion.
    Spectral(Spectral),
    /// Log mel energies by frame, for sound.
    Mfe(Mfe),
    /// Mel cepstra by frame, for speech.
    Mfcc(Mfcc),
    /// Pixels, shrunk and scaled.
    Image(Image),
}

/// Settings of the raw block: `x * scale`.
///
/// # Shapes
/// `[1, window_len, channels]`, the order of the readings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Raw {
    /// Factor on every reading.
    pub scale: f32,
}

/// Settings of the flatten block: the chosen statistics of each channel, in the order of the fields.
///
/// # Shapes
/// `[1, channels * chosen, 1]`, channel by channel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Flatten {
    /// Factor on every reading, before all else.
    pub scale: f32,
    /// Mean.
    pub average: bool,
    /// Smallest reading.
    pub minimum: bool,
    /// Largest reading.
    pub maximum: bool,
    /// Root of the mean square.
    pub rms: bool,
    /// Population standard deviation.
    pub deviation: bool,
    /// Population skewness, 0 for a constant channel.
    pub skewness: bool,
    /// Excess kurtosis (Fisher, population), 0 for a constant channel.
    pub kurtosis: bool,
}

/// Settings of the spectral block: an optional filter, then statistics and a spectrum per channel.
///
/// # Shapes
/// `[1, features, 1]`; see [`Bands`] and [`MaxHold`] for their order.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spectral {
    /// Factor on every reading, before all else.
    pub scale: f32,
    /// Filter before the analysis.
    pub filter: Filter,
    /// Analysis of the filtered channels.
    pub analysis: Analysis,
}

/// How the spectral block looks at a channel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Analysis {
    /// Log powers in geometric bands; the default for vibration and motion.
    Bands(Bands),
    /// Log powers of FFT bins, the largest over frames; what Edge Impulse's spectral block (v4) computes.
    MaxHold(MaxHold),
}

/// A Butterworth filter, causal from zero state.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Filter {
    /// Which side passes.
    pub kind: FilterKind,
    /// Corner frequency in Hz, between 0 and half the rate; ignored without a filter.
    pub cutoff_hz: f32,
    /// Order: 2, 4, 6 or 8.
    pub order: u8,
}

/// Which side of the corner frequency passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FilterKind {
    /// No filter.
    None,
    /// What lies below.
    Low,
    /// What lies above.
    High,
}

/// Statistics and log powers of geometric bands.
///
/// Each channel gives, in order: its mean; of the mean-removed signal rms, skew, excess kurtosis and
/// mean absolute first difference; `log10(power + log_floor)` of `band_count` bands of the Hann-tapered
/// periodogram; the frequency in Hz of the largest bin but bin 0; then, where `shape`, seven more:
/// minimum, maximum, zero crossings per second, lag-1 autocorrelation, height of the first
/// autocorrelation peak past the first zero, spectral centroid in Hz, spectral entropy in 0..=1; then,
/// where `percentiles`, the 5, 25, 50, 75 and 95 % quantiles. Where `magnitude`, the Euclidean norm of each
/// full group of three channels follows as one more channel with the same features. Where `cross`, the
/// Pearson correlation of every pair of (real) channels closes the row.
///
/// # Units
/// A band's power is the mean over its bins of `|X|² / Σ taper²`, so that white noise of variance 1 gives
/// 1 at any length.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bands {
    /// Frame length in readings: a power of two from 16 to 4096, or 0 for the window rounded up to one
    /// (at most 4096). A shorter window is zero-padded; a longer one gives half-overlapping frames whose
    /// powers are averaged.
    pub fft_len: u16,
    /// How many bands, 0 to 64.
    pub band_count: u8,
    /// Lower edge of the first band in Hz; 0 is the first bin that a window can resolve.
    pub low_hz: f32,
    /// Upper edge of the last band in Hz; 0 is half the rate.
    pub high_hz: f32,
    /// Added to each power before the logarithm, above 0: keeps silence finite.
    pub log_floor: f32,
    /// Seven further numbers per channel.
    pub shape: bool,
    /// Five quantiles per channel.
    pub percentiles: bool,
    /// The norm of each three channels as a further channel.
    pub magnitude: bool,
    /// Correlation of each pair of channels.
    pub cross: bool,
}

/// Statistics and log powers of bins, the largest over frames.
///
/// Each channel gives, in order: rms, skew and excess kurtosis of the mean-removed signal; skew and excess
/// kurtosis of the max-hold spectrum; bins 1 to `fft_len / 2` of it (fewer behind a filter: those that
/// pass), as log10 where `log`.
///
/// # Source
/// Edge Impulse, processing-blocks, spectral analysis v4.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MaxHold {
    /// Frame length in readings, a power of two from 4 to 4096.
    pub fft_len: u16,
    /// Bins as log10, where 0 becomes 1e-10.
    pub log: bool,
    /// Frames overlap by half.
    pub overlap: bool,
}

/// How sound is cut into frames and turned into spectra.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Framing {
    /// Factor on every reading: 1 for readings in -1..1, 1/32768 for 16-bit counts.
    pub scale: f32,
    /// Readings per frame, at most `fft_len`.
    pub frame_len: u16,
    /// Readings from frame to frame.
    pub stride: u16,
    /// FFT length, a power of two from 16 to 4096; frames are zero-padded to it.
    pub fft_len: u16,
    /// Taper over each frame.
    pub taper: Taper,
    /// `y[t] = x[t] - pre_emphasis * x[t-1]`, and `y[0] = x[0] * (1 - pre_emphasis)`: the first reading is taken as held,
    /// never as following the window's last one. 0 leaves the signal as it is.
    pub pre_emphasis: f32,
}

/// The taper over a frame, symmetric around its middle and periodic in its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taper {
    /// None.
    Rectangular,
    /// Hann.
    Hann,
    /// Hamming (0.54, 0.46).
    Hamming,
}

/// A bank of mel-spaced triangles with peak 1 over the power spectrum `|X|² / fft_len` (mel = 1127 ln(1 + f / 700)).
/// A triangle too narrow to hold a bin reads the spectrum at its peak, between the two nearest bins.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bank {
    /// Triangles, 1 to 128.
    pub filter_count: u16,
    /// Lower edge of the first triangle in Hz.
    pub low_hz: f32,
    /// Upper edge of the last triangle in Hz; 0 is half the rate.
    pub high_hz: f32,
}

/// How a mel energy is written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Level {
    /// `ln(energy + floor)`.
    Natural {
        /// Added to each energy, above 0.
        floor: f32,
    },
    /// `10 log10(max(energy, 1e-10))`, held above the window's loudest energy minus `range_db`.
    Decibel {
        /// Depth below the loudest, in dB, above 0.
        range_db: f32,
    },
    /// `(10 log10(max(energy, 1e-30)) - noise_floor_db) / (12 - noise_floor_db)`, clamped to 0..=1 and rounded to
    /// 1/256: the levels of Edge Impulse's MFE, with the loudest kept at 1 where theirs wraps to 0.
    Quantized {
        /// Level in dB that becomes 0, below 12.
        noise_floor_db: f32,
    },
}

/// Normalisation of each filter or coefficient over the frames of one window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Normalize {
    /// None.
    None,
    /// The mean over the window is removed.
    Mean,
    /// Mean removed and standard deviation made 1.
    MeanVariance,
    /// Mean removed and standard deviation made 1 over a sliding span of `len` frames, mirrored at the ends.
    Sliding {
        /// Frames in the span, odd.
        len: u16,
    },
}

/// What becomes of the frames of a window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Timeline {
    /// One row per frame.
    Frames,
    /// Two rows: mean and standard deviation over the frames.
    Moments,
    /// `count` rows: the active part of the window (from the first to the last frame whose energy is less than
    /// `trim_db` below the loudest) in `count` equal stretches, each averaged. A word said slowly or quickly, early or
    /// late in the window, gives the same rows.
    Stretches {
        /// Rows.
        count: u16,
        /// Depth in dB below the loudest frame at which the signal counts as silence; 0 keeps all frames.
        trim_db: f32,
    },
}

/// Settings of the MFE block.
///
/// # Shapes
/// `[rows, filters, channels]`, rows after [`Timeline`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mfe {
    /// Frames and their spectra.
    pub framing: Framing,
    /// Mel triangles.
    pub bank: Bank,
    /// Scale of the energies.
    pub level: Level,
    /// Normalisation over the frames.
    pub normalize: Normalize,
    /// Rows of the result.
    pub timeline: Timeline,
}

/// Settings of the MFCC block: the orthonormal DCT-II of log mel energies.
///
/// # Shapes
/// `[rows, coefficients (twice with delta), channels]`, rows after [`Timeline`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mfcc {
    /// Frames and their spectra.
    pub framing: Framing,
    /// Mel triangles.
    pub bank: Bank,
    /// Coefficients kept, 1 to the filter count.
    pub coefficient_count: u16,
    /// Coefficient 0 is the natural logarithm of the frame's energy in place of the DCT's.
    pub energy: bool,
    /// Added to each mel energy before the logarithm, above 0: below it lies noise.
    pub log_floor: f32,
    /// Lifter `1 + lifter/2 sin(π n / lifter)`; 0 is none.
    pub lifter: u16,
    /// Slopes over five frames follow the coefficients.
    pub delta: bool,
    /// Normalisation over the frames (before the slopes are taken).
    pub normalize: Normalize,
    /// Rows of the result.
    pub timeline: Timeline,
}

/// Settings of the image block: averaged down to `height` by `width`, then `(x + offset) * scale`.
///
/// The window is the picture, row by row: `window_len = source_height * source_width` pixels of 1 (grey) or 3
/// (red, green, blue) channels.
///
/// # Shapes
/// `[height, width, 1 or 3]`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Image {
    /// Height of the picture in the window.
    pub source_height: u16,
    /// Width of the picture in the window.
    pub source_width: u16,
    /// Height of the result, at most the source's.
    pub height: u16,
    /// Width of the result, at most the source's.
    pub width: u16,
    /// Colours become one brightness: 0.299 red + 0.587 green + 0.114 blue.
    pub grey: bool,
    /// Added to every value first.
    pub offset: f32,
    /// Factor on every value after the offset.
    pub scale: f32,
}
