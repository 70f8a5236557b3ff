//! The keys of a server, in files beside its records: who signs releases, who directs devices, who signs key sets.
//!
//! ```text
//! root.key, root-2.key, root-3.key    sign key sets; best kept elsewhere once the first is made
//! release.key                         signs capsules; may be elsewhere
//! director.key                        signs statements; a server cannot direct devices without it
//! roots.json                          the public halves of the root keys, and how many of them it takes
//! key-set.cose                        the newest signed key set
//! signers.toml                        commands that sign for a root or release key that is elsewhere
//! NAME.next.key                       a key that a key set which is not in force yet will bring
//! NAME-ID.key                         a key that another has replaced
//! ```
//! A `.key` is 64 hex digits that only its owner can read. None of them is ever in the database, a log or an error.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tinyops_store::{Digest, Readers, write_whole};
use tinyops_wire::key_set::{
    KEY_SET_BYTES_MAX, MESSAGE_BYTES_MAX, RoleKeys, RootSignature, Roots, SignedKeySet,
};
use tinyops_wire::{KeyId, KeySet, VerifyingKey};

use crate::signer::SigningCommand;
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

/// `signers.toml`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CommandFile {
    command: Vec<String>,
    /// 64 hex digits.
    public: String,
}

/// The files of root keys, in the order in which they are made.
const ROOT_NAMES: [&str; 3] = ["root", "root-2", "root-3"];

/// A role that keys are replaced in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Says what is a valid model.
    Release,
    /// Says what a device shall run now.
    Director,
}

impl Role {
    /// Its name, which is also that of its key file.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Release => "release",
            Role::Director => "director",
        }
    }

    fn of(self, set: &mut KeySet) -> &mut RoleKeys {
        match self {
            Role::Release => &mut set.release,
            Role::Director => &mut set.director,
        }
    }
}

/// Where the keys of a server lie.
#[derive(Clone, Debug)]
pub struct KeyFolder(PathBuf);

