//! The model that runs: found in a capsule, checked once a boot, then read in place window by window.

use core::ops::Range;

use tinyops_dsp::FrontEnd;
use tinyops_nn::{EmbeddingDistance, Program};
use tinyops_sketch::{Baseline, ChannelBaseline};
use tinyops_wire::capsule::{Capsule, CapsuleError, Unverified};
use tinyops_wire::frame::Reason;
use tinyops_wire::payload::SectionId;
use tinyops_wire::section::{DecisionSection, GoldenSection, Labels, ScalerSection, Task};
use tinyops_wire::{Digest, ModelId, VerifyingKey};

use crate::journal::Place;
use crate::labels::Shape;
use crate::model::{Model, Refusal, Scorer, Workspace};
use crate::settings::Config;

/// What a step needs to know of the model, so that no window pays for checking the capsule again.
#[derive(Clone, Debug)]
pub(crate) struct Running {
    pub(crate) place: Place,
    pub(crate) model: ModelId,
    /// Digest of its manifest.
    pub(crate) manifest: Digest,
    /// Sequence number of its manifest.
    pub(crate) sequence: u32,
    pub(crate) parts: Parts,
    pub(crate) baseline: Baseline,
    pub(crate) labels: Shape,
    names: Range<usize>,
    golden: Range<usize>,
    /// Empty where the capsule brings none.
    prior: Range<usize>,
    /// Empty where the baseline does not watch embeddings.
    embedding: Range<usize>,
}

/// Where the parts of a capsule are that score a window.
#[derive(Clone, Debug)]
pub(crate) struct Parts {
    pub(crate) front_end: FrontEnd,
    decision: DecisionSection,
    program: Range<usize>,
    scaler: Range<usize>,
}

/// Who says that a capsule is valid.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Authority<'k> {
    /// One of these keys, of the key set with this sequence number.
    Release(&'k [VerifyingKey], u32),
    /// A key of before: the bytes are those that were checked when they were installed.
    Installed,
}

impl Running {
    /// Checks a capsule all the way and finds its parts, its golden vectors too if they are asked for. What it finds it
    /// leaves in `found`, not to be copied: it is more than a kilobyte of a device's stack.
    ///
    /// # Errors
    /// The first reason not to run it; nothing is found then.
    #[inline(never)]
    pub(crate) fn check(
        bytes: &[u8],
        place: Place,
        authority: Authority<'_>,
        config: &Config,
        workspace: &mut Workspace<'_>,
        with_golden: bool,
        found: &mut Option<Running>,
    ) -> Result<(), Refusal> {
        *found = None;
        let capsule = vouched_for(bytes, authority, config)?;
        Running::load(&capsule, place, config, workspace, with_golden, found)
    }

    /// Finds the parts of a capsule that somebody has vouched for.
    ///
    /// Apart, as what comes before it: each takes kilobytes of stack, and together they would need them at once.
    #[inline(never)]
    fn load(
        capsule: &Capsule<'_>,
        place: Place,
        config: &Config,
        workspace: &mut Workspace<'_>,
        with_golden: bool,
        found: &mut Option<Running>,
    ) -> Result<(), Refusal> {
        let mut parts = Model::take_apart(&capsule.payload);
        let model = parts.as_mut().map_err(|refusal| *refusal)?;
        model.settle(&capsule.payload)?;
        model.fits(&config.sensor, workspace)?;
        if with_golden {
            model.check_golden(workspace)?;
        }
        Running::find(capsule, place, model, found);
        Ok(())
    }

    /// What a step needs to know of a model that has been checked.
    #[inline(never)]
    fn find(capsule: &Capsule<'_>, place: Place, model: &Model<'_>, found: &mut Option<Running>) {
        let range = |id| match capsule.payload.section_range(id) {
            Some(range) => range.start + capsule.payload_offset..range.end + capsule.payload_offset,
            None => 0..0,
        };
        *found = Some(Running {
            place,
            model: capsule.model(),
            manifest: capsule.manifest_digest,
            sequence: capsule.manifest.sequence,
            parts: Parts {
                front_end: model.front_end,
                decision: model.decision,
                program: range(SectionId::Program),
                scaler: range(SectionId::Scaler),
            },
            labels: label_shape(model),
            names: range(SectionId::Labels),
            golden: range(SectionId::Golden),
            prior: range(SectionId::Prior),
            embedding: range(SectionId::Embedding),
            baseline: model.baseline.clone(),
        });
    }

