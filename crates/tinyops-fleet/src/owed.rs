//! What devices are owed: an offer of what they should run, a way back, a request for statistics.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tinyops_store::annotation::AnnotationId;
use tinyops_store::capsule::Capsule;
use tinyops_store::device::{Device, DeviceState};
use tinyops_store::hello::Hello;
use tinyops_store::label::{Label, LabelId};
use tinyops_store::presence::Presence;
use tinyops_store::rollout::{Delivery, Member, Rollout, RolloutId, RolloutState};
use tinyops_store::round::{Round, RoundId, RoundState};
use tinyops_store::{
    DeviceId, ModelId, Timestamp, Tx, capsule, device, downlink, hello, label, presence, rollout,
    round,
};
use tinyops_wire::block::BlockRequest;
use tinyops_wire::downlink::{
    Block, Command, KeySetPart, Label as WindowsLabel, MaskedRequest, Offer, Restandardize,
    StatisticsRequest, What, When,
};
use tinyops_wire::envelope::{Direction, OVERHEAD};
use tinyops_wire::frame::Features;
use tinyops_wire::mask::{TASK_BYTES, Task};
use tinyops_wire::masked::Content;
use tinyops_wire::statement::STATEMENT_BYTES_MAX;
use tinyops_wire::{Downlink, Envelope, Statement};

use crate::fleet::{CACHED_MAX, lock};
use crate::kept_sums::withdrawn;
use crate::masked::mark_told;
use crate::masked_round::task_of;
use crate::plan::Plan;
use crate::round::{asks_all_at_once, mark_cleared, wire_round};
use crate::{Fleet, FleetError, Verdict};

/// How devices are told what they are owed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OwedPolicy {
    /// How long after telling a connected device it is told the same again.
    pub again_after_ms: i64,
    /// How many more envelopes a device may send, those that a boot passes over among them (256 at most), before a
    /// statement that it has not taken up is void.
    pub statement_uplinks: u32,
    /// Most bytes of one part of a key set.
    pub key_set_part_bytes: u16,
}

impl Default for OwedPolicy {
    fn default() -> OwedPolicy {
        OwedPolicy {
            again_after_ms: 15 * 60_000,
            statement_uplinks: 4096,
            key_set_part_bytes: 400,
        }
    }
}

/// To whom a rollout's offers are told now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Offers {
    /// To nobody: it is held, or halted.
    None,
    /// To those that have begun: it is no time for others.
    ToBegun,
    ToAll,
}

impl Offers {
    fn of(rollout: &Rollout, now: Timestamp) -> Result<Offers, FleetError> {
        let is_open = Plan::of_record(&rollout.plan)?.windows.is_open(now);
        Ok(match rollout.state {
            RolloutState::Running | RolloutState::Done if is_open => Offers::ToAll,
            RolloutState::Running | RolloutState::Done => Offers::ToBegun,
            RolloutState::Paused | RolloutState::Halted => Offers::None,
        })
    }
}

/// One thing that a device should be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Debt {
    /// The key set with this number; nothing else is told before the device has it.
    KeySet(u32),
    /// The capsule, to be fetched and kept.
    Hold(ModelId),
    /// The capsule, to be fetched and kept, and to score so many windows beside what runs.
    Shadow(ModelId, u16),
    Offer(ModelId),
    Revert,
    Forget(RoundId),
    /// Features are to be moved back to training: sixteenths, and windows to learn from.
    Restandardize(u8, u16),
    /// Whether a head of its own is wanted.
    OwnHead(bool),
    Statistics {
        round: RoundId,
        frame_bytes: u16,
    },
    /// The same under masks, by a task.
    MaskedStatistics {
        task: [u8; TASK_BYTES],
        frame_bytes: u16,
    },
    /// How reports under masks are made.
    Task([u8; TASK_BYTES]),
    /// An order for windows.
    Collect(AnnotationId),
    /// Bytes of what it has chosen.
    Parts(AnnotationId),
    /// What someone knows of its newest windows.
    Label {
        id: LabelId,
        class: u8,
        windows: u16,
    },
}

/// What a device was told, and when.
pub(crate) type Told = Vec<(Debt, Timestamp)>;

/// Forgets of what a device was told all that it may be told again at once.
pub(crate) fn keep_costly(told: &mut Told) {
    told.retain(|(debt, _)| debt.is_costly());
}

