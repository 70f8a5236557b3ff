//! Rollouts as the fleet carries them out.

use tinyops_store::Timestamp;
use tinyops_store::rollout::{Rollout, RolloutId};

use crate::canary::Plan;
use crate::{Event, Fleet, FleetError};

/// A rollout that someone wants.
#[derive(Clone, Debug, PartialEq)]
pub struct Wish<'a> {
    /// The model.
    pub model: &'a str,
    /// Its version; there are capsules of it.
    pub version: u32,
    /// The cohort; `None` is every device with a fitting board.
    pub cohort: Option<&'a str>,
    /// The plan; `None` is the fleet's.
    pub plan: Option<Plan>,
}

impl Fleet {
    /// Begins a rollout: chooses the canaries, by a hash of their ids within each board and cohort.
    ///
    /// # Errors
    /// [`FleetError::NoCapsule`] if no device could take it; [`FleetError::Underway`].
    pub async fn start_rollout(
        &self,
        wish: &Wish<'_>,
        actor: &str,
        now: Timestamp,
    ) -> Result<(Rollout, Vec<Event>), FleetError> {
        let _ = (wish, actor, now);
        todo!()
    }

    /// Holds a rollout: nobody new is offered anything.
    ///
    /// # Errors
    /// [`FleetError::NoRollout`], [`FleetError::WrongState`].
    pub async fn pause_rollout(
        &self,
        id: RolloutId,
        actor: &str,
        why: &str,
        now: Timestamp,
    ) -> Result<Rollout, FleetError> {
        let _ = (id, actor, why, now);
        todo!()
    }

    /// Lets a held rollout go on.
    ///
    /// # Errors
    /// [`FleetError::NoRollout`], [`FleetError::WrongState`].
    pub async fn resume_rollout(
        &self,
        id: RolloutId,
        actor: &str,
        now: Timestamp,
    ) -> Result<Rollout, FleetError> {
        let _ = (id, actor, now);
        todo!()
    }

    /// Takes every device of a rollout back to what it ran before, even if the rollout is done.
    ///
    /// # Errors
    /// [`FleetError::NoRollout`], [`FleetError::WrongState`] if it was taken back already.
    pub async fn revert_rollout(
        &self,
        id: RolloutId,
        actor: &str,
        why: &str,
        now: Timestamp,
    ) -> Result<Rollout, FleetError> {
        let _ = (id, actor, why, now);
        todo!()
    }

    pub(crate) async fn turn_rollouts(&self, now: Timestamp) -> Result<Vec<Event>, FleetError> {
        let _ = now;
        todo!()
    }
}
