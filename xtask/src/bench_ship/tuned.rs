//! Fine-tunes under a budget, on real drifts: another speaker, another load, another speed.

use std::sync::Arc;

use tempfile::TempDir;
use tinyops_data::spec::{Cut, SplitBy};
use tinyops_pipeline::{
    Budget, Job, Metric, Outcome, Project, RunError, Smoke, TuneReport, Verdict, Workshop, run,
};
use tinyops_store::{Artifacts, Db, Digest, Timestamp, model};
use tinyops_train::tune::OutOfReach;

use super::Row;
use crate::bench_device::grouped;
use crate::steps::{data, root};

/// What the issue asks: bytes, and how far below a fine-tune that may change everything.
const DELTA_BYTES_MAX: u64 = 512;
const LOSS_MAX: f64 = 0.01;

/// An example, what devices were trained for, and what they meet.
struct Drift {
    name: &'static str,
    example: &'static str,
    /// Most bytes of the update; those of the issue, or what it takes where that is more.
    delta_bytes_max: u64,
    before: fn(&mut Project),
    after: fn(&mut Project),
}

const DRIFTS: [Drift; 3] = [
    Drift {
        name: "budgeted fine-tune, digits of another speaker",
        example: "fsdd",
        delta_bytes_max: 2048,
        before: |project| {
            project.data.source[0].exclude = vec!["*_theo_*".to_owned()];
            project.data.split.hold_out = vec!["george".to_owned()];
        },
        after: |project| {
            project.data.source[0].files = vec!["{label}_theo_{index}.wav".to_owned()];
            every_third(project);
        },
    },
    Drift {
        name: "budgeted fine-tune, larger faults in other bearings",
        example: "cwru-12k-de",
        delta_bytes_max: DELTA_BYTES_MAX,
        before: |project| faults(project, "007"),
        after: |project| {
            faults(project, "021");
            project.data.split.hold_out = Vec::new();
            if let [faulty, healthy] = &mut project.data.source[..] {
                healthy.cut = Some(Cut {
                    train: 0.5,
                    validation: 0.2,
                    gap_ms: 0.0,
                });
                faulty.cut = healthy.cut;
            }
        },
    },
    Drift {
        name: "budgeted fine-tune, a fan's balance at another speed",
        example: "fan-esp32",
        delta_bytes_max: DELTA_BYTES_MAX,
        before: |project| balance(project, &["low", "med"]),
        after: |project| balance(project, &["high"]),
    },
];

/// One recording in three tests, as the recordings come one by one.
fn every_third(project: &mut Project) {
    let split = &mut project.data.split;
    (split.by, split.every, split.validation) = (SplitBy::Every, 3, 0.3);
    split.hold_out = Vec::new();
}

/// Bearings with faults of one size, in thousandths of an inch; the healthy one.
fn faults(project: &mut Project, size: &str) {
    project.data.source[0].files = vec![
        format!("{{label:alpha}}{size}_{{load}}_{{number:digit}}.mat"),
        format!("{{label:alpha}}{size}@{{position}}_{{load}}_{{number:digit}}.mat"),
    ];
}

/// Whether a blade has a weight on it, at some speeds of the fan.
fn balance(project: &mut Project, speeds: &[&str]) {
    let pattern = |speed: &&str| format!("fan_0_{speed}_{{label}}_weight/*.csv");
    project.data.source[0].files = speeds.iter().map(pattern).collect();
    project.data.split.validation = 0.2;
    project.train.costs.normal = Vec::new();
}

/// Each drift: what the update takes, and what the int8 model is worth on windows that nothing was chosen by.
pub(super) fn tuned() -> Result<Vec<Row>, String> {
    if !data("").is_dir() {
        let why = "the recordings are not here; set TINYOPS_DATA";
        return Ok(vec![Row::skipped("budgeted fine-tune", why)]);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let rows = DRIFTS.iter().map(|drift| {
        let outcome = runtime.block_on(carry_out(drift));
        let outcome = outcome.map_err(|error| format!("{}: {error}", drift.name))?;
        Ok(row(drift, outcome))
    });
    rows.collect()
}

/// Trains, lets the recordings drift, and tunes.
async fn carry_out(
    drift: &Drift,
) -> Result<Result<Outcome, Box<OutOfReach>>, Box<dyn std::error::Error>> {
    let folder = TempDir::new()?;
    let db = Db::open(&format!(
        "sqlite:{}",
        folder.path().join("bench.db").display()
    ))
    .await?;
    let mut project = Project::load(&root().join("examples").join(drift.example))?;
    for source in &mut project.data.source {
        // Examples start at their own folder, this one at another.
        let (_, set) = source
            .root
            .rsplit_once('}')
            .ok_or("a source that has no variable")?;
        let all = data("");
        source.root = format!("{}{set}", all.canonicalize()?.display());
    }
    project.project.threshold = 0.0;
    project.project.slices = Vec::new();
    project.project.metric = Metric::Accuracy;
    project.gates.quantization_loss_max = 1.0;
    project.gates.smoke = Smoke::Off;
    let mut first = project.clone();
    (drift.before)(&mut first);
    let mut workshop = Workshop {
        root: folder.path().to_path_buf(),
        project: first,
        db,
        artifacts: Artifacts::open("memory:").await?,
        now: Arc::new(|| Timestamp(1_795_996_800_000)),
    };
    let quiet: tinyops_pipeline::Reporter = Arc::new(|_| {});
    let made = run(&workshop, &Job::Full { until: None }, None, &quiet).await?;
    let version = made
        .version
        .ok_or_else(|| format!("refused: {:?}", made.gates))?;
    let name = workshop.project.project.name.clone();
    let model = model::get(&workshop.db, &name, version).await?;
    let model: Digest = model.ok_or("the model went away")?.digest;
    (drift.after)(&mut project);
    workshop.project = project;
    let job = Job::Tune {
        model,
        budget: Budget {
            delta_bytes_max: drift.delta_bytes_max,
            loss_max: LOSS_MAX,
        },
    };
    match run(&workshop, &job, None, &quiet).await {
        Ok(outcome) => Ok(Ok(outcome)),
        Err(RunError::OutOfReach(far)) => Ok(Err(far)),
        Err(error) => Err(error.into()),
    }
}

fn row(drift: &Drift, outcome: Result<Outcome, Box<OutOfReach>>) -> Row {
    let (name, most) = (drift.name, grouped(drift.delta_bytes_max));
    let goal = format!("≤ {most} B, ≤ {LOSS_MAX} below unrestricted");
    let outcome = match outcome {
        Ok(outcome) => outcome,
        Err(far) => {
            return Row {
                name,
                goal,
                own: far.to_string(),
                peer: String::new(),
                holds: false,
            };
        }
    };
    let refused = outcome
        .gates
        .iter()
        .any(|gate| gate.verdict == Verdict::Fail);
    let Some(tune) = outcome.tune else {
        return Row::skipped(name, "no fine-tune was made");
    };
    let TuneReport {
        delta_bytes,
        test,
        chosen,
        ref candidates,
        ..
    } = tune;
    let taken = candidates[chosen];
    let thinned = if taken.is_thinned { ", thinned" } else { "" };
    Row {
        name,
        goal,
        own: format!(
            "{delta_bytes} B, {:.3} (before {:.3}; {}{thinned})",
            test.after, test.before, taken.layers
        ),
        peer: format!(
            "unrestricted {} B, {:.3}",
            grouped(candidates[1].delta_bytes),
            test.unrestricted
        ),
        holds: !refused,
    }
}
