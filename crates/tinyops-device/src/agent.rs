//! The agent's state machine: an event in, an action out.

use tinyops_sketch::Observation;
use tinyops_wire::ModelId;
use tinyops_wire::block::blocks_joined;
use tinyops_wire::downlink::{Command, Downlink, Label, StatisticsRequest};
use tinyops_wire::envelope::{Direction, Sealed};
use tinyops_wire::frame::{Alarm, Flags, Keys, Reason, Update, UpdateState};
use tinyops_wire::mask::Task;
use tinyops_wire::masked::WINDOWS_MIN;

use crate::adapt::Adapting;
use crate::annotate::{Annotating, Seen};
use crate::flash::Flash;
use crate::install::Transfer;
use crate::journal::Place;
use crate::labels::{Judged, Ring, forget_sums};
use crate::masked::Telling;
use crate::memory::{Lent, Memory};
use crate::model::{Prediction, Refusal, Workspace};
use crate::monitor::Monitor;
use crate::own_head::OwnHead;
use crate::port::{Action, Counters, Event};
use crate::running::{Authority, Running, claimed};
use crate::settings::{Config, Privacy};
use crate::shadow::Shadow;
use crate::slots::Slots;
use crate::trust::{InForce, Inbox};

/// Offers without a statement that are answered with a hello after a boot; further ones are refused.
const HELLOS: u8 = 4;

/// A device: flash, memory and a model, moved on by [`Agent::step`].
#[derive(Clone)]
pub struct Agent<F, M> {
    pub(crate) config: Config,
    pub(crate) memory: M,
    pub(crate) slots: Slots<F>,
    pub(crate) in_force: InForce,
    pub(crate) inbox: Inbox,
    pub(crate) running: Option<Running>,
    /// A candidate that scores windows beside it.
    pub(crate) shadow: Option<Shadow>,
    /// Whether the newest step that scored a window was the candidate's.
    is_shadow_newest: bool,
    /// Windows that a capsule on trial has yet to score.
    pub(crate) trial_left: Option<u32>,
    pub(crate) monitor: Monitor,
    pub(crate) ring: Ring,
    pub(crate) adapting: Adapting,
    pub(crate) own: OwnHead,
    pub(crate) annotating: Annotating,
    pub(crate) transfer: Option<Transfer>,
    /// Blocks that the link carries in one.
    pub(crate) joined: u16,
    /// Offers without a statement that are still answered with a hello.
    pub(crate) hellos_left: u8,
    /// Readings in the window being filled.
    filled: usize,
    /// Readings to let pass before the next window begins.
    skip: usize,
    pub(crate) reported_at_ms: u64,
    /// How reports under masks are to be made, once it has been told.
    pub(crate) task: Option<Task>,
    /// Until when the ledger has let time pass.
    pub(crate) ledger_at_ms: u64,
    pub(crate) pending: Pending,
    pub(crate) sequence: u32,
    pub(crate) counters: Counters,
}

/// What is to be done, in this order; each kind at most once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pending {
    pub(crate) update: Option<Update>,
    pub(crate) keys: Option<Keys>,
    pub(crate) hello: bool,
    pub(crate) alarm: Option<Alarm>,
    pub(crate) outcome: Option<Judged>,
    pub(crate) report: bool,
    pub(crate) shadow: bool,
    pub(crate) statistics: Option<(StatisticsRequest, u8)>,
    pub(crate) masked: Option<Telling>,
    /// Waits while statistics are being told, so that all their parts are of one state.
    pub(crate) label: Option<Label>,
    pub(crate) reboot: bool,
}

impl<F: Flash, M: Memory> Agent<F, M> {
    /// A device that has not booted; everything but [`Event::Boot`] leaves it idle.
    ///
    /// # Panics
    /// If the block size is not whole write units, or the flash or the outbox is too small.
    pub fn new(config: Config, flash: F, mut memory: M) -> Agent<F, M> {
        assert!(
            config.block_bytes > 0 && usize::from(config.block_bytes).is_multiple_of(F::WRITE_SIZE),
            "a block is whole write units"
        );
        assert!(
            memory.lend().outbox.len() >= crate::memory::OUTBOX_BYTES_MIN,
            "the outbox holds a report"
        );
        let slots = Slots::new(flash);
        Agent {
            sequence: u32::MAX,
            in_force: InForce::Keys(config.keys),
            inbox: Inbox::new(),
            config,
            memory,
            slots,
            running: None,
            shadow: None,
            is_shadow_newest: false,
            trial_left: None,
            monitor: Monitor::new(),
            ring: Ring::default(),
            adapting: Adapting::default(),
            own: OwnHead::default(),
            annotating: Annotating::default(),
            transfer: None,
            joined: 1,
            hellos_left: HELLOS,
            filled: 0,
            skip: 0,
            reported_at_ms: 0,
            task: None,
            ledger_at_ms: 0,
            pending: Pending::default(),
            counters: Counters::default(),
        }
    }

