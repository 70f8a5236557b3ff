//! The front end as the project file says it: the `[train.front_end]` table.

use serde::{Deserialize, Serialize};

/// What the signal processing makes of a window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum FrontEndSpec {
    /// The readings as they are.
    Raw(RawSpec),
    /// A few statistics of each channel.
    Flatten(FlattenSpec),
    /// Statistics and band powers of each channel.
    Spectral(SpectralSpec),
    /// Log powers of mel filters, frame by frame.
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
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RawSpec {}

/// A few statistics of each channel.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FlattenSpec {}

/// Statistics and band powers of each channel.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SpectralSpec {}

/// Log powers of mel filters.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MfeSpec {}

/// Mel-frequency cepstral coefficients.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MfccSpec {}

/// Pixels.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ImageSpec {}