/// A key set that is not in force yet, and how many of the root signatures it has.
#[derive(Clone, Debug, PartialEq)]
pub struct Proposed {
    /// Who it says may sign what.
    pub set: KeySet,
    /// With the signatures that it has.
    pub signed: Vec<u8>,
    /// How many root keys have signed it.
    pub found: u8,
    /// How many it takes.
    pub needed: u8,
}

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

    /// The file of the newest key set.
    pub fn key_set_file(&self) -> PathBuf {
        self.0.join("key-set.cose")
    }

    /// The files that a server's keys are in: whoever watches them sees each change.
    pub fn server_files(&self) -> [PathBuf; 5] {
        [
            self.key_set_file(),
            self.roots_file(),
            self.signers_file(),
            self.file(Role::Director.as_str()),
            self.file(Role::Release.as_str()),
        ]
    }

    fn signers_file(&self) -> PathBuf {
        self.0.join("signers.toml")
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

    fn existing_trust(&self) -> Result<Trust, FleetError> {
        let path = self.key_set_file();
        self.trust()?
            .ok_or_else(|| wrong(&path, "there is none: `tinyops keys new` makes one"))
    }

    /// Whoever signs with the key of this name: a command in `signers.toml`, or a key file; `None` if there is neither.
    ///
    /// # Errors
    /// [`FleetError::Key`].
    pub fn signer(&self, name: &str) -> Result<Option<Signer>, FleetError> {
        let path = self.signers_file();
        let file = read(&path)?.unwrap_or_default();
        let text = String::from_utf8(file).map_err(|error| wrong(&path, error))?;
        let mut commands: BTreeMap<String, CommandFile> =
            toml::from_str(&text).map_err(|error| wrong(&path, error.message()))?;
        let may_be_elsewhere = |known: &str| known == "release" || ROOT_NAMES.contains(&known);
        if let Some(other) = commands.keys().find(|known| !may_be_elsewhere(known)) {
            let problem = format!(
                "`{other}` cannot be signed for by a command: `release`, `root`, `root-2` and `root-3` can"
            );
            return Err(wrong(&path, problem));
        }
        let Some(found) = commands.remove(name) else {
            return Signer::read(&self.file(name));
        };
        if self.file(name).exists() {
            let problem = format!("`{name}` has a command and a key file; remove one");
            return Err(wrong(&path, problem));
        }
        let command = SigningCommand {
            command: found.command,
            public: public_key(&found.public).map_err(|problem| wrong(&path, problem))?,
        };
        Signer::by_command(command).map(Some)
    }

    /// Whoever signs with the root keys that are here.
    ///
    /// # Errors
    /// [`FleetError::Key`].
    pub fn roots_here(&self) -> Result<Vec<Signer>, FleetError> {
        let signers: Result<Vec<Option<Signer>>, FleetError> =
            ROOT_NAMES.iter().map(|name| self.signer(name)).collect();
        Ok(signers?.into_iter().flatten().collect())
    }

    fn roots(&self) -> Result<Roots, FleetError> {
        let path = self.roots_file();
        let bytes = read(&path)?.ok_or_else(|| wrong(&path, "there is none"))?;
        parse_roots(&bytes).map_err(|problem| wrong(&path, problem))
    }

    /// Opens the keys of a server and makes those that are missing, which is all that a laptop needs.
    ///
    /// Where a key set is, no key is made: one that is not in the key set signs what no device takes.
    ///
    /// # Errors
    /// [`FleetError::Key`] if a file cannot be read or made, others may read it, or it does not belong to the rest.
    pub fn open_or_make(&self, seed: impl FnMut() -> [u8; 32]) -> Result<Keyring, FleetError> {
        match self.trust()? {
            Some(trust) => self.open(trust),
            None => self.make(1, 1, seed),
        }
    }

    /// Opens the keys of a server that has a key set.
    ///
    /// # Errors
    /// [`FleetError::Key`] if there is no director key, or a key that is here is not in the key set.
    pub fn open(&self, trust: Trust) -> Result<Keyring, FleetError> {
        let path = self.file(Role::Director.as_str());
        let director = Signer::read(&path)?.ok_or_else(|| {
            wrong(
                &path,
                "there is none, and without it no device can be directed",
            )
        })?;
        let keyring = Keyring {
            release: self.signer(Role::Release.as_str())?,
            director,
            trust,
        };
        keyring.check(&self.key_set_file())?;
        Ok(keyring)
    }

    /// Makes all keys that are missing, and the first key set, signed by so many root keys as are made.
    ///
    /// # Errors
    /// [`FleetError::Key`], and [`FleetError::KeySet`] if a key set is there: [`KeyFolder::rotate`] changes it.
    pub fn make(
        &self,
        root_count: usize,
        threshold: u8,
        mut seed: impl FnMut() -> [u8; 32],
    ) -> Result<Keyring, FleetError> {
        if self.key_set_file().exists() {
            let problem = "there is a key set already".to_owned();
            return Err(FleetError::KeySet(problem));
        }
        let mut open = |name: &str| match self.signer(name)? {
            Some(signer) => Ok(signer),
            None => Signer::make(&self.file(name), &seed()),
        };
        let director = open(Role::Director.as_str())?;
        let release = open(Role::Release.as_str())?;
        let names = ROOT_NAMES.iter().take(root_count);
        let roots: Vec<Signer> = names.map(|name| open(name)).collect::<Result<_, _>>()?;
        let trust = Trust::first(&roots, threshold, &release, &director)?;
        let keys = trust.roots.keys().map(|key| hex_of(&key));
        let file = RootsFile {
            threshold,
            keys: keys.collect(),
        };
        let text = serde_json::to_vec_pretty(&file).expect("texts and a number are JSON");
        write_public(&self.roots_file(), &text)?;
        write_public(&self.key_set_file(), &trust.signed)?;
        Ok(Keyring {
            release: Some(release),
            director,
            trust,
        })
    }

    /// Proposes a key set in which a key of a role is replaced: by one that is made here, or by a public key whose
    /// private half is elsewhere. The old key stays valid beside it, unless it is to be taken back at once.
    ///
    /// # Errors
    /// [`FleetError::KeySet`] if a role would have three keys, [`FleetError::Key`] if a key cannot be made.
    pub fn rotate(
        &self,
        role: Role,
        public: Option<VerifyingKey>,
        take_back: bool,
        seed: &[u8; 32],
    ) -> Result<Proposed, FleetError> {
        let trust = self.existing_trust()?;
        let mut set = next(&trust);
        let keys = role.of(&mut set);
        if keys.keys().len() > 1 && !take_back {
            let ids: Vec<String> = keys.keys().iter().map(|key| key.id().to_string()).collect();
            let problem = format!(
                "{} has two keys already, {}: take one back first",
                role.as_str(),
                ids.join(" and ")
            );
            return Err(FleetError::KeySet(problem));
        }
        let new = match public {
            Some(public) => public,
            None => {
                let path = self.file(&format!("{}.next", role.as_str()));
                Signer::make(&path, seed)?.verifying_key()
            }
        };
        *keys = if take_back {
            RoleKeys::one(new)
        } else {
            RoleKeys::two(new, keys.keys()[0])
        };
        self.propose(&trust, set)
    }

    /// Proposes a key set without one of the keys of the one in force.
    ///
    /// # Errors
    /// [`FleetError::KeySet`] if it is in none of the roles, or the last of one.
    pub fn take_back(&self, id: KeyId) -> Result<Proposed, FleetError> {
        let trust = self.existing_trust()?;
        let mut set = next(&trust);
        for role in [Role::Release, Role::Director] {
            let keys = role.of(&mut set);
            if !keys.keys().iter().any(|key| key.id() == id) {
                continue;
            }
            let Some(left) = keys.keys().iter().copied().find(|key| key.id() != id) else {
                let problem = format!(
                    "{id} is the only {name} key: `tinyops keys rotate {name} --take-back` replaces it at once",
                    name = role.as_str()
                );
                return Err(FleetError::KeySet(problem));
            };
            *keys = RoleKeys::one(left);
            return self.propose(&trust, set);
        }
        Err(FleetError::KeySet(format!(
            "the key set holds no release or director key {id}"
        )))
    }

    /// Adds the signatures of the root keys that are here to a key set.
    ///
    /// # Errors
    /// [`FleetError::Key`] if the bytes are no key set, [`FleetError::Signing`].
    pub fn sign(&self, signed: &[u8]) -> Result<Proposed, FleetError> {
        let parsed = SignedKeySet::parse(signed).map_err(|error| wrong(&self.0, error))?;
        let roots = self.roots()?;
        self.complete(parsed.set, parsed.signatures().to_vec(), &roots)
    }

    fn propose(&self, trust: &Trust, set: KeySet) -> Result<Proposed, FleetError> {
        self.complete(set, Vec::new(), &trust.roots)
    }

    fn complete(
        &self,
        set: KeySet,
        mut signatures: Vec<RootSignature>,
        roots: &Roots,
    ) -> Result<Proposed, FleetError> {
        for signer in self.roots_here()? {
            let id = signer.verifying_key().id();
            let is_root = roots.keys().any(|key| key == signer.verifying_key());
            if is_root && signatures.iter().all(|signature| signature.key != id) {
                signatures.push(root_signature(&set, &signer)?);
            }
        }
        if signatures.is_empty() {
            let problem = "no root key is here to sign a key set".to_owned();
            return Err(FleetError::KeySet(problem));
        }
        let signed = encode(&set, &signatures);
        let found = SignedKeySet::parse(&signed).map_or(0, |set| set.count_signed(roots));
        Ok(Proposed {
            set,
            signed,
            found,
            needed: roots.threshold(),
        })
    }

    /// Puts a key set in force here: devices are told when they next speak. Keys that were made for it take the place
    /// of those that they replace.
    ///
    /// # Errors
    /// [`FleetError::Signatures`], or [`FleetError::KeySet`] if it is not newer than the one in force.
    pub fn install(&self, signed: &[u8]) -> Result<Trust, FleetError> {
        let path = self.key_set_file();
        let roots = self.roots()?;
        let parsed = SignedKeySet::parse(signed).map_err(|error| wrong(&path, error))?;
        let (found, needed) = (parsed.count_signed(&roots), roots.threshold());
        if found < needed {
            return Err(FleetError::Signatures { found, needed });
        }
        let current = self.trust()?;
        // The same once more goes on where a crash left off.
        let is_newer = |current: &Trust| {
            parsed.set.sequence > current.keys.sequence || *current.signed == *signed
        };
        if let Some(current) = current.filter(|current| !is_newer(current)) {
            let problem = format!(
                "key set {} is in force, and {} is not above it",
                current.keys.sequence, parsed.set.sequence
            );
            return Err(FleetError::KeySet(problem));
        }
        write_public(&path, signed)?;
        let mut set = parsed.set;
        for role in [Role::Release, Role::Director] {
            self.move_up(role, role.of(&mut set))?;
        }
        self.existing_trust()
    }

    /// The roots of another place, for a server that makes none of its own.
    ///
    /// # Errors
    /// [`FleetError::Key`] if the bytes are no roots, [`FleetError::KeySet`] if others are here already.
    pub fn install_roots(&self, bytes: &[u8]) -> Result<(), FleetError> {
        let path = self.roots_file();
        let roots = parse_roots(bytes).map_err(|problem| wrong(&path, problem))?;
        if path.exists() && self.roots()? != roots {
            let problem = "other root keys are here already".to_owned();
            return Err(FleetError::KeySet(problem));
        }
        write_public(&path, bytes)
    }

    /// Lets the key that was made for a key set take its place.
    fn move_up(&self, role: Role, keys: &RoleKeys) -> Result<(), FleetError> {
        let name = role.as_str();
        let (next, current) = (self.file(&format!("{name}.next")), self.file(name));
        let Some(new) = Signer::read(&next)? else {
            return Ok(());
        };
        if !keys.keys().contains(&new.verifying_key()) {
            return Ok(());
        }
        if let Some(old) = Signer::read(&current)? {
            let kept = self.file(&format!("{name}-{}", old.verifying_key().id()));
            std::fs::rename(&current, &kept).map_err(|error| wrong(&current, error))?;
        }
        std::fs::rename(&next, &current).map_err(|error| wrong(&next, error))
    }
}

