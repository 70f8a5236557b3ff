//! A schedule: which faults strike, when, and how; as a word that replays it and in plain words.

use std::fmt;
use std::str::FromStr;

use super::flash::{Operation, Struck};

/// Numbers from a seed: the generator of Steele, Lea and Flood, 2014, "Fast splittable pseudorandom
/// number generators".
#[derive(Clone, Copy, Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn byte(&mut self) -> u8 {
        (self.next() >> 56) as u8
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(end)) >> 64) as u64
    }
}

/// What a fault does to the operation that it strikes, or to flash elsewhere just before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The power goes in the middle of it.
    Cut,
    /// The device resets before it.
    Reset,
    /// It says that it failed, and is done in part.
    Fail,
    /// It says that it is done, and is not.
    Silent,
    /// Bits of some unit change, until it is erased.
    Decay,
    /// Some unit cannot be read, until it is erased.
    Unreadable,
    /// Some unit cannot be read, until the next power-up.
    Transient,
}

impl Kind {
    pub(crate) const ALL: [(Kind, &'static str); 7] = [
        (Kind::Cut, "cut"),
        (Kind::Reset, "reset"),
        (Kind::Fail, "fail"),
        (Kind::Silent, "silent"),
        (Kind::Decay, "decay"),
        (Kind::Unreadable, "unreadable"),
        (Kind::Transient, "transient"),
    ];

    fn as_str(self) -> &'static str {
        let found = Kind::ALL.iter().find(|(kind, _)| *kind == self);
        found.expect("all are listed").1
    }

    /// Whether it damages what had been stored whole.
    pub(crate) fn is_rot(self) -> bool {
        matches!(self, Kind::Decay | Kind::Unreadable | Kind::Transient)
    }
}

/// One fault: so many operations after the one before it, this happens, with chances from the seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) after: u32,
    pub(crate) kind: Kind,
    pub(crate) seed: u64,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}#{}", self.kind.as_str(), self.after, self.seed)
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Fault, String> {
        let wrong = || format!("`{text}` is no fault: write it as `cut@12#3`");
        let (kind, rest) = text.split_once('@').ok_or_else(wrong)?;
        let (after, seed) = rest.split_once('#').ok_or_else(wrong)?;
        let kind = Kind::ALL.iter().find(|(_, name)| *name == kind);
        Ok(Fault {
            after: after.parse().map_err(|_| wrong())?,
            kind: kind.ok_or_else(wrong)?.0,
            seed: seed.parse().map_err(|_| wrong())?,
        })
    }
}

/// Most faults of a schedule.
pub(crate) const FAULTS_MAX: usize = 3;

/// A word that names a schedule: geometry, story, faults.
pub(crate) fn name(geometry: &str, story: &str, faults: &[Fault]) -> String {
    let faults: Vec<String> = faults.iter().map(Fault::to_string).collect();
    format!("{geometry}/{story}/{}", faults.join("+"))
}

impl fmt::Display for Struck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (verb, offset) = match self.operation {
            Operation::Write { offset } => ("write", offset),
            Operation::Erase { offset } => ("erase", offset),
        };
        let damaged = self.damaged.unwrap_or_default();
        match self.fault.kind {
            Kind::Cut => write!(
                f,
                "the power goes in the middle of the {verb} at {offset:#x}"
            ),
            Kind::Reset => write!(f, "the device resets before the {verb} at {offset:#x}"),
            Kind::Fail => write!(f, "the {verb} at {offset:#x} fails and is done in part"),
            Kind::Silent => write!(
                f,
                "the {verb} at {offset:#x} says that it is done and is not"
            ),
            Kind::Decay => write!(
                f,
                "before the {verb} at {offset:#x}, bits at {damaged:#x} change"
            ),
            Kind::Unreadable => write!(
                f,
                "before the {verb} at {offset:#x}, the word at {damaged:#x} becomes unreadable until erased"
            ),
            Kind::Transient => write!(
                f,
                "before the {verb} at {offset:#x}, the word at {damaged:#x} becomes unreadable until power-up"
            ),
        }
    }
}
