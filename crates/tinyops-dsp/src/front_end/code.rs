//! The bytes of a front end, as a capsule carries them (`docs/formats/front-end.md`).

use super::{
    Analysis, Bands, Bank, Block, Filter, FilterKind, Flatten, Framing, FrontEnd, FrontEndError,
    Image, Level, MaxHold, Mfcc, Mfe, Normalize, Raw, Spectral, Taper, Timeline,
};

/// Version of the layout, the first byte.
const VERSION: u8 = 1;

impl FrontEnd {
    /// Writes the settings; returns how many bytes.
    ///
    /// # Errors
    /// [`FrontEndError::Truncated`] when `out` is too short (64 bytes always suffice).
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, FrontEndError> {
        let mut w = Writer { out, len: 0 };
        w.u8(VERSION)?;
        w.f32(self.rate_hz)?;
        w.u16(self.channel_count)?;
        w.put(&self.window_len.to_le_bytes())?;
        match &self.block {
            Block::Raw(raw) => {
                w.u8(0)?;
                w.f32(raw.scale)?;
            }
            Block::Flatten(flatten) => {
                w.u8(1)?;
                w.f32(flatten.scale)?;
                w.flags([
                    flatten.average,
                    flatten.minimum,
                    flatten.maximum,
                    flatten.rms,
                    flatten.deviation,
                    flatten.skewness,
                    flatten.kurtosis,
                ])?;
            }
            Block::Spectral(spectral) => {
                w.u8(2)?;
                w.spectral(spectral)?;
            }
            Block::Mfe(mfe) => {
                w.u8(3)?;
                w.framing(&mfe.framing)?;
                w.bank(&mfe.bank)?;
                w.level(mfe.level)?;
                w.normalize(mfe.normalize)?;
                w.timeline(mfe.timeline)?;
            }
            Block::Mfcc(mfcc) => {
                w.u8(4)?;
                w.framing(&mfcc.framing)?;
                w.bank(&mfcc.bank)?;
                w.u16(mfcc.coefficient_count)?;
                w.flags([mfcc.energy, mfcc.delta])?;
                w.f32(mfcc.log_floor)?;
                w.u16(mfcc.lifter)?;
                w.normalize(mfcc.normalize)?;
                w.timeline(mfcc.timeline)?;
            }
            Block::Image(image) => {
                w.u8(5)?;
                w.u16(image.source_height)?;
                w.u16(image.source_width)?;
                w.u16(image.height)?;
                w.u16(image.width)?;
                w.flags([image.grey])?;
                w.f32(image.offset)?;
                w.f32(image.scale)?;
            }
        }
        Ok(w.len)
    }

    /// Reads and checks settings; returns them and how many bytes they took.
    ///
    /// # Errors
    /// For any bytes that [`FrontEnd::encode`] does not write, and for settings out of range.
    pub fn decode(bytes: &[u8]) -> Result<(FrontEnd, usize), FrontEndError> {
        let mut r = Reader { bytes };
        let version = r.u8()?;
        if version != VERSION {
            return Err(FrontEndError::Version(version));
        }
        let (rate_hz, channel_count) = (r.f32()?, r.u16()?);
        let window_len = u32::from_le_bytes(r.take()?);
        let block = match r.u8()? {
            0 => Block::Raw(Raw { scale: r.f32()? }),
            1 => {
                let scale = r.f32()?;
                let [
                    average,
                    minimum,
                    maximum,
                    rms,
                    deviation,
                    skewness,
                    kurtosis,
                ] = r.flags()?;
                Block::Flatten(Flatten {
                    scale,
                    average,
                    minimum,
                    maximum,
                    rms,
                    deviation,
                    skewness,
                    kurtosis,
                })
            }
            2 => Block::Spectral(r.spectral()?),
            3 => Block::Mfe(Mfe {
                framing: r.framing()?,
                bank: r.bank()?,
                level: r.level()?,
                normalize: r.normalize()?,
                timeline: r.timeline()?,
            }),
            4 => {
                let (framing, bank, coefficient_count) = (r.framing()?, r.bank()?, r.u16()?);
                let [energy, delta] = r.flags()?;
                Block::Mfcc(Mfcc {
                    framing,
                    bank,
                    coefficient_count,
                    energy,
                    delta,
                    log_floor: r.f32()?,
                    lifter: r.u16()?,
                    normalize: r.normalize()?,
                    timeline: r.timeline()?,
                })
            }
            5 => {
                let (source_height, source_width) = (r.u16()?, r.u16()?);
                let (height, width) = (r.u16()?, r.u16()?);
                let [grey] = r.flags()?;
                let (offset, scale) = (r.f32()?, r.f32()?);
                Block::Image(Image {
                    source_height,
                    source_width,
                    height,
                    width,
                    grey,
                    offset,
                    scale,
                })
            }
            tag => return Err(FrontEndError::Tag(tag)),
        };
        let end = FrontEnd {
            rate_hz,
            channel_count,
            window_len,
            block,
        };
        end.check()?;
        Ok((end, bytes.len() - r.bytes.len()))
    }
}

