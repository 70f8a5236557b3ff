//! Deltas for devices that can take one: what makes the capsule wanted out of the one that runs.
//!
//! Deltas are made once for each pair of capsules, kept in memory and as artifacts, and offered where they are smaller
//! than the capsule. A device that cannot take one (another capsule runs than was known here, its slot has no room for
//! both) says so and is offered the whole capsule.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex};

use tinyops_store::capsule::{self, Capsule};
use tinyops_store::hello::Hello;
use tinyops_store::lineage::{self, Edge};
use tinyops_store::{DeviceId, Digest, Tx, presence};
use tinyops_wire::block::BlockRequest;
use tinyops_wire::frame::{Features, Reason, Update, UpdateState};

use crate::fleet::{CACHED_MAX, lock};
use crate::owed::running;
use crate::rollout::Setbacks;
use crate::{Fleet, FleetError};

/// How the relation of a delta to the capsules that it is between is called in the lineage.
pub const DELTA_EDGE: &str = "delta";

/// Makes a delta out of an old capsule and a new one; `None` if it cannot.
type Encode = dyn Fn(&[u8], &[u8]) -> Option<Vec<u8>> + Send + Sync;

/// Deltas by the digests of the capsules that they are between; `None` where one would be no smaller.
type Made = HashMap<(Digest, Digest), Option<Package>>;

/// Deltas made so far, and how to make more.
#[derive(Clone)]
pub(crate) struct Deltas {
    encode: Arc<Encode>,
    made: Arc<Mutex<Made>>,
    /// What each device was last offered as a delta.
    offered: Arc<Mutex<HashMap<DeviceId, Digest>>>,
    /// Who is to get which capsule whole.
    whole: Arc<Mutex<HashSet<(DeviceId, Digest)>>>,
}

/// A delta.
#[derive(Clone, Debug)]
pub(crate) struct Package {
    pub(crate) digest: Digest,
    pub(crate) bytes: Arc<[u8]>,
}

impl fmt::Debug for Deltas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deltas").finish_non_exhaustive()
    }
}

impl Fleet {
    /// The same fleet, which offers deltas that `encode` makes out of an old capsule and a new one.
    #[must_use]
    pub fn with_deltas(
        self,
        encode: impl Fn(&[u8], &[u8]) -> Option<Vec<u8>> + Send + Sync + 'static,
    ) -> Fleet {
        let deltas = Deltas {
            encode: Arc::new(encode),
            made: Arc::default(),
            offered: Arc::default(),
            whole: Arc::default(),
        };
        Fleet {
            deltas: Some(deltas),
            ..self
        }
    }

    /// The delta that a device should be offered in place of a capsule, if there is one.
    pub(crate) async fn delta_for(
        &self,
        tx: &Tx,
        hello: &Hello,
        to: &Capsule,
    ) -> Result<Option<Package>, FleetError> {
        let (Some(deltas), device) = (&self.deltas, hello.device) else {
            return Ok(None);
        };
        let takes_deltas = Features(hello.features as u16).has(Features::DELTAS);
        if !takes_deltas || lock(&deltas.whole).contains(&(device, to.digest)) {
            return Ok(None);
        }
        let Some(model) = running(presence::get(tx, device).await?.as_ref()) else {
            return Ok(None);
        };
        let Some(from) = capsule::get(tx, model).await? else {
            return Ok(None);
        };
        if from.digest == to.digest {
            return Ok(None);
        }
        let package = self.delta_between(tx, deltas, &from, to).await?;
        // The device lays it on whole pages, whose size is not known here; it says so if they do not suffice.
        let fits = |package: &Package| {
            u64::from(to.bytes) + package.bytes.len() as u64 <= u64::from(hello.slot_bytes)
        };
        Ok(package.filter(fits))
    }

    async fn delta_between(
        &self,
        tx: &Tx,
        deltas: &Deltas,
        from: &Capsule,
        to: &Capsule,
    ) -> Result<Option<Package>, FleetError> {
        let pair = (from.digest, to.digest);
        if let Some(made) = lock(&deltas.made).get(&pair) {
            return Ok(made.clone());
        }
        let old = self.artifacts.get(&from.digest).await?;
        let new = self.artifacts.get(&to.digest).await?;
        let encode = Arc::clone(&deltas.encode);
        let encoded = tokio::task::spawn_blocking(move || {
            encode(&old, &new).filter(|delta| delta.len() < new.len())
        });
        let package = match encoded.await.unwrap_or_default() {
            Some(bytes) => {
                let digest = self.artifacts.put(&bytes).await?;
                let edge = |from| Edge {
                    from,
                    to: digest,
                    kind: DELTA_EDGE.to_owned(),
                    run: None,
                };
                lineage::add(tx, &[edge(from.digest), edge(to.digest)]).await?;
                Some(Package {
                    digest,
                    bytes: bytes.into(),
                })
            }
            None => None,
        };
        let mut made = lock(&deltas.made);
        if made.len() >= CACHED_MAX {
            made.clear();
        }
        made.insert(pair, package.clone());
        Ok(package)
    }

    /// Notes that a device has been offered a capsule as a delta.
    pub(crate) fn note_delta(&self, device: DeviceId, to: &Digest) {
        if let Some(deltas) = &self.deltas {
            lock(&deltas.offered).insert(device, *to);
        }
    }

    /// The delta that a device asks blocks of, if it has been made since this server began.
    pub(crate) fn delta_asked(&self, request: &BlockRequest) -> Option<Arc<[u8]>> {
        let made = lock(&self.deltas.as_ref()?.made);
        let mut packages = made.values().flatten();
        let found = packages.find(|package| request.is_of(&package.digest));
        found.map(|package| Arc::clone(&package.bytes))
    }

    /// Whether a device has turned away the delta and not the capsule: then it is owed that whole, at once.
    pub(crate) fn falls_back(
        &self,
        device: DeviceId,
        update: &Update,
        setbacks: &mut Setbacks,
    ) -> bool {
        let is_the_delta = matches!(
            update.reason,
            Reason::Delta | Reason::DeltaBase | Reason::SlotTooSmall
        );
        let Some(deltas) = &self.deltas else {
            return false;
        };
        if update.state != UpdateState::Refused || !is_the_delta {
            return false;
        }
        let offered = lock(&deltas.offered).get(&device).copied();
        let Some(to) = offered.filter(|_| !setbacks.deltas.contains_key(&device)) else {
            // Offered before this server began: what a delta alone is refused for is no word against the capsule.
            return update.reason != Reason::SlotTooSmall;
        };
        setbacks.deltas.insert(device, to);
        true
    }

    /// Remembers that a device is to get a capsule whole whose delta it has turned away.
    pub(crate) fn note_whole(&self, device: DeviceId, to: Digest) {
        let Some(deltas) = &self.deltas else { return };
        let mut offered = lock(&deltas.offered);
        if offered.get(&device) == Some(&to) {
            offered.remove(&device);
        }
        lock(&deltas.whole).insert((device, to));
    }
}
