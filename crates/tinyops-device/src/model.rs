//! A capsule's payload as a model: checked once, then window in, answer out.

use core::fmt;

use tinyops_dsp::{FrontEnd, FrontEndError};
use tinyops_nn::distance::reconstruction_error;
use tinyops_nn::golden::{Difference, differences, score_difference};
use tinyops_nn::head::{Prior, Sums};
use tinyops_nn::{
    Arena, EmbeddingDistance, Plan, PlanError, Program, ProgramError, Regions, RunError, TensorView,
};
use tinyops_sketch::{Baseline, Source};
use tinyops_wire::ModelId;
use tinyops_wire::frame::Reason;
use tinyops_wire::payload::{Payload, SectionId};
use tinyops_wire::section::{
    BodyKind, DecisionSection, Golden, GoldenSection, Labels, ScalerSection, Task,
};
use tinyops_wire::sensor::SensorSection;

use crate::sensor::Sensor;

/// A model whose parts are sound and fit each other.
#[derive(Clone, Debug)]
pub struct Model<'a> {
    /// From readings to features.
    pub front_end: FrontEnd,
    /// From features to standardised features.
    pub scaler: ScalerSection<'a>,
    /// From standardised features to scores.
    pub program: Program<'a>,
    /// From scores to an answer.
    pub decision: DecisionSection,
    /// What the readings were, if that is known.
    pub sensor: Option<SensorSection<'a>>,
    /// Names of the classes.
    pub labels: Labels<'a>,
    /// What training saw.
    pub baseline: Baseline,
    /// Inputs with the outputs that every device must reproduce.
    pub golden: GoldenSection<'a>,
    /// What the factory's windows say of a head, if the capsule brings it.
    pub prior: Option<Prior<'a>>,
    /// Where the factory's embeddings lie, if the baseline watches how far those of the device are from them.
    pub embedding_distance: Option<EmbeddingDistance<'a>>,
}

/// The parts that turn a window into an answer.
#[derive(Clone, Copy, Debug)]
pub struct Scorer<'a> {
    /// From readings to features.
    pub front_end: FrontEnd,
    /// From features to standardised features.
    pub scaler: ScalerSection<'a>,
    /// From standardised features to scores.
    pub program: Program<'a>,
    /// From scores to an answer.
    pub decision: DecisionSection,
}

/// Memory that scoring works in.
#[derive(Debug)]
pub struct Workspace<'m> {
    /// Tensors.
    pub arena: Regions<'m>,
    /// A window, for golden vectors that begin with one.
    pub window: &'m mut [f32],
    /// Features.
    pub features: &'m mut [f32],
    /// Working memory of the front end.
    pub scratch: &'m mut [f32],
}

/// What a model made of a window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prediction {
    /// The model that said it.
    pub model: ModelId,
    /// What it said.
    pub answer: Answer,
    /// Whether the device's own head said it, and not the one that the model came with.
    pub is_own_head: bool,
}

/// What a model says of a window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Answer {
    /// One of its classes.
    Class {
        /// Index of the class.
        class: u8,
        /// Confidence in it, 0 to 1.
        confidence: f32,
        /// Whether the confidence reaches the model's least.
        is_sure: bool,
    },
    /// A number, in the unit of the training labels.
    Value(f32),
    /// How unusual the window is.
    Anomaly {
        /// The score; greater is stranger.
        score: f32,
        /// Whether it exceeds the model's threshold.
        is_alarm: bool,
    },
}

impl Answer {
    /// The class, if the model names one.
    pub fn class(&self) -> Option<u8> {
        match self {
            Answer::Class { class, .. } => Some(*class),
            Answer::Value(_) | Answer::Anomaly { .. } => None,
        }
    }

    /// What the monitor watches: confidence, score or value.
    pub fn output(&self) -> f32 {
        match self {
            Answer::Class { confidence, .. } => *confidence,
            Answer::Value(value) => *value,
            Answer::Anomaly { score, .. } => *score,
        }
    }
}

/// Why a device will not run a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The reason.
    pub reason: Reason,
    /// The number that the reason is about; see [`Reason`].
    pub detail: u32,
}

impl Refusal {
    pub(crate) const fn of(reason: Reason) -> Refusal {
        Refusal { reason, detail: 0 }
    }

    pub(crate) fn needs(reason: Reason, needed: usize) -> Refusal {
        Refusal {
            reason,
            detail: u32::try_from(needed).unwrap_or(u32::MAX),
        }
    }

    /// The reason as a word.
    pub fn as_str(self) -> &'static str {
        self.reason.as_str()
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "refused: {} ({})", self.reason, self.detail)
    }
}

impl core::error::Error for Refusal {}

