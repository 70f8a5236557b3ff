//! A device whose flash goes wrong, its server, and what must hold at every step.

use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

use tinyops_device::{Action, Agent, Event, Prediction};
use tinyops_wire::downlink::{Command, Offer, What, When};
use tinyops_wire::envelope::{Direction, Sealed};
use tinyops_wire::frame::{Frame, Reason, UpdateState};
use tinyops_wire::{Digest, Downlink, ModelId};

use crate::fixture::{Buffers, WINDOW, downlink, key};

use super::flash::{Faulty, Watchdog};
use super::schedule::Fault;
use super::story::{Cast, Ending, Role, Story};

/// Rounds of offers after which a device that has not got there never will.
const ROUNDS_MAX: u32 = 40;

/// The windows of the stories.
const READINGS: [f32; WINDOW] = [0.0, 1.5, 0.0, 0.0];

/// Resets that a capsule waits through before it may be installed.
const WAITS: u32 = 2;

/// How far a story has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The server wants the story's capsule on the device, or off it.
    Deliver,
    /// What was refused is offered again, and once more.
    Again(u32),
    /// A good capsule must still go in.
    Rescue,
    /// After a last reset: it runs what it should, and will not go back.
    Final(u32),
    Done,
}

/// A block on its way.
#[derive(Clone, Copy, Debug)]
struct OnTheWay {
    role: Role,
    start: usize,
    end: usize,
}

/// A device, its server, and the link between them, one event at a time.
#[derive(Clone)]
pub(crate) struct World<F> {
    agent: Option<Agent<F, Buffers>>,
    cast: Arc<Cast>,
    story: Story,
    stage: Stage,
    line: u32,
    rounds: u32,
    now_ms: u64,
    downlink_sequence: u32,
    uplink_sequence: Option<u32>,
    blocks: Vec<OnTheWay>,
    is_busy: bool,
    /// Whether a candidate is to score the window that came last.
    wants_window: bool,
    /// Why the device has turned something away, in this stage.
    heard: Vec<Reason>,
    downloads: u32,
    /// Whether anything has ever been confirmed, or came with the firmware.
    has_model: bool,
    trial_boots: u32,
    /// Whether the device has said that the story's capsule waits in its slot.
    is_held: bool,
    /// Windows that it has been handed since its last reset.
    windows: u32,
    /// Resets that it has waited through.
    waits: u32,
    /// Whether the server has said that what waits may be installed.
    may_install: bool,
    is_mended: bool,
    pub(crate) boots: u32,
    /// Tells all that happens, for a person to read.
    pub(crate) log: Option<String>,
    told: usize,
}

impl<F: Faulty> World<F> {
    /// A device as it is when the story begins: its past is lived through without a fault.
    pub(crate) fn begin(story: Story, cast: &Arc<Cast>) -> Result<World<F>, String> {
        let factory = match story.factory {
            Some(role) => cast.capsule(role).to_vec(),
            None => Vec::new(),
        };
        let mut world = World {
            agent: Some(Agent::new(
                cast.config.clone(),
                F::blank(cast.slot_bytes(F::ERASE_SIZE), factory),
                Buffers::default(),
            )),
            cast: Arc::clone(cast),
            story,
            stage: Stage::Deliver,
            line: 0,
            rounds: 0,
            now_ms: 0,
            downlink_sequence: 0,
            uplink_sequence: None,
            blocks: Vec::new(),
            is_busy: false,
            wants_window: false,
            heard: Vec::new(),
            downloads: 0,
            has_model: story.factory.is_some(),
            trial_boots: 0,
            is_held: false,
            windows: 0,
            waits: 0,
            may_install: false,
            is_mended: false,
            boots: 0,
            log: None,
            told: 0,
        };
        world.flash().set_tripwire(cast.capsule(Role::Endless));
        world.restart()?;
        for &role in story.past {
            world.story = Story {
                desired: role,
                ending: Ending::Runs,
                as_delta: false,
                when: When::AtOnce,
                has_sensor: true,
                ..story
            };
            for _ in 0..ROUNDS_MAX {
                world.line = 0;
                while world.line < 4 || world.is_busy || !world.blocks.is_empty() {
                    world.turn_inner()?;
                }
                if world.runs(role) {
                    break;
                }
            }
            if !world.runs(role) {
                return Err(format!("the past of `{}` does not come true", story.name));
            }
            world.has_model = true;
        }
        world.story = story;
        (world.line, world.rounds) = (0, 0);
        Ok(world)
    }

