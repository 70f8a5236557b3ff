//! What happens in the loops, as it happens: for the demo's story and the log.

use tinyops_store::run::RunId;
use tinyops_store::trigger::TriggerId;

/// One thing that happened in the loops.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// In the operating loop: an alert, a round, a rollout.
    Fleet(tinyops_fleet::Event),
    /// A pipeline run begins because of a trigger.
    RunStarted {
        /// The trigger's number.
        trigger: TriggerId,
    },
    /// A pipeline run is over.
    RunEnded {
        /// The trigger's number.
        trigger: TriggerId,
        /// The run, if it got that far.
        run: Option<RunId>,
        /// The version that passed the gates.
        version: Option<u32>,
        /// Why there is none.
        why: Option<String>,
    },
}
