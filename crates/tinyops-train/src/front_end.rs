//! The front end as the project file says it: the `[train.front_end]` table.
//!
//! Lengths are in milliseconds where a rate is needed to make them readings, so that the same table
//! serves recordings of any rate. [`FrontEndSpec::settle`] turns it into the device's settings.

use serde::{Deserialize, Serialize};
use tinyops_dsp::{
    Analysis, Bands, Bank, Block, Filter, FilterKind, Flatten, Framing, FrontEnd, Image, Level,
    MaxHold, Mfcc, Mfe, Normalize, Raw, Spectral, Taper, Timeline,
};

use crate::{TrainError, Windows};

/// What the signal processing makes of a window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum FrontEndSpec {
    /// The readings as they are.
    Raw(RawSpec),
    /// A few statistics of each channel.
    Flatten(FlattenSpec),
    /// Statistics and log powers of geometric bands of each channel.
    Spectral(SpectralSpec),
    /// Statistics and log powers of FFT bins, the largest over frames, as Edge Impulse's block has them.
    MaxHold(MaxHoldSpec),
    /// Log energies of mel filters, frame by frame.
    Mfe(MfeSpec),
    /// Mel-frequency cepstral coefficients, frame by frame.
    Mfcc(MfccSpec),
    /// Pixels.
    Image(ImageSpec),
}

impl Default for FrontEndSpec {
    fn default() -> Self {
        Self::Spectral(SpectralSpec::default())
    }
}

/// The readings as they are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RawSpec {
    /// Factor on every reading.
    pub scale: f32,
}

impl Default for RawSpec {
    fn default() -> Self {
        Self { scale: 1.0 }
    }
}

/// A few statistics of each channel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FlattenSpec {
    /// Factor on every reading.
    pub scale: f32,
    /// Mean.
    pub average: bool,
    /// Smallest reading.
    pub minimum: bool,
    /// Largest reading.
    pub maximum: bool,
    /// Root of the mean square.
    pub rms: bool,
    /// Standard deviation.
    pub deviation: bool,
    /// Skewness.
    pub skewness: bool,
    /// Excess kurtosis.
    pub kurtosis: bool,
}

impl Default for FlattenSpec {
    fn default() -> Self {
        Self {
            scale: 1.0,
            average: true,
            minimum: true,
            maximum: true,
            rms: true,
            deviation: true,
            skewness: true,
            kurtosis: true,
        }
    }
}

/// A Butterworth filter before the analysis.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FilterSpec {
    /// No filter.
    #[default]
    None,
    /// What lies below `cutoff_hz` passes.
    Low,
    /// What lies above `cutoff_hz` passes.
    High,
}

/// Statistics and log powers of geometric bands of each channel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SpectralSpec {
    /// Factor on every reading.
    pub scale: f32,
    /// Filter before the analysis.
    pub filter: FilterSpec,
    /// Its corner, in Hz.
    pub cutoff_hz: f32,
    /// Its order: 2, 4, 6 or 8.
    pub order: u8,
    /// Readings in a frame, a power of two; 0 is the window rounded up to one.
    pub fft_len: u16,
    /// Bands.
    pub bands: u8,
    /// Lower edge of the first band, in Hz; 0 is the first bin a window resolves.
    pub low_hz: f32,
    /// Upper edge of the last band, in Hz; 0 is half the rate.
    pub high_hz: f32,
    /// Added to each power before the logarithm: about the power of the sensor's own noise.
    pub log_floor: f32,
    /// Seven further numbers a channel: extremes, zero crossings, autocorrelation, centroid, entropy.
    pub shape: bool,
    /// Five quantiles a channel.
    pub percentiles: bool,
    /// The length of each three channels' vector as a further channel.
    pub magnitude: bool,
    /// The correlation of each pair of channels.
    pub cross: bool,
}

