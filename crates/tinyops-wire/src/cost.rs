//! What scoring costs a device: three bytes behind the summary of a report period, which make its frame one of
//! version 2, and in a shadow report.
//!
//! ```text
//! 0  1  mean time from a window to its answer
//! 1  1  the longest
//! 2  1  most memory in use at once, as a share of what the device has; 0 if it does not say
//! ```
//! Codes are of logarithms, dithered as the summary's are, by a stream of their own.

use tinyops_sketch::{Dither, Quantizer};

use crate::frame::FrameError;
use crate::summary::{COST_VERSION, Format};

/// Bytes behind a summary.
pub const COST_BYTES: usize = 3;

/// Tells the dither of these codes from that of the summary before them.
const STREAM: u64 = 0x636f_7374;

/// Powers of two of microseconds, from 2 µs to half a minute: a step is 7 %.
const TIME: Quantizer = Quantizer {
    bits: 8,
    low: 1.0,
    high: 25.0,
};

/// Powers of two of a share, from one in 256 to all: a step is 2 %.
const SHARE: Quantizer = Quantizer {
    bits: 8,
    low: -8.0,
    high: 0.0,
};

/// What scoring cost over a report period.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cost {
    /// Mean time from a window to its answer, in microseconds.
    pub mean_us: f32,
    /// The longest.
    pub max_us: f32,
    /// Most memory that was in use at once since the boot, as a share of what the device has; none if it does not say.
    pub ram_share: Option<f32>,
}

impl Cost {
    /// Adds it to the encoded summary in the first `frame_len` bytes of `out`; answers the new length.
    ///
    /// A frame for links of 11 bytes has no room for it, and stays as it is. `seed` and `sequence` are those of the
    /// summary.
    ///
    /// # Errors
    /// [`FrameError::Length`] if `out` has too little room.
    pub fn append(
        &self,
        format: Format,
        frame_len: usize,
        (seed, sequence): (u64, u32),
        out: &mut [u8],
    ) -> Result<usize, FrameError> {
        if format == Format::M4 {
            return Ok(frame_len);
        }
        let end = frame_len + COST_BYTES;
        let frame = out.get_mut(..end).filter(|_| frame_len > 0);
        let frame = frame.ok_or(FrameError::Length)?;
        let codes = self.encode((seed, sequence));
        frame[frame_len..].copy_from_slice(&codes);
        frame[0] = frame[0] & 0xf | COST_VERSION << 4;
        Ok(end)
    }

    pub(crate) fn encode(&self, (seed, sequence): (u64, u32)) -> [u8; COST_BYTES] {
        let mut dither = Dither::new(seed ^ STREAM, sequence);
        let mut code = |quantizer: Quantizer, value: f32| {
            quantizer.encode(libm::log2f(value), &mut dither) as u8
        };
        let (mean, max) = (code(TIME, self.mean_us), code(TIME, self.max_us));
        let ram = self.ram_share.map_or(0, |share| code(SHARE, share).max(1));
        [mean, max, ram]
    }

    pub(crate) fn decode(codes: &[u8; COST_BYTES], (seed, sequence): (u64, u32)) -> Cost {
        let mut dither = Dither::new(seed ^ STREAM, sequence);
        let [mean, max, ram] = *codes;
        let mut value = |quantizer: Quantizer, code: u8| {
            libm::exp2f(quantizer.decode(u32::from(code), &mut dither))
        };
        let mean_us = value(TIME, mean);
        Cost {
            mean_us,
            max_us: value(TIME, max).max(mean_us),
            ram_share: (ram > 0).then(|| value(SHARE, ram)),
        }
    }
}
