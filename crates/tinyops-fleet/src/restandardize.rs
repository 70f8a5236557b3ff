//! Level 0 of repair: devices whose inputs moved in place or spread move their features back, before anyone retrains.

use std::collections::BTreeSet;

use tinyops_store::drift::Scope;
use tinyops_store::{DeviceId, Timestamp, alert, hello, presence};
use tinyops_wire::downlink::Restandardize;
use tinyops_wire::frame::Features;

use crate::diagnosis::Advice;
use crate::watch::cohort_of;
use crate::{Fleet, FleetError};

impl Fleet {
    /// Devices that a standing alert advises to re-standardise, or whose cohort it does, that can, and how.
    ///
    /// Nobody while the policy asks for no part of the way. A device that is told again goes on as it was.
    pub(crate) async fn to_restandardize(
        &self,
        now: Timestamp,
    ) -> Result<Vec<(DeviceId, Restandardize)>, FleetError> {
        let policy = &self.policy.round;
        let asked = Restandardize {
            sixteenths: policy
                .restandardize_sixteenths
                .min(Restandardize::SIXTEENTHS),
            windows: policy.restandardize_windows,
        };
        if asked.sixteenths == 0 || asked.windows == 0 {
            return Ok(Vec::new());
        }
        let mut devices = BTreeSet::new();
        for alert in alert::standing(&self.db).await? {
            if alert.advice != Advice::ReStandardise.word() || alert.is_muted(now) {
                continue;
            }
            let running = presence::running(&self.db, alert.model).await?;
            let is_meant = |device: DeviceId, cohort: &str| match &alert.scope {
                Scope::Device(alarmed) => *alarmed == device,
                scope => cohort_of(scope) == Some(cohort),
            };
            let meant = running
                .into_iter()
                .filter(|(device, cohort)| is_meant(*device, cohort));
            devices.extend(meant.map(|(device, _)| device));
        }
        let mut able = Vec::new();
        for device in devices {
            let hello = hello::get(&self.db, device).await?;
            let can = hello
                .is_some_and(|hello| Features(hello.features as u8).has(Features::RESTANDARDIZES));
            if can {
                able.push((device, asked));
            }
        }
        Ok(able)
    }
}
