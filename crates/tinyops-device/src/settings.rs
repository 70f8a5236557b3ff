//! What the caller decides once for a device.

use tinyops_wire::key_set::Roots;
use tinyops_wire::mask::{MaskKey, Purpose};
use tinyops_wire::noise::NoiseKey;
use tinyops_wire::summary::Format;
use tinyops_wire::{DeviceId, DeviceKey, KeySet};

use crate::sensor::Sensor;

/// Identity, board, sensor and habits of a device.
#[derive(Clone, Debug)]
pub struct Config {
    /// Who it is.
    pub device: DeviceId,
    /// The secret that it shares with its server.
    pub key: DeviceKey,
    /// Its uplink numbers begin here, or later: what its enrolment told it.
    pub first_uplink: u32,
    /// Who may sign key sets.
    pub roots: Roots,
    /// The firmware's own key set: in force until a newer one comes, and for the factory's capsule always.
    pub keys: KeySet,
    /// Class of its board; capsules for another are refused.
    pub board: &'static str,
    /// What its sensor delivers; capsules for another are refused.
    pub sensor: Sensor,
    /// When it reports.
    pub reporting: Reporting,
    /// What of its numbers may leave it, and how. No message changes it.
    pub privacy: Privacy,
    /// Readings from the start of one window to the start of the next; 0 for the window's length.
    pub hop: u32,
    /// Where blocks of a capsule come from.
    pub blocks: BlockSource,
    /// Size of a block, in bytes; a multiple of the flash's write unit.
    pub block_bytes: u16,
    /// Time after which blocks that do not come are asked for again, in milliseconds.
    pub retry_after_ms: u64,
    /// Boots that a new capsule has to prove itself.
    pub tries: u8,
    /// Windows that it must score in one of them.
    pub trial_windows: u32,
}

/// What of a device's numbers may leave it, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Privacy {
    /// Each summary as it is: for machines, or where the people around it have consented.
    Plain,
    /// Deviations from the device's own normal, under masks: only sums over many devices can be read.
    Masked(Masked),
    /// The same deviations under noise of the device's own, where there is no helper: each report can be read, and says
    /// little; sums over many devices say more.
    Local(Local),
}

impl Privacy {
    /// What it may tell under masks or noise, and the least noise that it does so under, in tenths; `None` in the clear.
    pub(crate) fn terms(&self) -> Option<(&Budgets, u16)> {
        match self {
            Privacy::Plain => None,
            Privacy::Masked(masked) => Some((&masked.budgets, masked.noise_tenths_min)),
            // Without any it would report in the clear.
            Privacy::Local(local) => Some((&local.budgets, local.noise_tenths_min.max(1))),
        }
    }
}

/// What a device that reports under noise of its own needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Local {
    /// The secret that its noise is drawn from, which nobody else has.
    pub key: NoiseKey,
    /// Least noise that it reports under, in tenths of the length that its report may have; 0 is taken as 1.
    pub noise_tenths_min: u16,
    /// How much it may tell in 30 days; of it, only what is for monitoring is ever spent.
    pub budgets: Budgets,
}

/// What a device that reports under masks needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Masked {
    /// The secret that it shares with the helper, and not with its server.
    pub key: MaskKey,
    /// Least noise that it takes part under, in tenths of its own greatest weight in the sum; 0 takes part without any.
    pub noise_tenths_min: u16,
    /// How much it may tell in 30 days.
    pub budgets: Budgets,
}

/// What a device may tell in 30 days, by purpose: zero-concentrated differential privacy, in millionths of ρ. For a
/// purpose with a budget of 0 it tells nothing, not even without noise, which costs nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budgets {
    /// Reports.
    pub monitoring: u32,
    /// Sums for a new head.
    pub update: u32,
}

impl Budgets {
    /// The budget of a purpose; windows for an annotator have none, for no noise protects them: they are counted
    /// ([`crate::annotate::Consent`]).
    pub fn of(&self, purpose: Purpose) -> u32 {
        match purpose {
            Purpose::Monitoring => self.monitoring,
            Purpose::Update => self.update,
            Purpose::Windows => 0,
        }
    }
}

impl Default for Budgets {
    /// Thirty reports with 20 times the noise of one device's weight, one update with 5 times.
    fn default() -> Budgets {
        Budgets {
            monitoring: 37_500,
            update: 20_000,
        }
    }
}

/// When and how a device reports. A report also goes out when nothing has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reporting {
    /// After so many windows; 0 for never.
    pub every_windows: u32,
    /// After so many milliseconds; 0 for never.
    pub every_ms: u64,
    /// How much it says.
    pub format: Format,
}

/// Where blocks of a capsule come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockSource {
    /// From the server, asked for in frames and answered in envelopes.
    Server,
    /// From the caller, who is told by [`crate::Action::Fetch`]: ranges over HTTP, a file, a gateway.
    Caller,
}
