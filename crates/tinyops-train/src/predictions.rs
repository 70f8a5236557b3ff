//! What a model said of every test window: enough to judge it anew, by other prices, or beside another model.

use std::collections::{BTreeMap, HashMap};

use crate::codec::{CodecError, Reader, Writer};
use crate::evaluate::Asked;
use crate::evaluation::{Evaluation, Judgement, Scores};
use crate::feature_set::{read_rows, write_rows};
use crate::interval::Interval;
use crate::slices::slices_of;
use crate::spec::Costs;
use crate::table::Table;
use crate::{Origin, Recording, Target};

/// What a model said of every test window, and what each is.
#[derive(Clone, Debug, PartialEq)]
pub struct Predictions {
    /// The classes: of the model, or of the dataset where the model has none.
    pub labels: Vec<String>,
    /// The threshold of the model's decision, as a device takes it: [`Scores::given`].
    pub threshold: f32,
    /// What each window is.
    pub targets: Vec<Target>,
    /// Where each window comes from.
    pub origins: Vec<Origin>,
    /// The recordings that origins name.
    pub recordings: Vec<Recording>,
    /// What the int8 model said of each.
    pub scores: Scores,
}

/// How a slice fares beside another version on the windows that were tests of both.
#[derive(Clone, Debug, PartialEq)]
pub struct SliceChange {
    /// How windows were sliced.
    pub key: String,
    /// The slice.
    pub value: String,
    /// Windows of it that both versions were tested on.
    pub windows: usize,
    /// The project's metric of this version and of the other; none where these windows do not give it.
    pub figures: Option<[f32; 2]>,
    /// How much worse this version is.
    pub loss: f32,
    /// Where that lies, by drawing the same recordings for both; none of too few.
    pub interval: Option<Interval>,
}

const MARK: [u8; 8] = *b"TOPREDI1";

impl Predictions {
    /// Judges the model again, by these prices.
    #[must_use]
    pub fn evaluate(&self, costs: &Costs, asked: Asked<'_>) -> Evaluation {
        let judgement = self.judgement(costs, asked);
        Evaluation::of(&self.scores, &self.targets, &judgement)
    }

    pub(crate) fn judgement<'a>(&'a self, costs: &'a Costs, asked: Asked<'a>) -> Judgement<'a> {
        Judgement {
            labels: &self.labels,
            normal: costs.normal_of(&self.labels),
            costs,
            threshold: self.threshold,
            metric: asked.metric,
            origins: &self.origins,
            recordings: &self.recordings,
            slices: asked.slices,
            slice_windows_min: asked.slice_windows_min,
        }
    }

    /// Its answers beside the truth.
    pub(crate) fn table(&self, costs: &Costs) -> Table {
        let judgement = self.judgement(costs, Asked::default());
        Table::of(&self.scores, &self.targets, &judgement)
    }

    /// The places of windows that this version and another were both tested on, and that both call the same.
    ///
    /// A window is known by the name of its recording and by where it begins there.
    #[must_use]
    pub fn shared(&self, other: &Self) -> Vec<(usize, usize)> {
        let mut known: HashMap<(&str, u32), usize> = HashMap::new();
        for row in 0..other.targets.len() {
            known.entry(other.name(row)).or_insert(row);
        }
        let shared = (0..self.targets.len()).filter_map(|row| {
            let theirs = *known.get(&self.name(row))?;
            (self.truth(row) == other.truth(theirs)).then_some((row, theirs))
        });
        shared.collect()
    }

    /// How each slice fares beside another version, on the windows that both were tested on.
    #[must_use]
    pub fn against(&self, other: &Self, costs: &Costs, asked: Asked<'_>) -> Vec<SliceChange> {
        let shared = self.shared(other);
        let (own, theirs) = (self.table(costs), other.table(costs));
        let place = |table: &Table| -> HashMap<usize, usize> {
            let answers = table.answers.iter().enumerate();
            answers.map(|(at, answer)| (answer.row, at)).collect()
        };
        let (own_place, their_place) = (place(&own), place(&theirs));
        let mut changes = Vec::new();
        for key in asked.slices {
            let slices = slices_of(
                key,
                &self.origins,
                &self.recordings,
                &self.targets,
                &self.labels,
            );
            let mut members: BTreeMap<&str, Vec<(usize, usize)>> = BTreeMap::new();
            for (row, their_row) in &shared {
                let pair = own_place.get(row).zip(their_place.get(their_row));
                if let Some((at, their_at)) = pair {
                    let slice = members.entry(&slices[*row]).or_default();
                    slice.push((*at, *their_at));
                }
            }
            for (value, pairs) in members {
                let loss = match pairs.len() >= asked.slice_windows_min {
                    true => own.loss(&theirs, asked.metric, &pairs),
                    false => None,
                };
                changes.push(SliceChange {
                    key: key.clone(),
                    value: value.to_owned(),
                    windows: pairs.len(),
                    figures: loss.map(|loss| [loss.now, loss.before]),
                    loss: loss.map_or(0.0, |loss| loss.loss),
                    interval: loss.and_then(|loss| loss.interval),
                });
            }
        }
        changes
    }

    /// The same of these windows alone, in this order.
    pub(crate) fn select(&self, rows: &[usize]) -> Self {
        Self {
            labels: self.labels.clone(),
            threshold: self.threshold,
            targets: rows.iter().map(|&row| self.targets[row]).collect(),
            origins: rows.iter().map(|&row| self.origins[row]).collect(),
            recordings: self.recordings.clone(),
            scores: Scores {
                width: self.scores.width,
                values: rows
                    .iter()
                    .flat_map(|&row| self.scores.row(row))
                    .copied()
                    .collect(),
            },
        }
    }

    /// Bytes that [`Predictions::decode`] reads back.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new(MARK);
        out.len(self.labels.len());
        self.labels.iter().for_each(|label| out.text(label));
        out.f32s(&[self.threshold]);
        write_rows(&mut out, &self.targets, &self.origins, &self.recordings);
        out.len(self.scores.width);
        out.f32s(&self.scores.values);
        out.0
    }

    /// Reads what [`Predictions::encode`] wrote.
    ///
    /// # Errors
    /// [`CodecError`] for any other bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let mut from = Reader::new(MARK, "predictions", bytes)?;
        let labels: Vec<String> = (0..from.len(8)?)
            .map(|_| from.text())
            .collect::<Result<_, _>>()?;
        let threshold = from.f32s()?;
        let (targets, origins, recordings) = read_rows(&mut from, labels.len())?;
        let width = from.size()?;
        let values = from.f32s()?;
        let wrong = from.wrong();
        from.finish()?;
        let &[threshold] = &threshold[..] else {
            return Err(wrong);
        };
        if width == 0 || targets.len().checked_mul(width) != Some(values.len()) {
            return Err(wrong);
        }
        Ok(Self {
            labels,
            threshold,
            targets,
            origins,
            recordings,
            scores: Scores { width, values },
        })
    }

    fn name(&self, row: usize) -> (&str, u32) {
        let Origin { recording, start } = self.origins[row];
        (&self.recordings[recording as usize].name, start)
    }

    /// What a window is, by name, so that versions that number classes otherwise compare.
    fn truth(&self, row: usize) -> Option<Truth<'_>> {
        match self.targets[row] {
            Target::None => None,
            Target::Class(class) => {
                let label = self.labels.get(usize::from(class))?;
                Some(Truth::Class(label))
            }
            Target::Value(value) => Some(Truth::Value(value)),
        }
    }
}

#[derive(PartialEq)]
enum Truth<'a> {
    Class(&'a str),
    Value(f32),
}
