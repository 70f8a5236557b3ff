//! Enrolment: a device's request is checked, counted and answered, in one transaction.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use tinyops_store::device::{Device, DeviceState};
use tinyops_store::enrolment::{self, Enrolment};
use tinyops_store::{DeviceId, Timestamp, Tx, claim, class_token, device, presence};
use tinyops_wire::VerifyingKey;
use tinyops_wire::claim::SignedClaim;
use tinyops_wire::enrolment::{
    ANSWER_BYTES_MAX, EnrolmentError, EnrolmentSecret, Granted, Received, Shown, TokenId,
};

use crate::again::TRIES;
use crate::enrol::{Entropy, check_name, note};
use crate::rate::{Buckets, network_of};
use crate::{Fleet, FleetError};

/// How often enrolment may be tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EnrolmentPolicy {
    /// Requests a minute from one address, whatever they show.
    pub address_per_minute: u32,
    /// Devices a minute by one class token, or by the certificates of one authority.
    pub class_per_minute: u32,
}

impl Default for EnrolmentPolicy {
    fn default() -> EnrolmentPolicy {
        EnrolmentPolicy {
            address_per_minute: 60,
            class_per_minute: 120,
        }
    }
}

/// How often enrolment was tried of late.
#[derive(Debug, Default)]
pub(crate) struct Rates {
    address: Buckets<Option<IpAddr>>,
    class: Buckets<Class>,
}

/// What lets devices in together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Class {
    Token(TokenId),
    Authority([u8; 32]),
}

/// Who brings a request.
#[derive(Clone, Copy, Debug)]
pub enum Bringer<'a> {
    /// The device itself, from this address if that is known: the request has to prove that it may.
    Device {
        /// Where it comes from.
        address: Option<IpAddr>,
    },
    /// Someone who may register devices, and says what this one is.
    Operator {
        /// Who that is.
        actor: &'a str,
        /// The cohort that the device joins; empty is `default`.
        cohort: &'a str,
        /// Further words to choose it by.
        tags: &'a [String],
    },
}

/// A device that was let in.
#[derive(Clone, Debug, PartialEq)]
pub struct Enrolled {
    /// The device.
    pub device: Device,
    /// What to answer it.
    pub answer: Vec<u8>,
    /// Whether its id had another key before: whoever speaks with that one is to be sent away.
    pub is_again: bool,
}

/// Why a device was not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unenrolled {
    /// The request cannot be read, or its key is none.
    #[error("{0}")]
    Request(EnrolmentError),
    /// Too many requests came from one address.
    #[error("too many enrolments were tried from this address")]
    AddressRate,
    /// Too many devices came by one token or authority.
    #[error("too many devices enrol by this token or authority at once")]
    ClassRate,
    /// The key has enrolled a device already, by another request.
    #[error("this public key has enrolled before, by another request")]
    KeyUsed,
    /// No such token.
    #[error("the class token was not made here")]
    TokenUnknown,
    /// The request was not made by who knows the token.
    #[error("the request's tag does not belong to the class token")]
    TokenTag,
    /// The token was revoked.
    #[error("the class token is revoked")]
    TokenRevoked,
    /// The token's time is over.
    #[error("the class token's time is over")]
    TokenExpired,
    /// The token has enrolled as many devices as it may.
    #[error("the class token has enrolled as many devices as it may")]
    TokenUsedUp,
    /// Token or claim are for other boards.
    #[error("what the request shows is for another board")]
    Board,
    /// No authority that counts here has signed the claim.
    #[error("no claim authority that is trusted here has signed the claim")]
    ClaimAuthority,
    /// The request was not signed by the key that the claim names.
    #[error("the request is not signed by the key that its claim names")]
    ClaimProof,
    /// The claim was revoked.
    #[error("the claim is revoked")]
    ClaimRevoked,
    /// The claim's time is over.
    #[error("the claim's time is over")]
    ClaimExpired,
    /// The claim has enrolled as many devices as it may.
    #[error("the claim has enrolled as many devices as it may")]
    ClaimUsedUp,
    /// The id belongs to a device that speaks with another key.
    #[error("the id belongs to an enrolled device")]
    IdTaken,
    /// The device was revoked.
    #[error("the device is revoked")]
    Revoked,
    /// The request proves nothing, and nobody vouches for it.
    #[error("the request shows neither a class token nor a claim")]
    NoProof,
    /// An operator brings a request that proves itself.
    #[error("the request shows a class token or a claim, and needs nobody to vouch for it")]
    OwnProof,
}

