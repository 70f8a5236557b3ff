//! The driver between the agent and the board: bytes of the line are events, and actions are bytes on the line.

use core::fmt::{self, Write as _};

use qemu_machine::{host, memory, mps2};
use tinyops_device::{Action, Agent, Answer, Event, Measured, Prediction};
use tinyops_wire::ModelId;
use tinyops_wire::serial::{BODY_BYTES_MAX, Decoder, Message};

use crate::flash::AgentFlash;
use crate::ram::Ram;
use crate::sensor::{Said, Sensor};
use crate::{FRAME_BYTES, LINE_BYTES};

/// Bytes of a message that are not of a capsule: those of its envelope, and the head of a block.
const BLOCK_OVERHEAD: usize = 38;
/// How long a board that starts waits for the gateway's room: what it says earlier may be said to nobody.
const GATEWAY_WITHIN_MS: u64 = 3000;

/// The board with what is on its way over the line.
pub struct Board {
    voice: Voice,
    decoder: &'static mut Decoder<FRAME_BYTES>,
}

/// What speaks; apart from what listens, since an answer is given while the question still lies in the decoder.
struct Voice {
    parts: mps2::Board,
    frame: &'static mut [u8; LINE_BYTES],
    /// What it last said of its model.
    said: Option<(Option<ModelId>, bool, bool)>,
    /// What the gateway takes, once it has told.
    gateway_room: Option<u16>,
    /// The model that the program hangs with, where a test wants that.
    hangs: Option<ModelId>,
}

impl Board {
    pub fn new(
        parts: mps2::Board,
        decoder: &'static mut Decoder<FRAME_BYTES>,
        frame: &'static mut [u8; LINE_BYTES],
    ) -> Board {
        let voice = Voice {
            parts,
            frame,
            said: None,
            gateway_room: None,
            hangs: None,
        };
        Board { voice, decoder }
    }

    /// Says a line on the second port.
    pub fn say(&mut self, line: fmt::Arguments<'_>) {
        self.voice.say(line);
    }

    /// Names the model that the program hangs with.
    pub fn set_hangs(&mut self, model: Option<ModelId>) {
        self.voice.hangs = model;
    }

    pub fn feed_watchdog(&mut self) {
        self.voice.parts.feed_watchdog();
    }

    pub fn forget_wakes(&mut self) {
        self.voice.parts.forget_wakes();
    }

    pub fn sleep(&mut self) {
        self.voice.parts.sleep();
    }

    /// Tells the gateway its room, and waits a while for the gateway's own.
    pub fn meet(&mut self) {
        self.voice.tell_room();
        let until = self.voice.parts.now_ms() + GATEWAY_WITHIN_MS;
        while self.voice.gateway_room.is_none() && self.voice.parts.now_ms() < until {
            self.next(|_| None::<()>);
        }
    }

    /// Waits without listening.
    pub fn wait(&mut self, ms: u64) {
        let until = self.voice.parts.now_ms() + ms;
        while self.voice.parts.now_ms() < until {
            self.next(|_| None::<()>);
        }
    }