impl Trust {
    /// The first key set: one release key, one director key.
    fn first(
        roots: &[Signer],
        threshold: u8,
        release: &Signer,
        director: &Signer,
    ) -> Result<Trust, FleetError> {
        let keys = KeySet {
            sequence: 1,
            release: RoleKeys::one(release.verifying_key()),
            director: RoleKeys::one(director.verifying_key()),
        };
        let publics: Vec<VerifyingKey> = roots.iter().map(Signer::verifying_key).collect();
        let trusted = Roots::new(&publics, threshold).ok_or_else(|| FleetError::Key {
            path: "root.key".to_owned(),
            problem: format!(
                "of {} root keys {threshold} cannot be asked for",
                publics.len()
            ),
        })?;
        let signatures: Result<Vec<RootSignature>, FleetError> = roots
            .iter()
            .map(|root| root_signature(&keys, root))
            .collect();
        Ok(Trust {
            roots: trusted,
            keys,
            signed: encode(&keys, &signatures?).into(),
        })
    }
}

/// The key set that comes next, with the same keys.
fn next(trust: &Trust) -> KeySet {
    KeySet {
        sequence: trust.keys.sequence.saturating_add(1),
        ..trust.keys
    }
}

fn root_signature(set: &KeySet, root: &Signer) -> Result<RootSignature, FleetError> {
    let mut message = [0; MESSAGE_BYTES_MAX];
    let len = set.to_sign(&mut message).expect("the room is the longest");
    Ok(RootSignature {
        key: root.verifying_key().id(),
        signature: root.sign(&message[..len])?,
    })
}

