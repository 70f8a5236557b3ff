//! Slots and journal by themselves, for the check that compares another implementation with them byte for byte
//! (`cargo xtask c99`). An agent has them inside; nothing else uses this. `choose` and `finish_transfer` repeat what
//! `Agent::run_confirmed` and `Agent::finish_transfer` do around a model: change them together.

use tinyops_wire::downlink::{What, When};
use tinyops_wire::frame::Reason;
use tinyops_wire::{Digest, KeySet};

use crate::flash::Flash;
use crate::install::Transfer;
use crate::journal::{Place, Stored, Wanted};
use crate::model::Refusal;
use crate::slots::{self, FLASH};

/// Bytes of a block, and of memory for the map of them.
const BLOCK_BYTES: u16 = 64;
const MAP_BYTES: usize = 64;

/// The code of a place that is none.
pub const NO_PLACE: u8 = 255;

/// Says whether a capsule may run: its place, its bytes, and whether it is new.
pub type Checker<'c> = &'c dyn Fn(u8, &[u8], bool) -> Result<(), Refusal>;

/// How a boot began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Booted {
    /// The first uplink number that is surely new.
    pub sequence: u32,
    /// What the boot is a trial of, what has used up its boots as a trial, and as a shadow.
    pub places: [u8; 3],
    /// Whether a capsule that waits may score windows.
    pub may_shadow: bool,
    /// What runs.
    pub running: u8,
}

/// What a capsule or a delta comes with.
#[derive(Clone, Copy, Debug)]
pub struct Offered<'a> {
    /// Whether it is a delta.
    pub is_delta: bool,
    /// Digest and count of its bytes.
    pub digest: Digest,
    /// How many they are.
    pub bytes: u32,
    /// When it is to be installed.
    pub when: When,
    /// The statement, and its counter.
    pub statement: &'a [u8],
    /// That of the statement.
    pub counter: u32,
}

/// Slots over a flash, and the journal's record. Places are their codes: 0 the factory's, 1 and 2 the slots.
pub struct Slots<F>(slots::Slots<F>);

impl<F: Flash> Slots<F> {
    /// Reads the journal.
    pub fn open(flash: F) -> Slots<F> {
        Slots(slots::Slots::new(flash))
    }

    /// The flash, to do something to it.
    pub fn flash_mut(&mut self) -> &mut F {
        self.0.flash_mut()
    }

    /// The record as it would be written.
    pub fn record_bytes(&self) -> [u8; 256] {
        self.0.record().encode()
    }

    /// Raises the greatest downlink number seen.
    pub fn see_downlink(&mut self, number: u32) {
        self.0.downlink_seen = number;
    }

    /// Begins a boot, and chooses what runs as the agent does.
    pub fn boot(&mut self, first_uplink: u32, check: Checker<'_>) -> Booted {
        let begun = self.0.begin_boot(first_uplink);
        let places = [begun.trial, begun.gave_up, begun.gave_up_shadow];
        Booted {
            sequence: begun.sequence,
            places: places.map(code),
            may_shadow: begun.may_shadow,
            running: code(self.choose(begun.trial, check)),
        }
    }

    fn choose(&mut self, trial: Option<Place>, check: Checker<'_>) -> Option<Place> {
        if let Some(place) = trial {
            match check(place as u8, self.0.capsule(place), true) {
                Ok(()) => return Some(place),
                Err(refusal) => {
                    let _ = self.0.revert_trial(place, refusal);
                }
            }
        }
        let passes = |place: Place| check(place as u8, self.0.capsule(place), false).is_ok();
        let active = self.0.record().active;
        if passes(active) {
            return Some(active);
        }
        if active == Place::Factory && self.0.capsule(active).is_empty() {
            return None;
        }
        let fallbacks = self.0.fallbacks();
        fallbacks.into_iter().flatten().find(|place| passes(*place))
    }

    /// The capsule in a place.
    pub fn capsule(&self, place: u8) -> &[u8] {
        Place::from_code(place).map_or(&[], |place| self.0.capsule(place))
    }

    /// The statement in a place.
    pub fn statement(&self, place: u8) -> &[u8] {
        Place::from_code(place).map_or(&[], |place| self.0.statement(place))
    }

    /// The signed key set in force.
    pub fn key_set(&self) -> Option<&[u8]> {
        self.0.key_set()
    }

    /// The version floor: sequence number and digest of the newest confirmed capsule.
    pub fn floor(&self) -> (u32, [u8; 8]) {
        let record = self.0.record();
        (record.confirmed_sequence, record.confirmed_digest)
    }

    /// Reserves uplink numbers.
    ///
    /// # Errors
    /// [`Reason::Flash`].
    pub fn reserve_sequence(&mut self, next: u32) -> Result<(), Refusal> {
        self.0.reserve_sequence(next)
    }

    /// Puts a key set in force.
    ///
    /// # Errors
    /// [`Reason::Flash`].
    pub fn take_key_set(
        &mut self,
        set: &KeySet,
        signed: &[u8],
        before: &KeySet,
    ) -> Result<(), Refusal> {
        self.0.take_key_set(set, signed, Some(before))
    }

