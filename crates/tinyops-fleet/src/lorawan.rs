//! Devices behind a LoRaWAN network server: its events become envelopes, envelopes become its downlinks.
//!
//! A device's id is its DevEUI. The network proves the radio link to its own server; what proves a report to us is
//! the tag under the device's key, as everywhere. Downlinks wait here, one goes out for each uplink, cut to what the
//! data rate of that moment carries. What waits is in memory: after a restart a device asks again, or is told again.

mod network;

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;

pub use network::{Heard, Network, NetworkError, RadioUplink};
use tinyops_store::device::{Device, DeviceState};
use tinyops_store::{DeviceId, ModelId, device, presence};
use tinyops_wire::envelope::{Direction, OVERHEAD};
use tinyops_wire::lorawan::{
    Assembler, CAPSULE_BYTES_MAX, Known, PART_OVERHEAD, PORT_BLOCK, PORT_FRAGMENT, PORT_MESSAGE,
    Part, Short, downlink_bytes_max, encode_block, fragments, seal,
};
use tinyops_wire::{Downlink, Envelope, Sealed};

use crate::fleet::lock;
use crate::{Fleet, FleetError};

/// Devices remembered at most; they are forgotten all at once, and ask again.
const SESSIONS_MAX: usize = 100_000;
/// Payloads that wait for one device at most.
const WAITING_MAX: usize = 128;
/// Longest message in its short form.
const MESSAGE_BYTES_MAX: usize = 1024;
/// A request for so few blocks is a repair: each goes out twice, so that the next repair is rarely needed.
const REPAIR_BLOCKS: usize = 2;

/// What waits for devices, and the messages that they are in the middle of.
#[derive(Default)]
pub struct Radios {
    sessions: Mutex<HashMap<DeviceId, Session>>,
}

#[derive(Default)]
struct Session {
    incoming: Assembler<MESSAGE_BYTES_MAX>,
    /// Number of the next message in fragments.
    number: u8,
    /// The newest message in fragments and the room that it was cut for, to be sent again in parts.
    newest: Option<(u8, usize, Vec<u8>)>,
    waiting: VecDeque<Payload>,
}

/// A payload for a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// Its port.
    pub port: u8,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

impl Fleet {
    /// Takes an uplink; the whole envelope, if it completed one. Hand that to [`Fleet::ingest_many`].
    ///
    /// What cannot be opened is handed on as it came, so that it is counted as refused there. Ports of others are
    /// passed over.
    ///
    /// # Errors
    /// [`FleetError::Store`].
    pub async fn lengthen(
        &self,
        radios: &Radios,
        uplink: &RadioUplink,
    ) -> Result<Option<Vec<u8>>, FleetError> {
        let message = match uplink.port {
            PORT_MESSAGE => uplink.payload.clone(),
            PORT_FRAGMENT => match radios.take_part(uplink) {
                Some(message) => message,
                None => return Ok(None),
            },
            _ => return Ok(None),
        };
        let Some(device) = self.active(uplink.device).await? else {
            return Ok(Some(message));
        };
        let presence = presence::get(&self.db, device.id)
            .await?
            .unwrap_or_default();
        let known = Known {
            direction: Direction::Up,
            device: device.id,
            model: presence.model.unwrap_or(ModelId(0)),
            sequence: presence.last_seq.unwrap_or(0),
        };
        let opened = Short::parse(&message).and_then(|short| short.open(&known, &device.key));
        let Ok(envelope) = opened else {
            return Ok(Some(message));
        };
        let mut sealed = vec![0; envelope.body.len() + OVERHEAD];
        envelope
            .seal(&device.key, &mut sealed)
            .expect("the room is the body's and the overhead");
        Ok(Some(sealed))
    }

    /// Puts sealed envelopes for a device among its payloads, cut for this spreading factor.
    ///
    /// # Errors
    /// [`FleetError::Store`].
    pub async fn queue(
        &self,
        radios: &Radios,
        id: DeviceId,
        envelopes: &[Vec<u8>],
        spreading_factor: u8,
    ) -> Result<(), FleetError> {
        if envelopes.is_empty() {
            return Ok(());
        }
        let Some(device) = self.active(id).await? else {
            return Ok(());
        };
        let opened = envelopes.iter().filter_map(|bytes| {
            let sealed = Sealed::parse(bytes).ok()?;
            sealed.open(&device.key, Direction::Down).ok()
        });
        let room = downlink_bytes_max(spreading_factor);
        radios.queue(&device, opened.collect(), room);
        Ok(())
    }

    async fn active(&self, id: DeviceId) -> Result<Option<Device>, FleetError> {
        let device = device::get(&self.db, id).await?;
        Ok(device.filter(|device| device.state == DeviceState::Active))
    }
}

