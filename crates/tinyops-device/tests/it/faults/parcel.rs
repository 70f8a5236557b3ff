//! Windows for an annotator while flash goes wrong: no more of them leave a device than its owner has allowed in a month,
//! whatever is cut, and what leaves it opens as what it was.

use std::collections::BTreeMap;

use tinyops_device::annotate::Consent;
use tinyops_device::flash::Flash;
use tinyops_device::{Action, Agent, Event};
use tinyops_wire::annotation::{Annotation, Collect, OrderReason, OrderState, PartRequest};
use tinyops_wire::downlink::Downlink;
use tinyops_wire::envelope::Direction;
use tinyops_wire::frame::Frame;
use tinyops_wire::sealing::{AnnotatorSecret, Bound, open};
use tinyops_wire::{Digest, ModelId, Sealed};

use super::flash::{FaultFlash, Faulty};
use super::schedule::{Fault, Kind};
use crate::fixture::{Buffers, DEVICE, Recipe, WINDOW, config, downlink, key, model_of};

/// Ways in which an operation can be done in part.
const SEEDS: u64 = 2;
/// What the owner allows in a month, and what an order is for.
const ALLOWED: u16 = 5;
const ORDERED: u8 = 4;
const OF: u16 = 6;
/// Orders until the month is spent: of whatever is left one is refused at last.
const ORDERS: u32 = 8;

fn secret() -> AnnotatorSecret {
    AnnotatorSecret::from_seed(&[5; 32])
}

/// A parcel that a device has told something of: how many windows are in it, and its bytes as they came.
#[derive(Clone, Debug, Default)]
struct Parcel {
    count: u8,
    bytes: Vec<Option<u8>>,
}

struct Device<F> {
    agent: Option<Agent<F, Buffers>>,
    downlinks: u32,
    /// Bytes that nobody can guess; a device is never given the same twice.
    entropy: u8,
    /// By order, and by which sealing of it.
    parcels: BTreeMap<(u32, u8), Parcel>,
    /// What it said last: state, reason, windows, bytes.
    said: Option<(OrderState, OrderReason, u8, u32)>,
    windows: u32,
}

impl<F: Faulty> Clone for Device<F> {
    fn clone(&self) -> Device<F> {
        Device {
            agent: self.agent.clone(),
            parcels: self.parcels.clone(),
            ..*self
        }
    }
}

impl<F: Faulty> Device<F> {
    fn new(flash: F) -> Device<F> {
        let mut device = Device {
            agent: Some(Agent::new(config(), flash, Buffers::default())),
            downlinks: 0,
            entropy: 0,
            parcels: BTreeMap::new(),
            said: None,
            windows: 0,
        };
        device.boot();
        device
    }

    fn boot(&mut self) {
        self.step(Event::Boot);
        let agent = self.agent.as_mut().expect("always there");
        agent.give_consent(Consent {
            annotator: secret().key(),
            windows_per_month: ALLOWED,
        });
    }

    fn flash(&mut self) -> &mut F {
        self.agent.as_mut().expect("always there").flash_mut()
    }

    /// Hands in an event and what follows. Without power nothing follows.
    fn step(&mut self, event: Event<'_>) {
        let mut entropy = [0; 32];
        let mut asks = false;
        let mut first = Some(event);
        for _ in 0..1_000 {
            if !self.flash().has_power() {
                return;
            }
            let agent = self.agent.as_mut().expect("always there");
            let next = match (first.take(), std::mem::take(&mut asks)) {
                (Some(event), _) => event,
                (None, true) => Event::Entropy(&entropy),
                (None, false) => Event::Tick,
            };
            let mut sent = None;
            match agent.step(0, next) {
                Action::Idle => return,
                Action::Send(bytes) => sent = Some(bytes.to_vec()),
                Action::Reboot => first = Some(Event::Boot),
                Action::Entropy => {
                    self.entropy += 1;
                    entropy = Digest::of(&[self.entropy]).0;
                    asks = true;
                }
                _ => {}
            }
            if let Some(bytes) = sent.filter(|_| self.flash().has_power()) {
                self.hear(&bytes);
            }
        }
        panic!("the device does not come to rest");
    }

    fn hear(&mut self, bytes: &[u8]) {
        let sealed = Sealed::parse(bytes).expect("an envelope");
        let envelope = sealed.open(&key(), Direction::Up).expect("its own");
        match Frame::decode(envelope.body) {
            Ok(Frame::Annotation(Annotation::Answer(answer))) => {
                self.said = Some((answer.state, answer.reason, answer.count, answer.bytes));
                if answer.state == OrderState::Ready {
                    let parcel = self.parcels.entry((answer.order, self.entropy));
                    parcel.or_insert_with(|| Parcel {
                        count: answer.count,
                        bytes: vec![None; answer.bytes as usize],
                    });
                }
            }
            Ok(Frame::Annotation(Annotation::Part(part))) => {
                let parcel = self.parcels.get_mut(&(part.order, self.entropy));
                let parcel = parcel.expect("it is ready before a part of it comes");
                for (at, byte) in part.bytes.iter().enumerate() {
                    parcel.bytes[part.offset as usize + at] = Some(*byte);
                }
            }
            _ => {}
        }
    }

