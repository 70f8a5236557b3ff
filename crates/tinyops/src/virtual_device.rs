//! Devices in this process: the real agent, over flash and memory that are only simulated.

mod air;
#[cfg(test)]
mod carried;
#[cfg(test)]
mod climb;
mod line;
mod link;
mod meter;
#[cfg(test)]
mod own_voice;
#[cfg(test)]
mod rehearsal;
mod way;

pub(crate) use {
    air::{AIR_BLOCK_BYTES, AIR_ROOM, Air, Rhythm},
    line::{Line, enrol},
    link::Link,
    way::{Down, Inbox, Way},
};

use std::{sync::Arc, time::Instant};

use self::meter::Meter;
use crate::cmd::serve::seed;
use tinyops_device::{
    Action, Agent, Config, Event, Fetch, OwnHeadState, Prediction,
    memory::{Lent, Memory},
    sim::RamFlash,
};
use tinyops_nn::Regions;
use tinyops_nn::head::{OWN_STORE_HEAD_BYTES, OWN_WINDOWS, own_memory_len, own_window_bytes};
use tinyops_wire::{
    DeviceKey, ModelId,
    annotation::Annotation,
    envelope::{Direction, Sealed},
    frame::Frame,
};

/// What a virtual board has: larger models are refused, as on a real one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    pub(crate) slot_bytes: usize,
    pub(crate) arena_bytes: usize,
    pub(crate) window_len: usize,
    pub(crate) features_len: usize,
    pub(crate) scratch_len: usize,
    /// Windows that a late label can still judge.
    pub(crate) ring_windows: usize,
    pub(crate) class_count: usize,
    pub(crate) embedding_width: usize,
    /// Bytes of windows chosen for an annotator.
    pub(crate) chosen_bytes: usize,
}

impl Room {
    /// About what a Cortex-M4 board of 256 KiB RAM gives.
    pub(crate) const SMALL: Self = Self {
        slot_bytes: 96 * 1024,
        arena_bytes: 16 * 1024,
        window_len: 0,
        features_len: 512,
        scratch_len: 8 * 1024,
        ring_windows: 48,
        class_count: 8,
        embedding_width: 64,
        chosen_bytes: 16 * 1024,
    };
    /// More than any board in the list, for models of any size.
    pub(crate) const LARGE: Self = Self {
        slot_bytes: 4 * 1024 * 1024,
        arena_bytes: 2 * 1024 * 1024,
        window_len: 1 << 18,
        features_len: 1 << 17,
        scratch_len: 1 << 19,
        ring_windows: 256,
        class_count: 32,
        embedding_width: 256,
        chosen_bytes: 4 * 1024 * 1024,
    };
}

pub(crate) struct Buffers {
    arena: Vec<u8>,
    window: Vec<f32>,
    features: Vec<f32>,
    scratch: Vec<f32>,
    ring: Vec<u8>,
    statistics: Vec<i32>,
    moments: Vec<f32>,
    own_head: Vec<f32>,
    labelled: Vec<u8>,
    chosen: Vec<u8>,
    blocks: Vec<u8>,
    outbox: Vec<u8>,
}

impl Buffers {
    fn new(room: Room) -> Self {
        let cells = tinyops_nn::statistics::cell_count(room.class_count, room.embedding_width);
        Self {
            arena: vec![0; room.arena_bytes],
            window: vec![0.0; room.window_len],
            features: vec![0.0; room.features_len],
            scratch: vec![0.0; room.scratch_len],
            ring: vec![0; room.ring_windows * (1 + room.embedding_width)],
            statistics: vec![0; cells],
            moments: vec![0.0; tinyops_device::restandard::memory_len(room.features_len)],
            own_head: vec![0.0; own_memory_len(room.class_count, room.embedding_width)],
            labelled: vec![0; OWN_WINDOWS * own_window_bytes(room.embedding_width)],
            chosen: vec![0; room.chosen_bytes],
            // One bit for each block of a slot, the smallest that any link has.
            blocks: vec![0; room.slot_bytes.div_ceil(8 * usize::from(AIR_BLOCK_BYTES))],
            outbox: vec![0; 2048],
        }
    }
}

impl Memory for Buffers {
    fn lend(&mut self) -> Lent<'_> {
        Lent {
            arena: Regions::new([&mut self.arena]),
            window: &mut self.window,
            features: &mut self.features,
            scratch: &mut self.scratch,
            ring: &mut self.ring,
            statistics: &mut self.statistics,
            moments: &mut self.moments,
            own_head: &mut self.own_head,
            labelled: &mut self.labelled,
            chosen: &mut self.chosen,
            blocks: &mut self.blocks,
            outbox: &mut self.outbox,
        }
    }
}

/// Bytes of a block of a capsule.
pub(crate) const BLOCK_BYTES: u16 = 1024;

