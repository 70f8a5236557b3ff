//! The sensor contract: what the readings were that a model was trained on, so that a device with others refuses it.
//!
//! ```text
//! offset  bytes
//!  0       1    version: 1 (units and full scales alone) or 2
//!  1       1    number of channels, as many as the front end has
//!               version 2:
//!  2       1    mounting, 0 where it is not said: where the sensor's x axis points in the high four bits, its y axis in
//!               the low ones (1 +x, 2 -x, 3 +y, 4 -y, 5 +z, 6 -z of the machine)
//!  3       1    zero
//!  4       4    rate f32, readings per second: the front end's; 0 of what has none
//!  8       4    how far a device's rate may lie from it, in millionths of it, u32
//!               per channel, in the order of a reading:
//!          4    full scale f32, in the unit; 0 where it is not known
//!          1+n  unit: length u8, at most 15, and UTF-8; empty where it is not known
//!          1+n  version 2: name of the axis, likewise
//! ```
//! The section lies in the payload, whose digest the signed manifest names: nobody changes a contract without a new
//! signature.

use core::fmt;
use core::str::FromStr;

use crate::Digest;
use crate::bytes::{Reader, Writer};
use crate::section::SectionError;

/// Longest unit, in bytes of UTF-8.
pub const UNIT_BYTES_MAX: usize = 15;

/// Bytes of a section before its channels.
pub(crate) const HEAD_BYTES: usize = 12;

/// Longest name of an axis, in bytes of UTF-8.
pub const AXIS_BYTES_MAX: usize = 15;

/// How far a device's rate may lie from the one of training where nothing else is said, in millionths of it: crystals differ
/// by parts in 10,000, a wrong setting by more than one in 1,000.
pub const RATE_TOLERANCE_PPM: u32 = 1_000;

/// Most that a contract may allow, in millionths.
pub const RATE_TOLERANCE_PPM_MAX: u32 = 100_000;

/// One channel of a sensor: what it measures, and in what.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Channel<'a> {
    /// The axis that it measures, such as `acc.x`, of at most [`AXIS_BYTES_MAX`] bytes; empty if it is not said.
    pub axis: &'a str,
    /// Unit, such as `g` or `m/s2`, of at most [`UNIT_BYTES_MAX`] bytes; empty if it is not known.
    pub unit: &'a str,
    /// Greatest reading, in that unit; 0 if it is not known.
    pub full_scale: f32,
}

/// How a sensor sits in its machine: where its own axes point. One of the 24 ways that a right-handed sensor can sit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mounting(u8);

/// What the axes of a machine are called, by their code less 1.
const DIRECTIONS: [&str; 6] = ["x", "-x", "y", "-y", "z", "-z"];

impl Mounting {
    /// The sensor's axes are those of the machine.
    pub const UPRIGHT: Mounting = Mounting(0x13);

    /// The mounting with this code; `None` for what is none, 0 among it.
    pub fn from_code(code: u8) -> Option<Mounting> {
        let (x, y) = (code >> 4, code & 15);
        let is_direction = |axis: u8| (1..=6).contains(&axis);
        let is_one = is_direction(x) && is_direction(y) && x.div_ceil(2) != y.div_ceil(2);
        is_one.then_some(Mounting(code))
    }

    /// Its code: where the x axis points in the high four bits, the y axis in the low ones.
    pub fn code(self) -> u8 {
        self.0
    }

    /// Where the sensor's axes x, y and z point, in axes of the machine.
    pub fn directions(self) -> [&'static str; 3] {
        let (x, y) = (self.0 >> 4, self.0 & 15);
        let (x_line, y_line) = (x.div_ceil(2), y.div_ceil(2));
        // The third line; its sense is that of the cross product.
        let z_line = 6 - x_line - y_line;
        let is_cyclic = matches!((x_line, y_line), (1, 2) | (2, 3) | (3, 1));
        let is_negative = !is_cyclic ^ x.is_multiple_of(2) ^ y.is_multiple_of(2);
        let z = 2 * z_line - u8::from(!is_negative);
        [x, y, z].map(|axis| DIRECTIONS[usize::from(axis) - 1])
    }
}

impl fmt::Display for Mounting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [x, y, z] = self.directions();
        write!(f, "{x} {y} {z}")
    }
}

/// Text that is no mounting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoMounting;

impl fmt::Display for NoMounting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a mounting says where the sensor's x, y and z point in the machine, such as `x y z` or `y -x z`, right-handed",
        )
    }
}

impl core::error::Error for NoMounting {}

impl FromStr for Mounting {
    type Err = NoMounting;

