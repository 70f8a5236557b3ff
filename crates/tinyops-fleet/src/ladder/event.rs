//! What a repair is told, and what it asks for.

use super::End;
use crate::episode::Judged;
use crate::restandardize::Outcome;

/// Whether a rung can be tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Offer {
    /// It can; a device would send so many bytes.
    Open(u64),
    /// Not now, but soon.
    Later,
    /// It cannot, and why.
    Closed(String),
}

/// Whether what began the repair still stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// An alert stands.
    Stands,
    /// All that stand are muted.
    Muted,
    /// None stands.
    Over,
}

/// How the rollout of a version goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shipped {
    /// There is none: why, where that is known.
    NotYet(String),
    /// It is on its way.
    Open,
    /// It is everywhere.
    Done(i64),
    /// It was taken back.
    Halted(String),
}

/// What has become of the orders of a repair.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Orders {
    /// Devices that may still send.
    pub open: u32,
    /// Parcels that are here.
    pub whole: u32,
    /// Windows in them.
    pub windows: u32,
    /// Bytes of a parcel, on average.
    pub device_bytes: u64,
    /// Why the others send none.
    pub refused: String,
    /// The trigger that newly labelled recordings have made, if they were enough.
    pub trigger: Option<i64>,
}

/// Something that happened, or is so.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// What can be tried, while the next rung is to be chosen.
    Look {
        /// Whether an alert stands.
        standing: Standing,
        /// By rung, the cheapest first.
        offers: [Offer; 4],
        /// Bytes that a device has sent for other repairs in the time of the budget.
        other_bytes: u64,
        /// Whether level 3 trains on what there is, without ordering windows.
        trains_at_once: bool,
    },
    /// What has come of what devices do by themselves.
    OnDevices(Outcome),
    /// The round that was asked for is open.
    RoundOpened(i64),
    /// The round is over.
    RoundOver {
        /// The trigger that its sum has made; none if it was abandoned.
        trigger: Option<i64>,
        /// Bytes that a device sent, on average.
        device_bytes: u64,
        /// What it came to, in words.
        what: String,
    },
    /// Windows were ordered of so many devices.
    Ordered {
        /// The first order, and the last.
        orders: (i64, i64),
        /// How many.
        count: u32,
    },
    /// None could be.
    NotOrdered(String),
    /// What has become of the orders.
    Orders(Orders),
    /// The pipeline was asked to train on what there is.
    Asked(i64),
    /// The run is over.
    RunOver {
        /// The version that it made; none if a gate refused it, or it is the one that has drifted.
        version: Option<u32>,
        /// What it came to, in words.
        what: String,
    },
    /// How the version's rollout goes.
    Shipped(Shipped),
    /// What labels say since the version is out.
    Labels {
        /// Of the version.
        after: Judged,
        /// Of what ran before it, since the first alert.
        meanwhile: Judged,
        /// Alerts of the version that stand.
        alerts: u32,
        /// Between what confidences expect the share of right windows, in the cohort where that is least; nothing
        /// where it is withheld of one.
        expected: Option<(f64, f64)>,
    },
    /// A person ends it.
    Stop {
        /// Who.
        by: String,
        /// Why.
        why: String,
    },
}

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Open a round, and say which.
    OpenRound,
    /// Order windows, and say of how many.
    OrderWindows,
    /// Ask the pipeline to train, and say by which trigger.
    Train,
    /// Take a rollout back.
    Revert {
        /// Which.
        rollout: i64,
        /// Why.
        why: String,
    },
    /// Tell who is to know that it is over.
    Tell(End),
}