/// What went over a device's link.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Traffic {
    pub(crate) up_bytes: u64,
    pub(crate) down_bytes: u64,
    pub(crate) up_messages: u64,
    /// Messages sent that are no report, request or sum that the wire format knows: all that could
    /// hold a raw window.
    pub(crate) raw_windows: u64,
    /// Messages with bytes of windows that are sealed for an annotator whom its owner has consented to.
    pub(crate) sealed_parts: u64,
}

/// What a device did upon an event.
#[derive(Debug, Default)]
pub(crate) struct Response {
    pub(crate) predictions: Vec<Prediction>,
    pub(crate) uplinks: Vec<Vec<u8>>,
    pub(crate) fetches: Vec<Fetch>,
}

type Flash = RamFlash<Vec<u8>, Arc<[u8]>>;

/// One device.
pub(crate) struct VirtualDevice {
    agent: Agent<Flash, Buffers>,
    key: DeviceKey,
    traffic: Traffic,
    meter: Option<Meter>,
}

impl VirtualDevice {
    /// A device fresh from the factory, with its capsule (empty for none).
    pub(crate) fn new(config: Config, room: Room, factory: Arc<[u8]>) -> Self {
        Self::with_flash(config, room, factory, vec![0xff; Self::flash_bytes(room)])
    }

    /// A device that had a life before: `flash` is what its memory held when the power went.
    pub(crate) fn with_flash(
        config: Config,
        room: Room,
        factory: Arc<[u8]>,
        flash: Vec<u8>,
    ) -> Self {
        let flash = RamFlash::new(flash, factory).with_own_head(Self::own_head_bytes(room));
        let key = config.key.clone();
        Self {
            agent: Agent::new(config, flash, Buffers::new(room)),
            key,
            traffic: Traffic::default(),
            meter: None,
        }
    }

    /// The same device, with a driver that measures what each window costs; its board has so much RAM. Its reports tell
    /// how fast this machine is, so they are not the same in every run.
    pub(crate) fn metered(self, ram_total_bytes: u32) -> Self {
        Self {
            meter: Some(Meter::new(ram_total_bytes)),
            ..self
        }
    }

    /// The agent, for what its owner decides.
    pub(crate) fn agent(&mut self) -> &mut Agent<RamFlash<Vec<u8>, Arc<[u8]>>, Buffers> {
        &mut self.agent
    }

    /// Tells the device what its link carries: bytes of a capsule in one message.
    pub(crate) fn set_link_room(&mut self, room: usize) {
        self.agent.set_link_room(room);
    }

    /// Hands in an event and does whatever follows from it, until the agent has nothing left to do.
    pub(crate) fn handle(&mut self, now_ms: u64, event: Event<'_>) -> Response {
        if let Event::Downlink(bytes) | Event::Block { bytes, .. } = event {
            self.traffic.down_bytes += bytes.len() as u64;
        }
        let mut response = Response::default();
        let mut entropy;
        let mut next = event;
        loop {
            if let (Some(meter), Event::Boot) = (&mut self.meter, next) {
                meter.boot(self.agent.memory_mut());
            }
            let begun = Instant::now();
            let action = self.agent.step(now_ms, next);
            let took = begun.elapsed();
            next = Event::Tick;
            match action {
                Action::Idle => return response,
                Action::Predict(prediction) => {
                    response.predictions.push(prediction);
                    if let Some(meter) = &mut self.meter {
                        next = Event::Measured(meter.window(took, self.agent.memory_mut()));
                    }
                }
                Action::Rescore => {
                    next = Event::Rescore(match event {
                        Event::Window(window) => window,
                        _ => &[],
                    });
                }
                Action::Shadow(_) => {
                    if let Some(meter) = &mut self.meter {
                        next = Event::Measured(meter.window(took, self.agent.memory_mut()));
                    }
                }
                Action::Entropy => {
                    entropy = seed();
                    next = Event::Entropy(&entropy);
                }
                Action::Send(bytes) => {
                    self.traffic.up_bytes += bytes.len() as u64;
                    self.traffic.up_messages += 1;
                    match kind_of(bytes, &self.key) {
                        Kind::Known => {}
                        Kind::Sealed => self.traffic.sealed_parts += 1,
                        Kind::Unknown => self.traffic.raw_windows += 1,
                    }
                    response.uplinks.push(bytes.to_vec());
                }
                Action::Fetch(fetch) => {
                    response.fetches.push(fetch);
                }
                Action::Reboot => next = Event::Boot,
            }
        }
    }

    /// Bytes of flash that a device with such room has.
    pub(crate) fn flash_bytes(room: Room) -> usize {
        Flash::bytes_for(room.slot_bytes) + Flash::own_head_bytes_for(Self::own_head_bytes(room))
    }

