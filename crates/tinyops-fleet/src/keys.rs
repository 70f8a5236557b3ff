//! The keys of a server, in files beside its records: who signs releases, who directs devices, who signs key sets.
//!
//! ```text
//! root.key, root-2.key, root-3.key    sign key sets; best kept elsewhere once the first is made
//! release.key                         signs capsules; may be elsewhere
//! director.key                        signs statements; a server cannot direct devices without it
//! roots.json                          the public halves of the root keys, and how many of them it takes
//! key-set.cose                        the newest signed key set
//! ```
//! A `.key` is 64 hex digits that only its owner can read. None of them is ever in the database, a log or an error.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tinyops_store::{Digest, Readers, write_whole};
use tinyops_wire::key_set::{KEY_SET_BYTES_MAX, RoleKeys, RootSignature, Roots, SignedKeySet};
use tinyops_wire::{KeySet, VerifyingKey};

use crate::{FleetError, Signer};

/// The keys that a server has.
#[derive(Clone, Debug)]
pub struct Keyring {
    /// Signs capsules; `None` where releases are signed elsewhere.
    pub release: Option<Signer>,
    /// Signs what each device shall run.
    pub director: Signer,
    /// What devices are to believe.
    pub trust: Trust,
}

/// What devices are to believe: all public.
#[derive(Clone, Debug, PartialEq)]
pub struct Trust {
    /// Who signs key sets.
    pub roots: Roots,
    /// The newest key set.
    pub keys: KeySet,
    /// The same with its signatures, as devices get it.
    pub signed: Arc<[u8]>,
}

/// `roots.json`
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RootsFile {
    threshold: u8,
    /// 64 hex digits each.
    keys: Vec<String>,
}

/// Where the keys of a server lie.
#[derive(Clone, Debug)]
pub struct KeyFolder(PathBuf);

impl KeyFolder {
    /// The keys in this folder.
    pub fn new(folder: &Path) -> KeyFolder {
        KeyFolder(folder.to_owned())
    }

    /// The file of a key.
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(format!("{name}.key"))
    }

    fn roots_file(&self) -> PathBuf {
        self.0.join("roots.json")
    }

    fn key_set_file(&self) -> PathBuf {
        self.0.join("key-set.cose")
    }

    /// Reads what devices are to believe; `None` if none was made here.
    ///
    /// # Errors
    /// [`FleetError::Key`] if a file is there and unsound, or too few root keys have signed the key set.
    pub fn trust(&self) -> Result<Option<Trust>, FleetError> {
        let path = self.key_set_file();
        let Some(signed) = read(&path)? else {
            return Ok(None);
        };
        let roots = self.roots()?;
        let keys = SignedKeySet::parse(&signed)
            .and_then(|set| set.verify(&roots))
            .map_err(|error| wrong(&path, error))?;
        Ok(Some(Trust {
            roots,
            keys,
            signed: signed.into(),
        }))
    }

    fn roots(&self) -> Result<Roots, FleetError> {
        let path = self.roots_file();
        let bytes = read(&path)?.ok_or_else(|| wrong(&path, "there is none"))?;
        let file: RootsFile =
            serde_json::from_slice(&bytes).map_err(|error| wrong(&path, error))?;
        let read_key = |text: &String| {
            let bytes: Digest = text.parse().map_err(|error| wrong(&path, error))?;
            VerifyingKey::from_bytes(&bytes.0).map_err(|error| wrong(&path, error))
        };
        let keys: Vec<VerifyingKey> = file.keys.iter().map(read_key).collect::<Result<_, _>>()?;
        Roots::new(&keys, file.threshold).ok_or_else(|| {
            wrong(
                &path,
                "one to three keys, and a threshold of at most as many",
            )
        })
    }

    /// Opens the keys of a server and makes those that are missing, which is all that a laptop needs.
    ///
    /// A root key is made only together with the first key set: without one that was there before, what devices
    /// believe could not be changed any more.
    ///
    /// # Errors
    /// [`FleetError::Key`] if a file cannot be read or made, others may read it, or it does not belong to the rest.
    pub fn open_or_make(&self, mut seed: impl FnMut() -> [u8; 32]) -> Result<Keyring, FleetError> {
        let director = Signer::open(&self.file("director"), &seed())?;
        let trust = self.trust()?;
        // A server that was given its trust from elsewhere may well have no release key.
        let release = match (&trust, self.file("release").exists()) {
            (Some(_), false) => None,
            _ => Some(Signer::open(&self.file("release"), &seed())?),
        };
        let trust = match (trust, &release) {
            (Some(trust), _) => trust,
            (None, Some(release)) => self.make_trust(release, &director, &seed())?,
            (None, None) => unreachable!("without trust a release key is made"),
        };
        let keyring = Keyring {
            release,
            director,
            trust,
        };
        keyring.check(&self.key_set_file())?;
        Ok(keyring)
    }

    fn make_trust(
        &self,
        release: &Signer,
        director: &Signer,
        seed: &[u8; 32],
    ) -> Result<Trust, FleetError> {
        let root = Signer::open(&self.file("root"), seed)?;
        let trust = Trust::first(&root, release, director)?;
        let keys = trust
            .roots
            .keys()
            .map(|key| Digest(key.to_bytes()).to_string());
        let file = RootsFile {
            threshold: trust.roots.threshold(),
            keys: keys.collect(),
        };
        let text = serde_json::to_vec_pretty(&file).expect("texts and a number are JSON");
        for (path, bytes) in [
            (self.roots_file(), text.as_slice()),
            (self.key_set_file(), &trust.signed),
        ] {
            write_whole(&path, Readers::Usual, bytes).map_err(|error| wrong(&path, error))?;
        }
        Ok(trust)
    }
}

