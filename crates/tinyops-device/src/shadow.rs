//! A candidate that scores windows beside the model that runs: it is never acted upon, and what it said is told.
//!
//! It works in the same memory, one window after the model that runs has answered, so that two models need as much as
//! the larger of them. Its windows are counted in memory alone: a reset begins them anew, and each such boot takes one
//! of its tries until it has scored some windows.

use tinyops_sketch::CLASSES_MAX;
use tinyops_wire::ModelId;
use tinyops_wire::downlink::{Label, When};
use tinyops_wire::frame::{Frame, FrameError, Reason, Update, UpdateState};
use tinyops_wire::shadow::{Answers, Pairs, ShadowReport};

use crate::agent::{Agent, ended};
use crate::flash::Flash;
use crate::journal::Place;
use crate::memory::{Lent, Memory};
use crate::model::{Answer, Prediction, Refusal};
use crate::monitor::Costs;
use crate::running::{Parts, Running, claimed};

/// Windows that a label may still judge.
const RECENT: usize = 64;

/// How far two numbers may lie apart and say the same, in standard deviations of the output in training.
const ALIKE_SD: f32 = 0.5;

/// A class that the other model does not know, or none at all.
const NO_CLASS: u8 = 0xfe;
/// The candidate has not scored that window.
const UNSCORED: u8 = 0xff;

/// A candidate beside the model that runs.
#[derive(Clone, Debug)]
pub(crate) struct Shadow {
    place: Place,
    model: ModelId,
    parts: Parts,
    /// Mean and inverse standard deviation of its output in training.
    output: (f32, f32),
    /// How far numbers of the two may lie apart.
    alike: f32,
    class_count: usize,
    /// Whether it scales features as the model that runs does, so that what moves them for that one does for it.
    has_same_scaler: bool,
    /// The class of the model that runs that bears the same name, by its own class.
    same_class: [u8; CLASSES_MAX],
    /// Windows that it is still to score.
    windows_left: u16,
    /// Windows that it must score before this boot has gone well; 0 once it has.
    unproven: u32,
    failed_in_a_row: u32,
    due: Option<Due>,
    recent: Recent,
    said: Said,
    pub(crate) costs: Costs,
    /// Whether it was told that its windows are over.
    is_told: bool,
}

// What a candidate costs in RAM beside the memory that both models work in; less where an address has 4 bytes.
const _: () = assert!(size_of::<Shadow>() <= 448);

/// A window that the model that runs has answered, and the candidate has not.
#[derive(Clone, Copy, Debug)]
struct Due {
    answer: Answer,
    /// Whether the agent has filled the window itself, and has it still.
    is_own: bool,
    is_asked: bool,
}

/// What it has said since the last report.
#[derive(Clone, Debug, Default, PartialEq)]
struct Said {
    windows: u16,
    agreed: u16,
    failed: u16,
    output: f32,
    counts: [u16; CLASSES_MAX],
    pairs: Pairs,
}

/// What both models said of the newest windows, for labels that come late.
#[derive(Clone, Debug)]
struct Recent {
    len: usize,
    next: usize,
    active: [u8; RECENT],
    candidate: [u8; RECENT],
}

impl Recent {
    const EMPTY: Recent = Recent {
        len: 0,
        next: 0,
        active: [NO_CLASS; RECENT],
        candidate: [UNSCORED; RECENT],
    };

    fn push(&mut self, active: u8) {
        (self.active[self.next], self.candidate[self.next]) = (active, UNSCORED);
        self.next = (self.next + 1) % RECENT;
        self.len = (self.len + 1).min(RECENT);
    }

    /// Notes what the candidate made of the newest window.
    fn set_candidate(&mut self, class: u8) {
        self.candidate[(self.next + RECENT - 1) % RECENT] = class;
    }