    pub(crate) fn flash(&mut self) -> &mut F {
        self.agent.as_mut().expect("always there").flash_mut()
    }

    pub(crate) fn arm(&mut self, faults: &[Fault]) {
        self.flash().arm(faults);
    }

    pub(crate) fn is_done(&self) -> bool {
        self.stage == Stage::Done
    }

    /// Whether the faults of a schedule can still strike.
    pub(crate) fn is_delivering(&self) -> bool {
        self.stage == Stage::Deliver
    }

    /// Hands the device one event, or takes the story on.
    ///
    /// # Errors
    /// What should have held and did not.
    pub(crate) fn turn(&mut self) -> Result<(), String> {
        self.turn_inner()?;
        if self.line >= 4 && !self.is_busy && self.blocks.is_empty() {
            self.end_round()?;
        }
        Ok(())
    }

    fn turn_inner(&mut self) -> Result<(), String> {
        if !self.flash().has_power() {
            return self.restart();
        }
        if self.is_busy {
            return match std::mem::take(&mut self.wants_window) {
                true => self.step(Event::Rescore(&READINGS)),
                false => self.step(Event::Tick),
            };
        }
        if let Some(block) = self.blocks.pop() {
            let cast = Arc::clone(&self.cast);
            let event = Event::Block {
                offset: block.start as u32,
                bytes: &cast.capsule(block.role)[block.start..block.end],
            };
            return self.step(event);
        }
        self.line += 1;
        match self.line {
            1 => self.talk(),
            2 => {
                self.now_ms += 10_000;
                self.step(Event::Tick)
            }
            _ if self.stage == Stage::Deliver && !self.story.has_sensor => {
                // Its watchdog bites before a window is full.
                self.flash().cut();
                Ok(())
            }
            _ => {
                self.windows += 1;
                self.step(Event::Window(&READINGS))
            }
        }
    }

    /// What the server says at the beginning of a round.
    fn talk(&mut self) -> Result<(), String> {
        let role = match self.stage {
            Stage::Deliver => self.story.desired,
            Stage::Again(_) => self.story.desired,
            Stage::Rescue => Role::Rescue,
            Stage::Final(_) => Role::Older,
            Stage::Done => return Ok(()),
        };
        let is_revert = self.story.ending == Ending::Commanded && self.stage == Stage::Deliver;
        if is_revert {
            if self.model() == Some(self.cast.model(role)) {
                return self.say(&Downlink::Command(Command::Revert));
            }
            return Ok(());
        }
        let waits = self.story.when.is_later() && self.stage == Stage::Deliver;
        // Without a sensor it never shows what it can, and is told the same again.
        let is_enough = self.is_held && self.story.has_sensor;
        let when = match waits && !is_enough {
            true => self.story.when,
            false => When::AtOnce,
        };
        if waits && is_enough {
            if self.waits < WAITS {
                if self.windows < self.cast.config.trial_windows {
                    // A fault has just reset it; these resets come on top.
                    return Ok(());
                }
                self.waits += 1;
                self.flash().cut();
                return Ok(());
            }
            self.may_install = true;
        }
        let statement = self.cast.statement(role, self.downlink_sequence + 1);
        // A device that says that it cannot take the delta, or does not run what it is made against, is
        // offered the whole.
        let is_refused = |reason: &Reason| {
            matches!(
                reason,
                Reason::DeltaBase | Reason::Delta | Reason::SlotTooSmall
            )
        };
        let as_delta = self.story.as_delta
            && role == self.story.desired
            && self.model() == Some(self.cast.model(Role::Old))
            && !self.heard.iter().any(is_refused);
        let (what, package) = if as_delta {
            (What::Delta, Role::Delta)
        } else {
            (What::Capsule, role)
        };
        let offer = Offer {
            what,
            digest: *self.cast.digest(package),
            bytes: self.cast.capsule(package).len() as u32,
            when,
            statement: Some(&statement),
        };
        self.say(&Downlink::Offer(offer))
    }