impl Debt {
    /// Whether being told it again costs a device of its privacy budget.
    fn is_costly(&self) -> bool {
        matches!(self, Debt::MaskedStatistics { .. })
    }
}

impl Fleet {
    /// Sealed envelopes for one device, as it connects or asks: told anew, whatever it was told before, but for what
    /// it would pay for a second time.
    ///
    /// # Errors
    /// [`FleetError::NoDevice`] if it is not registered, or revoked.
    pub async fn owed(&self, id: DeviceId, now: Timestamp) -> Result<Vec<Vec<u8>>, FleetError> {
        // But what costs the device something it is not told again before its time.
        if let Some(told) = lock(&self.told).get_mut(&id) {
            keep_costly(told);
        }
        let told = self.owed_many(&[id], now).await?;
        if told.is_empty() {
            let device = device::get(&self.db, id).await?;
            let is_active = device.is_some_and(|device| device.state == DeviceState::Active);
            return if is_active {
                Ok(Vec::new())
            } else {
                Err(FleetError::NoDevice(id))
            };
        }
        Ok(told
            .into_iter()
            .flat_map(|(_, envelopes)| envelopes)
            .collect())
    }

    /// Sealed envelopes for those of `connected` that are owed something they were not told lately.
    ///
    /// One or two reads when nobody is owed anything.
    pub async fn owed_many(
        &self,
        connected: &[DeviceId],
        now: Timestamp,
    ) -> Result<Vec<(DeviceId, Vec<Vec<u8>>)>, FleetError> {
        let mut debts = self.debts(connected, now).await?;
        {
            let mut told = lock(&self.told);
            debts.retain_mut(|(device, debts)| {
                let told = told.entry(*device).or_default();
                told.retain(|(debt, at)| {
                    debts.contains(debt) && now.ms_since(*at) < self.policy.owed.again_after_ms
                });
                // Each by itself: one that is new is no reason to tell the others again.
                debts.retain(|debt| told.iter().all(|(before, _)| before != debt));
                told.extend(debts.iter().map(|debt| (*debt, now)));
                !debts.is_empty()
            });
        }
        if debts.is_empty() {
            return Ok(Vec::new());
        }
        let tx = self.db.begin("tell devices what they are owed").await?;
        let ids: Vec<DeviceId> = debts.iter().map(|(device, _)| *device).collect();
        let devices = device::get_many(&tx, &ids).await?;
        let mut owed = Vec::new();
        for ((id, debts), device) in debts.into_iter().zip(devices) {
            let Some(device) = device.filter(|device| device.state == DeviceState::Active) else {
                continue;
            };
            let mut sealed = Vec::new();
            for debt in debts {
                if let Debt::Label { id, .. } = debt
                    && !label::mark_told(&tx, id, now).await?
                {
                    // Another server was faster, and once is enough.
                    continue;
                }
                sealed.extend(self.seal_debt(&tx, &device, debt).await?);
                match debt {
                    Debt::Forget(round) => mark_cleared(&tx, round, id).await?,
                    Debt::Task(task) => mark_told(&tx, id, &task, now).await?,
                    _ => {}
                }
            }
            owed.push((id, sealed));
        }
        tx.commit().await?;
        Ok(owed)
    }

