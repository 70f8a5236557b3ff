//! Slices of a registered version, and those that stand between it and production.

use tinyops_pipeline::{Gate, Verdict, slices_against};
use tinyops_store::{Artifacts, Db, model::Model, step};
use tinyops_train::{Comparison, Evaluation};

use crate::{
    cmd::cost::project_of, context::Context, failure::Failure, model_ref::title, record::output,
};

/// What the evaluation of a version's int8 model says, if its run has kept it.
pub(super) async fn evaluation(
    db: &Db,
    artifacts: &Artifacts,
    model: &Model,
) -> Result<Option<Evaluation>, Failure> {
    let Some(run) = model.run else {
        return Ok(None);
    };
    let steps = step::of_run(db, run).await?;
    let Some(digest) = output(&steps, "evaluate", "evaluation") else {
        return Ok(None);
    };
    let read = serde_json::from_slice::<Comparison>(&artifacts.get(&digest).await?);
    Ok(read.ok().map(|comparison| comparison.int8))
}

/// Refuses a version of which a slice falls behind the one in production.
pub(super) async fn check(
    context: &Context,
    db: &Db,
    artifacts: &Artifacts,
    (model, before): (&Model, &Model),
) -> Result<(), Failure> {
    let project = project_of(context, db, model).await?;
    let gates = slices_against(db, artifacts, (model, before), &project)
        .await
        .map_err(|error| Failure::environment("slices cannot be compared").cause(&error))?;
    let told = |verdict: Verdict| gates.iter().filter(move |gate| gate.verdict == verdict);
    for Gate { name, reason, .. } in told(Verdict::NotRun) {
        context.terminal.note(format_args!("{name}: {reason}"));
    }
    let refused = told(Verdict::Fail).count();
    match told(Verdict::Fail).next() {
        None => Ok(()),
        Some(first) => Err(Failure::no(format!(
            "{refused} slices of {} fall behind {}",
            title(model),
            title(before)
        ))
        .because(format!("{}: {}", first.name, first.reason))
        .hint("`slice_loss_max` under `[gates]` allows more, `slice_production = false` asks no longer")),
    }
}