struct Writer<'a> {
    out: &'a mut [u8],
    len: usize,
}

impl Writer<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), FrontEndError> {
        let stop = self.len + bytes.len();
        let room = self
            .out
            .get_mut(self.len..stop)
            .ok_or(FrontEndError::Truncated)?;
        room.copy_from_slice(bytes);
        self.len = stop;
        Ok(())
    }

    fn u8(&mut self, x: u8) -> Result<(), FrontEndError> {
        self.put(&[x])
    }

    fn u16(&mut self, x: u16) -> Result<(), FrontEndError> {
        self.put(&x.to_le_bytes())
    }

    fn f32(&mut self, x: f32) -> Result<(), FrontEndError> {
        self.put(&x.to_le_bytes())
    }

    /// Flags share a byte, the first in its lowest bit.
    fn flags<const COUNT: usize>(&mut self, flags: [bool; COUNT]) -> Result<(), FrontEndError> {
        let bits = flags
            .iter()
            .enumerate()
            .map(|(place, &flag)| u8::from(flag) << place);
        self.u8(bits.sum())
    }

    fn spectral(&mut self, spectral: &Spectral) -> Result<(), FrontEndError> {
        self.f32(spectral.scale)?;
        self.u8(match spectral.filter.kind {
            FilterKind::None => 0,
            FilterKind::Low => 1,
            FilterKind::High => 2,
        })?;
        self.f32(spectral.filter.cutoff_hz)?;
        self.u8(spectral.filter.order)?;
        match &spectral.analysis {
            Analysis::Bands(bands) => {
                self.u8(0)?;
                self.u16(bands.fft_len)?;
                self.u8(bands.band_count)?;
                self.f32(bands.low_hz)?;
                self.f32(bands.high_hz)?;
                self.f32(bands.log_floor)?;
                self.flags([bands.shape, bands.percentiles, bands.magnitude, bands.cross])
            }
            Analysis::MaxHold(hold) => {
                self.u8(1)?;
                self.u16(hold.fft_len)?;
                self.flags([hold.log, hold.overlap])
            }
        }
    }

    fn framing(&mut self, framing: &Framing) -> Result<(), FrontEndError> {
        self.f32(framing.scale)?;
        self.u16(framing.frame_len)?;
        self.u16(framing.stride)?;
        self.u16(framing.fft_len)?;
        self.u8(match framing.taper {
            Taper::Rectangular => 0,
            Taper::Hann => 1,
            Taper::Hamming => 2,
        })?;
        self.f32(framing.pre_emphasis)
    }

    fn bank(&mut self, bank: &Bank) -> Result<(), FrontEndError> {
        self.u16(bank.filter_count)?;
        self.f32(bank.low_hz)?;
        self.f32(bank.high_hz)
    }

    fn level(&mut self, level: Level) -> Result<(), FrontEndError> {
        let (tag, x) = match level {
            Level::Natural { floor } => (0, floor),
            Level::Decibel { range_db } => (1, range_db),
            Level::Quantized { noise_floor_db } => (2, noise_floor_db),
        };
        self.u8(tag)?;
        self.f32(x)
    }

    fn normalize(&mut self, normalize: Normalize) -> Result<(), FrontEndError> {
        match normalize {
            Normalize::None => self.u8(0),
            Normalize::Mean => self.u8(1),
            Normalize::MeanVariance => self.u8(2),
            Normalize::Sliding { len } => {
                self.u8(3)?;
                self.u16(len)
            }
        }
    }

    fn timeline(&mut self, timeline: Timeline) -> Result<(), FrontEndError> {
        match timeline {
            Timeline::Frames => self.u8(0),
            Timeline::Moments => self.u8(1),
            Timeline::Stretches { count, trim_db } => {
                self.u8(2)?;
                self.u16(count)?;
                self.f32(trim_db)
            }
        }
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
}

