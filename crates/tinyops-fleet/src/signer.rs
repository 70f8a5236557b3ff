//! Whoever signs: a key in a file that only its owner can read, or a command that has the key elsewhere.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tinyops_store::{Digest, Readers, write_new};
use tinyops_wire::{SigningKey, VerifyingKey};

use crate::FleetError;

/// How long a signing command may take: a person may have to touch a token.
const COMMAND_WITHIN: Duration = Duration::from_secs(120);

/// A key that signs. It is never in the database, a log or an error.
#[derive(Clone, Debug)]
pub struct Signer(Source);

#[derive(Clone, Debug)]
enum Source {
    Key(Arc<SigningKey>),
    Command(Arc<SigningCommand>),
}

/// A command that signs: it gets the bytes to be signed on its standard input, and gives the 64 bytes of an Ed25519
/// signature on its standard output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigningCommand {
    /// The program and its arguments; no shell reads them.
    pub command: Vec<String>,
    /// The public half of its key, under which every answer is checked.
    pub public: VerifyingKey,
}

impl Signer {
    /// The key that grows from 32 secret random bytes.
    pub fn from_seed(seed: &[u8; 32]) -> Signer {
        Signer(Source::Key(Arc::new(SigningKey::from_seed(seed))))
    }

    /// A key that is elsewhere.
    ///
    /// # Errors
    /// [`FleetError::Key`] for a command of no words.
    pub fn by_command(command: SigningCommand) -> Result<Signer, FleetError> {
        if command.command.is_empty() {
            return Err(FleetError::Key {
                path: "signers.toml".to_owned(),
                problem: "a command of no words".to_owned(),
            });
        }
        Ok(Signer(Source::Command(Arc::new(command))))
    }

    /// Reads the key from `path` (64 hex digits); `None` if there is no such file.
    ///
    /// # Errors
    /// [`FleetError::Key`] if others may read the file, or it holds something else.
    pub fn read(path: &Path) -> Result<Option<Signer>, FleetError> {
        let wrong = |problem: String| FleetError::Key {
            path: path.display().to_string(),
            problem,
        };
        match std::fs::read_to_string(path) {
            Ok(text) => {
                check_permissions(path).map_err(wrong)?;
                let seed: Digest = text
                    .trim()
                    .parse()
                    .map_err(|_| wrong("not 64 hex digits".to_owned()))?;
                Ok(Some(Signer::from_seed(&seed.0)))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(wrong(error.to_string())),
        }
    }

    /// Makes a key file out of 32 secret random bytes; one that is there stays and is an error.
    ///
    /// # Errors
    /// [`FleetError::Key`].
    pub fn make(path: &Path, seed: &[u8; 32]) -> Result<Signer, FleetError> {
        let wrong = |error: std::io::Error| FleetError::Key {
            path: path.display().to_string(),
            problem: error.to_string(),
        };
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(wrong)?;
        }
        let text = format!("{}\n", Digest(*seed));
        write_new(path, Readers::Owner, text.as_bytes()).map_err(wrong)?;
        Ok(Signer::from_seed(seed))
    }

    /// Reads the key from `path`; makes it from `seed` if the file is missing.
    ///
    /// # Errors
    /// As [`Signer::read`] and [`Signer::make`].
    pub fn open(path: &Path, seed: &[u8; 32]) -> Result<Signer, FleetError> {
        match Signer::read(path)? {
            Some(signer) => Ok(signer),
            None => Signer::make(path, seed),
        }
    }

    /// The public half, which devices carry.
    pub fn verifying_key(&self) -> VerifyingKey {
        match &self.0 {
            Source::Key(key) => key.verifying_key(),
            Source::Command(command) => command.public,
        }
    }

    /// Signs what a wire format says is to be signed. A command blocks the thread until it answers.
    ///
    /// # Errors
    /// [`FleetError::Signing`] if the key is elsewhere and the command does not answer with its signature.
    pub fn sign(&self, message: &[u8]) -> Result<[u8; 64], FleetError> {
        match &self.0 {
            Source::Key(key) => Ok(key.sign(message)),
            Source::Command(command) => command.sign(message).map_err(|problem| {
                // Its arguments may hold what opens the key.
                let command = command.command.first().cloned().unwrap_or_default();
                FleetError::Signing { command, problem }
            }),
        }
    }

    /// Does something with the signer on a thread that may wait, if it may have to wait.
    pub(crate) async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Signer) -> T + Send + 'static,
    ) -> T {
        let signer = self.clone();
        match signer.0 {
            Source::Key(_) => work(&signer),
            Source::Command(_) => tokio::task::spawn_blocking(move || work(&signer))
                .await
                .expect("signing does not panic"),
        }
    }
}

impl SigningCommand {
    fn sign(&self, message: &[u8]) -> Result<[u8; 64], String> {
        let (program, arguments) = self.command.split_first().ok_or("no command")?;
        // What it has to say goes to whoever runs this, who may have to type or touch something.
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| error.to_string())?;
        let answer = converse(&mut child, message);
        if answer.is_err() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let answer = answer?;
        let signature: [u8; 64] = answer
            .as_slice()
            .try_into()
            .map_err(|_| format!("it gave {} bytes, and a signature has 64", answer.len()))?;
        if !self.public.verifies(message, &signature) {
            return Err(format!(
                "what it gave is no signature of key {}",
                self.public.id()
            ));
        }
        Ok(signature)
    }
}

/// Hands the message over and waits for the end; answers with at most 65 bytes of what came out.
fn converse(child: &mut Child, message: &[u8]) -> Result<Vec<u8>, String> {
    let mut stdin = child.stdin.take().ok_or("it has no standard input")?;
    let mut stdout = child.stdout.take().ok_or("it has no standard output")?;
    // A command may answer without reading to the end; then its answer tells.
    let _ = stdin.write_all(message);
    drop(stdin);
    let reader = std::thread::spawn(move || {
        let mut answer = Vec::new();
        let read = stdout.by_ref().take(65).read_to_end(&mut answer);
        read.map(|_| answer)
    });
    let begun = Instant::now();
    let status = loop {
        match child.try_wait().map_err(|error| error.to_string())? {
            Some(status) => break status,
            None if begun.elapsed() > COMMAND_WITHIN => {
                return Err(format!("no answer within {} s", COMMAND_WITHIN.as_secs()));
            }
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    };
    if !status.success() {
        return Err(format!("it ended with {status}"));
    }
    let answer = reader.join().map_err(|_| "its answer was not read")?;
    answer.map_err(|error| error.to_string())
}

#[cfg(unix)]
pub(crate) fn check_permissions(path: &Path) -> Result<(), String> {
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
pub(crate) fn check_permissions(_path: &Path) -> Result<(), String> {
    Ok(())
}
