//! From a registered model version to signed capsules: where the two loops hand over.

use tinyops_fleet::sign::Unsigned;
use tinyops_fleet::{Fleet, FleetError, Keyring};
use tinyops_pipeline::promotion::{self, Way};
use tinyops_store::capsule::{self, Capsule};
use tinyops_store::{Digest, Json, StoreError, Timestamp, model};
use tinyops_wire::Manifest;
use tinyops_wire::capsule::{CapsuleError, Unverified};
use tinyops_wire::payload::{Payload, SectionId};
use tinyops_wire::section::Labels;
use tinyops_wire::sensor::{Channel, SensorSection};

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
    /// Something keeps it back.
    #[error("model `{model}@{version}` may not go out: {}", reasons.join("; "))]
    Kept {
        /// The model.
        model: String,
        /// The version.
        version: u32,
        /// What.
        reasons: Vec<String>,
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

/// Signs a version for every board that it was compiled for; capsules that devices take as they are stay.
///
/// # Errors
/// [`FleetError::NoReleaseKey`] if one is to be signed and the release key is elsewhere.
pub async fn release(
    fleet: &Fleet,
    keys: &Keyring,
    model: &str,
    version: u32,
    now: Timestamp,
) -> Result<Vec<Capsule>, ReleaseError> {
    let mut capsules = Vec::new();
    for package in packages(fleet, model, version).await? {
        match signed(fleet, keys, &package).await? {
            Some(capsule) => capsules.push(capsule),
            None => {
                let signer = keys.release().map_err(ReleaseError::Fleet)?;
                capsules.push(fleet.sign(signer, &package.unsigned(), now).await?);
            }
        }
    }
    Ok(capsules)
}

/// What there is to sign of a version where the release key is: a capsule with an empty signature for each board that
/// has none which devices take.
pub async fn requests(
    fleet: &Fleet,
    keys: &Keyring,
    model: &str,
    version: u32,
) -> Result<Vec<(String, Vec<u8>)>, ReleaseError> {
    let mut requests = Vec::new();
    for package in packages(fleet, model, version).await? {
        if signed(fleet, keys, &package).await?.is_none() {
            let request = fleet.signing_request(&package.unsigned()).await?;
            requests.push((package.board, request));
        }
    }
    Ok(requests)
}

/// Takes in a capsule that was signed where the release key is, if it is of a registered version.
pub async fn admit(
    fleet: &Fleet,
    bytes: &[u8],
    actor: &str,
    now: Timestamp,
) -> Result<Capsule, ReleaseError> {
    let claimed = Unverified::parse(bytes).map_err(FleetError::from)?;
    let Manifest {
        name,
        version,
        board,
        payload_digest,
        ..
    } = claimed.manifest;
    let package = packages(fleet, name, version)
        .await?
        .into_iter()
        .find(|package| package.board == board && Digest::of(&package.payload) == payload_digest)
        .ok_or(CapsuleError::Digest)
        .map_err(FleetError::from)?;
    Ok(fleet
        .take_signed(bytes, &package.detail, actor, now)
        .await?)
}

/// What a version was compiled to for one board.
struct Package {
    model: String,
    version: u32,
    board: String,
    payload: Vec<u8>,
    detail: Json,
}

impl Package {
    fn unsigned(&self) -> Unsigned<'_> {
        Unsigned {
            model: &self.model,
            version: self.version,
            board: &self.board,
            payload: &self.payload,
            detail: self.detail.clone(),
        }
    }
}

/// The newest capsule of a package, if a release key of the key set in force has signed it.
async fn signed(
    fleet: &Fleet,
    keys: &Keyring,
    package: &Package,
) -> Result<Option<Capsule>, ReleaseError> {
    let Package {
        model,
        version,
        board,
        ..
    } = package;
    let Some(capsule) = capsule::for_board(&fleet.db, model, *version, board).await? else {
        return Ok(None);
    };
    let bytes = fleet.artifacts.get(&capsule.digest).await?;
    let verified = tinyops_wire::Capsule::verify(&bytes, keys.trust.keys.release.keys()).is_ok();
    Ok(verified.then_some(capsule))
}

/// What a version was compiled to.
async fn packages(fleet: &Fleet, model: &str, version: u32) -> Result<Vec<Package>, ReleaseError> {
    let row = model::get(&fleet.db, model, version)
        .await?
        .ok_or_else(|| ReleaseError::NoModel {
            model: model.to_owned(),
            version,
        })?;
    let reasons = promotion::may_go_out(&fleet.db, &row, Way::Devices).await?;
    if !reasons.is_empty() {
        return Err(ReleaseError::Kept {
            model: model.to_owned(),
            version,
            reasons,
        });
    }
    let listed = row.metrics.get(PACKAGES).and_then(Json::as_array);
    let mut packages = Vec::new();
    for package in listed.into_iter().flatten() {
        let Some((board, payload)) = package_of(package) else {
            continue;
        };
        let payload = fleet.artifacts.get(&payload).await?;
        let detail = serde_json::json!({
            "labels": labels(&payload), "sensor": sensor(&payload), "fit": package.get("fit"),
            "embedding_width": package.get("embedding_width"), "window_readings": package.get("window_readings"),
        });
        packages.push(Package {
            model: model.to_owned(),
            version,
            board: board.to_owned(),
            payload,
            detail,
        });
    }
    if packages.is_empty() {
        return Err(ReleaseError::NoPayload {
            model: model.to_owned(),
            version,
        });
    }
    Ok(packages)
}

/// The board and the payload of a package.
fn package_of(package: &Json) -> Option<(&str, Digest)> {
    let text = |name: &str| package.get(name).and_then(Json::as_str);
    Some((text("board")?, text("payload")?.parse().ok()?))
}

/// What a payload says of its sensor; nothing where it says nothing.
fn sensor(payload: &[u8]) -> Option<Json> {
    let payload = Payload::parse(payload).ok()?;
    let section = SensorSection::decode(payload.section(SectionId::Sensor)?).ok()?;
    let channel = |channel: Channel<'_>| {
        serde_json::json!({
            "axis": channel.axis, "unit": channel.unit,
            "full_scale": (channel.full_scale > 0.0).then_some(channel.full_scale),
        })
    };
    Some(serde_json::json!({
        "digest": section.digest().to_string(), "rate_hz": section.rate_hz(),
        "rate_tolerance_ppm": section.rate_tolerance_ppm(),
        "mounting": section.mounting().map(|mounting| mounting.to_string()),
        "channels": section.channels().map(channel).collect::<Vec<_>>(),
    }))
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
