//! The ways through the steps: from recordings to a model, from fleet statistics to a new head, and from a model in the
//! field to one that is a small update away.

use tinyops_data::finding::Report;
use tinyops_store::{Digest, Json, model, run::RunState, step::Port};
use tinyops_train::{Comparison, tune::Budget};

use crate::{
    Gate, Outcome, Package, RunError, StepName, TuneReport, Verdict,
    bench::{Bench, Done},
    judged,
    step::{
        compile, compile::BoardFit, evaluate, featurize, ingest, ingest::Shelf, quantize, register,
        resolve, smoke, train, tune, validate,
    },
};

/// What a run has come to so far.
#[derive(Default)]
struct Findings {
    report: Report,
    gates: Vec<Gate>,
    fits: Vec<BoardFit>,
    evaluation: Option<Comparison>,
    tune: Option<TuneReport>,
}

/// Recordings to a registered model, or as far as `until`.
pub(crate) async fn full(
    bench: &mut Bench<'_>,
    until: Option<StepName>,
) -> Result<Outcome, RunError> {
    let last = until.unwrap_or(StepName::Register);
    let mut found = Findings::default();
    let shelf = open_shelf(bench)?;
    let ingested = ingest::step(bench, &shelf).await?;
    if last == StepName::Ingest {
        return stop(bench, found).await;
    }
    let (validated, report) = validate::step(bench, &shelf, &ingested).await?;
    found.report = report;
    if found.report.has_errors() {
        return Err(RunError::Findings {
            report: Box::new(found.report),
        });
    }
    if last == StepName::Validate {
        return stop(bench, found).await;
    }
    let featurized = featurize::step(bench, &shelf, &ingested, &validated).await?;
    if last == StepName::Featurize {
        return stop(bench, found).await;
    }
    let trained = train::step(bench, &featurized).await?;
    if last == StepName::Train {
        return stop(bench, found).await;
    }
    let quantized = quantize::step(bench, &featurized, &trained).await?;
    if last == StepName::Quantize {
        return stop(bench, found).await;
    }
    let model = quantized.port("model")?;
    let origin = Origin {
        shelf,
        ingested,
        validated,
        featurized,
        trained: Some(trained),
        parent: None,
        held: None,
    };
    judge(bench, found, &origin, model, last).await
}

/// A new head for a model whose embeddings the fleet counted, through the same gates.
pub(crate) async fn resolve_head(
    bench: &mut Bench<'_>,
    parent: &Digest,
    statistics: &Digest,
) -> Result<Outcome, RunError> {
    let shelf = open_shelf(bench)?;
    let ingested = ingest::step(bench, &shelf).await?;
    let (validated, report) = validate::step(bench, &shelf, &ingested).await?;
    if report.has_errors() {
        return Err(RunError::Findings {
            report: Box::new(report),
        });
    }
    let featurized = featurize::step(bench, &shelf, &ingested, &validated).await?;
    let resolved = resolve::step(bench, parent, statistics, &featurized).await?;
    let found = Findings {
        report,
        gates: vec![resolve::gate(&resolved)],
        ..Findings::default()
    };
    let name = &bench.workshop.project.project.name;
    let version = model::by_digest(&bench.workshop.db, parent)
        .await?
        .into_iter()
        .find(|model| model.name == *name)
        .map(|model| model.version);
    let model = resolved.port("model")?;
    let origin = Origin {
        shelf,
        ingested,
        validated,
        featurized,
        trained: None,
        parent: version,
        held: None,
    };
    judge(bench, found, &origin, model, StepName::Register).await
}

/// A model that devices hold, fine-tuned to the recordings so that its update stays within a budget.
pub(crate) async fn tune(
    bench: &mut Bench<'_>,
    parent: &Digest,
    budget: &Budget,
) -> Result<Outcome, RunError> {
    let project = &bench.workshop.project;
    let registered = model::by_digest(&bench.workshop.db, parent).await?;
    let name = &project.project.name;
    let parent = registered
        .into_iter()
        .find(|model| model.name == *name)
        .ok_or_else(|| RunError::NotOfProject {
            project: name.clone(),
        })?;
    let held = tune::Held::of(&parent, &project.boards.targets)?;
    let shelf = open_shelf(bench)?;
    let ingested = ingest::step(bench, &shelf).await?;
    let (validated, report) = validate::step(bench, &shelf, &ingested).await?;
    if report.has_errors() {
        return Err(RunError::Findings {
            report: Box::new(report),
        });
    }
    let featurized = featurize::step(bench, &shelf, &ingested, &validated).await?;
    let mut origin = Origin {
        shelf,
        ingested,
        validated,
        featurized,
        trained: None,
        parent: Some(parent.version),
        held: None,
    };
    let (tuned, told) = tune::step(bench, &origin, &held, budget).await?;
    origin.held = Some(held.first());
    let found = Findings {
        report,
        gates: vec![tune::gate(&told, bench.workshop.project.project.metric)],
        tune: Some(told),
        ..Findings::default()
    };
    judge(
        bench,
        found,
        &origin,
        tuned.port("model")?,
        StepName::Register,
    )
    .await
}