    /// The channel that the monitor watches the model's answers in, if there is one.
    pub(crate) fn output(&self) -> Option<&ChannelBaseline> {
        let index = self.baseline.output_channel()?;
        self.baseline.channels().get(index)
    }

    /// What the factory's windows say of a head; empty if the capsule does not tell.
    pub(crate) fn prior_bytes<'c>(&self, capsule: &'c [u8]) -> &'c [u8] {
        capsule.get(self.prior.clone()).unwrap_or_default()
    }

    /// How far the embedding of a window that was given this class lies from those of the factory; `None` where nothing
    /// watches it.
    pub(crate) fn embedding_distance(
        &self,
        capsule: &[u8],
        class: u8,
        embedding: &[u8],
    ) -> Option<f32> {
        let bytes = capsule.get(self.embedding.clone())?;
        if bytes.is_empty() {
            return None;
        }
        let distance = EmbeddingDistance::decode(bytes).ok()?;
        distance.octaves(usize::from(class), embedding)
    }

    /// The golden vectors.
    pub(crate) fn golden<'c>(&self, capsule: &'c [u8]) -> Option<GoldenSection<'c>> {
        GoldenSection::decode(capsule.get(self.golden.clone())?).ok()
    }

    /// The name of a class.
    pub(crate) fn name<'c>(&self, capsule: &'c [u8], class: u8) -> Option<&'c str> {
        let labels = Labels::decode(capsule.get(self.names.clone())?).ok()?;
        labels.names().nth(usize::from(class))
    }
}

impl Parts {
    /// The bytes of the scaler.
    pub(crate) fn scaler_bytes<'c>(&self, capsule: &'c [u8]) -> &'c [u8] {
        capsule.get(self.scaler.clone()).unwrap_or_default()
    }

    /// The parts that score a window, borrowed from the capsule that [`Running::check`] has checked.
    pub(crate) fn scorer<'c>(&self, capsule: &'c [u8]) -> Option<Scorer<'c>> {
        Some(Scorer {
            front_end: self.front_end,
            scaler: ScalerSection::decode(capsule.get(self.scaler.clone())?).ok()?,
            program: Program::load(capsule.get(self.program.clone())?).ok()?,
            decision: self.decision,
        })
    }
}

/// The capsule in these bytes, if somebody vouches for it and it is for this board.
#[inline(never)]
fn vouched_for<'c>(
    bytes: &'c [u8],
    authority: Authority<'_>,
    config: &Config,
) -> Result<Capsule<'c>, Refusal> {
    let verified = Unverified::parse(bytes).and_then(|capsule| match authority {
        Authority::Release(keys, _) => capsule.verify(keys),
        Authority::Installed => capsule.verify_payload(),
    });
    let capsule = verified.map_err(|error| match (error, authority) {
        (CapsuleError::Signature, Authority::Release(_, detail)) => Refusal {
            reason: Reason::Signature,
            detail,
        },
        (CapsuleError::Digest, _) => Refusal::of(Reason::Payload),
        _ => Refusal::of(Reason::Malformed),
    })?;
    if capsule.manifest.board == config.board {
        Ok(capsule)
    } else {
        Err(Refusal::of(Reason::Board))
    }
}

/// What a capsule that nobody has vouched for says that it is: its model id and sequence number.
pub(crate) fn claimed(bytes: &[u8]) -> (ModelId, u32) {
    match Unverified::parse(bytes) {
        Ok(capsule) => (capsule.model(), capsule.manifest.sequence),
        Err(_) => (ModelId::default(), 0),
    }
}

fn label_shape(model: &Model<'_>) -> Shape {
    if model.decision.task != Task::Classify {
        return Shape::default();
    }
    let class_count = model.labels.count();
    match model.embedding() {
        Some(tensor) => Shape {
            class_count,
            width: tensor.len,
            zero_point: tensor.zero_point,
        },
        None => Shape {
            class_count,
            width: 0,
            zero_point: 0,
        },
    }
}