    /// Sends a request until an answer comes that `is_answer` takes; again after a while, and to every gateway that opens
    /// the line.
    pub fn ask<T>(
        &mut self,
        request: &[u8],
        again_after_ms: u64,
        mut is_answer: impl FnMut(Message<'_>) -> Option<T>,
    ) -> T {
        self.voice.tell_room();
        loop {
            self.voice.send(&Message::Enrol(request));
            let until = self.voice.parts.now_ms() + again_after_ms;
            let mut is_opened = false;
            while self.voice.parts.now_ms() < until && !is_opened {
                let answer = self.next(|message| {
                    is_opened = matches!(message, Message::Room { .. });
                    is_answer(message)
                });
                if let Some(answer) = answer {
                    return answer;
                }
            }
        }
    }

    /// Hands in every message that has come for the device.
    pub fn hear(&mut self, agent: &mut Agent<AgentFlash, Ram>) {
        while let Some(byte) = self.voice.parts.first.receive() {
            match self.decoder.push(byte) {
                Some(Ok(Message::Down(envelope))) => {
                    self.voice.handle(agent, Event::Downlink(envelope));
                }
                Some(Ok(Message::Room { body_bytes })) => {
                    self.voice.gateway_room = Some(body_bytes);
                    self.voice.set_link_room(agent);
                }
                _ => {}
            }
        }
    }

    /// Takes what the sensor has measured.
    pub fn measure(&mut self, sensor: &mut Sensor) -> Option<Said> {
        loop {
            let byte = self.voice.parts.second.receive()?;
            if let Some(said) = sensor.push(byte) {
                return Some(said);
            }
        }
    }

    /// Hands in an event and does what follows from it.
    pub fn handle(&mut self, agent: &mut Agent<AgentFlash, Ram>, event: Event<'_>) {
        self.voice.handle(agent, event);
    }

    /// What `take` makes of the next message, if one comes before the board wakes for another reason.
    fn next<T>(&mut self, take: impl FnOnce(Message<'_>) -> Option<T>) -> Option<T> {
        self.forget_wakes();
        self.feed_watchdog();
        while let Some(byte) = self.voice.parts.first.receive() {
            if let Some(Ok(message)) = self.decoder.push(byte) {
                if let Message::Room { body_bytes } = message {
                    self.voice.gateway_room = Some(body_bytes);
                }
                return take(message);
            }
        }
        self.sleep();
        None
    }
}

impl Voice {
    fn say(&mut self, line: fmt::Arguments<'_>) {
        let _ = writeln!(self.parts.second, "{line}");
        self.parts.second.flush();
    }

    fn tell_room(&mut self) {
        self.send(&Message::Room {
            body_bytes: BODY_BYTES_MAX as u16,
        });
    }

    fn send(&mut self, message: &Message<'_>) {
        if let Ok(written) = message.encode(self.frame) {
            self.parts.first.send(&self.frame[..written]);
        }
    }

    fn set_link_room(&mut self, agent: &mut Agent<AgentFlash, Ram>) {
        let room = usize::from(self.gateway_room.unwrap_or(u16::MAX)).min(BODY_BYTES_MAX);
        agent.set_link_room(room.saturating_sub(BLOCK_OVERHEAD));
    }

    fn handle(&mut self, agent: &mut Agent<AgentFlash, Ram>, event: Event<'_>) {
        let is_reading = matches!(event, Event::Reading(_));
        if is_reading && self.hangs.is_some() && self.hangs == agent.model() {
            self.say(format_args!("hangs"));
            self.parts.hang();
        }
        let mut entropy = [0; 32];
        let mut next = event;
        loop {
            if let Event::Boot = next {
                self.set_link_room(agent);
            }
            let begun = self.parts.now_us();
            let action = agent.step(self.parts.now_ms(), next);
            let micros = begun.elapsed_us(&self.parts);
            next = Event::Tick;
            match action {
                Action::Idle => break,
                Action::Predict(prediction) => {
                    self.say_prediction(agent, &prediction);
                    next = Event::Measured(measured(micros));
                }
                // A candidate finds the window that was filled by single readings where it is.
                Action::Rescore => next = Event::Rescore(&[]),
                Action::Shadow(_) => next = Event::Measured(measured(micros)),
                Action::Entropy => {
                    if host::random(&mut entropy).is_some() {
                        next = Event::Entropy(&entropy);
                    }
                }
                Action::Send(envelope) => {
                    // The agent's own outbox is borrowed, so that this cannot be `send`.
                    if let Ok(written) = Message::Up(envelope).encode(self.frame) {
                        self.parts.first.send(&self.frame[..written]);
                    }
                }
                Action::Fetch(_) => {}
                Action::Reboot => {
                    self.say(format_args!("reset"));
                    self.parts.reset();
                }
            }
        }
        self.say_state(agent);
    }

    /// `model ID STATE OPERATIONS STACK`, where it is news.
    #[inline(never)]
    fn say_state(&mut self, agent: &mut Agent<AgentFlash, Ram>) {
        let state = (agent.model(), agent.is_on_trial(), agent.is_holding());
        if self.said == Some(state) {
            return;
        }
        self.said = Some(state);
        let (model, is_on_trial, is_holding) = state;
        let word = match (is_on_trial, is_holding) {
            (true, _) => "trial",
            (false, true) => "holding",
            (false, false) => "confirmed",
        };
        let operations = agent.flash_mut().operations();
        let stack = memory::stack_high_water();
        match model {
            Some(model) => self.say(format_args!("model {model} {word} {operations} {stack}")),
            None => self.say(format_args!("model none {word} {operations} {stack}")),
        }
    }

    /// `window MODEL KIND BITS FLAG OWN NAME`: floats by their bits, since what writes decimals would take flash.
    #[inline(never)]
    fn say_prediction(&mut self, agent: &Agent<AgentFlash, Ram>, prediction: &Prediction) {
        let (model, own) = (prediction.model, u8::from(prediction.is_own_head));
        match prediction.answer {
            Answer::Class {
                class, confidence, ..
            } => {
                let (bits, name) = (confidence.to_bits(), agent.class_name(class));
                let name = name.unwrap_or_default();
                self.say(format_args!(
                    "window {model} class {bits:08x} 0 {own} {name}"
                ));
            }
            Answer::Value(value) => {
                let bits = value.to_bits();
                self.say(format_args!("window {model} value {bits:08x} 0 {own} "));
            }
            Answer::Anomaly { score, is_alarm } => {
                let (bits, alarm) = (score.to_bits(), u8::from(is_alarm));
                self.say(format_args!(
                    "window {model} anomaly {bits:08x} {alarm} {own} "
                ));
            }
        }
    }
}

/// What a window cost: by the emulator's clock, which is no board's, and by memory that was painted.
fn measured(micros: u32) -> Measured {
    Measured {
        micros,
        ram_bytes: memory::in_use() as u32,
        ram_total_bytes: memory::total() as u32,
    }
}
