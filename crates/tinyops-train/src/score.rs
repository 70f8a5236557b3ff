//! Scores of the int8 model, computed by the very code that a board runs.

use rayon::prelude::*;
use tinyops_compile::Golden;
use tinyops_model::{Body, Model};
use tinyops_nn::{Plan, Program, distance};

use crate::evaluation::Scores;
use crate::progress::Flow;
use crate::{Features, TrainError, Windows};

/// What the int8 model says of each window, computed as a board does it, on all cores.
///
/// # Errors
/// [`TrainError::Mismatch`] where the windows are not what the model takes.
pub fn predict(model: &Model, windows: &Windows) -> Result<Scores, TrainError> {
    let features = Features::extract(&model.front_end, windows, &mut |_| Flow::Continue)?;
    Ok(Scorer::new(model)?.score(&features))
}

/// A compiled model, ready to score features.
pub(crate) struct Scorer<'a> {
    model: &'a Model,
    program: Vec<u8>,
}

impl<'a> Scorer<'a> {
    pub(crate) fn new(model: &'a Model) -> Result<Self, TrainError> {
        let compiled = tinyops_compile::compile(model).map_err(|error| {
            TrainError::Mismatch(format!("the model does not compile: {error}"))
        })?;
        Ok(Self {
            model,
            program: compiled.program,
        })
    }

    /// The plan, where the body is a network.
    pub(crate) fn plan(&self) -> Option<Plan<'_>> {
        match self.program() {
            Program::Plan(plan) => Some(plan),
            Program::Distance(_) => None,
        }
    }

    /// Scores windows as recorded: classes as shares, else one number.
    pub(crate) fn score(&self, features: &Features) -> Scores {
        let program = self.program();
        let is_network = matches!(self.model.body, Body::Network(_));
        let width = match &program {
            Program::Plan(plan) if is_network => plan.output().len.max(1),
            _ => 1,
        };
        let mut values = vec![0.0f32; width * features.count()];
        // Windows do not touch each other: which thread takes which changes nothing.
        values
            .par_chunks_exact_mut(width)
            .enumerate()
            .for_each_init(
                || {
                    let row = vec![0.0f32; features.width()];
                    (row, vec![0u8; program.arena_bytes()])
                },
                |(row, arena), (index, scores)| {
                    row.copy_from_slice(features.row(0, index));
                    self.model.scaler.view().apply(row);
                    match &program {
                        Program::Distance(distance) => scores[0] = distance.score(row),
                        Program::Plan(plan) => {
                            run(plan, row, arena);
                            if is_network {
                                let output = plan.output();
                                let outputs = output.values(&arena[output.range()]);
                                let reals = outputs.map(|q| output.real(q));
                                for (to, from) in scores.iter_mut().zip(reals) {
                                    *to = from;
                                }
                            } else {
                                scores[0] = distance::reconstruction_error(plan, arena);
                            }
                        }
                    }
                },
            );
        Scores { width, values }
    }

    /// What this model makes of one window, as a vector that a device can check.
    pub(crate) fn golden(&self, readings: Option<&[f32]>, features: &[f32]) -> Golden {
        let mut row = features.to_vec();
        self.model.scaler.view().apply(&mut row);
        match self.program() {
            Program::Distance(distance) => Golden::Score {
                features: features.to_vec(),
                score: distance.score(&row),
            },
            Program::Plan(plan) => {
                let mut arena = vec![0u8; plan.arena_bytes()];
                plan.set_input(&row, &mut arena)
                    .expect("the arena is as large as the plan asks");
                // Running may write over the input.
                let input = arena[plan.input().range()].to_vec();
                run(&plan, &row, &mut arena);
                let output = arena[plan.output().range()].to_vec();
                match readings {
                    Some(readings) => Golden::Window {
                        readings: readings.to_vec(),
                        output,
                    },
                    None => Golden::Tensor { input, output },
                }
            }
        }
    }

    fn program(&self) -> Program<'_> {
        Program::load(&self.program).expect("what the compiler made, the executor loads")
    }
}

/// The embedding of one window's features, as it lies in the arena.
pub(crate) fn embed(scorer: &Scorer<'_>, plan: &Plan<'_>, features: &[f32]) -> Vec<u8> {
    let mut row = features.to_vec();
    scorer.model.scaler.view().apply(&mut row);
    let mut arena = vec![0u8; plan.arena_bytes()];
    run(plan, &row, &mut arena);
    let view = plan
        .embedding()
        .expect("asked only of plans with an embedding");
    arena[view.range()].to_vec()
}

fn run(plan: &Plan<'_>, standardised: &[f32], arena: &mut [u8]) {
    plan.reset(arena)
        .and_then(|()| plan.set_input(standardised, arena))
        .and_then(|()| plan.run(arena))
        .expect("the arena is as large as the plan asks");
}
