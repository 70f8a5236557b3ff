//! Signing: a payload becomes a capsule that devices accept.

use std::io::Write as _;
use std::path::Path;

use tinyops_store::capsule::Capsule;
use tinyops_store::lineage::Edge;
use tinyops_store::{Digest, Json, ModelId, Timestamp, capsule, lineage};
use tinyops_wire::payload::{Payload, SectionId};
use tinyops_wire::{Manifest, SigningKey, VerifyingKey, capsule as wire};

use crate::enrol::note;
use crate::{Fleet, FleetError};

/// A key that signs. It lives in a file that only its owner can read, never in the database or a log.
#[derive(Clone, Debug)]
pub struct Signer {
    key: SigningKey,
}

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

impl Signer {
    /// The key that grows from 32 secret random bytes.
    pub fn from_seed(seed: &[u8; 32]) -> Signer {
        Signer {
            key: SigningKey::from_seed(seed),
        }
    }

    /// Reads the key from `path` (64 hex digits); makes it from `seed` if the file is missing.
    ///
    /// # Errors
    /// [`FleetError::Key`] if others may read the file, or it holds something else.
    pub fn open(path: &Path, seed: &[u8; 32]) -> Result<Signer, FleetError> {
        let wrong = |problem: String| FleetError::Key {
            path: path.display().to_string(),
            problem,
        };
        match std::fs::read_to_string(path) {
            Ok(text) => {
                check_permissions(path).map_err(wrong)?;
                let digest: Digest = text
                    .trim()
                    .parse()
                    .map_err(|_| wrong("not 64 hex digits".to_owned()))?;
                Ok(Signer::from_seed(&digest.0))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                if let Some(folder) = path.parent() {
                    std::fs::create_dir_all(folder).map_err(|error| wrong(error.to_string()))?;
                }
                write_secret(path, &format!("{}\n", Digest(*seed)))
                    .map_err(|error| wrong(error.to_string()))?;
                Ok(Signer::from_seed(seed))
            }
            Err(error) => Err(wrong(error.to_string())),
        }
    }

    /// The public half, which devices carry.
    pub fn verifying_key(&self) -> VerifyingKey {
        self.key.verifying_key()
    }

    /// Signs what a wire format says is to be signed.
    ///
    /// # Errors
    /// [`FleetError::Key`] if the key is not here and whoever has it does not sign.
    pub fn sign(&self, message: &[u8]) -> Result<[u8; 64], FleetError> {
        Ok(self.key.sign(message))
    }
}

impl Fleet {
    /// Signs a payload with the board's next sequence number, keeps the capsule and its row, and names its model id.
    ///
    /// # Errors
    /// [`FleetError::Capsule`] if the payload is not sound.
    pub async fn sign(
        &self,
        signer: &Signer,
        unsigned: &Unsigned<'_>,
        now: Timestamp,
    ) -> Result<Capsule, FleetError> {
        let payload = Payload::parse(unsigned.payload).map_err(wire::CapsuleError::Payload)?;
        let baseline = payload.section(SectionId::Baseline).unwrap_or_default();
        let program_digest = payload
            .section(SectionId::Program)
            .map_or(Digest([0; 32]), Digest::of);
        let tx = self.db.begin("sign a capsule").await?;
        let mut sequence = capsule::last_sequence(&tx, unsigned.board).await?;
        let row = loop {
            sequence += 1;
            let manifest = Manifest {
                sequence,
                board: unsigned.board,
                payload_digest: Digest([0; 32]), // Both are taken from the payload when it is signed.
                payload_bytes: 0,
                program_digest,
                name: unsigned.model,
                version: unsigned.version,
            };
            let mut bytes = vec![0; unsigned.payload.len() + wire::HEAD_BYTES_MAX];
            let sign = |message: &[u8]| signer.sign(message);
            let len = wire::encode_with(&manifest, unsigned.payload, sign, &mut bytes)?;
            bytes.truncate(len);
            let manifest_digest =
                wire::Capsule::verify(&bytes, &[signer.verifying_key()])?.manifest_digest;
            let id = ModelId::of(&manifest_digest);
            // Four bytes may meet another capsule's, or the 0 that stands for no model: the next number gives others.
            if id != ModelId(0) && capsule::get(&tx, id).await?.is_none() {
                break Capsule {
                    manifest_digest,
                    id,
                    model: unsigned.model.to_owned(),
                    version: unsigned.version,
                    board: unsigned.board.to_owned(),
                    digest: self.artifacts.put(&bytes).await?,
                    bytes: u32::try_from(bytes.len()).map_err(|_| wire::CapsuleError::Length)?,
                    payload: Digest::of(unsigned.payload),
                    sequence,
                    baseline: baseline.to_vec(),
                    detail: unsigned.detail.clone(),
                    created_at: now,
                };
            }
        };
        capsule::add(&tx, &row).await?;
        let edge = Edge {
            from: row.payload,
            to: row.digest,
            kind: "sign".to_owned(),
            run: None,
        };
        lineage::add(&tx, &[edge]).await?;
        let detail =
            serde_json::json!({ "model": row.model, "version": row.version, "board": row.board });
        note(&tx, now, "fleet", "capsule.sign", row.id, &detail).await?;
        tx.commit().await?;
        Ok(row)
    }
}

#[cfg(unix)]
fn check_permissions(path: &Path) -> Result<(), String> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::metadata(path)
        .map_err(|error| error.to_string())?
        .permissions()
        .mode();
    match mode & 0o077 {
        0 => Ok(()),
        _ => Err(format!(
            "others may read it (mode {:o}): `chmod 600` it",
            mode & 0o777
        )),
    }
}

#[cfg(not(unix))]
fn check_permissions(_path: &Path) -> Result<(), String> {
    Ok(())
}

fn write_secret(path: &Path, text: &str) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