impl Reader<'_> {
    fn take<const LEN: usize>(&mut self) -> Result<[u8; LEN], FrontEndError> {
        let (head, rest) = self
            .bytes
            .split_first_chunk()
            .ok_or(FrontEndError::Truncated)?;
        self.bytes = rest;
        Ok(*head)
    }

    fn u8(&mut self) -> Result<u8, FrontEndError> {
        Ok(self.take::<1>()?[0])
    }

    fn u16(&mut self) -> Result<u16, FrontEndError> {
        Ok(u16::from_le_bytes(self.take()?))
    }

    fn f32(&mut self) -> Result<f32, FrontEndError> {
        Ok(f32::from_le_bytes(self.take()?))
    }

    fn flags<const COUNT: usize>(&mut self) -> Result<[bool; COUNT], FrontEndError> {
        let bits = self.u8()?;
        if u32::from(bits) >= 1 << COUNT {
            return Err(FrontEndError::Tag(bits));
        }
        Ok(core::array::from_fn(|place| bits >> place & 1 == 1))
    }

    fn spectral(&mut self) -> Result<Spectral, FrontEndError> {
        let scale = self.f32()?;
        let kind = match self.u8()? {
            0 => FilterKind::None,
            1 => FilterKind::Low,
            2 => FilterKind::High,
            tag => return Err(FrontEndError::Tag(tag)),
        };
        let filter = Filter {
            kind,
            cutoff_hz: self.f32()?,
            order: self.u8()?,
        };
        let analysis = match self.u8()? {
            0 => {
                let (fft_len, band_count) = (self.u16()?, self.u8()?);
                let (low_hz, high_hz, log_floor) = (self.f32()?, self.f32()?, self.f32()?);
                let [shape, percentiles, magnitude, cross] = self.flags()?;
                Analysis::Bands(Bands {
                    fft_len,
                    band_count,
                    low_hz,
                    high_hz,
                    log_floor,
                    shape,
                    percentiles,
                    magnitude,
                    cross,
                })
            }
            1 => {
                let fft_len = self.u16()?;
                let [log, overlap] = self.flags()?;
                Analysis::MaxHold(MaxHold {
                    fft_len,
                    log,
                    overlap,
                })
            }
            tag => return Err(FrontEndError::Tag(tag)),
        };
        Ok(Spectral {
            scale,
            filter,
            analysis,
        })
    }

    fn framing(&mut self) -> Result<Framing, FrontEndError> {
        Ok(Framing {
            scale: self.f32()?,
            frame_len: self.u16()?,
            stride: self.u16()?,
            fft_len: self.u16()?,
            taper: match self.u8()? {
                0 => Taper::Rectangular,
                1 => Taper::Hann,
                2 => Taper::Hamming,
                tag => return Err(FrontEndError::Tag(tag)),
            },
            pre_emphasis: self.f32()?,
        })
    }

    fn bank(&mut self) -> Result<Bank, FrontEndError> {
        Ok(Bank {
            filter_count: self.u16()?,
            low_hz: self.f32()?,
            high_hz: self.f32()?,
        })
    }

    fn level(&mut self) -> Result<Level, FrontEndError> {
        match (self.u8()?, self.f32()?) {
            (0, floor) => Ok(Level::Natural { floor }),
            (1, range_db) => Ok(Level::Decibel { range_db }),
            (2, noise_floor_db) => Ok(Level::Quantized { noise_floor_db }),
            (tag, _) => Err(FrontEndError::Tag(tag)),
        }
    }

    fn normalize(&mut self) -> Result<Normalize, FrontEndError> {
        match self.u8()? {
            0 => Ok(Normalize::None),
            1 => Ok(Normalize::Mean),
            2 => Ok(Normalize::MeanVariance),
            3 => Ok(Normalize::Sliding { len: self.u16()? }),
            tag => Err(FrontEndError::Tag(tag)),
        }
    }

    fn timeline(&mut self) -> Result<Timeline, FrontEndError> {
        match self.u8()? {
            0 => Ok(Timeline::Frames),
            1 => Ok(Timeline::Moments),
            2 => Ok(Timeline::Stretches {
                count: self.u16()?,
                trim_db: self.f32()?,
            }),
            tag => Err(FrontEndError::Tag(tag)),
        }
    }
}
