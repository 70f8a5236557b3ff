//! SMP, the management protocol of Zephyr's mcumgr: envelopes in a group of their own, and its framing on consoles.
//!
//! ```text
//! frame    0  1  version << 3 | operation (0 read, 1 its answer, 2 write, 3 its answer)
//!          1  1  flags 0
//!          2  2  bytes of the body, big-endian
//!          4  2  group, big-endian: ours is 116
//!          6  1  sequence number, the same in the answer
//!          7  1  command: ours is 0, exchange
//!          8  n  body, a CBOR map
//! write    {"d": envelope for the device}, or {} to ask only
//! answer   {"u": envelope from the device, "n": how many more wait}, {} if none waits, {"rc": code} for an error
//! console  lines of at most 127 bytes: 06 09 (first) or 04 14 (further), base64, newline;
//!          in base64 the length of what follows, u16, the frame, its CRC-16, both big-endian
//! ```
//! A device answers and never begins, as in all of SMP: the host writes an exchange now and then, and again at once while
//! the device has more. Specified in `docs/formats/smp.md`.
//!
//! # Source
//! Zephyr documentation, "SMP protocol specification" and "SMP transport specification".

use minicbor::encode::write::Cursor;
use minicbor::{Decoder, Encoder};

use crate::base64;
use crate::bytes::{Reader, Writer};
use crate::crc::crc16;

/// Our group, of those that Zephyr leaves to users (64 and above).
pub const GROUP: u16 = 116;
/// The one command of the group.
pub const EXCHANGE: u8 = 0;
/// Bytes of a frame before its body.
pub const HEADER_BYTES: usize = 8;
/// Longest line on a console, newline and all.
pub const LINE_BYTES_MAX: usize = 127;
/// Bytes of a frame around an envelope, at most: header, map, key and length, and the count of more.
pub const OVERHEAD: usize = HEADER_BYTES + 1 + 2 + 3 + 2 + 5;

/// SMP version 2, as Zephyr counts: the second, with errors by group.
const VERSION: u8 = 1;
const FIRST: [u8; 2] = [0x06, 0x09];
const FURTHER: [u8; 2] = [0x04, 0x14];

/// What a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Operation {
    /// A question.
    Read = 0,
    /// Its answer.
    ReadAnswer = 1,
    /// An order.
    Write = 2,
    /// Its answer.
    WriteAnswer = 3,
}

/// A frame of any group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What it is for.
    pub operation: Operation,
    /// The group of its command.
    pub group: u16,
    /// The same in question and answer.
    pub sequence: u8,
    /// The command.
    pub command: u8,
    /// A CBOR map.
    pub body: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Reads a frame from bytes that may be anything; `None` if they are none, or more than one.
    pub fn decode(bytes: &'a [u8]) -> Option<Frame<'a>> {
        let mut reader = Reader::new(bytes);
        let [head, _flags] = reader.array()?;
        let body_bytes = u16::from_be_bytes(reader.array()?);
        let group = u16::from_be_bytes(reader.array()?);
        let [sequence, command] = reader.array()?;
        // Version 1 writes zeros where version 2 writes its number; the frames are the same.
        if head >> 3 > VERSION {
            return None;
        }
        let operation = match head & 7 {
            0 => Operation::Read,
            1 => Operation::ReadAnswer,
            2 => Operation::Write,
            3 => Operation::WriteAnswer,
            _ => return None,
        };
        (reader.rest.len() == usize::from(body_bytes)).then_some(Frame {
            operation,
            group,
            sequence,
            command,
            body: reader.rest,
        })
    }

    /// Writes the frame; answers how many bytes, or `None` for too little room.
    pub fn encode(&self, out: &mut [u8]) -> Option<usize> {
        let mut writer = Writer::new(out);
        writer.put(&[VERSION << 3 | self.operation as u8, 0])?;
        writer.put(&u16::try_from(self.body.len()).ok()?.to_be_bytes())?;
        writer.put(&self.group.to_be_bytes())?;
        writer.put(&[self.sequence, self.command])?;
        writer.put(self.body)?;
        Some(writer.written())
    }

    /// Whether it is an exchange of our group.
    pub fn is_exchange(&self) -> bool {
        self.group == GROUP && self.command == EXCHANGE
    }
}

/// What the body of an exchange says, either way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exchange<'a> {
    /// An envelope for the device.
    pub down: Option<&'a [u8]>,
    /// An envelope from the device.
    pub up: Option<&'a [u8]>,
    /// How many more the device has.
    pub more: u32,
    /// Why there is none; 0 for no error, 8 for a command that the device does not know.
    pub error: u32,
}

