//! Why a run could not be finished.

use std::{io, path::PathBuf};

use tinyops_data::{
    finding::{Report, Severity},
    window::WindowError,
};
use tinyops_store::{
    StoreError,
    run::{Run, RunId},
    trigger::TriggerId,
};
use tinyops_train::TrainError;

use crate::StepName;

/// Why a run could not be finished.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The project's schema says nothing of use.
    #[error("`{}` is no schema", path.display())]
    Schema {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: tinyops_data::schema::SchemaError,
    },
    /// The project's schema cannot be read.
    #[error("cannot read `{}`", path.display())]
    SchemaRead {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A pointer of tracked recordings says nothing of use.
    #[error("the versions of tracked recordings cannot be told")]
    Versions(#[from] crate::versions::VersionError),
    /// Another run of the project is at work, as far as its lease tells.
    #[error("run {} of project `{}` is at work", _0.id, _0.project)]
    AtWork(Box<Run>),
    /// Another process works in the project folder.
    #[error("another process works in `{}`", folder.display())]
    FolderBusy {
        /// The folder.
        folder: PathBuf,
    },
    /// The lease ran out (the machine slept, the store was out of reach) and another process took the run over.
    #[error("run {run} was taken over by another process")]
    TakenOver {
        /// Which run.
        run: RunId,
    },
    /// Another process has taken the trigger up since.
    #[error("trigger {trigger} was taken up by another process")]
    TriggerTaken {
        /// Which trigger.
        trigger: TriggerId,
    },
    /// The project names no recordings.
    #[error("the project has no `[[data.source]]`")]
    NoSource,
    /// The folder of a source cannot be listed.
    #[error("cannot list the recordings below `{}`", root.display())]
    Source {
        /// The folder.
        root: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The folder of a source names a variable that is not set.
    #[error("`{variable}` in `root = \"{root}\"` is not set")]
    Variable {
        /// The setting.
        root: String,
        /// The variable.
        variable: String,
    },
    /// The recordings have errors; all of them are in the report.
    #[error("the recordings have {} errors", report.count(Severity::Error))]
    Findings {
        /// Everything found.
        report: Box<Report>,
    },
    /// The files changed while the run was at work.
    #[error("the recordings changed during the run")]
    Changed,
    /// The window settings do not fit the recordings.
    #[error(transparent)]
    Window(#[from] WindowError),
    /// Featurizing, training, quantizing or evaluating was not possible.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// Records or artifacts could not be kept or found.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An artifact of an earlier step does not read back.
    #[error("an artifact is no {what}")]
    Artifact {
        /// What it should be.
        what: &'static str,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// An artifact of an earlier step does not read back.
    #[error(transparent)]
    Codec(#[from] tinyops_train::codec::CodecError),
    /// The model of an earlier step does not read back.
    #[error("the model does not read back")]
    Model(#[source] tinyops_model::DecodeError),
    /// The model cannot be compiled.
    #[error(transparent)]
    Compile(#[from] tinyops_compile::CompileError),
    /// The capsule's payload cannot be written, or does not read back.
    #[error(transparent)]
    Payload(#[from] tinyops_compile::PayloadError),
    /// A payload has no golden vectors to keep, or none that read back.
    #[error("the capsule that devices hold cannot be read: {0}")]
    Held(#[from] tinyops_compile::ReplayError),
    /// An update between two payloads has no size.
    #[error(transparent)]
    Update(#[from] tinyops_compile::UpdateError),
    /// Nothing is within the budget; what came nearest is told.
    #[error(transparent)]
    OutOfReach(#[from] Box<tinyops_train::tune::OutOfReach>),
    /// The model to fine-tune is not one of the project.
    #[error("the model to fine-tune is no version of `{project}`")]
    NotOfProject {
        /// The project.
        project: String,
    },
    /// The model has no capsule for a board that the project asks for: there is nothing that an update could start from.
    #[error("`{model}` has no capsule for board `{board}`, only for {known}")]
    NoCapsule {
        /// The model.
        model: String,
        /// The board.
        board: String,
        /// The boards that it has capsules for.
        known: String,
    },
    /// The payload that was just written cannot be replayed.
    #[error("the payload cannot be replayed: {0}")]
    Replay(String),
    /// The fleet's sums do not belong to the model.
    #[error("the fleet's statistics cannot be used: {0}")]
    Statistics(String),
    /// Something a step needs is not there.
    #[error("{what} is missing")]
    Missing {
        /// What.
        what: String,
    },
    /// A step panicked: a bug of ours, of which the trace on stderr tells more.
    #[error("step `{step}` stopped at a bug")]
    Panicked {
        /// Which step.
        step: StepName,
    },
}

impl RunError {
    /// Whether the same run may go well later: the store or its disk was not there, or somebody else wrote at the same
    /// moment; nothing that was asked is at fault.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(
            self,
            RunError::Store(
                StoreError::Full { .. }
                    | StoreError::Busy { .. }
                    | StoreError::Unreachable { .. }
                    | StoreError::Conflict { .. }
            )
        )
    }
}
