//! Frames: what a device tells, as the body of an envelope or bare over a link with its own proof.
//!
//! The first byte of each is `kind | version << 4`. Specified in `docs/formats/frames.md`.

use core::fmt;

use tinyops_sketch::Direction;

use crate::ModelId;
use crate::annotation::Annotation;
use crate::block::BlockRequest;
use crate::bytes::{Reader, Writer};
use crate::codes::codes;
use crate::masked::{MaskedPart, MaskedReport, NoisedReport};
use crate::shadow::ShadowReport;
use crate::statistics::StatisticsPart;
use crate::summary::{COST_VERSION, SummaryFrame};

/// Longest board class, in bytes of UTF-8.
pub const BOARD_BYTES_MAX: usize = 40;

pub(crate) const VERSION: u8 = 1;

/// Hellos have had a second version since devices hold key sets.
const HELLO_VERSION: u8 = 2;

/// And a third, of those that have features beyond the first eight.
const WIDE_HELLO_VERSION: u8 = 3;

/// The kinds of frames, in the low four bits of their first byte.
pub(crate) mod kind {
    pub(crate) const ALARM: u8 = 1;
    pub(crate) const M6H8: u8 = 2;
    pub(crate) const M8: u8 = 3;
    pub(crate) const M4: u8 = 4;
    pub(crate) const STATISTICS: u8 = 5;
    pub(crate) const OUTCOME: u8 = 6;
    pub(crate) const UPDATE: u8 = 7;
    pub(crate) const BLOCK_REQUEST: u8 = 8;
    pub(crate) const HELLO: u8 = 9;
    pub(crate) const KEYS: u8 = 10;
    pub(crate) const SHADOW: u8 = 11;
    pub(crate) const MASKED_REPORT: u8 = 12;
    pub(crate) const MASKED_PART: u8 = 13;
    pub(crate) const NOISED_REPORT: u8 = 14;
    pub(crate) const ANNOTATION: u8 = 15;
}

