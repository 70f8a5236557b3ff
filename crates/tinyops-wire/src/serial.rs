//! The serial link: envelopes between zeros on any line of bytes (UART, USB, a TCP stream to a concentrator).
//!
//! ```text
//! on the line   0x00 | COBS(kind and version 1, body n, CRC-32 of both 4) | 0x00
//! kind 1        an envelope on its way up
//! kind 2        an envelope on its way down
//! kind 3        room: the largest body that this end takes, u16
//! kind 4        a request to enrol, on its way up
//! kind 5        the answer to one, on its way down: the request's nonce 16, the answer n; none of it: refused
//! ```
//! Consistent overhead byte stuffing leaves no zero inside a frame, so a receiver that has lost its place
//! finds it again at the next zero: a broken frame costs itself and nothing else. The zero before a frame ends
//! whatever noise the line brought since the last one. Specified in `docs/formats/serial.md`.
//!
//! # Source
//! Cheshire and Baker, 1999, "Consistent overhead byte stuffing"; for the strength of the checksum
//! Koopman, 2002, "32-bit cyclic redundancy codes for Internet applications".

use core::fmt;

use crate::crc::crc32_of;

/// Largest body that a gateway takes and sends: a block of 2 kB in its envelope, and some.
pub const BODY_BYTES_MAX: usize = 2304;

/// Bytes of a frame around its body, before stuffing.
pub const OVERHEAD: usize = 1 + CRC_BYTES;

/// Bytes by which a request to enrol is known.
pub const NONCE_BYTES: usize = 16;

const CRC_BYTES: usize = 4;
const VERSION: u8 = 1;
const END: u8 = 0;
/// Longest run of bytes without a zero that one code byte can lead.
const RUN_BYTES_MAX: u8 = 254;

/// Bytes on the line that a body of so many takes at most, both zeros among them.
pub const fn line_bytes_max(body_bytes: usize) -> usize {
    let frame_bytes = body_bytes + OVERHEAD;
    frame_bytes + frame_bytes / RUN_BYTES_MAX as usize + 1 + 2
}

/// What goes over the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Message<'a> {
    /// An envelope from a device.
    Up(&'a [u8]),
    /// An envelope for a device.
    Down(&'a [u8]),
    /// The largest body that this end takes: a device says it when it starts, a gateway when the line opens and in
    /// answer to a device's. No device answers it.
    Room {
        /// Bytes.
        body_bytes: u16,
    },
    /// A request to enrol ([`crate::enrolment`]), from a device that has no key yet.
    Enrol(&'a [u8]),
    /// The answer to one.
    Enrolled {
        /// That of the request: others on the line wait for other answers.
        nonce: [u8; NONCE_BYTES],
        /// The answer; empty if the server has refused, and would again.
        answer: &'a [u8],
    },
}

impl<'a> Message<'a> {
    /// Writes the message as it goes over the line, zeros and all; answers how many bytes.
    ///
    /// [`line_bytes_max`] tells how much room is enough.
    ///
    /// # Errors
    /// [`SerialError::Room`] if `out` has too little.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, SerialError> {
        let room;
        let (kind, before, body): (u8, &[u8], &[u8]) = match self {
            Message::Up(envelope) => (1, &[], envelope),
            Message::Down(envelope) => (2, &[], envelope),
            Message::Room { body_bytes } => {
                room = body_bytes.to_le_bytes();
                (3, &[], &room)
            }
            Message::Enrol(request) => (4, &[], request),
            Message::Enrolled { nonce, answer } => (5, nonce, answer),
        };
        let head = [kind | VERSION << 4];
        let crc = crc32_of(&[&head, before, body]).to_le_bytes();
        let mut stuffer = Stuffer::begin(out).ok_or(SerialError::Room)?;
        for part in [&head[..], before, body, &crc] {
            for &byte in part {
                stuffer.put(byte).ok_or(SerialError::Room)?;
            }
        }
        stuffer.end().ok_or(SerialError::Room)
    }

    fn decode(frame: &'a [u8]) -> Result<Message<'a>, SerialError> {
        let (checked, crc) = frame
            .split_last_chunk::<CRC_BYTES>()
            .ok_or(SerialError::Damaged)?;
        let (&head, body) = checked.split_first().ok_or(SerialError::Damaged)?;
        if crc32_of(&[checked]) != u32::from_le_bytes(*crc) {
            return Err(SerialError::Damaged);
        }
        let version = head >> 4;
        if version != VERSION {
            return Err(SerialError::Version { found: version });
        }
        match head & 0xf {
            1 => Ok(Message::Up(body)),
            2 => Ok(Message::Down(body)),
            3 => {
                let body = body.try_into().map_err(|_| SerialError::Damaged)?;
                Ok(Message::Room {
                    body_bytes: u16::from_le_bytes(body),
                })
            }
            4 => Ok(Message::Enrol(body)),
            5 => {
                let (nonce, answer) = body.split_first_chunk().ok_or(SerialError::Damaged)?;
                Ok(Message::Enrolled {
                    nonce: *nonce,
                    answer,
                })
            }
            kind => Err(SerialError::Kind { found: kind }),
        }
    }
}

/// Takes bytes off the line, one at a time, and gives the messages among them. Its memory holds a frame of `N` bytes:
/// bodies of `N` − [`OVERHEAD`].
#[derive(Clone, Debug)]
pub struct Decoder<const N: usize> {
    frame: [u8; N],
    frame_bytes: usize,
    /// Bytes to come before the next code byte; 0 when the next byte is one.
    run_left: u8,
    /// Whether a zero stands after the run, unless the frame ends there.
    zero_after: bool,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing of a frame has come.
    Between,
    Within,
    /// More has come than a frame may hold; nothing is taken before the next zero.
    TooLong,
}

impl<const N: usize> Default for Decoder<N> {
    fn default() -> Decoder<N> {
        Decoder::new()
    }
}

impl<const N: usize> Decoder<N> {
    /// A line on which nothing has come yet.
    pub const fn new() -> Decoder<N> {
        Decoder {
            frame: [0; N],
            frame_bytes: 0,
            run_left: 0,
            zero_after: false,
            state: State::Between,
        }
    }

    /// Takes one byte; answers at the end of each frame, with its message or why there is none.
    pub fn push(&mut self, byte: u8) -> Option<Result<Message<'_>, SerialError>> {
        if byte == END {
            return self.end();
        }
        match self.state {
            State::TooLong => return None,
            State::Between => {
                (self.frame_bytes, self.run_left, self.zero_after) = (0, 0, false);
                self.state = State::Within;
            }
            State::Within => {}
        }
        let kept = if self.run_left > 0 {
            self.run_left -= 1;
            self.keep(byte)
        } else {
            let kept = !self.zero_after || self.keep(0);
            self.run_left = byte - 1;
            self.zero_after = byte <= RUN_BYTES_MAX;
            kept
        };
        if !kept {
            self.state = State::TooLong;
        }
        None
    }

    fn end(&mut self) -> Option<Result<Message<'_>, SerialError>> {
        match core::mem::replace(&mut self.state, State::Between) {
            State::Between => None,
            State::TooLong => Some(Err(SerialError::TooLong)),
            State::Within if self.run_left > 0 => Some(Err(SerialError::Damaged)),
            State::Within => Some(Message::decode(&self.frame[..self.frame_bytes])),
        }
    }

    fn keep(&mut self, byte: u8) -> bool {
        let Some(place) = self.frame.get_mut(self.frame_bytes) else {
            return false;
        };
        *place = byte;
        self.frame_bytes += 1;
        true
    }
}

