//! Rounds: the fleet's statistics, asked for, clipped, summed and handed to the pipeline.
//!
//! A device sums its labelled embeddings from the day that its model was installed, so at an alert its sums are
//! almost all of the world before the drift. A round therefore first clears the devices, lets labels come, and
//! then gathers. Where devices tell under masks alone, `masked_round.rs` says how the sum is made and opened; what becomes
//! of a sum that is made, when more devices answer or some withdraw, says `kept_sums.rs`.

use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::{BTreeMap, HashMap, HashSet};
use tinyops_store::round::{Contribution, NewRound, Round, RoundId, RoundState};
use tinyops_store::trigger::NewTrigger;
use tinyops_store::{
    DeviceId, Json, ModelId, Timestamp, Tx, capsule, presence, round, trigger, withdrawal,
};
use tinyops_wire::Frame;
use tinyops_wire::mask::Purpose;
use tinyops_wire::statistics::StatisticsPart;

use crate::enrol::note;
use crate::kept_sums::withdrawn;
use crate::masked::Mode;
use crate::masked_round::{forget, task_of};
use crate::masked_sums::MaskedGathering;
use crate::sums::{ClippedSum, Gathering, PARTS, Sums, clipped_sum};
use crate::watch::Observation;
use crate::{Event, Fleet, FleetError};

/// When and how statistics are gathered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RoundPolicy {
    /// Whether an alert that calls for a repair begins one by itself.
    pub open_on_alert: bool,
    /// Share of the devices of a model that must have alarmed, unless their cohort has.
    pub alarmed_share_min: f64,
    /// How long labels are awaited between clearing the devices and gathering; 0 gathers all there is at once.
    pub gather_ms: i64,
    /// Whole contributions below which no sum is made: one device's sums say too much of it.
    pub device_count_min: u32,
    /// Labelled windows below which a device's contribution is not used.
    pub window_count_min: u32,
    /// Labelled windows of all devices together that a sum needs.
    pub total_window_count_min: i64,
    /// How long devices may take to answer once they are asked for their sums.
    pub within_ms: i64,
    /// How long after that asking a round closes at the earliest, unless everyone has answered.
    pub settle_ms: i64,
    /// How long after a round the next one may be opened for the same model.
    pub again_after_ms: i64,
    /// How long after a round in the clear has closed the sums of its single devices are kept, so that who is late joins
    /// it and who withdraws leaves it; 0 keeps none, and a closed round stays as it is.
    pub keep_sums_ms: i64,
    /// How long after devices were asked for their sums those that have begun anew and not answered are still asked, of a
    /// round that has closed without them and keeps its sums.
    pub late_ms: i64,
    /// Most bytes of one part of an answer.
    pub frame_bytes: u16,
    /// A device's sums are scaled down to this many times the fleet's median norm; 0 turns that off.
    pub clip: f64,
    /// Most sets of devices that a sum is kept by, so that one that fails the factory-data check can be left out; each
    /// has at least `device_count_min` devices. A sum of fewer than four is kept whole.
    pub buckets_max: u32,
    /// How far devices move their features back to training, in sixteenths, where the place or spread of inputs is
    /// part of what stands; 0 asks none of them to.
    pub restandardize_sixteenths: u8,
    /// Windows that they learn from first.
    pub restandardize_windows: u16,
    /// Reports of moved features after which it is judged whether that was enough.
    pub restandardize_reports: u32,
    /// How long after an alert its devices may take to tell so many; a round waits no longer for them.
    pub restandardize_within_ms: i64,
}

