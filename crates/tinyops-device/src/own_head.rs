//! Level 1 of learning: a head of the device's own, solved from its labelled windows and the factory's prior, which
//! answers while it is no worse than the installed one on windows that it was not solved from.
//!
//! In memory that is lent lie the newest labelled windows, oldest first, each of `2 + width` bytes: its class, the number
//! of the label that it came with, its embedding. They are all that is kept: the head is solved from them again after a
//! reset.

use tinyops_nn::head::{
    self, OWN_STORE_HEAD_BYTES, OWN_WINDOWS, Prior, Sums, Weights, answer_of, head_len,
    own_memory_len, own_window_bytes, work_len,
};
use tinyops_nn::{Program, Regions};
use tinyops_wire::crc::crc32;
use tinyops_wire::section::{DecisionSection, Golden, GoldenSection};

use crate::adapt::ORDER_BYTES;
use crate::agent::Agent;
use crate::flash::Flash;
use crate::labels::Shape;
use crate::memory::{Lent, Memory};
use crate::model::{Answer, Scorer, gives_second};
use crate::normal::Normal;
use crate::own_store::{self, Kept};
use crate::running::Running;

/// Labelled windows from which on a head is tried, and after so many more again.
const BATCH: u16 = 8;

/// Parts that the labels are dealt to; each is held out in turn. Windows of one label are of one spell, so they are held
/// out together.
const FOLDS: u8 = 8;

/// Whether a device answers by a head of its own, and why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OwnHeadState {
    /// Nobody has asked it to.
    Off,
    /// The capsule brings no prior, or there is none.
    NoPrior,
    /// It has not the memory, or the flash, that this model's takes.
    NoRoom {
        /// Bytes that it takes, of both together.
        needed_bytes: u32,
    },
    /// It waits for labels.
    Gathering {
        /// Labelled windows so far.
        windows: u16,
    },
    /// The head that its labels lead to is worse than the installed one, or is none.
    Installed(Trial),
    /// It answers by its own.
    Own(Trial),
}

/// How a device's own head and the installed one did on labelled windows: each was held out in turn, with all windows of
/// its label's part, from what its head was solved from. Golden vectors count as windows that the installed head is right
/// about, so that what an own head forgets of the factory's world counts against it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trial {
    /// Labelled windows.
    pub windows: u16,
    /// Of them, right by an own head; 0 if none could be solved.
    pub own_right: u16,
    /// Of them, right by the installed head.
    pub installed_right: u16,
    /// Golden vectors.
    pub golden: u16,
    /// Of them, answered alike by the own head of all labels.
    pub golden_alike: u16,
}

impl Trial {
    /// Whether the own head is no worse.
    #[must_use]
    pub fn is_passed(&self) -> bool {
        self.own_right + self.golden_alike >= self.installed_right + self.golden
    }
}

/// Whether a head of its own is wanted, in one byte of the journal, and which generation of kept windows counts: what is
/// of another is of before it was taken back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wish(pub(crate) u8);

impl Wish {
    const WANTED: u8 = 1 << 7;

    /// The generation, if a head is wanted.
    pub(crate) fn generation(self) -> Option<u8> {
        (self.0 & Wish::WANTED != 0).then_some(self.0 & !Wish::WANTED)
    }

    /// The next generation.
    fn renewed(self, is_wanted: bool) -> Wish {
        let generation = self.0.wrapping_add(1) & !Wish::WANTED;
        Wish(generation | if is_wanted { Wish::WANTED } else { 0 })
    }
}

/// What the agent knows of its own head.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct OwnHead {
    /// Windows that it may keep; 0 while it may not solve one.
    capacity: usize,
    /// Windows kept.
    len: usize,
    /// Number of the newest label.
    label: u8,
    /// Windows since a head was tried.
    fresh: u16,
    /// What moved the features that they were made of.
    under: [u8; ORDER_BYTES],
    trial: Option<Trial>,
    /// Whether it passed, and its head is in memory.
    is_passed: bool,
    /// Whether the newest window was answered by it.
    is_answering: bool,
}

/// Labelled windows, but for those of one part of the labels.
#[derive(Clone, Copy)]
struct Labelled<'a> {
    bytes: &'a [u8],
    shape: Shape,
    without: Option<u8>,
}

