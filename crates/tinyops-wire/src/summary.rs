//! Frames `M6H8`, `M8` and `M4`: a report period in 51, 24 or 11 bytes.
//!
//! The bits of a frame follow its header, least significant first, one channel after the other in the
//! order of the baseline: mean deviation, logarithm of the spread, then (M6H8) the roots of the bin
//! shares; then the roots of the class shares. Every code is dithered. Sizes below are for nine
//! channels and four classes.
//!
//! ```text
//!        header                                         per channel        per class  bytes
//! M6H8   kind, model u16, epoch u16, count, flags: 7 B  6 + 6 + 8 × 3 bit  6 bit      51
//! M8     kind, epoch u8, count: 3 B                     8 + 8 bit          6 bit      24
//! M4     kind: 1 B                                      4 + 4 bit          2 bit      11
//! ```

use tinyops_sketch::{BINS, CHANNELS_MAX, CLASSES_MAX, ChannelSummary, Dither, Quantizer, Summary};

use crate::bytes::{BitReader, BitWriter, Reader, Writer};
use crate::cost::{COST_BYTES, Cost};
use crate::frame::{Flags, FrameError, VERSION, kind};

/// Summaries have a second version, which says at its end what scoring cost ([`crate::cost`]).
pub(crate) const COST_VERSION: u8 = 2;

/// Most bytes of any summary frame: nine channels and 32 classes as M6H8, and the cost.
pub const FRAME_BYTES_MAX: usize = Format::M6H8.frame_len(CHANNELS_MAX, CLASSES_MAX) + COST_BYTES;

/// How much a summary says of each channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Moments of 6 bits and histograms of 8 × 3 bits: the daily default.
    M6H8,
    /// Moments of 8 bits.
    M8,
    /// Moments of 4 bits, for links of 11 bytes.
    M4,
}

impl Format {
    /// Bytes of a frame of this format, header and all, without the cost.
    pub const fn frame_len(self, channel_count: usize, class_count: usize) -> usize {
        self.header_len() + self.bits_len(channel_count, class_count)
    }

    const fn bits_len(self, channel_count: usize, class_count: usize) -> usize {
        let histogram = if matches!(self, Format::M6H8) {
            3 * BINS
        } else {
            0
        };
        let channel = 2 * self.moment_bits() as usize + histogram;
        (channel_count * channel + class_count * self.class_bits() as usize).div_ceil(8)
    }

    const fn header_len(self) -> usize {
        match self {
            Format::M6H8 => 7,
            Format::M8 => 3,
            Format::M4 => 1,
        }
    }

    const fn moment_bits(self) -> u32 {
        match self {
            Format::M6H8 => 6,
            Format::M8 => 8,
            Format::M4 => 4,
        }
    }

    const fn class_bits(self) -> u32 {
        match self {
            Format::M6H8 | Format::M8 => 6,
            Format::M4 => 2,
        }
    }

    /// Mean deviations reach two standard deviations either way.
    const fn mean(self) -> Quantizer {
        Quantizer {
            bits: self.moment_bits(),
            low: -2.0,
            high: 2.0,
        }
    }

    /// Spreads reach a factor of e either way.
    const fn ln_sd(self) -> Quantizer {
        Quantizer {
            bits: self.moment_bits(),
            low: -1.0,
            high: 1.0,
        }
    }

    const fn class_share_root(self) -> Quantizer {
        Quantizer {
            bits: self.class_bits(),
            low: 0.0,
            high: 1.0,
        }
    }

    const fn code(self) -> u8 {
        match self {
            Format::M6H8 => kind::M6H8,
            Format::M8 => kind::M8,
            Format::M4 => kind::M4,
        }
    }
}

/// A root of a share in 3 bits; a share of half or more counts as half, `√(4 / 8)`.
const BIN_SHARE_ROOT: Quantizer = Quantizer {
    bits: 3,
    low: 0.0,
    high: core::f32::consts::FRAC_1_SQRT_2,
};

