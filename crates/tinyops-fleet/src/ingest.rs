//! Taking in what devices tell: checked, stored once, judged. Nothing that a device sends stops anything.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use tinyops_store::device::{Device, DeviceState};
use tinyops_store::hello::Hello;
use tinyops_store::intake_log::{Group, GroupId};
use tinyops_store::outcome::Outcome;
use tinyops_store::presence::Presence;
use tinyops_store::report::Report;
use tinyops_store::{
    DeviceId, DeviceKey, ModelId, Timestamp, Tx, device, hello, intake_log, outcome, presence,
    report,
};
use tinyops_wire::annotation::Annotation;
use tinyops_wire::block::BlockRequest;
use tinyops_wire::envelope::Direction;
use tinyops_wire::frame::{Outcome as Judged, Reason};
use tinyops_wire::{Envelope, Frame, Sealed};

use crate::annotate;
use crate::fleet::lock;
use crate::intake_log::Entry as Logged;
use crate::masked::PrivacyPolicy;
use crate::watch::Observation;
use crate::{Event, Fleet, FleetError};

/// An envelope as it came.
#[derive(Clone, Copy, Debug)]
pub struct Uplink<'a> {
    /// The device that the connection belongs to; a gateway's carries many and says `None`.
    pub from: Option<DeviceId>,
    /// The bytes.
    pub bytes: &'a [u8],
}

impl Uplink<'_> {
    /// The devices whose rows it takes to judge it.
    pub(crate) fn names(&self) -> impl Iterator<Item = DeviceId> {
        let sender = Sealed::parse(self.bytes).map(|sealed| sealed.device());
        let sender = sender.ok();
        let carrier = self.from.filter(|from| Some(*from) != sender);
        sender.into_iter().chain(carrier)
    }
}

/// What became of an envelope.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Why it was dropped for good; `None` means that it is stored, now or before.
    pub refusal: Option<Refusal>,
    /// Whether this is the device's first refused envelope: say so once, count the rest.
    pub first_offence: bool,
    /// The device that it is from, if it is known.
    pub device: Option<DeviceId>,
    /// Sealed envelopes to send back now (the blocks that it asked for).
    pub down: Vec<Vec<u8>>,
}

impl Verdict {
    pub(crate) fn of(device: DeviceId) -> Verdict {
        Verdict {
            device: Some(device),
            ..Verdict::default()
        }
    }

    pub(crate) fn refused(refusal: Refusal, blamed: Option<DeviceId>) -> Verdict {
        Verdict {
            refusal: Some(refusal),
            device: blamed,
            ..Verdict::default()
        }
    }
}

/// Why an envelope was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// It is not an envelope.
    Envelope,
    /// No such device.
    UnknownDevice,
    /// The device's right to speak was taken away.
    Revoked,
    /// It came over another device's connection.
    OtherDevice,
    /// The device's key did not seal it.
    Tag,
    /// There is no known frame in it.
    Frame,
    /// It says something of one device in the clear, and this fleet takes sums alone.
    Clear,
}

impl Refusal {
    /// Every case; the intake log knows them by their places here, so new ones come last.
    pub(crate) const ALL: [Refusal; 7] = [
        Refusal::Envelope,
        Refusal::UnknownDevice,
        Refusal::Revoked,
        Refusal::OtherDevice,
        Refusal::Tag,
        Refusal::Frame,
        Refusal::Clear,
    ];

    pub(crate) fn code(self) -> u8 {
        let place = Refusal::ALL.iter().position(|refusal| *refusal == self);
        place.map_or(0, |place| place as u8 + 1)
    }

    pub(crate) fn of_code(code: u8) -> Option<Refusal> {
        Refusal::ALL.get(usize::from(code).checked_sub(1)?).copied()
    }

