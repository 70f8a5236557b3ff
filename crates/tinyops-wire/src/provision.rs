//! What a board's flash says of who the device is: what its maker wrote, what it asks for, who it has become.
//!
//! Three records, each at the start of flash of its own, so that none is written over another:
//!
//! ```text
//! record    0  4  "TOPB"
//!           4  1  version: 1, or 2 of a factory's that says all of the sensor
//!           5  1  kind: 1 factory, 2 asking, 3 enrolled
//!           6  2  length n of the body
//!           8  n  body
//!           .  4  CRC-32 of all before it
//!
//! factory   1     how many root keys have to sign; 1 how many there are; 32 each
//!           2     length k of the signed key set; k the key set
//!           1     length of the board's class; the class, UTF-8
//!           2     channels of a reading; 4 readings a second (f32)
//!           4     windows between two reports; 4 milliseconds between two reports; 0 for never
//!           8     id that it asks for; 0 for any
//!           1     what it shows: 1 class token: 8 its id, 32 its secret
//!                                2 claim: 2 length m, m the certificate, 32 seed of its key
//!           2     version 2: length s of the sensor's contract; s the contract (`tinyops_wire::sensor`)
//!
//! asking   32     private half of the key that it made; the rest: the request
//! enrolled  8     its id; 32 its key; 4 its uplink numbers begin here
//! ```
//! A record that was torn has no right CRC, and is none. Specified in `docs/formats/provision.md`.

use core::fmt;

use crate::bytes::{Reader, Writer};
use crate::claim::CLAIM_BYTES_MAX;
use crate::crc::crc32;
use crate::enrolment::{ClassToken, Enrolled, EnrolmentSecret, Proof, REQUEST_BYTES_MAX, TokenId};
use crate::key_set::{KEY_SET_BYTES_MAX, ROOT_KEYS_MAX, Roots, SignedKeySet};
use crate::manifest::TEXT_BYTES_MAX;
use crate::sensor::{self, AXIS_BYTES_MAX, SensorSection, UNIT_BYTES_MAX};
use crate::{DeviceId, DeviceKey, KeySet, SigningKey, VerifyingKey};

/// Longest record: a factory's, with all root keys and a claim.
pub const RECORD_BYTES_MAX: usize = HEAD_BYTES
    + 2
    + 32 * ROOT_KEYS_MAX
    + 2
    + KEY_SET_BYTES_MAX
    + 1
    + TEXT_BYTES_MAX
    + 22
    + 1
    + 2
    + CLAIM_BYTES_MAX
    + 32
    + 2
    + SENSOR_BYTES_MAX
    + CRC_BYTES;

/// Most channels of a sensor that a factory says all of.
pub const CHANNELS_MAX: usize = 16;

/// Longest contract of such a sensor.
pub const SENSOR_BYTES_MAX: usize =
    sensor::HEAD_BYTES + CHANNELS_MAX * (4 + 1 + UNIT_BYTES_MAX + 1 + AXIS_BYTES_MAX);

const MAGIC: [u8; 4] = *b"TOPB";
const VERSION: u8 = 1;
/// Of a factory's record that says all of the sensor.
const VERSION_SENSOR: u8 = 2;
const HEAD_BYTES: usize = 8;
const CRC_BYTES: usize = 4;
const FACTORY: u8 = 1;
const ASKING: u8 = 2;
const ENROLLED: u8 = 3;
const TOKEN: u8 = 1;
const CLAIM: u8 = 2;

/// One of the records.
#[derive(Clone, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "firmware has nothing to box it in, and reads one at a time"
)]
pub enum Record<'a> {
    /// What whoever made the board wrote.
    Factory(Factory<'a>),
    /// What the device keeps before it sends its request, and until it has an answer.
    Asking(Asking<'a>),
    /// Who the device is, for life.
    Enrolled(Enrolled),
}

/// What whoever made the board wrote: whom it believes, what it is, and what lets it in.
#[derive(Clone, Copy, Debug)]
pub struct Factory<'a> {
    /// Who may sign key sets.
    pub roots: Roots,
    /// The key set that it begins with, signed; whoever writes flash here is believed, so that nothing checks it.
    pub key_set: &'a [u8],
    /// Class of its board, at most 40 bytes.
    pub board: &'a str,
    /// Channels of a reading of its sensor.
    pub channel_count: u16,
    /// Readings a second.
    pub rate_hz: f32,
    /// It reports after so many windows; 0 for never.
    pub report_windows: u32,
    /// It reports after so many milliseconds; 0 for never.
    pub report_ms: u32,
    /// The id that it asks for, if any.
    pub device: Option<DeviceId>,
    /// What lets it in.
    pub credential: Credential<'a>,
    /// Units, full scales, axes and mounting of the sensor, of the same channels and rate; `None` where they are not said.
    pub sensor: Option<SensorSection<'a>>,
}