/// How a golden vector came out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict {
    /// As expected, to the bit (a score: to a part in 10,000).
    Equal,
    /// Otherwise.
    Differs {
        /// Index of the first output that differs.
        element: usize,
        /// What it should be.
        expected: f32,
        /// What it is; infinite if the vector could not be run at all.
        actual: f32,
    },
}

impl Verdict {
    fn of(difference: Option<Difference>) -> Verdict {
        match difference {
            None => Verdict::Equal,
            Some(Difference {
                element,
                expected,
                actual,
            }) => Verdict::Differs {
                element,
                expected,
                actual,
            },
        }
    }
}

/// Of a model whose parts are unsound, or do not fit each other.
const UNSOUND: Refusal = Refusal::of(Reason::Plan);

impl<'a> Model<'a> {
    /// Takes a payload apart and checks every part, and that they fit each other.
    ///
    /// # Errors
    /// [`Reason::Malformed`] for a missing or unreadable section, [`Reason::Operator`] for a program of
    /// a later version, [`Reason::Plan`] for parts that are unsound or do not fit.
    pub fn load(payload: &Payload<'a>) -> Result<Model<'a>, Refusal> {
        let mut model = Model::take_apart(payload)?;
        model.settle(payload)?;
        Ok(model)
    }

    /// Reads the baseline where it is to lie, and checks that the parts fit each other.
    pub(crate) fn settle(&mut self, payload: &Payload<'a>) -> Result<(), Refusal> {
        let bytes = payload.section(SectionId::Baseline);
        let read = bytes.is_some_and(|bytes| self.baseline.read(bytes).is_ok());
        if !read {
            return Err(Refusal::of(Reason::Malformed));
        }
        match self.is_coherent() {
            true => Ok(()),
            false => Err(UNSOUND),
        }
    }

    /// The parts, but for what the baseline says, which [`Model::settle`] reads: who has little stack keeps the answer where
    /// it lies in between, for a copy of it is more than a kilobyte.
    #[inline(never)]
    pub(crate) fn take_apart(payload: &Payload<'a>) -> Result<Model<'a>, Refusal> {
        const MALFORMED: Refusal = Refusal::of(Reason::Malformed);
        let section = |id| payload.section(id).ok_or(MALFORMED);
        let front_end_bytes = section(SectionId::FrontEnd)?;
        let (front_end, read) = FrontEnd::decode(front_end_bytes).map_err(|_| UNSOUND)?;
        if read != front_end_bytes.len() {
            return Err(MALFORMED);
        }
        Ok(Model {
            front_end,
            scaler: ScalerSection::decode(section(SectionId::Scaler)?).map_err(|_| MALFORMED)?,
            program: Program::load(section(SectionId::Program)?).map_err(unloadable)?,
            decision: DecisionSection::decode(section(SectionId::Decision)?)
                .map_err(|_| MALFORMED)?,
            sensor: match payload.section(SectionId::Sensor) {
                Some(bytes) => Some(SensorSection::decode(bytes).map_err(|_| MALFORMED)?),
                None => None,
            },
            labels: Labels::decode(section(SectionId::Labels)?).map_err(|_| MALFORMED)?,
            baseline: Baseline::default(),
            golden: GoldenSection::decode(section(SectionId::Golden)?).map_err(|_| MALFORMED)?,
            prior: match payload.section(SectionId::Prior) {
                Some(bytes) => Some(Prior::decode(bytes).map_err(|_| MALFORMED)?),
                None => None,
            },
            embedding_distance: match payload.section(SectionId::Embedding) {
                Some(bytes) => Some(EmbeddingDistance::decode(bytes).map_err(|_| MALFORMED)?),
                None => None,
            },
        })
    }

    /// Whether a device with this sensor and this memory can run it; a window that is empty comes
    /// whole from outside.
    ///
    /// # Errors
    /// The first of them that does not suffice.
    pub fn fits(&self, sensor: &Sensor, workspace: &Workspace<'_>) -> Result<(), Refusal> {
        let front_end = &self.front_end;
        sensor.check(front_end, self.sensor.as_ref())?;
        if let Program::Plan(plan) = &self.program
            && workspace.arena.suffices(plan).is_err()
        {
            return Err(Refusal::needs(Reason::Arena, plan.arena_bytes()));
        }
        let needs = [
            (front_end.feature_count(), workspace.features.len()),
            (front_end.scratch_len(), workspace.scratch.len()),
            (
                if workspace.window.is_empty() {
                    0
                } else {
                    front_end.reading_count()
                },
                workspace.window.len(),
            ),
        ];
        match needs.iter().find(|(needed, given)| needed > given) {
            Some((needed, _)) => Err(Refusal::needs(Reason::Memory, *needed)),
            None => Ok(()),
        }
    }

    /// The parts that turn a window into an answer.
    pub fn scorer(&self) -> Scorer<'a> {
        Scorer {
            front_end: self.front_end,
            scaler: self.scaler,
            program: self.program,
            decision: self.decision,
        }
    }

    /// Runs a golden vector; `None` past the last.
    pub fn golden_case(&self, index: usize, workspace: &mut Workspace<'_>) -> Option<Verdict> {
        let golden = self.golden.vectors().nth(index)?;
        let not_run = Verdict::Differs {
            element: 0,
            expected: 0.0,
            actual: f32::INFINITY,
        };
        Some(
            self.scorer()
                .check_golden(&golden, workspace)
                .unwrap_or(not_run),
        )
    }

    /// Runs every golden vector that the workspace can hold: where whole windows come from outside and
    /// none is kept, those that begin with a window are passed over.
    ///
    /// # Errors
    /// [`Reason::Golden`] with the index of the first that came out otherwise, or if there is none at all.
    #[inline(never)]
    pub fn check_golden(&self, workspace: &mut Workspace<'_>) -> Result<(), Refusal> {
        let scorer = self.scorer();
        if self.golden.count() == 0 {
            return Err(Refusal::of(Reason::Golden));
        }
        for (index, golden) in self.golden.vectors().enumerate() {
            if matches!(golden, Golden::Window { .. }) && workspace.window.is_empty() {
                continue;
            }
            if scorer.check_golden(&golden, workspace) != Some(Verdict::Equal) {
                return Err(Refusal::needs(Reason::Golden, index));
            }
        }
        Ok(())
    }

    fn is_coherent(&self) -> bool {
        let features = self.front_end.feature_count();
        let groups = self.scaler.groups();
        let channels = self.baseline.channels();
        let is_monitored = channels.iter().all(|channel| match channel.source {
            Source::Feature(index) => usize::from(index) < features,
            Source::Embedding => self.embedding_distance.is_some(),
            Source::Output => true,
        });
        let is_measured = self.sensor.is_none_or(|sensor| {
            sensor.is_of(self.front_end.channel_count, self.front_end.rate_hz)
        });
        let is_scaled = groups == 0 || features.is_multiple_of(groups);
        let has_prior_of_it = self.prior.is_none_or(|prior| {
            self.embedding()
                .is_some_and(|embedding| embedding.len == prior.embedding_len())
                && self.labels.count() == prior.class_count()
        });
        let measures_its_own = self.embedding_distance.is_none_or(|distance| {
            self.embedding()
                .is_some_and(|embedding| embedding.len == distance.embedding_len())
                && self.labels.count() == distance.class_count()
        });
        let classes = self.labels.count();
        let answers = match (self.decision.task, self.decision.body, &self.program) {
            (Task::Classify, BodyKind::Network, Program::Plan(plan)) => {
                let counted = self.baseline.class_prior().len();
                classes == plan.output().len
                    && classes <= usize::from(u8::MAX)
                    && (counted == classes || counted == 0)
            }
            (Task::Regress, BodyKind::Network, Program::Plan(_)) => true,
            (Task::Anomaly, BodyKind::Autoencoder, Program::Plan(plan)) => {
                plan.input_is_kept() && plan.input().len == plan.output().len
            }
            (Task::Anomaly, BodyKind::Distance, Program::Distance(_)) => true,
            _ => false,
        };
        features == self.program.feature_count()
            && is_monitored
            && is_measured
            && is_scaled
            && has_prior_of_it
            && measures_its_own
            && answers
    }

    /// Where a classifier's embedding lies, if it has one.
    pub(crate) fn embedding(&self) -> Option<TensorView> {
        match (self.decision.task, &self.program) {
            (Task::Classify, Program::Plan(plan)) => plan.embedding(),
            _ => None,
        }
    }
}

/// Of two classes, whether this share of the second makes it the answer; `None` where the larger share does.
pub(crate) fn gives_second(decision: DecisionSection, share: f32) -> Option<bool> {
    let threshold = decision.threshold;
    (threshold > 0.0).then_some(share >= threshold)
}

impl Scorer<'_> {
    /// Computes the features of a window, before scaling.
    ///
    /// # Errors
    /// The front end's: a window of the wrong length, or a reading that is not a number.
    pub fn extract(
        &self,
        window: &[f32],
        features: &mut [f32],
        scratch: &mut [f32],
    ) -> Result<(), FrontEndError> {
        self.front_end.extract(window, features, scratch)
    }