impl Radios {
    /// The next payload for a device that listens now, if one waits that its data rate carries.
    pub fn next(&self, device: DeviceId, spreading_factor: u8) -> Option<Payload> {
        let room = downlink_bytes_max(spreading_factor);
        let mut sessions = lock(&self.sessions);
        let waiting = &mut sessions.get_mut(&device)?.waiting;
        // What was cut for a faster rate cannot go: blocks are asked for again, messages are told again.
        while let Some(payload) = waiting.pop_front() {
            if payload.bytes.len() <= room {
                return Some(payload);
            }
        }
        None
    }

    /// How many payloads wait for a device.
    pub fn waiting(&self, device: DeviceId) -> usize {
        let sessions = lock(&self.sessions);
        sessions
            .get(&device)
            .map_or(0, |session| session.waiting.len())
    }

    /// Forgets what waits for a device: it has joined the network anew.
    pub fn forget(&self, device: DeviceId) {
        lock(&self.sessions).remove(&device);
    }

    fn session<T>(&self, device: DeviceId, with: impl FnOnce(&mut Session) -> T) -> T {
        let mut sessions = lock(&self.sessions);
        if sessions.len() >= SESSIONS_MAX && !sessions.contains_key(&device) {
            sessions.clear();
        }
        with(sessions.entry(device).or_default())
    }

    fn take_part(&self, uplink: &RadioUplink) -> Option<Vec<u8>> {
        let part = Part::decode(&uplink.payload)?;
        self.session(uplink.device, |session| match part {
            Part::Fragment(fragment) => {
                if let Some(whole) = session.incoming.push(fragment) {
                    return Some(whole.to_vec());
                }
                let missing = session.incoming.missing();
                let missing = missing.filter(|missing| missing.bitmap != 0);
                if let (true, Some(missing)) = (fragment.index == fragment.last, missing) {
                    let mut bytes = vec![0; 5];
                    let len = Part::Missing(missing).encode(&mut bytes)?;
                    bytes.truncate(len);
                    session.waiting.push_front(Payload {
                        port: PORT_FRAGMENT,
                        bytes,
                    });
                }
                None
            }
            Part::Missing(missing) => {
                let (number, room, message) = session.newest.as_ref()?;
                if *number == missing.number {
                    let again: Vec<Payload> = cut(message, *number, *room)
                        .enumerate()
                        .filter(|(index, _)| missing.bitmap >> index & 1 == 1)
                        .map(|(_, payload)| payload)
                        .collect();
                    session
                        .waiting
                        .retain(|payload| payload.port != PORT_FRAGMENT);
                    again
                        .into_iter()
                        .rev()
                        .for_each(|payload| session.waiting.push_front(payload));
                }
                None
            }
        })
    }

    fn queue(&self, device: &Device, envelopes: Vec<Envelope<'_>>, room: usize) {
        self.session(device.id, |session| {
            let mut blocks = Vec::new();
            for envelope in &envelopes {
                match Downlink::decode(envelope.body) {
                    Ok(Downlink::Block(block)) if block.offset < CAPSULE_BYTES_MAX => {
                        let mut bytes = vec![0; block.bytes.len() + PART_OVERHEAD];
                        if encode_block(&block.digest, block.offset, block.bytes, &mut bytes)
                            .is_some_and(|len| len <= room)
                        {
                            blocks.push(Payload {
                                port: PORT_BLOCK,
                                bytes,
                            });
                        }
                    }
                    Ok(Downlink::Block(_)) => {}
                    _ => session.message(device, envelope, room),
                }
            }
            if !blocks.is_empty() {
                // A new request says anew what is missing: what waits of the last one is not.
                session.waiting.retain(|payload| payload.port != PORT_BLOCK);
                let copies = if blocks.len() <= REPAIR_BLOCKS { 2 } else { 1 };
                for _ in 0..copies {
                    session.waiting.extend(blocks.iter().cloned());
                }
            }
            session.waiting.truncate(WAITING_MAX);
        });
    }
}

impl Session {
    fn message(&mut self, device: &Device, envelope: &Envelope<'_>, room: usize) {
        let mut bytes = vec![0; MESSAGE_BYTES_MAX];
        let Ok(len) = seal(envelope, false, &device.key, &mut bytes) else {
            return;
        };
        bytes.truncate(len);
        if len <= room {
            self.waiting.push_back(Payload {
                port: PORT_MESSAGE,
                bytes,
            });
            return;
        }
        self.number = (self.number + 1) & 0x7f;
        // One message in fragments at a time: the newest is what the device should know.
        self.waiting.retain(|payload| payload.port != PORT_FRAGMENT);
        self.waiting.extend(cut(&bytes, self.number, room));
        self.newest = Some((self.number, room, bytes));
    }
}

/// The fragments of a message as payloads; none if it needs more than there may be.
fn cut(message: &[u8], number: u8, room: usize) -> impl Iterator<Item = Payload> {
    let parts = fragments(message, number, room).into_iter().flatten();
    parts.map(|fragment| {
        let mut bytes = vec![0; fragment.bytes.len() + PART_OVERHEAD];
        let written = Part::Fragment(fragment).encode(&mut bytes);
        written.expect("the room is the part's and its overhead");
        Payload {
            port: PORT_FRAGMENT,
            bytes,
        }
    })
}