impl Factory<'_> {
    /// The version that says all of it.
    fn version(&self) -> Result<u8, ProvisionError> {
        let Some(sensor) = &self.sensor else {
            return Ok(VERSION);
        };
        let is_of = sensor.is_of(self.channel_count, self.rate_hz);
        match is_of && sensor.count() <= CHANNELS_MAX {
            true => Ok(VERSION_SENSOR),
            false => Err(ProvisionError::Sensor),
        }
    }

    /// The key set, taken out of its signatures.
    ///
    /// # Errors
    /// [`ProvisionError::KeySet`] if it is none.
    pub fn keys(&self) -> Result<KeySet, ProvisionError> {
        match SignedKeySet::parse(self.key_set) {
            Ok(signed) => Ok(signed.set),
            Err(_) => Err(ProvisionError::KeySet),
        }
    }
}

/// What lets a device in. Its secrets are shown nowhere.
#[derive(Clone, Copy)]
pub enum Credential<'a> {
    /// A class token.
    Token {
        /// Which.
        id: TokenId,
        /// Its secret.
        secret: [u8; 32],
    },
    /// A claim.
    Claim {
        /// The certificate.
        certificate: &'a [u8],
        /// The seed of the key that it names.
        seed: [u8; 32],
    },
}

impl Credential<'_> {
    /// Hands the proof of a request to `with`.
    pub fn prove<T>(&self, with: impl FnOnce(Proof<'_>) -> T) -> T {
        match self {
            Credential::Token { id, secret } => with(Proof::Token(&ClassToken::new(*id, *secret))),
            Credential::Claim { certificate, seed } => {
                let key = &SigningKey::from_seed(seed);
                with(Proof::Claim { certificate, key })
            }
        }
    }
}

impl fmt::Debug for Credential<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Credential::Token { .. } => "Token(secret)",
            Credential::Claim { .. } => "Claim(secret)",
        })
    }
}

/// A request that has no answer yet.
#[derive(Clone, Debug)]
pub struct Asking<'a> {
    /// The private half of the key that the device made.
    pub secret: EnrolmentSecret,
    /// The request: sent again, it is the same bytes.
    pub request: &'a [u8],
}

impl<'a> Record<'a> {
    /// Writes the record, in version 1 where that says all of it; answers how many bytes, at most [`RECORD_BYTES_MAX`].
    ///
    /// # Errors
    /// [`ProvisionError::Length`] for too little room or a part that is too long, [`ProvisionError::Sensor`] for a contract
    /// of other channels or another rate, or of more than [`CHANNELS_MAX`].
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, ProvisionError> {
        let version = match self {
            Record::Factory(factory) => factory.version()?,
            _ => VERSION,
        };
        let body = out.get_mut(HEAD_BYTES..).ok_or(ProvisionError::Length)?;
        let mut writer = Writer::new(body);
        let kind = self.write(&mut writer).ok_or(ProvisionError::Length)?;
        let body_len = writer.written();
        let [low, high] = u16::try_from(body_len)
            .map_err(|_| ProvisionError::Length)?
            .to_le_bytes();
        let [m0, m1, m2, m3] = MAGIC;
        out[..HEAD_BYTES].copy_from_slice(&[m0, m1, m2, m3, version, kind, low, high]);
        let (checked, rest) = out.split_at_mut(HEAD_BYTES + body_len);
        let place = rest.get_mut(..CRC_BYTES).ok_or(ProvisionError::Length)?;
        place.copy_from_slice(&crc32(checked).to_le_bytes());
        Ok(HEAD_BYTES + body_len + CRC_BYTES)
    }

