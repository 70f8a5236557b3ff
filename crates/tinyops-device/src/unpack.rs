//! A delta in a slot: staged at its end, and made into the capsule at its beginning.
//!
//! ```text
//! slot   capsule being made | free | delta, from the start of a page | statement
//! ```
//! The delta stays where it is until the capsule is whole, so a reset while it is being made costs no more than making
//! it again. The capsule that runs is read where it lies, in the other slot or beside the firmware.

use tinyops_wire::Digest;
use tinyops_wire::delta::{Decoder, Header};
use tinyops_wire::downlink::What;
use tinyops_wire::frame::Reason;

use crate::flash::Flash;
use crate::journal::{Place, Stored, Wanted, is_blank};
use crate::model::Refusal;
use crate::slots::{FLASH, Slots};

/// Bytes made at a time: whole write units of any flash.
const PIECE_BYTES: usize = 4 * crate::flash::WRITE_BYTES_MAX;

impl<F: Flash> Slots<F> {
    /// Where in a slot the bytes of a transfer go.
    pub(crate) fn start_of(&self, wanted: &Wanted) -> u32 {
        match wanted.what {
            What::Capsule => 0,
            What::Delta => {
                let free = self.slot_bytes().saturating_sub(wanted.bytes as usize);
                (free / F::ERASE_SIZE * F::ERASE_SIZE) as u32
            }
        }
    }

    /// The capsule that has been fetched into a slot, if it is the one.
    ///
    /// # Errors
    /// [`Reason::Digest`].
    pub(crate) fn fetched(&self, place: Place, wanted: &Wanted) -> Result<Stored, Refusal> {
        let bytes = self.block(place, self.start_of(wanted), wanted.bytes);
        if Digest::of(bytes.unwrap_or_default()) != wanted.digest {
            return Err(Refusal::of(Reason::Digest));
        }
        Ok(Stored {
            bytes: wanted.bytes,
            digest: wanted.digest.prefix(),
        })
    }

    /// Bytes of the capsule that a staged delta makes, as it says itself.
    pub(crate) fn unpacked_bytes(&self, place: Place, wanted: &Wanted) -> u32 {
        let delta = self.block(place, self.start_of(wanted), wanted.bytes);
        Header::parse(delta.unwrap_or_default()).map_or(0, |header| header.bytes)
    }

    /// Makes a capsule out of the delta staged in a slot and the capsule that runs.
    ///
    /// What is before the delta is erased first, unless it has been since the last reset (`is_erased`): flash whose
    /// erasing was interrupted can read as if it were blank.
    ///
    /// # Errors
    /// [`Reason::Digest`] for other bytes than offered, [`Reason::DeltaBase`], [`Reason::Delta`],
    /// [`Reason::SlotTooSmall`] or [`Reason::Flash`].
    pub(crate) fn unpack(
        &mut self,
        place: Place,
        wanted: &Wanted,
        base: Option<Place>,
        is_erased: bool,
    ) -> Result<Stored, Refusal> {
        const MALFORMED: Refusal = Refusal::of(Reason::Delta);
        self.fetched(place, wanted)?;
        let start = self.start_of(wanted);
        let base_name = base
            .and_then(|base| self.digest_prefix(base))
            .unwrap_or_default();
        let delta = self.block(place, start, wanted.bytes).ok_or(FLASH)?;
        let header = Header::parse(delta).map_err(|_| MALFORMED)?;
        if header.base != base_name {
            return Err(Refusal::of(Reason::DeltaBase));
        }
        if header.bytes > start {
            return Err(Refusal {
                reason: Reason::SlotTooSmall,
                detail: header.bytes.saturating_add(wanted.bytes),
            });
        }
        let mut decoder = Decoder::IDLE;
        decoder.begin(delta, base_name).map_err(|_| MALFORMED)?;
        if !is_erased {
            self.erase(place, start)?;
        }
        let mut made = 0;
        while made < header.bytes {
            let mut piece = [0; PIECE_BYTES];
            let delta = self.block(place, start, wanted.bytes).ok_or(FLASH)?;
            let old = base.map_or(&[][..], |base| self.capsule(base));
            let filled = decoder
                .fill(delta, old, &mut piece)
                .map_err(|_| MALFORMED)?;
            self.write_block(place, made, &piece[..filled])?;
            made += filled as u32;
        }
        let result = self.block(place, 0, header.bytes).unwrap_or_default();
        let digest = Digest::of(result).prefix();
        if digest != header.result {
            // The old capsule is not what it was, or the delta never was right.
            return Err(MALFORMED);
        }
        Ok(Stored {
            bytes: header.bytes,
            digest,
        })
    }

    /// Erases the first bytes of a slot, which are whole pages.
    fn erase(&mut self, place: Place, bytes: u32) -> Result<(), Refusal> {
        let start = self.slot_start(place).ok_or(FLASH)?;
        self.flash_mut()
            .erase(start, start + bytes)
            .map_err(|_| FLASH)?;
        if is_blank(self.block(place, 0, bytes)) {
            Ok(())
        } else {
            Err(FLASH)
        }
    }
}
