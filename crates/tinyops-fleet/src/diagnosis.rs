//! What a drift calls for, by which signals fired.

use serde::{Deserialize, Serialize};

/// The cheapest thing that repairs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Advice {
    /// The outputs or the classes moved, the inputs did not: thresholds and priors are off.
    Recalibrate,
    /// The inputs moved in place and spread only: scaling them again, on the device, may do.
    ReStandardise,
    /// Inputs and outputs moved, or labels say that it errs: the last layer needs new statistics.
    HeadUpdate,
    /// A new head did not repair it: train again.
    Retrain,
    /// The readings themselves are broken: no model repairs that.
    SensorFault,
}

impl Advice {
    /// The word that is stored and shown.
    pub fn word(self) -> &'static str {
        match self {
            Advice::Recalibrate => "recalibrate",
            Advice::ReStandardise => "re-standardise",
            Advice::HeadUpdate => "head-update",
            Advice::Retrain => "retrain",
            Advice::SensorFault => "sensor-fault",
        }
    }

    /// Whether statistics of the fleet's embeddings would repair it.
    pub fn calls_for_statistics(self) -> bool {
        matches!(self, Advice::ReStandardise | Advice::HeadUpdate)
    }
}
