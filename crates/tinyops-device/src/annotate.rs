//! Windows for an annotator: an order is taken up only with consent that no message can give, few windows that lie far
//! apart are kept of those that come, and they leave sealed, as many in a month as the consent says.
//!
//! In memory that is lent lies the parcel as it will be sent, and behind it room for one more vector:
//!
//! ```text
//!  0            32   encapsulated key, once it is sealed
//! 32     count × n   windows: head 16, vector, readings where the link is fast, tag 16
//!              …     the vector of the window that is being looked at
//! ```
//! An order, and what was kept for it, ends with a reset; what was paid for it does not come back.

use core::ops::Range;

use tinyops_sketch::{ITEMS_MAX, Spread};
use tinyops_wire::annotation::{
    Annotation, Answer, Collect, ORDER_WINDOWS_MAX, OrderReason, OrderState, PART_OVERHEAD, Part,
    PartRequest, WINDOW_HEAD_BYTES, WindowHead,
};
use tinyops_wire::envelope::{BODY_OFFSET, OVERHEAD};
use tinyops_wire::frame::{Frame, FrameError};
use tinyops_wire::mask::Purpose;
use tinyops_wire::sealing::{
    AnnotatorKey, Bound, ENCAPSULATED_BYTES, SealError, TAG_BYTES, hedged, is_guessable, seal,
};
use tinyops_wire::{Digest, ModelId};

use crate::agent::Agent;
use crate::flash::Flash;
use crate::memory::{Lent, Memory};
use crate::model::Answer as Said;
use crate::port::Action;

/// A link that carries less in one message brings no readings: the vectors that windows were chosen by, and no more.
/// It is above what LoRaWAN carries at any rate.
const READINGS_LINK_BYTES_MIN: usize = 256;

/// Steps of a standardised feature in a standard deviation, where a model has no embedding.
const STEPS_PER_SD: f32 = 16.0;

const _: () = assert!(ORDER_WINDOWS_MAX as usize == ITEMS_MAX);

/// What whoever the device belongs to allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Consent {
    /// Who may see windows. A server names an annotator by a part of the key alone, so it cannot put another in place.
    pub annotator: AnnotatorKey,
    /// How many windows may leave the device in 30 days.
    pub windows_per_month: u16,
}

/// Room for so many windows ([`Lent::chosen`]), of vectors of that length and so many readings, all channels counted.
///
/// A vector is the model's embedding, or its features where it has none: a byte for each number.
pub const fn memory_len(count: usize, vector_bytes: usize, reading_count: usize) -> usize {
    ENCAPSULATED_BYTES + count * window_len(vector_bytes, reading_count) + vector_bytes
}

const fn window_len(vector_bytes: usize, reading_count: usize) -> usize {
    WINDOW_HEAD_BYTES + vector_bytes + 4 * reading_count + TAG_BYTES
}

/// How far the device is with an order, and what it may do at all.
#[derive(Clone, Debug, Default)]
pub(crate) struct Annotating {
    consent: Option<Consent>,
    /// It was taken back: the server is told after every boot, for it may not have heard.
    is_withdrawn: bool,
    /// The server is to be told that; what else is answered does not take its place.
    owes_withdrawal: bool,
    stage: Stage,
    answer: Option<Answer>,
    /// Of the bytes that the newest parcel was sealed with, since the boot.
    sealed_with: Option<Digest>,
}

#[derive(Clone, Debug, Default)]
enum Stage {
    #[default]
    Idle,
    Collecting(Job),
    /// It waits for bytes that nobody can guess; whether they were asked for since the last window.
    Choosing(Job, bool),
    /// The parcel is sealed; what of it is being told.
    Ready {
        bound: Bound,
        bytes: u32,
        telling: Range<u32>,
    },
}

#[derive(Clone, Copy, Debug)]
struct Job {
    asked: Collect,
    model: ModelId,
    /// Windows that have come since.
    seen: u16,
    /// Most windows that are kept.
    places: u8,
    vector_bytes: usize,
    /// Whether vectors are embeddings, or else features.
    has_embedding: bool,
    /// Values of a window that are kept; 0 over a slow link.
    reading_count: usize,
    spread: Spread,
}

/// A window that was scored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen<'s> {
    pub(crate) model: ModelId,
    pub(crate) window: &'s [f32],
    pub(crate) channel_count: u16,
    pub(crate) rate_hz: f32,
    /// Standardised.
    pub(crate) features: &'s [f32],
    /// Empty if the model has none.
    pub(crate) embedding: &'s [u8],
    pub(crate) answer: Said,
}