impl Unenrolled {
    /// A word that programs can match on.
    pub fn word(self) -> &'static str {
        match self {
            Unenrolled::Request(EnrolmentError::PublicKey) => "public_key",
            Unenrolled::Request(EnrolmentError::Version { .. }) => "version",
            Unenrolled::Request(EnrolmentError::Proof { .. }) => "proof",
            Unenrolled::Request(EnrolmentError::Claim(_)) => "claim",
            Unenrolled::Request(EnrolmentError::Board) => "board_name",
            Unenrolled::Request(_) => "malformed",
            Unenrolled::AddressRate => "address_rate",
            Unenrolled::ClassRate => "class_rate",
            Unenrolled::KeyUsed => "key_used",
            Unenrolled::TokenUnknown => "token_unknown",
            Unenrolled::TokenTag => "token_tag",
            Unenrolled::TokenRevoked => "token_revoked",
            Unenrolled::TokenExpired => "token_expired",
            Unenrolled::TokenUsedUp => "token_used_up",
            Unenrolled::Board => "board",
            Unenrolled::ClaimAuthority => "claim_authority",
            Unenrolled::ClaimProof => "claim_proof",
            Unenrolled::ClaimRevoked => "claim_revoked",
            Unenrolled::ClaimExpired => "claim_expired",
            Unenrolled::ClaimUsedUp => "claim_used_up",
            Unenrolled::IdTaken => "id_taken",
            Unenrolled::Revoked => "revoked",
            Unenrolled::NoProof => "no_proof",
            Unenrolled::OwnProof => "own_proof",
        }
    }

    /// Whether the same request would be refused again, however often it is sent: always but for too many at once.
    pub fn is_final(self) -> bool {
        !matches!(self, Unenrolled::AddressRate | Unenrolled::ClassRate)
    }

    /// What to do about it.
    pub fn hint(self) -> &'static str {
        match self {
            Unenrolled::Request(_) => "docs/formats/enrolment.md says what a request is",
            Unenrolled::AddressRate | Unenrolled::ClassRate => "try again in a minute",
            Unenrolled::KeyUsed => "make a new key pair and a new request",
            Unenrolled::TokenUnknown
            | Unenrolled::TokenTag
            | Unenrolled::TokenRevoked
            | Unenrolled::TokenExpired
            | Unenrolled::TokenUsedUp => {
                "`tinyops devices token ls` lists the class tokens, `tinyops devices token make` makes one"
            }
            Unenrolled::Board => "use what was made for the board of this device",
            Unenrolled::ClaimAuthority => {
                "`tinyops claims ls` lists the authorities that are trusted"
            }
            Unenrolled::ClaimProof => "the device needs the private key that belongs to its claim",
            Unenrolled::ClaimRevoked | Unenrolled::ClaimExpired | Unenrolled::ClaimUsedUp => {
                "`tinyops claims make` makes another claim"
            }
            Unenrolled::IdTaken | Unenrolled::Revoked => {
                "`tinyops devices allow ID` lets it enrol once more"
            }
            Unenrolled::NoProof => {
                "an operator brings it by `tinyops devices add` or `POST /api/v1/devices`"
            }
            Unenrolled::OwnProof => "send it to `POST /api/v1/enrol`",
        }
    }
}

impl From<EnrolmentError> for FleetError {
    fn from(error: EnrolmentError) -> FleetError {
        FleetError::Enrolment(Unenrolled::Request(error))
    }
}

/// What a request has proven.
struct Proven<'a> {
    /// What let the device in, as the audit log says it.
    by: String,
    cohort: String,
    tags: Vec<String>,
    counted: Counted<'a>,
}

/// What a new device is counted with.
enum Counted<'a> {
    Token { id: TokenId, is_used_up: bool },
    Claim { serial: &'a str, is_used_up: bool },
    Nothing,
}

impl Fleet {
    /// Lets a device in that made its own key, or says why not. The same request is answered the same.
    ///
    /// # Errors
    /// [`FleetError::Enrolment`] with the reason; [`FleetError::NoDirectorKey`]; [`FleetError::Name`].
    pub async fn enrol(
        &self,
        request: &[u8],
        bringer: Bringer<'_>,
        entropy: Entropy,
        now: Timestamp,
    ) -> Result<Enrolled, FleetError> {
        if let Bringer::Device { address } = bringer {
            let per_minute = self.policy.enrolment.address_per_minute;
            let network = address.map(network_of);
            if !self.rates.address.take(network, per_minute, now) {
                return Err(FleetError::Enrolment(Unenrolled::AddressRate));
            }
        }
        let received = Received::parse(request)?;
        let mut tries = 1;
        loop {
            match self.try_enrol(&received, bringer, entropy, now).await {
                Err(FleetError::Store(error)) if error.is_conflict() && tries < TRIES => tries += 1,
                done => return done,
            }
        }
    }

