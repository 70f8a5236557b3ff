//! Rounds of a fleet whose devices tell their statistics under masks.
//!
//! Devices are asked under a task that is the round's own. Once enough have told all parts, the round takes no more,
//! and the helper is asked for the sum of the masks of exactly those that are in it; until it answers the round waits.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde_json::json;
use tinyops_store::masked_update::MaskedUpdate;
use tinyops_store::round::{Contribution, Round, RoundId, RoundState};
use tinyops_store::{DeviceId, ModelId, Timestamp, Tx, masked_update, round};
use tinyops_wire::mask::{Purpose, RING_BITS, Task};
use tinyops_wire::masked::MaskedPart;

use crate::enrol::{hex, unhex};
use crate::helper::SumRequest;
use crate::masked::{Mode, NoMasks, PrivacyPolicy, sizes};
use crate::masked_sums::{
    Asked, MaskedGathering, Taken, add, from_bytes, least_devices, least_windows, opened, to_bytes,
    unmasked,
};
use crate::round::{Sum, wire_round};
use crate::watch::Observation;
use crate::{Event, Fleet, FleetError};

/// The ring that an update is told in at least.
const RING_BITS_MIN: u8 = 18;

/// Least length of an update in steps: a Gram matrix of coarser ones solves to a worse head.
const NORM_MIN: u16 = 1024;

/// Why there is no round where there is no task.
pub(crate) const NO_RING: &str = "no ring holds the sum of so many devices with this noise";

/// Widths that a round keeps sums of: the model has one, and devices that claim others must not shut the rest out.
///
/// With no room left the sum of the fewest devices makes place, so that liars are heard only by being more.
const WIDTHS_MAX: usize = 4;

impl PrivacyPolicy {
    /// How devices of a model tell their statistics to a round when so many of them may be in the sum; `None` if no ring is
    /// wide enough.
    pub fn update_task(&self, model: ModelId, round: RoundId, running: u32) -> Option<Task> {
        let device_count = sizes().find(|size| *size >= running)?;
        (RING_BITS_MIN..=*RING_BITS.end())
            .filter_map(|ring_bits| {
                Task {
                    purpose: Purpose::Update,
                    number: wire_round(round),
                    model,
                    ring_bits,
                    norm_max: 1,
                    clip: self.update_clip,
                    noise_tenths: self.noise_tenths(),
                }
                .with_finest_norm(device_count)
            })
            .find(|task| task.norm_max >= NORM_MIN)
    }
}

/// The task of a round under masks; `None` of one in the clear.
pub(crate) fn task_of(round: &Round) -> Option<Task> {
    let bytes = unhex(round.detail["task"].as_str()?);
    Task::decode(bytes.as_slice().try_into().ok()?)
}

impl Fleet {
    /// Whether a round of so many devices could end in a sum: nobody is to pay for one that could not.
    pub(crate) async fn may_open_masked(
        &self,
        model: ModelId,
        running: usize,
    ) -> Result<bool, FleetError> {
        match self.policy.privacy.mode {
            Mode::Any => return Ok(true),
            Mode::Local => return Ok(false),
            Mode::Masked => {}
        }
        let enough = running >= self.round_devices_min() as usize;
        Ok(enough && self.helper.is_some() && self.class_count(&self.db, model).await? > 0)
    }

    /// Fewest devices in the sum of a round; under masks, no fewer than it can be opened of.
    pub(crate) fn round_devices_min(&self) -> u32 {
        let (round, privacy) = (&self.policy.round, &self.policy.privacy);
        let noise = f64::from(privacy.noise_tenths()) / 10.0;
        let opens = least_devices(noise, round.total_window_count_min);
        match privacy.mode {
            Mode::Masked => round.device_count_min.max(privacy.least()).max(opens),
            Mode::Any | Mode::Local => round.device_count_min,
        }
    }

    /// Classes that devices of a model count; 0 for a model that is not ours, or has none.
    async fn class_count(
        &self,
        on: &impl tinyops_store::Read,
        model: ModelId,
    ) -> Result<usize, FleetError> {
        let baseline = self.baseline(on, model).await?;
        Ok(baseline.map_or(0, |baseline| baseline.class_prior().len()))
    }

    /// Gives a round that begins to gather its task; one whose devices could tell nothing is abandoned, and says why.
    pub(crate) async fn put_under_masks(
        &self,
        tx: &Tx,
        round: &mut Round,
    ) -> Result<(), FleetError> {
        let model = round.model;
        let asked = self.taking_part(tx, round).await?.len() as u32;
        let privacy = &self.policy.privacy;
        let task = privacy.update_task(model, round.id, asked);
        // Whoever opened it may have known no better.
        let least = round.device_count_min.max(self.round_devices_min());
        let why = match task {
            _ if self.class_count(tx, model).await? == 0 => "the model has no classes",
            _ if asked < least => "fewer devices run the model than a sum takes with this noise",
            None => NO_RING,
            Some(task) => {
                round.device_count_min = least;
                round.detail["task"] = json!(hex(&task.encode()));
                round.detail["noise"] = json!(task.noise_multiplier());
                return Ok(());
            }
        };
        round.state = RoundState::Abandoned;
        round.detail["abandoned"] = json!(why);
        Ok(())
    }