impl Default for SpectralSpec {
    fn default() -> Self {
        Self {
            scale: 1.0,
            filter: FilterSpec::None,
            cutoff_hz: 0.0,
            order: 4,
            fft_len: 0,
            bands: 8,
            low_hz: 0.0,
            high_hz: 0.0,
            log_floor: 1e-6,
            shape: false,
            percentiles: false,
            magnitude: false,
            cross: false,
        }
    }
}

/// Statistics and log powers of FFT bins, the largest over frames.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MaxHoldSpec {
    /// Factor on every reading.
    pub scale: f32,
    /// Filter before the analysis.
    pub filter: FilterSpec,
    /// Its corner, in Hz.
    pub cutoff_hz: f32,
    /// Its order: 2, 4, 6 or 8.
    pub order: u8,
    /// Readings in a frame, a power of two.
    pub fft_len: u16,
    /// Bins as logarithms.
    pub log: bool,
    /// Frames overlap by half.
    pub overlap: bool,
}

impl Default for MaxHoldSpec {
    fn default() -> Self {
        Self {
            scale: 1.0,
            filter: FilterSpec::None,
            cutoff_hz: 0.0,
            order: 4,
            fft_len: 16,
            log: true,
            overlap: true,
        }
    }
}

/// Normalisation of each filter or coefficient over the frames of one window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NormalizeSpec {
    /// None.
    None,
    /// The window's mean is removed: the microphone and the room, which colour all of it, go.
    #[default]
    Mean,
    /// Mean removed and deviation made 1.
    MeanVariance,
}

/// What becomes of the frames of a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimelineSpec {
    /// One row a frame.
    #[default]
    Frames,
    /// Two rows: mean and deviation over the frames.
    Moments,
    /// `stretches` rows: the active part of the window in equal stretches.
    Stretches,
}

/// Log energies of mel filters, frame by frame.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MfeSpec {
    /// Factor on every reading.
    pub scale: f32,
    /// Length of a frame.
    pub frame_ms: f32,
    /// From one frame's start to the next.
    pub stride_ms: f32,
    /// Difference filter before the frames, 0 to below 1.
    pub pre_emphasis: f32,
    /// Mel filters.
    pub filters: u16,
    /// Lower edge of the first filter, in Hz.
    pub low_hz: f32,
    /// Upper edge of the last filter, in Hz; 0 is half the rate.
    pub high_hz: f32,
    /// Depth below the window's loudest energy that is still told apart, in dB.
    pub range_db: f32,
    /// Normalisation over the frames.
    pub normalize: NormalizeSpec,
    /// What becomes of the frames.
    pub timeline: TimelineSpec,
    /// Rows, with `timeline = "stretches"`.
    pub stretches: u16,
    /// Depth below the loudest frame that counts as silence at either end, in dB; 0 keeps all frames.
    pub trim_db: f32,
}

impl Default for MfeSpec {
    fn default() -> Self {
        Self {
            scale: 1.0,
            frame_ms: 32.0,
            stride_ms: 16.0,
            pre_emphasis: 0.97,
            filters: 32,
            low_hz: 80.0,
            high_hz: 0.0,
            range_db: 60.0,
            normalize: NormalizeSpec::Mean,
            timeline: TimelineSpec::Frames,
            stretches: 16,
            trim_db: 30.0,
        }
    }
}

/// Mel-frequency cepstral coefficients, frame by frame.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MfccSpec {
    /// Factor on every reading.
    pub scale: f32,
    /// Length of a frame.
    pub frame_ms: f32,
    /// From one frame's start to the next.
    pub stride_ms: f32,
    /// Difference filter before the frames, 0 to below 1.
    pub pre_emphasis: f32,
    /// Mel filters.
    pub filters: u16,
    /// Lower edge of the first filter, in Hz.
    pub low_hz: f32,
    /// Upper edge of the last filter, in Hz; 0 is half the rate.
    pub high_hz: f32,
    /// Coefficients kept.
    pub coefficients: u16,
    /// Coefficient 0 is the frame's log energy.
    pub energy: bool,
    /// Added to each mel energy before the logarithm, above 0: what lies below it is noise.
    pub log_floor: f32,
    /// Lifter; 0 is none.
    pub lifter: u16,
    /// Slopes over five frames follow the coefficients.
    pub delta: bool,
    /// Normalisation over the frames.
    pub normalize: NormalizeSpec,
    /// What becomes of the frames.
    pub timeline: TimelineSpec,
    /// Rows, with `timeline = "stretches"`.
    pub stretches: u16,
    /// Depth below the loudest frame that counts as silence at either end, in dB; 0 keeps all frames.
    pub trim_db: f32,
}

