//! Rounds: the fleet's statistics, asked for, clipped, summed and handed to the pipeline.

use serde::{Deserialize, Serialize};
use tinyops_store::round::Round;
use tinyops_store::{ModelId, Timestamp};

use crate::{Event, Fleet, FleetError};

/// When and how statistics are gathered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RoundPolicy {
    /// Whether an alert that calls for statistics opens a round by itself.
    pub open_on_alert: bool,
    /// Share of the devices of a model that must have alarmed, unless their cohort has.
    pub alarmed_share_min: f64,
    /// Whole contributions below which no sum is made: one device's sums say too much of it.
    pub device_count_min: u32,
    /// Labelled windows below which a device's contribution is not used.
    pub window_count_min: u32,
    /// Labelled windows of all devices together that a sum needs.
    pub total_window_count_min: i64,
    /// How long devices may take to answer.
    pub within_ms: i64,
    /// How long after the first whole answers the round closes at the earliest, so that more can join.
    pub settle_ms: i64,
    /// How long after a round the next one may be opened for the same model.
    pub again_after_ms: i64,
    /// Most bytes of one part of an answer.
    pub frame_bytes: u16,
    /// A device's sums are scaled down to this many times the fleet's median norm; 0 turns that off.
    pub clip: f64,
}

impl Default for RoundPolicy {
    fn default() -> RoundPolicy {
        RoundPolicy {
            open_on_alert: true,
            alarmed_share_min: 0.1,
            device_count_min: 8,
            window_count_min: 8,
            total_window_count_min: 100,
            within_ms: 2 * 24 * 3_600_000,
            settle_ms: 0,
            again_after_ms: 24 * 3_600_000,
            frame_bytes: 1024,
            clip: 3.0,
        }
    }
}

impl Fleet {
    /// Asks the devices that run `model` for their statistics.
    pub async fn open_round(
        &self,
        model: ModelId,
        cohort: Option<&str>,
        why: &str,
        now: Timestamp,
    ) -> Result<Round, FleetError> {
        let _ = (model, cohort, why, now);
        todo!()
    }

    pub(crate) async fn turn_rounds(&self, now: Timestamp) -> Result<Vec<Event>, FleetError> {
        let _ = now;
        todo!()
    }
}