impl<'a> Exchange<'a> {
    /// Reads a body that may be anything; keys that it does not know are passed over.
    pub fn decode(body: &'a [u8]) -> Option<Exchange<'a>> {
        let mut decoder = Decoder::new(body);
        let mut exchange = Exchange::default();
        let count = decoder.map().ok()?;
        let mut read = 0;
        loop {
            match count {
                Some(count) if read == count => break,
                None if decoder.datatype().ok()? == minicbor::data::Type::Break => {
                    decoder.skip().ok()?;
                    break;
                }
                _ => {}
            }
            match decoder.str().ok()? {
                "d" => exchange.down = Some(decoder.bytes().ok()?),
                "u" => exchange.up = Some(decoder.bytes().ok()?),
                "n" => exchange.more = decoder.u32().ok()?,
                "rc" => exchange.error = decoder.u32().ok()?,
                _ => decoder.skip().ok()?,
            }
            read += 1;
        }
        (decoder.position() == body.len()).then_some(exchange)
    }

    /// Writes the body; answers how many bytes, or `None` for too little room.
    pub fn encode(&self, out: &mut [u8]) -> Option<usize> {
        let count = u64::from(self.down.is_some())
            + u64::from(self.up.is_some())
            + u64::from(self.more > 0)
            + u64::from(self.error > 0);
        let mut encoder = Encoder::new(Cursor::new(out));
        encoder.map(count).ok()?;
        if let Some(down) = self.down {
            encoder.str("d").ok()?.bytes(down).ok()?;
        }
        if let Some(up) = self.up {
            encoder.str("u").ok()?.bytes(up).ok()?;
        }
        if self.more > 0 {
            encoder.str("n").ok()?.u32(self.more).ok()?;
        }
        if self.error > 0 {
            encoder.str("rc").ok()?.u32(self.error).ok()?;
        }
        Some(encoder.writer().position())
    }
}

/// Bytes on a console that a frame of so many makes.
pub const fn console_bytes_max(frame_bytes: usize) -> usize {
    let characters = base64::encoded_len(frame_bytes + 4);
    characters + characters.div_ceil(CHARACTERS) * 3
}

/// Characters of base64 in a line: whole groups of four.
const CHARACTERS: usize = (LINE_BYTES_MAX - 3) / 4 * 4;

/// Writes a frame as lines of a console; answers how many bytes, or `None` for too little room or a frame over 64 kB.
pub fn encode_console(frame: &[u8], out: &mut [u8]) -> Option<usize> {
    let total = u16::try_from(frame.len() + 2).ok()?;
    let (length, crc) = (total.to_be_bytes(), crc16(frame).to_be_bytes());
    let mut bytes = length.iter().chain(frame).chain(&crc).copied();
    let mut writer = Writer::new(out);
    let mut mark = FIRST;
    loop {
        let mut line = [0; CHARACTERS / 4 * 3];
        let mut count = 0;
        while count < line.len() {
            let Some(byte) = bytes.next() else { break };
            line[count] = byte;
            count += 1;
        }
        if count == 0 {
            return Some(writer.written());
        }
        let mut text = [0; CHARACTERS];
        let characters = base64::encode(&line[..count], &mut text)?;
        writer.put(&core::mem::replace(&mut mark, FURTHER))?;
        writer.put(&text[..characters])?;
        writer.put(b"\n")?;
    }
}

/// Takes bytes off a console, one at a time, and gives the frames among its lines; what else is printed there is passed over.
#[derive(Clone, Debug)]
pub struct Console<const N: usize> {
    line: [u8; LINE_BYTES_MAX],
    line_bytes: usize,
    /// Length, frame and CRC, as far as they have come.
    packet: [u8; N],
    packet_bytes: usize,
}

impl<const N: usize> Default for Console<N> {
    fn default() -> Console<N> {
        Console::new()
    }
}

impl<const N: usize> Console<N> {
    /// A console on which nothing has come yet; `N` − 4 bytes is the longest frame that it takes.
    pub const fn new() -> Console<N> {
        Console {
            line: [0; LINE_BYTES_MAX],
            line_bytes: 0,
            packet: [0; N],
            packet_bytes: 0,
        }
    }

    /// Takes one byte; answers when a frame is whole, or is found to be broken.
    pub fn push(&mut self, byte: u8) -> Option<Result<&[u8], Damaged>> {
        if byte != b'\n' {
            // A line that is too long is no line of ours: its place stays beyond the end.
            if let Some(place) = self.line.get_mut(self.line_bytes) {
                *place = byte;
            }
            self.line_bytes = (self.line_bytes + 1).min(LINE_BYTES_MAX + 1);
            return None;
        }
        let len = core::mem::take(&mut self.line_bytes);
        let line = self.line.get(..len)?;
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let (mark, text) = line.split_first_chunk::<2>()?;
        match *mark {
            FIRST => self.packet_bytes = 0,
            FURTHER if self.packet_bytes > 0 => {}
            _ => return None,
        }
        let room = &mut self.packet[self.packet_bytes..];
        match base64::decode(text, room) {
            Some(0) | None => {
                self.packet_bytes = 0;
                Some(Err(Damaged))
            }
            Some(count) => {
                self.packet_bytes += count;
                self.check()
            }
        }
    }

    fn check(&mut self) -> Option<Result<&[u8], Damaged>> {
        let (length, rest) = self.packet[..self.packet_bytes].split_first_chunk()?;
        let total = usize::from(u16::from_be_bytes(*length));
        if rest.len() < total && total + 2 <= N {
            return None;
        }
        self.packet_bytes = 0;
        let whole = rest.get(..total).filter(|_| rest.len() == total);
        let Some((frame, crc)) = whole.and_then(|whole| whole.split_last_chunk()) else {
            return Some(Err(Damaged));
        };
        Some(if crc16(frame) == u16::from_be_bytes(*crc) {
            Ok(frame)
        } else {
            Err(Damaged)
        })
    }
}

/// A frame on a console was broken or too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damaged;
