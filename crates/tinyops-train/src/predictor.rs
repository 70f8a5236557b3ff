//! Predictions of the int8 model: the plan that a board runs, with the instructions of this machine.

use rayon::prelude::*;
use tinyops_compile::Golden;
use tinyops_dsp::{Block, FrontEnd, Raw};
use tinyops_model::{Body, Model, OwnedScaler};
use tinyops_nn::{Isa, Line, Plan, Prepared, Program, TensorView, distance};

use crate::evaluation::Scores;
use crate::progress::{Flow, Listener, Progress, Stage};
use crate::{Features, TrainError, Windows};

/// Windows that are scored between two reports of progress.
const BLOCK: usize = 4096;

/// A model ready to predict: byte for byte what a board says, on all cores.
///
/// ```
/// # fn example(model: &tinyops_model::Model, windows: &tinyops_train::Windows) -> Result<(), tinyops_train::TrainError> {
/// use tinyops_train::{Predictor, progress::Flow};
///
/// let predictor = Predictor::new(model)?;
/// let scores = predictor.predict(windows, &mut |_| Flow::Continue)?;
/// for index in 0..windows.count() {
///     println!("{:?}", scores.row(index));
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Predictor {
    front_end: FrontEnd,
    scaler: OwnedScaler,
    /// Whether the output is a score for each class, or how well the input was made again.
    is_network: bool,
    program: Vec<u8>,
    isa: Isa,
}

impl Predictor {
    /// Compiles a model.
    ///
    /// # Errors
    /// [`TrainError::Mismatch`] where it does not compile.
    pub fn new(model: &Model) -> Result<Self, TrainError> {
        let compiled = tinyops_compile::compile(model).map_err(|error| {
            TrainError::Mismatch(format!("the model does not compile: {error}"))
        })?;
        Ok(Self {
            front_end: model.front_end,
            scaler: model.scaler.clone(),
            is_network: matches!(model.body, Body::Network(_)),
            program: compiled.program,
            isa: Isa::detect(),
        })
    }

    /// A plan or a distance alone: its readings are its input as real numbers, one for each.
    ///
    /// # Errors
    /// [`TrainError::Mismatch`] for other bytes, and for a plan of several inputs or outputs.
    pub fn of_program(program: Vec<u8>) -> Result<Self, TrainError> {
        let wrong = |what: String| TrainError::Mismatch(format!("the program: {what}"));
        let loaded = Program::load(&program).map_err(|error| wrong(error.to_string()))?;
        let (channel_count, window_len) = match &loaded {
            Program::Plan(plan) => {
                if plan.inputs().count() != 1 || plan.outputs().count() != 1 {
                    return Err(wrong("it has several inputs or outputs".to_owned()));
                }
                let [_, height, width, channels] = plan.input().shape;
                (channels, u32::from(height) * u32::from(width))
            }
            Program::Distance(distance) => (1, distance.feature_count() as u32),
        };
        let front_end = FrontEnd {
            rate_hz: 0.0,
            channel_count,
            window_len,
            block: Block::Raw(Raw { scale: 1.0 }),
        };
        front_end
            .check()
            .map_err(|error| wrong(format!("its input is no window: {error}")))?;
        let is_network = matches!(loaded, Program::Plan(_));
        Ok(Self {
            front_end,
            scaler: OwnedScaler::default(),
            is_network,
            program,
            isa: Isa::detect(),
        })
    }

    /// Predicts with these instructions; the portable kernels where the machine has not got them. All give the
    /// same bytes.
    #[must_use]
    pub fn with_instructions(mut self, isa: Isa) -> Self {
        self.isa = isa;
        self
    }

    /// Takes windows as readings of one channel, where features are the readings themselves: the same values in the
    /// same order.
    #[must_use]
    pub fn with_flat_windows(mut self) -> Self {
        if matches!(self.front_end.block, Block::Raw(_)) {
            self.front_end.window_len *= u32::from(self.front_end.channel_count);
            self.front_end.channel_count = 1;
        }
        self
    }

    /// What makes features of windows.
    pub fn front_end(&self) -> &FrontEnd {
        &self.front_end
    }

