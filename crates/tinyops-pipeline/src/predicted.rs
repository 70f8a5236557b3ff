//! What a registered version said of each of its test windows, as its run has kept it.

use tinyops_store::{Artifacts, Read, model::Model, step};
use tinyops_train::Predictions;

use crate::{RunError, StepName, step::evaluate::PREDICTIONS};

/// What a version said of each of its test windows; nothing of an imported one, or of one made before this was kept.
///
/// # Errors
/// [`RunError::Store`], [`RunError::Codec`].
pub async fn predictions_of(
    on: &impl Read,
    artifacts: &Artifacts,
    model: &Model,
) -> Result<Option<Predictions>, RunError> {
    let Some(run) = model.run else {
        return Ok(None);
    };
    let steps = step::of_run(on, run).await?;
    let evaluated = steps
        .iter()
        .filter(|step| step.name == StepName::Evaluate.word());
    let port = evaluated
        .flat_map(|step| &step.outputs)
        .find(|port| port.name == PREDICTIONS);
    match port {
        Some(port) if artifacts.exists(&port.digest).await? => Ok(Some(Predictions::decode(
            &artifacts.get(&port.digest).await?,
        )?)),
        _ => Ok(None),
    }
}
