//! Taking in what devices tell: checked, stored once, judged. Nothing that a device sends stops anything.

use tinyops_store::{DeviceId, Timestamp};

use crate::{Event, Fleet, FleetError};

/// An envelope as it came.
#[derive(Clone, Copy, Debug)]
pub struct Uplink<'a> {
    /// The device that the connection belongs to; a gateway's carries many and says `None`.
    pub from: Option<DeviceId>,
    /// The bytes.
    pub bytes: &'a [u8],
}

/// What became of an envelope.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Why it was dropped for good; `None` means that it is stored, now or before.
    pub refusal: Option<Refusal>,
    /// Whether this is the device's first refused envelope: say so once, count the rest.
    pub first_offence: bool,
    /// The device that it is from, if it is known.
    pub device: Option<DeviceId>,
    /// Sealed envelopes to send back now (the blocks that it asked for).
    pub down: Vec<Vec<u8>>,
}

/// Why an envelope was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// It is not an envelope.
    Envelope,
    /// No such device.
    UnknownDevice,
    /// The device's right to speak was taken away.
    Revoked,
    /// It came over another device's connection.
    OtherDevice,
    /// The device's key did not seal it.
    Tag,
    /// There is no known frame in it.
    Frame,
    /// It came before, or is older than what came before, and is of no use now.
    Replay,
}

impl Fleet {
    /// Takes in any number of envelopes in one transaction; one verdict for each, in order.
    ///
    /// When it returns, everything that was not refused is on the disk: acknowledge it.
    ///
    /// # Errors
    /// [`FleetError::Store`] only: then nothing was stored, and the devices will send again.
    pub async fn ingest_many(
        &self,
        uplinks: &[Uplink<'_>],
        now: Timestamp,
    ) -> Result<(Vec<Verdict>, Vec<Event>), FleetError> {
        let _ = (uplinks, now);
        todo!()
    }
}
