//! Heads of devices' own: who is asked to solve one from its labels, and who answers by one.
//!
//! Labels, windows and heads stay on the devices. A device says at its boot whether it has room for a head of its own and
//! whether it has been asked, and in each report whether it has answered by one.

use tinyops_store::hello::{self, Hello};
use tinyops_store::report::{self, Report};
use tinyops_store::{DeviceId, Read, StoreError};
use tinyops_wire::Frame;
use tinyops_wire::frame::{Features, Flags};

use crate::{Fleet, FleetError};

/// Newest reports that are looked through: between two summaries there may be other news.
const REPORTS: u32 = 20;

impl Fleet {
    /// Devices that have said otherwise than the policy wants it, and are to be told: one device, if it is one of them, or
    /// all. A device that is told again goes on as it was.
    pub(crate) async fn to_ask_for_own_heads(
        &self,
        of: Option<DeviceId>,
    ) -> Result<Vec<DeviceId>, FleetError> {
        let is_wanted = self.policy.own_heads;
        let is_otherwise = |features: Features| {
            let is_asked = features.has(Features::OWN_HEAD_ASKED);
            match is_wanted {
                true => features.has(Features::OWN_HEAD) && !is_asked,
                false => is_asked,
            }
        };
        if let Some(device) = of {
            let hello = hello::get(&self.db, device).await?;
            let owed = |hello: &Hello| is_otherwise(Features(hello.features as u16));
            return Ok(hello.filter(owed).map(|_| device).into_iter().collect());
        }
        let asked = hello::having(&self.db, Features::OWN_HEAD_ASKED.0).await?;
        if !is_wanted {
            return Ok(asked);
        }
        let able = hello::having(&self.db, Features::OWN_HEAD.0).await?;
        // Both in the order of their ids.
        let is_new = |device: &DeviceId| asked.binary_search(device).is_err();
        Ok(able.into_iter().filter(is_new).collect())
    }
}

/// Whether a head of its own answered the windows of the newest summary of a device, as far as that tells.
///
/// # Errors
/// [`StoreError`].
pub async fn answers_by_own_head(on: &impl Read, device: DeviceId) -> Result<bool, StoreError> {
    let reports = report::of_device(on, device, REPORTS).await?;
    Ok(is_of_own_head(&reports))
}

/// The same of reports that have been read, newest first.
#[must_use]
pub fn is_of_own_head(reports: &[Report<'_>]) -> bool {
    let flags = reports
        .iter()
        .find_map(|report| match Frame::decode(&report.frame) {
            Ok(Frame::Summary(frame)) => Some(frame.header.flags),
            _ => None,
        });
    flags.is_some_and(|flags| flags.has(Flags::OWN_HEAD))
}
