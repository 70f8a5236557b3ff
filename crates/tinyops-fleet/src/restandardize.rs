//! Level 0 of repair: devices whose inputs moved in place or spread move their features back, before anyone retrains.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use tinyops_store::drift::Scope;
use tinyops_store::hello::Hello;
use tinyops_store::{DeviceId, ModelId, Timestamp, alert, hello};
use tinyops_wire::downlink::Restandardize;
use tinyops_wire::frame::Features;

use crate::diagnosis::Advice;
use crate::watch::cohort_of;
use crate::{Fleet, FleetError};

impl Fleet {
    /// Devices that a standing alert advises to re-standardise, or whose cohort it does, that can, and how.
    ///
    /// Nobody while the policy asks for no part of the way. A device that is told again goes on as it was. One device,
    /// if it is one of them, or all.
    pub(crate) async fn to_restandardize(
        &self,
        of: Option<DeviceId>,
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
        let mut by_model: BTreeMap<ModelId, Vec<Scope>> = BTreeMap::new();
        for alert in alert::standing(&self.db).await? {
            if alert.advice == Advice::ReStandardise.word() && !alert.is_muted(now) {
                by_model.entry(alert.model).or_default().push(alert.scope);
            }
        }
        if by_model.is_empty() {
            return Ok(Vec::new());
        }
        let able: HashSet<DeviceId> = match of {
            Some(device) => {
                let hello = hello::get(&self.db, device).await?;
                let can =
                    |hello: &Hello| Features(hello.features as u8).has(Features::RESTANDARDIZES);
                hello.filter(can).map(|_| device).into_iter().collect()
            }
            None => {
                let able = hello::having(&self.db, Features::RESTANDARDIZES.0).await?;
                able.into_iter().collect()
            }
        };
        let mut devices = BTreeSet::new();
        for (model, scopes) in by_model {
            let cohorts: HashSet<&str> = scopes.iter().filter_map(cohort_of).collect();
            let alarmed: HashSet<DeviceId> = scopes.iter().filter_map(device_of).collect();
            let running = self.running(model, of).await?.into_iter();
            let meant = running.filter(|(device, cohort)| {
                able.contains(device)
                    && (alarmed.contains(device) || cohorts.contains(cohort.as_str()))
            });
            devices.extend(meant.map(|(device, _)| device));
        }
        Ok(devices.into_iter().map(|device| (device, asked)).collect())
    }
}

fn device_of(scope: &Scope) -> Option<DeviceId> {
    match scope {
        Scope::Device(device) => Some(*device),
        Scope::Cohort(_) => None,
    }
}
