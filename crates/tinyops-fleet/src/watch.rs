//! Watching devices and cohorts: alerts as people handle them, and views for pages.

use tinyops_store::Timestamp;
use tinyops_store::alert::{Alert, AlertId};

use crate::{Fleet, FleetError};

/// One monitored channel of a cohort next to its baseline.
#[derive(Clone, Debug, PartialEq)]
pub struct ChannelView {
    /// `feature 3`, or `output`.
    pub name: String,
    /// How far it is from its baseline: 1 is the alarm threshold.
    pub score: f64,
    /// Mean deviation from training, in its standard deviations.
    pub mean: f64,
    /// Logarithm of the spread over training's.
    pub ln_sd: f64,
    /// Share of each bin in training.
    pub baseline: [f32; 8],
    /// Share of each bin now.
    pub live: [f32; 8],
}

/// A cohort as it is now, for each model that its devices run.
#[derive(Clone, Debug, PartialEq)]
pub struct CohortView {
    /// Which cohort.
    pub cohort: String,
    /// Devices whose baseline is known and that are judged.
    pub watched_count: usize,
    /// Devices with an alarm.
    pub alarmed_count: usize,
    /// How far it is from its baseline: 1 is the alarm threshold.
    pub score: f64,
    /// Its channels.
    pub channels: Vec<ChannelView>,
    /// Share of each class in training.
    pub class_prior: Vec<f32>,
    /// Share of each class now.
    pub class_shares: Vec<f32>,
}

impl Fleet {
    /// A cohort next to the baseline of the model that most of its devices run; `None` before any report.
    pub async fn cohort_view(&self, cohort: &str) -> Result<Option<CohortView>, FleetError> {
        let _ = cohort;
        todo!()
    }

    /// Says that someone knows of an alert.
    pub async fn acknowledge(
        &self,
        id: AlertId,
        actor: &str,
        now: Timestamp,
    ) -> Result<Alert, FleetError> {
        let _ = (id, actor, now);
        todo!()
    }

    /// Says that an alert is over.
    pub async fn resolve(
        &self,
        id: AlertId,
        actor: &str,
        now: Timestamp,
    ) -> Result<Alert, FleetError> {
        let _ = (id, actor, now);
        todo!()
    }
}