/// Puts a key set and signatures by different keys, one to three, together.
fn encode(set: &KeySet, signatures: &[RootSignature]) -> Vec<u8> {
    let mut out = vec![0; KEY_SET_BYTES_MAX];
    let written = set
        .encode(signatures, &mut out)
        .expect("one to three signatures, one a key");
    out.truncate(written);
    out
}

/// Reads a public key of 64 hex digits.
///
/// # Errors
/// What is wrong with it.
pub fn public_key(text: &str) -> Result<VerifyingKey, String> {
    let bytes: Digest = text
        .trim()
        .parse()
        .map_err(|_| "a public key has 64 hex digits".to_owned())?;
    VerifyingKey::from_bytes(&bytes.0).map_err(|error| error.to_string())
}

/// The 64 hex digits of a public key.
pub fn hex_of(key: &VerifyingKey) -> String {
    Digest(key.to_bytes()).to_string()
}

fn parse_roots(bytes: &[u8]) -> Result<Roots, String> {
    let file: RootsFile = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let keys: Result<Vec<VerifyingKey>, String> =
        file.keys.iter().map(|text| public_key(text)).collect();
    Roots::new(&keys?, file.threshold)
        .ok_or_else(|| "one to three keys, and a threshold of at most as many".to_owned())
}

fn write_public(path: &Path, bytes: &[u8]) -> Result<(), FleetError> {
    write_whole(path, Readers::Usual, bytes).map_err(|error| wrong(path, error))
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
        let trust = Trust::first(&[of("root")], 1, &release, &director).expect("the keys are here");
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