/// Anything that a device tells.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Frame<'a> {
    /// Something moved, or nothing did: three bytes.
    Alarm(Alarm),
    /// The summary of a report period.
    Summary(SummaryFrame<'a>),
    /// A part of the sums that a head is solved from.
    Statistics(StatisticsPart<'a>),
    /// What the model had said of windows whose truth has become known.
    Outcome(Outcome<'a>),
    /// How an update goes.
    Update(Update),
    /// Blocks of a capsule that the device lacks.
    BlockRequest(BlockRequest),
    /// The device has booted.
    Hello(Hello<'a>),
    /// A key set was taken up or turned away.
    Keys(Keys),
    /// How a candidate answers beside the model that runs.
    Shadow(ShadowReport<'a>),
    /// The summary of a report period, readable only as a sum over devices.
    MaskedReport(MaskedReport<'a>),
    /// A part of the sums that a head is solved from, readable only as a sum over devices.
    MaskedPart(MaskedPart<'a>),
    /// The summary of a report period, under noise of the device's own.
    NoisedReport(NoisedReport<'a>),
    /// What it says to an order for windows, or sealed bytes of them.
    Annotation(Annotation<'a>),
}

impl<'a> Frame<'a> {
    /// Reads a frame from bytes that may be anything.
    ///
    /// # Errors
    /// [`FrameError`], never a panic.
    pub fn decode(bytes: &'a [u8]) -> Result<Frame<'a>, FrameError> {
        let &first = bytes.first().ok_or(FrameError::Length)?;
        let (kind, version) = (first & 0xf, first >> 4);
        let is_known = matches!(
            (kind, version),
            (_, VERSION)
                | (kind::HELLO, HELLO_VERSION | WIDE_HELLO_VERSION)
                | (kind::M6H8 | kind::M8, COST_VERSION)
        );
        if !is_known {
            return Err(FrameError::Version { found: version });
        }
        let mut reader = Reader::new(&bytes[1..]);
        let frame = match kind {
            kind::ALARM => Alarm::read(&mut reader).map(Frame::Alarm),
            kind::M6H8 | kind::M8 | kind::M4 => {
                SummaryFrame::read(kind, version, &mut reader).map(Frame::Summary)
            }
            kind::STATISTICS => StatisticsPart::read(&mut reader).map(Frame::Statistics),
            kind::OUTCOME => Outcome::read(&mut reader).map(Frame::Outcome),
            kind::UPDATE => Some(Frame::Update(Update::read(&mut reader)?)),
            kind::BLOCK_REQUEST => BlockRequest::read(&mut reader).map(Frame::BlockRequest),
            kind::HELLO => Hello::read(version, &mut reader).map(Frame::Hello),
            kind::KEYS => Some(Frame::Keys(Keys::read(&mut reader)?)),
            kind::SHADOW => ShadowReport::read(&mut reader).map(Frame::Shadow),
            kind::MASKED_REPORT => MaskedReport::read(&mut reader).map(Frame::MaskedReport),
            kind::MASKED_PART => MaskedPart::read(&mut reader).map(Frame::MaskedPart),
            kind::NOISED_REPORT => NoisedReport::read(&mut reader).map(Frame::NoisedReport),
            kind::ANNOTATION => Annotation::read(&mut reader).map(Frame::Annotation),
            _ => return Err(FrameError::Kind { found: kind }),
        };
        let frame = frame.ok_or(FrameError::Length)?;
        if reader.rest.is_empty() {
            Ok(frame)
        } else {
            Err(FrameError::Length)
        }
    }

    /// Writes the frame; answers how many bytes.
    ///
    /// # Errors
    /// [`FrameError::Length`] if `out` has too little room.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, FrameError> {
        let mut writer = Writer::new(out);
        let written = match self {
            Frame::Alarm(alarm) => alarm.write(&mut writer),
            Frame::Summary(summary) => summary.write(&mut writer),
            Frame::Statistics(part) => part.write(&mut writer),
            Frame::Outcome(outcome) => outcome.write(&mut writer),
            Frame::Update(update) => update.write(&mut writer),
            Frame::BlockRequest(request) => request.write(&mut writer),
            Frame::Hello(hello) => hello.write(&mut writer),
            Frame::Keys(keys) => keys.write(&mut writer),
            Frame::Shadow(report) => report.write(&mut writer),
            Frame::MaskedReport(report) => report.write(&mut writer),
            Frame::MaskedPart(part) => part.write(&mut writer),
            Frame::NoisedReport(report) => report.write(&mut writer),
            Frame::Annotation(annotation) => annotation.write(&mut writer),
        };
        written.ok_or(FrameError::Length)?;
        Ok(writer.written())
    }
}

/// Eight facts about a device that fit every frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(pub u8);

impl Flags {
    /// Bits that hold the privacy budget class ([`Flags::privacy_class`]).
    pub const PRIVACY_MASK: u8 = 0b0000_0011;
    /// A cumulative sum, of the model's output or of the distance of embeddings, has alarmed since the last report.
    pub const MOVED: Flags = Flags(1 << 2);
    /// A reading, feature or output was infinite or not a number since the last report.
    pub const NOT_FINITE: Flags = Flags(1 << 3);
    /// Features are moved back to those of training, a part of the way.
    pub const RESTANDARDIZED: Flags = Flags(1 << 4);
    /// Windows were answered by a head of the device's own.
    pub const OWN_HEAD: Flags = Flags(1 << 5);
    /// Labels have judged windows since the last report.
    pub const LABELLED: Flags = Flags(1 << 6);
    /// The battery is low.
    pub const LOW_BATTERY: Flags = Flags(1 << 7);

    /// What is left of the budget of monitoring: 0 none is kept (plain), 1 spent, 2 less than half, 3 half or more.
    pub fn privacy_class(self) -> u8 {
        self.0 & Flags::PRIVACY_MASK
    }

    /// These facts, with another budget class, 0 to 3.
    #[must_use]
    pub fn with_privacy_class(self, class: u8) -> Flags {
        Flags(self.0 & !Flags::PRIVACY_MASK | class & Flags::PRIVACY_MASK)
    }

    /// Whether every fact of `other` holds.
    pub fn has(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }

    /// These facts and those of `other`.
    #[must_use]
    pub fn with(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }
}

/// Frame `A`: an alarm of one channel, or a heartbeat. Three bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// Facts about the device.
    pub flags: Flags,
    /// Which channel of the baseline moved, and which way; none in a heartbeat.
    pub moved: Option<(u8, Direction)>,
}

impl Alarm {
    const HEARTBEAT: u8 = 0x7f;
    const DOWN: u8 = 0x80;

    fn read(reader: &mut Reader<'_>) -> Option<Alarm> {
        let flags = Flags(reader.u8()?);
        let channel = reader.u8()?;
        let direction = if channel & Alarm::DOWN == 0 {
            Direction::Up
        } else {
            Direction::Down
        };
        if channel == Alarm::HEARTBEAT | Alarm::DOWN {
            // A heartbeat falls nowhere: it has one encoding.
            return None;
        }
        let moved = (channel & 0x7f != Alarm::HEARTBEAT).then_some((channel & 0x7f, direction));
        Some(Alarm { flags, moved })
    }

    fn write(&self, out: &mut Writer<'_>) -> Option<()> {
        let channel = match self.moved {
            None => Alarm::HEARTBEAT,
            Some((channel, Direction::Up)) => channel & 0x7f,
            Some((channel, Direction::Down)) => channel & 0x7f | Alarm::DOWN,
        };
        out.put(&[kind::ALARM | VERSION << 4, self.flags.0, channel])
    }
}

/// What the model had said of windows that were truly of one class: a row of its confusion matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome<'a> {
    /// The class that the windows were of.
    pub class: u8,
    counts: Counts<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Counts<'a> {
    Values(&'a [u16]),
    Bytes(&'a [u8]),
}

impl<'a> Outcome<'a> {
    /// `counts[predicted]` windows of `class` had been given to each class.
    pub fn new(class: u8, counts: &'a [u16]) -> Outcome<'a> {
        Outcome {
            class,
            counts: Counts::Values(counts),
        }
    }

    /// How many windows had been given to each class, by class.
    pub fn counts(&self) -> impl Iterator<Item = u16> + use<'a> {
        let (values, bytes): (&[u16], &[u8]) = match self.counts {
            Counts::Values(values) => (values, &[]),
            Counts::Bytes(bytes) => (&[], bytes),
        };
        let (pairs, _) = bytes.as_chunks();
        values
            .iter()
            .copied()
            .chain(pairs.iter().map(|pair| u16::from_le_bytes(*pair)))
    }

    /// How many windows were judged.
    pub fn judged(&self) -> u32 {
        self.counts().map(u32::from).sum()
    }

    /// How many of them the model had right.
    pub fn correct(&self) -> u32 {
        self.counts()
            .nth(usize::from(self.class))
            .map_or(0, u32::from)
    }

    fn read(reader: &mut Reader<'a>) -> Option<Outcome<'a>> {
        let class = reader.u8()?;
        let class_count = reader.u8()?;
        let bytes = reader.take(2 * usize::from(class_count))?;
        Some(Outcome {
            class,
            counts: Counts::Bytes(bytes),
        })
    }

    fn write(&self, out: &mut Writer<'_>) -> Option<()> {
        let class_count = u8::try_from(self.counts().count()).ok()?;
        out.put(&[kind::OUTCOME | VERSION << 4, self.class, class_count])?;
        self.counts()
            .try_for_each(|count| out.put(&count.to_le_bytes()))
    }
}

/// How an update goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Update {
    /// What has happened.
    pub state: UpdateState,
    /// Why, if it was refused or reverted.
    pub reason: Reason,
    /// The model that it happened to; 0 while its manifest is not known.
    pub model: ModelId,
    /// The sequence number in its manifest.
    pub sequence: u32,
    /// The number that the reason is about: bytes needed, hertz wanted, index of a golden vector.
    pub detail: u32,
}

impl Update {
    fn read(reader: &mut Reader<'_>) -> Result<Update, FrameError> {
        let state = reader.u8().ok_or(FrameError::Length)?;
        let reason = reader.u8().ok_or(FrameError::Length)?;
        let mut number = || reader.u32().ok_or(FrameError::Length);
        Ok(Update {
            state: UpdateState::from_code(state).ok_or(FrameError::Code { found: state })?,
            reason: Reason::from_code(reason).ok_or(FrameError::Code { found: reason })?,
            model: ModelId(number()?),
            sequence: number()?,
            detail: number()?,
        })
    }

    fn write(&self, out: &mut Writer<'_>) -> Option<()> {
        out.put(&[
            kind::UPDATE | VERSION << 4,
            self.state as u8,
            self.reason as u8,
        ])?;
        out.put(&self.model.0.to_le_bytes())?;
        out.put(&self.sequence.to_le_bytes())?;
        out.put(&self.detail.to_le_bytes())
    }
}

codes! {
    /// Where an update has got to.
    #[non_exhaustive]
    pub enum UpdateState {
        /// The offer is newer than what runs, and blocks are being fetched.
        Downloading = 1, "downloading";
        /// The capsule is in its slot, whole and authentic; the next boot tries it.
        Installed = 2, "installed";
        /// The capsule has passed its trial and stays.
        Confirmed = 3, "confirmed";
        /// The trial failed; the model before it runs again.
        Reverted = 4, "reverted";
        /// The capsule was turned away before its trial.
        Refused = 5, "refused";
        /// The capsule is in its slot, whole and checked, and waits until it is offered to be installed; a candidate scores
        /// windows meanwhile.
        Held = 6, "held";
    }
}

codes! {
    /// Why a capsule was refused or reverted.
    #[non_exhaustive]
    pub enum Reason {
        /// It was not.
        None = 0, "none";
        /// No release key of the device's key set has signed it; the detail is that set's sequence number.
        Signature = 1, "signature";
        /// Its bytes are not those of the digest.
        Digest = 2, "digest";
        /// It has more bytes than a slot; the detail says how many.
        SlotTooSmall = 3, "slot-too-small";
        /// It is not a capsule.
        Malformed = 4, "malformed";
        /// It is for another class of boards.
        Board = 5, "board";
        /// Its arena is larger than the device's; the detail says how many bytes it needs.
        Arena = 6, "arena";
        /// It expects another number of sensor channels, given in the detail.
        Channels = 7, "channels";
        /// It expects another sampling rate, given in millihertz in the detail.
        Rate = 8, "rate";
        /// Its window, features or working memory are larger than the device's; the detail says how many values it needs.
        Memory = 9, "memory";
        /// Its plan, front end, scaler or body is not sound, or they do not fit each other.
        Plan = 10, "plan";
        /// A golden vector came out differently; the detail is its index.
        Golden = 11, "golden";
        /// Its sequence number is not above that of the last confirmed capsule, given in the detail.
        Rollback = 12, "rollback";
        /// It did not get through its trial in the boots that it had.
        Tries = 13, "tries";
        /// The flash could not be written.
        Flash = 14, "flash";
        /// The server said so.
        Commanded = 15, "commanded";
        /// It came without a statement, or no director key of the device's key set has signed the one it came with.
        Statement = 16, "statement";
        /// The statement's counter is not above that of the last one taken up, given in the detail.
        StatementOld = 17, "statement-old";
        /// The statement was good up to an uplink number that the device has passed; the detail is its next.
        StatementVoid = 18, "statement-void";
        /// The statement is for another device.
        OtherDevice = 19, "other-device";
        /// The statement names another manifest than the capsule's.
        OtherManifest = 20, "other-manifest";
        /// The capsule's payload is not the one that its manifest names.
        Payload = 21, "payload";
        /// Too few root keys have signed the key set, or it is none.
        KeySet = 22, "key-set";
        /// The key set's sequence number is not above that of the device's, given in the detail.
        KeySetOld = 23, "key-set-old";
        /// It came as a delta against another capsule than the one that runs.
        DeltaBase = 24, "delta-base";
        /// It came as a delta that is not sound, or does not make what it says.
        Delta = 25, "delta";
        /// Its program is of a version or has an operator that this build does not know or cannot take; the detail is
        /// the operator's index, 65,535 for the version.
        Operator = 26, "operator";
        /// It was trained on readings in another unit; the detail is the index of the channel.
        Unit = 27, "unit";
        /// It was trained on readings of another full scale; the detail is that, in thousandths of the unit.
        FullScale = 28, "full-scale";
        /// As a candidate it gave no finite answer to so many windows in a row, given in the detail.
        Output = 29, "output";
        /// As a candidate it takes windows of another length than the model that runs, given in the detail in readings of
        /// all channels.
        Window = 30, "window";
        /// It was trained on other axes, or on the same in another order; the detail is the index of the first channel that
        /// measures another.
        Axis = 31, "axis";
        /// It was trained on a sensor that sat otherwise in its machine; the detail is that mounting's code
        /// ([`crate::sensor::Mounting`]).
        Mounting = 32, "mounting";
    }
}

/// The device has booted: what it is and what it runs. The envelope names the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello<'a> {
    /// Boots of the device so far.
    pub boot_count: u32,
    /// Sequence number in the manifest of the model that runs; 0 for the factory's or none.
    pub sequence: u32,
    /// Arena that the device has for a model, in bytes.
    pub arena_bytes: u32,
    /// Room for a capsule in one slot, in bytes.
    pub slot_bytes: u32,
    /// Class of the board.
    pub board: &'a str,
    /// Whom it trusts and what it understands; a device of before key sets says nothing of it (version 1).
    pub trust: Option<Trust>,
}

/// Whom a device trusts and what it understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trust {
    /// Sequence number of its key set.
    pub key_set: u32,
    /// What it understands.
    pub features: Features,
}

/// What a device understands; more bits will come, and a reader passes over those that it does not know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features(pub u16);

impl Features {
    /// Offers with a statement, and nothing without one.
    pub const STATEMENTS: Features = Features(1 << 0);
    /// Offers of a delta against the capsule that runs.
    pub const DELTAS: Features = Features(1 << 1);
    /// Offers of a capsule that is to be fetched now and installed later.
    pub const HOLDS: Features = Features(1 << 2);
    /// Offers of a capsule that is to be held, and to score windows beside the model that runs.
    pub const SHADOWS: Features = Features(1 << 3);
    /// It reports under masks, once it has been told how.
    pub const MASKS: Features = Features(1 << 4);
    /// It can move its features back to those of training.
    pub const RESTANDARDIZES: Features = Features(1 << 5);
    /// It has room for a head of its own, solved from its labels.
    pub const OWN_HEAD: Features = Features(1 << 6);
    /// It has been asked for one.
    pub const OWN_HEAD_ASKED: Features = Features(1 << 7);
    /// It reports under noise of its own, once it has been told how, and nothing in the clear.
    pub const NOISES: Features = Features(1 << 8);

    /// Whether everything of `other` is understood.
    pub fn has(self, other: Features) -> bool {
        self.0 & other.0 == other.0
    }

    /// These features and those of `other`.
    #[must_use]
    pub fn with(self, other: Features) -> Features {
        Features(self.0 | other.0)
    }
}

impl<'a> Hello<'a> {
    fn read(version: u8, reader: &mut Reader<'a>) -> Option<Hello<'a>> {
        let (boot_count, sequence) = (reader.u32()?, reader.u32()?);
        let (arena_bytes, slot_bytes) = (reader.u32()?, reader.u32()?);
        let trust = match version {
            VERSION => None,
            HELLO_VERSION => Some(Trust {
                key_set: reader.u32()?,
                features: Features(reader.u8()?.into()),
            }),
            _ => {
                let (key_set, features) = (reader.u32()?, Features(reader.u16()?));
                // What fits the second version has one encoding.
                (features.0 > u8::MAX.into()).then_some(())?;
                Some(Trust { key_set, features })
            }
        };
        let board_bytes = usize::from(reader.u8()?);
        if board_bytes > BOARD_BYTES_MAX {
            return None;
        }
        let board = core::str::from_utf8(reader.take(board_bytes)?).ok()?;
        Some(Hello {
            boot_count,
            sequence,
            arena_bytes,
            slot_bytes,
            board,
            trust,
        })
    }

    fn write(&self, out: &mut Writer<'_>) -> Option<()> {
        let version = match self.trust {
            None => VERSION,
            Some(trust) if trust.features.0 > u8::MAX.into() => WIDE_HELLO_VERSION,
            Some(_) => HELLO_VERSION,
        };
        out.put(&[kind::HELLO | version << 4])?;
        for number in [
            self.boot_count,
            self.sequence,
            self.arena_bytes,
            self.slot_bytes,
        ] {
            out.put(&number.to_le_bytes())?;
        }
        if let Some(trust) = &self.trust {
            out.put(&trust.key_set.to_le_bytes())?;
            match version {
                HELLO_VERSION => out.put(&[trust.features.0 as u8])?,
                _ => out.put(&trust.features.0.to_le_bytes())?,
            }
        }
        let board_bytes = u8::try_from(self.board.len()).ok()?;
        if usize::from(board_bytes) > BOARD_BYTES_MAX {
            return None;
        }
        out.put(&[board_bytes])?;
        out.put(self.board.as_bytes())
    }
}

/// What became of a key set that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keys {
    /// Sequence number of the key set in force.
    pub key_set: u32,
    /// Why the one that came was turned away, if it was.
    pub reason: Reason,
    /// The number that the reason is about.
    pub detail: u32,
}

impl Keys {
    fn read(reader: &mut Reader<'_>) -> Result<Keys, FrameError> {
        let key_set = reader.u32().ok_or(FrameError::Length)?;
        let reason = reader.u8().ok_or(FrameError::Length)?;
        Ok(Keys {
            key_set,
            reason: Reason::from_code(reason).ok_or(FrameError::Code { found: reason })?,
            detail: reader.u32().ok_or(FrameError::Length)?,
        })
    }

    fn write(&self, out: &mut Writer<'_>) -> Option<()> {
        out.put(&[kind::KEYS | VERSION << 4])?;
        out.put(&self.key_set.to_le_bytes())?;
        out.put(&[self.reason as u8])?;
        out.put(&self.detail.to_le_bytes())
    }
}

/// Why bytes are not a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FrameError {
    /// A state or reason that this build does not know.
    Code {
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

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FrameError::Code { found } => write!(f, "update code {found} is unknown"),
            FrameError::Kind { found } => write!(f, "frame kind {found} is unknown"),
            FrameError::Length => write!(f, "the bytes and the frame differ in length"),
            FrameError::Version { found } => write!(f, "frame version {found} is unknown"),
        }
    }
}

impl core::error::Error for FrameError {}
