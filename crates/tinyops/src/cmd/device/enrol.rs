//! How a virtual device enrols: as firmware does, with the same code.

use std::path::Path;

use tinyops_fleet::{enrol::Entropy, keys::Trust};
use tinyops_server::{hex, unhex};
use tinyops_store::Digest;
use tinyops_wire::{
    DeviceId, DeviceKey,
    enrolment::{
        ClassToken, Enrolled, EnrolmentSecret, REQUEST_BYTES_MAX, Received, Request, open,
    },
    provision,
};

use super::chip::{Chip, Identity};
use crate::{
    cmd::claims::ClaimFile,
    endpoint::Endpoint,
    failure::{Exit, Failure},
    http,
    virtual_device::enrol,
};

/// What the device was given.
pub(super) enum Credential {
    Token(ClassToken),
    Claim {
        certificate: Vec<u8>,
        /// What the key that it names grows from.
        seed: [u8; 32],
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
            seed: key.0,
        })
    }

    /// As it lies in a board's flash.
    pub(super) fn provisioned(&self) -> provision::Credential<'_> {
        match self {
            Credential::Token(token) => provision::Credential::Token {
                id: token.id,
                secret: token.secret(),
            },
            Credential::Claim { certificate, seed } => provision::Credential::Claim {
                certificate,
                seed: *seed,
            },
        }
    }
}

/// Where the device asks, and with what.
pub(super) struct Asking<'a> {
    pub(super) server: &'a Endpoint,
    /// The gateway that brings the request there, if the device does not itself.
    pub(super) gateway: Option<&'a Endpoint>,
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
        let answer = match self.gateway {
            Some(gateway) => over_line(gateway, &request, chip).await?,
            None => over_http(self.server, &request, chip).await?,
        };
        let trust = self.trust;
        let enrolled = open(&secret, &request, &answer, &trust.roots, &trust.keys)
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
                asked = ask_for_token(self.server, self.board, self.cohort).await?;
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
        let written = credential
            .provisioned()
            .prove(|proof| request.encode(proof, &mut bytes))
            .map_err(|error| Failure::of(Exit::Question, &error))?;
        bytes.truncate(written);
        chip.keep_identity(&Identity::Asking {
            secret: Digest(own).to_string(),
            request: hex(&bytes),
        })?;
        Ok((secret, bytes))
    }
}

/// Asks the server for a class token of one use, as whoever sits there may.
pub(super) async fn ask_for_token(
    server: &Endpoint,
    board: &str,
    cohort: &str,
) -> Result<Credential, Failure> {
    let wish = serde_json::json!({ "board": board, "cohort": cohort, "uses": 1 });
    let answer = http::post(server, "/api/v1/class-tokens", None, &wish)
        .await
        .map_err(|error| unreachable(server, &error))?;
    let token = answer.document()["token"]
        .as_str()
        .and_then(|text| text.parse().ok());
    token.map(Credential::Token).ok_or_else(|| {
        refused("the server gave no class token", &answer).hint(
            "give the device one: `tinyops devices token make` on the server, `--class-token FILE` here",
        )
    })
}

/// Sends a request to the server itself.
async fn over_http(server: &Endpoint, request: &[u8], chip: &Chip) -> Result<Vec<u8>, Failure> {
    let answer = http::post_bytes(server, "/api/v1/enrol", http::OCTETS, request)
        .await
        .map_err(|error| unreachable(server, &error))?;
    if answer.status == 200 {
        return Ok(answer.body);
    }
    // A server that is away for a moment, or lets in no more for now, may still answer this request.
    if answer.document()["is_final"] == true {
        chip.forget_identity()?;
    }
    Err(refused("the server did not enrol the device", &answer))
}

/// Sends a request over the line of a gateway.
async fn over_line(gateway: &Endpoint, request: &[u8], chip: &Chip) -> Result<Vec<u8>, Failure> {
    let asked = Received::parse(request).map_err(|_| chip.no_identity())?;
    let no_line = |error: &std::io::Error| {
        Failure::environment(format!("no line to a gateway at {gateway}"))
            .cause(error)
            .hint("`tinyops gateway --listen ADDRESS` is one, `--line URL` looks elsewhere")
    };
    let line = gateway.connect().await.map_err(|error| no_line(&error))?;
    match enrol(line, request, asked.request.nonce).await {
        Ok(answer) if answer.is_empty() => {
            chip.forget_identity()?;
            Err(Failure::environment("the server did not enrol the device")
                .hint("the gateway's log says why; the next run makes another request"))
        }
        Ok(answer) => Ok(answer),
        Err(error) if error.kind() == std::io::ErrorKind::TimedOut => Err(Failure::environment(
            format!("no answer came over the line of {gateway}"),
        )
        .hint(
            "its log says whether its server is away; the next run sends the same request again",
        )),
        Err(error) => Err(no_line(&error)),
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