    /// Moves on: takes one event and answers with one action.
    ///
    /// Unless the answer is [`Action::Idle`] more may be left to do: hand in [`Event::Tick`] until it is.
    /// `now_ms` is any clock that does not run backwards; only differences count.
    pub fn step(&mut self, now_ms: u64, event: Event<'_>) -> Action<'_> {
        let scored = match event {
            Event::Boot => {
                self.boot(now_ms);
                None
            }
            Event::Tick => None,
            Event::Reading(reading) => self.reading(reading).map(Action::Predict),
            Event::Window(window) => self.score(Some(window)).map(Action::Predict),
            Event::Rescore(window) => self.rescore(window).map(Action::Shadow),
            Event::Downlink(bytes) => {
                self.downlink(bytes, now_ms);
                None
            }
            Event::Block { offset, bytes } => {
                self.block(None, (offset, bytes), now_ms);
                None
            }
            Event::Label(label) => {
                self.label(label);
                None
            }
            Event::DropOwnHead => {
                self.drop_own_head();
                None
            }
            Event::Entropy(entropy) => {
                self.entropy(entropy, now_ms);
                None
            }
            Event::Measured(measured) => {
                match &mut self.shadow {
                    Some(shadow) if self.is_shadow_newest => shadow.costs.push(&measured),
                    // What a candidate cost that has just been let go is nobody's.
                    None if self.is_shadow_newest => {}
                    _ => self.monitor.costs.push(&measured),
                }
                None
            }
        };
        self.check_report(now_ms);
        match scored {
            Some(action) => {
                self.is_shadow_newest = matches!(action, Action::Shadow(_));
                action
            }
            None => self.next_action(now_ms),
        }
    }

    /// Tells the agent what its link carries now: bytes of a capsule in one message.
    ///
    /// Blocks are asked for in multiples of the configured size that fit; a transfer under way goes on where it was.
    /// Without this, one block goes in one message.
    pub fn set_link_room(&mut self, room: usize) {
        self.joined = blocks_joined(room, self.config.block_bytes);
        if let Some(transfer) = &mut self.transfer {
            transfer.ask_again();
        }
    }

    /// The newest number of a downlink that it has taken; a link that sends fewer bits of it needs to know.
    pub fn downlink_seen(&self) -> u32 {
        self.slots.downlink_seen
    }

    /// The model that runs.
    pub fn model(&self) -> Option<ModelId> {
        self.running.as_ref().map(|running| running.model)
    }

    /// Whether the model that runs has yet to prove itself.
    pub fn is_on_trial(&self) -> bool {
        self.trial_left.is_some()
    }

    /// Whether a capsule waits in its slot, whole and checked, until it is offered to be installed.
    pub fn is_holding(&self) -> bool {
        self.slots.record().held.is_some()
    }

    /// The name of a class of the model that runs.
    pub fn class_name(&self, class: u8) -> Option<&str> {
        let running = self.running.as_ref()?;
        running.name(self.slots.capsule(running.place), class)
    }

    /// What has happened since the boot.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// The flash, for a simulator that wants to look at it or to cut its power.
    pub fn flash_mut(&mut self) -> &mut F {
        self.slots.flash_mut()
    }

    /// The memory, for a driver that paints it to see how much of it is used.
    pub fn memory_mut(&mut self) -> &mut M {
        &mut self.memory
    }

    /// Takes the agent apart: what is left of a device whose memory is gone.
    pub fn into_flash(self) -> F {
        self.slots.into_flash()
    }
}

impl<F: Flash, M: Memory> Agent<F, M> {
    fn boot(&mut self, now_ms: u64) {
        self.wake(now_ms);
        let blocks = self.memory.lend().blocks;
        let is_complete = self
            .transfer
            .is_some_and(|transfer| transfer.is_complete(blocks));
        if is_complete {
            self.finish_transfer();
        }
    }