    /// Its name, for logs and metrics.
    pub fn word(self) -> &'static str {
        match self {
            Refusal::Envelope => "envelope",
            Refusal::UnknownDevice => "unknown-device",
            Refusal::Revoked => "revoked",
            Refusal::OtherDevice => "other-device",
            Refusal::Tag => "tag",
            Refusal::Frame => "frame",
            Refusal::Clear => "clear",
        }
    }
}

/// How often a transaction is begun again after another writer got in its way.
pub(crate) const TRIES: u32 = 5;

impl Fleet {
    /// Takes in any number of envelopes in one transaction; one verdict for each, in order.
    ///
    /// When it returns, everything that was not refused is on the disk: acknowledge it. A repeated envelope is
    /// stored once and not judged again; one that comes late, after a newer one, is stored and not judged.
    ///
    /// # Errors
    /// [`FleetError::Store`] only: then nothing was stored, and the devices will send again.
    pub async fn ingest_many(
        &self,
        uplinks: &[Uplink<'_>],
        now: Timestamp,
    ) -> Result<(Vec<Verdict>, Vec<Event>), FleetError> {
        if uplinks.is_empty() {
            return Ok((Vec::new(), Vec::new()));
        }
        self.ingest(&[], uplinks, now).await
    }

    /// Folds groups of the intake log into the records and takes in envelopes after them, in one transaction.
    pub(crate) async fn ingest(
        &self,
        groups: &[Group],
        uplinks: &[Uplink<'_>],
        now: Timestamp,
    ) -> Result<(Vec<Verdict>, Vec<Event>), FleetError> {
        let mut tries = 1;
        loop {
            match self.try_ingest(groups, uplinks, now).await {
                Err(FleetError::Store(error)) if error.is_conflict() && tries < TRIES => tries += 1,
                done => return done,
            }
        }
    }

    async fn try_ingest(
        &self,
        groups: &[Group],
        uplinks: &[Uplink<'_>],
        now: Timestamp,
    ) -> Result<(Vec<Verdict>, Vec<Event>), FleetError> {
        let tx = self.db.begin("ingest").await?;
        let logged = claim(&tx, groups).await?;
        let mut batch = Batch::read(&tx, &logged, uplinks).await?;
        let mut offences = Vec::new();
        for (entry, at) in &logged {
            offences.extend(batch.recall(entry, *at));
        }
        let mut verdicts = Vec::with_capacity(uplinks.len());
        for (index, uplink) in uplinks.iter().enumerate() {
            let verdict = batch.take(index, uplink, &self.policy.privacy, now);
            if let (Some(refusal), true, Some(device)) =
                (verdict.refusal, verdict.first_offence, verdict.device)
            {
                offences.push((refusal, device));
            }
            verdicts.push(verdict);
        }
        let is_new = report::add_many(&tx, &batch.reports).await?;
        for ((report, fresh), is_new) in batch.reports.iter().zip(&batch.reports_fresh).zip(is_new)
        {
            if let Some(stream) = batch.streams.get_mut(&report.device) {
                stream.count_report(is_new, *fresh, report.frame.len());
            }
        }
        self.leave_out_impossible(&tx, &mut batch).await?;
        let outcomes: Vec<Outcome> = batch.outcomes.iter().flat_map(Told::cells).collect();
        outcome::add_many(&tx, &outcomes).await?;
        note_holdings(&tx, &batch.observations, now).await?;
        let mut events = self.judge(&tx, &batch.observations, now).await?;
        events.extend(self.judge_errors(&tx, &batch.observations, now).await?);
        self.gather(&tx, &batch.observations, now).await?;
        let setbacks = self.follow_updates(&tx, &batch.observations, now).await?;
        self.collect(&tx, &batch.observations, now).await?;
        self.answer_requests(&tx, &batch, &mut verdicts).await?;
        self.ask_windows_again(&tx, &batch.observations).await?;
        self.take_annotations(&tx, &batch.annotations, &mut verdicts, now)
            .await?;
        let shadows = batch
            .shadows
            .iter()
            .filter_map(|(index, device, candidate)| {
                let stream = batch.streams.get(device)?;
                Some((*index, &stream.device, *candidate))
            });
        self.answer_shadows(&tx, &shadows.collect::<Vec<_>>(), &mut verdicts)
            .await?;
        let presences: Vec<Presence> = batch
            .streams
            .values()
            .map(|stream| stream.presence.clone())
            .collect();
        presence::put_many(&tx, &presences).await?;
        tx.commit().await?;
        self.remember(setbacks);
        self.tell_anew(&batch.observations);
        for (refusal, device) in offences {
            tracing::warn!(%device, refusal = refusal.word(), "envelope dropped, further ones are only counted");
        }
        Ok((verdicts, events))
    }

    /// Lets devices that greet be told what they are owed at the next turn: what they were told before may have been lost
    /// at their boot, or said in words that they do not take, such as an offer without a statement.
    fn tell_anew(&self, observations: &[Observation<'_>]) {
        let is_greeting =
            |observation: &&Observation<'_>| matches!(observation.frame, Frame::Hello(_));
        let mut greetings = observations.iter().filter(is_greeting).peekable();
        if greetings.peek().is_some() {
            let mut told = lock(&self.told);
            for greeting in greetings {
                told.remove(&greeting.device);
            }
        }
    }

    /// Leaves out outcomes of classes that their models do not have, before anything counts them.
    async fn leave_out_impossible(&self, tx: &Tx, batch: &mut Batch<'_>) -> Result<(), FleetError> {
        let mut class_counts: HashMap<ModelId, usize> = HashMap::new();
        for told in &batch.outcomes {
            if let Entry::Vacant(place) = class_counts.entry(told.model) {
                let baseline = self.baseline(tx, told.model).await?;
                place.insert(baseline.map_or(0, |baseline| baseline.class_prior().len()));
            }
        }
        let is_possible = |model: ModelId, judged: &Judged<'_>| {
            let classes = class_counts.get(&model).copied().unwrap_or(0);
            // A model without classes, or one that is not known here, says nothing of them.
            classes == 0
                || usize::from(judged.class) < classes && judged.counts().count() <= classes
        };
        batch.outcomes.retain(|told| {
            let is_possible = is_possible(told.model, &told.judged);
            if !is_possible {
                tracing::warn!(device = %told.device, class = told.judged.class, "outcome of classes that its model does not have");
            }
            is_possible
        });
        batch
            .observations
            .retain(|observation| match &observation.frame {
                Frame::Outcome(judged) => is_possible(observation.model, judged),
                _ => true,
            });
        Ok(())
    }

    /// Cuts the blocks that devices asked for out of the capsules that they should run.
    async fn answer_requests(
        &self,
        tx: &Tx,
        batch: &Batch<'_>,
        verdicts: &mut [Verdict],
    ) -> Result<(), FleetError> {
        for (index, device, request) in &batch.requests {
            let Some(stream) = batch.streams.get(device) else {
                continue;
            };
            let Some(capsule) = self.capsule_for(tx, *device, request).await? else {
                continue;
            };
            verdicts[*index].down = self
                .seal_blocks(tx, &stream.device, request, &capsule)
                .await?;
        }
        Ok(())
    }
}

/// Notes what devices say that they hold: at a boot, and when a key set came.
async fn note_holdings(
    tx: &Tx,
    observations: &[Observation<'_>],
    now: Timestamp,
) -> Result<(), FleetError> {
    let mut hellos = Vec::new();
    for observation in observations {
        match &observation.frame {
            Frame::Hello(told) => hellos.push(Hello {
                device: observation.device,
                boot_count: told.boot_count,
                arena_bytes: told.arena_bytes,
                slot_bytes: told.slot_bytes,
                key_set: told.trust.map(|trust| trust.key_set),
                features: told.trust.map_or(0, |trust| u32::from(trust.features.0)),
                at: now,
            }),
            Frame::Keys(told) => {
                if told.reason != Reason::None {
                    tracing::warn!(device = %observation.device, reason = told.reason.as_str(), "key set turned away");
                }
                // In the order in which it was told: a hello of the same batch may be before it or after it.
                hello::put_many(tx, &std::mem::take(&mut hellos)).await?;
                hello::put_key_set(tx, observation.device, told.key_set).await?;
            }
            _ => {}
        }
    }
    Ok(hello::put_many(tx, &hellos).await?)
}

/// Removes groups from the intake log; their envelopes and when each came, without those that another process folded.
async fn claim<'a>(
    tx: &Tx,
    groups: &'a [Group],
) -> Result<Vec<(Logged<'a>, Timestamp)>, FleetError> {
    if groups.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<GroupId> = groups.iter().map(|group| group.id).collect();
    let was_there = intake_log::remove_many(tx, &ids).await?;
    let mut logged = Vec::new();
    for (group, was_there) in groups.iter().zip(was_there) {
        let entries = crate::intake_log::read(&group.entries).filter(|_| was_there);
        let entries = entries.into_iter().flatten();
        logged.extend(entries.map(|entry| (entry, group.at)));
    }
    Ok(logged)
}

/// The keys of devices, and whether they may speak.
pub(crate) trait KeyBook {
    fn key(&self, device: DeviceId) -> Option<(&DeviceKey, DeviceState)>;
}

/// Opens an envelope, or says why not and who is known to be to blame.
pub(crate) fn open<'a>(
    keys: &impl KeyBook,
    uplink: &Uplink<'a>,
) -> Result<Envelope<'a>, (Refusal, Option<DeviceId>)> {
    let sealed = Sealed::parse(uplink.bytes).map_err(|_| (Refusal::Envelope, None))?;
    let device = sealed.device();
    if uplink.from.is_some_and(|from| from != device) {
        return Err((Refusal::OtherDevice, uplink.from));
    }
    let (key, state) = keys.key(device).ok_or((Refusal::UnknownDevice, None))?;
    if state != DeviceState::Active {
        return Err((Refusal::Revoked, Some(device)));
    }
    sealed
        .open(key, Direction::Up)
        .map_err(|_| (Refusal::Tag, Some(device)))
}

/// What one batch reads, and what it will write.
struct Batch<'a> {
    streams: HashMap<DeviceId, Stream>,
    reports: Vec<Report<'a>>,
    reports_fresh: Vec<bool>,
    outcomes: Vec<Told<'a>>,
    /// Authentic frames that came in order, with their devices as they were read.
    observations: Vec<Observation<'a>>,
    requests: Vec<(usize, DeviceId, BlockRequest)>,
    /// Candidates that devices say they score windows with.
    shadows: Vec<(usize, DeviceId, ModelId)>,
    /// What devices say of orders for windows.
    annotations: Vec<annotate::Told<'a>>,
}