    async fn try_enrol(
        &self,
        received: &Received<'_>,
        bringer: Bringer<'_>,
        entropy: Entropy,
        now: Timestamp,
    ) -> Result<Enrolled, FleetError> {
        let keys = self.keys().ok_or(FleetError::NoDirectorKey)?;
        let request = &received.request;
        let tx = self.db.begin_audited("enrol a device").await?;
        if let Some(known) = enrolment::of_key(&tx, &request.public.to_bytes()).await? {
            return self.repeat(&tx, received, known).await;
        }
        let proven = self.prove(&tx, received, bringer, now).await?;
        check_name(request.board)?;
        check_name(&proven.cohort)?;
        let (secret, random) = entropy.parts();
        let id = request.device.unwrap_or(DeviceId(random.max(1)));
        let known = device::get(&tx, id).await?;
        match &known {
            Some(known) => self.check_permit(&tx, known, now).await?,
            None => count(&tx, &proven.counted, now).await?,
        }
        let before = presence::get(&tx, id).await?;
        let newest = keys.trust.keys.sequence > request.key_set;
        let granted = Granted {
            device: id,
            first_uplink: before
                .and_then(|presence| presence.last_seq)
                .map_or(0, |last| last.saturating_add(1)),
            key_set: if newest { &keys.trust.signed } else { &[] },
        };
        let mut answer = vec![0; ANSWER_BYTES_MAX];
        let secret = EnrolmentSecret::from_bytes(secret);
        let sign = |message: &[u8]| keys.director.sign(message);
        let (written, key) = received.answer(&secret, granted, sign, &mut answer)?;
        answer.truncate(written);
        let is_again = known.is_some();
        let device = match known {
            Some(mut device) => {
                device.key = key;
                device.board = request.board.to_owned();
                device.cohort = proven.cohort;
                device.state = DeviceState::Active;
                if !proven.tags.is_empty() {
                    device.tags = proven.tags;
                }
                device::put(&tx, &mut device).await?;
                enrolment::end_permit(&tx, id).await?;
                device
            }
            None => {
                let device = Device {
                    id,
                    key,
                    board: request.board.to_owned(),
                    cohort: proven.cohort,
                    tags: proven.tags,
                    state: DeviceState::Active,
                    enrolled_at: now,
                    revision: 0,
                };
                device::add(&tx, &device).await?;
                device
            }
        };
        let row = Enrolment {
            public: request.public.to_bytes(),
            request: received.digest(),
            device: id,
            answer: answer.clone(),
            proof: proven.by.clone(),
            at: now,
        };
        enrolment::add(&tx, &row).await?;
        let detail = serde_json::json!({
            "board": device.board, "cohort": device.cohort, "again": is_again,
        });
        note(&tx, now, &proven.by, "device.enrol", id, &detail).await?;
        tx.commit().await?;
        Ok(Enrolled {
            device,
            answer,
            is_again,
        })
    }

    /// The answer of before to the request of before; its device may have lost it on the way.
    async fn repeat(
        &self,
        tx: &Tx,
        received: &Received<'_>,
        known: Enrolment,
    ) -> Result<Enrolled, FleetError> {
        let newest = enrolment::of_device(tx, known.device).await?;
        let is_current = newest.is_some_and(|newest| newest.public == known.public);
        if known.request != received.digest() || !is_current {
            return Err(FleetError::Enrolment(Unenrolled::KeyUsed));
        }
        let device = device::get(tx, known.device)
            .await?
            .ok_or(FleetError::NoDevice(known.device))?;
        if device.state == DeviceState::Revoked {
            return Err(FleetError::Enrolment(Unenrolled::Revoked));
        }
        Ok(Enrolled {
            device,
            answer: known.answer,
            is_again: false,
        })
    }

    /// A device that is known enrols once more only if someone has allowed it.
    async fn check_permit(
        &self,
        tx: &Tx,
        known: &Device,
        now: Timestamp,
    ) -> Result<(), FleetError> {
        let until = enrolment::permitted_until(tx, known.id).await?;
        match (until.is_some_and(|until| now < until), known.state) {
            (true, _) => Ok(()),
            (false, DeviceState::Revoked) => Err(FleetError::Enrolment(Unenrolled::Revoked)),
            (false, DeviceState::Active) => Err(FleetError::Enrolment(Unenrolled::IdTaken)),
        }
    }

