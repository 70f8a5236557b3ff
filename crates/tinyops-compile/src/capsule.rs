//! The payload of a capsule: everything that a device needs of a model, unsigned.

use tinyops_model::{Body, Model, Task};
use tinyops_wire::Digest;
use tinyops_wire::payload::{self, Payload, SectionId};
use tinyops_wire::section::{
    BodyKind, DecisionSection, Golden as WireGolden, GoldenSection, Labels, ScalerSection,
    SectionError, Task as WireTask,
};

/// What a model was trained on, channel by channel, and how much of it a capsule can say.
pub use tinyops_wire::sensor::{
    AXIS_BYTES_MAX, Channel as SensorChannel, Mounting, RATE_TOLERANCE_PPM, RATE_TOLERANCE_PPM_MAX,
    SensorContract, UNIT_BYTES_MAX,
};

use crate::compiled::Compiled;

/// A feature block holds more settings than any; its encoder tells how many bytes it took.
const FRONT_END_BYTES_MAX: usize = 4096;

/// An input and what the device must make of it, exactly, before it trusts a new capsule.
#[derive(Clone, Debug, PartialEq)]
pub enum Golden {
    /// The bytes of the plan's input and output tensors.
    Tensor {
        /// Quantized features.
        input: Vec<u8>,
        /// Quantized scores.
        output: Vec<u8>,
    },
    /// A window of readings and the plan's output tensor: also proves the front end.
    Window {
        /// Interleaved readings.
        readings: Vec<f32>,
        /// The bytes of the quantized scores.
        output: Vec<u8>,
    },
    /// Features before scaling, and the score of a body without network.
    Score {
        /// Features.
        features: Vec<f32>,
        /// Score.
        score: f32,
    },
}

/// Why a payload cannot be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PayloadError {
    /// A section refuses its values.
    #[error("section {section} refuses its values: {source}")]
    Section {
        /// Which section.
        section: &'static str,
        /// Why.
        source: SectionError,
    },
    /// The front end does not pass its own check.
    #[error("the front end's settings are out of range")]
    FrontEnd,
    /// The baseline does not encode.
    #[error("the baseline does not encode")]
    Baseline,
    /// The prior is of other classes or another embedding than the network's, or there is no network.
    #[error("the prior of a head is not of this network")]
    Prior,
    /// The sections do not make a payload.
    #[error("the sections do not make a payload")]
    Payload,
}

/// Writes the payload of a capsule: plan or distance, front end, scaler, labels, baseline,
/// decision, golden vectors and, where there are any, what the readings are measured in, the prior of a head and where
/// embeddings lie. The
/// same arguments give the same bytes.
///
/// # Errors
/// [`PayloadError`].
pub fn payload(
    model: &Model,
    compiled: &Compiled,
    golden: &[Golden],
) -> Result<Vec<u8>, PayloadError> {
    let mut front_end = vec![0; FRONT_END_BYTES_MAX];
    let used = model
        .front_end
        .encode(&mut front_end)
        .map_err(|_| PayloadError::FrontEnd)?;
    front_end.truncate(used);

    let (mean, inv_std) = (&model.scaler.mean, &model.scaler.inv_std);
    let mut scaler = vec![0; ScalerSection::encoded_len(mean.len())];
    ScalerSection::encode(mean, inv_std, &mut scaler).map_err(refused("scaler"))?;

    let names: Vec<&str> = model.labels.iter().map(String::as_str).collect();
    let mut labels = vec![0; Labels::encoded_len(&names)];
    Labels::encode(&names, &mut labels).map_err(refused("labels"))?;

    let mut baseline = vec![0; model.baseline.encoded_len()];
    let used = model
        .baseline
        .encode(&mut baseline)
        .map_err(|_| PayloadError::Baseline)?;
    baseline.truncate(used);

    let decision = decision_section(model).encode();
    let golden = golden_section(golden)?;

    let sections = [
        (SectionId::Program, &compiled.program[..]),
        (SectionId::FrontEnd, &front_end),
        (SectionId::Scaler, &scaler),
        (SectionId::Labels, &labels),
        (SectionId::Baseline, &baseline),
        (SectionId::Decision, &decision),
        (SectionId::Golden, &golden),
        (SectionId::Sensor, &compiled.sensor),
        (SectionId::Prior, &compiled.prior),
        (SectionId::Embedding, &model.embedding),
    ];
    let sections: Vec<_> = sections
        .into_iter()
        .filter(|(_, bytes)| !bytes.is_empty())
        .collect();
    let mut out = vec![0; payload::encoded_len(sections.iter().map(|(_, bytes)| bytes.len()))];
    let used = payload::encode(&sections, &mut out).map_err(|_| PayloadError::Payload)?;
    out.truncate(used);
    Ok(out)
}

/// What makes the embedding of a model, as its prior names it: the first bytes of a digest. `None` for a model without.
#[must_use]
pub fn embedding_digest(model: &Model) -> Option<[u8; 8]> {
    Some(Digest::of(&model.embedding_bytes()?).prefix())
}

/// The prior that a payload brings, if it brings one.
#[must_use]
pub fn prior_of(payload: &[u8]) -> Option<Vec<u8>> {
    let payload = Payload::parse(payload).ok()?;
    payload.section(SectionId::Prior).map(<[u8]>::to_vec)
}

pub(crate) fn sensor_section(contract: &SensorContract<'_>) -> Result<Vec<u8>, PayloadError> {
    let mut sensor = vec![0; contract.encoded_len()];
    contract.encode(&mut sensor).map_err(refused("sensor"))?;
    Ok(sensor)
}

fn decision_section(model: &Model) -> DecisionSection {
    DecisionSection {
        task: match model.task {
            Task::Classify => WireTask::Classify,
            Task::Regress => WireTask::Regress,
            Task::Anomaly => WireTask::Anomaly,
        },
        body: match model.body {
            Body::Network(_) => BodyKind::Network,
            Body::Autoencoder(_) => BodyKind::Autoencoder,
            Body::KMeans { .. } | Body::Mahalanobis { .. } => BodyKind::Distance,
        },
        threshold: model.decision.threshold,
        min_confidence: model.decision.min_confidence,
    }
}

fn golden_section(golden: &[Golden]) -> Result<Vec<u8>, PayloadError> {
    if golden.is_empty() {
        return Ok(Vec::new());
    }
    let words = |values: &[f32]| {
        values
            .iter()
            .map(|value| value.to_le_bytes())
            .collect::<Vec<_>>()
    };
    let numbers: Vec<Vec<[u8; 4]>> = golden
        .iter()
        .map(|golden| match golden {
            Golden::Tensor { .. } => Vec::new(),
            Golden::Window { readings, .. } => words(readings),
            Golden::Score { features, .. } => words(features),
        })
        .collect();
    let vectors: Vec<WireGolden<'_>> = golden
        .iter()
        .zip(&numbers)
        .map(|(golden, words)| match golden {
            Golden::Tensor { input, output } => WireGolden::Tensor { input, output },
            Golden::Window { output, .. } => WireGolden::Window {
                readings: words,
                output,
            },
            Golden::Score { score, .. } => WireGolden::Score {
                features: words,
                score: *score,
            },
        })
        .collect();
    let len =
        GoldenSection::HEADER_BYTES + vectors.iter().map(GoldenSection::vector_len).sum::<usize>();
    let mut out = vec![0; len];
    GoldenSection::encode(&vectors, &mut out).map_err(refused("golden"))?;
    Ok(out)
}

fn refused(section: &'static str) -> impl Fn(SectionError) -> PayloadError {
    move |source| PayloadError::Section { section, source }
}
