//! Signing: a payload becomes a capsule that devices accept, here or where the release key is.

use tinyops_store::capsule::Capsule;
use tinyops_store::lineage::Edge;
use tinyops_store::{Digest, Json, ModelId, StoreError, Timestamp, capsule, lineage};
use tinyops_wire::capsule::Unverified;
use tinyops_wire::payload::{Payload, SectionId};
use tinyops_wire::{Manifest, VerifyingKey, capsule as wire};

use crate::enrol::note;
use crate::{Fleet, FleetError, Signer};

/// A payload that wants to become a capsule.
#[derive(Clone, Debug, PartialEq)]
pub struct Unsigned<'a> {
    /// The model's name.
    pub model: &'a str,
    /// The model's version in the registry.
    pub version: u32,
    /// The board that it was compiled for.
    pub board: &'a str,
    /// The payload, as `tinyops-compile` makes it.
    pub payload: &'a [u8],
    /// Labels by class, estimates, task: what pages show.
    pub detail: Json,
}

/// What signs nothing: zeros, which no strict verification takes for a signature of anybody.
const NO_SIGNATURE: [u8; 64] = [0; 64];

impl Fleet {
    /// Signs a payload with the board's next sequence number, keeps the capsule and its row, and names its model id.
    ///
    /// # Errors
    /// [`FleetError::Capsule`] if the payload is not sound, [`FleetError::Signing`].
    pub async fn sign(
        &self,
        signer: &Signer,
        unsigned: &Unsigned<'_>,
        now: Timestamp,
    ) -> Result<Capsule, FleetError> {
        let mut sequence = capsule::last_sequence(&self.db, unsigned.board).await?;
        loop {
            sequence += 1;
            // Nothing is locked while a command signs.
            let request = unsigned_capsule(unsigned, sequence)?;
            let bytes = signer
                .work(move |signer| sign_capsule(signer, &request))
                .await?;
            match self
                .keep(
                    &bytes,
                    &[signer.verifying_key()],
                    &unsigned.detail,
                    ("fleet", "capsule.sign"),
                    now,
                )
                .await
            {
                // Another was faster, or four bytes meet another capsule's id: the next number gives others.
                Err(FleetError::Store(StoreError::Exists { .. })) => {}
                done => return done,
            }
        }
    }

    /// What [`sign_capsule`] signs where the release key is: the capsule of a payload, with the board's next sequence
    /// number and an empty signature.
    ///
    /// # Errors
    /// [`FleetError::Capsule`] if the payload is not sound.
    pub async fn signing_request(&self, unsigned: &Unsigned<'_>) -> Result<Vec<u8>, FleetError> {
        let last = capsule::last_sequence(&self.db, unsigned.board).await?;
        unsigned_capsule(unsigned, last + 1)
    }

    /// Keeps a capsule that was signed elsewhere by a release key of this fleet's key set, and its row.
    ///
    /// # Errors
    /// [`FleetError::Capsule`] if none of them has signed it, or it is not sound; [`FleetError::Store`] if its sequence
    /// number or model id is taken.
    pub async fn take_signed(
        &self,
        bytes: &[u8],
        detail: &Json,
        actor: &str,
        now: Timestamp,
    ) -> Result<Capsule, FleetError> {
        let keys = self.keys().ok_or(FleetError::NoReleaseKey)?;
        let by = (actor, "capsule.import");
        self.keep(bytes, keys.trust.keys.release.keys(), detail, by, now)
            .await
    }

    /// Checks a signed capsule and adds its row.
    async fn keep(
        &self,
        bytes: &[u8],
        keys: &[VerifyingKey],
        detail: &Json,
        (actor, action): (&str, &str),
        now: Timestamp,
    ) -> Result<Capsule, FleetError> {
        let checked = wire::Capsule::verify(bytes, keys)?;
        let manifest = &checked.manifest;
        let baseline = checked.payload.section(SectionId::Baseline);
        let row = Capsule {
            manifest_digest: checked.manifest_digest,
            id: checked.model(),
            model: manifest.name.to_owned(),
            version: manifest.version,
            board: manifest.board.to_owned(),
            digest: self.artifacts.put(bytes).await?,
            bytes: u32::try_from(bytes.len()).map_err(|_| wire::CapsuleError::Length)?,
            payload: manifest.payload_digest,
            sequence: manifest.sequence,
            baseline: baseline.unwrap_or_default().to_vec(),
            detail: detail.clone(),
            created_at: now,
        };
        let tx = self.db.begin_audited("keep a capsule").await?;
        // 0 stands for no model.
        if row.id == ModelId(0) || capsule::get(&tx, row.id).await?.is_some() {
            return Err(FleetError::Store(StoreError::Exists {
                entity: "capsule",
                key: row.id.to_string(),
            }));
        }
        capsule::add(&tx, &row).await?;
        let edge = Edge {
            from: row.payload,
            to: row.digest,
            kind: "sign".to_owned(),
            run: None,
        };
        lineage::add(&tx, &[edge]).await?;
        let detail = serde_json::json!({
            "model": row.model, "version": row.version, "board": row.board,
        });
        note(&tx, now, actor, action, row.id, &detail).await?;
        tx.commit().await?;
        Ok(row)
    }
}

/// A capsule with an empty signature: everything but that is as it will be.
fn unsigned_capsule(unsigned: &Unsigned<'_>, sequence: u32) -> Result<Vec<u8>, FleetError> {
    let payload = Payload::parse(unsigned.payload).map_err(wire::CapsuleError::Payload)?;
    let program_digest = payload
        .section(SectionId::Program)
        .map_or(Digest([0; 32]), Digest::of);
    let manifest = Manifest {
        sequence,
        board: unsigned.board,
        payload_digest: Digest([0; 32]), // Both are taken from the payload when it is signed.
        payload_bytes: 0,
        program_digest,
        name: unsigned.model,
        version: unsigned.version,
    };
    encode(&manifest, unsigned.payload, |_| Ok(NO_SIGNATURE))
}

/// Signs a capsule that [`Fleet::signing_request`] made, whoever signed it before.
///
/// # Errors
/// [`FleetError::Capsule`] if the bytes are no sound capsule, [`FleetError::Signing`].
pub fn sign_capsule(signer: &Signer, request: &[u8]) -> Result<Vec<u8>, FleetError> {
    let request = Unverified::parse(request)?;
    let checked = request.verify_payload()?;
    encode(&checked.manifest, request.payload(), |message| {
        signer.sign(message)
    })
}

fn encode(
    manifest: &Manifest<'_>,
    payload: &[u8],
    sign: impl FnOnce(&[u8]) -> Result<[u8; 64], FleetError>,
) -> Result<Vec<u8>, FleetError> {
    let mut bytes = vec![0; payload.len() + wire::HEAD_BYTES_MAX];
    let len = wire::encode_with(manifest, payload, sign, &mut bytes)?;
    bytes.truncate(len);
    Ok(bytes)
}
