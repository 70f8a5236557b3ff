//! What devices are owed: an offer of what they should run, a request for statistics, a way back.

use tinyops_store::{DeviceId, Timestamp};

use crate::{Fleet, FleetError};

impl Fleet {
    /// Sealed envelopes for one device, as it connects or asks: told anew, whatever it was told before.
    ///
    /// # Errors
    /// [`FleetError::NoDevice`].
    pub async fn owed(&self, device: DeviceId, now: Timestamp) -> Result<Vec<Vec<u8>>, FleetError> {
        let _ = (device, now);
        todo!()
    }

    /// Sealed envelopes for those of `connected` that are owed something they were not told lately.
    pub async fn owed_many(
        &self,
        connected: &[DeviceId],
        now: Timestamp,
    ) -> Result<Vec<(DeviceId, Vec<Vec<u8>>)>, FleetError> {
        let _ = (connected, now);
        todo!()
    }
}