    /// A boot up to a transfer that is whole; apart, so that its stack is not under that of checking one.
    #[inline(never)]
    fn wake(&mut self, now_ms: u64) {
        let begun = self.slots.begin_boot(self.config.first_uplink);
        self.sequence = begun.sequence;
        self.in_force = InForce::of(&self.slots, &self.config);
        self.inbox = Inbox::new();
        self.running = None;
        self.shadow = None;
        self.is_shadow_newest = false;
        self.trial_left = None;
        self.hellos_left = HELLOS;
        self.monitor = Monitor::new();
        self.forget_sums();
        (self.filled, self.skip) = (0, 0);
        self.reported_at_ms = now_ms;
        self.task = None;
        self.ledger_at_ms = now_ms;
        self.pending = Pending {
            hello: true,
            ..Pending::default()
        };
        self.counters = Counters::default();
        if let Some(place) = begun.gave_up {
            self.pending.update = Some(self.reverted(place, Refusal::of(Reason::Tries)));
        }
        if let Some(place) = begun.gave_up_shadow {
            self.pending.update = Some(self.let_go(place, Refusal::of(Reason::Tries)));
        }
        if let Some(place) = begun.trial {
            match self.run_trial(place) {
                Ok(()) => self.confirm_if_proven(),
                Err(refusal) => self.revert_trial(refusal),
            }
        }
        if self.running.is_none() {
            self.run_confirmed();
        }
        self.resume_adapting();
        self.resume_own_head();
        self.annotating.begin_boot(self.memory.lend().chosen);
        if begun.may_shadow {
            self.resume_shadow();
        }
        let blocks = self.memory.lend().blocks;
        self.transfer = Transfer::resume(&self.slots, blocks, self.config.block_bytes);
    }

    /// Runs what is on trial, golden vectors first.
    #[inline(never)]
    fn run_trial(&mut self, place: Place) -> Result<(), Refusal> {
        let digest = self.slots.digest_prefix(place).unwrap_or_default();
        let bytes = self.slots.capsule(place).len() as u32;
        let mut found = None;
        self.check_new(place, bytes, digest, true, &mut found)?;
        self.running = found;
        self.trial_left = Some(self.config.trial_windows);
        Ok(())
    }

    /// Runs the active capsule, or what is left if flash has lost it.
    fn run_confirmed(&mut self) {
        let active = self.slots.record().active;
        match self.run_from(active) {
            Ok(()) => {}
            // A new device without a factory's capsule waits for its first.
            Err(_) if self.slots.capsule(active).is_empty() && active == Place::Factory => {}
            Err(refusal) => {
                self.pending.update = Some(self.reverted(active, refusal));
                for place in self.slots.fallbacks().into_iter().flatten() {
                    if self.running.is_none() {
                        // Of what is left, the first that is whole.
                        let _ = self.run_from(place);
                    }
                }
            }
        }
    }

    #[inline(never)]
    fn run_from(&mut self, place: Place) -> Result<(), Refusal> {
        let mut found = None;
        self.check_confirmed(place, &mut found)?;
        self.running = found;
        Ok(())
    }

    /// Checks what has run before. A capsule whose key was taken back since goes on running, for a device with an old
    /// model is better than one with none; the factory's is as good as the firmware, whose own keys it is held to.
    fn check_confirmed(
        &mut self,
        place: Place,
        found: &mut Option<Running>,
    ) -> Result<(), Refusal> {
        let keys = match (place, self.in_force) {
            (Place::Factory, _) => InForce::Keys(self.config.keys),
            (_, in_force) => in_force,
        };
        let mut workspace = workspace(self.memory.lend());
        let capsule = self.slots.capsule(place);
        // The bytes that were checked when they were installed: a signature is worth millions of instructions, a digest
        // tells as much.
        let authority = if self.slots.is_installed(place, self.in_force.name()) {
            Authority::Installed
        } else {
            self.counters.signatures += 1;
            Authority::Release(keys.release(), keys.sequence())
        };
        Running::check(
            capsule,
            place,
            authority,
            &self.config,
            &mut workspace,
            false,
            found,
        )
    }