impl Default for RoundPolicy {
    fn default() -> RoundPolicy {
        RoundPolicy {
            open_on_alert: true,
            alarmed_share_min: 0.1,
            gather_ms: 2 * 24 * 3_600_000,
            device_count_min: 8,
            window_count_min: 8,
            total_window_count_min: 100,
            within_ms: 2 * 24 * 3_600_000,
            settle_ms: 3_600_000,
            again_after_ms: 24 * 3_600_000,
            keep_sums_ms: 30 * 24 * 3_600_000,
            late_ms: 7 * 24 * 3_600_000,
            frame_bytes: 1024,
            clip: 1.0,
            buckets_max: 20,
            restandardize_sixteenths: 0,
            restandardize_windows: 288,
            restandardize_reports: 3,
            restandardize_within_ms: 7 * 24 * 3_600_000,
        }
    }
}

/// How a round's detail names its labelled windows of a class.
const OF_CLASS: &str = "windows of class ";

/// Fewer sets of devices have no middle that one could be held against.
const BUCKETS_MIN: usize = 4;

impl RoundPolicy {
    /// Sets that the sum of so many devices is kept by.
    fn bucket_count(&self, device_count: usize) -> usize {
        let count = device_count / self.device_count_min.max(1) as usize;
        let count = count.min(self.buckets_max as usize);
        if count < BUCKETS_MIN { 1 } else { count }
    }
}

/// What a round comes to.
pub(crate) struct Sum {
    /// Of all devices.
    pub(crate) sum: Sums,
    /// The same by disjoint sets of devices.
    pub(crate) buckets: Vec<Sums>,
    /// Parts that a window is counted in.
    pub(crate) parts: i64,
    pub(crate) device_count: u32,
    /// Labelled windows in it: counted, or under masks as many as its devices have at least.
    pub(crate) window_count: i64,
    /// How many were scaled down; not known of devices that did it themselves, under masks. Then the counts by class are
    /// of weighted windows, noise in them, and say nothing but their shares.
    pub(crate) clipped_count: Option<usize>,
    /// The norm that they were scaled down to; infinite for none.
    pub(crate) norm_max: f64,
}

impl Sum {
    fn of(clipped: ClippedSum, device_count: u32) -> Sum {
        Sum {
            window_count: whole(clipped.sum.window_count(), PARTS),
            parts: PARTS,
            sum: clipped.sum,
            buckets: clipped.buckets,
            device_count,
            clipped_count: Some(clipped.clipped_count),
            norm_max: clipped.norm_max,
        }
    }
}

/// Whole windows of what is counted in so many parts of one.
fn whole(count: i64, parts: i64) -> i64 {
    (count + parts / 2).div_euclid(parts)
}

/// The number that devices know a round by.
pub(crate) fn wire_round(id: RoundId) -> u16 {
    id.0 as u16
}

impl Fleet {
    /// Asks the devices that run `model` for their statistics: first to begin anew, later for what they have.
    ///
    /// # Errors
    /// [`FleetError::NoModel`] if no capsule has this id: what its devices would send could not be used;
    /// [`FleetError::NoStatistics`] where devices tell none.
    pub async fn open_round(
        &self,
        model: ModelId,
        cohort: Option<&str>,
        actor: &str,
        why: &str,
        now: Timestamp,
    ) -> Result<Round, FleetError> {
        if self.policy.privacy.mode == Mode::Local {
            return Err(FleetError::NoStatistics);
        }
        let tx = self.db.begin_audited("open a round").await?;
        let detail = json!({ "why": why });
        let round = self
            .add_round(&tx, model, cohort, detail, actor, now)
            .await?;
        tx.commit().await?;
        Ok(round)
    }