    /// What each of `connected` is owed, by the records alone: by its own, where it is one.
    async fn debts(
        &self,
        connected: &[DeviceId],
        now: Timestamp,
    ) -> Result<Vec<(DeviceId, Vec<Debt>)>, FleetError> {
        let wanted: HashSet<DeviceId> = connected.iter().copied().collect();
        let of = match connected {
            [one] => Some(*one),
            _ => None,
        };
        let mut debts: HashMap<DeviceId, Vec<Debt>> = HashMap::new();
        let mut offering = HashMap::new();
        for member in rollout::outstanding(&self.db, of).await? {
            if !wanted.contains(&member.device) {
                continue;
            }
            let offers = match offering.get(&member.rollout) {
                Some(offers) => *offers,
                None => {
                    let rollout = rollout::get(&self.db, member.rollout).await?;
                    let offers = rollout
                        .as_ref()
                        .map_or(Ok(Offers::None), |rollout| Offers::of(rollout, now))?;
                    offering.insert(member.rollout, offers);
                    offers
                }
            };
            if let Some(debt) = self.debt_of(&member, offers).await? {
                debts.entry(member.device).or_default().push(debt);
            }
        }
        for round in round::open(&self.db).await? {
            if round.state == RoundState::Opening {
                continue;
            }
            let frame_bytes = self.policy.round.frame_bytes;
            let asked = match task_of(&round) {
                Some(task) => Debt::MaskedStatistics {
                    task: task.encode(),
                    frame_bytes,
                },
                None => Debt::Statistics {
                    round: round.id,
                    frame_bytes,
                },
            };
            for device in self.unanswered(&round, of).await? {
                if wanted.contains(&device) {
                    let debt = match round.state {
                        RoundState::Clearing => Debt::Forget(round.id),
                        _ => asked,
                    };
                    debts.entry(device).or_default().push(debt);
                }
            }
        }
        for (round, device) in self.late(of, now).await? {
            if wanted.contains(&device) {
                let frame_bytes = self.policy.round.frame_bytes;
                let asked = Debt::Statistics { round, frame_bytes };
                debts.entry(device).or_default().push(asked);
            }
        }
        for (device, asked) in self.to_restandardize(of, now).await? {
            if wanted.contains(&device) {
                let debt = Debt::Restandardize(asked.sixteenths, asked.windows);
                debts.entry(device).or_default().push(debt);
            }
        }
        for device in self.to_ask_for_own_heads(of).await? {
            if wanted.contains(&device) {
                let debt = Debt::OwnHead(self.policy.own_heads);
                debts.entry(device).or_default().push(debt);
            }
        }
        for (device, task) in self.tasks_owed(of, now).await? {
            if wanted.contains(&device) {
                debts.entry(device).or_default().push(Debt::Task(task));
            }
        }
        for (device, debt) in self.annotation_debts(of, now).await? {
            if wanted.contains(&device) {
                debts.entry(device).or_default().push(debt);
            }
        }
        for Label { id, said, .. } in label::untold(&self.db, of, now).await? {
            if wanted.contains(&said.device) {
                let debt = Debt::Label {
                    id,
                    class: said.class,
                    windows: said.windows,
                };
                debts.entry(said.device).or_default().push(debt);
            }
        }
        if let Some(keys) = self.keys() {
            let sequence = keys.trust.keys.sequence;
            for device in hello::behind(&self.db, sequence, of).await? {
                if wanted.contains(&device) {
                    debts.insert(device, vec![Debt::KeySet(sequence)]);
                }
            }
        }
        let mut debts: Vec<(DeviceId, Vec<Debt>)> = debts.into_iter().collect();
        debts.sort_unstable_by_key(|(device, _)| *device);
        Ok(debts)
    }

    async fn debt_of(&self, member: &Member, offers: Offers) -> Result<Option<Debt>, FleetError> {
        Ok(match (member.delivery, member.target) {
            (Delivery::Recalled, _) => {
                // Only what this rollout brought is taken back; a device that went on to something else is let be.
                let bad = capsule_of(member);
                let running = presence::get(&self.db, member.device)
                    .await?
                    .and_then(|presence| presence.model);
                (running.is_some() && running == bad).then_some(Debt::Revert)
            }
            // It is told until it says that it scores.
            (Delivery::Shadowing, _) if offers != Offers::None => {
                let shadow = &member.detail["shadow"];
                let windows = shadow["wanted"].as_u64().unwrap_or(0) as u16;
                let is_scoring = shadow["since"].is_i64();
                capsule_of(member)
                    .filter(|_| !is_scoring && windows > 0)
                    .map(|capsule| Debt::Shadow(capsule, windows))
            }
            // One that cannot keep it is told when it may install it.
            (Delivery::Fetching, Some(target)) if offers != Offers::None => {
                let hello = hello::get(&self.db, member.device).await?;
                hello
                    .is_some_and(|hello| {
                        Features(hello.features as u16)
                            .has(Features::STATEMENTS.with(Features::HOLDS))
                    })
                    .then_some(Debt::Hold(target))
            }
            (Delivery::Taken | Delivery::Confirmed, Some(target)) if offers != Offers::None => {
                Some(Debt::Offer(target))
            }
            (Delivery::Offered | Delivery::Silent, Some(target)) if offers == Offers::ToAll => {
                Some(Debt::Offer(target))
            }
            _ => None,
        })
    }

