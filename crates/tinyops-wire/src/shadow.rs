//! Shadow reports: how a candidate answers beside the model that runs, on the same windows.
//!
//! ```text
//! kind | version << 4, then
//!  1  1  flags: bit 0 its windows are over, bit 1 the costs are measured
//!  2  4  model id of the candidate
//!  6  2  windows that both have scored
//!  8  2  of these, windows of which both said the same
//! 10  2  windows that the candidate could not score, or to which it gave no finite answer
//! 12  2  mean deviation of its output from its own training, i16 in 1/256 standard deviations
//! 14  3  what scoring cost it, as behind a summary; zeros if that is not measured
//! 17  8  labelled windows, u16 each: both right, only the one that runs, only the candidate, neither
//! 25  1  classes K of the candidate
//! 26  K  share of each class among its answers, in 1/255
//! ```
//! All counts are since the report before. The size is the same for every report of a candidate.

use tinyops_sketch::CLASSES_MAX;

use crate::ModelId;
use crate::bytes::{Reader, Writer};
use crate::cost::{COST_BYTES, Cost};
use crate::frame::{VERSION, kind};

/// Steps of the deviation of an output in one standard deviation.
const OUTPUT_STEPS: f32 = 256.0;

/// How a candidate has answered beside the model that runs, since the report before.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ShadowReport<'a> {
    /// The candidate; the envelope names the model that runs.
    pub model: ModelId,
    /// Its answers.
    pub answers: Answers,
    cost: Option<[u8; COST_BYTES]>,
    shares: Shares<'a>,
}

/// How often a candidate answered, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Answers {
    /// Whether it has scored as many windows as it was to, and scores no more.
    pub is_over: bool,
    /// Windows that both have scored.
    pub windows: u16,
    /// Of these, windows of which both said the same.
    pub agreed: u16,
    /// Windows that the candidate could not score, or to which it gave no finite answer.
    pub failed: u16,
    /// Mean deviation of its output from its own training, in that one's standard deviations.
    pub output: f32,
    /// Labelled windows by who was right.
    pub pairs: Pairs,
}

/// Labelled windows by which of two models were right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pairs {
    /// Both.
    pub both: u16,
    /// Only the model that runs.
    pub only_active: u16,
    /// Only the candidate.
    pub only_candidate: u16,
    /// Neither.
    pub neither: u16,
}

impl Pairs {
    /// All of them.
    pub fn judged(&self) -> u32 {
        let counts = [
            self.both,
            self.only_active,
            self.only_candidate,
            self.neither,
        ];
        counts.into_iter().map(u32::from).sum()
    }

