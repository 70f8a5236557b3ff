//! What a catalogue of lineage is told, rebuilt event by event with the classes of OpenLineage's own client.

use std::process::Command;

use crate::mlflow::trained_project;
use crate::peer;
use crate::steps::{Answer, run};

const PACKAGES: [&str; 1] = ["openlineage-python>=1.40,<2"];
const IMPORTS: &str = "openlineage.client.facet_v2";
const SCRIPT: &str = include_str!("lineage_told.py");

/// Runs a pipeline, and checks every event that is written of it.
pub(crate) fn check() -> Answer {
    peer::check_with("lineage-told", &PACKAGES, IMPORTS, |python, binary| {
        let project = trained_project(binary, "lineage-told-project")?;
        run(Command::new(python)
            .args(["-c", SCRIPT])
            .arg(binary)
            .arg(project))
    })
}