/// Writes a frame between zeros.
struct Stuffer<'o> {
    out: &'o mut [u8],
    written: usize,
    /// Where the code byte of the run being written stands.
    code_at: usize,
    code: u8,
}

impl<'o> Stuffer<'o> {
    fn begin(out: &'o mut [u8]) -> Option<Stuffer<'o>> {
        *out.first_mut()? = END;
        Some(Stuffer {
            out,
            written: 2,
            code_at: 1,
            code: 1,
        })
    }

    fn put(&mut self, byte: u8) -> Option<()> {
        if byte == 0 {
            return self.begin_run();
        }
        *self.out.get_mut(self.written)? = byte;
        self.written += 1;
        self.code += 1;
        if self.code == RUN_BYTES_MAX + 1 {
            self.begin_run()?;
        }
        Some(())
    }

    fn begin_run(&mut self) -> Option<()> {
        *self.out.get_mut(self.code_at)? = self.code;
        (self.code_at, self.code) = (self.written, 1);
        self.written += 1;
        Some(())
    }

    fn end(mut self) -> Option<usize> {
        self.begin_run()?;
        // The run that was just begun is none: the closing zero stands in its place.
        *self.out.get_mut(self.code_at)? = END;
        Some(self.written)
    }
}

/// Why bytes on a line are not a message, or a message is not on the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SerialError {
    /// The checksum or the stuffing is wrong.
    Damaged,
    /// A kind that this build does not know.
    Kind {
        /// The kind found.
        found: u8,
    },
    /// Too little room to write in.
    Room,
    /// More bytes between two zeros than a frame may have here.
    TooLong,
    /// A version that this build does not know.
    Version {
        /// The version found.
        found: u8,
    },
}

impl fmt::Display for SerialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SerialError::Damaged => write!(f, "a frame was damaged on the line"),
            SerialError::Kind { found } => write!(f, "serial message kind {found} is unknown"),
            SerialError::Room => write!(f, "too little room for the message"),
            SerialError::TooLong => write!(f, "a frame on the line is longer than this end takes"),
            SerialError::Version { found } => {
                write!(f, "serial message version {found} is unknown")
            }
        }
    }
}

impl core::error::Error for SerialError {}