    fn say(&mut self, message: &Downlink<'_>) {
        self.downlinks += 1;
        let bytes = downlink(message, self.downlinks);
        self.step(Event::Downlink(&bytes));
    }

    fn see(&mut self) {
        self.windows += 1;
        let mut readings = [0.25; WINDOW];
        readings[self.windows as usize % WINDOW] += (self.windows % 7) as f32 / 10.0;
        self.step(Event::Window(&readings));
    }

    /// One order, as a server makes it: it is told, windows come, the parcel is asked for and let go of.
    fn order(&mut self, number: u32) {
        self.said = None;
        self.say(&Downlink::Collect(Collect {
            order: number,
            count: ORDERED,
            windows: OF,
            annotator: secret().key().id(),
        }));
        for _ in 0..OF + 1 {
            self.see();
        }
        self.step(Event::Tick);
        if let Some((OrderState::Ready, _, _, bytes)) = self.said {
            for bytes in [bytes, 0] {
                self.say(&Downlink::PartRequest(PartRequest {
                    order: number,
                    offset: 0,
                    bytes,
                }));
            }
        }
    }

    /// Takes what memory held away, and boots; its owner says yes once more.
    fn restart(&mut self) {
        let mut flash = self.agent.take().expect("always there").into_flash();
        flash.arm(&[]);
        flash.power_up();
        self.agent = Some(Agent::new(config(), flash, Buffers::default()));
        self.boot();
    }

    /// Windows of all parcels that anything was told of.
    fn left(&self) -> u32 {
        let is_told = |parcel: &&Parcel| parcel.bytes.iter().any(Option::is_some);
        let told = self.parcels.values().filter(is_told);
        told.map(|parcel| u32::from(parcel.count)).sum()
    }

    /// Opens each parcel that came whole, as what the device said that it is.
    fn open_all(&self, model: ModelId) -> u32 {
        let mut opened = 0;
        for ((order, _), parcel) in &self.parcels {
            let bytes: Option<Vec<u8>> = parcel.bytes.iter().copied().collect();
            let Some(mut bytes) = bytes else { continue };
            let bound = Bound {
                device: DEVICE,
                model,
                order: *order,
                count: parcel.count,
            };
            open(&secret(), &bound, &mut bytes).expect("it opens");
            opened += 1;
        }
        opened
    }
}

/// Strikes every operation of an order in every way; answers how many strikes.
fn strike<F: Faulty>(flash: F, model: ModelId) -> u32 {
    let before = Device::new(flash);
    let mut well = before.clone();
    let first = well.flash().operations();
    well.order(1);
    let last = well.flash().operations();
    assert_eq!((well.left(), well.open_all(model)), (ORDERED.into(), 1));
    assert!(last > first, "what leaves it is written down before");
    let mut strikes = 0;
    for operation in first..last {
        for kind in [Kind::Cut, Kind::Reset, Kind::Fail, Kind::Silent] {
            for seed in 0..SEEDS {
                let fault = Fault {
                    after: (operation - first) as u32,
                    kind,
                    seed,
                };
                let told = format!("{}/{fault}", F::NAME);
                let mut device = before.clone();
                device.flash().arm(&[fault]);
                device.order(1);
                device.restart();
                strikes += 1;
                // The server asks again, and for more than there is.
                for number in 1..=ORDERS {
                    device.order(number);
                }
                let last = device.said.map(|(state, reason, ..)| (state, reason));
                assert_eq!(
                    last,
                    Some((OrderState::Refused, OrderReason::Quota)),
                    "{told}: the month is spent"
                );
                assert!(
                    device.left() <= ALLOWED.into(),
                    "{told}: {} windows of {ALLOWED} have left",
                    device.left()
                );
                assert!(device.open_all(model) > 0, "{told}: nothing came");
                assert_eq!(device.flash().misused(), None, "{told}");
            }
        }
    }
    strikes
}

fn flash<const WRITE: usize, const PAGE: usize>(capsule: &[u8]) -> FaultFlash<WRITE, PAGE>
where
    FaultFlash<WRITE, PAGE>: Flash,
{
    FaultFlash::new(4096, capsule.to_vec())
}

#[test]
fn no_more_windows_leave_than_are_allowed_whatever_is_cut() {
    let capsule = Recipe::default().capsule();
    let model = model_of(&capsule);
    let strikes = strike(flash::<4, 512>(&capsule), model)
        + strike(flash::<1, 256>(&capsule), model)
        + strike(flash::<64, 8192>(&capsule), model);
    println!("{strikes} strikes");
    assert!(strikes > 2_000, "{strikes}");
}
