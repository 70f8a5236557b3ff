//! Runs the golden vectors of a finished payload on the host, by the device's own code.

use tinyops_dsp::{FrontEnd, FrontEndError};
use tinyops_nn::golden::{self, differences, score_difference};
use tinyops_nn::{Plan, Program, ProgramError};
use tinyops_wire::payload::{Payload, PayloadError, SectionId};
use tinyops_wire::section::{Golden, GoldenSection, ScalerSection, SectionError};

/// What came of running the golden vectors.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Replay {
    /// Over how many memory regions the program spreads; 1 for one without arena.
    pub region_count: usize,
    /// How many vectors ran.
    pub cases: usize,
    /// Every element that came out otherwise.
    pub differing: Vec<Difference>,
}

/// One element that differs from its golden value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Difference {
    /// Which vector, from 0.
    pub case: usize,
    /// Which element of its output, from 0.
    pub element: usize,
    /// The golden value: a quantized score, or a distance.
    pub expected: f32,
    /// What came out.
    pub actual: f32,
}

/// Why the golden vectors of a payload cannot run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// Not a payload.
    #[error("the payload does not parse: {0}")]
    Payload(PayloadError),
    /// A section that is needed is not there.
    #[error("the payload has no section {0}")]
    Missing(&'static str),
    /// A section is damaged.
    #[error("a section does not parse: {0}")]
    Section(SectionError),
    /// The program does not load.
    #[error("the program does not load: {0}")]
    Program(ProgramError),
    /// The front end does not take the golden window.
    #[error("the front end refuses: {0}")]
    FrontEnd(FrontEndError),
    /// A golden vector does not have the lengths of the program.
    #[error("golden vector {case} does not suit the program")]
    Vector {
        /// Which vector, from 0.
        case: usize,
    },
}

/// Parses a payload and runs its golden vectors.
///
/// # Errors
/// [`ReplayError`]; a difference is no error, it is the answer.
pub fn replay(payload: &[u8]) -> Result<Replay, ReplayError> {
    let payload = Payload::parse(payload).map_err(ReplayError::Payload)?;
    let section = |id, name| payload.section(id).ok_or(ReplayError::Missing(name));
    let program =
        Program::load(section(SectionId::Program, "PROGRAM")?).map_err(ReplayError::Program)?;
    let mut replay = Replay {
        region_count: match &program {
            Program::Plan(plan) => plan.regions().count(),
            Program::Distance(_) => 1,
        },
        ..Replay::default()
    };
    let Some(golden) = payload.section(SectionId::Golden) else {
        return Ok(replay);
    };
    let golden = GoldenSection::decode(golden).map_err(ReplayError::Section)?;
    let scaler = section(SectionId::Scaler, "SCALER")?;
    let scaler = ScalerSection::decode(scaler).map_err(ReplayError::Section)?;

    let mut arena = vec![0; program.arena_bytes()];
    for (case, vector) in golden.vectors().enumerate() {
        replay.cases += 1;
        let unsuitable = ReplayError::Vector { case };
        match (vector, &program) {
            (Golden::Tensor { input, output }, Program::Plan(plan)) => {
                plan.reset(&mut arena)
                    .expect("the arena has the length that the plan asked for");
                let place = &mut arena[plan.input().range()];
                if input.len() != place.len() || output.len() != plan.output().bytes() {
                    return Err(unsuitable);
                }
                place.copy_from_slice(input);
                replay.run(plan, &mut arena, case, output);
            }
            (Golden::Window { readings, output }, Program::Plan(plan)) => {
                if output.len() != plan.output().bytes() {
                    return Err(unsuitable);
                }
                let front_end = section(SectionId::FrontEnd, "FRONT_END")?;
                let mut features = extract(front_end, readings)?;
                scaler.apply(&mut features);
                let input = plan.input();
                if features.len() != input.len {
                    return Err(unsuitable);
                }
                plan.reset(&mut arena)
                    .and_then(|()| plan.set_input(&features, &mut arena))
                    .expect("the arena has the length that the plan asked for");
                replay.run(plan, &mut arena, case, output);
            }
            (Golden::Score { features, score }, Program::Distance(distance)) => {
                let mut features: Vec<f32> = features
                    .iter()
                    .map(|&word| f32::from_le_bytes(word))
                    .collect();
                if features.len() != distance.feature_count() {
                    return Err(unsuitable);
                }
                scaler.apply(&mut features);
                let found = score_difference(score, distance.score(&features));
                replay.add(case, found);
            }
            _ => return Err(unsuitable),
        }
    }
    Ok(replay)
}

/// The golden vectors of a payload, as they were given to it.
///
/// # Errors
/// [`ReplayError::Payload`] or [`ReplayError::Section`].
pub fn golden_of(payload: &[u8]) -> Result<Vec<crate::Golden>, ReplayError> {
    let payload = Payload::parse(payload).map_err(ReplayError::Payload)?;
    let Some(golden) = payload.section(SectionId::Golden) else {
        return Ok(Vec::new());
    };
    let numbers = |words: &[[u8; 4]]| words.iter().map(|&word| f32::from_le_bytes(word)).collect();
    let golden = GoldenSection::decode(golden).map_err(ReplayError::Section)?;
    let vectors = golden.vectors().map(|vector| match vector {
        Golden::Tensor { input, output } => crate::Golden::Tensor {
            input: input.to_vec(),
            output: output.to_vec(),
        },
        Golden::Window { readings, output } => crate::Golden::Window {
            readings: numbers(readings),
            output: output.to_vec(),
        },
        Golden::Score { features, score } => crate::Golden::Score {
            features: numbers(features),
            score,
        },
    });
    Ok(vectors.collect())
}

impl Replay {
    fn run(&mut self, plan: &Plan<'_>, arena: &mut [u8], case: usize, expected: &[u8]) {
        plan.run(arena)
            .expect("the arena has the length that the plan asked for");
        let output = plan.output();
        let found = differences(output.element, expected, &arena[output.range()]);
        self.add(case, found);
    }

    fn add(&mut self, case: usize, found: impl IntoIterator<Item = golden::Difference>) {
        let found = found.into_iter().map(|difference| Difference {
            case,
            element: difference.element,
            expected: difference.expected,
            actual: difference.actual,
        });
        self.differing.extend(found);
    }
}

fn extract(front_end: &[u8], readings: &[[u8; 4]]) -> Result<Vec<f32>, ReplayError> {
    let (front_end, _) = FrontEnd::decode(front_end).map_err(ReplayError::FrontEnd)?;
    let window: Vec<f32> = readings
        .iter()
        .map(|&word| f32::from_le_bytes(word))
        .collect();
    let mut features = vec![0.0; front_end.feature_count()];
    let mut scratch = vec![0.0; front_end.scratch_len()];
    front_end
        .extract(&window, &mut features, &mut scratch)
        .map_err(ReplayError::FrontEnd)?;
    Ok(features)
}