    /// Checks what has not run before: release key and director, golden vectors if they are asked for, and that it is no
    /// step back.
    ///
    /// What it finds it leaves in `found`, which counts if the answer is that it may run.
    ///
    /// The newest confirmed capsule itself may come again, under the number that it had: flash may have lost it. Bytes
    /// whose signatures were checked when they were installed, by the keys that count now, are spared them here.
    #[inline(never)]
    pub(crate) fn check_new(
        &mut self,
        place: Place,
        bytes: u32,
        digest: [u8; 8],
        with_golden: bool,
        found: &mut Option<Running>,
    ) -> Result<(), Refusal> {
        let is_installed = self.slots.is_installed(place, self.in_force.name());
        let authority = if is_installed {
            Authority::Installed
        } else {
            self.counters.signatures += 1;
            Authority::Release(self.in_force.release(), self.in_force.sequence())
        };
        let mut workspace = workspace(self.memory.lend());
        let bytes = self.slots.block(place, 0, bytes);
        Running::check(
            bytes.ok_or(Refusal::of(Reason::Flash))?,
            place,
            authority,
            &self.config,
            &mut workspace,
            with_golden,
            found,
        )?;
        let Some(running) = found.as_ref() else {
            return Err(Refusal::of(Reason::Malformed));
        };
        self.check_stated(place, &running.manifest, is_installed)?;
        let record = self.slots.record();
        let newest = record.confirmed_sequence;
        let is_newest = running.sequence == newest && digest == record.confirmed_digest;
        if running.sequence > newest || is_newest {
            Ok(())
        } else {
            Err(Refusal {
                reason: Reason::Rollback,
                detail: newest,
            })
        }
    }

    fn revert_trial(&mut self, refusal: Refusal) {
        let Some(place) = self.slots.record().trial else {
            return;
        };
        self.pending.update = Some(self.reverted(place, refusal));
        // If this cannot be written the tries run out instead.
        let _ = self.slots.revert_trial(place, refusal);
    }

    /// That the device goes back from a capsule, named as it says itself: nobody has vouched for its bytes.
    fn reverted(&self, place: Place, refusal: Refusal) -> Update {
        let (model, sequence) = claimed(self.slots.capsule(place));
        Update {
            model,
            sequence,
            ..ended(UpdateState::Reverted, refusal)
        }
    }

    fn confirm_if_proven(&mut self) {
        let (Some(0), Some(running)) = (self.trial_left, &self.running) else {
            return;
        };
        if self.pending.reboot {
            // It is to be checked again first: it was told to go, or whom the device believes has changed.
            return;
        }
        // If the journal cannot be written now, the next window tries again.
        if self.slots.confirm(running.place, running.sequence).is_ok() {
            self.trial_left = None;
            self.pending.update = Some(succeeded(UpdateState::Confirmed, running));
        }
    }

    fn reading(&mut self, reading: &[f32]) -> Option<Prediction> {
        let front_end = self.running.as_ref()?.parts.front_end;
        let (channel_count, reading_count) = (
            usize::from(front_end.channel_count),
            front_end.reading_count(),
        );
        if self.filled >= reading_count {
            self.begin_window(channel_count, reading_count);
        }
        if self.skip > 0 {
            self.skip -= 1;
            return None;
        }
        let lent = self.memory.lend();
        let window = lent.window.get_mut(..reading_count)?;
        let place = window.get_mut(self.filled..self.filled + channel_count)?;
        if reading.len() != channel_count {
            self.counters.unreadable += 1;
            return None;
        }
        place.copy_from_slice(reading);
        self.filled += channel_count;
        if self.filled < reading_count {
            return None;
        }
        self.score(None)
    }

    /// Begins the next window with what it shares with the one before, which a candidate has needed until now.
    fn begin_window(&mut self, channel_count: usize, reading_count: usize) {
        let hop = match self.config.hop {
            0 => reading_count,
            hop => hop as usize * channel_count,
        };
        self.memory
            .lend()
            .window
            .copy_within(hop.min(reading_count)..reading_count, 0);
        self.filled = reading_count.saturating_sub(hop);
        self.skip = hop.saturating_sub(reading_count) / channel_count;
        if let Some(shadow) = &mut self.shadow {
            shadow.forget_due();
        }
    }