impl Job {
    fn window_len(&self) -> usize {
        window_len(self.vector_bytes, self.reading_count)
    }

    fn order(&self) -> u32 {
        self.asked.order
    }
}

impl Annotating {
    /// After a reset nothing is left of an order.
    pub(crate) fn begin_boot(&mut self, memory: &mut [u8]) {
        self.forget(memory);
        self.answer = None;
        self.sealed_with = None;
        self.owes_withdrawal = self.is_withdrawn;
    }

    /// Looks at a window, and keeps it if it lies far from those that are kept.
    pub(crate) fn see(&mut self, memory: &mut [u8], seen: &Seen<'_>) {
        if let Stage::Choosing(_, is_asked) = &mut self.stage {
            *is_asked = false;
        }
        let Stage::Collecting(job) = &mut self.stage else {
            return;
        };
        if seen.model != job.model || job.look(memory, seen).is_none() {
            let order = job.order();
            self.forget(memory);
            self.refuse(order, OrderReason::Model, 0);
            return;
        }
        job.seen += 1;
        if job.seen >= job.asked.windows {
            self.stage = Stage::Choosing(*job, false);
        }
    }

    fn refuse(&mut self, order: u32, reason: OrderReason, left: u16) {
        self.answer = Some(Answer {
            order,
            state: OrderState::Refused,
            reason,
            count: 0,
            left,
            bytes: 0,
        });
    }

    fn forget(&mut self, memory: &mut [u8]) {
        memory.fill(0);
        self.stage = Stage::Idle;
    }
}

/// Said of all orders.
const WITHDRAWN: Answer = Answer {
    order: 0,
    state: OrderState::Withdrawn,
    reason: OrderReason::None,
    count: 0,
    left: 0,
    bytes: 0,
};

impl Job {
    /// `None` if the window is not of the shape that the order was taken up for.
    fn look(&mut self, memory: &mut [u8], seen: &Seen<'_>) -> Option<()> {
        let (stride, vector_bytes) = (self.window_len(), self.vector_bytes);
        let places = usize::from(self.places);
        let windows = memory.get_mut(ENCAPSULATED_BYTES..)?;
        let (kept, rest) = windows.split_at_mut_checked(places * stride)?;
        let vector = rest.get_mut(..vector_bytes)?;
        if self.has_embedding {
            vector.copy_from_slice(seen.embedding.get(..vector_bytes)?);
        } else {
            for (byte, feature) in vector.iter_mut().zip(seen.features) {
                *byte = libm::roundf(feature * STEPS_PER_SD) as i8 as u8;
            }
        }
        let readings = match self.reading_count {
            0 => &[],
            count => seen.window.get(..count)?,
        };
        let vector_of = |place: usize| &kept[place * stride + WINDOW_HEAD_BYTES..][..vector_bytes];
        let Some(place) = self.spread.push(vector, places, vector_of) else {
            return Some(());
        };
        let head = WindowHead {
            class: seen.answer.class(),
            number: self.seen,
            channel_count: seen.channel_count,
            vector_bytes: vector_bytes as u16,
            rate_hz: seen.rate_hz,
            output: seen.answer.output(),
        };
        let slot = &mut kept[place * stride..][..stride];
        let (head_bytes, slot) = slot.split_at_mut(WINDOW_HEAD_BYTES);
        head_bytes.copy_from_slice(&head.encode());
        let (vector_place, slot) = slot.split_at_mut(vector_bytes);
        vector_place.copy_from_slice(vector);
        for (place, reading) in slot.chunks_exact_mut(4).zip(readings) {
            place.copy_from_slice(&reading.to_le_bytes());
        }
        Some(())
    }
}

impl<F: Flash, M: Memory> Agent<F, M> {
    /// Lets windows be chosen and sealed for an annotator when the server asks for them. Only the program on the device
    /// can do so; it does it anew after each start, for this is not kept. What was chosen for another annotator is
    /// forgotten.
    pub fn give_consent(&mut self, consent: Consent) {
        if self.annotating.consent.map(|given| given.annotator) != Some(consent.annotator) {
            self.annotating.forget(self.memory.lend().chosen);
        }
        self.annotating.consent = Some(consent);
        self.annotating.is_withdrawn = false;
        self.annotating.owes_withdrawal = false;
    }

    /// Takes the consent back: what was chosen is forgotten, and the server is told to delete what it has, now and at
    /// every boot of this agent until there is consent again. It is not kept: a program that starts anew and has no
    /// consent any more says so again.
    pub fn withdraw_consent(&mut self) {
        self.annotating.forget(self.memory.lend().chosen);
        self.annotating.consent = None;
        self.annotating.is_withdrawn = true;
        self.annotating.owes_withdrawal = true;
    }