impl<'a> Labelled<'a> {
    /// Class, part and embedding of each.
    fn all(self) -> impl Iterator<Item = (usize, u8, &'a [u8])> {
        let entries = self.bytes.chunks_exact(own_window_bytes(self.shape.width));
        entries.map(|entry| (usize::from(entry[0]), entry[1] % FOLDS, &entry[2..]))
    }

    fn kept(self) -> impl Iterator<Item = (usize, &'a [u8])> {
        let entries = self.all();
        entries.filter_map(move |(class, part, embedding)| {
            (Some(part) != self.without).then_some((class, embedding))
        })
    }

    fn phi(self, embedding: &[u8], at: usize) -> i64 {
        i64::from(embedding[at] as i8) - i64::from(self.shape.zero_point)
    }
}

impl Sums for Labelled<'_> {
    fn class_count(&self) -> usize {
        self.shape.class_count
    }

    fn embedding_len(&self) -> usize {
        self.shape.width
    }

    fn count(&self, class: usize) -> f64 {
        self.kept().filter(|(of, _)| *of == class).count() as f64
    }

    fn class_sum(&self, class: usize, at: usize) -> f64 {
        let of_class = self.kept().filter(|(of, _)| *of == class);
        let sum: i64 = of_class.map(|(_, row)| self.phi(row, at)).sum();
        sum as f64
    }

    fn gram(&self, row: usize, column: usize) -> f64 {
        let products = self
            .kept()
            .map(|(_, values)| self.phi(values, row) * self.phi(values, column));
        let sum: i64 = products.sum();
        sum as f64
    }
}

/// The head that answers, the one being tried, and the work, in memory that is lent.
fn split(memory: &mut [f32], shape: Shape) -> Option<(&mut [f32], &mut [f32], &mut [f32])> {
    let len = head_len(shape.class_count, shape.width);
    let memory = memory.get_mut(..own_memory_len(shape.class_count, shape.width))?;
    let (answering, rest) = memory.split_at_mut(len);
    let (tried, work) = rest.split_at_mut(len);
    Some((answering, tried, work.get_mut(..work_len(shape.width))?))
}

/// The class that a head of the device's own gives an embedding, and its share: of two by the threshold of the model, as
/// the installed head does.
fn given(head: &[f32], embedding: &[u8], shape: Shape, decision: DecisionSection) -> (usize, f32) {
    let (class, share) = answer_of(head, embedding, shape.zero_point);
    if shape.class_count != 2 {
        return (class, share);
    }
    let second = if class == 1 { share } else { 1.0 - share };
    match gives_second(decision, second) {
        Some(true) => (1, second),
        Some(false) => (0, 1.0 - second),
        None => (class, share),
    }
}

/// Holds heads against each other; the one of all labels is left in `tried`. `None` if the labels lead to none, or are of
/// fewer than two parts.
fn hold_out(
    labelled: Labelled<'_>,
    prior: &Prior<'_>,
    scorer: &Scorer<'_>,
    golden: &GoldenSection<'_>,
    arena: &mut Regions<'_>,
    (tried, work): (&mut [f32], &mut [f32]),
) -> Option<Trial> {
    let Program::Plan(plan) = &scorer.program else {
        return None;
    };
    let shape = labelled.shape;
    let mut solve = |without: Option<u8>, tried: &mut [f32]| {
        let own = Labelled {
            without,
            ..labelled
        };
        head::solve(&own, prior, Weights::default(), work, tried).ok()
    };
    let mut trial = Trial::default();
    let mut parts = 0;
    for part in 0..FOLDS {
        let held_out = || labelled.all().filter(|(_, of, _)| *of == part);
        if held_out().next().is_none() {
            continue;
        }
        parts += 1;
        solve(Some(part), tried)?;
        for (class, _, embedding) in held_out() {
            trial.windows += 1;
            trial.own_right +=
                u16::from(given(tried, embedding, shape, scorer.decision).0 == class);
            plan.reset(arena).ok()?;
            let ran = plan.run_head(embedding, arena).ok()?;
            let installed = scorer.read_answer(plan, arena).ok()?.class();
            let is_right = ran && installed.map(usize::from) == Some(class);
            trial.installed_right += u16::from(is_right);
        }
    }
    solve(None, tried)?;
    for vector in golden.vectors() {
        // Those that begin with a window would need the memory that one is being filled in.
        let Golden::Tensor { input, .. } = vector else {
            continue;
        };
        plan.reset(arena).ok()?;
        let tensor = arena_input(plan, arena, input.len())?;
        tensor.copy_from_slice(input);
        plan.run(arena).ok()?;
        let installed = scorer.read_answer(plan, arena).ok()?.class();
        let embedding = scorer.embedding(arena)?;
        let (own, _) = given(tried, embedding, shape, scorer.decision);
        trial.golden += 1;
        trial.golden_alike += u16::from(installed.map(usize::from) == Some(own));
    }
    (parts > 1).then_some(trial)
}

