//! A device's end of a LoRaWAN link: envelopes of the agent become payloads, payloads become events for the agent.

use tinyops_wire::envelope::{Direction, Envelope, Sealed};
use tinyops_wire::frame::Frame;
use tinyops_wire::lorawan::{
    Assembler, Known, PART_OVERHEAD, PORT_BLOCK, PORT_FRAGMENT, PORT_MESSAGE, Part, Short,
    decode_block, fragments, seal,
};
use tinyops_wire::{DeviceId, DeviceKey, ModelId};

/// Longest message either way, in its short form.
const MESSAGE_BYTES_MAX: usize = 512;
/// The model is said in every so many messages, so that a server that missed it hears it again.
const MODEL_EVERY: u8 = 8;
/// Times that a message in fragments is sent again when its answer stays away.
const REPEATS: u8 = 3;

/// One link. It holds one message each way, and tells when it can take the next.
#[derive(Clone, Debug)]
pub struct Radio {
    device: DeviceId,
    key: DeviceKey,
    model: ModelId,
    since_model: u8,
    /// The message on its way up, in its short form.
    message: [u8; MESSAGE_BYTES_MAX],
    message_bytes: usize,
    number: u8,
    /// Bytes of its payloads, which must not change while its fragments are out.
    room: usize,
    /// Fragments of it to be sent; bit 0 alone for a message that goes whole.
    to_send: u32,
    /// Whether it goes in fragments, and times that these may be sent again.
    repeats: Option<u8>,
    incoming: Assembler<MESSAGE_BYTES_MAX>,
    /// Whether a message is incomplete that the server shall be told of.
    is_incomplete: bool,
    /// The capsule being fetched, by the last request that went out.
    digest: Option<[u8; 8]>,
    downlink_newest: u32,
    opened: [u8; MESSAGE_BYTES_MAX],
}

/// What a payload brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received<'r> {
    /// An envelope, for [`crate::Event::Downlink`].
    Envelope(&'r [u8]),
    /// A block, for [`crate::Event::Block`].
    Block {
        /// Where it belongs.
        offset: u32,
        /// The bytes.
        bytes: &'r [u8],
    },
    /// Nothing that is for the agent.
    Nothing,
}

impl Radio {
    /// A link of a device, whose id is its DevEUI.
    pub fn new(device: DeviceId, key: DeviceKey) -> Radio {
        Radio {
            device,
            key,
            model: ModelId::default(),
            since_model: MODEL_EVERY,
            message: [0; MESSAGE_BYTES_MAX],
            message_bytes: 0,
            number: 0,
            room: 0,
            to_send: 0,
            repeats: None,
            incoming: Assembler::new(),
            is_incomplete: false,
            digest: None,
            downlink_newest: 0,
            opened: [0; MESSAGE_BYTES_MAX],
        }
    }

    /// Whether the next envelope can be taken: everything of the last one has gone out.
    pub fn is_idle(&self) -> bool {
        self.to_send == 0
    }

    /// Takes an envelope of the agent ([`crate::Action::Send`]) for payloads of `room` bytes.
    ///
    /// False if it is not this device's, or so long that it cannot go over this link.
    pub fn send(&mut self, envelope: &[u8], room: usize) -> bool {
        let opened =
            Sealed::parse(envelope).and_then(|sealed| sealed.open(&self.key, Direction::Up));
        let Ok(envelope) = opened else { return false };
        let frame = Frame::decode(envelope.body);
        if let Ok(Frame::BlockRequest(request)) = &frame {
            self.digest = Some(request.digest);
        }
        let is_news = matches!(frame, Ok(Frame::Hello(_) | Frame::Update(_)));
        let with_model = is_news || envelope.model != self.model || self.since_model >= MODEL_EVERY;
        let Ok(len) = seal(&envelope, with_model, &self.key, &mut self.message) else {
            return false;
        };
        let count = if len <= room {
            1
        } else {
            let part = room.saturating_sub(PART_OVERHEAD).max(1);
            let count = len.div_ceil(part);
            if fragments(&self.message[..len], 0, room).is_none() {
                return false;
            }
            count
        };
        self.model = envelope.model;
        self.since_model = if with_model { 1 } else { self.since_model + 1 };
        (self.message_bytes, self.room) = (len, room);
        self.number = (self.number + 1) & 0x7f;
        self.to_send = u32::MAX >> (32 - count);
        self.repeats = (count > 1).then_some(REPEATS);
        true
    }