    /// Begins a transfer.
    ///
    /// # Errors
    /// As the agent's.
    pub fn begin_transfer(&mut self, offered: Offered<'_>, running: u8) -> Result<(), Refusal> {
        let wanted = Wanted {
            what: if offered.is_delta {
                What::Delta
            } else {
                What::Capsule
            },
            digest: offered.digest,
            bytes: offered.bytes,
        };
        Transfer::begin(
            &mut self.0,
            (wanted, offered.when),
            (offered.statement, offered.counter),
            &mut [0; MAP_BYTES],
            BLOCK_BYTES,
            Place::from_code(running),
        )
        .map(drop)
    }

    /// Writes bytes of the transfer under way.
    ///
    /// # Errors
    /// [`Reason::Flash`].
    pub fn write_block(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Refusal> {
        let (place, wanted) = self.0.record().transfer.ok_or(FLASH)?;
        // As the agent's map of blocks does, which knows none behind the end.
        if u64::from(offset) + bytes.len() as u64 > u64::from(wanted.bytes) {
            return Err(FLASH);
        }
        let start = self.0.start_of(&wanted);
        self.0.write_block(place, start + offset, bytes)
    }

    /// Which of the first 64 blocks have come, as a reset finds it; a bit each.
    pub fn blocks(&self) -> u64 {
        let mut blocks = [0; MAP_BYTES];
        match Transfer::resume(&self.0, &mut blocks, BLOCK_BYTES) {
            Some(_) => u64::from_le_bytes(core::array::from_fn(|index| blocks[index])),
            None => 0,
        }
    }

    /// Whether the bytes in a slot are those that were checked when they were installed, and what nobody has confirmed by
    /// keys of this name.
    pub fn is_installed(&self, place: u8, keys: [u8; 8]) -> bool {
        Place::from_code(place).is_some_and(|place| self.0.is_installed(place, keys))
    }

    /// Ends a transfer as the agent does, but for what it asks of a model, by keys of a name.
    ///
    /// # Errors
    /// Why the capsule was turned away.
    pub fn finish_transfer(
        &mut self,
        running: u8,
        is_fresh: bool,
        tries: u8,
        (keys, check): ([u8; 8], Checker<'_>),
    ) -> Result<(), Refusal> {
        let (place, wanted) = self.0.record().transfer.ok_or(FLASH)?;
        let checked = self.check_transfer(place, &wanted, (running, is_fresh, tries), check);
        let settled = checked.and_then(|stored| self.0.settle(place, stored, keys, tries));
        settled.map(drop).inspect_err(|refusal| {
            let _ = self.0.refuse_transfer(wanted.digest.prefix(), *refusal);
        })
    }

    fn check_transfer(
        &mut self,
        place: Place,
        wanted: &Wanted,
        (running, is_fresh, tries): (u8, bool, u8),
        check: Checker<'_>,
    ) -> Result<Stored, Refusal> {
        if self.0.begin_check()? > tries.saturating_add(1) {
            return Err(Refusal::of(Reason::Tries));
        }
        let stored = match wanted.what {
            What::Capsule => self.0.fetched(place, wanted)?,
            What::Delta => {
                let base = Place::from_code(running);
                self.0.unpack(place, wanted, base, is_fresh)?
            }
        };
        let capsule = self.0.block(place, 0, stored.bytes).ok_or(FLASH)?;
        check(place as u8, capsule, true)?;
        Ok(stored)
    }

    /// Lets the next boots try what waits.
    ///
    /// # Errors
    /// [`Reason::Flash`].
    pub fn try_held(&mut self, tries: u8) -> Result<(), Refusal> {
        self.0.write(|record| record.begin_trial(tries))
    }

    /// Lets what waits go on waiting in another way.
    ///
    /// # Errors
    /// [`Reason::Flash`].
    pub fn hold(&mut self, when: When, tries: u8) -> Result<(), Refusal> {
        self.0.write(|record| {
            record.when = when;
            record.tries_left = tries;
        })
    }

    /// Lets go of what waits.
    ///
    /// # Errors
    /// [`Reason::Flash`].
    pub fn drop_held(&mut self, place: u8, refusal: Refusal) -> Result<(), Refusal> {
        self.0
            .end_shadow(Place::from_code(place).ok_or(FLASH)?, refusal)
    }

    /// Ends a trial well.
    ///
    /// # Errors
    /// [`Reason::Flash`].
    pub fn confirm(&mut self, place: u8, sequence: u32) -> Result<(), Refusal> {
        self.0
            .confirm(Place::from_code(place).ok_or(FLASH)?, sequence)
    }

    /// Ends a trial badly.
    ///
    /// # Errors
    /// [`Reason::Flash`].
    pub fn revert_trial(&mut self, place: u8, refusal: Refusal) -> Result<(), Refusal> {
        self.0
            .revert_trial(Place::from_code(place).ok_or(FLASH)?, refusal)
    }

    /// Goes back from the active capsule; answers where to, if there is somewhere.
    ///
    /// # Errors
    /// [`Reason::Flash`].
    pub fn go_back(&mut self, refusal: Refusal) -> Result<u8, Refusal> {
        let Some(place) = self.0.fallback() else {
            return Ok(NO_PLACE);
        };
        self.0.go_back(place, refusal).map(|()| place as u8)
    }
}

fn code(place: Option<Place>) -> u8 {
    place.map_or(NO_PLACE, |place| place as u8)
}
