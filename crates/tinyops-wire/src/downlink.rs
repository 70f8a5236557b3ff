//! What a device is told: the body of an envelope on its way down.
//!
//! ```text
//! kind | version << 4, then
//! 1 Offer, version 1   capsule digest 32, capsule bytes u32
//!   Offer, version 2   what u8, its digest 32, its bytes u32, statement
//!   Offer, version 3   what u8, when u8, its digest 32, its bytes u32, statement; behind `when` 2, windows u16
//! 2 Block              digest prefix 8, offset u32, bytes
//! 3 StatisticsRequest  round u16, bytes of a part u16, forget afterwards u8
//! 4 Label              class u8, windows back u16
//! 5 Command            code u8
//! 6 ReportEvery        windows u32
//! 7 KeySetPart         key set sequence u32, its bytes u16, offset u16, bytes
//! 9 Task               the task of masked reports, 16 bytes
//! 10 MaskedRequest     the task of a masked update, 16 bytes, what u8, bytes of a part u16, forget afterwards u8
//! 11 Restandardize     sixteenths u8, windows u16
//! 12 OwnHead           wanted u8: 0 or 1
//! 13 Collect           order u32, count u8, windows u16, annotator 4
//! 14 PartRequest       order u32, offset u32, bytes u32
//! ```

use core::fmt;

use crate::Digest;
use crate::annotation::{Collect, PartRequest};
use crate::bytes::{Reader, Writer};
use crate::mask::Task;
use crate::masked::Content;

const VERSION: u8 = 1;

/// Offers have had a second version since they bring a statement.
const OFFER_VERSION: u8 = 2;

/// And a third, for what is to be fetched now and installed later.
const HELD_OFFER_VERSION: u8 = 3;

/// `when` of an offer of version 3: keep it until it is offered again in version 2.
const WHEN_OFFERED_AGAIN: u8 = 1;

/// `when` of an offer of version 3: keep it as well, and let it score windows meanwhile.
const WHEN_SHADOWED: u8 = 2;

/// Anything that a device is told.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Downlink<'a> {
    /// A capsule that this device shall run.
    Offer(Offer<'a>),
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
    /// A part of a key set that this device shall hold to from now on.
    KeySetPart(KeySetPart<'a>),
    /// How masked reports are to be made.
    Task(Task),
    /// Tell your statistics under masks.
    MaskedRequest(MaskedRequest),
    /// Move your features a part of the way back to those of training.
    Restandardize(Restandardize),
    /// Whether the device shall answer by a head of its own where its labels lead to one that is no worse.
    OwnHead(bool),
    /// Choose windows for an annotator.
    Collect(Collect),
    /// Tell bytes of what you have chosen.
    PartRequest(PartRequest),
}

/// A capsule that a device shall run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer<'a> {
    /// What is to be fetched.
    pub what: What,
    /// Digest of all the bytes to be fetched.
    pub digest: Digest,
    /// How many they are.
    pub bytes: u32,
    /// Whether it is to be installed.
    pub when: When,
    /// The director's statement (see [`crate::statement`]); none in version 1, for devices that know none.
    pub statement: Option<&'a [u8]>,
}

/// When what is offered is to be installed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum When {
    /// Once it is whole and checked.
    #[default]
    AtOnce,
    /// When it is offered again to be installed at once; until then it is kept.
    Later,
    /// As [`When::Later`], and meanwhile it scores windows beside the model that runs, whose answers alone count.
    Shadow {
        /// How many windows; 1 at least.
        windows: u16,
    },
}

impl When {
    /// Whether it is to be kept.
    pub fn is_later(self) -> bool {
        self != When::AtOnce
    }
}

/// What an offer is to be made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum What {
    /// The capsule itself.
    Capsule = 0,
    /// A delta, which makes the capsule out of the one that runs.
    Delta = 1,
}

impl What {
    /// The variant with this code.
    pub fn from_code(code: u8) -> Option<What> {
        match code {
            0 => Some(What::Capsule),
            1 => Some(What::Delta),
            _ => None,
        }
    }
}

/// A part of a signed key set; parts may come in any order, and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeySetPart<'a> {
    /// Sequence number of the key set, so that parts of two are not mixed.
    pub sequence: u32,
    /// Bytes of the whole.
    pub total: u16,
    /// Where the bytes belong.
    pub offset: u16,
    /// The bytes.
    pub bytes: &'a [u8],
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

