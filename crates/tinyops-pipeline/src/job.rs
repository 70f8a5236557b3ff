//! A run: which job, in which workshop, with which outcome.

use std::{fmt, path::PathBuf, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use tinyops_data::finding::Report;
use tinyops_store::{Artifacts, Db, Digest, Timestamp, run::Run, trigger::Trigger};
use tinyops_train::{Comparison, tune::Budget};

use crate::{
    BoardFit, Gate, Project, RunError, TuneReport,
    bench::Bench,
    flow::{full, resolve_head, tune},
};

/// Where a pipeline works: a project folder with its settings, and the store it records into.
#[derive(Clone)]
pub struct Workshop {
    /// The folder that holds `tinyops.toml`; the paths of data sources start here.
    pub root: PathBuf,
    /// The settings.
    pub project: Project,
    /// Records.
    pub db: Db,
    /// Bytes by digest.
    pub artifacts: Artifacts,
    /// The time of a record; a parameter, so that a simulation can hold it.
    pub now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
}

/// What to make.
#[derive(Clone, Debug, PartialEq)]
pub enum Job {
    /// Recordings to a registered model, or as far as `until`.
    Full {
        /// The last step to do; `None` goes to the end.
        until: Option<StepName>,
    },
    /// A new head for a model, solved from statistics of a fleet's embeddings: no raw window needed.
    ResolveHead {
        /// The artifact of the model whose embeddings the fleet counted.
        model: Digest,
        /// The artifact of the summed statistics.
        statistics: Digest,
    },
    /// A model in the field fine-tuned to the recordings, its update within a budget.
    Tune {
        /// The artifact of the model that devices hold.
        model: Digest,
        /// What the update may take and lose.
        budget: Budget,
    },
}

impl Job {
    /// The word in records.
    fn kind(&self) -> &'static str {
        match self {
            Self::Full { .. } => "train",
            Self::ResolveHead { .. } => "resolve-head",
            Self::Tune { .. } => "tune",
        }
    }
}

/// The steps, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StepName {
    /// Read the sources into an immutable dataset.
    Ingest,
    /// List every finding; stop only at errors.
    Validate,
    /// Cut windows and extract features.
    Featurize,
    /// Fit the float model.
    Train,
    /// Make the int8 model.
    Quantize,
    /// Solve a new head from fleet statistics (in place of featurize, train and quantize).
    Resolve,
    /// Fine-tune a model in the field (in place of train and quantize).
    Tune,
    /// Judge the exact int8 artifact on the test split.
    Evaluate,
    /// Plan memory, estimate the fit on each board, write the capsule payload.
    Compile,
    /// Replay the golden vectors on the executor and, where its tools are, on the emulated board.
    Smoke,
    /// Make the model a version with its lineage, if every gate passed.
    Register,
}

impl StepName {
    /// The steps of a full run.
    pub const FULL: [Self; 9] = [
        Self::Ingest,
        Self::Validate,
        Self::Featurize,
        Self::Train,
        Self::Quantize,
        Self::Evaluate,
        Self::Compile,
        Self::Smoke,
        Self::Register,
    ];

    /// The word on the command line and in records.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Validate => "validate",
            Self::Featurize => "featurize",
            Self::Train => "train",
            Self::Quantize => "quantize",
            Self::Resolve => "resolve",
            Self::Tune => "tune",
            Self::Evaluate => "evaluate",
            Self::Compile => "compile",
            Self::Smoke => "smoke",
            Self::Register => "register",
        }
    }
}

impl fmt::Display for StepName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// What a run says while it works.
#[derive(Clone, Debug)]
pub enum Progress {
    /// An earlier run was interrupted: the steps that it finished are taken from the store.
    Resumes {
        /// The row of that run, now ended.
        interrupted: Box<Run>,
    },
    /// A step begins.
    Begin(StepName),
    /// A step is `done` of `total` through.
    At {
        /// Which step.
        step: StepName,
        /// Units done.
        done: u64,
        /// Units in all; 0 when unknown.
        total: u64,
        /// What it is at, such as `epoch 12, loss 0.031`.
        note: String,
    },
    /// A step ended.
    End(StepReport),
}

