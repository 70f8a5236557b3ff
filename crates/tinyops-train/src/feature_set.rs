//! The features of a whole split: what the featurize step hands to the others.

use tinyops_data::dataset::Dataset;
use tinyops_data::split::Split;
use tinyops_data::window::Windowing;
use tinyops_dsp::FrontEnd;

use crate::codec::{CodecError, Reader, Writer};
use crate::progress::Listener;
use crate::spec::{AugmentSpec, TrainSpec};
use crate::{Features, Origin, Recording, Target, TrainError, Windows};

/// The features of a whole split.
#[derive(Clone, Debug, PartialEq)]
pub struct FeatureSet {
    /// Names of the classes, in the order of the model's outputs.
    pub classes: Vec<String>,
    /// Weights are fitted to these, and to changed copies of them.
    pub train: Features,
    /// Choices are made by these.
    pub validation: Features,
    /// Looked at once, at the end.
    pub test: Features,
}

impl FeatureSet {
    /// Cuts, and featurizes, the three parts of a dataset.
    ///
    /// # Errors
    /// Settings that do not fit the recordings, recordings that do not fit each other, cancellation.
    pub fn build(
        spec: &TrainSpec,
        dataset: &Dataset,
        windowing: &Windowing,
        split: &Split,
        report: Listener<'_>,
    ) -> Result<Self, TrainError> {
        spec.check()?;
        let part = |samples: &[usize]| Windows::cut(dataset, samples, windowing);
        let parts = [
            part(&split.train)?,
            part(&split.validation)?,
            part(&split.test)?,
        ];
        Self::of_windows(spec, &dataset.classes, &parts, report)
    }

    /// Featurizes windows for training, validation and test.
    ///
    /// # Errors
    /// As [`FeatureSet::build`].
    pub fn of_windows(
        spec: &TrainSpec,
        classes: &[String],
        [train, validation, test]: &[Windows; 3],
        report: Listener<'_>,
    ) -> Result<Self, TrainError> {
        if train.count() == 0 {
            let reason = "no recording of the training part is as long as a window".to_owned();
            return Err(TrainError::NoWindows {
                purpose: "train",
                reason,
            });
        }
        let front_end = spec.front_end.settle(train)?;
        let kept = if spec.refit {
            spec.augment.clone()
        } else {
            AugmentSpec::default()
        };
        Ok(Self {
            classes: classes.to_vec(),
            train: Features::extract_copies(&front_end, train, &spec.augment, spec.seed, report)?,
            // A refit trains on these too, and then on changed copies of them.
            validation: Features::extract_copies(
                &front_end,
                validation,
                &kept,
                spec.seed ^ 1,
                report,
            )?,
            test: Features::extract(&front_end, test, report)?,
        })
    }

    /// Bytes that [`FeatureSet::decode`] reads back.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new(MARK);
        out.len(self.classes.len());
        self.classes.iter().for_each(|class| out.text(class));
        [&self.train, &self.validation, &self.test]
            .into_iter()
            .for_each(|part| write_part(&mut out, part));
        out.0
    }

    /// Reads what [`FeatureSet::encode`] wrote.
    ///
    /// # Errors
    /// [`CodecError`] for any other bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let mut from = Reader::new(MARK, "a feature set", bytes)?;
        let classes: Vec<String> = (0..from.len(8)?)
            .map(|_| from.text())
            .collect::<Result<_, _>>()?;
        let train = read_part(&mut from, classes.len())?;
        let validation = read_part(&mut from, classes.len())?;
        let test = read_part(&mut from, classes.len())?;
        from.finish()?;
        Ok(Self {
            classes,
            train,
            validation,
            test,
        })
    }
}

const MARK: [u8; 8] = *b"TOFEATS1";
/// Room for the settings of any front end.
const FRONT_END_BYTES: usize = 256;