    /// Adds one part of an answer to what its device has told, and the whole of it to the sum of all.
    ///
    /// Notes in `spending` what the device has paid for it.
    pub(crate) async fn take_masked_part(
        &self,
        tx: &Tx,
        round: &Round,
        observation: &Observation<'_>,
        part: &MaskedPart<'_>,
        spending: &mut BTreeMap<DeviceId, (u32, u8)>,
    ) -> Result<(), FleetError> {
        let Some(task) = task_of(round) else {
            return Ok(());
        };
        if round.state != RoundState::Gathering || part.head.task != task.number {
            return Ok(());
        }
        let device = observation.device;
        if part.head.sequence > observation.sequence {
            // The helper never adds up what is older than a number that it has seen: one made up shuts the device, and
            // all that are in a sum with it, out of every round to come.
            tracing::warn!(%device, round = %round.id, "masked statistics of an envelope to come dropped");
            return Ok(());
        }
        let found = round::contribution(tx, round.id, device).await?;
        if found.as_ref().is_some_and(|found| found.whole) {
            return Ok(());
        }
        let asked = Asked {
            task,
            class_count: self.class_count(tx, round.model).await?,
            frame_bytes: self.policy.round.frame_bytes,
        };
        let mut gathering =
            MaskedGathering::decode(&found.map(|found| found.bytes).unwrap_or_default());
        let is_first = gathering.begins_with(part);
        let taken = match gathering.take(&asked, part) {
            Ok(taken) => taken,
            Err(problem) => {
                tracing::warn!(%device, round = %round.id, problem, "masked statistics dropped");
                return Ok(());
            }
        };
        gathering.received += observation.byte_count as i64;
        if is_first {
            spending.entry(device).or_default().0 += task.cost();
        }
        let whole = matches!(taken, Taken::Whole(_));
        if let Taken::Whole(numbers) = taken
            && !add_device(tx, round.id, &task, gathering.width, &numbers).await?
        {
            tracing::warn!(%device, round = %round.id, "the round's sum takes no more devices");
            gathering = gathering.emptied();
        }
        let contribution = Contribution {
            round: round.id,
            device,
            whole,
            bytes: gathering.encode(),
        };
        Ok(round::put_contribution(tx, &contribution).await?)
    }

    /// How many devices are in the sum of a round, and whether that is enough to ask the helper for their masks.
    pub(crate) async fn count_masked(
        &self,
        tx: &Tx,
        round: &Round,
    ) -> Result<(u32, bool), FleetError> {
        let sum = fullest(masked_update::of_round(tx, round.id).await?);
        let count = sum.map_or(0, |sum| sum.device_count);
        let least = round.device_count_min.max(self.policy.privacy.least());
        let windows = least_windows(count);
        Ok((
            count,
            count >= least && windows >= self.policy.round.total_window_count_min,
        ))
    }

    /// Asks the helper for the masks of a round whose sum is complete, and closes it with what that opens.
    pub(crate) async fn open_masked_round(
        &self,
        round: &Round,
        now: Timestamp,
    ) -> Result<Vec<Event>, FleetError> {
        if let Err(NoMasks::Later(why)) = self.helper_to_ask(now) {
            return self.round_waits(round, why).await;
        }
        let sum = fullest(masked_update::of_round(&self.db, round.id).await?);
        let class_count = self.class_count(&self.db, round.model).await?;
        let (Some(task), Some(sum)) = (task_of(round), sum) else {
            return self
                .abandon_masked(round, "its task or its sum is not known", now)
                .await;
        };
        let numbers = from_bytes(&sum.numbers);
        let width = sum.width as usize;
        let parts = round::contributions(&self.db, round.id).await?;
        let request = SumRequest {
            task,
            value_count: numbers.len(),
            reports: in_sum(&parts, width).collect(),
        };
        let masks = match self.ask_for_masks(&request, now).await {
            Ok(masks) => masks,
            Err(NoMasks::Denied(why)) => return self.abandon_masked(round, &why, now).await,
            Err(NoMasks::Later(why)) => return self.round_waits(round, why).await,
        };
        let told = unmasked(&task, &numbers, &masks);
        let sums = match opened(&task, (class_count, width), sum.device_count, &told) {
            Ok(sums) => sums,
            Err(why) => return self.abandon_masked(round, why, now).await,
        };
        let tx = self.db.begin_audited("open a masked round").await?;
        let Some(mut round) = still_opening(&tx, round).await? else {
            return Ok(Vec::new());
        };
        if let Some(detail) = round.detail.as_object_mut() {
            detail.remove("waits");
        }
        let bytes = round.detail["bytes"].as_i64().unwrap_or(0);
        forget(&tx, round.id).await?;
        let sum = Sum {
            buckets: vec![sums.clone()],
            sum: sums,
            device_count: round.device_count,
            parts: 1,
            window_count: least_windows(round.device_count),
            clipped_count: None,
            norm_max: f64::INFINITY,
        };
        let events = self.close(&tx, &mut round, sum, bytes, now).await?;
        tx.commit().await?;
        Ok(events)
    }

