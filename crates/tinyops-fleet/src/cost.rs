//! What scoring costs a device, as its reports say.

use tinyops_store::device::Device;
use tinyops_store::report::{self, Report};
use tinyops_store::{ModelId, Read, StoreError, Timestamp};
use tinyops_wire::Frame;
use tinyops_wire::cost::Cost;

/// Newest reports that are looked through: between two summaries there may be other news.
const REPORTS: u32 = 20;

/// What scoring cost a device in the newest report period that it tells of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Newest {
    /// With which model.
    pub model: ModelId,
    /// When it was told.
    pub at: Timestamp,
    /// What it cost.
    pub cost: Cost,
}

impl Newest {
    /// The newest that a device has told; none if its driver measures nothing.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn read(on: &impl Read, device: &Device) -> Result<Option<Newest>, StoreError> {
        let reports = report::of_device(on, device.id, REPORTS).await?;
        Ok(Newest::of(device, &reports))
    }

    /// The same of reports that have been read, newest first.
    #[must_use]
    pub fn of(device: &Device, reports: &[Report<'_>]) -> Option<Newest> {
        let seed = device.key.dither_seed();
        reports.iter().find_map(|report| {
            let Ok(Frame::Summary(frame)) = Frame::decode(&report.frame) else {
                return None;
            };
            Some(Newest {
                model: report.model,
                at: report.received_at,
                cost: frame.cost((seed, report.seq))?,
            })
        })
    }
}