/// The input tensor of a plan, if it has so many bytes.
fn arena_input<'m>(
    plan: &tinyops_nn::Plan<'_>,
    arena: &'m mut Regions<'_>,
    bytes: usize,
) -> Option<&'m mut [u8]> {
    use tinyops_nn::Arena;
    let tensor = arena.bytes_mut(plan, plan.input().range()).ok()?;
    (tensor.len() == bytes).then_some(tensor)
}

impl OwnHead {
    /// Whether the windows of a label are kept; the next ones are of it. Features that are moved otherwise than before
    /// make other embeddings: what was kept is forgotten then.
    pub(crate) fn begin_label(&mut self, under: [u8; ORDER_BYTES], is_learning: bool) -> bool {
        if self.capacity == 0 || is_learning {
            return false;
        }
        if self.under != under {
            *self = OwnHead {
                capacity: self.capacity,
                under,
                is_answering: self.is_answering,
                ..OwnHead::default()
            };
        }
        self.label = self.label.wrapping_add(1);
        true
    }

    /// Keeps a labelled window; the oldest makes room for it.
    pub(crate) fn keep(&mut self, memory: &mut [u8], class: u8, embedding: &[u8]) {
        let bytes = own_window_bytes(embedding.len());
        if self.len == self.capacity {
            memory.copy_within(bytes..self.len * bytes, 0);
            self.len -= 1;
        }
        if let Some(entry) = memory.get_mut(self.len * bytes..(self.len + 1) * bytes) {
            entry[..2].copy_from_slice(&[class, self.label]);
            entry[2..].copy_from_slice(embedding);
            self.len += 1;
            self.fresh = self.fresh.saturating_add(1);
        }
    }

    /// Whether windows of features that were moved by `under` are answered by it; and whether that is new.
    pub(crate) fn begin_window(&mut self, under: [u8; ORDER_BYTES]) -> (bool, bool) {
        let answers = self.is_passed && self.under == under;
        let is_new = core::mem::replace(&mut self.is_answering, answers) != answers;
        (answers, is_new)
    }

    /// What it says of a window; nothing if its memory is not what it was.
    pub(crate) fn answer(
        memory: &[f32],
        shape: Shape,
        embedding: &[u8],
        scorer: &Scorer<'_>,
    ) -> Option<Answer> {
        let head = memory.get(..head_len(shape.class_count, shape.width))?;
        let (class, confidence) = given(head, embedding, shape, scorer.decision);
        Some(Answer::Class {
            class: class as u8,
            confidence,
            is_sure: confidence >= scorer.decision.min_confidence,
        })
    }
}

impl<F: Flash, M: Memory> Agent<F, M> {
    /// Whether the device answers by a head of its own, and why not.
    pub fn own_head(&mut self) -> OwnHeadState {
        if self.slots.record().own_head.generation().is_none() {
            return OwnHeadState::Off;
        }
        let has_prior = |running: &&Running| self.prior(running).is_some();
        let Some(running) = self.running.as_ref().filter(has_prior) else {
            return OwnHeadState::NoPrior;
        };
        let shape = running.labels;
        let windows = self.own.len as u16;
        match self.own.trial {
            _ if self.own.capacity == 0 => OwnHeadState::NoRoom {
                needed_bytes: needed_bytes(shape) as u32,
            },
            Some(trial) if self.own.is_passed => OwnHeadState::Own(trial),
            Some(trial) => OwnHeadState::Installed(trial),
            None => OwnHeadState::Gathering { windows },
        }
    }

    /// Whether it has memory and flash for a head of its own.
    pub(crate) fn can_own_head(&mut self) -> bool {
        let Lent {
            own_head, labelled, ..
        } = self.memory.lend();
        let has_memory = !own_head.is_empty() && !labelled.is_empty();
        has_memory && self.slots.own_head_bytes() > OWN_STORE_HEAD_BYTES
    }

