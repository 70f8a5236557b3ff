#![forbid(unsafe_code)]
//! Steps, cache, lineage, triggers: from the recordings of a project folder to a registered model.
//!
//! [`run`] turns a [`Workshop`] (a folder, its `tinyops.toml`, a store) and a [`Job`] into an
//! [`Outcome`]. A step whose inputs have not changed is not done again; what a run makes is in the
//! store whole or not at all. This crate knows no device and no rollout: those are the fleet's.

mod background;
mod bench;
mod boards;
pub mod catalog;
mod code;
mod delta;
pub mod doubt;
pub mod erase;
mod error;
mod flow;
mod fresh;
mod gate;
mod host;
mod job;
mod judged;
pub mod labelling;
mod lease;
pub mod lineage;
pub mod openlineage;
mod predicted;
mod project;
pub mod promotion;
mod schedule;
mod sensor;
mod step;
pub mod tracking;
mod trigger;
pub mod upload;
pub mod versions;
pub mod worth;

pub use boards::{BOARDS_FOLDER, BoardFileError, boards_of, read_board};
pub use code::code_version;
pub use delta::delta;
pub use error::RunError;
pub use fresh::{Fresh, Since, count_fresh, mark_of_sources, since_model};
pub use gate::{Gate, GateName, Verdict};
pub use job::{
    Job, Outcome, Output, Package, Progress, Reporter, StepName, StepReport, Workshop, run,
};
pub use judged::slices_against;
pub use lease::{is_free, is_left};
pub use predicted::predictions_of;
pub use project::{
    BoardsSection, FILE_NAME, GatesSection, PrivacyMode, PrivacySection, Project, ProjectError,
    ProjectSection, RetrainRollout, RetrainSection, Smoke, TuneSection,
};
pub use schedule::Schedule;
pub use sensor::SensorSection;
pub use step::{
    compile::{BoardFit, CompileReport},
    ingest::{Shelf, files_below, one_recording, read_recording, source_root},
    tune::{TuneReport, Tuned},
    validate::{SCHEMA_FILE, schema_of},
};
pub use tinyops_train::{Costs, Metric, tune::Budget};
pub use trigger::{Refusal, Trigger, job_for};