    fn from_str(text: &str) -> Result<Mounting, NoMounting> {
        let mut words = text.split_ascii_whitespace();
        let mut direction = || {
            let word = words.next()?;
            let word = word.strip_prefix('+').unwrap_or(word);
            DIRECTIONS.iter().position(|known| *known == word)
        };
        let (x, y, z) = (direction(), direction(), direction());
        let (Some(x), Some(y), Some(z), None) = (x, y, z, words.next()) else {
            return Err(NoMounting);
        };
        let code = ((x + 1) << 4 | (y + 1)) as u8;
        Mounting::from_code(code)
            .filter(|mounting| mounting.directions()[2] == DIRECTIONS[z])
            .ok_or(NoMounting)
    }
}

/// What a model was trained on, as section SENSOR of its capsules says it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SensorContract<'a> {
    /// Readings per second: the front end's; 0 of what has none, such as pictures.
    pub rate_hz: f32,
    /// How far a device's rate may lie from it, in millionths of it.
    pub rate_tolerance_ppm: u32,
    /// How the sensor sat in its machine; `None` where it is not said.
    pub mounting: Option<Mounting>,
    /// Its channels, in the order of a reading.
    pub channels: &'a [Channel<'a>],
}

impl SensorContract<'_> {
    /// Whether version 1 says all of it: devices of before version 2 refuse a capsule with it as malformed.
    fn version(&self) -> u8 {
        let is_plain = self.mounting.is_none()
            && self.rate_tolerance_ppm == RATE_TOLERANCE_PPM
            && self.channels.iter().all(|channel| channel.axis.is_empty());
        if is_plain { 1 } else { 2 }
    }

    /// Bytes of its section.
    pub fn encoded_len(&self) -> usize {
        let is_plain = self.version() == 1;
        let of = |channel: &Channel<'_>| match is_plain {
            true => 5 + channel.unit.len(),
            false => 6 + channel.unit.len() + channel.axis.len(),
        };
        let head = if is_plain { 2 } else { HEAD_BYTES };
        head + self.channels.iter().map(of).sum::<usize>()
    }

    /// Writes its section, in version 1 where that says all of it; answers how many bytes.
    ///
    /// # Errors
    /// [`SectionError::Length`] for too many channels, too long a unit or name, or too little room,
    /// [`SectionError::Value`] for a full scale or a rate that is negative or not finite, and for a tolerance above
    /// [`RATE_TOLERANCE_PPM_MAX`].
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, SectionError> {
        let version = self.version();
        let count = u8::try_from(self.channels.len()).map_err(|_| SectionError::Length)?;
        if !is_quantity(self.rate_hz) || self.rate_tolerance_ppm > RATE_TOLERANCE_PPM_MAX {
            return Err(SectionError::Value);
        }
        let mut writer = Writer::new(out);
        let mut put = |bytes: &[u8]| writer.put(bytes).ok_or(SectionError::Length);
        put(&[version, count])?;
        if version == 2 {
            put(&[self.mounting.map_or(0, Mounting::code), 0])?;
            put(&self.rate_hz.to_le_bytes())?;
            put(&self.rate_tolerance_ppm.to_le_bytes())?;
        }
        for Channel {
            axis,
            unit,
            full_scale,
        } in self.channels
        {
            if unit.len() > UNIT_BYTES_MAX || axis.len() > AXIS_BYTES_MAX {
                return Err(SectionError::Length);
            }
            if !is_quantity(*full_scale) {
                return Err(SectionError::Value);
            }
            put(&full_scale.to_le_bytes())?;
            put(&[unit.len() as u8])?;
            put(unit.as_bytes())?;
            if version == 2 {
                put(&[axis.len() as u8])?;
                put(axis.as_bytes())?;
            }
        }
        Ok(writer.written())
    }
}

/// A contract as a capsule brings it, read in place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SensorSection<'a> {
    bytes: &'a [u8],
    /// What version 1 does not say: rate, tolerance, mounting.
    more: Option<(f32, u32, Option<Mounting>)>,
    channels: &'a [u8],
}