/// What a model was made from.
pub(crate) struct Origin {
    pub(crate) shelf: Shelf,
    pub(crate) ingested: Done,
    pub(crate) validated: Done,
    pub(crate) featurized: Done,
    /// The float model; none where only the head is new.
    pub(crate) trained: Option<Done>,
    /// The version whose head was solved anew, or which was fine-tuned.
    pub(crate) parent: Option<u32>,
    /// The payload whose golden vectors are kept; none where they are chosen from the test windows.
    pub(crate) held: Option<Port>,
}

/// Evaluate, compile, smoke, register: what every model goes through, however it was made.
async fn judge(
    bench: &mut Bench<'_>,
    mut found: Findings,
    origin: &Origin,
    model: Port,
    last: StepName,
) -> Result<Outcome, RunError> {
    let (comparison, predictions) = evaluate::step(bench, origin, &model).await?;
    let project = &bench.workshop.project;
    found.gates.extend(judged::gates(&comparison, project));
    let against = judged::against_production(bench, &model.digest, &predictions).await?;
    found.gates.extend(against);
    found.evaluation = Some(comparison);
    if last == StepName::Evaluate {
        return stop(bench, found).await;
    }
    let (compiled, report) = compile::step(bench, origin, &model).await?;
    found.gates.extend(compile::gates(&report));
    found.fits = report.fits.clone();
    if last == StepName::Compile {
        return stop(bench, found).await;
    }
    let packages = compile::packages(&compiled, &report)?;
    let smoked = smoke::step(bench, &packages).await?;
    found.gates.extend(smoked);
    if last == StepName::Smoke {
        return stop(bench, found).await;
    }
    let is_refused = found.gates.iter().any(|gate| gate.verdict == Verdict::Fail);
    let detail = detail(&found, &packages);
    let version = if is_refused {
        bench.close(RunState::Refused, detail).await?;
        None
    } else {
        Some(register::step(bench, origin, &model, &packages, detail).await?)
    };
    Ok(outcome(bench, found, version, packages))
}

/// Ends a run that was asked to go no further.
async fn stop(bench: &mut Bench<'_>, found: Findings) -> Result<Outcome, RunError> {
    let detail = detail(&found, &[]);
    bench.close(RunState::Done, detail).await?;
    Ok(outcome(bench, found, None, Vec::new()))
}

fn outcome(
    bench: &mut Bench<'_>,
    found: Findings,
    version: Option<u32>,
    packages: Vec<Package>,
) -> Outcome {
    Outcome {
        run: bench.run.id.0,
        resumes: bench.resumes.map(|run| run.0),
        steps: std::mem::take(&mut bench.steps),
        report: found.report,
        evaluation: found.evaluation,
        gates: found.gates,
        fits: found.fits,
        tune: found.tune,
        version,
        packages,
    }
}

/// What the record of the run, and of its model, says.
fn detail(found: &Findings, packages: &[Package]) -> Json {
    let gates: Vec<Json> = found
        .gates
        .iter()
        .map(|gate| {
            serde_json::json!({
                "gate": gate.name.to_string(),
                "verdict": gate.verdict,
                // Absent where the gate was not asked.
                "passed": match gate.verdict {
                    Verdict::Pass => Some(true),
                    Verdict::Fail => Some(false),
                    Verdict::NotRun => None,
                },
                "why": gate.reason,
            })
        })
        .collect();
    let mut metrics = found
        .evaluation
        .as_ref()
        .map_or(Json::Null, judged::figures);
    if let (Some(metrics), Some(fit)) = (metrics.as_object_mut(), found.fits.first()) {
        metrics.insert("flash_bytes".to_owned(), fit.flash_bytes.into());
        metrics.insert("ram_bytes".to_owned(), fit.ram_bytes.into());
    }
    if let (Some(metrics), Some(tune)) = (metrics.as_object_mut(), &found.tune) {
        metrics.insert("tune".to_owned(), tune.figures());
    }
    serde_json::json!({ "gates": gates, "metrics": metrics, "packages": packages })
}

fn open_shelf(bench: &Bench<'_>) -> Result<Shelf, RunError> {
    let workshop = bench.workshop;
    if workshop.project.data.source.is_empty() {
        return Err(RunError::NoSource);
    }
    Shelf::list(&workshop.root, &workshop.project.data)
}