/// What a summary says besides its numbers; what a shorter header has no room for reads as 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// Low 16 bits of the model id.
    pub model: u16,
    /// Counts the reports of this model; M8 carries its low 8 bits.
    pub epoch: u16,
    /// Windows in it as `8 log2(count + 1)`, rounded; 0 also for "not said".
    pub count_code: u8,
    /// Facts about the device.
    pub flags: Flags,
}

impl Header {
    /// Windows that the count code stands for, to about 9 %.
    pub fn count(&self) -> f32 {
        libm::exp2f(f32::from(self.count_code) / 8.0) - 1.0
    }

    fn count_code_of(count: f32) -> u8 {
        libm::roundf(8.0 * libm::log2f(count.max(0.0) + 1.0)).min(255.0) as u8
    }
}

/// A summary frame whose bits await the shape of the baseline.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SummaryFrame<'a> {
    /// Which of the three it is.
    pub format: Format,
    /// What it says besides its numbers.
    pub header: Header,
    bits: &'a [u8],
    cost: Option<[u8; COST_BYTES]>,
}

impl<'a> SummaryFrame<'a> {
    /// Writes a summary as a frame; answers how many bytes.
    ///
    /// `seed` is the device's ([`crate::DeviceKey::dither_seed`]) and `sequence` that of the envelope
    /// or of the link; the receiver needs both. The count in `header` is taken from the summary.
    ///
    /// # Errors
    /// [`FrameError::Length`] if `out` is shorter than [`Format::frame_len`].
    pub fn encode(
        format: Format,
        header: Header,
        summary: &Summary,
        (seed, sequence): (u64, u32),
        out: &mut [u8],
    ) -> Result<usize, FrameError> {
        let frame_len = format.frame_len(summary.channels().len(), summary.class_shares().len());
        let out = out.get_mut(..frame_len).ok_or(FrameError::Length)?;
        let (head, bits) = out.split_at_mut(format.header_len());
        let count_code = Header::count_code_of(summary.count);
        write_header(
            format,
            Header {
                count_code,
                ..header
            },
            VERSION,
            &mut Writer::new(head),
        )
        .ok_or(FrameError::Length)?;
        bits.fill(0);
        let mut dither = Dither::new(seed, sequence);
        let mut bits = BitWriter::new(bits);
        let mut put = |quantizer: Quantizer, value: f32| {
            bits.put(quantizer.encode(value, &mut dither), quantizer.bits);
        };
        for channel in summary.channels() {
            put(format.mean(), channel.mean);
            put(format.ln_sd(), channel.ln_sd);
            if format == Format::M6H8 {
                for share in channel.shares.unwrap_or_default() {
                    put(BIN_SHARE_ROOT, libm::sqrtf(share));
                }
            }
        }
        for share in summary.class_shares() {
            put(format.class_share_root(), libm::sqrtf(*share));
        }
        Ok(frame_len)
    }

    /// What the frame says, given the shape of the model's baseline and the dither that it was made with.
    ///
    /// Shares are scaled to sum to 1. The count of an M4 is 0, which is not said.
    ///
    /// # Errors
    /// [`FrameError::Length`] if a frame of that shape has another length.
    pub fn decode(
        &self,
        channel_count: usize,
        class_count: usize,
        (seed, sequence): (u64, u32),
    ) -> Result<Summary, FrameError> {
        let mut dither = Dither::new(seed, sequence);
        self.read_bits(channel_count, class_count, |quantizer, code| {
            quantizer.decode(code, &mut dither)
        })
    }

    /// The same for who has no key of the device, and so not the dither: right in the mean over many reports, and each
    /// number up to a whole step off instead of half of one.
    ///
    /// # Errors
    /// [`FrameError::Length`] if a frame of that shape has another length.
    pub fn decode_undithered(
        &self,
        channel_count: usize,
        class_count: usize,
    ) -> Result<Summary, FrameError> {
        self.read_bits(channel_count, class_count, |quantizer, code| {
            quantizer.decode_undithered(code)
        })
    }