pub(crate) fn write_front_end(out: &mut Writer, front_end: &FrontEnd) {
    let mut bytes = [0u8; FRONT_END_BYTES];
    let len = front_end
        .encode(&mut bytes)
        .expect("the buffer holds any front end");
    out.bytes(&bytes[..len]);
}

pub(crate) fn read_front_end(from: &mut Reader<'_>) -> Result<FrontEnd, CodecError> {
    let bytes = from.bytes()?;
    match FrontEnd::decode(bytes) {
        Ok((front_end, used)) if used == bytes.len() => Ok(front_end),
        _ => Err(from.wrong()),
    }
}

fn write_part(out: &mut Writer, part: &Features) {
    write_front_end(out, &part.front_end);
    out.len(part.copies);
    out.f32s(&part.values);
    write_rows(out, &part.targets, &part.origins, &part.recordings);
}

/// What windows are and where they come from.
pub(crate) fn write_rows(
    out: &mut Writer,
    targets: &[Target],
    origins: &[Origin],
    recordings: &[Recording],
) {
    // A class is its index, a value its bits; the two kinds are told apart by the word before.
    let words = targets.iter().flat_map(|target| match target {
        Target::None => [0, 0],
        Target::Class(class) => [1, u32::from(*class)],
        Target::Value(value) => [2, value.to_bits()],
    });
    out.u32s(&words.collect::<Vec<_>>());
    let places = origins
        .iter()
        .flat_map(|origin| [origin.recording, origin.start]);
    out.u32s(&places.collect::<Vec<_>>());
    out.len(recordings.len());
    for recording in recordings {
        out.text(&recording.name);
        out.text(&recording.group);
        out.len(recording.metadata.len());
        for (key, value) in &recording.metadata {
            out.text(key);
            out.text(value);
        }
    }
}

fn read_part(from: &mut Reader<'_>, classes: usize) -> Result<Features, CodecError> {
    let front_end = read_front_end(from)?;
    let copies = from.size()?;
    let values = from.f32s()?;
    let (targets, origins, recordings) = read_rows(from, classes)?;
    let features = front_end.feature_count();
    let expected = targets
        .len()
        .checked_mul(copies)
        .and_then(|rows| rows.checked_mul(features));
    if expected != Some(values.len()) || copies == 0 {
        return Err(from.wrong());
    }
    Ok(Features {
        front_end,
        shape: front_end.shape(),
        copies,
        values,
        targets,
        origins,
        recordings,
    })
}

/// What [`write_rows`] wrote, as many origins as targets, each of a recording that is there.
pub(crate) fn read_rows(from: &mut Reader<'_>, classes: usize) -> Result<Rows, CodecError> {
    let wrong = from.wrong();
    let targets = from.u32s()?;
    let targets = targets
        .as_chunks::<2>()
        .0
        .iter()
        .map(|&[kind, word]| match kind {
            0 => Ok(Target::None),
            1 if (word as usize) < classes => Ok(Target::Class(word as u16)),
            2 => Ok(Target::Value(f32::from_bits(word))),
            _ => Err(wrong),
        });
    let targets: Vec<Target> = targets.collect::<Result<_, _>>()?;
    let origins = from.u32s()?;
    let origins: Vec<Origin> = origins
        .as_chunks::<2>()
        .0
        .iter()
        .map(|&[recording, start]| Origin { recording, start })
        .collect();
    let mut recordings = Vec::new();
    for _ in 0..from.len(24)? {
        let mut recording = Recording {
            name: from.text()?,
            group: from.text()?,
            ..Recording::default()
        };
        for _ in 0..from.len(16)? {
            recording.metadata.insert(from.text()?, from.text()?);
        }
        recordings.push(recording);
    }
    let is_whole = origins.len() == targets.len()
        && origins
            .iter()
            .all(|origin| (origin.recording as usize) < recordings.len());
    match is_whole {
        true => Ok((targets, origins, recordings)),
        false => Err(wrong),
    }
}

type Rows = (Vec<Target>, Vec<Origin>, Vec<Recording>);