    /// Opens a round in a transaction of its caller's.
    pub(crate) async fn add_round(
        &self,
        tx: &Tx,
        model: ModelId,
        cohort: Option<&str>,
        detail: Json,
        actor: &str,
        now: Timestamp,
    ) -> Result<Round, FleetError> {
        let policy = &self.policy.round;
        let gather_at = now.plus_ms(policy.gather_ms.max(0));
        let why = detail["why"].clone();
        let new = NewRound {
            model,
            cohort: cohort.map(str::to_owned),
            device_count_min: self.round_devices_min(),
            gather_at,
            deadline: gather_at.plus_ms(policy.within_ms.max(0)),
            detail,
        };
        if capsule::get(tx, model).await?.is_none() {
            return Err(FleetError::NoModel(model));
        }
        let mut round = round::add(tx, &new, now).await?;
        if policy.gather_ms <= 0 {
            self.begin_gathering(tx, &mut round).await?;
            round::put(tx, &mut round).await?;
        }
        let noted = json!({ "why": why, "model": model.to_string() });
        note(tx, now, actor, "round.open", round.id, &noted).await?;
        Ok(round)
    }

    /// From now on devices are asked for their sums; under masks, where they tell them no other way.
    async fn begin_gathering(&self, tx: &Tx, round: &mut Round) -> Result<(), FleetError> {
        round.state = RoundState::Gathering;
        match self.policy.privacy.mode {
            Mode::Any => {}
            Mode::Masked => self.put_under_masks(tx, round).await?,
            // Whoever opened it knew nothing of that.
            Mode::Local => {
                round.state = RoundState::Abandoned;
                round.detail["abandoned"] = json!(FleetError::NoStatistics.to_string());
            }
        }
        Ok(())
    }

