//! Features moved back to training when the server asks for it, and what of that survives a reset.
//!
//! ```text
//! offset  bytes
//!  0       1    sixteenths of the way, 1 to 16
//!  1       1    zero
//!  2       2    windows to learn from
//!  4       4    CRC-32 of the scaler that it was asked for
//! ```
//! The moments themselves are in memory alone: after a reset they are learnt anew before anything is moved.

use tinyops_wire::crc::crc32;
use tinyops_wire::downlink::Restandardize;
use tinyops_wire::section::ScalerSection;

use crate::agent::Agent;
use crate::flash::Flash;
use crate::memory::Memory;
use crate::normal::Normal;
use crate::restandard::{Moments, memory_len};
use crate::running::Running;

pub(crate) const ORDER_BYTES: usize = 8;

/// What the server has asked for. It holds for every capsule with that scaler: a new head leaves it in force, a model
/// that was trained again does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Order {
    sixteenths: u8,
    windows: u16,
    scaler: u32,
}

impl Order {
    pub(crate) fn encode(&self) -> [u8; ORDER_BYTES] {
        let [w0, w1] = self.windows.to_le_bytes();
        let [c0, c1, c2, c3] = self.scaler.to_le_bytes();
        [self.sixteenths, 0, w0, w1, c0, c1, c2, c3]
    }

    pub(crate) fn decode(bytes: &[u8; ORDER_BYTES]) -> Option<Order> {
        let [sixteenths, _, w0, w1, c0, c1, c2, c3] = *bytes;
        let order = Order {
            sixteenths,
            windows: u16::from_le_bytes([w0, w1]),
            scaler: u32::from_le_bytes([c0, c1, c2, c3]),
        };
        (1..=Restandardize::SIXTEENTHS)
            .contains(&sixteenths)
            .then_some(order)
    }
}

/// How far the device is with it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Adapting {
    order: Option<Order>,
    moments: Moments,
}

impl Adapting {
    /// Whether features are moved by now.
    pub(crate) fn is_in_force(&self) -> bool {
        self.order
            .is_some_and(|order| self.moments.windows >= order.windows.into())
    }

    /// What moves features now: the order as it is kept, zeros if nothing does.
    pub(crate) fn mark(&self) -> [u8; ORDER_BYTES] {
        let order = self.order.filter(|_| self.is_in_force());
        order.map_or([0; ORDER_BYTES], |order| order.encode())
    }

    /// Whether it has yet to learn what it moves features by.
    pub(crate) fn is_learning(&self) -> bool {
        self.order.is_some() && !self.is_in_force()
    }

    /// Learns from a window's features, or moves them; whether it is the first that is moved.
    pub(crate) fn pass(
        &mut self,
        features: &mut [f32],
        scaler: &ScalerSection<'_>,
        memory: &mut [f32],
    ) -> bool {
        let was_learning = self.is_learning();
        if was_learning {
            let groups = scaler.means().zip(scaler.inv_sds());
            self.moments.learn(features, groups, memory);
        }
        self.apply(features, scaler, memory);
        was_learning && self.is_in_force()
    }

    /// Moves a window's features, if that is in force; a candidate with the same scaler gets them so too.
    pub(crate) fn apply(
        &self,
        features: &mut [f32],
        scaler: &ScalerSection<'_>,
        memory: &mut [f32],
    ) {
        if let Some(order) = self.order.filter(|_| self.is_in_force()) {
            let groups = scaler.means().zip(scaler.inv_sds());
            let blend = f32::from(order.sixteenths) / f32::from(Restandardize::SIXTEENTHS);
            self.moments.apply(features, groups, memory, blend);
        }
    }
}

impl<F: Flash, M: Memory> Agent<F, M> {
    /// Takes an order up, or takes the one in force back; refuses what the device has no room for.
    #[inline(never)]
    pub(crate) fn restandardize(&mut self, asked: Restandardize) {
        let room = self.memory.lend().moments.len();
        let scaler = self.running.as_ref().and_then(|running| {
            let capsule = self.slots.capsule(running.place);
            let groups = running.parts.scorer(capsule)?.scaler.groups();
            let fits = groups > 0 && memory_len(groups) <= room;
            fits.then(|| checksum(running, capsule))
        });
        let order = match (asked.sixteenths, scaler) {
            (0, _) => None,
            (sixteenths, Some(scaler)) if asked.windows > 0 => Some(Order {
                sixteenths,
                windows: asked.windows,
                scaler,
            }),
            _ => {
                self.counters.refused += 1;
                // What does not fit now must not come back when it does; if this cannot be written, it is as if nobody
                // had asked.
                let _ = self.slots.write(|_| {});
                return;
            }
        };
        // Asked again, it goes on as it was, and writes nothing: a server may not know that it has been heard. What is
        // in force and what is remembered differ only while the model that runs is another than it was asked for.
        if self.slots.record().order == order {
            return;
        }
        // What was normal was so of other features.
        let written = self.slots.write(|record| {
            record.order = order;
            record.normal = Normal::NEW;
        });
        if written.is_err() {
            self.counters.refused += 1;
            return;
        }
        let was_in_force = self.adapting.is_in_force();
        self.begin_adapting(order);
        if was_in_force {
            self.forget_features();
        }
    }

    /// Goes on after a reset with what was in force before it.
    pub(crate) fn resume_adapting(&mut self) {
        let order = self.slots.record().order.filter(|order| {
            self.running.as_ref().is_some_and(|running| {
                checksum(running, self.slots.capsule(running.place)) == order.scaler
            })
        });
        self.begin_adapting(order);
    }

    fn begin_adapting(&mut self, order: Option<Order>) {
        self.adapting.order = order;
        self.adapting.moments.clear(self.memory.lend().moments);
    }

    /// Forgets what was made of features that were moved otherwise: embeddings, their sums, and the device's own normal.
    pub(crate) fn forget_features(&mut self) {
        self.forget_sums();
        self.monitor.begin_anew();
    }
}

fn checksum(running: &Running, capsule: &[u8]) -> u32 {
    crc32(running.parts.scaler_bytes(capsule))
}