    fn say(&mut self, message: &Downlink<'_>) -> Result<(), String> {
        self.downlink_sequence += 1;
        let bytes = downlink(message, self.downlink_sequence);
        self.step(Event::Downlink(&bytes))
    }

    /// Takes what memory held away, and boots.
    fn restart(&mut self) -> Result<(), String> {
        let mut flash = self.agent.take().expect("always there").into_flash();
        flash.power_up();
        self.agent = Some(Agent::new(
            self.cast.config.clone(),
            flash,
            Buffers::default(),
        ));
        self.blocks.clear();
        self.windows = 0;
        self.step(Event::Boot)?;
        self.boots += 1;
        let agent = self.agent.as_ref().expect("just put there");
        if agent.is_on_trial() {
            self.trial_boots += 1;
            let faults = self.flash().struck().len() as u32;
            let most = u32::from(self.cast.config.tries) + faults;
            if self.trial_boots > most {
                return Err(format!("boot {} of a trial of {most}", self.trial_boots));
            }
        }
        Ok(())
    }

    fn step(&mut self, event: Event<'_>) -> Result<(), String> {
        let told = format_event(&event, self.log.is_some());
        let now_ms = self.now_ms;
        let agent = self.agent.as_mut().expect("always there");
        // The memory of a device that its watchdog has reset is never looked at again.
        let stepped = catch_unwind(AssertUnwindSafe(|| own(agent.step(now_ms, event))));
        let action = stepped.unwrap_or_else(|cause| {
            if !cause.is::<Watchdog>() {
                resume_unwind(cause);
            }
            self.flash().cut();
            Owned::Idle
        });
        self.tell(told, &action);
        if let Some(offset) = self.flash().misused() {
            return Err(format!("the word at {offset:#x} is written over another"));
        }
        if !self.flash().has_power() {
            // Whatever it was about to do next, it did not.
            (self.is_busy, self.wants_window) = (false, false);
            return Ok(());
        }
        self.is_busy = !matches!(action, Owned::Idle);
        self.check_model()?;
        match action {
            Owned::Idle => Ok(()),
            Owned::Reboot => {
                self.is_busy = false;
                self.restart()
            }
            Owned::Predict(prediction) => self.check_prediction(prediction),
            Owned::Rescore => {
                self.wants_window = true;
                Ok(())
            }
            Owned::Shadow(prediction) => {
                let is_candidate = prediction.model == self.cast.model(self.story.desired);
                if !is_candidate || !matches!(self.story.when, When::Shadow { .. }) {
                    return Err(format!("{prediction:?} is nobody's that it was told of"));
                }
                self.check_prediction(prediction)
            }
            Owned::Send(bytes) => self.receive(&bytes),
            Owned::Fetch(digest, offsets, block_bytes) => {
                if let Some(role) = self.cast.role_of(&digest) {
                    let len = self.cast.capsule(role).len();
                    let blocks = offsets.into_iter().rev().map(|start| OnTheWay {
                        role,
                        start: start as usize,
                        end: len.min(start as usize + block_bytes),
                    });
                    self.blocks = blocks.filter(|block| block.start < block.end).collect();
                }
                Ok(())
            }
        }
    }

    fn model(&self) -> Option<ModelId> {
        self.agent.as_ref().and_then(Agent::model)
    }

    fn runs(&self, role: Role) -> bool {
        let is_on_trial = self.agent.as_ref().is_some_and(Agent::is_on_trial);
        self.model() == Some(self.cast.model(role)) && !is_on_trial
    }

    fn has_rotted(&mut self) -> bool {
        let struck = self.flash().struck();
        struck.iter().any(|struck| struck.fault.kind.is_rot())
    }

