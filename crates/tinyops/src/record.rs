//! What the records of a run lead to.

use tinyops_data::manifest::Manifest;
use tinyops_store::{Artifacts, Digest, step::Step};

use crate::failure::Failure;

/// The artifact that a step of a run made.
pub(crate) fn output(steps: &[Step], step: &str, name: &str) -> Option<Digest> {
    let step = steps.iter().find(|found| found.name == step)?;
    let port = step.outputs.iter().find(|port| port.name == name)?;
    Some(port.digest)
}

/// The list of a dataset version.
pub(crate) async fn manifest(artifacts: &Artifacts, version: &Digest) -> Result<Manifest, Failure> {
    let bytes = artifacts.get(version).await?;
    Manifest::decode(&String::from_utf8_lossy(&bytes)).map_err(|error| {
        Failure::question(format!("`{version}` is no dataset version")).cause(&error)
    })
}
