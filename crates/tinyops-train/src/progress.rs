//! How far a long piece of work has come, told as values: whoever called decides what to draw.

/// A part of the work between raw windows and an evaluated model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stage {
    /// Raw windows are turned into features.
    Featurize,
    /// Weights are learned.
    Train,
    /// Activations are calibrated and weights rounded to int8.
    Quantize,
    /// The int8 model is scored on held-back windows.
    Evaluate,
}

impl Stage {
    /// The stage's name as a person reads it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Featurize => "featurize",
            Self::Train => "train",
            Self::Quantize => "quantize",
            Self::Evaluate => "evaluate",
        }
    }
}

/// One step forward.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// What is being done.
    pub stage: Stage,
    /// Units finished; epochs in [`Stage::Train`], windows elsewhere.
    pub done: usize,
    /// Units in all. Early stopping may end the stage before `done` reaches it.
    pub total: usize,
    /// Mean training loss of the epoch, where there is one.
    pub loss: Option<f32>,
    /// The validation metric of the epoch (accuracy, or minus the error), where there is one.
    pub metric: Option<f32>,
}

/// What the listener wants next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Go on.
    Continue,
    /// Stop here: the work returns [`TrainError::Cancelled`](crate::TrainError::Cancelled).
    Cancel,
}

/// The listener every long function takes.
pub type Listener<'a> = &'a mut dyn FnMut(Progress) -> Flow;