    /// Takes the newest windows out, which were of this class.
    fn judge(&mut self, class: u8, windows: usize, pairs: &mut Pairs) {
        for _ in 0..windows.min(self.len) {
            self.next = (self.next + RECENT - 1) % RECENT;
            self.len -= 1;
            let (active, candidate) = (self.active[self.next], self.candidate[self.next]);
            if candidate != UNSCORED {
                pairs.count(active == class, candidate == class);
            }
        }
    }
}

impl Shadow {
    /// A candidate that has been checked, beside the model that runs.
    ///
    /// # Errors
    /// [`Reason::Window`] if it takes other windows.
    fn new(
        candidate: &Running,
        capsule: &[u8],
        running: &Running,
        active: &[u8],
        (windows, trial_windows): (u16, u32),
    ) -> Result<Shadow, Refusal> {
        let reading_count = candidate.parts.front_end.reading_count();
        if reading_count != running.parts.front_end.reading_count() {
            return Err(Refusal {
                reason: Reason::Window,
                detail: reading_count as u32,
            });
        }
        let mut same_class = [NO_CLASS; CLASSES_MAX];
        let class_count = candidate.labels.class_count.min(CLASSES_MAX);
        for (class, same) in same_class[..class_count].iter_mut().enumerate() {
            let name = candidate.name(capsule, class as u8);
            let is_same = |other: &u8| name.is_some() && running.name(active, *other) == name;
            let mut others = 0..running.labels.class_count as u8;
            *same = others.find(is_same).unwrap_or(NO_CLASS);
        }
        let output = candidate.output();
        Ok(Shadow {
            place: candidate.place,
            model: candidate.model,
            parts: candidate.parts.clone(),
            output: output.map_or((0.0, 0.0), |channel| (channel.mean, channel.inv_sd)),
            alike: running
                .output()
                .map_or(0.0, |channel| ALIKE_SD * channel.sd),
            class_count,
            has_same_scaler: candidate.parts.scaler_bytes(capsule)
                == running.parts.scaler_bytes(active),
            same_class,
            windows_left: windows,
            unproven: trial_windows.max(1),
            failed_in_a_row: 0,
            due: None,
            recent: Recent::EMPTY,
            said: Said::default(),
            costs: Costs::default(),
            is_told: false,
        })
    }

    /// Nothing waits to be scored any more.
    pub(crate) fn forget_due(&mut self) {
        self.due = None;
    }

    /// Nothing waits to be judged any more.
    pub(crate) fn forget_recent(&mut self) {
        self.recent = Recent::EMPTY;
    }

    /// Notes what the model that runs has made of a window.
    pub(crate) fn note(&mut self, answer: Answer, is_own: bool) {
        if let Some(class) = answer.class() {
            self.recent.push(class);
        }
        self.due = (self.windows_left > 0).then_some(Due {
            answer,
            is_own,
            is_asked: false,
        });
    }

    /// Whether the newest window is to be asked for, once.
    pub(crate) fn ask(&mut self) -> bool {
        let due = self.due.as_mut();
        due.is_some_and(|due| !core::mem::replace(&mut due.is_asked, true))
    }

    /// Counts labelled windows.
    pub(crate) fn judge(&mut self, label: Label, windows: usize) {
        self.recent
            .judge(label.class, windows, &mut self.said.pairs);
    }

    /// Whether there is anything to report.
    pub(crate) fn has_news(&self) -> bool {
        self.windows_left > 0 || !self.is_told || self.said != Said::default()
    }

    fn agrees(&self, active: &Answer, candidate: &Answer) -> bool {
        match (active, candidate) {
            (Answer::Class { class, .. }, Answer::Class { class: other, .. }) => {
                self.same(*other) == *class
            }
            (
                Answer::Anomaly { is_alarm, .. },
                Answer::Anomaly {
                    is_alarm: other, ..
                },
            ) => is_alarm == other,
            (Answer::Value(value), Answer::Value(other)) => {
                let difference = value - other;
                difference.max(-difference) <= self.alike
            }
            // What models of different kinds say is never the same.
            _ => false,
        }
    }