impl Default for MfccSpec {
    fn default() -> Self {
        Self {
            scale: 1.0,
            frame_ms: 32.0,
            stride_ms: 16.0,
            pre_emphasis: 0.97,
            filters: 32,
            low_hz: 80.0,
            high_hz: 0.0,
            coefficients: 13,
            energy: false,
            log_floor: 1e-8,
            lifter: 0,
            delta: true,
            normalize: NormalizeSpec::Mean,
            timeline: TimelineSpec::Stretches,
            stretches: 16,
            trim_db: 30.0,
        }
    }
}

/// Pixels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ImageSpec {
    /// Rows of the picture the network sees; 0 is those of the recordings.
    pub height: u16,
    /// Columns of the picture the network sees; 0 is those of the recordings.
    pub width: u16,
    /// Colours become one brightness.
    pub grey: bool,
    /// Added to every value first.
    pub offset: f32,
    /// Factor on every value after the offset.
    pub scale: f32,
}

impl Default for ImageSpec {
    fn default() -> Self {
        Self {
            height: 0,
            width: 0,
            grey: true,
            offset: 0.0,
            scale: 1.0 / 255.0,
        }
    }
}

impl FrontEndSpec {
    /// The settings for windows of this rate, length and channels, as a device carries them.
    ///
    /// # Errors
    /// [`TrainError::Setting`] where a setting makes no sense for these windows.
    pub fn settle(&self, windows: &Windows) -> Result<FrontEnd, TrainError> {
        let rate_hz = windows.rate_hz;
        let block = match self {
            Self::Raw(spec) => Block::Raw(Raw { scale: spec.scale }),
            Self::Flatten(spec) => Block::Flatten(Flatten {
                scale: spec.scale,
                average: spec.average,
                minimum: spec.minimum,
                maximum: spec.maximum,
                rms: spec.rms,
                deviation: spec.deviation,
                skewness: spec.skewness,
                kurtosis: spec.kurtosis,
            }),
            Self::Spectral(spec) => Block::Spectral(Spectral {
                scale: spec.scale,
                filter: filter(spec.filter, spec.cutoff_hz, spec.order),
                analysis: Analysis::Bands(Bands {
                    fft_len: spec.fft_len,
                    band_count: spec.bands,
                    low_hz: spec.low_hz,
                    high_hz: spec.high_hz,
                    log_floor: spec.log_floor,
                    shape: spec.shape,
                    percentiles: spec.percentiles,
                    magnitude: spec.magnitude,
                    cross: spec.cross,
                }),
            }),
            Self::MaxHold(spec) => Block::Spectral(Spectral {
                scale: spec.scale,
                filter: filter(spec.filter, spec.cutoff_hz, spec.order),
                analysis: Analysis::MaxHold(MaxHold {
                    fft_len: spec.fft_len,
                    log: spec.log,
                    overlap: spec.overlap,
                }),
            }),
            Self::Mfe(spec) => Block::Mfe(Mfe {
                framing: framing(
                    spec.scale,
                    spec.frame_ms,
                    spec.stride_ms,
                    spec.pre_emphasis,
                    rate_hz,
                )?,
                bank: Bank {
                    filter_count: spec.filters,
                    low_hz: spec.low_hz,
                    high_hz: spec.high_hz,
                },
                level: Level::Decibel {
                    range_db: spec.range_db,
                },
                normalize: normalize(spec.normalize),
                timeline: timeline(spec.timeline, spec.stretches, spec.trim_db),
            }),
            Self::Mfcc(spec) => Block::Mfcc(Mfcc {
                framing: framing(
                    spec.scale,
                    spec.frame_ms,
                    spec.stride_ms,
                    spec.pre_emphasis,
                    rate_hz,
                )?,
                bank: Bank {
                    filter_count: spec.filters,
                    low_hz: spec.low_hz,
                    high_hz: spec.high_hz,
                },
                coefficient_count: spec.coefficients,
                energy: spec.energy,
                log_floor: spec.log_floor,
                lifter: spec.lifter,
                delta: spec.delta,
                normalize: normalize(spec.normalize),
                timeline: timeline(spec.timeline, spec.stretches, spec.trim_db),
            }),
            Self::Image(spec) => {
                let Some([source_height, source_width]) = windows.image else {
                    return Err(TrainError::setting(
                        "train.front_end.kind",
                        "image",
                        "needs pictures, and these recordings are signals",
                    ));
                };
                let or_source = |len: u16, source: u16| if len == 0 { source } else { len };
                Block::Image(Image {
                    source_height,
                    source_width,
                    height: or_source(spec.height, source_height),
                    width: or_source(spec.width, source_width),
                    grey: spec.grey,
                    offset: spec.offset,
                    scale: spec.scale,
                })
            }
        };
        let front_end = FrontEnd {
            rate_hz,
            channel_count: windows.channel_count,
            window_len: windows.window_len,
            block,
        };
        front_end.check().map_err(|error| {
            let reason = format!(
                "{error} (windows of {} readings of {} channels at {rate_hz} Hz)",
                windows.window_len, windows.channel_count
            );
            TrainError::setting("train.front_end", self.name(), reason)
        })?;
        Ok(front_end)
    }

