//! Whether a rollout goes on, waits or goes back: a pure function of its state and its health.

use serde::{Deserialize, Serialize};

/// How a new model goes out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Plan {
    /// Share of the devices that try it first, 0 to 1; 1 skips the canary.
    pub canary_share: f64,
    /// Devices that try it first at least.
    pub canary_count_min: u32,
    /// Reports that each canary sends with it before it counts as well.
    pub canary_reports: u32,
    /// How long a device may take from its first offer to its first report with the new model.
    pub silent_after_ms: i64,
    /// How long the canaries may take altogether before those that answered decide alone.
    pub canary_within_ms: i64,
    /// Share of canaries that may fail, revert or fall silent before everything goes back.
    pub failure_share_max: f64,
    /// Points of accuracy (0 to 1), by outcomes, that the canaries may lie below the control arm.
    pub accuracy_drop_max: f64,
    /// Judged windows that each arm needs before accuracy is compared.
    pub judged_min: i64,
    /// Chance of halting a good model, for each sequential test.
    pub alpha: f64,
}

impl Default for Plan {
    fn default() -> Plan {
        Plan {
            canary_share: 0.1,
            canary_count_min: 1,
            canary_reports: 2,
            silent_after_ms: 3 * 24 * 3_600_000,
            canary_within_ms: 7 * 24 * 3_600_000,
            failure_share_max: 0.2,
            accuracy_drop_max: 0.05,
            judged_min: 20,
            alpha: 0.01,
        }
    }
}
