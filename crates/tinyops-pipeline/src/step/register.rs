//! Register: the model becomes a version, with its figures and its lineage, in one transaction.

use std::{collections::BTreeMap, time::Instant};

use tinyops_store::{
    Json, audit,
    model::{self, NewModel},
    run::RunState,
    step::{self, Port, Step, StepState},
};

use crate::{
    Package, RunError, StepName, StepReport,
    bench::Bench,
    flow::Origin,
    tracking::{own, webhook},
};

pub(crate) async fn step(
    bench: &mut Bench<'_>,
    origin: &Origin,
    model: &Port,
    packages: &[Package],
    detail: Json,
) -> Result<u32, RunError> {
    bench.begin(StepName::Register);
    let begun = Instant::now();
    let workshop = bench.workshop;
    let project = &workshop.project.project.name;
    let now = (workshop.now)();
    let mut metrics = detail["metrics"].clone();
    if let Some(fields) = metrics.as_object_mut() {
        fields.insert(
            "dataset".to_owned(),
            origin.ingested.output("dataset")?.to_string().into(),
        );
        fields.insert("packages".to_owned(), detail["packages"].clone());
    }
    let new = NewModel {
        name: project.clone(),
        project: project.clone(),
        digest: model.digest,
        run: Some(bench.run.id),
        parent: origin.parent,
        metrics,
    };
    let (_pen, tx) = bench.transaction("register model").await?;
    // The same bytes again are the same version: running twice changes nothing.
    let known = model::by_digest(&tx, &model.digest).await?;
    let known = known.into_iter().find(|known| known.name == *project);
    let (version, summary) = match known {
        Some(known) => (
            known.version,
            format!("{project}@{} is there already", known.version),
        ),
        None => {
            let version = model::add(&tx, &new, now).await?.version;
            let subject = format!("{project}@{version}");
            let detail = serde_json::json!({
                "run": bench.run.id.0, "digest": model.digest.to_string(),
            });
            let actor = bench.actor();
            audit::add(&tx, now, actor, "model.register", &subject, &detail).await?;
            let told = serde_json::json!({
                "name": project, "version": version.to_string(),
                "source": format!("mlflow-artifacts:/tinyops/{project}/{version}"),
                "run_id": own::run_id(bench.run.id), "tags": {}, "description": null,
            });
            webhook::owe(&tx, "model_version", "created", told, now).await?;
            (version, format!("{project}@{version}"))
        }
    };
    let mut inputs = vec![model.clone()];
    inputs.extend(packages.iter().map(|package| Port {
        name: format!("payload/{}", package.board),
        digest: package.payload,
    }));
    let row = Step {
        run: bench.run.id,
        index: u32::try_from(bench.steps.len()).unwrap_or(u32::MAX),
        name: StepName::Register.word().to_owned(),
        state: StepState::Done,
        key: None,
        inputs,
        outputs: Vec::new(),
        seconds: begun.elapsed().as_secs_f64(),
        detail: serde_json::json!({ "summary": summary, "version": version }),
        changed_at: now,
    };
    step::put(&tx, &row).await?;
    own::step(&tx, &bench.run, &row, &BTreeMap::new()).await?;
    bench.close_in(tx, RunState::Done, detail).await?;
    bench.end(StepReport {
        step: StepName::Register,
        cached: false,
        wall_ms: begun.elapsed().as_millis().try_into().unwrap_or(u64::MAX),
        outputs: Vec::new(),
        summary,
    });
    Ok(version)
}