    /// The class of the model that runs that one of its own is.
    fn same(&self, class: u8) -> u8 {
        let same = self.same_class.get(usize::from(class));
        same.copied().unwrap_or(NO_CLASS)
    }

    /// Counts what it said of the window that was due.
    fn count(&mut self, active: &Answer, said: Option<&Answer>) {
        self.windows_left = self.windows_left.saturating_sub(1);
        let said = said.filter(|answer| answer.output().is_finite());
        let class = said.and_then(Answer::class);
        if active.class().is_some() {
            let class = class.map_or(NO_CLASS, |class| self.same(class));
            self.recent.set_candidate(class);
        }
        let Some(answer) = said else {
            self.said.failed = self.said.failed.saturating_add(1);
            self.failed_in_a_row = self.failed_in_a_row.saturating_add(1);
            return;
        };
        self.failed_in_a_row = 0;
        if self.said.windows == u16::MAX {
            return;
        }
        self.said.windows += 1;
        self.said.agreed += u16::from(self.agrees(active, answer));
        let (mean, inv_sd) = self.output;
        self.said.output += (answer.output() - mean) * inv_sd;
        let count = class.and_then(|class| self.said.counts.get_mut(usize::from(class)));
        if let Some(count) = count {
            *count += 1;
        }
    }
}

impl<F: Flash, M: Memory> Agent<F, M> {
    /// Whether a candidate scores windows beside the model that runs, or has done so since the boot.
    pub fn is_shadowing(&self) -> bool {
        self.shadow.is_some()
    }

    /// Checks that a capsule in a slot can score windows beside what runs; nothing if nothing runs.
    ///
    /// # Errors
    /// [`Reason::Window`].
    pub(crate) fn candidate(
        &self,
        candidate: &Running,
        bytes: u32,
    ) -> Result<Option<Shadow>, Refusal> {
        let (Some(running), When::Shadow { windows }) = (&self.running, self.slots.record().when)
        else {
            return Ok(None);
        };
        let capsule = self.slots.block(candidate.place, 0, bytes);
        let shadow = Shadow::new(
            candidate,
            capsule.unwrap_or_default(),
            running,
            self.slots.capsule(running.place),
            (windows, self.config.trial_windows),
        );
        shadow.map(Some)
    }

    /// Takes the candidate up that waits in its slot: at a boot, when it is offered again, and when the key set has
    /// changed. Its golden vectors came out right when it was fetched.
    #[inline(never)]
    pub(crate) fn resume_shadow(&mut self) {
        self.shadow = None;
        let Some((place, _)) = self.slots.record().shadow() else {
            return;
        };
        if self.running.is_none() {
            return;
        }
        let (bytes, digest) = (
            self.slots.capsule(place).len() as u32,
            self.slots.digest_prefix(place).unwrap_or_default(),
        );
        let mut found = None;
        let checked = self.check_new(place, bytes, digest, false, &mut found);
        let candidate = checked.and_then(|()| match &found {
            Some(candidate) => self.candidate(candidate, bytes),
            None => Ok(None),
        });
        match candidate {
            Ok(shadow) => self.shadow = shadow,
            Err(refusal) => self.end_shadow(place, refusal),
        }
    }

    /// Lets a candidate go that has failed.
    fn end_shadow(&mut self, place: Place, refusal: Refusal) {
        self.shadow = None;
        let update = self.let_go(place, refusal);
        self.pending.update.get_or_insert(update);
        // If this cannot be written, the next boot finds it and lets it go again.
        let _ = self.slots.end_shadow(place, refusal);
    }

    /// That a capsule that waited does so no more, named as it says itself.
    pub(crate) fn let_go(&self, place: Place, refusal: Refusal) -> Update {
        let (model, sequence) = claimed(self.slots.capsule(place));
        Update {
            model,
            sequence,
            ..ended(UpdateState::Refused, refusal)
        }
    }