    /// Puts the statistics of a batch where they belong.
    pub(crate) async fn collect(
        &self,
        tx: &Tx,
        observations: &[Observation<'_>],
        now: Timestamp,
    ) -> Result<(), FleetError> {
        let mut open: Option<Vec<Round>> = None;
        let mut spending = BTreeMap::new();
        for observation in observations {
            if !matches!(
                observation.frame,
                Frame::Statistics(_) | Frame::MaskedPart(_)
            ) {
                continue;
            }
            if open.is_none() {
                open = Some(round::taking(tx).await?);
            }
            let rounds = open.iter().flatten();
            for round in rounds.filter(|round| round.model == observation.model) {
                match observation.frame {
                    Frame::Statistics(part) => take_part(tx, round, observation, &part).await?,
                    Frame::MaskedPart(part) => {
                        self.take_masked_part(tx, round, observation, &part, &mut spending)
                            .await?;
                    }
                    _ => {}
                }
            }
        }
        self.mirror(tx, &spending, Purpose::Update, now).await
    }

    pub(crate) async fn turn_rounds(&self, now: Timestamp) -> Result<Vec<Event>, FleetError> {
        let mut events = Vec::new();
        let open = round::open(&self.db).await?;
        let due = round::due(&self.db, now).await?;
        for round in open.iter().chain(&due) {
            let turned = match round.state {
                RoundState::Opening => self.open_masked_round(round, now).await,
                RoundState::Clearing | RoundState::Gathering => {
                    self.turn_round(round.id, now).await
                }
                RoundState::Closed | RoundState::Abandoned => {
                    self.turn_kept_sums(round.id, now).await
                }
            };
            match turned {
                Ok(more) => events.extend(more),
                Err(FleetError::Store(error)) if error.is_conflict() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(events)
    }

    pub(crate) async fn had_round_lately(
        &self,
        model: ModelId,
        now: Timestamp,
    ) -> Result<bool, FleetError> {
        let lately = |round: &Round| {
            let ended = if round.state == RoundState::Abandoned {
                round.deadline
            } else {
                round.gather_at
            };
            round.model == model && now.ms_since(ended) < self.policy.round.again_after_ms
        };
        Ok(round::list(&self.db, 100).await?.iter().any(lately))
    }

    async fn turn_round(&self, id: RoundId, now: Timestamp) -> Result<Vec<Event>, FleetError> {
        let tx = self.db.begin_audited("turn a round").await?;
        let Some(mut round) = round::get(&tx, id).await? else {
            return Ok(Vec::new());
        };
        if round.state == RoundState::Clearing {
            if now < round.gather_at && self.policy.privacy.mode != Mode::Local {
                return Ok(Vec::new());
            }
            // Who has begun anew is asked for what came since.
            for part in round::contributions(&tx, id).await? {
                round::put_contribution(
                    &tx,
                    &Contribution {
                        whole: false,
                        ..part
                    },
                )
                .await?;
            }
            self.begin_gathering(&tx, &mut round).await?;
            if round.state == RoundState::Abandoned {
                forget(&tx, id).await?;
                let event = self.abandon(&tx, round, now).await?;
                tx.commit().await?;
                return Ok(vec![event]);
            }
            round::put(&tx, &mut round).await?;
            tx.commit().await?;
            return Ok(Vec::new());
        }
        if round.state != RoundState::Gathering {
            // Another server has closed it since it was listed.
            return Ok(Vec::new());
        }
        let parts = round::contributions(&tx, id).await?;
        let policy = &self.policy.round;
        let is_masked = task_of(&round).is_some();
        let (usable, windows) = match is_masked {
            true => (Vec::new(), 0),
            false => self.usable(&parts),
        };
        let (usable_count, enough) = match is_masked {
            true => self.count_masked(&tx, &round).await?,
            false => (
                usable.len() as u32,
                self.is_enough(&round, &usable, windows),
            ),
        };
        let answered: HashSet<DeviceId> = parts
            .iter()
            .filter(|part| part.whole)
            .map(|part| part.device)
            .collect();
        let asked = self.asked(&tx, &round, &parts).await?;
        let everyone = asked.iter().all(|device| answered.contains(device));
        let is_late = now >= round.deadline;
        let may_close = everyone || is_late || now.ms_since(round.gather_at) >= policy.settle_ms;
        if !(enough && may_close || is_late) {
            if round.device_count != answered.len() as u32 {
                round.device_count = answered.len() as u32;
                round::put(&tx, &mut round).await?;
                tx.commit().await?;
            }
            return Ok(Vec::new());
        }
        round.device_count = usable_count;
        let bytes: i64 = parts
            .iter()
            .map(|part| match is_masked {
                true => MaskedGathering::decode(&part.bytes).received,
                false => Gathering::received_bytes(&part.bytes),
            })
            .sum();
        round.detail["bytes"] = json!(bytes);
        if is_masked && enough {
            // From here on the sum is of exactly these: the helper is asked for no other set.
            round::forget_partial(&tx, id).await?;
            round.state = RoundState::Opening;
            round::put(&tx, &mut round).await?;
            tx.commit().await?;
            return self.open_masked_round(&round, now).await;
        }
        if !is_masked {
            round.detail["windows"] = json!(windows);
        }
        let events = match self.sum_of(&usable) {
            Some(sum) if enough => {
                if policy.keep_sums_ms > 0 {
                    round.kept_until = Some(now.plus_ms(policy.keep_sums_ms));
                } else {
                    forget(&tx, id).await?;
                }
                self.close(&tx, &mut round, sum, bytes, now).await?
            }
            _ => {
                forget(&tx, id).await?;
                vec![self.abandon(&tx, round, now).await?]
            }
        };
        tx.commit().await?;
        Ok(events)
    }

    /// The sums that count of what devices have told, by device, and their labelled windows.
    pub(crate) fn usable(&self, parts: &[Contribution]) -> (Vec<Sums>, i64) {
        let least = i64::from(self.policy.round.window_count_min);
        let usable: Vec<Sums> = parts
            .iter()
            .filter(|part| part.whole)
            .filter_map(|part| Sums::decode(&part.bytes))
            .filter(|sums| sums.window_count() >= least)
            .collect();
        let windows = usable.iter().map(Sums::window_count).sum();
        (usable, windows)
    }

    /// Whether they make a sum that may be used.
    pub(crate) fn is_enough(&self, round: &Round, usable: &[Sums], windows: i64) -> bool {
        usable.len() >= round.device_count_min as usize
            && windows >= self.policy.round.total_window_count_min
    }

    /// What they come to; `None` of none.
    pub(crate) fn sum_of(&self, usable: &[Sums]) -> Option<Sum> {
        let policy = &self.policy.round;
        let buckets = policy.bucket_count(usable.len());
        let clipped = clipped_sum(usable, policy.clip, buckets)?;
        Some(Sum::of(clipped, usable.len() as u32))
    }

    /// Ends a round without a sum.
    pub(crate) async fn abandon(
        &self,
        tx: &Tx,
        mut round: Round,
        now: Timestamp,
    ) -> Result<Event, FleetError> {
        round.state = RoundState::Abandoned;
        round::put(tx, &mut round).await?;
        note(tx, now, "fleet", "round.abandon", round.id, &round.detail).await?;
        Ok(Event::RoundAbandoned(round))
    }

    /// Devices whose answer a round still counts on.
    async fn asked(
        &self,
        tx: &Tx,
        round: &Round,
        parts: &[Contribution],
    ) -> Result<Vec<DeviceId>, FleetError> {
        let cleared: HashSet<DeviceId> = parts.iter().map(|part| part.device).collect();
        let all = asks_all_at_once(round);
        let mut asked = self.taking_part(tx, round).await?;
        asked.retain(|device| all || cleared.contains(device));
        Ok(asked)
    }

    /// Devices that a round is about: they run its model, are of its cohort, and have not withdrawn.
    pub(crate) async fn taking_part(
        &self,
        tx: &Tx,
        round: &Round,
    ) -> Result<Vec<DeviceId>, FleetError> {
        let withdrawn = withdrawn(tx).await?;
        let running = presence::running(tx, round.model).await?;
        Ok(running
            .into_iter()
            .filter(|(_, cohort)| round.cohort.as_ref().is_none_or(|name| name == cohort))
            .map(|(device, _)| device)
            .filter(|device| !withdrawn.contains(device))
            .collect())
    }

    /// Keeps the sum as an artifact, and asks the pipeline for a new head.
    pub(crate) async fn close(
        &self,
        tx: &Tx,
        round: &mut Round,
        sum: Sum,
        bytes: i64,
        now: Timestamp,
    ) -> Result<Vec<Event>, FleetError> {
        let window_count = sum.window_count;
        let new = self.keep_sum(tx, round, sum).await?;
        let trigger = trigger::add(tx, &new, now).await?;
        round.state = RoundState::Closed;
        round.detail["trigger"] = json!(trigger.id.0);
        round::put(tx, round).await?;
        // Counts by class are not for a log that nothing is taken out of: devices may leave the sum.
        let mut noted = round.detail.clone();
        if let Some(noted) = noted.as_object_mut() {
            noted.retain(|name, _| !name.starts_with(OF_CLASS));
        }
        note(tx, now, "fleet", "round.close", round.id, &noted).await?;
        let closed = Event::RoundClosed {
            round: round.clone(),
            window_count,
            bytes,
        };
        Ok(vec![closed, Event::Triggered(trigger)])
    }

    /// Keeps the sum as an artifact and notes in the round what it is; what would ask the pipeline for a head from it.
    pub(crate) async fn keep_sum(
        &self,
        tx: &Tx,
        round: &mut Round,
        sum: Sum,
    ) -> Result<NewTrigger, FleetError> {
        let Sum {
            sum,
            buckets,
            parts,
            device_count,
            window_count,
            clipped_count,
            norm_max,
        } = sum;
        let capsule = capsule::get(tx, round.model).await?;
        let (model, version) = capsule.map_or((String::new(), 0), |capsule| {
            (capsule.model, capsule.version)
        });
        // The round's number makes it an artifact of its own, which can be removed.
        let mut artifact = json!({
            "format": "tinyops-statistics", "version": 3, "parts": parts, "model": model, "model_version": version,
            "model_id": round.model.to_string(), "round": round.id.0, "class_count": sum.class_count,
            "width": sum.width, "devices": device_count, "clipped": clipped_count, "windows": window_count,
            "values": sum.values,
        });
        if buckets.len() > 1 {
            artifact["norm_max"] = json!(norm_max.is_finite().then_some(norm_max));
            let bucket = |sums: &Sums| json!({ "values": sums.values });
            artifact["buckets"] = buckets.iter().map(bucket).collect();
        }
        let digest = self.artifacts.put(artifact.to_string().as_bytes()).await?;
        round.statistics = Some(digest);
        round.device_count = device_count;
        round.detail["windows_in_sum"] = json!(window_count);
        if let Some(count) = clipped_count {
            round.detail["clipped"] = json!(count);
            for (class, count) in sum.values.iter().take(sum.class_count).enumerate() {
                round.detail[format!("{OF_CLASS}{class}")] = json!(whole(*count, parts));
            }
        } else {
            round.detail["windows_min"] = json!(window_count);
        }
        let detail = json!({
            "why": round.detail["why"], "repair": round.detail["repair"], "round": round.id.0, "model_id": round.model.to_string(), "version": version,
            "devices": device_count, "labels": window_count, "device_count": device_count,
            "window_count": window_count, "class_count": sum.class_count, "width": sum.width,
        });
        Ok(NewTrigger {
            kind: "resolve-head".to_owned(),
            model,
            payload: Some(digest),
            detail,
        })
    }
}

/// Whether a round asks every device for all that it has, and lets none begin anew first.
pub(crate) fn asks_all_at_once(round: &Round) -> bool {
    round.gather_at <= round.created_at
}

/// Adds one part of an answer to what its device has sent.
async fn take_part(
    tx: &Tx,
    round: &Round,
    observation: &Observation<'_>,
    part: &StatisticsPart<'_>,
) -> Result<(), FleetError> {
    let is_asked = part.shape.round == wire_round(round.id) && task_of(round).is_none();
    let is_late = round.state == RoundState::Closed && round.kept_until.is_some();
    if !(round.state == RoundState::Gathering || is_late) || !is_asked {
        return Ok(());
    }
    if withdrawal::get(tx, observation.device).await?.is_some() {
        tracing::warn!(device = %observation.device, round = %round.id, "statistics of a device that has withdrawn dropped");
        return Ok(());
    }
    let found = round::contribution(tx, round.id, observation.device).await?;
    if is_late && found.is_none() {
        // It has not begun anew.
        return Ok(());
    }
    if found.as_ref().is_some_and(|found| found.whole) {
        return Ok(());
    }
    let mut gathering = Gathering::decode(&found.map(|found| found.bytes).unwrap_or_default());
    gathering.received += observation.byte_count as i64;
    if let Err(problem) = gathering.take(part) {
        tracing::warn!(device = %observation.device, round = %round.id, problem, "statistics dropped");
        gathering.sums = None;
    }
    let contribution = Contribution {
        round: round.id,
        device: observation.device,
        whole: gathering.is_whole(),
        bytes: gathering.encode(),
    };
    round::put_contribution(tx, &contribution).await?;
    if is_late && contribution.whole {
        round::mark_stale(tx, round.id).await?;
    }
    Ok(())
}

/// Notes that a device was told to begin anew.
pub(crate) async fn mark_cleared(
    tx: &Tx,
    round: RoundId,
    device: DeviceId,
) -> Result<(), FleetError> {
    let contribution = Contribution {
        round,
        device,
        bytes: Vec::new(),
        whole: true,
    };
    Ok(round::put_contribution(tx, &contribution).await?)
}

/// Devices by how many windows they labelled, for pages.
pub fn by_device(contributions: &[Contribution]) -> HashMap<DeviceId, i64> {
    let windows = |part: &Contribution| {
        Sums::decode(&part.bytes).map(|sums| (part.device, sums.window_count()))
    };
    contributions.iter().filter_map(windows).collect()
}