    /// What the model says of each window: classes as shares, else one number.
    ///
    /// # Errors
    /// [`TrainError::Mismatch`] where the windows are not what the model takes, [`TrainError::Cancelled`] where the
    /// listener wants no more.
    pub fn predict(&self, windows: &Windows, report: Listener<'_>) -> Result<Scores, TrainError> {
        let features = Features::extract(&self.front_end, windows, report)?;
        self.score_told(&features, report)
    }

    /// Runs the network over inputs as they lie in memory, one after another, and gives their outputs in the same
    /// order: int8 values, or int16 ones with the low byte first where the network has such.
    ///
    /// # Shapes
    /// `inputs` is `[count, input]`, the answer `[count, output]`.
    ///
    /// # Errors
    /// [`TrainError::Mismatch`] where the program is no network, or the inputs are not whole.
    pub fn run(&self, inputs: &[u8]) -> Result<Vec<u8>, TrainError> {
        let Some(plan) = self.plan() else {
            return Err(TrainError::Mismatch("the program is no network".into()));
        };
        let [input, output] = [plan.input().range(), plan.output().range()];
        if !inputs.len().is_multiple_of(input.len()) {
            return Err(TrainError::Mismatch(format!(
                "{} bytes are no multiple of the network's {}",
                inputs.len(),
                input.len()
            )));
        }
        let mut memory = vec![Line::ZERO; plan.prepared_lines(self.isa)];
        let prepared = laid_out(&plan, self.isa, &mut memory);
        let mut outputs = vec![0; inputs.len() / input.len() * output.len()];
        outputs
            .par_chunks_exact_mut(output.len())
            .zip(inputs.par_chunks_exact(input.len()))
            .for_each_init(
                || Worker::new(&prepared),
                |worker, (answer, values)| {
                    worker.reset();
                    worker.arena[input.clone()].copy_from_slice(values);
                    answer.copy_from_slice(&worker.run()[output.clone()]);
                },
            );
        Ok(outputs)
    }