/// Where progress goes.
pub type Reporter = Arc<dyn Fn(Progress) + Send + Sync>;

/// An artifact by its name in a step.
#[derive(Clone, Debug, Serialize)]
pub struct Output {
    /// Such as `dataset`, `model`, `payload/<board>`.
    pub name: String,
    /// The name of its bytes.
    #[serde(serialize_with = "as_text")]
    pub digest: Digest,
}

fn as_text<S: Serializer>(value: &impl fmt::Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

fn from_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Digest, D::Error> {
    String::deserialize(deserializer)?
        .parse()
        .map_err(D::Error::custom)
}

/// What one step did.
#[derive(Clone, Debug, Serialize)]
pub struct StepReport {
    /// Which step.
    pub step: StepName,
    /// True when nothing it depends on had changed and its outputs were taken from the store.
    pub cached: bool,
    /// Wall time, milliseconds.
    pub wall_ms: u64,
    /// The artifacts it made.
    pub outputs: Vec<Output>,
    /// One line for a person.
    pub summary: String,
}

/// What a run came to.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// The run's id in the store.
    pub run: i64,
    /// The interrupted run that this one went on from.
    pub resumes: Option<i64>,
    /// The steps, in order.
    pub steps: Vec<StepReport>,
    /// Everything found about the recordings.
    pub report: Report,
    /// What the model is worth on the test split.
    pub evaluation: Option<Comparison>,
    /// The gates, in order.
    pub gates: Vec<Gate>,
    /// What the model takes of each board.
    pub fits: Vec<BoardFit>,
    /// What was tried to keep the update small, where that was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tune: Option<TuneReport>,
    /// The registered version, when every gate passed and the run went to the end.
    pub version: Option<u32>,
    /// What fleets can sign and ship, one for each board.
    pub packages: Vec<Package>,
}

/// What a fleet signs: the payload of a capsule for one board.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Package {
    /// The board's id.
    pub board: String,
    /// The artifact of the payload.
    #[serde(serialize_with = "as_text", deserialize_with = "from_text")]
    pub payload: Digest,
    /// Its size.
    pub payload_bytes: u32,
    /// The digest of the plan inside.
    #[serde(serialize_with = "as_text", deserialize_with = "from_text")]
    pub plan: Digest,
    /// The artifact of the monitor baseline inside.
    #[serde(serialize_with = "as_text", deserialize_with = "from_text")]
    pub baseline: Digest,
    /// Values of the embedding that devices tell sums of; 0 of a model without, and of a package of before it was told.
    #[serde(default)]
    pub embedding_width: u32,
    /// Readings of a window, of all channels; 0 of a package of before it was told.
    #[serde(default)]
    pub window_readings: u32,
}

/// Does a job: every step that is needed, in order, each recorded with its inputs and outputs.
///
/// One run of a project is at work at a time. What a killed process left of an earlier one is ended as
/// interrupted, and the steps that it finished are not done again. A run that answers a trigger is for whoever took it
/// and nobody else, and gives way to what else the machine does.
///
/// # Errors
/// [`RunError`]; a gate that fails is no error but an [`Outcome`] without a version.
pub async fn run(
    workshop: &Workshop,
    job: &Job,
    trigger: Option<Trigger>,
    reporter: &Reporter,
) -> Result<Outcome, RunError> {
    let mut bench = Bench::open(workshop, job.kind(), trigger, Arc::clone(reporter)).await?;
    let made = match job {
        Job::Full { until } => full(&mut bench, *until).await,
        Job::ResolveHead { model, statistics } => resolve_head(&mut bench, model, statistics).await,
        Job::Tune { model, budget } => tune(&mut bench, model, budget).await,
    };
    match made {
        Ok(outcome) => Ok(outcome),
        Err(error) => {
            // The record of the failure must not hide the failure itself.
            let _ = bench.fail(&error).await;
            Err(error)
        }
    }
}