    async fn prove<'a>(
        &self,
        tx: &Tx,
        received: &Received<'a>,
        bringer: Bringer<'_>,
        now: Timestamp,
    ) -> Result<Proven<'a>, FleetError> {
        let refuse = |why| Err(FleetError::Enrolment(why));
        match (&received.shown, bringer) {
            (Shown::Token(id), Bringer::Device { .. }) => {
                self.prove_token(tx, received, *id, now).await
            }
            (Shown::Claim(claim), Bringer::Device { .. }) => {
                self.prove_claim(tx, received, claim, now).await
            }
            (
                Shown::Nothing,
                Bringer::Operator {
                    actor,
                    cohort,
                    tags,
                },
            ) => Ok(Proven {
                by: actor.to_owned(),
                cohort: match cohort {
                    "" => "default".to_owned(),
                    cohort => cohort.to_owned(),
                },
                tags: tags.to_vec(),
                counted: Counted::Nothing,
            }),
            (Shown::Nothing, Bringer::Device { .. }) => refuse(Unenrolled::NoProof),
            (_, Bringer::Operator { .. }) => refuse(Unenrolled::OwnProof),
        }
    }

    async fn prove_token<'a>(
        &self,
        tx: &Tx,
        received: &Received<'a>,
        id: TokenId,
        now: Timestamp,
    ) -> Result<Proven<'a>, FleetError> {
        let token = class_token::get(tx, id).await?;
        let refuse = |why| Err(FleetError::Enrolment(why));
        let Some(token) = token else {
            return refuse(Unenrolled::TokenUnknown);
        };
        // Only who knows the token is told how it stands.
        if !received.is_by_token(&token.key) {
            return refuse(Unenrolled::TokenTag);
        }
        if token.revoked_at.is_some() {
            return refuse(Unenrolled::TokenRevoked);
        }
        if token.expires_at.is_some_and(|at| at <= now) {
            return refuse(Unenrolled::TokenExpired);
        }
        if token.board != received.request.board {
            return refuse(Unenrolled::Board);
        }
        self.take_rate(Class::Token(id), now)?;
        Ok(Proven {
            by: format!("class token {id}"),
            cohort: token.cohort,
            tags: token.tags,
            counted: Counted::Token {
                id,
                is_used_up: token.use_count >= token.uses_max,
            },
        })
    }

    async fn prove_claim<'a>(
        &self,
        tx: &Tx,
        received: &Received<'a>,
        signed: &SignedClaim<'a>,
        now: Timestamp,
    ) -> Result<Proven<'a>, FleetError> {
        let claim = signed.claim;
        let refuse = |why| Err(FleetError::Enrolment(why));
        let authority = claim::authorities(tx)
            .await?
            .into_iter()
            .filter(|authority| authority.revoked_at.is_none())
            .filter_map(|authority| VerifyingKey::from_bytes(&authority.public).ok())
            .find(|authority| signed.is_by(authority));
        let Some(authority) = authority else {
            return refuse(Unenrolled::ClaimAuthority);
        };
        if !received.is_by_claimed_key() {
            return refuse(Unenrolled::ClaimProof);
        }
        let known = claim::get(tx, claim.serial).await?;
        if known
            .as_ref()
            .is_some_and(|known| known.revoked_at.is_some())
        {
            return refuse(Unenrolled::ClaimRevoked);
        }
        if claim.is_over(now) {
            return refuse(Unenrolled::ClaimExpired);
        }
        if claim.board != received.request.board {
            return refuse(Unenrolled::Board);
        }
        self.take_rate(Class::Authority(authority.to_bytes()), now)?;
        Ok(Proven {
            by: format!("claim {}", claim.serial),
            cohort: claim.cohort.to_owned(),
            tags: Vec::new(),
            counted: Counted::Claim {
                serial: claim.serial,
                is_used_up: known.is_some_and(|known| known.use_count >= claim.uses),
            },
        })
    }

    fn take_rate(&self, class: Class, now: Timestamp) -> Result<(), FleetError> {
        let per_minute = self.policy.enrolment.class_per_minute;
        match self.rates.class.take(class, per_minute, now) {
            true => Ok(()),
            false => Err(FleetError::Enrolment(Unenrolled::ClassRate)),
        }
    }
}

/// Counts a device that is new; one that enrols once more was counted before.
async fn count(tx: &Tx, counted: &Counted<'_>, now: Timestamp) -> Result<(), FleetError> {
    let refuse = |why| Err(FleetError::Enrolment(why));
    match counted {
        Counted::Token { is_used_up, .. } if *is_used_up => refuse(Unenrolled::TokenUsedUp),
        Counted::Claim { is_used_up, .. } if *is_used_up => refuse(Unenrolled::ClaimUsedUp),
        Counted::Token { id, .. } => Ok(class_token::count_use(tx, *id).await?),
        Counted::Claim { serial, .. } => Ok(claim::count_use(tx, serial, now).await?),
        Counted::Nothing => Ok(()),
    }
}