impl Trust {
    /// The first key set: one root key, one release key, one director key.
    fn first(root: &Signer, release: &Signer, director: &Signer) -> Result<Trust, FleetError> {
        let keys = KeySet {
            sequence: 1,
            release: RoleKeys::one(release.verifying_key()),
            director: RoleKeys::one(director.verifying_key()),
        };
        let signed = sign_key_set(&keys, &[root])?;
        let roots = Roots::new(&[root.verifying_key()], 1).expect("one key and a threshold of one");
        Ok(Trust {
            roots,
            keys,
            signed: signed.into(),
        })
    }
}

/// Signs a key set with root keys.
///
/// # Errors
/// [`FleetError::Key`] if a key is not here and whoever has it does not sign.
pub(crate) fn sign_key_set(keys: &KeySet, roots: &[&Signer]) -> Result<Vec<u8>, FleetError> {
    let mut message = [0; tinyops_wire::key_set::MESSAGE_BYTES_MAX];
    let message_len = keys.to_sign(&mut message).expect("the room is the longest");
    let mut signatures = Vec::new();
    for root in roots {
        signatures.push(RootSignature {
            key: root.verifying_key().id(),
            signature: root.sign(&message[..message_len])?,
        });
    }
    let mut out = vec![0; KEY_SET_BYTES_MAX];
    let written = keys
        .encode(&signatures, &mut out)
        .expect("different keys, at most three");
    out.truncate(written);
    Ok(out)
}

impl Keyring {
    /// Keys that grow from one seed, for simulated fleets, which protect nothing.
    pub fn from_seed(seed: &[u8; 32]) -> Keyring {
        let of = |role: &str| {
            let mut text = role.as_bytes().to_vec();
            text.extend(seed);
            Signer::from_seed(&Digest::of(&text).0)
        };
        let (release, director) = (of("release"), of("director"));
        let trust = Trust::first(&of("root"), &release, &director).expect("the keys are here");
        Keyring {
            release: Some(release),
            director,
            trust,
        }
    }

    /// The key that signs capsules.
    ///
    /// # Errors
    /// [`FleetError::NoReleaseKey`] where releases are signed elsewhere.
    pub fn release(&self) -> Result<&Signer, FleetError> {
        self.release.as_ref().ok_or(FleetError::NoReleaseKey)
    }

    /// Keys that are not in the key set sign what no device takes.
    fn check(&self, path: &Path) -> Result<(), FleetError> {
        let has = |role: &RoleKeys, signer: &Signer| role.keys().contains(&signer.verifying_key());
        let keys = &self.trust.keys;
        if !has(&keys.director, &self.director) {
            return Err(wrong(
                path,
                "it does not hold the director key of this server",
            ));
        }
        match &self.release {
            Some(release) if !has(&keys.release, release) => Err(wrong(
                path,
                "it does not hold the release key of this server",
            )),
            _ => Ok(()),
        }
    }
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, FleetError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(wrong(path, error)),
    }
}

fn wrong(path: &Path, problem: impl std::fmt::Display) -> FleetError {
    FleetError::Key {
        path: path.display().to_string(),
        problem: problem.to_string(),
    }
}