    /// Scores a window from the caller, or the agent's own that has just been filled.
    fn score(&mut self, window: Option<&[f32]>) -> Option<Prediction> {
        // What is proven and could not be written may be unreadable by now: that is the next boot's to find.
        self.confirm_if_proven();
        if let Some(shadow) = &mut self.shadow {
            shadow.forget_due();
        }
        let running = self.running.as_ref()?;
        let scorer = running.parts.scorer(self.slots.capsule(running.place))?;
        let Lent {
            mut arena,
            window: own,
            features,
            scratch,
            ring,
            statistics,
            moments,
            own_head,
            chosen,
            ..
        } = self.memory.lend();
        let reading_count = running.parts.front_end.reading_count();
        let is_own = window.is_none();
        let window = match window {
            Some(window) => window,
            None => own.get(..reading_count)?,
        };
        let features = features.get_mut(..running.parts.front_end.feature_count())?;
        if scorer.extract(window, features, scratch).is_err() {
            self.counters.unreadable += 1;
            self.monitor.flags = self.monitor.flags.with(Flags::NOT_FINITE);
            return None;
        }
        if self.adapting.pass(features, &scorer.scaler, moments) {
            // Embeddings and reports from here on are of other features.
            forget_sums(&mut self.ring, statistics, &mut self.pending);
            self.monitor.begin_anew();
        }
        if self.adapting.is_in_force() {
            self.monitor.flags = self.monitor.flags.with(Flags::RESTANDARDIZED);
        }
        let baseline = &running.baseline;
        let observation = Observation::of(baseline, features);
        let installed = scorer.answer(features, &mut arena)?;
        let embedding = scorer.embedding(&arena).unwrap_or_default();
        let (is_own_head, is_new) = self.own.begin_window(self.adapting.mark());
        if is_new {
            // What was normal was so of other answers.
            self.monitor.begin_anew();
        }
        let own =
            is_own_head.then(|| OwnHead::answer(own_head, running.labels, embedding, &scorer));
        let answer = own.flatten().unwrap_or(installed);
        if is_own_head {
            self.monitor.flags = self.monitor.flags.with(Flags::OWN_HEAD);
        }
        let output = answer.output();
        let mut observation = observation.with_output(baseline, output);
        // Of what the network itself says: a head of the device's own leaves its embeddings as they are.
        let distance = installed.class().and_then(|class| {
            running.embedding_distance(self.slots.capsule(running.place), class, embedding)
        });
        if let Some(distance) = distance {
            observation = observation.with_embedding(baseline, distance);
        }
        let alarm = self
            .monitor
            .push(baseline, &observation, output, answer.class());
        // Under masks or noise no device tells of itself that it has moved.
        if let (Some(alarm), Privacy::Plain) = (alarm, &self.config.privacy) {
            self.pending.alarm = Some(alarm);
        }
        // A candidate, and labels, are about the model as it was released.
        if let Some(class) = installed.class() {
            self.ring.push(ring, class, embedding);
        }
        let model = running.model;
        let seen = Seen {
            model,
            window,
            channel_count: scorer.front_end.channel_count,
            rate_hz: scorer.front_end.rate_hz,
            features,
            embedding,
            answer,
        };
        self.annotating.see(chosen, &seen);
        if let Some(shadow) = &mut self.shadow {
            shadow.note(installed, is_own);
        }
        self.counters.windows += 1;
        if let Some(left) = &mut self.trial_left {
            *left = left.saturating_sub(u32::from(output.is_finite()));
        }
        self.confirm_if_proven();
        Some(Prediction {
            model,
            answer,
            is_own_head,
        })
    }

    fn check_report(&mut self, now_ms: u64) {
        let reporting = &self.config.reporting;
        let windows = self.monitor.sketch.count;
        let enough = match self.config.privacy {
            Privacy::Plain => reporting.every_windows,
            // Of fewer nothing is told: they would be due again at once, for ever.
            Privacy::Masked(_) | Privacy::Local(_) => {
                reporting.every_windows.max(WINDOWS_MIN as u32)
            }
        };
        let is_full = reporting.every_windows > 0 && windows >= enough;
        let age_ms = now_ms.saturating_sub(self.reported_at_ms);
        if is_full || (reporting.every_ms > 0 && age_ms >= reporting.every_ms) {
            self.pending.report = true;
        }
    }

