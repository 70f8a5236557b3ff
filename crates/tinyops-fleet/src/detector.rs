//! When a stream has left its own past: pure arithmetic over summaries.

use serde::{Deserialize, Serialize};

/// When a stream has drifted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DriftPolicy {
    /// Reports of a device that make its baseline.
    pub baseline_reports: u32,
    /// Weight of the newest report in the smoothed stream.
    pub lambda: f64,
    /// Chance that a stable device alarms within 30 reports; 0.6 % keeps the realised rate below 1 %.
    pub false_alarm_share: f64,
    /// Reports of fewer windows are kept and not judged.
    pub window_count_min: u32,
    /// How far the whole cohort moves together without drift (weather, season), as a share of how far one
    /// device's reports move by themselves.
    pub common_share: f64,
}

impl Default for DriftPolicy {
    fn default() -> DriftPolicy {
        DriftPolicy {
            baseline_reports: 14,
            lambda: 0.2,
            false_alarm_share: 0.006,
            window_count_min: 4,
            common_share: 0.15,
        }
    }
}
