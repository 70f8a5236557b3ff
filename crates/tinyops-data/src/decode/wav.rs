//! RIFF/WAVE: integers of 8, 16, 24 and 32 bits, floats of 32 and 64 bits, any number of channels.
//!
//! | offset | bytes | |
//! |---|---|---|
//! | 0 | 12 | `RIFF`, length, `WAVE` |
//! | 12 | 8 + n | chunks: name, length, bytes, one more byte if the length is odd |
//!
//! Chunk `fmt `: format tag (1 integer, 3 float, 0xfffe: the tag stands in the sub-format at 24), channels, rate,
//! bytes per second, block, bits. Chunk `data`: blocks of one reading of each channel, little-endian.

use super::{Findings, Recording};
use crate::finding::{Code, Finding};
use crate::sample::Channel;

/// Decodes one WAV file. Readings are full scale, in -1..1, unit `FS`.
pub fn decode(bytes: &[u8], findings: &mut Findings<'_>) -> Option<Recording> {
    if !(bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WAVE")) {
        let finding = if bytes.starts_with(b"RF64") || bytes.starts_with(b"RIFX") {
            Finding::error(Code::Unsupported, "RF64 and RIFX files are not read")
                .hint("convert it to plain WAV")
        } else if bytes.len() < 12 && b"RIFF".starts_with(&bytes[..bytes.len().min(4)]) {
            Finding::error(Code::Truncated, "the file ends inside its header").hint("copy it again")
        } else {
            Finding::error(Code::Malformed, "the file does not begin like WAV")
                .hint("set `format` to what it is")
        };
        findings.push(finding.at_offset(0));
        return None;
    }
    let mut layout: Option<Layout> = None;
    let mut at = 12;
    while let Some(head) = bytes.get(at..at + 8) {
        let (name, len) = (&head[..4], u32_at(head, 4)? as usize);
        let body = &bytes[at + 8..];
        let cut = body.len() < len;
        let body = &body[..len.min(body.len())];
        match name {
            b"fmt " => match Layout::read(body) {
                Ok(read) => layout = Some(read),
                Err(finding) => {
                    findings.push(finding.at_offset(at as u64));
                    return None;
                }
            },
            b"data" => {
                let Some(layout) = layout else {
                    let message = "no format stands before the readings";
                    findings.push(Finding::error(Code::Malformed, message).at_offset(at as u64));
                    return None;
                };
                // A recorder that was cut off leaves the length at 0 or at its highest value.
                let body = if len == 0 || len == u32::MAX as usize {
                    &bytes[at + 8..]
                } else {
                    body
                };
                return Some(layout.recording(body, len, cut, at + 8, findings));
            }
            _ => {}
        }
        at = at.saturating_add(8 + len + len % 2);
    }
    let message = "the file ends before its readings";
    findings.push(
        Finding::error(Code::Truncated, message)
            .at_offset(bytes.len() as u64)
            .hint("copy it again"),
    );
    None
}

#[derive(Clone, Copy)]
struct Layout {
    encoding: Encoding,
    channel_count: usize,
    rate_hz: u32,
    reading_bytes: usize,
}

#[derive(Clone, Copy)]
enum Encoding {
    Unsigned8,
    Signed,
    Float,
}

impl Layout {
    fn read(body: &[u8]) -> Result<Layout, Finding> {
        let short = || Finding::error(Code::Truncated, "the format is too short");
        let u16_at = |at: usize| {
            let bytes = body.get(at..at + 2).and_then(|bytes| bytes.try_into().ok());
            bytes.map(u16::from_le_bytes).ok_or_else(short)
        };
        let channel_count = usize::from(u16_at(2)?);
        let rate_hz = u32_at(body, 4).ok_or_else(short)?;
        let block_bytes = usize::from(u16_at(12)?);
        let bits = u16_at(14)?;
        let tag = match u16_at(0)? {
            0xfffe => u16_at(24)?,
            tag => tag,
        };
        if channel_count == 0 || rate_hz == 0 {
            let message = format!("{channel_count} channels at {rate_hz} Hz are no recording");
            return Err(Finding::error(Code::Malformed, message));
        }
        let reading_bytes = block_bytes / channel_count;
        let encoding = match (tag, reading_bytes) {
            (1, 1) => Encoding::Unsigned8,
            (1, 2..=4) => Encoding::Signed,
            (3, 4 | 8) => Encoding::Float,
            _ => {
                let message = format!("{bits}-bit readings of format {tag} are not read");
                let hint = "convert it to 16-bit PCM";
                return Err(Finding::error(Code::Unsupported, message).hint(hint));
            }
        };
        if block_bytes % channel_count != 0 || usize::from(bits).div_ceil(8) > reading_bytes {
            let message = format!(
                "{channel_count} channels of {bits} bits do not fit a block of {block_bytes} bytes"
            );
            return Err(Finding::error(Code::Malformed, message));
        }
        Ok(Layout {
            encoding,
            channel_count,
            rate_hz,
            reading_bytes,
        })
    }