    /// Scales features in place and says what the model makes of them.
    ///
    /// `features` are exactly those of the front end. `None` if the arena is smaller than the model needs.
    pub fn answer<A: Arena + ?Sized>(&self, features: &mut [f32], arena: &mut A) -> Option<Answer> {
        self.scaler.apply(features);
        match &self.program {
            Program::Plan(plan) => {
                // Every window stands alone: what a network remembers begins anew.
                plan.reset(arena).ok()?;
                plan.set_input(features, arena).ok()?;
                plan.run(arena).ok()?;
                self.read_answer(plan, arena).ok()
            }
            Program::Distance(distance) => Some(self.anomaly(distance.score(features))),
        }
    }

    /// The embedding of the window that was scored last; empty if the model has none.
    pub(crate) fn embedding<'m, A: Arena + ?Sized>(&self, arena: &'m A) -> Option<&'m [u8]> {
        match &self.program {
            Program::Plan(plan) => {
                let tensor = plan.embedding()?;
                arena.bytes(plan, tensor.range()).ok()
            }
            Program::Distance(_) => None,
        }
    }

    /// What the scores in the arena say.
    pub(crate) fn read_answer<A: Arena + ?Sized>(
        &self,
        plan: &Plan<'_>,
        arena: &A,
    ) -> Result<Answer, RunError> {
        let output = plan.output();
        let mut scores = output.values(arena.bytes(plan, output.range())?);
        Ok(match (self.decision.task, self.decision.body) {
            (_, BodyKind::Autoencoder | BodyKind::Distance) => {
                self.anomaly(reconstruction_error(plan, arena)?)
            }
            (Task::Classify, BodyKind::Network) => {
                let (mut class, mut best, mut ends) = (0, 0, [0; 2]);
                for (index, score) in scores.enumerate() {
                    // Of equal scores the first wins.
                    if index == 0 || score > best {
                        (class, best) = (index as u8, score);
                    }
                    ends = [ends[1], score];
                }
                let [first, second] = ends;
                if output.len == 2
                    && let Some(is_second) = gives_second(self.decision, output.real(second))
                {
                    (class, best) = if is_second { (1, second) } else { (0, first) };
                }
                let confidence = output.real(best).clamp(0.0, 1.0);
                let is_sure = confidence >= self.decision.min_confidence;
                Answer::Class {
                    class,
                    confidence,
                    is_sure,
                }
            }
            (Task::Regress | Task::Anomaly, BodyKind::Network) => {
                Answer::Value(scores.next().map_or(0.0, |score| output.real(score)))
            }
        })
    }

    fn anomaly(&self, score: f32) -> Answer {
        Answer::Anomaly {
            score,
            is_alarm: score > self.decision.threshold,
        }
    }

    /// `None` if the workspace is too small for the vector, or the vector is not one of this model.
    fn check_golden(&self, golden: &Golden<'_>, workspace: &mut Workspace<'_>) -> Option<Verdict> {
        let feature_count = self.front_end.feature_count();
        let arena = &mut workspace.arena;
        match (golden, &self.program) {
            (Golden::Tensor { input, output }, Program::Plan(plan)) => {
                plan.reset(arena).ok()?;
                let tensor = arena.bytes_mut(plan, plan.input().range()).ok()?;
                if tensor.len() != input.len() {
                    return None;
                }
                tensor.copy_from_slice(input);
                plan.run(arena).ok()?;
                compare(plan, output, arena)
            }
            (Golden::Window { readings, output }, Program::Plan(plan)) => {
                let window = workspace.window.get_mut(..readings.len())?;
                read_numbers(readings, window);
                let features = workspace.features.get_mut(..feature_count)?;
                self.extract(window, features, workspace.scratch).ok()?;
                self.answer(features, arena)?;
                compare(plan, output, arena)
            }
            (
                Golden::Score {
                    features: given,
                    score,
                },
                Program::Distance(_),
            ) => {
                let features = workspace.features.get_mut(..feature_count)?;
                if given.len() != features.len() {
                    return None;
                }
                read_numbers(given, features);
                let actual = self.answer(features, arena)?.output();
                Some(Verdict::of(score_difference(*score, actual)))
            }
            _ => None,
        }
    }
}

/// Why a program cannot be loaded.
fn unloadable(error: ProgramError) -> Refusal {
    match error {
        ProgramError::Plan(PlanError::Op(index)) => {
            Refusal::needs(Reason::Operator, usize::from(index))
        }
        ProgramError::Plan(PlanError::Header) => {
            Refusal::needs(Reason::Operator, usize::from(u16::MAX))
        }
        _ => Refusal::of(Reason::Plan),
    }
}

fn read_numbers(bytes: &[[u8; 4]], numbers: &mut [f32]) {
    for (number, bytes) in numbers.iter_mut().zip(bytes) {
        *number = f32::from_le_bytes(*bytes);
    }
}

fn compare(plan: &Plan<'_>, expected: &[u8], arena: &Regions<'_>) -> Option<Verdict> {
    let output = plan.output();
    let actual = arena.bytes(plan, output.range()).ok()?;
    let mut found = differences(output.element, expected, actual);
    (expected.len() == actual.len()).then(|| Verdict::of(found.next()))
}
