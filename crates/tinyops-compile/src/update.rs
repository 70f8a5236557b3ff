//! What an update takes on its way, before anybody has signed it.

use tinyops_wire::Digest;
use tinyops_wire::capsule::{self, CapsuleError, HEAD_BYTES_MAX};
use tinyops_wire::manifest::Manifest;

use crate::delta::{DeltaTooLarge, delta};

/// From one payload to another, for one class of boards.
#[derive(Clone, Copy, Debug)]
pub struct Update<'a> {
    /// Name of the model, as the manifest has it.
    pub name: &'a str,
    /// Class of the board, as the manifest has it.
    pub board: &'a str,
    /// The payload that devices hold.
    pub old: &'a [u8],
    /// The payload that they shall hold.
    pub new: &'a [u8],
}

/// Why an update has no size.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UpdateError {
    /// One of the payloads, or a name, cannot be in a capsule.
    #[error("the payload cannot be in a capsule: {0}")]
    Capsule(CapsuleError),
    /// One of the payloads is too large.
    #[error(transparent)]
    TooLarge(#[from] DeltaTooLarge),
}

impl From<CapsuleError> for UpdateError {
    fn from(error: CapsuleError) -> Self {
        Self::Capsule(error)
    }
}

impl Update<'_> {
    /// Bytes of the delta between the two capsules, manifest and signature and all.
    ///
    /// The signatures are not made yet: digests stand for them, which take as much room and are as little alike. So
    /// the delta that is delivered may take a byte or two more or less where bytes happen to agree.
    ///
    /// # Errors
    /// [`UpdateError`].
    pub fn bytes(&self) -> Result<u64, UpdateError> {
        // Numbers as large as a long life of a fleet makes them.
        let old = self.capsule(self.old, 0x0001_1170, 0x0170)?;
        let new = self.capsule(self.new, 0x0001_2281, 0x0281)?;
        Ok(delta(&old, &new)?.len() as u64)
    }

    fn capsule(&self, payload: &[u8], sequence: u32, version: u32) -> Result<Vec<u8>, UpdateError> {
        let stand_in = |message: &[u8]| {
            let mut signature = [0; 64];
            let first = Digest::of(message);
            let (low, high) = signature.split_at_mut(32);
            low.copy_from_slice(&first.0);
            high.copy_from_slice(&Digest::of(&first.0).0);
            Ok::<_, UpdateError>(signature)
        };
        let manifest = Manifest {
            sequence,
            board: self.board,
            payload_digest: Digest::of(payload),
            payload_bytes: 0,
            program_digest: Digest::of(&sequence.to_le_bytes()),
            name: self.name,
            version,
        };
        let mut bytes = vec![0; payload.len() + HEAD_BYTES_MAX];
        let used = capsule::encode_with(&manifest, payload, stand_in, &mut bytes)?;
        bytes.truncate(used);
        Ok(bytes)
    }
}
