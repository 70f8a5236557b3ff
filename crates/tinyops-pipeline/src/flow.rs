//! The two ways through the steps: from recordings to a model, and from fleet statistics to a new head.

use tinyops_data::finding::Report;
use tinyops_store::{Digest, Json, model, run::RunState, step::Port};
use tinyops_train::Comparison;

use crate::{
    Gate, Outcome, Package, RunError, StepName, Verdict,
    bench::{Bench, Done},
    judged,
    step::{
        compile, compile::BoardFit, evaluate, featurize, ingest, ingest::Shelf, quantize, register,
        resolve, smoke, train, validate,
    },
};

/// What a run has come to so far.
#[derive(Default)]
struct Findings {
    report: Report,
    gates: Vec<Gate>,
    fits: Vec<BoardFit>,
    evaluation: Option<Comparison>,
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
    let found = Findings {
        report,
        ..Findings::default()
    };
    let featurized = featurize::step(bench, &shelf, &ingested, &validated).await?;
    let resolved = resolve::step(bench, parent, statistics, &featurized).await?;
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
    };
    judge(bench, found, &origin, model, StepName::Register).await
}

/// What a model was made from.
pub(crate) struct Origin {
    pub(crate) shelf: Shelf,
    pub(crate) ingested: Done,
    pub(crate) validated: Done,
    pub(crate) featurized: Done,
    /// The float model; none where only the head is new.
    pub(crate) trained: Option<Done>,
    /// The version whose head was solved anew.
    pub(crate) parent: Option<u32>,
}

/// Evaluate, compile, smoke, register: what every model goes through, however it was made.
async fn judge(
    bench: &mut Bench<'_>,
    mut found: Findings,
    origin: &Origin,
    model: Port,
    last: StepName,
) -> Result<Outcome, RunError> {
    let comparison = evaluate::step(bench, origin, &model).await?;
    found
        .gates
        .extend(judged::gates(&comparison, &bench.workshop.project));
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
    serde_json::json!({ "gates": gates, "metrics": metrics, "packages": packages })
}

fn open_shelf(bench: &Bench<'_>) -> Result<Shelf, RunError> {
    let workshop = bench.workshop;
    if workshop.project.data.source.is_empty() {
        return Err(RunError::NoSource);
    }
    Shelf::list(&workshop.root, &workshop.project.data)
}