/// Tells a device to learn what its features are like, without a label, and to move them a part of the way to those of
/// training.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restandardize {
    /// How far, in sixteenths, at most [`Restandardize::SIXTEENTHS`]; 0 takes it back.
    pub sixteenths: u8,
    /// Windows to learn from before anything is moved.
    pub windows: u16,
}

impl Restandardize {
    /// All the way.
    pub const SIXTEENTHS: u8 = 16;
}

/// Asks for a device's statistics under masks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MaskedRequest {
    /// How they are to be made; its number comes back in every part.
    pub task: Task,
    /// What of them.
    pub content: Content,
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
    /// Let go of the capsule that waits, and score nothing with it any more.
    Drop = 5,
    /// Let go of the head of your own, and of the labelled windows that it was solved from.
    DropOwnHead = 6,
}

impl<'a> Downlink<'a> {
    /// Reads a message from bytes that may be anything.
    ///
    /// # Errors
    /// [`DownlinkError`], never a panic.
    pub fn decode(bytes: &'a [u8]) -> Result<Downlink<'a>, DownlinkError> {
        let &first = bytes.first().ok_or(DownlinkError::Length)?;
        let (kind, version) = (first & 0xf, first >> 4);
        let is_offer = kind == 1 && matches!(version, OFFER_VERSION | HELD_OFFER_VERSION);
        if version != VERSION && !is_offer {
            return Err(DownlinkError::Version { found: version });
        }
        let mut reader = Reader::new(&bytes[1..]);
        let message = match kind {
            1 if version == VERSION => read_plain_offer(&mut reader).map(Downlink::Offer),
            1 => read_offer(version, &mut reader)?.map(Downlink::Offer),
            2 => read_block(&mut reader).map(Downlink::Block),
            3 => read_statistics_request(&mut reader).map(Downlink::StatisticsRequest),
            4 => read_label(&mut reader).map(Downlink::Label),
            5 => read_command(&mut reader)?.map(Downlink::Command),
            6 => reader
                .u32()
                .map(|windows| Downlink::ReportEvery { windows }),
            7 => read_key_set_part(&mut reader).map(Downlink::KeySetPart),
            9 => Task::read(&mut reader).map(Downlink::Task),
            10 => read_masked_request(&mut reader).map(Downlink::MaskedRequest),
            11 => read_restandardize(&mut reader).map(Downlink::Restandardize),
            12 => reader
                .u8()
                .filter(|wanted| *wanted <= 1)
                .map(|wanted| Downlink::OwnHead(wanted == 1)),
            13 => Collect::read(&mut reader).map(Downlink::Collect),
            14 => PartRequest::read(&mut reader).map(Downlink::PartRequest),
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
    /// [`DownlinkError::Length`] if `out` has too little room, or an offer of a delta, or of something to be held, brings
    /// no statement.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, DownlinkError> {
        let mut writer = Writer::new(out);
        self.write(&mut writer).ok_or(DownlinkError::Length)?;
        Ok(writer.written())
    }

    fn write(&self, out: &mut Writer<'_>) -> Option<()> {
        let mut begin = |kind: u8| out.put(&[kind | VERSION << 4]);
        match self {
            Downlink::Offer(offer) => offer.write(out),
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
            Downlink::KeySetPart(part) => {
                begin(7)?;
                out.put(&part.sequence.to_le_bytes())?;
                out.put(&part.total.to_le_bytes())?;
                out.put(&part.offset.to_le_bytes())?;
                out.put(part.bytes)
            }
            Downlink::Task(task) => {
                begin(9)?;
                task.write(out)
            }
            Downlink::Restandardize(restandardize) => {
                begin(11)?;
                out.put(&[restandardize.sixteenths])?;
                out.put(&restandardize.windows.to_le_bytes())
            }
            Downlink::OwnHead(is_wanted) => {
                begin(12)?;
                out.put(&[u8::from(*is_wanted)])
            }
            Downlink::Collect(collect) => {
                begin(13)?;
                collect.write(out)
            }
            Downlink::PartRequest(request) => {
                begin(14)?;
                request.write(out)
            }
            Downlink::MaskedRequest(request) => {
                begin(10)?;
                request.task.write(out)?;
                out.put(&[request.content as u8])?;
                out.put(&request.frame_bytes.to_le_bytes())?;
                out.put(&[u8::from(request.forget)])
            }
        }
    }
}

impl Offer<'_> {
    fn write(&self, out: &mut Writer<'_>) -> Option<()> {
        match (self.statement, self.what, self.when) {
            (Some(_), what, When::AtOnce) => out.put(&[1 | OFFER_VERSION << 4, what as u8])?,
            (Some(_), what, When::Later) => {
                out.put(&[1 | HELD_OFFER_VERSION << 4, what as u8, WHEN_OFFERED_AGAIN])?;
            }
            (Some(_), what, When::Shadow { windows: 1.. }) => {
                out.put(&[1 | HELD_OFFER_VERSION << 4, what as u8, WHEN_SHADOWED])?;
            }
            (None, What::Capsule, When::AtOnce) => out.put(&[1 | VERSION << 4])?,
            // A device that knows no statement knows neither of them; and a candidate that scores nothing only waits.
            (None, What::Delta, _) | (None, _, When::Later) | (_, _, When::Shadow { .. }) => {
                return None;
            }
        }
        if let When::Shadow { windows } = self.when {
            out.put(&windows.to_le_bytes())?;
        }
        out.put(&self.digest.0)?;
        out.put(&self.bytes.to_le_bytes())?;
        out.put(self.statement.unwrap_or_default())
    }
}

fn read_plain_offer<'a>(reader: &mut Reader<'a>) -> Option<Offer<'a>> {
    Some(Offer {
        what: What::Capsule,
        digest: Digest(reader.array()?),
        bytes: reader.u32()?,
        when: When::AtOnce,
        statement: None,
    })
}