    /// The active devices that run a model, with their cohorts: one device, if it does, or all.
    pub(crate) async fn running(
        &self,
        model: ModelId,
        of: Option<DeviceId>,
    ) -> Result<Vec<(DeviceId, String)>, FleetError> {
        Ok(match of {
            Some(device) => {
                let found = presence::is_running(&self.db, model, device).await?;
                found.into_iter().collect()
            }
            None => presence::running(&self.db, model).await?,
        })
    }

    /// Devices that run a round's model and have not done their part: one device, if it has not, or all.
    async fn unanswered(
        &self,
        round: &Round,
        of: Option<DeviceId>,
    ) -> Result<Vec<DeviceId>, FleetError> {
        let contributors: HashMap<DeviceId, bool> = match of {
            Some(device) => {
                let part = round::contribution(&self.db, round.id, device).await?;
                part.map(|part| (device, part.whole)).into_iter().collect()
            }
            None => {
                let all = round::contributors(&self.db, round.id).await?;
                all.into_iter().collect()
            }
        };
        let running = self.running(round.model, of).await?;
        let asked = running
            .into_iter()
            .filter(|(_, cohort)| round.cohort.as_ref().is_none_or(|name| name == cohort));
        // One that was never cleared would answer with the world as it was.
        let may_answer = |device: &DeviceId| match round.state {
            RoundState::Gathering => contributors.contains_key(device) || asks_all_at_once(round),
            _ => true,
        };
        let withdrawn = withdrawn(&self.db).await?;
        Ok(asked
            .map(|(device, _)| device)
            .filter(|device| contributors.get(device) != Some(&true) && may_answer(device))
            .filter(|device| !withdrawn.contains(device))
            .collect())
    }

    /// Devices that have begun anew for a round which has closed without them, and may still join it.
    async fn late(
        &self,
        of: Option<DeviceId>,
        now: Timestamp,
    ) -> Result<Vec<(RoundId, DeviceId)>, FleetError> {
        let mut late = Vec::new();
        for round in round::latest_kept(&self.db).await? {
            if now.ms_since(round.gather_at) >= self.policy.round.late_ms {
                continue;
            }
            let owing = round::owing(&self.db, round.id).await?;
            if owing.is_empty() {
                continue;
            }
            let running = self.running(round.model, of).await?;
            let running: HashSet<DeviceId> =
                running.into_iter().map(|(device, _)| device).collect();
            let owing = owing.into_iter().filter(|device| running.contains(device));
            late.extend(owing.map(|device| (round.id, device)));
        }
        Ok(late)
    }

    /// The capsule that a device asks blocks of, if it is one that it was ever to run.
    pub(crate) async fn capsule_for(
        &self,
        tx: &Tx,
        device: DeviceId,
        request: &BlockRequest,
    ) -> Result<Option<Arc<[u8]>>, FleetError> {
        let cached = lock(&self.capsules)
            .iter()
            .find(|(digest, _)| request.is_of(digest))
            .map(|(_, bytes)| bytes.clone());
        if cached.is_some() {
            return Ok(cached);
        }
        if let Some(delta) = self.delta_asked(request) {
            return Ok(Some(delta));
        }
        let hello = hello::get(tx, device).await?;
        for member in rollout::of_device(tx, device).await? {
            let shadowed = capsule_of(&member).filter(|_| member.delivery == Delivery::Shadowing);
            let Some(target) = member.target.or(shadowed) else {
                continue;
            };
            let Some(row) = capsule::get(tx, target).await? else {
                continue;
            };
            if request.is_of(&row.digest) {
                let bytes: Arc<[u8]> = self.artifacts.get(&row.digest).await?.into();
                let mut capsules = lock(&self.capsules);
                if capsules.len() >= CACHED_MAX {
                    capsules.clear();
                }
                capsules.insert(row.digest, bytes.clone());
                return Ok(Some(bytes));
            }
            // One that was offered before this server began is made again, of the same bytes.
            if let Some(hello) = &hello {
                let delta = self.delta_for(tx, hello, &row).await?;
                if let Some(delta) = delta.filter(|delta| request.is_of(&delta.digest)) {
                    self.note_delta(device, &row.digest);
                    return Ok(Some(delta.bytes));
                }
            }
        }
        Ok(None)
    }