    /// It runs a model that was signed and passed its golden vectors; none at all only if there is none.
    fn check_model(&mut self) -> Result<(), String> {
        let is_early =
            self.story.when.is_later() && self.stage == Stage::Deliver && !self.may_install;
        match self.model() {
            Some(model) if is_early && model == self.cast.model(self.story.desired) => {
                Err("it tries what it was to keep".to_owned())
            }
            Some(model) => match self.cast.role_of_model(model) {
                Some(role) if self.cast.may_run(role) => Ok(()),
                Some(role) => Err(format!("it runs {role:?}")),
                None => Err(format!("it runs a model that nobody made: {model:?}")),
            },
            None if !self.has_model => Ok(()),
            None if self.story.factory.is_none() && self.has_rotted() => Ok(()),
            None => Err("it runs nothing".to_owned()),
        }
    }

    /// It answers as that model does, to the bit, unless bits have changed since it was checked.
    fn check_prediction(&mut self, prediction: Prediction) -> Result<(), String> {
        let role = self.cast.role_of_model(prediction.model);
        let expected = role.map(|role| self.cast.class(role));
        // What changes under a capsule that runs is found at the next boot.
        if prediction.answer.class() == expected || self.flash().has_decayed() {
            return Ok(());
        }
        Err(format!("{role:?} answers {:?}", prediction.answer))
    }

    fn receive(&mut self, bytes: &[u8]) -> Result<(), String> {
        let sealed = Sealed::parse(bytes).map_err(|error| error.to_string())?;
        let envelope = sealed
            .open(&key(), Direction::Up)
            .map_err(|error| error.to_string())?;
        if self.uplink_sequence >= Some(envelope.sequence) {
            return Err(format!(
                "sequence number {} follows {:?}",
                envelope.sequence, self.uplink_sequence
            ));
        }
        self.uplink_sequence = Some(envelope.sequence);
        if let Ok(Frame::Update(update)) = Frame::decode(envelope.body) {
            if update.state == UpdateState::Downloading {
                self.downloads += 1;
                self.trial_boots = 0;
            }
            // Flash that has lost the newest record may bring an old trial back, whose end says nothing of this one.
            let is_of_another = self
                .cast
                .role_of_model(update.model)
                .is_some_and(|role| role == Role::Old && self.story.desired != role);
            let is_end = matches!(update.state, UpdateState::Refused | UpdateState::Reverted);
            if is_end && !is_of_another {
                self.heard.push(update.reason);
                self.is_held = false;
            }
            self.is_held |= update.state == UpdateState::Held;
        }
        Ok(())
    }

