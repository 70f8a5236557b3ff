//! The bytes of a front end, as a capsule carries them.

use super::{FrontEnd, FrontEndError};

impl FrontEnd {
    /// Writes the settings; returns how many bytes.
    ///
    /// # Errors
    /// [`FrontEndError::Truncated`] when `out` is too short (128 bytes always suffice).
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, FrontEndError> {
        let _ = out;
        todo!()
    }

    /// Reads and checks settings; returns them and how many bytes they took.
    ///
    /// # Errors
    /// For any bytes that [`FrontEnd::encode`] does not write, and for settings out of range.
    pub fn decode(bytes: &[u8]) -> Result<(FrontEnd, usize), FrontEndError> {
        let _ = bytes;
        todo!()
    }
}