impl<'a> SensorSection<'a> {
    /// Reads a section from bytes that may be anything, in place.
    ///
    /// # Errors
    /// [`SectionError`], never a panic.
    pub fn decode(bytes: &'a [u8]) -> Result<SensorSection<'a>, SectionError> {
        let mut reader = Reader::new(bytes);
        let [version, count] = reader.array().ok_or(SectionError::Length)?;
        let more = match version {
            1 => None,
            2 => Some(read_head(&mut reader)?),
            found => return Err(SectionError::Version { found }),
        };
        let channels = reader.rest;
        for _ in 0..count {
            let channel = read_channel(&mut reader, version).ok_or(SectionError::Length)?;
            if !is_quantity(channel.full_scale) {
                return Err(SectionError::Value);
            }
        }
        if !reader.rest.is_empty() {
            return Err(SectionError::Length);
        }
        Ok(SensorSection {
            bytes,
            more,
            channels,
        })
    }

    /// Whether it is the contract of a front end with so many channels and this rate.
    pub fn is_of(&self, channel_count: u16, rate_hz: f32) -> bool {
        self.count() == usize::from(channel_count)
            && self.rate_hz().is_none_or(|said| said == rate_hz)
    }

    /// Names the contract: the digest of its section.
    pub fn digest(&self) -> Digest {
        Digest::of(self.bytes)
    }

    /// The section as it was read.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Number of channels.
    pub fn count(&self) -> usize {
        self.bytes.get(1).map_or(0, |count| usize::from(*count))
    }

    /// The channels, in the order of a reading.
    pub fn channels(&self) -> impl Iterator<Item = Channel<'a>> + use<'a> {
        let version = if self.more.is_none() { 1 } else { 2 };
        let mut reader = Reader::new(self.channels);
        core::iter::from_fn(move || read_channel(&mut reader, version))
    }

    /// Readings per second; `None` where the section does not say (version 1), and then the front end alone does.
    pub fn rate_hz(&self) -> Option<f32> {
        self.more.map(|(rate_hz, ..)| rate_hz)
    }

    /// How far a device's rate may lie from it, in millionths of it.
    pub fn rate_tolerance_ppm(&self) -> u32 {
        self.more
            .map_or(RATE_TOLERANCE_PPM, |(_, tolerance, _)| tolerance)
    }

    /// How the sensor sat in its machine; `None` where the section does not say.
    pub fn mounting(&self) -> Option<Mounting> {
        self.more.and_then(|(.., mounting)| mounting)
    }
}

fn read_head(reader: &mut Reader<'_>) -> Result<(f32, u32, Option<Mounting>), SectionError> {
    let [code, zero] = reader.array().ok_or(SectionError::Length)?;
    let rate_hz = reader.f32().ok_or(SectionError::Length)?;
    let tolerance = reader.u32().ok_or(SectionError::Length)?;
    let mounting = match code {
        0 => None,
        code => Some(Mounting::from_code(code).ok_or(SectionError::Value)?),
    };
    if zero != 0 || !is_quantity(rate_hz) || tolerance > RATE_TOLERANCE_PPM_MAX {
        return Err(SectionError::Value);
    }
    Ok((rate_hz, tolerance, mounting))
}

fn is_quantity(value: f32) -> bool {
    value.is_finite() && value >= 0.0
}

fn read_channel<'a>(reader: &mut Reader<'a>, version: u8) -> Option<Channel<'a>> {
    let full_scale = reader.f32()?;
    let unit = read_text(reader, UNIT_BYTES_MAX)?;
    let axis = match version {
        1 => "",
        _ => read_text(reader, AXIS_BYTES_MAX)?,
    };
    Some(Channel {
        axis,
        unit,
        full_scale,
    })
}

fn read_text<'a>(reader: &mut Reader<'a>, most: usize) -> Option<&'a str> {
    let length = usize::from(reader.u8()?);
    let text = core::str::from_utf8(reader.take(length)?).ok()?;
    (length <= most).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_24_mountings_and_each_reads_as_it_is_written() {
        let mut count = 0;
        for code in 0..=u8::MAX {
            let Some(mounting) = Mounting::from_code(code) else {
                continue;
            };
            count += 1;
            assert_eq!(mounting.code(), code);
            let text = std::format!("{mounting}");
            assert_eq!(text.parse(), Ok(mounting), "{text}");
        }
        assert_eq!(count, 24);
    }

    #[test]
    fn a_mounting_is_right_handed() {
        for (text, code) in [
            ("x y z", 0x13),
            ("+y -x z", 0x32),
            ("-z y x", 0x63),
            ("y x -z", 0x31),
            (" -x  -y z ", 0x24),
        ] {
            assert_eq!(text.parse().map(Mounting::code), Ok(code), "{text}");
        }
        for text in [
            "", "x y", "x y -z", "x x z", "y x z", "x y z x", "a b c", "--x y z",
        ] {
            assert_eq!(text.parse::<Mounting>(), Err(NoMounting), "{text}");
        }
        assert_eq!(Mounting::UPRIGHT.directions(), ["x", "y", "z"]);
    }
}