    /// Reads the record at the start of flash, from bytes that may be anything; what lies behind it is not looked at.
    ///
    /// # Errors
    /// [`ProvisionError`], never a panic. [`ProvisionError::None`] where no record begins, as in flash that is erased.
    pub fn decode(flash: &'a [u8]) -> Result<Record<'a>, ProvisionError> {
        let (head, rest) = flash
            .split_first_chunk::<HEAD_BYTES>()
            .ok_or(ProvisionError::None)?;
        let [m0, m1, m2, m3, version, kind, low, high] = *head;
        if [m0, m1, m2, m3] != MAGIC {
            return Err(ProvisionError::None);
        }
        let body_len = usize::from(u16::from_le_bytes([low, high]));
        let (body, rest) = (rest.split_at_checked(body_len)).ok_or(ProvisionError::Torn)?;
        let crc = rest.first_chunk().ok_or(ProvisionError::Torn)?;
        let checked = &flash[..HEAD_BYTES + body_len];
        if crc32(checked) != u32::from_le_bytes(*crc) {
            return Err(ProvisionError::Torn);
        }
        let says_sensor = match (version, kind) {
            (VERSION, _) => false,
            (VERSION_SENSOR, FACTORY) => true,
            _ => return Err(ProvisionError::Version { found: version }),
        };
        let mut reader = Reader::new(body);
        let record = match kind {
            FACTORY => {
                let mut factory = read_factory(&mut reader)?;
                if says_sensor {
                    factory.sensor = Some(read_sensor(&mut reader)?);
                    factory.version()?;
                }
                Record::Factory(factory)
            }
            ASKING => {
                let secret = reader.array().ok_or(ProvisionError::Length)?;
                let request = core::mem::take(&mut reader.rest);
                Record::Asking(Asking {
                    secret: EnrolmentSecret::from_bytes(secret),
                    request,
                })
            }
            ENROLLED => read_enrolled(&mut reader).ok_or(ProvisionError::Length)?,
            found => return Err(ProvisionError::Kind { found }),
        };
        match reader.rest {
            [] => Ok(record),
            _ => Err(ProvisionError::Length),
        }
    }

    /// Writes the body; answers its kind.
    fn write(&self, out: &mut Writer<'_>) -> Option<u8> {
        match self {
            Record::Factory(factory) => {
                write_factory(factory, out)?;
                Some(FACTORY)
            }
            Record::Asking(Asking { secret, request }) => {
                if request.len() > REQUEST_BYTES_MAX {
                    return None;
                }
                out.put(&secret.to_bytes())?;
                out.put(request)?;
                Some(ASKING)
            }
            Record::Enrolled(enrolled) => {
                out.put(&enrolled.device.0.to_le_bytes())?;
                out.put(&enrolled.key.0)?;
                out.put(&enrolled.first_uplink.to_le_bytes())?;
                Some(ENROLLED)
            }
        }
    }
}

fn write_factory(factory: &Factory<'_>, out: &mut Writer<'_>) -> Option<()> {
    let is_board = !factory.board.is_empty() && factory.board.len() <= TEXT_BYTES_MAX;
    if factory.key_set.len() > KEY_SET_BYTES_MAX || !is_board {
        return None;
    }
    let roots = &factory.roots;
    out.put(&[roots.threshold(), roots.keys().count() as u8])?;
    roots.keys().try_for_each(|key| out.put(&key.to_bytes()))?;
    out.put(&(factory.key_set.len() as u16).to_le_bytes())?;
    out.put(factory.key_set)?;
    out.put(&[factory.board.len() as u8])?;
    out.put(factory.board.as_bytes())?;
    out.put(&factory.channel_count.to_le_bytes())?;
    out.put(&factory.rate_hz.to_le_bytes())?;
    out.put(&factory.report_windows.to_le_bytes())?;
    out.put(&factory.report_ms.to_le_bytes())?;
    out.put(&factory.device.unwrap_or_default().0.to_le_bytes())?;
    match factory.credential {
        Credential::Token { id, secret } => {
            out.put(&[TOKEN])?;
            out.put(&id.0.to_le_bytes())?;
            out.put(&secret)?;
        }
        Credential::Claim { certificate, seed } if certificate.len() <= CLAIM_BYTES_MAX => {
            out.put(&[CLAIM])?;
            out.put(&(certificate.len() as u16).to_le_bytes())?;
            out.put(certificate)?;
            out.put(&seed)?;
        }
        Credential::Claim { .. } => return None,
    }
    match &factory.sensor {
        None => Some(()),
        Some(sensor) => {
            out.put(&(sensor.bytes().len() as u16).to_le_bytes())?;
            out.put(sensor.bytes())
        }
    }
}

fn read_sensor<'a>(reader: &mut Reader<'a>) -> Result<SensorSection<'a>, ProvisionError> {
    let length = reader.u16().ok_or(ProvisionError::Length)?;
    let bytes = (reader.take(length.into())).ok_or(ProvisionError::Length)?;
    SensorSection::decode(bytes).map_err(|_| ProvisionError::Sensor)
}