    /// The front end's name in the project file.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Raw(_) => "raw",
            Self::Flatten(_) => "flatten",
            Self::Spectral(_) => "spectral",
            Self::MaxHold(_) => "max_hold",
            Self::Mfe(_) => "mfe",
            Self::Mfcc(_) => "mfcc",
            Self::Image(_) => "image",
        }
    }
}

fn filter(kind: FilterSpec, cutoff_hz: f32, order: u8) -> Filter {
    let kind = match kind {
        FilterSpec::None => FilterKind::None,
        FilterSpec::Low => FilterKind::Low,
        FilterSpec::High => FilterKind::High,
    };
    Filter {
        kind,
        cutoff_hz,
        order,
    }
}

fn framing(
    scale: f32,
    frame_ms: f32,
    stride_ms: f32,
    pre_emphasis: f32,
    rate_hz: f32,
) -> Result<Framing, TrainError> {
    let readings = |key: &str, ms: f32| {
        let len = (ms * rate_hz / 1000.0).round();
        if (1.0..=4096.0).contains(&len) {
            Ok(len as u16)
        } else {
            let reason = format!("must be 1 to 4096 readings, and is {len} at {rate_hz} Hz");
            Err(TrainError::setting(key, ms, reason))
        }
    };
    let frame_len = readings("train.front_end.frame_ms", frame_ms)?;
    Ok(Framing {
        scale,
        frame_len,
        stride: readings("train.front_end.stride_ms", stride_ms)?,
        fft_len: frame_len.max(16).next_power_of_two(),
        taper: Taper::Hann,
        pre_emphasis,
    })
}

fn normalize(spec: NormalizeSpec) -> Normalize {
    match spec {
        NormalizeSpec::None => Normalize::None,
        NormalizeSpec::Mean => Normalize::Mean,
        NormalizeSpec::MeanVariance => Normalize::MeanVariance,
    }
}

fn timeline(spec: TimelineSpec, count: u16, trim_db: f32) -> Timeline {
    match spec {
        TimelineSpec::Frames => Timeline::Frames,
        TimelineSpec::Moments => Timeline::Moments,
        TimelineSpec::Stretches => Timeline::Stretches { count, trim_db },
    }
}