    async fn abandon_masked(
        &self,
        round: &Round,
        why: &str,
        now: Timestamp,
    ) -> Result<Vec<Event>, FleetError> {
        let tx = self.db.begin_audited("abandon a masked round").await?;
        let Some(mut round) = still_opening(&tx, round).await? else {
            return Ok(Vec::new());
        };
        tracing::warn!(round = %round.id, why, "a masked round is abandoned");
        if let Some(detail) = round.detail.as_object_mut() {
            detail.remove("waits");
        }
        round.detail["abandoned"] = json!(why);
        forget(&tx, round.id).await?;
        let event = self.abandon(&tx, round, now).await?;
        tx.commit().await?;
        Ok(vec![event])
    }

    /// Notes why a round has no sum yet, where that is news.
    async fn round_waits(
        &self,
        round: &Round,
        problem: Option<String>,
    ) -> Result<Vec<Event>, FleetError> {
        let Some(problem) = problem.filter(|problem| round.detail["waits"] != **problem) else {
            return Ok(Vec::new());
        };
        tracing::warn!(round = %round.id, %problem, "a masked round waits");
        let tx = self.db.begin("note why a round waits").await?;
        if let Some(mut round) = still_opening(&tx, round).await? {
            round.detail["waits"] = json!(problem);
            round::put(&tx, &mut round).await?;
            tx.commit().await?;
        }
        Ok(Vec::new())
    }
}

/// The round as it is now, unless another process has closed it.
async fn still_opening(tx: &Tx, seen: &Round) -> Result<Option<Round>, FleetError> {
    let round = round::get(tx, seen.id).await?;
    Ok(round.filter(|round| round.state == RoundState::Opening))
}

/// Forgets who was in a round that is over, and its sums under masks.
pub(crate) async fn forget(tx: &Tx, id: RoundId) -> Result<(), FleetError> {
    round::forget_contributions(tx, id).await?;
    Ok(masked_update::forget(tx, id).await?)
}

/// The sum that most devices are in: the others are of devices that claim another width than the model's.
fn fullest(sums: Vec<MaskedUpdate>) -> Option<MaskedUpdate> {
    sums.into_iter().max_by_key(rank)
}

/// Which of two sums of a round counts more.
fn rank(sum: &MaskedUpdate) -> (u32, Reverse<u32>) {
    (sum.device_count, Reverse(sum.width))
}

/// Forgets the sum of one width, and that its devices are in it: should others bring that width again, it is the sum of
/// those alone. They have answered, and are not asked to pay again.
async fn forget_width(tx: &Tx, id: RoundId, width: u32) -> Result<(), FleetError> {
    tracing::warn!(round = %id, width, "masked statistics of too many widths: those of the fewest devices dropped");
    masked_update::forget_width(tx, id, width).await?;
    for part in round::contributions(tx, id).await? {
        let told = MaskedGathering::decode(&part.bytes);
        if part.whole && told.is_whole() && told.width == width as usize {
            let bytes = told.emptied().encode();
            round::put_contribution(tx, &Contribution { bytes, ..part }).await?;
        }
    }
    Ok(())
}

/// Who is in the sum of a width, and the number of the envelope of each.
fn in_sum(parts: &[Contribution], width: usize) -> impl Iterator<Item = (DeviceId, u32)> {
    let whole = parts.iter().filter(|part| part.whole);
    whole.filter_map(move |part| {
        let told = MaskedGathering::decode(&part.bytes);
        (told.is_whole() && told.width == width).then_some((part.device, told.sequence))
    })
}

/// Adds a device's masked numbers to the sum of a round; whether that had room for it.
async fn add_device(
    tx: &Tx,
    round: RoundId,
    task: &Task,
    width: usize,
    numbers: &[u32],
) -> Result<bool, FleetError> {
    let mut sums = masked_update::of_round(tx, round).await?;
    let found = sums.iter().position(|sum| sum.width as usize == width);
    let found = found.map(|index| sums.swap_remove(index));
    if found.is_none() && sums.len() >= WIDTHS_MAX {
        let fewest = sums.iter().min_by_key(|sum| rank(sum));
        forget_width(tx, round, fewest.map_or(0, |sum| sum.width)).await?;
    }
    let device_count = found.as_ref().map_or(0, |found| found.device_count) + 1;
    if !task.holds(device_count) {
        return Ok(false);
    }
    let mut sum = found.map_or_else(
        || vec![0; numbers.len()],
        |found| from_bytes(&found.numbers),
    );
    add(&mut sum, numbers, task);
    let update = MaskedUpdate {
        round,
        width: width as u32,
        device_count,
        numbers: to_bytes(&sum),
    };
    masked_update::put(tx, &update).await?;
    Ok(true)
}
