//! How a virtual device enrols: as firmware does, with the same code.

use std::path::Path;

use tinyops_fleet::{enrol::Entropy, keys::Trust};
use tinyops_server::{hex, unhex};
use tinyops_store::Digest;
use tinyops_wire::{
    DeviceId, DeviceKey, SigningKey,
    enrolment::{ClassToken, Enrolled, EnrolmentSecret, Proof, REQUEST_BYTES_MAX, Request, open},
};

use super::chip::{Chip, Identity};
use crate::{
    cmd::claims::ClaimFile,
    endpoint::Endpoint,
    failure::{Exit, Failure},
    http,
};

/// What the device was given.
pub(super) enum Credential {
    Token(ClassToken),
    Claim {
        certificate: Vec<u8>,
        key: Box<SigningKey>,
    },
}

impl Credential {
    /// Reads a class token's text from a file.
    pub(super) fn token(path: &Path) -> Result<Credential, Failure> {
        let text = read(path)?;
        text.parse().map(Credential::Token).map_err(|error| {
            Failure::of(Exit::Question, &error)
                .because(format!("`{}`", path.display()))
                .hint("`tinyops devices token make` makes one")
        })
    }

    /// Reads a claim that `tinyops claims make` wrote.
    pub(super) fn claim(path: &Path) -> Result<Credential, Failure> {
        let bad = || {
            Failure::question(format!("`{}` is no claim with its key", path.display()))
                .hint("`tinyops claims make` makes one")
        };
        let text = read(path)?;
        let file: ClaimFile = serde_json::from_str(&text).map_err(|error| bad().cause(&error))?;
        let certificate = unhex(&file.claim).ok_or_else(bad)?;
        let key: Digest = file.key.and_then(|key| key.parse().ok()).ok_or_else(bad)?;
        Ok(Credential::Claim {
            certificate,
            key: Box::new(SigningKey::from_seed(&key.0)),
        })
    }

    fn proof(&self) -> Proof<'_> {
        match self {
            Credential::Token(token) => Proof::Token(token),
            Credential::Claim { certificate, key } => Proof::Claim { certificate, key },
        }
    }
}

/// Where the device asks, and with what.
pub(super) struct Asking<'a> {
    pub(super) server: &'a Endpoint,
    pub(super) board: &'a str,
    /// The id that it asks for, if any.
    pub(super) device: Option<DeviceId>,
    /// What its firmware believes.
    pub(super) trust: &'a Trust,
    /// What it was given; without it, it asks the server for a class token of one use, as whoever sits there may.
    pub(super) credential: Option<Credential>,
    pub(super) cohort: &'a str,
}

impl Asking<'_> {
    /// Who the device is: as before, or newly enrolled.
    pub(super) async fn identity(self, chip: &Chip) -> Result<Enrolled, Failure> {
        let (secret, request) = match chip.identity()? {
            Some(Identity::Enrolled {
                device,
                key,
                first_uplink,
            }) => {
                let key: Digest = key.parse().map_err(|_| chip.no_identity())?;
                return Ok(Enrolled {
                    device: device.parse().map_err(|_| chip.no_identity())?,
                    key: DeviceKey(key.0),
                    first_uplink,
                });
            }
            Some(Identity::Asking { secret, request }) => {
                let secret: Digest = secret.parse().map_err(|_| chip.no_identity())?;
                let request = unhex(&request).ok_or_else(|| chip.no_identity())?;
                (EnrolmentSecret::from_bytes(secret.0), request)
            }
            None => self.request(chip).await?,
        };
        let answer = http::post_bytes(self.server, "/api/v1/enrol", &request)
            .await
            .map_err(|error| unreachable(self.server, &error))?;
        if answer.status != 200 {
            // A server that is away for a moment may still answer this request; one that says no will not.
            if (400..500).contains(&answer.status) && answer.status != 429 {
                chip.forget_identity()?;
            }
            return Err(refused("the server did not enrol the device", &answer));
        }
        let trust = self.trust;
        let enrolled = open(&secret, &request, &answer.body, &trust.roots, &trust.keys)
            .map_err(|error| Failure::of(Exit::Environment, &error))?;
        chip.keep_identity(&Identity::Enrolled {
            device: enrolled.device.to_string(),
            key: Digest(enrolled.key.0).to_string(),
            first_uplink: enrolled.first_uplink,
        })?;
        Ok(enrolled)
    }

    /// Makes a key pair and a request, and keeps both before anything is sent.
    async fn request(&self, chip: &Chip) -> Result<(EnrolmentSecret, Vec<u8>), Failure> {
        let asked;
        let credential = match &self.credential {
            Some(credential) => credential,
            None => {
                asked = self.ask_for_token().await?;
                &asked
            }
        };
        let (own, _) = Entropy::from_system().parts();
        let (nonce, _) = Entropy::from_system().parts();
        let secret = EnrolmentSecret::from_bytes(own);
        let request = Request {
            key_set: self.trust.keys.sequence,
            device: self.device,
            public: secret.public(),
            nonce: Digest(nonce).prefix(),
            board: self.board,
        };
        let mut bytes = vec![0; REQUEST_BYTES_MAX];
        let written = request
            .encode(credential.proof(), &mut bytes)
            .map_err(|error| Failure::of(Exit::Question, &error))?;
        bytes.truncate(written);
        chip.keep_identity(&Identity::Asking {
            secret: Digest(own).to_string(),
            request: hex(&bytes),
        })?;
        Ok((secret, bytes))
    }

    async fn ask_for_token(&self) -> Result<Credential, Failure> {
        let wish = serde_json::json!({ "board": self.board, "cohort": self.cohort, "uses": 1 });
        let answer = http::post(self.server, "/api/v1/class-tokens", None, &wish)
            .await
            .map_err(|error| unreachable(self.server, &error))?;
        let token = answer.document()["token"]
            .as_str()
            .and_then(|text| text.parse().ok());
        token.map(Credential::Token).ok_or_else(|| {
            refused("the server gave no class token", &answer).hint(
                "give the device one: `tinyops devices token make` on the server, `--class-token FILE` here",
            )
        })
    }
}

fn unreachable(server: &Endpoint, error: &std::io::Error) -> Failure {
    Failure::environment(format!("no server answers at {server}"))
        .cause(error)
        .hint("`tinyops serve` starts one, `--server ADDRESS` looks elsewhere")
}

fn refused(what: &str, answer: &http::Answer) -> Failure {
    let document = answer.document();
    let word = |name: &str| document[name].as_str().filter(|text| !text.is_empty());
    let failure = Failure::environment(what).because(match word("message") {
        Some(message) => message.to_owned(),
        None => format!("it answered {}", answer.status),
    });
    match word("hint") {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|error| {
        Failure::question(format!("cannot read `{}`", path.display())).cause(&error)
    })
}
