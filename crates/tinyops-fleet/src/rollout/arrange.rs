//! Which rollout a device belongs to.

use std::collections::{HashMap, HashSet};

use tinyops_store::device::{DevicePage, DeviceState};
use tinyops_store::rollout::{self, Rollout, RolloutId};
use tinyops_store::{DeviceId, ModelId, Timestamp, Tx, capsule, device, hello, presence};
use tinyops_wire::frame::Features;

use super::case::Case;
use crate::engine;
use crate::selector::Selector;
use crate::{Event, FleetError};

/// Devices read at a time.
const PAGE: u32 = 5_000;

/// Which devices go to which rollout, and which leave one.
#[derive(Default)]
pub(super) struct Taken {
    pub(super) joined: HashMap<RolloutId, Vec<engine::Event>>,
    pub(super) left: HashMap<RolloutId, Vec<DeviceId>>,
    /// For a rollout that some device would fit: another that has such a device.
    pub(super) elsewhere: HashMap<RolloutId, RolloutId>,
}

/// Gives every active device to the rollout that it belongs to.
pub(super) async fn arrange(tx: &Tx, open: &[Rollout]) -> Result<Taken, FleetError> {
    let mut selectors = Vec::new();
    for rollout in open {
        selectors.push((rollout, Selector::parse(&rollout.selector)?));
    }
    let owned: HashMap<DeviceId, RolloutId> = rollout::owned(tx).await?.into_iter().collect();
    let mut left_before: HashSet<(RolloutId, DeviceId)> = HashSet::new();
    for rollout in open {
        let members = rollout::left(tx, rollout.id).await?;
        left_before.extend(members.into_iter().map(|device| (rollout.id, device)));
    }
    let mut capsules: HashMap<(RolloutId, String), Option<ModelId>> = HashMap::new();
    let mut taken = Taken::default();
    let mut page = None;
    loop {
        let devices = device::list(tx, page, PAGE).await?;
        let Some(last) = devices.last() else {
            return Ok(taken);
        };
        page = Some(DevicePage::after(last));
        let mut joins = Vec::new();
        for device in &devices {
            let is_active = device.state == DeviceState::Active;
            let mut matching = Vec::new();
            for (rollout, selector) in &selectors {
                if !is_active || !selector.matches(device) {
                    continue;
                }
                let key = (rollout.id, device.board.clone());
                let capsule = match capsules.get(&key) {
                    Some(capsule) => *capsule,
                    None => {
                        let (model, version) = (&rollout.model, rollout.version);
                        let found = capsule::for_board(tx, model, version, &device.board).await?;
                        let found = found.map(|capsule| capsule.id);
                        capsules.insert(key, found);
                        found
                    }
                };
                if let Some(capsule) =
                    capsule.filter(|_| !left_before.contains(&(rollout.id, device.id)))
                {
                    matching.push((rollout.id, rollout.priority, capsule));
                }
            }
            let owner = engine::owner(matching.iter().map(|(id, priority, _)| (*id, *priority)));
            let now_of = owned.get(&device.id).copied();
            for (id, _, _) in &matching {
                if let Some(owner) = owner.filter(|owner| owner != id) {
                    taken.elsewhere.insert(*id, owner);
                }
            }
            if owner == now_of {
                continue;
            }
            if let Some(before) = now_of {
                taken.left.entry(before).or_default().push(device.id);
            }
            if let Some((rollout, _, capsule)) =
                matching.into_iter().find(|(id, _, _)| Some(*id) == owner)
            {
                let stratum = engine::stratum(&device.board, &device.cohort);
                joins.push((rollout, device.id, stratum, capsule));
            }
        }
        let ids: Vec<DeviceId> = joins.iter().map(|(_, device, _, _)| *device).collect();
        let presences = presence::get_many(tx, &ids).await?;
        let mut able = HashSet::new();
        for hello in hello::get_many(tx, &ids).await? {
            if can_shadow(Features(hello.features as u16)) {
                able.insert(hello.device);
            }
        }
        for ((rollout, device, stratum, capsule), presence) in joins.into_iter().zip(presences) {
            taken
                .joined
                .entry(rollout)
                .or_default()
                .push(engine::Event::Joined {
                    device,
                    stratum,
                    capsule,
                    before: presence.model,
                    can_shadow: able.contains(&device),
                });
        }
    }
}

/// Whether a device can score windows with a candidate beside what it runs.
pub(super) fn can_shadow(features: Features) -> bool {
    let needed = Features::STATEMENTS.with(Features::HOLDS);
    features.has(needed.with(Features::SHADOWS))
}

pub(super) async fn give_devices(
    tx: &Tx,
    rollout: &mut Rollout,
    taken: &Taken,
    now: Timestamp,
) -> Result<Vec<Event>, FleetError> {
    if !taken.joined.contains_key(&rollout.id) && !taken.left.contains_key(&rollout.id) {
        return Ok(Vec::new());
    }
    let mut case = Case::read(tx, rollout).await?;
    case.take(taken, now);
    case.keep(tx, now).await
}