    fn recording(
        self,
        body: &[u8],
        len: usize,
        cut: bool,
        at: usize,
        findings: &mut Findings<'_>,
    ) -> Recording {
        let block_bytes = self.reading_bytes * self.channel_count;
        let whole = body.len() / block_bytes;
        if cut {
            let message = format!(
                "the header promises {len} bytes of readings, {} follow",
                body.len()
            );
            let end = (at + body.len()) as u64;
            findings.push(
                Finding::error(Code::Truncated, message)
                    .at_offset(end)
                    .hint("copy it again"),
            );
        } else if !body.len().is_multiple_of(block_bytes) {
            let message = "the last reading is not whole and left out";
            let end = (at + whole * block_bytes) as u64;
            findings.push(Finding::warning(Code::Truncated, message).at_offset(end));
        }
        let body = &body[..whole * block_bytes];
        let readings = body
            .chunks_exact(self.reading_bytes)
            .map(|bytes| self.reading(bytes));
        let name = |index: usize| match self.channel_count {
            1 => "audio".to_owned(),
            _ => format!("audio{index}"),
        };
        let channels = (0..self.channel_count).map(|index| Channel {
            name: name(index),
            unit: "FS".to_owned(),
        });
        let recording = Recording {
            rate_hz: Some(self.rate_hz as f32),
            // A hostile header may promise 65535 channels and no reading.
            channels: if whole > 0 {
                channels.collect()
            } else {
                Vec::new()
            },
            readings: readings.collect(),
            ..Recording::default()
        };
        if whole == 0 {
            findings.push(
                Finding::error(Code::Empty, "no reading follows the header").at_offset(at as u64),
            );
        }
        findings.not_finite(&recording);
        recording
    }

    fn reading(self, bytes: &[u8]) -> f32 {
        match self.encoding {
            Encoding::Unsigned8 => (f32::from(bytes[0]) - 128.0) / 128.0,
            Encoding::Signed => {
                // To the top of 32 bits, where every width has its sign.
                let mut wide = [0; 4];
                wide[4 - bytes.len()..].copy_from_slice(bytes);
                i32::from_le_bytes(wide) as f32 / 2_147_483_648.0
            }
            Encoding::Float => match bytes.try_into() {
                Ok(bytes) => f32::from_le_bytes(bytes),
                Err(_) => bytes
                    .try_into()
                    .map_or(f32::NAN, |bytes| f64::from_le_bytes(bytes) as f32),
            },
        }
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    bytes.try_into().ok().map(u32::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use hound::{SampleFormat, WavSpec, WavWriter};

    use super::*;
    use crate::finding::Report;
    use crate::spec::Missing;

    fn wav(
        bits_per_sample: u16,
        sample_format: SampleFormat,
        channels: u16,
        values: &[i32],
    ) -> Vec<u8> {
        let spec = WavSpec {
            channels,
            sample_rate: 8000,
            bits_per_sample,
            sample_format,
        };
        let mut bytes = Cursor::new(Vec::new());
        let mut writer = WavWriter::new(&mut bytes, spec).expect("a spec");
        for &value in values {
            match sample_format {
                SampleFormat::Int => writer.write_sample(value).expect("a value that fits"),
                SampleFormat::Float => writer.write_sample(value as f32 / 4.0).expect("a value"),
            }
        }
        writer.finalize().expect("memory");
        bytes.into_inner()
    }

    fn read(bytes: &[u8]) -> (Option<Recording>, Vec<Code>) {
        let mut report = Report::new();
        let recording = decode(
            bytes,
            &mut Findings::new("a.wav", Missing::Refuse, &mut report),
        );
        let codes = report.findings.iter().map(|finding| finding.code).collect();
        (recording, codes)
    }

    #[track_caller]
    fn check(bits: u16, format: SampleFormat, values: &[i32], expected: &[f32]) {
        let (recording, codes) = read(&wav(bits, format, 2, values));
        let recording = recording.expect("a recording");
        assert_eq!(codes, []);
        assert_eq!(recording.readings, expected);
        assert_eq!(recording.channels.len(), 2);
        assert_eq!(recording.rate_hz, Some(8000.0));
    }

    #[test]
    fn all_widths_are_full_scale() {
        check(8, SampleFormat::Int, &[-128, 64], &[-1.0, 0.5]);
        check(16, SampleFormat::Int, &[-32768, 16384], &[-1.0, 0.5]);
        check(
            24,
            SampleFormat::Int,
            &[-8_388_608, 4_194_304],
            &[-1.0, 0.5],
        );
        check(32, SampleFormat::Int, &[i32::MIN, 1 << 30], &[-1.0, 0.5]);
        check(32, SampleFormat::Float, &[-4, 2], &[-1.0, 0.5]);
    }

    #[test]
    fn what_breaks() {
        let bytes = wav(16, SampleFormat::Int, 1, &[1, 2, 3, 4]);
        assert_eq!(read(&bytes[..2]).1, [Code::Truncated]);
        assert_eq!(read(&bytes[..20]).1, [Code::Truncated]);
        let (recording, codes) = read(&bytes[..bytes.len() - 3]);
        assert_eq!(codes, [Code::Truncated]);
        assert_eq!(recording.map(|recording| recording.readings.len()), Some(2));
        assert_eq!(read(b"not a wav file at all").1, [Code::Malformed]);
        let nan = [f32::NAN.to_le_bytes(); 2].concat();
        let mut bytes = wav(32, SampleFormat::Float, 1, &[0, 0]);
        let at = bytes.len() - 8;
        bytes[at..].copy_from_slice(&nan);
        assert_eq!(read(&bytes).1, [Code::NotFinite]);
    }
}