    /// What a debt comes to, sealed: nothing if it can no longer be paid.
    async fn seal_debt(
        &self,
        tx: &Tx,
        device: &Device,
        debt: Debt,
    ) -> Result<Vec<Vec<u8>>, FleetError> {
        let message = match debt {
            Debt::KeySet(_) => return self.seal_key_set(tx, device).await,
            Debt::Offer(target) | Debt::Hold(target) | Debt::Shadow(target, _) => {
                let when = match debt {
                    Debt::Hold(_) => When::Later,
                    Debt::Shadow(_, windows) => When::Shadow { windows },
                    _ => When::AtOnce,
                };
                return match capsule::get(tx, target).await? {
                    Some(capsule) => self.seal_offer(tx, device, &capsule, when).await,
                    None => Ok(Vec::new()),
                };
            }
            Debt::Revert => Downlink::Command(Command::Revert),
            Debt::Forget(_) => Downlink::Command(Command::Forget),
            Debt::Restandardize(sixteenths, windows) => Downlink::Restandardize(Restandardize {
                sixteenths,
                windows,
            }),
            Debt::OwnHead(is_wanted) => Downlink::OwnHead(is_wanted),
            Debt::Task(task) => match Task::decode(&task) {
                Some(task) => Downlink::Task(task),
                None => return Ok(Vec::new()),
            },
            Debt::Label { windows: 0, .. } => Downlink::Command(Command::DropOwnHead),
            Debt::Collect(_) | Debt::Parts(_) => match self.annotation_message(tx, debt).await? {
                Some(message) => message,
                None => return Ok(Vec::new()),
            },
            Debt::Label { class, windows, .. } => Downlink::Label(WindowsLabel {
                class,
                windows_back: windows,
            }),
            Debt::MaskedStatistics { task, frame_bytes } => match Task::decode(&task) {
                Some(task) => Downlink::MaskedRequest(MaskedRequest {
                    task,
                    content: Content::Gram,
                    frame_bytes,
                    forget: false,
                }),
                None => return Ok(Vec::new()),
            },
            Debt::Statistics { round, frame_bytes } => {
                Downlink::StatisticsRequest(StatisticsRequest {
                    round: wire_round(round),
                    frame_bytes,
                    forget: false,
                })
            }
        };
        seal(tx, device, &[message]).await
    }

    /// An offer, with a statement for a device that asks for one.
    ///
    /// The statement's counter is the number of the envelope that it goes in: both rise with every one for this
    /// device, and are used once even after a crash.
    async fn seal_offer(
        &self,
        tx: &Tx,
        device: &Device,
        capsule: &Capsule,
        when: When,
    ) -> Result<Vec<Vec<u8>>, FleetError> {
        let offer = Offer {
            what: What::Capsule,
            digest: capsule.digest,
            bytes: capsule.bytes,
            when: When::AtOnce,
            statement: None,
        };
        let asks = |hello: &Hello| Features(hello.features as u16).has(Features::STATEMENTS);
        let Some(hello) = hello::get(tx, device.id).await?.filter(asks) else {
            return seal(tx, device, &[Downlink::Offer(offer)]).await;
        };
        let Some(keys) = self.keys() else {
            tracing::warn!(device = %device.id, "it wants a statement and this server has no director key");
            return Ok(Vec::new());
        };
        let last_seq = presence::get(tx, device.id)
            .await?
            .and_then(|presence| presence.last_seq);
        let counter = downlink::reserve_many(tx, &[(device.id, 1)]).await?[0];
        let statement = Statement {
            device: device.id,
            manifest: capsule.manifest_digest,
            counter,
            last_uplink: last_seq
                .unwrap_or(0)
                .saturating_add(self.policy.owed.statement_uplinks),
        };
        let mut signed = [0; STATEMENT_BYTES_MAX];
        let len = statement.encode_with(|message| keys.director.sign(message), &mut signed)?;
        let mut offer = Offer {
            when,
            statement: Some(&signed[..len]),
            ..offer
        };
        if let Some(delta) = self.delta_for(tx, &hello, capsule).await? {
            self.note_delta(device.id, &capsule.digest);
            offer.what = What::Delta;
            offer.digest = delta.digest;
            offer.bytes = delta.bytes.len() as u32;
        }
        Ok(vec![seal_as(device, counter, &Downlink::Offer(offer))])
    }