/// An outcome as a device tells it.
struct Told<'a> {
    device: DeviceId,
    seq: u32,
    model: ModelId,
    judged: Judged<'a>,
    at: Timestamp,
}

impl Told<'_> {
    /// As records keep it, by class predicted; their key is the report's number.
    fn cells(&self) -> impl Iterator<Item = Outcome> {
        let cells = self.judged.counts().zip(0..);
        cells
            .filter(|(count, _)| *count > 0)
            .map(|(count, predicted)| Outcome {
                device: self.device,
                seq: self.seq,
                model: self.model,
                predicted,
                actual: u32::from(self.judged.class),
                window_count: i64::from(count),
                at: self.at,
            })
    }
}

/// One device of a batch.
struct Stream {
    device: Device,
    /// Shared by what the batch observes of it.
    cohort: Arc<str>,
    dither_seed: u64,
    presence: Presence,
}

impl KeyBook for HashMap<DeviceId, Stream> {
    fn key(&self, device: DeviceId) -> Option<(&DeviceKey, DeviceState)> {
        let device = &self.get(&device)?.device;
        Some((&device.key, device.state))
    }
}

impl<'a> Batch<'a> {
    async fn read(
        tx: &Tx,
        logged: &[(Logged<'_>, Timestamp)],
        uplinks: &[Uplink<'_>],
    ) -> Result<Batch<'a>, FleetError> {
        let sender = |(entry, _): &(Logged<'_>, Timestamp)| match entry {
            Logged::Authentic(envelope) => envelope.device,
            Logged::Refused(_, device) => *device,
        };
        let mut ids: Vec<DeviceId> = logged.iter().map(sender).collect();
        ids.extend(uplinks.iter().flat_map(Uplink::names));
        ids.sort_unstable();
        ids.dedup();
        let devices: Vec<Device> = device::get_many(tx, &ids)
            .await?
            .into_iter()
            .flatten()
            .collect();
        let known: Vec<DeviceId> = devices.iter().map(|device| device.id).collect();
        let presences = presence::get_many(tx, &known).await?;
        let stream = |(device, presence): (Device, Presence)| {
            let stream = Stream {
                cohort: device.cohort.as_str().into(),
                dither_seed: device.key.dither_seed(),
                device,
                presence,
            };
            (stream.device.id, stream)
        };
        Ok(Batch {
            streams: devices.into_iter().zip(presences).map(stream).collect(),
            reports: Vec::new(),
            reports_fresh: Vec::new(),
            outcomes: Vec::new(),
            observations: Vec::new(),
            requests: Vec::new(),
            shadows: Vec::new(),
            annotations: Vec::new(),
        })
    }

    /// Notes what an envelope of the intake log says; answers with a first offence.
    fn recall(&mut self, entry: &Logged<'a>, at: Timestamp) -> Option<(Refusal, DeviceId)> {
        match entry {
            Logged::Authentic(envelope) => {
                // Its frame was known when it came, and nobody waits for an answer to it.
                let frame = Frame::decode(envelope.body).ok()?;
                self.note(None, envelope, frame, at);
                None
            }
            Logged::Refused(refusal, device) => {
                let is_first = self.blame(Some(*device));
                is_first.then_some((*refusal, *device))
            }
        }
    }

    /// Checks one envelope and notes what it says.
    fn take(
        &mut self,
        index: usize,
        uplink: &Uplink<'a>,
        privacy: &PrivacyPolicy,
        now: Timestamp,
    ) -> Verdict {
        let (refusal, blamed) = match open(&self.streams, uplink) {
            Ok(envelope) => match Frame::decode(envelope.body) {
                Ok(frame) if privacy.forbids(&frame) => (Refusal::Clear, Some(envelope.device)),
                Ok(frame) => {
                    self.note(Some(index), &envelope, frame, now);
                    return Verdict::of(envelope.device);
                }
                Err(_) => (Refusal::Frame, Some(envelope.device)),
            },
            Err(blamed) => blamed,
        };
        // Whoever sent it, it came in this device's name or over its connection.
        let offender = blamed.or(uplink.from);
        Verdict {
            first_offence: self.blame(offender),
            ..Verdict::refused(refusal, offender)
        }
    }

    /// Counts an envelope that was dropped; whether it is the device's first.
    fn blame(&mut self, offender: Option<DeviceId>) -> bool {
        let stream = offender.and_then(|device| self.streams.get_mut(&device));
        stream.is_some_and(|stream| {
            stream.presence.malformed_count += 1;
            stream.presence.malformed_count == 1
        })
    }

    /// `index` is the place of the verdict that an answer goes with.
    fn note(
        &mut self,
        index: Option<usize>,
        envelope: &Envelope<'a>,
        frame: Frame<'a>,
        now: Timestamp,
    ) {
        let Some(stream) = self.streams.get_mut(&envelope.device) else {
            return;
        };
        let is_boot = matches!(frame, Frame::Hello(_));
        let fresh = stream.presence.follow(envelope, is_boot, now);
        match frame {
            // None is history: blocks are asked for again, statistics live in their round alone, and what is sealed for an
            // annotator in its order.
            Frame::BlockRequest(request) if fresh => {
                let asked = index.map(|index| (index, envelope.device, request));
                self.requests.extend(asked);
            }
            Frame::BlockRequest(_)
            | Frame::Statistics(_)
            | Frame::MaskedPart(_)
            | Frame::Annotation(_)
                if !fresh =>
            {
                stream.presence.duplicate_count += 1
            }
            Frame::BlockRequest(_)
            | Frame::Statistics(_)
            | Frame::MaskedPart(_)
            | Frame::Annotation(_) => {}
            _ => {
                self.reports.push(Report {
                    device: envelope.device,
                    seq: envelope.sequence,
                    model: envelope.model,
                    received_at: now,
                    frame: envelope.body.into(),
                });
                self.reports_fresh.push(fresh);
            }
        }
        if let Frame::Shadow(report) = frame
            && fresh
        {
            let told = index.map(|index| (index, envelope.device, report.model));
            self.shadows.extend(told);
        }
        if let Frame::Annotation(annotation) = frame
            && (fresh || matches!(annotation, Annotation::Part(_)))
        {
            // Parts say where they belong, so that they may overtake each other.
            self.annotations.push(annotate::Told {
                index,
                device: stream.device.clone(),
                model: envelope.model,
                annotation,
            });
        }
        if let Frame::Outcome(judged) = frame {
            // A late one counts, too, and a repeated one once.
            self.outcomes.push(Told {
                device: envelope.device,
                seq: envelope.sequence,
                model: envelope.model,
                judged,
                at: now,
            });
        }
        // Parts under masks name their update themselves, so that they may overtake each other.
        if fresh || matches!(frame, Frame::MaskedPart(_)) {
            self.observations.push(Observation {
                device: envelope.device,
                cohort: stream.cohort.clone(),
                dither_seed: stream.dither_seed,
                model: envelope.model,
                sequence: envelope.sequence,
                byte_count: envelope.body.len(),
                frame,
            });
        }
    }
}

/// Numbers that a device may pass over and that count as messages which are missing: 16 boots pass over so many.
const LEAP: u32 = 4096;

/// What of a presence follows from one envelope or report.
trait Follow {
    fn follow(&mut self, envelope: &Envelope<'_>, is_boot: bool, now: Timestamp) -> bool;
}

impl Follow for Presence {
    /// Notes an authentic envelope; says whether it is newer than all before.
    fn follow(&mut self, envelope: &Envelope<'_>, is_boot: bool, now: Timestamp) -> bool {
        self.last_seen = Some(now);
        if self.last_seq.is_some_and(|last| envelope.sequence <= last) {
            return false;
        }
        // Before the first one, nothing is known to be missing; nor after a boot, since a device passes over the
        // numbers that it had reserved and not used when the power went. A leap is of boots that nobody heard of, or of
        // somebody who makes numbers up: that many messages were not lost on the way.
        let missing = match self.last_seq {
            Some(last) if !is_boot => envelope.sequence - last - 1,
            _ => 0,
        };
        let missing = if missing > LEAP {
            tracing::warn!(device = %envelope.device, sequence = envelope.sequence, passed_over = missing, "a sequence number leaps");
            0
        } else {
            missing
        };
        self.missing_count += i64::from(missing);
        self.last_seq = Some(envelope.sequence);
        self.model = Some(envelope.model);
        true
    }
}

impl Stream {
    fn count_report(&mut self, is_new: bool, fresh: bool, frame_bytes: usize) {
        let presence = &mut self.presence;
        if !is_new {
            presence.duplicate_count += 1;
            return;
        }
        presence.report_count += 1;
        presence.byte_count += (frame_bytes + tinyops_wire::envelope::OVERHEAD) as i64;
        if !fresh {
            presence.missing_count = (presence.missing_count - 1).max(0);
        }
    }
}
