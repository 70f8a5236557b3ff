//! Whom the device believes: the key set in force, statements, and key sets that arrive in parts.

use tinyops_wire::downlink::KeySetPart;
use tinyops_wire::frame::{Keys, Reason};
use tinyops_wire::key_set::{KEY_SET_BYTES_MAX, ROLE_KEYS_MAX, SignedKeySet};
use tinyops_wire::statement::StatementError;
use tinyops_wire::{Digest, KeySet, Statement, VerifyingKey};

use crate::agent::Agent;
use crate::flash::Flash;
use crate::journal::Place;
use crate::memory::Memory;
use crate::model::Refusal;
use crate::settings::Config;
use crate::slots::Slots;

/// Names the keys of a time: first 8 bytes of the digest of how many release keys there are, of them, and of the
/// director keys.
pub(crate) type KeysName = [u8; 8];

/// The name of no keys.
pub(crate) const NO_KEYS: KeysName = [0; 8];

/// The keys that count now.
#[derive(Clone, Copy, Debug)]
pub(crate) enum InForce {
    /// Those of this key set.
    Keys(KeySet),
    /// The flash has lost a key set that was newer than the firmware's own. Nothing new is believed until it, or a
    /// newer one, comes again: the firmware's own may hold keys that it had taken back.
    Lost {
        /// Its sequence number.
        sequence: u32,
    },
}

impl InForce {
    /// Reads the key set of the journal, its signatures and all.
    pub(crate) fn of<F: Flash>(slots: &Slots<F>, config: &Config) -> InForce {
        let sequence = slots.record().key_set;
        if sequence <= config.keys.sequence {
            return InForce::Keys(config.keys);
        }
        let verified = slots
            .key_set()
            .and_then(|bytes| SignedKeySet::parse(bytes).ok())
            .and_then(|signed| signed.verify(&config.roots).ok());
        match verified {
            Some(set) if set.sequence == sequence => InForce::Keys(set),
            _ => InForce::Lost { sequence },
        }
    }

    /// Its sequence number; 0 if it is lost, so that the server sends it again.
    pub(crate) fn sequence(&self) -> u32 {
        match self {
            InForce::Keys(set) => set.sequence,
            InForce::Lost { .. } => 0,
        }
    }

    /// Who says what is a valid model.
    pub(crate) fn release(&self) -> &[VerifyingKey] {
        match self {
            InForce::Keys(set) => set.release.keys(),
            InForce::Lost { .. } => &[],
        }
    }

    /// Who says what this device shall run.
    pub(crate) fn director(&self) -> &[VerifyingKey] {
        match self {
            InForce::Keys(set) => set.director.keys(),
            InForce::Lost { .. } => &[],
        }
    }

    /// The name of the keys, that a boot may tell whether they are those of before.
    pub(crate) fn name(&self) -> KeysName {
        let InForce::Keys(set) = self else {
            return NO_KEYS;
        };
        let (release, director) = (set.release.keys(), set.director.keys());
        let mut bytes = [0; 1 + 2 * ROLE_KEYS_MAX * 32];
        bytes[0] = release.len() as u8;
        let mut len = 1;
        for key in release.iter().chain(director) {
            bytes[len..len + 32].copy_from_slice(&key.to_bytes());
            len += 32;
        }
        Digest::of(&bytes[..len]).prefix()
    }

    /// Checks that a key set may take this one's place.
    fn check_newer(&self, set: &KeySet) -> Result<(), Refusal> {
        let (least, current) = match self {
            InForce::Keys(now) => (now.sequence.saturating_add(1), now.sequence),
            InForce::Lost { sequence } => (*sequence, *sequence),
        };
        if set.sequence < least {
            return Err(Refusal {
                reason: Reason::KeySetOld,
                detail: current,
            });
        }
        Ok(())
    }
}

/// A key set on its way in, put together from parts that come in any order.
#[derive(Clone)]
pub(crate) struct Inbox {
    sequence: u32,
    total: u16,
    bytes: [u8; KEY_SET_BYTES_MAX],
    /// One bit a byte.
    has: [u8; KEY_SET_BYTES_MAX.div_ceil(8)],
}

impl Inbox {
    pub(crate) const fn new() -> Inbox {
        Inbox {
            sequence: 0,
            total: 0,
            bytes: [0; KEY_SET_BYTES_MAX],
            has: [0; KEY_SET_BYTES_MAX.div_ceil(8)],
        }
    }