    /// Bytes of flash that one of before heads of devices' own had: the same, without what lies at its end for those.
    pub(crate) fn flash_bytes_before_own_heads(room: Room) -> usize {
        Flash::bytes_for(room.slot_bytes)
    }

    fn own_head_bytes(room: Room) -> usize {
        OWN_STORE_HEAD_BYTES + OWN_WINDOWS * own_window_bytes(room.embedding_width)
    }

    /// What the flash holds, and how often it was written since the device was made.
    pub(crate) fn flash(&mut self) -> (u64, &[u8]) {
        let flash = self.agent.flash_mut();
        (flash.operations(), flash.bytes())
    }

    /// The model that is at work.
    pub(crate) fn model(&self) -> Option<ModelId> {
        self.agent.model()
    }

    /// The name of one of its classes.
    pub(crate) fn class_name(&self, class: u8) -> Option<&str> {
        self.agent.class_name(class)
    }

    /// Whether it answers by a head of its own, and why not.
    pub(crate) fn own_head(&mut self) -> OwnHeadState {
        self.agent.own_head()
    }

    /// What its server asked for and may not have of it, since the boot of this process.
    pub(crate) fn refused(&self) -> u64 {
        self.agent.counters().refused
    }

    pub(crate) fn traffic(&self) -> Traffic {
        self.traffic
    }
}

/// What a message can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// It is one of the frames of the wire format that cannot hold readings.
    Known,
    /// It holds bytes that are sealed for an annotator.
    Sealed,
    /// Readings, for all that is known.
    Unknown,
}

fn kind_of(bytes: &[u8], key: &DeviceKey) -> Kind {
    let Ok(sealed) = Sealed::parse(bytes) else {
        return Kind::Unknown;
    };
    let Ok(envelope) = sealed.open(key, Direction::Up) else {
        return Kind::Unknown;
    };
    // A kind that is not named here counts as one, until somebody says that it cannot hold readings.
    match Frame::decode(envelope.body) {
        Ok(Frame::Annotation(Annotation::Part(_))) => Kind::Sealed,
        Ok(
            Frame::Alarm(_)
            | Frame::Summary(_)
            | Frame::Statistics(_)
            | Frame::Outcome(_)
            | Frame::Update(_)
            | Frame::BlockRequest(_)
            | Frame::Hello(_)
            | Frame::Keys(_)
            | Frame::Shadow(_)
            | Frame::MaskedReport(_)
            | Frame::MaskedPart(_)
            | Frame::NoisedReport(_)
            | Frame::Annotation(_),
        ) => Kind::Known,
        _ => Kind::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use tinyops_wire::{
        DeviceId, Envelope,
        frame::Flags,
        mask::{MaskKey, Purpose, Task},
        masked::{Content, MaskedPart, MaskedReport, PartHead},
    };

    use super::*;

    const KEY: DeviceKey = DeviceKey([7; 32]);

    fn sealed(body: &[u8]) -> Vec<u8> {
        let envelope = Envelope {
            direction: Direction::Up,
            device: DeviceId(1),
            model: ModelId(7),
            sequence: 3,
            body,
        };
        let mut out = [0; 256];
        let written = envelope.seal(&KEY, &mut out).unwrap();
        out[..written].to_vec()
    }

    #[test]
    fn what_is_under_masks_is_no_raw_window_and_readings_are() {
        let task = Task {
            purpose: Purpose::Monitoring,
            number: 5,
            model: ModelId(7),
            ring_bits: 13,
            norm_max: 15,
            clip: 0.5,
            noise_tenths: 0,
        };
        let head = PartHead {
            task: 5,
            ring_bits: 13,
            part_count: 1,
            sequence: 3,
            content: Content::Prototypes,
            class_count: 2,
            width: 4,
        };
        let (masks, values) = (|| MaskKey([1; 32]).masks(&task, 3), || [1, -1].into_iter());
        let mut out = [0; 128];
        let written =
            MaskedReport::encode(&task, Flags::default(), values(), masks(), &mut out).unwrap();
        assert_eq!(
            kind_of(&sealed(&out[..written]), &KEY),
            Kind::Known,
            "a masked report"
        );
        let written = MaskedPart::encode(head, 0, 2, &task, values(), masks(), &mut out).unwrap();
        assert_eq!(
            kind_of(&sealed(&out[..written]), &KEY),
            Kind::Known,
            "a masked part"
        );
        let readings: Vec<u8> = (0..16_u8)
            .flat_map(|at| f32::from(at).to_le_bytes())
            .collect();
        assert_eq!(kind_of(&sealed(&readings), &KEY), Kind::Unknown, "readings");
        assert_eq!(
            kind_of(&readings, &KEY),
            Kind::Unknown,
            "readings without an envelope"
        );
    }
}