    fn end_round(&mut self) -> Result<(), String> {
        (self.line, self.rounds) = (0, self.rounds + 1);
        if self.rounds > ROUNDS_MAX {
            return Err(format!("no end in sight of {:?}", self.stage));
        }
        let desired = self.story.desired;
        match (self.stage, self.story.ending) {
            (Stage::Deliver, Ending::Runs) if self.runs(desired) => {
                self.go_on(Stage::Final(0));
                self.flash().cut();
            }
            (Stage::Deliver, Ending::Refused(reason)) if self.heard.contains(&reason) => {
                self.go_on(Stage::Again(0));
            }
            (Stage::Deliver, Ending::Commanded)
                if self.model() != Some(self.cast.model(desired)) =>
            {
                // If flash has lost the capsule, or that it was sent away, it may come again.
                let is_lost = self.has_rotted();
                self.go_on(if is_lost {
                    Stage::Rescue
                } else {
                    Stage::Again(0)
                });
            }
            (Stage::Again(0), _) => {
                self.go_on(Stage::Again(1));
            }
            (Stage::Again(_), ending) => {
                let reason = match ending {
                    Ending::Refused(reason) => reason,
                    _ => Reason::Commanded,
                };
                if self.downloads > 0 {
                    return Err("it fetches again what it has refused".to_owned());
                }
                if !self.heard.contains(&reason) {
                    return Err(format!("it answers {:?}", self.heard));
                }
                self.go_on(Stage::Rescue);
            }
            (Stage::Rescue, _) if self.runs(Role::Rescue) => {
                self.go_on(Stage::Final(0));
                self.flash().cut();
            }
            (Stage::Final(round), ending) => {
                let last = match ending {
                    Ending::Runs => desired,
                    _ => Role::Rescue,
                };
                if !self.runs(last) && !self.is_mended && !self.flash().struck().is_empty() {
                    // What was struck read as it should and has faded since: the device runs another
                    // capsule, and takes this one anew.
                    self.is_mended = true;
                    self.go_on(match ending {
                        Ending::Runs => Stage::Deliver,
                        _ => Stage::Rescue,
                    });
                    return Ok(());
                }
                if !self.runs(last) {
                    return Err(format!("after a reset it does not run {last:?}"));
                }
                if self.heard.contains(&Reason::Rollback) {
                    self.stage = Stage::Done;
                } else if round > 0 {
                    return Err(format!("to an old capsule it says {:?}", self.heard));
                } else {
                    self.go_on(Stage::Final(1));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn go_on(&mut self, stage: Stage) {
        self.stage = stage;
        self.rounds = 0;
        // What had been heard of the same refusal under faults may not count.
        if stage != Stage::Final(1) {
            self.heard.clear();
        }
        self.downloads = 0;
        self.flash().arm(&[]);
    }

    fn tell(&mut self, event: String, action: &Owned) {
        let Some(mut log) = self.log.take() else {
            return;
        };
        let told = self.told;
        for struck in &self.flash().struck()[told..] {
            let _ = writeln!(log, "    ! {struck}");
        }
        self.told = self.flash().struck().len();
        let operations = self.flash().operations();
        let model = self
            .model()
            .and_then(|model| self.cast.role_of_model(model));
        let power = if self.flash().has_power() {
            ""
        } else {
            ", and the power is off"
        };
        let action = action.in_words();
        let _ = writeln!(
            log,
            "  {:?}, {operations:5} operations, runs {model:?}: {event} -> {action}{power}",
            self.stage
        );
        self.log = Some(log);
    }
}

fn format_event(event: &Event<'_>, is_wanted: bool) -> String {
    if !is_wanted {
        return String::new();
    }
    match event {
        Event::Boot => "boot".to_owned(),
        Event::Tick => "tick".to_owned(),
        Event::Block { offset, bytes } => format!("block of {} at {offset}", bytes.len()),
        Event::Window(_) => "window".to_owned(),
        Event::Rescore(_) => "the window again".to_owned(),
        Event::Downlink(_) => "downlink".to_owned(),
        other => format!("{other:?}"),
    }
}

/// An action that no longer borrows from the agent.
enum Owned {
    Idle,
    Predict(Prediction),
    Rescore,
    Shadow(Prediction),
    Send(Vec<u8>),
    Fetch(Digest, Vec<u32>, usize),
    Reboot,
}

impl Owned {
    fn in_words(&self) -> String {
        match self {
            Owned::Idle => "idle".to_owned(),
            Owned::Predict(prediction) => format!("predict {:?}", prediction.answer.class()),
            Owned::Rescore => "ask for the window again".to_owned(),
            Owned::Shadow(prediction) => format!("shadow {:?}", prediction.answer.class()),
            Owned::Send(bytes) => {
                let opened = Sealed::parse(bytes).and_then(|s| s.open(&key(), Direction::Up));
                match opened {
                    Ok(envelope) => {
                        format!(
                            "send {}: {:?}",
                            envelope.sequence,
                            Frame::decode(envelope.body)
                        )
                    }
                    Err(error) => error.to_string(),
                }
            }
            Owned::Fetch(_, offsets, _) => format!("fetch {offsets:?}"),
            Owned::Reboot => "reboot".to_owned(),
        }
    }
}

fn own(action: Action<'_>) -> Owned {
    match action {
        Action::Idle => Owned::Idle,
        Action::Predict(prediction) => Owned::Predict(prediction),
        Action::Rescore => Owned::Rescore,
        Action::Shadow(prediction) => Owned::Shadow(prediction),
        Action::Entropy => unreachable!("nobody orders windows here"),
        Action::Send(bytes) => Owned::Send(bytes.to_vec()),
        Action::Fetch(fetch) => Owned::Fetch(
            fetch.digest,
            fetch.request.offsets().collect(),
            usize::from(fetch.request.block_bytes),
        ),
        Action::Reboot => Owned::Reboot,
    }
}
