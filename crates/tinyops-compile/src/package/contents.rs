//! What a package needs of a payload, taken apart and held to what the runtimes can do.

use std::collections::BTreeMap;

use tinyops_dsp::FrontEnd;
use tinyops_nn::distance::Distance;
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
    pub(super) program_bytes: &'a [u8],
    pub(super) program: Program<'a>,
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
        let program_bytes = section(SectionId::Program, "PROGRAM")?;
        let program = Program::load(program_bytes).map_err(ReplayError::Program)?;
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
            program_bytes,
            program,
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
        let features = self.front_end.feature_count();
        let groups = self.scaler.groups();
        let front_end = &self.front_end;
        let is_of =
            |sensor: &SensorSection<'_>| sensor.is_of(front_end.channel_count, front_end.rate_hz);
        let fault = match &self.program {
            Program::Plan(plan) if plan.inputs().count() != 1 || plan.outputs().count() != 1 => {
                return Err(PackageError::InputsOrOutputs);
            }
            Program::Plan(plan) => self.fault_of_plan(plan),
            Program::Distance(distance) => self.fault_of_distance(distance),
        };
        let fault = if let Some(fault) = fault {
            fault
        } else if groups != 0 && !features.is_multiple_of(groups) {
            "the scaler's groups do not go into the features"
        } else if !self.sensor.as_ref().is_none_or(is_of) {
            "the sensor contract is of other channels or another rate than the front end"
        } else {
            return Ok(());
        };
        Err(PackageError::Incoherent(fault))
    }

    fn fault_of_plan(&self, plan: &Plan<'_>) -> Option<&'static str> {
        let (input, output) = (plan.input(), plan.output());
        let class_count = self.labels.len();
        if self.front_end.feature_count() != input.len {
            return Some("the front end makes another number of features than the network takes");
        }
        if self.decision.task == Task::Classify && class_count != output.len {
            return Some("there are not as many labels as scores");
        }
        match self.decision.body {
            BodyKind::Autoencoder if !(plan.input_is_kept() && input.len == output.len) => Some(
                "the network does not keep its input, from which its output's distance is the score",
            ),
            BodyKind::Distance => {
                Some("the decision is that of a distance, and there is a network")
            }
            BodyKind::Autoencoder | BodyKind::Network => None,
        }
    }

    fn fault_of_distance(&self, distance: &Distance<'_>) -> Option<&'static str> {
        if self.front_end.feature_count() != distance.feature_count() {
            return Some("the front end makes another number of features than the distance takes");
        }
        match (self.decision.task, self.decision.body) {
            (Task::Anomaly, BodyKind::Distance) => None,
            _ => Some("the decision is that of a network, and there is a distance"),
        }
    }

    /// The network, where it is one.
    pub(super) fn plan(&self) -> Option<&Plan<'a>> {
        match &self.program {
            Program::Plan(plan) => Some(plan),
            Program::Distance(_) => None,
        }
    }

    /// Which operators the network needs, in order of their codes; a distance needs none.
    pub(super) fn operators(&self) -> Vec<Operator> {
        let Some(plan) = self.plan() else {
            return Vec::new();
        };
        let mut found = BTreeMap::new();
        let is_int16 = |index: u16| {
            let tensor = plan.tensor(index);
            tensor.is_some_and(|tensor| tensor.element == Element::Int16)
        };
        for op in (0..plan.op_count()).filter_map(|index| plan.op(index)) {
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