    /// Takes a part; answers whether all are there. Parts of another key set begin anew.
    fn take(&mut self, part: &KeySetPart<'_>) -> Result<bool, Refusal> {
        const MALFORMED: Refusal = Refusal::of(Reason::KeySet);
        let (start, total) = (usize::from(part.offset), usize::from(part.total));
        let end = start + part.bytes.len();
        if total == 0 || total > KEY_SET_BYTES_MAX || end > total {
            return Err(MALFORMED);
        }
        if (part.sequence, part.total) != (self.sequence, self.total) {
            *self = Inbox {
                sequence: part.sequence,
                total: part.total,
                ..Inbox::new()
            };
        }
        self.bytes[start..end].copy_from_slice(part.bytes);
        (start..end).for_each(|at| self.has[at / 8] |= 1 << (at % 8));
        Ok((0..total).all(|at| self.has[at / 8] >> (at % 8) & 1 == 1))
    }

    fn whole(&self) -> &[u8] {
        &self.bytes[..usize::from(self.total)]
    }
}

impl<F: Flash, M: Memory> Agent<F, M> {
    /// Takes a part of a key set, and the key set when it is whole.
    #[inline(never)]
    pub(crate) fn key_set_part(&mut self, part: &KeySetPart<'_>) {
        let taken = match self.inbox.take(part) {
            Ok(false) => return,
            Ok(true) => self.take_key_set(),
            Err(refusal) => Err(refusal),
        };
        self.inbox = Inbox::new();
        let refusal = taken.err().unwrap_or(Refusal::of(Reason::None));
        self.pending.keys = Some(Keys {
            key_set: self.in_force.sequence(),
            reason: refusal.reason,
            detail: refusal.detail,
        });
        // What is being tried was checked under the keys of before; the boot checks it again.
        if taken.is_ok() && self.is_on_trial() {
            self.pending.reboot = true;
        }
        if taken.is_ok() {
            self.resume_shadow();
        }
    }

    #[inline(never)]
    fn take_key_set(&mut self) -> Result<(), Refusal> {
        let signed = SignedKeySet::parse(self.inbox.whole());
        let set = signed
            .and_then(|signed| signed.verify(&self.config.roots))
            .map_err(|_| Refusal::of(Reason::KeySet))?;
        self.in_force.check_newer(&set)?;
        let before = match &self.in_force {
            InForce::Keys(before) => Some(before),
            InForce::Lost { .. } => None,
        };
        self.slots.take_key_set(&set, self.inbox.whole(), before)?;
        self.in_force = InForce::Keys(set);
        Ok(())
    }

    /// Checks a statement that comes with an offer: by whom, for whom, and whether it is new.
    pub(crate) fn check_offered(&self, signed: Option<&[u8]>) -> Result<Statement, Refusal> {
        let statement = self.check_statement(signed.unwrap_or_default())?;
        let last = self.slots.record().statement_counter;
        if statement.counter <= last {
            return Err(Refusal {
                reason: Reason::StatementOld,
                detail: last,
            });
        }
        if self.sequence > statement.last_uplink {
            return Err(Refusal {
                reason: Reason::StatementVoid,
                detail: self.sequence,
            });
        }
        Ok(statement)
    }

    /// Checks the statement beside a capsule once more: it must be the one taken up last, and name this manifest. Its
    /// signature is checked again too, unless it `is_installed`: by the same keys, before it was noted.
    pub(crate) fn check_stated(
        &self,
        place: Place,
        manifest: &Digest,
        is_installed: bool,
    ) -> Result<(), Refusal> {
        let signed = self.slots.statement(place);
        let statement = match is_installed {
            true => self.check_addressee(Statement::read_verified(signed))?,
            false => self.check_statement(signed)?,
        };
        let last = self.slots.record().statement_counter;
        if statement.counter != last {
            return Err(Refusal {
                reason: Reason::StatementOld,
                detail: last,
            });
        }
        if statement.manifest != *manifest {
            return Err(Refusal::of(Reason::OtherManifest));
        }
        Ok(())
    }

    fn check_statement(&self, signed: &[u8]) -> Result<Statement, Refusal> {
        self.check_addressee(Statement::verify(signed, self.in_force.director()))
    }

    fn check_addressee(
        &self,
        statement: Result<Statement, StatementError>,
    ) -> Result<Statement, Refusal> {
        let statement = statement.map_err(|_| Refusal {
            reason: Reason::Statement,
            detail: self.in_force.sequence(),
        })?;
        if statement.device != self.config.device {
            return Err(Refusal::of(Reason::OtherDevice));
        }
        Ok(statement)
    }
}
