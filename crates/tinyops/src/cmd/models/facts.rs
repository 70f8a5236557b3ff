//! What the records know of a version: what its card, its bill of materials and its folder are written from.

use serde::Deserialize;
use tinyops_data::finding::Report;
use tinyops_model::Model;
use tinyops_pipeline::CompileReport;
use tinyops_store::{
    Artifacts, Db, Json, capsule, capsule::Capsule, model::Model as Row, project, run, run::Run,
    step, step::Step,
};
use tinyops_train::Comparison;

use crate::{
    context::Context,
    failure::Failure,
    model_ref::{ModelRef, chosen, title},
    record::output,
};

/// A gate, as the record of a run keeps it.
#[derive(Deserialize)]
pub(super) struct Gate {
    pub(super) gate: String,
    /// `None` where it was not asked.
    pub(super) passed: Option<bool>,
    pub(super) why: String,
}

/// What the records know of a version.
pub(super) struct Facts {
    pub(super) row: Row,
    pub(super) model: Model,
    pub(super) goal: String,
    pub(super) run: Option<Run>,
    pub(super) steps: Vec<Step>,
    pub(super) evaluation: Option<Comparison>,
    pub(super) report: Option<Report>,
    pub(super) compiled: Option<CompileReport>,
    pub(super) gates: Vec<Gate>,
    /// The signed capsules, the newest of each board.
    pub(super) capsules: Vec<Capsule>,
}

impl Facts {
    /// Reads them of the version that is meant.
    pub(super) async fn load(
        context: &Context,
        db: &Db,
        artifacts: &Artifacts,
        wish: Option<&ModelRef>,
    ) -> Result<Facts, Failure> {
        let row = chosen(context, db, wish).await?;
        let model = Model::decode(&artifacts.get(&row.digest).await?).map_err(|error| {
            Failure::environment(format!("{} does not read back", title(&row))).cause(&error)
        })?;
        let project = project::get(db, &row.project).await?;
        let (run, steps) = match row.run {
            Some(id) => (run::get(db, id).await?, step::of_run(db, id).await?),
            None => (None, Vec::new()),
        };
        let mut capsules: Vec<Capsule> = capsule::of_model(db, &row.name).await?;
        capsules.retain(|capsule| capsule.version == row.version);
        capsules.sort_by(|a, b| (&a.board, b.sequence).cmp(&(&b.board, a.sequence)));
        capsules.dedup_by(|a, b| a.board == b.board);
        Ok(Facts {
            goal: project
                .and_then(|project| Some(project.detail["project"]["goal"].as_str()?.to_owned()))
                .unwrap_or_default(),
            evaluation: artifact(artifacts, &steps, "evaluate", "evaluation").await?,
            report: artifact(artifacts, &steps, "validate", "report").await?,
            compiled: detail(&steps, "compile")
                .and_then(|detail| CompileReport::deserialize(detail).ok()),
            gates: run
                .as_ref()
                .and_then(|run| Vec::deserialize(&run.detail["gates"]).ok())
                .unwrap_or_default(),
            capsules,
            row,
            model,
            run,
            steps,
        })
    }
}

async fn artifact<T: serde::de::DeserializeOwned>(
    artifacts: &Artifacts,
    steps: &[Step],
    step: &str,
    name: &str,
) -> Result<Option<T>, Failure> {
    match output(steps, step, name) {
        Some(digest) => Ok(serde_json::from_slice(&artifacts.get(&digest).await?).ok()),
        None => Ok(None),
    }
}

pub(super) fn detail<'a>(steps: &'a [Step], name: &str) -> Option<&'a Json> {
    steps
        .iter()
        .find(|step| step.name == name)
        .map(|step| &step.detail)
}