    /// Writes the payload of the next uplink: its port and length; `None` if there is nothing to say.
    ///
    /// A device of class A that waits for something sends an empty uplink then ([`Radio::is_waiting`]).
    pub fn uplink(&mut self, out: &mut [u8]) -> Option<(u8, usize)> {
        if core::mem::take(&mut self.is_incomplete) {
            let missing = self
                .incoming
                .missing()
                .filter(|missing| missing.bitmap != 0);
            if let Some(missing) = missing {
                let len = Part::Missing(missing).encode(out)?;
                return Some((PORT_FRAGMENT, len));
            }
        }
        if self.to_send == 0 {
            return None;
        }
        let message = &self.message[..self.message_bytes];
        if self.repeats.is_none() {
            self.to_send = 0;
            out.get_mut(..message.len())?.copy_from_slice(message);
            return Some((PORT_MESSAGE, message.len()));
        }
        let index = self.to_send.trailing_zeros();
        let fragment = fragments(message, self.number, self.room)?.nth(index as usize)?;
        self.to_send &= self.to_send - 1;
        let len = Part::Fragment(fragment).encode(out)?;
        Some((PORT_FRAGMENT, len))
    }

    /// Whether something is on its way down that a device of class A must send uplinks for.
    pub fn is_waiting(&self) -> bool {
        self.is_incomplete
            || self
                .incoming
                .missing()
                .is_some_and(|missing| missing.bitmap != 0)
    }

    /// Notes that a receive window has passed with an incomplete message: the server shall be told what is missing.
    pub fn ask_for_missing(&mut self) {
        self.is_incomplete = self
            .incoming
            .missing()
            .is_some_and(|missing| missing.bitmap != 0);
    }

    /// Takes a payload in. `downlink_seen` is the agent's ([`crate::Agent::downlink_seen`]).
    pub fn receive(&mut self, port: u8, payload: &[u8], downlink_seen: u32) -> Received<'_> {
        self.downlink_newest = self.downlink_newest.max(downlink_seen);
        match port {
            PORT_MESSAGE => {
                let len = payload.len().min(MESSAGE_BYTES_MAX);
                self.opened[..len].copy_from_slice(&payload[..len]);
                self.open(len)
            }
            PORT_FRAGMENT => match Part::decode(payload) {
                Some(Part::Fragment(fragment)) => match self.incoming.push(fragment) {
                    Some(whole) => {
                        let len = whole.len();
                        self.opened[..len].copy_from_slice(whole);
                        self.is_incomplete = false;
                        self.open(len)
                    }
                    None => {
                        self.is_incomplete = fragment.index == fragment.last;
                        Received::Nothing
                    }
                },
                Some(Part::Missing(missing)) => {
                    let repeats = self.repeats.filter(|_| missing.number == self.number);
                    if let Some(left) = repeats.filter(|&left| left > 0 && missing.bitmap != 0) {
                        self.repeats = Some(left - 1);
                        self.to_send |= missing.bitmap;
                    }
                    Received::Nothing
                }
                None => Received::Nothing,
            },
            PORT_BLOCK => {
                let Some(digest) = &self.digest else {
                    return Received::Nothing;
                };
                let Some((offset, bytes)) = decode_block(digest, payload) else {
                    return Received::Nothing;
                };
                let len = bytes.len().min(MESSAGE_BYTES_MAX);
                self.opened[..len].copy_from_slice(&bytes[..len]);
                Received::Block {
                    offset,
                    bytes: &self.opened[..len],
                }
            }
            _ => Received::Nothing,
        }
    }

    /// Opens the short form in `opened` and puts the whole envelope in its place.
    fn open(&mut self, len: usize) -> Received<'_> {
        let known = Known {
            direction: Direction::Down,
            device: self.device,
            model: ModelId::default(),
            sequence: self.downlink_newest,
        };
        let short = self.opened;
        let opened = Short::parse(&short[..len]).and_then(|short| short.open(&known, &self.key));
        let Ok(envelope) = opened else {
            return Received::Nothing;
        };
        self.downlink_newest = self.downlink_newest.max(envelope.sequence);
        match Envelope::seal(&envelope, &self.key, &mut self.opened) {
            Ok(len) => Received::Envelope(&self.opened[..len]),
            Err(_) => Received::Nothing,
        }
    }
}