    /// Tells devices to let go of candidates that they score windows with and that nobody wants any more. They are told
    /// whenever they say so, so that one that misses it once is told again.
    pub(crate) async fn answer_shadows(
        &self,
        tx: &Tx,
        shadows: &[(usize, &Device, ModelId)],
        verdicts: &mut [Verdict],
    ) -> Result<(), FleetError> {
        let devices: Vec<DeviceId> = shadows.iter().map(|(_, device, _)| device.id).collect();
        let memberships = rollout::of_devices(tx, &devices).await?;
        let mut halted: HashMap<RolloutId, bool> = HashMap::new();
        for ((index, device, candidate), members) in shadows.iter().zip(memberships) {
            let mut is_wanted = false;
            for member in members {
                let is_of_it = capsule_of(&member) == Some(*candidate);
                if is_wanted || !is_of_it || member.delivery == Delivery::Left {
                    continue;
                }
                let is_halted = match halted.entry(member.rollout) {
                    Entry::Occupied(known) => *known.get(),
                    Entry::Vacant(place) => {
                        let rollout = rollout::get(tx, member.rollout).await?;
                        let goes_on = |rollout: &Rollout| rollout.state != RolloutState::Halted;
                        *place.insert(!rollout.as_ref().is_some_and(goes_on))
                    }
                };
                is_wanted = !is_halted;
            }
            if !is_wanted {
                let drop = [Downlink::Command(Command::Drop)];
                verdicts[*index].down.extend(seal(tx, device, &drop).await?);
            }
        }
        Ok(())
    }

    async fn seal_key_set(&self, tx: &Tx, device: &Device) -> Result<Vec<Vec<u8>>, FleetError> {
        let Some(keys) = self.keys() else {
            return Ok(Vec::new());
        };
        let signed = &keys.trust.signed;
        let part_bytes = usize::from(self.policy.owed.key_set_part_bytes.max(1));
        let part = |(index, bytes)| {
            Downlink::KeySetPart(KeySetPart {
                sequence: keys.trust.keys.sequence,
                total: signed.len() as u16,
                offset: (index * part_bytes) as u16,
                bytes,
            })
        };
        let parts: Vec<Downlink<'_>> = signed.chunks(part_bytes).enumerate().map(part).collect();
        seal(tx, device, &parts).await
    }

    pub(crate) async fn seal_blocks(
        &self,
        tx: &Tx,
        device: &Device,
        request: &BlockRequest,
        capsule: &[u8],
    ) -> Result<Vec<Vec<u8>>, FleetError> {
        let block = |(offset, bytes)| {
            Downlink::Block(Block {
                digest: request.digest,
                offset,
                bytes,
            })
        };
        let blocks: Vec<Downlink<'_>> = request.cut(capsule).map(block).collect();
        seal(tx, device, &blocks).await
    }
}

/// Seals messages with the device's next numbers.
pub(crate) async fn seal(
    tx: &Tx,
    device: &Device,
    messages: &[Downlink<'_>],
) -> Result<Vec<Vec<u8>>, FleetError> {
    if messages.is_empty() {
        return Ok(Vec::new());
    }
    let firsts = downlink::reserve_many(tx, &[(device.id, messages.len() as u32)]).await?;
    let sealed = (firsts[0]..).zip(messages);
    Ok(sealed
        .map(|(sequence, message)| seal_as(device, sequence, message))
        .collect())
}

/// Seals a message under a number that was reserved for it.
fn seal_as(device: &Device, sequence: u32, message: &Downlink<'_>) -> Vec<u8> {
    let room = match message {
        Downlink::Block(block) => block.bytes.len(),
        Downlink::KeySetPart(part) => part.bytes.len(),
        Downlink::Offer(offer) => offer.statement.unwrap_or_default().len(),
        _ => 0,
    };
    let mut body = vec![0; room + 64];
    let len = message.encode(&mut body).expect("64 bytes hold every head");
    let body = &body[..len];
    let envelope = Envelope {
        direction: Direction::Down,
        device: device.id,
        model: ModelId(0),
        sequence,
        body,
    };
    let mut out = vec![0; len + OVERHEAD];
    envelope
        .seal(&device.key, &mut out)
        .expect("the room is the body's and the overhead");
    out
}

/// The capsule that a rollout brings to a device.
fn capsule_of(member: &Member) -> Option<ModelId> {
    member.detail["capsule"].as_str()?.parse().ok()
}

/// What a device runs, as far as it is known.
#[must_use]
pub fn running(presence: Option<&Presence>) -> Option<ModelId> {
    presence
        .and_then(|presence| presence.model)
        .filter(|model| *model != ModelId(0))
}