fn read_factory<'a>(reader: &mut Reader<'a>) -> Result<Factory<'a>, ProvisionError> {
    let length = || ProvisionError::Length;
    let threshold = reader.u8().ok_or_else(length)?;
    let count = usize::from(reader.u8().ok_or_else(length)?);
    let mut keys = [None; ROOT_KEYS_MAX];
    for place in keys.get_mut(..count).ok_or(ProvisionError::Roots)? {
        let bytes = reader.array().ok_or_else(length)?;
        *place = VerifyingKey::from_bytes(&bytes).ok();
    }
    let roots = roots_of(keys, count, threshold).ok_or(ProvisionError::Roots)?;
    let set_len = reader.u16().ok_or_else(length)?;
    let key_set = reader.take(set_len.into()).ok_or_else(length)?;
    let board_len = reader.u8().ok_or_else(length)?;
    let board = reader.take(board_len.into()).ok_or_else(length)?;
    let board = core::str::from_utf8(board).map_err(|_| ProvisionError::Board)?;
    if board.is_empty() || board.len() > TEXT_BYTES_MAX {
        return Err(ProvisionError::Board);
    }
    let channel_count = reader.u16().ok_or_else(length)?;
    let rate_hz = reader.f32().ok_or_else(length)?;
    let report_windows = reader.u32().ok_or_else(length)?;
    let report_ms = reader.u32().ok_or_else(length)?;
    let device = DeviceId(reader.u64().ok_or_else(length)?);
    let credential = match reader.u8().ok_or_else(length)? {
        TOKEN => Credential::Token {
            id: TokenId(reader.u64().ok_or_else(length)?),
            secret: reader.array().ok_or_else(length)?,
        },
        CLAIM => {
            let claim_len = reader.u16().ok_or_else(length)?;
            Credential::Claim {
                certificate: reader.take(claim_len.into()).ok_or_else(length)?,
                seed: reader.array().ok_or_else(length)?,
            }
        }
        found => return Err(ProvisionError::Credential { found }),
    };
    Ok(Factory {
        roots,
        key_set,
        board,
        channel_count,
        rate_hz,
        report_windows,
        report_ms,
        device: (device != DeviceId(0)).then_some(device),
        credential,
        sensor: None,
    })
}

/// The root keys, if all that were named are keys.
fn roots_of(
    keys: [Option<VerifyingKey>; ROOT_KEYS_MAX],
    count: usize,
    threshold: u8,
) -> Option<Roots> {
    let first = keys[0]?;
    let mut all = [first; ROOT_KEYS_MAX];
    for (place, key) in all.iter_mut().zip(keys.get(..count)?) {
        *place = (*key)?;
    }
    Roots::new(&all[..count], threshold)
}

fn read_enrolled<'a>(reader: &mut Reader<'a>) -> Option<Record<'a>> {
    Some(Record::Enrolled(Enrolled {
        device: DeviceId(reader.u64()?),
        key: DeviceKey(reader.array()?),
        first_uplink: reader.u32()?,
    }))
}

/// Why some flash holds no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProvisionError {
    /// No record begins there.
    None,
    /// One was begun, and is not whole.
    Torn,
    /// A later version.
    Version {
        /// Which.
        found: u8,
    },
    /// A kind that is not known.
    Kind {
        /// Which.
        found: u8,
    },
    /// A part is longer or shorter than it may be.
    Length,
    /// The root keys are none, or too few for their threshold.
    Roots,
    /// The key set is none.
    KeySet,
    /// The board's class is no text of 1 to 40 bytes.
    Board,
    /// A kind of credential that is not known.
    Credential {
        /// Which.
        found: u8,
    },
    /// The sensor's contract is none, of other channels or another rate, or of too many channels.
    Sensor,
}

impl fmt::Display for ProvisionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProvisionError::None => f.write_str("no record begins there"),
            ProvisionError::Torn => f.write_str("the record is not whole"),
            ProvisionError::Version { found } => write!(f, "version {found} is not known"),
            ProvisionError::Kind { found } => write!(f, "kind {found} is not known"),
            ProvisionError::Length => f.write_str("a part has a wrong length"),
            ProvisionError::Roots => f.write_str("the root keys are none, or too few"),
            ProvisionError::KeySet => f.write_str("the key set is none"),
            ProvisionError::Board => f.write_str("the board's class is no text of 1 to 40 bytes"),
            ProvisionError::Credential { found } => {
                write!(f, "credential {found} is not known")
            }
            ProvisionError::Sensor => write!(
                f,
                "the sensor's contract is none of its channels and rate, or of more than {CHANNELS_MAX} channels"
            ),
        }
    }
}

impl core::error::Error for ProvisionError {}