    #[inline(never)]
    fn downlink(&mut self, bytes: &[u8], now_ms: u64) {
        let config = &self.config;
        let opened =
            Sealed::parse(bytes).and_then(|sealed| sealed.open(&config.key, Direction::Down));
        let envelope = match opened {
            Ok(envelope) if envelope.device == config.device => envelope,
            _ => {
                self.counters.malformed += 1;
                return;
            }
        };
        let Ok(message) = Downlink::decode(envelope.body) else {
            self.counters.malformed += 1;
            return;
        };
        // A block that comes again does no harm, and many may share the moment of their sending.
        if let Downlink::Block(block) = message {
            self.block(Some(block.digest), (block.offset, block.bytes), now_ms);
            return;
        }
        // So is a part of a key set, whose own number rises.
        if let Downlink::KeySetPart(part) = message {
            self.key_set_part(&part);
            return;
        }
        if envelope.sequence <= self.slots.downlink_seen {
            self.counters.replayed += 1;
            return;
        }
        self.slots.downlink_seen = envelope.sequence;
        // An offer or a pace may come twice, and an order to move features or to solve a head is written when it changes
        // anything; whatever else comes must not come twice, not even across a reset.
        let is_idempotent = matches!(
            message,
            Downlink::Offer(_)
                | Downlink::ReportEvery { .. }
                | Downlink::Task(_)
                | Downlink::Restandardize(_)
                | Downlink::OwnHead(_)
                | Downlink::PartRequest(_)
        );
        if !is_idempotent && self.slots.write(|_| {}).is_err() {
            return;
        }
        match message {
            Downlink::Offer(offer) => self.offer(offer),
            Downlink::StatisticsRequest(request) => match self.config.privacy {
                Privacy::Plain => self.pending.statistics = Some((request, 0)),
                Privacy::Masked(_) | Privacy::Local(_) => self.counters.refused += 1,
            },
            Downlink::Task(task) => self.take_task(task),
            Downlink::MaskedRequest(request) => self.take_masked_request(&request, now_ms),
            Downlink::Label(label) => self.label(label),
            Downlink::Restandardize(asked) => self.restandardize(asked),
            Downlink::OwnHead(is_wanted) => self.ask_own_head(is_wanted),
            Downlink::Collect(asked) => self.collect(asked, now_ms),
            Downlink::PartRequest(asked) => self.part_request(asked),
            Downlink::Command(command) => self.command(command),
            Downlink::ReportEvery { windows } => {
                self.config.reporting.every_windows = windows;
                self.check_report(now_ms);
            }
            // Messages of a later version say nothing to this one.
            _ => self.counters.malformed += 1,
        }
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::ReportNow => self.pending.report = true,
            Command::Reboot => self.pending.reboot = true,
            Command::Revert => self.revert_on_command(),
            Command::Forget => {
                self.forget_sums();
                if let Some(shadow) = &mut self.shadow {
                    shadow.forget_recent();
                }
            }
            Command::Drop => self.drop_held(),
            Command::DropOwnHead => self.drop_own_head(),
            _ => self.counters.malformed += 1,
        }
    }

    fn revert_on_command(&mut self) {
        let refusal = Refusal::of(Reason::Commanded);
        if self.trial_left.is_some() {
            self.revert_trial(refusal);
            self.pending.reboot = true;
            return;
        }
        let (Some(place), Some(running)) = (self.slots.fallback(), &self.running) else {
            return;
        };
        let update = Update {
            model: running.model,
            sequence: running.sequence,
            ..ended(UpdateState::Reverted, refusal)
        };
        match self.slots.go_back(place, refusal) {
            Ok(()) => {
                self.pending.update = Some(update);
                self.pending.reboot = true;
            }
            Err(refusal) => self.pending.update = Some(ended(UpdateState::Refused, refusal)),
        }
    }
}

fn workspace(lent: Lent<'_>) -> Workspace<'_> {
    let Lent {
        arena,
        window,
        features,
        scratch,
        ..
    } = lent;
    Workspace {
        arena,
        window,
        features,
        scratch,
    }
}

pub(crate) fn succeeded(state: UpdateState, running: &Running) -> Update {
    Update {
        state,
        reason: Reason::None,
        model: running.model,
        sequence: running.sequence,
        detail: 0,
    }
}

/// An update of a capsule whose model is not known.
pub(crate) fn ended(state: UpdateState, refusal: Refusal) -> Update {
    let Refusal { reason, detail } = refusal;
    Update {
        state,
        reason,
        model: ModelId::default(),
        sequence: 0,
        detail,
    }
}