    /// Takes an order to solve one up, or takes it back; refuses what there is no room for at all.
    pub(crate) fn ask_own_head(&mut self, is_wanted: bool) {
        let before = self.slots.record().own_head;
        // Told again, it goes on as it was, and writes nothing.
        if before.generation().is_some() == is_wanted {
            return;
        }
        if is_wanted && !self.can_own_head() {
            self.counters.refused += 1;
            // An order that was refused must not come back when the device can.
            let _ = self.slots.write(|_| {});
            return;
        }
        if self.renew_own_head(is_wanted).is_ok() {
            self.resume_own_head();
            // The server asks until a hello says that it is so.
            self.pending.hello = true;
        } else {
            self.counters.refused += 1;
        }
    }

    /// Lets go of the head and of the labelled windows that it was solved from; the next ones may lead to another.
    pub(crate) fn drop_own_head(&mut self) {
        let is_asked = self.slots.record().own_head.generation().is_some();
        if self.renew_own_head(is_asked).is_err() {
            self.counters.refused += 1;
        } else {
            self.resume_own_head();
        }
    }

    /// Makes all that is kept be of before, from the moment that this answers `Ok`, and erases it.
    fn renew_own_head(&mut self, is_wanted: bool) -> Result<(), ()> {
        let was_answering = self.own.is_answering;
        let written = self.slots.write(|record| {
            record.own_head = record.own_head.renewed(is_wanted);
            if was_answering {
                record.normal = Normal::NEW;
            }
        });
        written.map_err(|_| ())?;
        self.own = OwnHead::default();
        if was_answering {
            self.monitor.begin_anew();
        }
        // What is left of it counts no more; that it is gone is for whoever reads flash.
        own_store::erase_but(&mut self.slots, None);
        Ok(())
    }

    /// Goes on with what was kept: solves the head of before again, or, where another prior has come, tries one.
    pub(crate) fn resume_own_head(&mut self) {
        self.own = OwnHead::default();
        let generation = self.slots.record().own_head.generation();
        // Power may have gone between what was written of it and the erasing.
        own_store::erase_but(&mut self.slots, generation);
        let Some(generation) = generation else {
            return;
        };
        let Some(running) = &self.running else {
            return;
        };
        let shape = running.labels;
        let capsule = self.slots.capsule(running.place);
        let section = running.prior_bytes(capsule);
        let Ok(prior) = Prior::decode(section) else {
            return;
        };
        let Lent {
            own_head, labelled, ..
        } = self.memory.lend();
        let window_bytes = own_window_bytes(shape.width);
        let in_flash = self
            .slots
            .own_head_bytes()
            .saturating_sub(OWN_STORE_HEAD_BYTES);
        let capacity = (labelled.len().min(in_flash) / window_bytes).min(OWN_WINDOWS);
        let Some((answering, _, work)) = split(own_head, shape) else {
            return;
        };
        if capacity < usize::from(BATCH) {
            return;
        }
        self.own.capacity = capacity;
        let Some((kept, entries)) = own_store::newest(&self.slots, generation) else {
            return;
        };
        if kept.embedding != prior.embedding() || !kept.is_of(shape) {
            // Of another body. One on trial may yet go, and then that of before comes back.
            if self.trial_left.is_none() && running.place == self.slots.record().active {
                self.drop_own_head();
            }
            return;
        }
        // A device with less room than before keeps the newest.
        let count = usize::from(kept.windows).min(capacity);
        let entries = &entries[entries.len() - count * window_bytes..];
        labelled[..entries.len()].copy_from_slice(entries);
        self.own = OwnHead {
            capacity,
            len: count,
            label: kept.label,
            fresh: 0,
            under: kept.under,
            trial: Some(kept.trial),
            is_passed: false,
            is_answering: false,
        };
        if kept.prior != crc32(section) {
            self.own.fresh = BATCH;
            self.own.trial = None;
            self.try_own_head();
        } else if kept.is_passed {
            let own = Labelled {
                bytes: &labelled[..entries.len()],
                shape,
                without: None,
            };
            let solved = head::solve(&own, &prior, Weights::default(), work, answering);
            self.own.is_passed = solved.is_ok();
        }
        self.own.begin_window(self.adapting.mark());
    }

