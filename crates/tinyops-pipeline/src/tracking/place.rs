//! Where the files of runs and models are.

use tinyops_store::tracking::experiment::{self, Experiment, ExperimentId};
use tinyops_store::tracking::logged_model::LoggedModel;
use tinyops_store::tracking::run::TrackedRun;
use tinyops_store::{Read, StoreError};

/// The place of an experiment's files: the server's own, or one that somebody wished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place(String);

impl Place {
    /// That of an experiment.
    pub fn of(experiment: &Experiment) -> Place {
        Place(match experiment.artifact_location.as_str() {
            "" => Place::usual(experiment.id),
            wished => wished.trim_end_matches('/').to_owned(),
        })
    }

    /// That of the experiment of this number; the server's own where it is gone.
    ///
    /// # Errors
    /// When the records cannot be read.
    pub async fn of_id(on: &impl Read, id: ExperimentId) -> Result<Place, StoreError> {
        let found = experiment::get(on, id).await?;
        Ok(found.map_or_else(|| Place(Place::usual(id)), |found| Place::of(&found)))
    }

    fn usual(id: ExperimentId) -> String {
        format!("mlflow-artifacts:/{id}")
    }

    /// Its URI.
    pub fn uri(&self) -> &str {
        &self.0
    }

    /// Where the files of a run are.
    pub fn of_run(&self, run: &TrackedRun) -> String {
        self.of_run_id(&run.id)
    }

    /// Where the files of the run of this id are, or will be.
    pub fn of_run_id(&self, id: &str) -> String {
        format!("{}/{id}/artifacts", self.0)
    }

    /// Where the files of a logged model are.
    pub fn of_model(&self, model: &LoggedModel) -> String {
        self.of_model_id(&model.id)
    }

    /// Where the files of the logged model of this id are, or will be.
    pub fn of_model_id(&self, id: &str) -> String {
        format!("{}/models/{id}/artifacts", self.0)
    }
}