    fn read_bits(
        &self,
        channel_count: usize,
        class_count: usize,
        mut value: impl FnMut(Quantizer, u32) -> f32,
    ) -> Result<Summary, FrameError> {
        if channel_count > CHANNELS_MAX
            || class_count > CLASSES_MAX
            || self.bits.len() != self.format.bits_len(channel_count, class_count)
        {
            return Err(FrameError::Length);
        }
        let mut bits = BitReader::new(self.bits);
        let mut take = |quantizer: Quantizer| value(quantizer, bits.take(quantizer.bits));
        let mut channels = [ChannelSummary::default(); CHANNELS_MAX];
        for channel in &mut channels[..channel_count] {
            channel.mean = take(self.format.mean());
            channel.ln_sd = take(self.format.ln_sd());
            if self.format == Format::M6H8 {
                let mut shares: [f32; BINS] =
                    core::array::from_fn(|_| squared(take(BIN_SHARE_ROOT)));
                scale_to_one(&mut shares);
                channel.shares = Some(shares);
            }
        }
        let mut class_shares = [0.0; CLASSES_MAX];
        let class_shares = &mut class_shares[..class_count];
        for share in class_shares.iter_mut() {
            *share = squared(take(self.format.class_share_root()));
        }
        scale_to_one(class_shares);
        Ok(Summary::new(
            self.header.count(),
            &channels[..channel_count],
            class_shares,
        ))
    }

    /// What scoring cost, if the frame says so, given the dither that it was made with.
    pub fn cost(&self, dither: (u64, u32)) -> Option<Cost> {
        Some(Cost::decode(self.cost.as_ref()?, dither))
    }

    pub(crate) fn read(code: u8, version: u8, reader: &mut Reader<'a>) -> Option<SummaryFrame<'a>> {
        let mut header = Header::default();
        let format = match code {
            kind::M6H8 => {
                header.model = reader.u16()?;
                header.epoch = reader.u16()?;
                header.count_code = reader.u8()?;
                header.flags = Flags(reader.u8()?);
                Format::M6H8
            }
            kind::M8 => {
                header.epoch = u16::from(reader.u8()?);
                header.count_code = reader.u8()?;
                Format::M8
            }
            _ => Format::M4,
        };
        let mut bits = core::mem::take(&mut reader.rest);
        let mut cost = None;
        if version == COST_VERSION {
            let (before, codes) = bits.split_last_chunk()?;
            (bits, cost) = (before, Some(*codes));
        }
        Some(SummaryFrame {
            format,
            header,
            bits,
            cost,
        })
    }

    pub(crate) fn write(&self, out: &mut Writer<'_>) -> Option<()> {
        let version = match self.cost {
            Some(_) => COST_VERSION,
            None => VERSION,
        };
        write_header(self.format, self.header, version, out)?;
        out.put(self.bits)?;
        self.cost.map_or(Some(()), |codes| out.put(&codes))
    }
}

fn write_header(format: Format, header: Header, version: u8, out: &mut Writer<'_>) -> Option<()> {
    out.put(&[format.code() | version << 4])?;
    match format {
        Format::M6H8 => {
            out.put(&header.model.to_le_bytes())?;
            out.put(&header.epoch.to_le_bytes())?;
            out.put(&[header.count_code, header.flags.0])
        }
        Format::M8 => out.put(&[header.epoch as u8, header.count_code]),
        Format::M4 => Some(()),
    }
}

fn squared(root: f32) -> f32 {
    root * root
}

fn scale_to_one(shares: &mut [f32]) {
    let sum: f32 = shares.iter().sum();
    if sum > 0.0 {
        shares.iter_mut().for_each(|share| *share /= sum);
    }
}
