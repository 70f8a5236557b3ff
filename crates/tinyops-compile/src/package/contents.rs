//! What a package needs of a payload, taken apart and held to what the runtimes can do.

use std::collections::BTreeMap;

use tinyops_dsp::FrontEnd;
use tinyops_nn::record::{Element, NONE, OpCode};
use tinyops_nn::{Plan, Program};
use tinyops_wire::Digest;
use tinyops_wire::payload::{Payload, SectionId};
use tinyops_wire::section::{BodyKind, DecisionSection, Labels, ScalerSection, Task};
use tinyops_wire::sensor::SensorSection;

use super::PackageError;
use crate::replay::{Replay, ReplayError, replay};

/// A payload, read.
pub(super) struct Contents<'a> {
    pub(super) digest: Digest,
    pub(super) payload_bytes: usize,
    pub(super) program: &'a [u8],
    pub(super) plan: Plan<'a>,
    pub(super) front_end_bytes: &'a [u8],
    pub(super) front_end: FrontEnd,
    pub(super) scaler_bytes: &'a [u8],
    pub(super) scaler: ScalerSection<'a>,
    pub(super) labels: Vec<&'a str>,
    pub(super) baseline: Option<&'a [u8]>,
    pub(super) decision: DecisionSection,
    pub(super) sensor: Option<SensorSection<'a>>,
}

/// An operator as the C99 runtime names them: its code, and whether it is the form over int16.
pub(super) type Operator = (OpCode, bool);

impl<'a> Contents<'a> {
    /// Reads a payload and runs its golden vectors.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Contents<'a>, PackageError> {
        let Replay { differing, .. } = replay(bytes)?;
        if let Some(difference) = differing.first() {
            return Err(PackageError::Differs {
                vector: difference.case,
            });
        }
        let payload = Payload::parse(bytes).map_err(ReplayError::Payload)?;
        let section = |id, name| payload.section(id).ok_or(ReplayError::Missing(name));
        let program = section(SectionId::Program, "PROGRAM")?;
        let Program::Plan(plan) = Program::load(program).map_err(ReplayError::Program)? else {
            return Err(PackageError::NoNetwork);
        };
        let front_end_bytes = section(SectionId::FrontEnd, "FRONT_END")?;
        let (front_end, read) = FrontEnd::decode(front_end_bytes).map_err(ReplayError::FrontEnd)?;
        let scaler_bytes = section(SectionId::Scaler, "SCALER")?;
        let labels = section(SectionId::Labels, "LABELS")?;
        let labels = Labels::decode(labels).map_err(ReplayError::Section)?;
        let decision = section(SectionId::Decision, "DECISION")?;
        let sensor = payload
            .section(SectionId::Sensor)
            .map(SensorSection::decode);
        let contents = Contents {
            digest: Digest::of(bytes),
            payload_bytes: bytes.len(),
            program,
            plan,
            front_end_bytes,
            front_end,
            scaler_bytes,
            scaler: ScalerSection::decode(scaler_bytes).map_err(ReplayError::Section)?,
            labels: labels.names().collect(),
            baseline: payload.section(SectionId::Baseline),
            decision: DecisionSection::decode(decision).map_err(ReplayError::Section)?,
            sensor: sensor.transpose().map_err(ReplayError::Section)?,
        };
        if read != front_end_bytes.len() {
            return Err(PackageError::Incoherent("settings follow the front end's"));
        }
        contents.check()?;
        Ok(contents)
    }

    /// The same coherence that a device asks for before it runs a capsule.
    fn check(&self) -> Result<(), PackageError> {
        let (input, output) = (self.plan.input(), self.plan.output());
        let features = self.front_end.feature_count();
        let groups = self.scaler.groups();
        let class_count = self.labels.len();
        let front_end = &self.front_end;
        let is_of =
            |sensor: &SensorSection<'_>| sensor.is_of(front_end.channel_count, front_end.rate_hz);
        let is_autoencoder = self.decision.body == BodyKind::Autoencoder;
        let fault = if self.plan.inputs().count() != 1 || self.plan.outputs().count() != 1 {
            return Err(PackageError::InputsOrOutputs);
        } else if features != input.len {
            "the front end makes another number of features than the network takes"
        } else if groups != 0 && !features.is_multiple_of(groups) {
            "the scaler's groups do not go into the features"
        } else if !self.sensor.as_ref().is_none_or(is_of) {
            "the sensor contract is of other channels or another rate than the front end"
        } else if self.decision.task == Task::Classify && class_count != output.len {
            "there are not as many labels as scores"
        } else if is_autoencoder && !(self.plan.input_is_kept() && input.len == output.len) {
            "the network does not keep its input, from which its output's distance is the score"
        } else {
            return Ok(());
        };
        Err(PackageError::Incoherent(fault))
    }

    /// Which operators the network needs, in order of their codes.
    pub(super) fn operators(&self) -> Vec<Operator> {
        let mut found = BTreeMap::new();
        let is_int16 = |index: u16| {
            let tensor = self.plan.tensor(index);
            tensor.is_some_and(|tensor| tensor.element == Element::Int16)
        };
        for op in (0..self.plan.op_count()).filter_map(|index| self.plan.op(index)) {
            let [first, second] = op.inputs;
            let any =
                is_int16(first) || is_int16(op.output) || (second != NONE && is_int16(second));
            // A constant is bytes, whatever its values.
            let is_wide = any && op.code != OpCode::Constant;
            found.insert((is_wide, op.code as u8), (op.code, is_wide));
        }
        found.into_values().collect()
    }

    /// The words for what the model does.
    pub(super) fn task(&self) -> &'static str {
        match self.decision.task {
            Task::Classify => "classify",
            Task::Regress => "regress",
            Task::Anomaly => "anomaly",
        }
    }
}