fn read_offer<'a>(
    version: u8,
    reader: &mut Reader<'a>,
) -> Result<Option<Offer<'a>>, DownlinkError> {
    let code = reader.u8().ok_or(DownlinkError::Length)?;
    let what = What::from_code(code).ok_or(DownlinkError::What { found: code })?;
    let mut when = When::AtOnce;
    if version == HELD_OFFER_VERSION {
        let found = reader.u8().ok_or(DownlinkError::Length)?;
        when = match found {
            WHEN_OFFERED_AGAIN => When::Later,
            WHEN_SHADOWED => match reader.u16().ok_or(DownlinkError::Length)? {
                0 => return Err(DownlinkError::When { found }),
                windows => When::Shadow { windows },
            },
            _ => return Err(DownlinkError::When { found }),
        };
    }
    let Some(offer) = read_plain_offer(reader) else {
        return Ok(None);
    };
    let statement = Some(core::mem::take(&mut reader.rest));
    Ok(Some(Offer {
        what,
        when,
        statement,
        ..offer
    }))
}

fn read_key_set_part<'a>(reader: &mut Reader<'a>) -> Option<KeySetPart<'a>> {
    Some(KeySetPart {
        sequence: reader.u32()?,
        total: reader.u16()?,
        offset: reader.u16()?,
        bytes: core::mem::take(&mut reader.rest),
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

fn read_restandardize(reader: &mut Reader<'_>) -> Option<Restandardize> {
    let restandardize = Restandardize {
        sixteenths: reader.u8()?,
        windows: reader.u16()?,
    };
    (restandardize.sixteenths <= Restandardize::SIXTEENTHS).then_some(restandardize)
}

fn read_masked_request(reader: &mut Reader<'_>) -> Option<MaskedRequest> {
    Some(MaskedRequest {
        task: Task::read(reader)?,
        content: Content::from_code(reader.u8()?)?,
        frame_bytes: reader.u16()?,
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
        5 => Command::Drop,
        6 => Command::DropOwnHead,
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
    /// An offer of something that this build does not know.
    What {
        /// The code found.
        found: u8,
    },
    /// An offer for a time that this build does not know, or of a candidate that is to score no window.
    When {
        /// The code found.
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
            DownlinkError::What { found } => write!(f, "an offer of {found} is unknown"),
            DownlinkError::When { found } => write!(f, "an offer for time {found} is unknown"),
        }
    }
}

impl core::error::Error for DownlinkError {}