    /// Whether windows are chosen for an order, and the server does not have all of them yet.
    pub fn has_chosen(&self) -> bool {
        matches!(
            self.annotating.stage,
            Stage::Choosing(..) | Stage::Ready { .. }
        )
    }

    /// How many more windows may leave it in this month.
    pub fn windows_left(&self) -> u16 {
        self.windows_left_after(0)
    }

    fn windows_left_after(&self, minutes: u64) -> u16 {
        let mut ledger = self.slots.record().ledger;
        ledger.pass(minutes);
        let spent = ledger.spent(Purpose::Windows);
        self.annotating.consent.map_or(0, |consent| {
            u32::from(consent.windows_per_month).saturating_sub(spent) as u16
        })
    }

    fn minutes_since_paid(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.ledger_at_ms) / 60_000
    }

    /// Takes an order up, or says why not. One that it is at already goes on; another takes its place.
    #[inline(never)]
    pub(crate) fn collect(&mut self, asked: Collect, now_ms: u64) {
        let left = self.windows_left_after(self.minutes_since_paid(now_ms));
        if let Some(answer) = self.answer_again(asked.order, left) {
            self.annotating.answer = Some(answer);
            return;
        }
        self.annotating.forget(self.memory.lend().chosen);
        match self.new_job(asked, left) {
            Ok(job) => {
                self.annotating.answer = Some(collecting(&job, left));
                self.annotating.stage = Stage::Collecting(job);
            }
            Err(reason) => {
                self.counters.refused += 1;
                self.annotating.refuse(asked.order, reason, left);
            }
        }
    }

    fn new_job(&mut self, asked: Collect, left: u16) -> Result<Job, OrderReason> {
        let consent = self.annotating.consent.ok_or(OrderReason::Consent)?;
        if consent.annotator.id() != asked.annotator {
            return Err(OrderReason::Annotator);
        }
        if left == 0 {
            return Err(OrderReason::Quota);
        }
        let link_bytes = usize::from(self.joined) * usize::from(self.config.block_bytes);
        let room = self.memory.lend().chosen.len();
        let running = self.running.as_ref().ok_or(OrderReason::Model)?;
        let front_end = &running.parts.front_end;
        let vector_bytes = match running.labels.width {
            0 => front_end.feature_count(),
            width => width,
        };
        let reading_count = match link_bytes {
            READINGS_LINK_BYTES_MIN.. => front_end.reading_count(),
            _ => 0,
        };
        let stride = window_len(vector_bytes, reading_count);
        let fitting = room.saturating_sub(ENCAPSULATED_BYTES + vector_bytes) / stride;
        let places = fitting.min(usize::from(left)).min(usize::from(asked.count));
        if places == 0 || u16::try_from(vector_bytes).is_err() {
            return Err(OrderReason::Room);
        }
        Ok(Job {
            asked,
            model: running.model,
            seen: 0,
            places: places as u8,
            vector_bytes,
            has_embedding: running.labels.width > 0,
            reading_count,
            spread: Spread::NEW,
        })
    }

    /// What to say of an order that the device is at.
    fn answer_again(&self, order: u32, left: u16) -> Option<Answer> {
        match &self.annotating.stage {
            Stage::Collecting(job) | Stage::Choosing(job, _) if job.order() == order => {
                Some(collecting(job, left))
            }
            Stage::Ready { bound, bytes, .. } if bound.order == order => Some(Answer {
                order,
                state: OrderState::Ready,
                reason: OrderReason::None,
                count: bound.count,
                left,
                bytes: *bytes,
            }),
            _ => None,
        }
    }

    /// Tells bytes of the parcel from now on, or lets go of it.
    #[inline(never)]
    pub(crate) fn part_request(&mut self, asked: PartRequest) {
        let left = self.windows_left();
        match &mut self.annotating.stage {
            Stage::Ready {
                bound,
                bytes,
                telling,
            } if bound.order == asked.order => {
                if asked.bytes == 0 {
                    self.annotating.forget(self.memory.lend().chosen);
                } else {
                    *telling = asked.offset..asked.offset.saturating_add(asked.bytes).min(*bytes);
                }
            }
            // That it has let go of it is what it was told to do.
            _ if asked.bytes == 0 => {}
            _ => match self.answer_again(asked.order, left) {
                Some(answer) => self.annotating.answer = Some(answer),
                None => self.annotating.refuse(asked.order, OrderReason::Lost, left),
            },
        }
    }

    /// Whether bytes that nobody can guess are to be asked for.
    pub(crate) fn ask_entropy(&mut self) -> Option<Action<'static>> {
        match &mut self.annotating.stage {
            Stage::Choosing(_, is_asked) if !*is_asked => {
                *is_asked = true;
                Some(Action::Entropy)
            }
            _ => None,
        }
    }

    /// Seals what was chosen, once it is written down that it leaves. Bytes that can be guessed, and those of the parcel
    /// before, are refused: others are asked for with the next window.
    #[inline(never)]
    pub(crate) fn entropy(&mut self, entropy: &[u8; 32], now_ms: u64) {
        let (&Stage::Choosing(job, _), Some(consent)) =
            (&self.annotating.stage, self.annotating.consent)
        else {
            return;
        };
        let given = Digest::of(entropy);
        if is_guessable(entropy) || self.annotating.sealed_with == Some(given) {
            self.counters.refused += 1;
            return;
        }
        self.annotating.sealed_with = Some(given);
        let sealed = self.pay_and_seal(&job, &consent, entropy, now_ms);
        let left = self.windows_left();
        match sealed {
            Ok(stage) => {
                self.annotating.stage = stage;
                self.annotating.answer = self.answer_again(job.order(), left);
            }
            Err(reason) => {
                self.annotating.forget(self.memory.lend().chosen);
                self.annotating.refuse(job.order(), reason, left);
            }
        }
    }

    fn pay_and_seal(
        &mut self,
        job: &Job,
        consent: &Consent,
        entropy: &[u8; 32],
        now_ms: u64,
    ) -> Result<Stage, OrderReason> {
        let count = job.spread.len();
        let minutes = self.minutes_since_paid(now_ms);
        let mut ledger = self.slots.record().ledger;
        ledger.pass(minutes);
        let paid = ledger
            .pay_windows(count as u32, consent.windows_per_month.into())
            .ok_or(OrderReason::Quota)?;
        self.slots
            .write(|record| record.ledger = paid)
            .map_err(|_| OrderReason::Flash)?;
        self.ledger_at_ms += minutes * 60_000;
        let bound = Bound {
            device: self.config.device,
            model: job.model,
            order: job.order(),
            count: count as u8,
        };
        let bytes = ENCAPSULATED_BYTES + count * job.window_len();
        let (parcel, rest) = self.memory.lend().chosen.split_at_mut(bytes);
        rest.fill(0);
        // A driver may give what its generator gave after the boot before; with this, no two parcels share a key.
        let entropy = hedged(entropy, &self.config.key.0, &bound, parcel);
        seal(&consent.annotator, &bound, &entropy, parcel).map_err(|error| match error {
            SealError::Key => OrderReason::Key,
            _ => OrderReason::Room,
        })?;
        Ok(Stage::Ready {
            bound,
            bytes: bytes as u32,
            telling: 0..0,
        })
    }

    /// The next thing to say of an order.
    pub(crate) fn compose_annotation(&mut self) -> Option<Result<usize, FrameError>> {
        let link_bytes = usize::from(self.joined) * usize::from(self.config.block_bytes);
        let Lent { chosen, outbox, .. } = self.memory.lend();
        let room = outbox.len() - OVERHEAD;
        let body = &mut outbox[BODY_OFFSET..][..room];
        if core::mem::take(&mut self.annotating.owes_withdrawal) {
            return Some(Frame::Annotation(Annotation::Answer(WITHDRAWN)).encode(body));
        }
        if let Some(answer) = self.annotating.answer.take() {
            return Some(Frame::Annotation(Annotation::Answer(answer)).encode(body));
        }
        let Stage::Ready { bound, telling, .. } = &mut self.annotating.stage else {
            return None;
        };
        if telling.start >= telling.end {
            return None;
        }
        let most = (room - PART_OVERHEAD).min(link_bytes.max(1)) as u32;
        let end = telling.end.min(telling.start.saturating_add(most));
        let part = Part {
            order: bound.order,
            offset: telling.start,
            is_last: end == telling.end,
            bytes: chosen.get(telling.start as usize..end as usize)?,
        };
        telling.start = end;
        Some(Frame::Annotation(Annotation::Part(part)).encode(body))
    }
}

fn collecting(job: &Job, left: u16) -> Answer {
    Answer {
        order: job.order(),
        state: OrderState::Collecting,
        reason: OrderReason::None,
        count: job.places,
        left,
        bytes: 0,
    }
}