    /// Lets what waits go, or what is fetched to wait: nobody wants it any more. It may be offered again.
    pub(crate) fn drop_held(&mut self) {
        let record = self.slots.record();
        let fetched = self.transfer.filter(|_| record.when.is_later());
        let Some(place) = record.held.or(fetched.map(|transfer| transfer.place)) else {
            return;
        };
        let update = self.let_go(place, Refusal::of(Reason::Commanded));
        if self.slots.write(crate::journal::Record::drop_held).is_ok() {
            self.transfer = self.transfer.filter(|_| fetched.is_none());
            self.shadow = None;
            self.pending.update = Some(update);
        }
    }

    /// Lets the candidate score the newest window; `window` is empty if the agent has filled it itself.
    pub(crate) fn rescore(&mut self, window: &[f32]) -> Option<Prediction> {
        let shadow = self.shadow.as_mut()?;
        let due = shadow.due.take()?;
        let Some(scorer) = shadow.parts.scorer(self.slots.capsule(shadow.place)) else {
            let place = shadow.place;
            self.end_shadow(place, Refusal::of(Reason::Flash));
            return None;
        };
        let Lent {
            mut arena,
            window: own,
            features,
            scratch,
            moments,
            ..
        } = self.memory.lend();
        let window = match (window.is_empty(), due.is_own) {
            (true, true) => own.get(..shadow.parts.front_end.reading_count())?,
            // The driver has it no more.
            (true, false) => return None,
            (false, _) => window,
        };
        let features = features.get_mut(..shadow.parts.front_end.feature_count())?;
        let extracted = scorer.extract(window, features, scratch);
        let answer = extracted.ok().and_then(|()| {
            if shadow.has_same_scaler {
                self.adapting.apply(features, &scorer.scaler, moments);
            }
            scorer.answer(features, &mut arena)
        });
        shadow.count(&due.answer, answer.as_ref());
        let model = shadow.model;
        let has_failed = shadow.failed_in_a_row >= self.config.trial_windows.max(1);
        if has_failed {
            let (place, detail) = (shadow.place, shadow.failed_in_a_row);
            let reason = Reason::Output;
            self.end_shadow(place, Refusal { reason, detail });
            return None;
        }
        if shadow.failed_in_a_row == 0 && shadow.unproven > 0 {
            shadow.unproven -= 1;
            if shadow.unproven == 0 {
                let tries = self.config.tries;
                // If this cannot be written, the boot counts as a try.
                let _ = self.slots.write(|record| record.tries_left = tries);
            }
        }
        if self
            .shadow
            .as_ref()
            .is_some_and(|shadow| shadow.windows_left == 0)
        {
            // It waits as any other from now on. If this cannot be written, a reset begins its windows anew.
            let _ = self.slots.write(|record| record.when = When::Later);
        }
        answer.map(|answer| Prediction {
            model,
            answer,
            is_own_head: false,
        })
    }

    pub(crate) fn compose_shadow(&mut self) -> Result<usize, FrameError> {
        let dither = (self.config.key.dither_seed(), self.sequence);
        let Some(shadow) = &mut self.shadow else {
            return Err(FrameError::Length);
        };
        let Said {
            windows,
            agreed,
            failed,
            output,
            counts,
            pairs,
        } = core::mem::take(&mut shadow.said);
        let counts = counts.get(..shadow.class_count).unwrap_or_default();
        let answers = Answers {
            is_over: shadow.windows_left == 0,
            windows,
            agreed,
            failed,
            output: output / f32::from(windows.max(1)),
            pairs,
        };
        let mut report = ShadowReport::new(shadow.model, answers, counts);
        if let Some(cost) = shadow.costs.summary() {
            report = report.with_cost(&cost, dither);
        }
        shadow.costs.begin_period();
        shadow.is_told = answers.is_over;
        Frame::Shadow(report).encode(self.body())
    }
}
