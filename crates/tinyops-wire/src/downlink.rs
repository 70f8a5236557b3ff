//! What a device is told: the body of an envelope on its way down.
//!
//! ```text
//! kind | version << 4, then
//! 1 Offer              capsule digest 32, capsule bytes u32
//! 2 Block              digest prefix 8, offset u32, bytes
//! 3 StatisticsRequest  round u16, bytes of a part u16, forget afterwards u8
//! 4 Label              class u8, windows back u16
//! 5 Command            code u8
//! 6 ReportEvery        windows u32
//! ```

use core::fmt;

use crate::Digest;
use crate::bytes::{Reader, Writer};

const VERSION: u8 = 1;

/// Anything that a device is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Downlink<'a> {
    /// A capsule that this device shall run.
    Offer(Offer),
    /// A part of that capsule.
    Block(Block<'a>),
    /// Tell your statistics.
    StatisticsRequest(StatisticsRequest),
    /// The truth about recent windows has become known.
    Label(Label),
    /// Do something now.
    Command(Command),
    /// Report whenever this many windows have been seen; 0 reports by time alone.
    ReportEvery {
        /// Windows in a report.
        windows: u32,
    },
}

/// A capsule that a device shall run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Digest of the whole capsule, manifest and payload.
    pub digest: Digest,
    /// Its size.
    pub bytes: u32,
}

/// A part of a capsule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block<'a> {
    /// First eight bytes of the capsule's digest.
    pub digest: [u8; 8],
    /// Where the bytes belong.
    pub offset: u32,
    /// The bytes.
    pub bytes: &'a [u8],
}

/// Asks for a device's statistics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatisticsRequest {
    /// Comes back in every part.
    pub round: u16,
    /// Most bytes of one part, frame header and all.
    pub frame_bytes: u16,
    /// Whether the device begins anew once it has told them.
    pub forget: bool,
}

/// The truth about recent windows: a maintenance outcome, a button, an annotator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label {
    /// The class that they were of.
    pub class: u8,
    /// How many of the newest windows it judges.
    pub windows_back: u16,
}

/// Something to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[repr(u8)]
pub enum Command {
    /// Send the summary of what has been seen since the last one.
    ReportNow = 1,
    /// Go back to the model before this one.
    Revert = 2,
    /// Boot.
    Reboot = 3,
    /// Forget the labelled embeddings gathered so far, so that the next statistics are of what comes.
    Forget = 4,
}

impl<'a> Downlink<'a> {
    /// Reads a message from bytes that may be anything.
    ///
    /// # Errors
    /// [`DownlinkError`], never a panic.
    pub fn decode(bytes: &'a [u8]) -> Result<Downlink<'a>, DownlinkError> {
        let &first = bytes.first().ok_or(DownlinkError::Length)?;
        if first >> 4 != VERSION {
            return Err(DownlinkError::Version { found: first >> 4 });
        }
        let mut reader = Reader::new(&bytes[1..]);
        let message = match first & 0xf {
            1 => read_offer(&mut reader).map(Downlink::Offer),
            2 => read_block(&mut reader).map(Downlink::Block),
            3 => read_statistics_request(&mut reader).map(Downlink::StatisticsRequest),
            4 => read_label(&mut reader).map(Downlink::Label),
            5 => read_command(&mut reader)?.map(Downlink::Command),
            6 => reader
                .u32()
                .map(|windows| Downlink::ReportEvery { windows }),
            kind => return Err(DownlinkError::Kind { found: kind }),
        };
        let message = message.ok_or(DownlinkError::Length)?;
        if reader.rest.is_empty() {
            Ok(message)
        } else {
            Err(DownlinkError::Length)
        }
    }

    /// Writes the message; answers how many bytes.
    ///
    /// # Errors
    /// [`DownlinkError::Length`] if `out` has too little room.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, DownlinkError> {
        let mut writer = Writer::new(out);
        self.write(&mut writer).ok_or(DownlinkError::Length)?;
        Ok(writer.written())
    }

    fn write(&self, out: &mut Writer<'_>) -> Option<()> {
        let mut begin = |kind: u8| out.put(&[kind | VERSION << 4]);
        match self {
            Downlink::Offer(offer) => {
                begin(1)?;
                out.put(&offer.digest.0)?;
                out.put(&offer.bytes.to_le_bytes())
            }
            Downlink::Block(block) => {
                begin(2)?;
                out.put(&block.digest)?;
                out.put(&block.offset.to_le_bytes())?;
                out.put(block.bytes)
            }
            Downlink::StatisticsRequest(request) => {
                begin(3)?;
                out.put(&request.round.to_le_bytes())?;
                out.put(&request.frame_bytes.to_le_bytes())?;
                out.put(&[u8::from(request.forget)])
            }
            Downlink::Label(label) => {
                begin(4)?;
                out.put(&[label.class])?;
                out.put(&label.windows_back.to_le_bytes())
            }
            Downlink::Command(command) => {
                begin(5)?;
                out.put(&[*command as u8])
            }
            Downlink::ReportEvery { windows } => {
                begin(6)?;
                out.put(&windows.to_le_bytes())
            }
        }
    }
}

fn read_offer(reader: &mut Reader<'_>) -> Option<Offer> {
    Some(Offer {
        digest: Digest(reader.array()?),
        bytes: reader.u32()?,
    })
}

fn read_block<'a>(reader: &mut Reader<'a>) -> Option<Block<'a>> {
    let (digest, offset) = (reader.array()?, reader.u32()?);
    let bytes = core::mem::take(&mut reader.rest);
    Some(Block {
        digest,
        offset,
        bytes,
    })
}

fn read_statistics_request(reader: &mut Reader<'_>) -> Option<StatisticsRequest> {
    let (round, frame_bytes) = (reader.u16()?, reader.u16()?);
    Some(StatisticsRequest {
        round,
        frame_bytes,
        forget: reader.u8()? != 0,
    })
}

fn read_label(reader: &mut Reader<'_>) -> Option<Label> {
    Some(Label {
        class: reader.u8()?,
        windows_back: reader.u16()?,
    })
}

fn read_command(reader: &mut Reader<'_>) -> Result<Option<Command>, DownlinkError> {
    Ok(Some(match reader.u8().ok_or(DownlinkError::Length)? {
        1 => Command::ReportNow,
        2 => Command::Revert,
        3 => Command::Reboot,
        4 => Command::Forget,
        found => return Err(DownlinkError::Command { found }),
    }))
}

/// Why bytes are not a downlink message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DownlinkError {
    /// A command that this build does not know.
    Command {
        /// The code found.
        found: u8,
    },
    /// A kind that this build does not know.
    Kind {
        /// The kind found.
        found: u8,
    },
    /// Too few bytes, bytes left over, or too little room.
    Length,
    /// A version that this build does not know.
    Version {
        /// The version found.
        found: u8,
    },
}

impl fmt::Display for DownlinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DownlinkError::Command { found } => write!(f, "command {found} is unknown"),
            DownlinkError::Kind { found } => write!(f, "downlink kind {found} is unknown"),
            DownlinkError::Length => write!(f, "the bytes and the message differ in length"),
            DownlinkError::Version { found } => write!(f, "downlink version {found} is unknown"),
        }
    }
}

impl core::error::Error for DownlinkError {}
