//! From a registered model version to signed capsules: where the two loops hand over.

use tinyops_fleet::sign::Unsigned;
use tinyops_fleet::{Fleet, FleetError, Signer};
use tinyops_store::capsule::{self, Capsule};
use tinyops_store::{Digest, Json, StoreError, Timestamp, model};
use tinyops_wire::payload::{Payload, SectionId};
use tinyops_wire::section::Labels;

/// Where a registered version lists what it was compiled to: `[{board, payload, …}]`.
const PACKAGES: &str = "packages";

/// Why a version was not signed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReleaseError {
    /// No such version.
    #[error("model `{model}@{version}` is not registered")]
    NoModel {
        /// The model.
        model: String,
        /// The version.
        version: u32,
    },
    /// The version was never compiled, or for no board.
    #[error("model `{model}@{version}` was compiled for no board")]
    NoPayload {
        /// The model.
        model: String,
        /// The version.
        version: u32,
    },
    /// The fleet could not sign it.
    #[error("the capsule could not be signed")]
    Fleet(#[from] FleetError),
    /// The store could not.
    #[error("the model could not be read")]
    Store(#[from] StoreError),
}

/// Signs a version for every board that it was compiled for; capsules that exist already stay.
pub async fn release(
    fleet: &Fleet,
    signer: &Signer,
    model: &str,
    version: u32,
    now: Timestamp,
) -> Result<Vec<Capsule>, ReleaseError> {
    let row = model::get(&fleet.db, model, version)
        .await?
        .ok_or_else(|| ReleaseError::NoModel {
            model: model.to_owned(),
            version,
        })?;
    let signed: Vec<Capsule> = capsule::of_model(&fleet.db, model)
        .await?
        .into_iter()
        .filter(|capsule| capsule.version == version)
        .collect();
    let mut capsules = Vec::new();
    for package in row
        .metrics
        .get(PACKAGES)
        .and_then(Json::as_array)
        .into_iter()
        .flatten()
    {
        let Some((board, payload)) = package_of(package) else {
            continue;
        };
        if let Some(capsule) = signed.iter().find(|capsule| capsule.board == board) {
            capsules.push(capsule.clone());
            continue;
        }
        let payload = fleet.artifacts.get(&payload).await?;
        let unsigned = Unsigned {
            model,
            version,
            board,
            payload: &payload,
            detail: serde_json::json!({ "labels": labels(&payload), "fit": package.get("fit") }),
        };
        capsules.push(fleet.sign(signer, &unsigned, now).await?);
    }
    if capsules.is_empty() {
        return Err(ReleaseError::NoPayload {
            model: model.to_owned(),
            version,
        });
    }
    Ok(capsules)
}

/// The board and the payload of a package.
fn package_of(package: &Json) -> Option<(&str, Digest)> {
    let text = |name: &str| package.get(name).and_then(Json::as_str);
    Some((text("board")?, text("payload")?.parse().ok()?))
}

/// The classes that a payload names; none if it has none.
fn labels(payload: &[u8]) -> Vec<String> {
    let payload = Payload::parse(payload).ok();
    let section = payload.as_ref().and_then(|p| p.section(SectionId::Labels));
    let labels = section.and_then(|section| Labels::decode(section).ok());
    labels
        .iter()
        .flat_map(Labels::names)
        .map(str::to_owned)
        .collect()
}