    /// The plan, where the body is a network.
    pub(crate) fn plan(&self) -> Option<Plan<'_>> {
        match self.program() {
            Program::Plan(plan) => Some(plan),
            Program::Distance(_) => None,
        }
    }

    /// Scores the features of windows as recorded: classes as shares, else one number.
    pub fn score(&self, features: &Features) -> Scores {
        self.score_told(features, &mut |_| Flow::Continue)
            .expect("nobody cancels")
    }

    fn score_told(&self, features: &Features, report: Listener<'_>) -> Result<Scores, TrainError> {
        let program = self.program();
        let width = match &program {
            Program::Plan(plan) if self.is_network => plan.output().len.max(1),
            _ => 1,
        };
        let mut memory = Vec::new();
        let prepared = match &program {
            Program::Plan(plan) => {
                memory.resize(plan.prepared_lines(self.isa), Line::ZERO);
                Some(laid_out(plan, self.isa, &mut memory))
            }
            Program::Distance(_) => None,
        };
        let total = features.count();
        let mut values = vec![0.0f32; width * total];
        for (block, scores) in values.chunks_mut(width * BLOCK).enumerate() {
            let start = block * BLOCK;
            // Windows do not touch each other: which thread takes which changes nothing.
            scores
                .par_chunks_exact_mut(width)
                .enumerate()
                .for_each_init(
                    || {
                        let row = vec![0.0f32; features.width()];
                        (row, prepared.as_ref().map(Worker::new))
                    },
                    |(row, worker), (offset, scores)| {
                        row.copy_from_slice(features.row(0, start + offset));
                        self.scaler.view().apply(row);
                        match (&program, worker) {
                            (Program::Plan(plan), Some(worker)) => {
                                self.score_one(plan, worker, row, scores);
                            }
                            (Program::Distance(distance), _) => scores[0] = distance.score(row),
                            (Program::Plan(_), None) => {}
                        }
                    },
                );
            let progress = Progress {
                stage: Stage::Evaluate,
                done: (start + BLOCK).min(total),
                total,
                loss: None,
                metric: None,
            };
            if report(progress) == Flow::Cancel {
                return Err(TrainError::Cancelled);
            }
        }
        Ok(Scores { width, values })
    }

    fn score_one(
        &self,
        plan: &Plan<'_>,
        worker: &mut Worker<'_, '_>,
        row: &[f32],
        scores: &mut [f32],
    ) {
        worker.reset();
        plan.set_input(row, &mut worker.arena)
            .expect("the arena is as large as the plan asks");
        let arena = worker.run();
        if !self.is_network {
            scores[0] = distance::reconstruction_error(plan, arena)
                .expect("the arena is as large as the plan asks");
            return;
        }
        let output = plan.output();
        let values = output.values(&arena[output.range()]);
        for (score, q) in scores.iter_mut().zip(values) {
            *score = output.real(q);
        }
    }

    /// What this model makes of one window, as a vector that a device can check.
    pub(crate) fn golden(&self, readings: Option<&[f32]>, features: &[f32]) -> Golden {
        let mut row = features.to_vec();
        self.scaler.view().apply(&mut row);
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
                run_portable(&plan, &row, &mut arena);
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

    /// What this model makes of the input of a vector.
    pub(crate) fn golden_again(&self, vector: &Golden) -> Result<Golden, TrainError> {
        let other = || TrainError::Mismatch("a golden vector is none of the model".into());
        match vector {
            Golden::Tensor { input, .. } => {
                let plan = self.plan().ok_or_else(other)?;
                if input.len() != plan.input().bytes() {
                    return Err(other());
                }
                Ok(Golden::Tensor {
                    input: input.clone(),
                    output: self.run(input)?,
                })
            }
            Golden::Window { readings, .. } => {
                let front_end = &self.front_end;
                let mut features = vec![0.0; front_end.feature_count()];
                let mut scratch = vec![0.0; front_end.scratch_len()];
                front_end
                    .extract(readings, &mut features, &mut scratch)
                    .map_err(|_| other())?;
                Ok(self.golden(Some(readings), &features))
            }
            Golden::Score { features, .. } if features.len() == self.front_end.feature_count() => {
                Ok(self.golden(None, features))
            }
            Golden::Score { .. } => Err(other()),
        }
    }

    /// The embedding's tensor and its bytes for each window; `None` for a model without one.
    pub(crate) fn embeddings(&self, features: &Features) -> Option<(TensorView, Vec<Vec<u8>>)> {
        let plan = self.plan()?;
        let view = plan.embedding()?;
        let mut memory = vec![Line::ZERO; plan.prepared_lines(self.isa)];
        let prepared = laid_out(&plan, self.isa, &mut memory);
        let embed = |worker: &mut Worker<'_, '_>, index: usize| {
            let mut row = features.row(0, index).to_vec();
            self.scaler.view().apply(&mut row);
            worker.reset();
            plan.set_input(&row, &mut worker.arena)
                .expect("the arena is as large as the plan asks");
            worker.run()[view.range()].to_vec()
        };
        let all = (0..features.count()).into_par_iter();
        let embeddings = all.map_init(|| Worker::new(&prepared), embed).collect();
        Some((view, embeddings))
    }

    fn program(&self) -> Program<'_> {
        Program::load(&self.program).expect("it was loaded once, or comes from the compiler")
    }
}

/// A plan laid out in memory that has the size it asked for.
fn laid_out<'a>(plan: &Plan<'a>, isa: Isa, memory: &'a mut [Line]) -> Prepared<'a> {
    plan.prepare(isa, memory)
        .expect("the memory is as large as the plan asks")
}

/// The memory of one thread.
struct Worker<'p, 'a> {
    prepared: &'p Prepared<'a>,
    arena: Vec<u8>,
    work: Vec<Line>,
}

impl<'p, 'a> Worker<'p, 'a> {
    fn new(prepared: &'p Prepared<'a>) -> Worker<'p, 'a> {
        Worker {
            prepared,
            arena: vec![0; prepared.plan().arena_bytes()],
            work: vec![Line::ZERO; prepared.work_lines()],
        }
    }

    /// Forgets what the network kept of the window before.
    fn reset(&mut self) {
        self.prepared
            .plan()
            .reset(&mut self.arena)
            .expect("the arena is as large as the plan asks");
    }

    /// Runs over the input that lies in the arena.
    fn run(&mut self) -> &[u8] {
        self.prepared
            .run(&mut self.arena, &mut self.work)
            .expect("arena and work are as large as the plan asks");
        &self.arena
    }
}

fn run_portable(plan: &Plan<'_>, standardised: &[f32], arena: &mut [u8]) {
    plan.reset(arena)
        .and_then(|()| plan.set_input(standardised, arena))
        .and_then(|()| plan.run(arena))
        .expect("the arena is as large as the plan asks");
}