    /// Counts one window.
    pub fn count(&mut self, active_is_right: bool, candidate_is_right: bool) {
        let counted = match (active_is_right, candidate_is_right) {
            (true, true) => &mut self.both,
            (true, false) => &mut self.only_active,
            (false, true) => &mut self.only_candidate,
            (false, false) => &mut self.neither,
        };
        *counted = counted.saturating_add(1);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shares<'a> {
    /// Windows by class.
    Counts(&'a [u16]),
    Codes(&'a [u8]),
}

impl<'a> ShadowReport<'a> {
    /// A report of a candidate; `counts[class]` of its answers were each class. What it cost is said with
    /// [`ShadowReport::with_cost`].
    pub fn new(model: ModelId, answers: Answers, counts: &'a [u16]) -> ShadowReport<'a> {
        ShadowReport {
            model,
            answers,
            cost: None,
            shares: Shares::Counts(counts),
        }
    }

    /// The same report with what scoring cost, dithered by the device's seed and the sequence number of the envelope.
    #[must_use]
    pub fn with_cost(self, cost: &Cost, dither: (u64, u32)) -> ShadowReport<'a> {
        ShadowReport {
            cost: Some(cost.encode(dither)),
            ..self
        }
    }

    /// What scoring cost, if that is measured.
    pub fn cost(&self, dither: (u64, u32)) -> Option<Cost> {
        self.cost.map(|codes| Cost::decode(&codes, dither))
    }

    /// Classes of the candidate; 0 for one that names none.
    pub fn class_count(&self) -> usize {
        match self.shares {
            Shares::Counts(counts) => counts.len(),
            Shares::Codes(codes) => codes.len(),
        }
    }

    /// Share of each class among the candidate's answers; they sum to 1, or to 0 of no windows.
    pub fn class_shares(&self) -> impl Iterator<Item = f32> + use<'a> {
        let shares = self.shares;
        let codes = (0..self.class_count()).map(move |class| f32::from(shares.code(class)));
        let sum: f32 = codes.clone().sum();
        codes.map(move |code| code / sum.max(1.0))
    }

    pub(crate) fn read(reader: &mut Reader<'a>) -> Option<ShadowReport<'a>> {
        let flags = reader.u8()?;
        let model = ModelId(reader.u32()?);
        let (windows, agreed, failed) = (reader.u16()?, reader.u16()?, reader.u16()?);
        let output = f32::from(reader.u16()? as i16) / OUTPUT_STEPS;
        let cost = reader.array()?;
        let pairs = Pairs {
            both: reader.u16()?,
            only_active: reader.u16()?,
            only_candidate: reader.u16()?,
            neither: reader.u16()?,
        };
        let class_count = usize::from(reader.u8()?);
        let is_measured = flags & IS_MEASURED != 0;
        let is_sound = flags & !(IS_OVER | IS_MEASURED) == 0
            && (is_measured || cost == [0; COST_BYTES])
            && class_count <= CLASSES_MAX
            && agreed <= windows;
        if !is_sound {
            return None;
        }
        Some(ShadowReport {
            model,
            answers: Answers {
                is_over: flags & IS_OVER != 0,
                windows,
                agreed,
                failed,
                output,
                pairs,
            },
            cost: is_measured.then_some(cost),
            shares: Shares::Codes(reader.take(class_count)?),
        })
    }

    pub(crate) fn write(&self, out: &mut Writer<'_>) -> Option<()> {
        let class_count = self.class_count();
        let Answers {
            windows,
            agreed,
            failed,
            ..
        } = self.answers;
        if class_count > CLASSES_MAX || agreed > windows {
            return None;
        }
        let is_over = if self.answers.is_over { IS_OVER } else { 0 };
        let is_measured = if self.cost.is_some() { IS_MEASURED } else { 0 };
        out.put(&[kind::SHADOW | VERSION << 4, is_over | is_measured])?;
        out.put(&self.model.0.to_le_bytes())?;
        // A conversion that saturates; what is no number becomes 0.
        let output = libm::roundf(self.answers.output * OUTPUT_STEPS) as i16;
        out.put(&windows.to_le_bytes())?;
        out.put(&agreed.to_le_bytes())?;
        out.put(&failed.to_le_bytes())?;
        out.put(&output.to_le_bytes())?;
        out.put(&self.cost.unwrap_or_default())?;
        let Pairs {
            both,
            only_active,
            only_candidate,
            neither,
        } = self.answers.pairs;
        for count in [both, only_active, only_candidate, neither] {
            out.put(&count.to_le_bytes())?;
        }
        out.put(&[class_count as u8])?;
        (0..class_count).try_for_each(|class| out.put(&[self.shares.code(class)]))
    }
}

const IS_OVER: u8 = 1 << 0;
const IS_MEASURED: u8 = 1 << 1;

impl Shares<'_> {
    /// A class's share in 1/255.
    fn code(self, class: usize) -> u8 {
        match self {
            Shares::Codes(codes) => codes.get(class).copied().unwrap_or(0),
            Shares::Counts(counts) => {
                let sum: u32 = counts.iter().map(|&count| u32::from(count)).sum();
                let count = counts.get(class).map_or(0, |&count| u32::from(count));
                ((count * 255 + sum / 2) / sum.max(1)) as u8
            }
        }
    }
}