    /// Tries a head, if enough has been labelled since the last: what it comes to is written, and holds from then on.
    pub(crate) fn try_own_head(&mut self) {
        let Some(generation) = self.slots.record().own_head.generation() else {
            return;
        };
        let (true, Some(running)) = (self.own.fresh >= BATCH, &self.running) else {
            return;
        };
        let shape = running.labels;
        let capsule = self.slots.capsule(running.place);
        let section = running.prior_bytes(capsule);
        let (Ok(prior), Some(scorer), Some(golden)) = (
            Prior::decode(section),
            running.parts.scorer(capsule),
            running.golden(capsule),
        ) else {
            return;
        };
        // One on trial may yet go, and then the head of before comes back: what is in flash is its.
        let is_of_another = |kept: Kept| kept.embedding != prior.embedding() || !kept.is_of(shape);
        let newest = own_store::newest(&self.slots, generation);
        if self.trial_left.is_some() && newest.is_some_and(|(kept, _)| is_of_another(kept)) {
            return;
        }
        let Lent {
            mut arena,
            own_head,
            labelled,
            ..
        } = self.memory.lend();
        let entries = &labelled[..self.own.len * own_window_bytes(shape.width)];
        let Some((answering, tried, work)) = split(own_head, shape) else {
            return;
        };
        let labelled = Labelled {
            bytes: entries,
            shape,
            without: None,
        };
        let held_out = hold_out(
            labelled,
            &prior,
            &scorer,
            &golden,
            &mut arena,
            (tried, work),
        );
        let trial = held_out.unwrap_or(Trial {
            windows: self.own.len as u16,
            ..Trial::default()
        });
        let is_passed = held_out.is_some_and(|trial| trial.is_passed());
        let kept = Kept {
            generation,
            is_passed,
            label: self.own.label,
            embedding: prior.embedding(),
            prior: crc32(section),
            under: self.own.under,
            shape,
            windows: self.own.len as u16,
            trial,
        };
        // What a reset would not bring back must not answer: the next label tries again.
        if own_store::write(&mut self.slots, &kept, entries).is_err() {
            return;
        }
        if is_passed {
            answering.copy_from_slice(tried);
        }
        if self.own.is_passed && is_passed {
            // Another of the device's own answers from here on: what it says is not what was normal of the one before.
            self.monitor.begin_output_anew();
        }
        let changes = self.own.is_passed != is_passed;
        self.own.fresh = 0;
        self.own.trial = Some(trial);
        self.own.is_passed = is_passed;
        if changes && self.config.privacy.terms().is_some() {
            // What was normal was so of other answers; if this cannot be written, it is learnt anew with the next.
            let _ = self.slots.write(|record| record.normal = Normal::NEW);
        }
    }

    fn prior(&self, running: &Running) -> Option<Prior<'_>> {
        Prior::decode(running.prior_bytes(self.slots.capsule(running.place))).ok()
    }
}

/// Bytes that the head of a shape takes with the fewest windows, in memory and in flash.
fn needed_bytes(shape: Shape) -> usize {
    let windows = usize::from(BATCH) * own_window_bytes(shape.width);
    4 * own_memory_len(shape.class_count, shape.width) + 2 * windows + OWN_STORE_HEAD_BYTES
}

#[cfg(test)]
mod tests {
    use tinyops_wire::section::{BodyKind, Task};

    use super::*;

    /// What a head says whose logit of the last of so many classes is the value of the embedding, of the others 0.
    fn said(classes: usize, value: i8, threshold: f32) -> (usize, f32) {
        let mut head = vec![0.0; 2 * classes];
        head[2 * (classes - 1)] = 1.0;
        let shape = Shape {
            class_count: classes,
            width: 1,
            zero_point: 0,
        };
        let decision = DecisionSection {
            task: Task::Classify,
            body: BodyKind::Network,
            threshold,
            min_confidence: 0.0,
        };
        given(&head, &[value as u8], shape, decision)
    }

    #[test]
    fn of_two_classes_a_head_of_its_own_keeps_to_the_threshold_of_the_model() {
        let share = 1.0 / (1.0 + libm::expf(-1.0));
        for (value, second) in [(1, share), (-1, 1.0 - share), (0, 0.5)] {
            for (threshold, class) in [
                (0.0, usize::from(second > 0.5)),
                (0.5, usize::from(second >= 0.5)),
                (0.2, 1),
                (0.8, 0),
            ] {
                let (said, confidence) = said(2, value, threshold);
                assert_eq!(said, class, "{value} {threshold}");
                let expected = if class == 1 { second } else { 1.0 - second };
                assert!((confidence - expected).abs() < 1e-6, "{value} {threshold}");
            }
        }
        // Of three the threshold says nothing.
        assert_eq!(said(3, 1, 0.8).0, 2);
    }
}
