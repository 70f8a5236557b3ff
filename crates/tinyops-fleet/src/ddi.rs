//! Devices that poll the hawkBit DDI (version 1): Linux clients that know nothing of TinyOps.
//!
//! What such a client installs is the capsule, with the director's statement beside it, so that whoever loads the
//! model on the device still asks both roles; the DDI only carries them. Its feedback becomes words to rollouts, its
//! polls become its reports, its attributes become labels.

/// Does work again that another writer got in the way of.
macro_rules! again {
    ($work:expr) => {{
        let mut tries = 1;
        loop {
            match $work.await {
                Err(FleetError::Store(error)) if error.is_conflict() && tries < TRIES => tries += 1,
                done => break done,
            }
        }
    }};
}

mod action;
mod answer;
pub mod body;
mod label;
mod pack;

use serde::{Deserialize, Serialize};
use tinyops_store::access::{AccessToken, AccessTokenId, Role};
use tinyops_store::ddi::{self, ActionId, Class, Packing, Target};
use tinyops_store::device::{Device, DeviceState};
use tinyops_store::{DeviceId, Digest, Json, Timestamp, Tx, device};

pub use action::{Deployment, Handling, Poll, Told};
pub use label::LABEL_PREFIX;
pub use pack::{Artifact, Hashes, SWU_FOLDER};

use crate::access::{Refused, TOKEN_PREFIX};
use crate::enrol::{Entropy, NewDevice, check_name, hex, note};
use crate::{Fleet, FleetError};

/// How devices that poll are told what to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DdiPolicy {
    /// How long a device sleeps between two polls, in seconds; a day at most.
    pub sleep_seconds: u32,
}

impl Default for DdiPolicy {
    fn default() -> DdiPolicy {
        DdiPolicy { sleep_seconds: 300 }
    }
}

/// What a device shows with each call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown<'a> {
    /// Its own token.
    Target(&'a str),
    /// The token of a gateway that speaks for its class.
    Gateway(&'a str),
}

impl<'a> Shown<'a> {
    /// Reads the value of an `Authorization` header.
    pub fn parse(header: &'a str) -> Option<Shown<'a>> {
        let (scheme, token) = header.trim().split_once(' ')?;
        let token = token.trim();
        match scheme {
            "TargetToken" => Some(Shown::Target(token)),
            "GatewayToken" => Some(Shown::Gateway(token)),
            _ => None,
        }
    }
}

/// A device that has shown that it may call.
#[derive(Clone, Debug, PartialEq)]
pub struct Peer {
    /// The device.
    pub device: Device,
    /// How the DDI knows it.
    pub target: Target,
}

/// Why a call is not taken for a device's. A controller id alone is never trusted, and a wrong one is told from a
/// wrong token by nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Denied {
    /// No such controller with such a token, or its device was revoked.
    #[error("this token is not the token of a controller with this id")]
    Target,
    /// The gateway's token opens nothing.
    #[error("the gateway's token {0}")]
    Gateway(&'static str),
    /// The gateway's token is for another class, or the device has a token of its own.
    #[error("the gateway speaks for devices of {board}/{cohort} that have no token of their own")]
    Class {
        /// The board of those that it speaks for.
        board: String,
        /// Their cohort.
        cohort: String,
    },
}

/// How a device is to be known to the DDI.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewTarget {
    /// What it calls itself; its device id in hex where there is none.
    pub controller: Option<String>,
    /// Whether its user is asked before each installation.
    pub asks_consent: bool,
    /// How what it installs is packed.
    pub packing: Option<Packing>,
}

impl Fleet {
    /// Lets a device poll the DDI with a token of its own, or gives it a new one: the old token opens nothing from
    /// then on. Only the digest is kept; the token is returned this once.
    ///
    /// # Errors
    /// [`FleetError::NoDevice`] if it is not registered, or revoked; [`FleetError::Controller`];
    /// [`tinyops_store::StoreError::Exists`] if the controller id is another device's.
    pub async fn make_target(
        &self,
        id: DeviceId,
        new: &NewTarget,
        entropy: Entropy,
        actor: &str,
        now: Timestamp,
    ) -> Result<(Target, String), FleetError> {
        let token = format!("{TOKEN_PREFIX}{}", hex(&entropy.0[..32]));
        let tx = self.db.begin_audited("let a device poll").await?;
        device::get(&tx, id)
            .await?
            .filter(|device| device.state == DeviceState::Active)
            .ok_or(FleetError::NoDevice(id))?;
        let known = ddi::of_device(&tx, id).await?;
        let controller = new.controller.clone();
        let controller = controller
            .or_else(|| known.map(|target| target.controller))
            .unwrap_or_else(|| id.to_string());
        check_controller(&controller)?;
        let target = Target {
            device: id,
            controller,
            token: Some(Digest::of(token.as_bytes())),
            packing: new.packing.unwrap_or(Packing::Files),
            asks_consent: new.asks_consent,
            auto_confirm: Json::Null,
            wants_config: true,
            counted_at: None,
            revision: 0,
        };
        ddi::set_target(&tx, &target).await?;
        let detail = serde_json::json!({
            "controller": target.controller, "packing": target.packing.word(), "consent": target.asks_consent,
        });
        note(&tx, now, actor, "device.target", id, &detail).await?;
        tx.commit().await?;
        Ok((target, token))
    }

    /// Makes an access token of the role gateway that also speaks, over the DDI, for the devices of one class that
    /// have no token of their own; those that it names and nobody knows are enrolled.
    ///
    /// # Errors
    /// As [`Fleet::make_access_token`].
    #[expect(
        clippy::too_many_arguments,
        reason = "a token and a class, each with its parts"
    )]
    pub async fn make_class_gateway(
        &self,
        name: &str,
        (board, cohort): (&str, &str),
        packing: Packing,
        expires_at: Option<Timestamp>,
        entropy: Entropy,
        actor: &str,
        now: Timestamp,
    ) -> Result<(AccessToken, String), FleetError> {
        check_name(board)?;
        check_name(cohort)?;
        let class = (board, cohort, packing);
        self.make_token_of(
            name,
            Role::Gateway,
            Some(class),
            expires_at,
            entropy,
            actor,
            now,
        )
        .await
    }

    pub(crate) async fn note_class(
        &self,
        tx: &Tx,
        token: AccessTokenId,
        (board, cohort, packing): (&str, &str, Packing),
    ) -> Result<(), FleetError> {
        let class = Class {
            token,
            board: board.to_owned(),
            cohort: cohort.to_owned(),
            packing,
        };
        Ok(ddi::put_class(tx, &class).await?)
    }

    /// The device that calls itself `controller`, if what it shows proves it. With `entropy`, a controller that
    /// nobody knows is enrolled into the class of the gateway that names it.
    ///
    /// # Errors
    /// [`FleetError::Controller`], [`FleetError::Store`].
    pub async fn admit_target(
        &self,
        controller: &str,
        shown: Shown<'_>,
        entropy: Option<Entropy>,
        now: Timestamp,
    ) -> Result<Result<Peer, Denied>, FleetError> {
        check_controller(controller)?;
        let known = ddi::get(&self.db, controller).await?;
        let peer = match known {
            None => None,
            Some(target) => {
                let device = device::get(&self.db, target.device).await?;
                device
                    .filter(|device| device.state == DeviceState::Active)
                    .map(|device| Peer { device, target })
            }
        };
        let (token, is_known) = match shown {
            Shown::Target(token) => {
                let digest = Some(Digest::of(token.as_bytes()));
                // Digests are compared, so that the time taken says nothing of the token.
                return Ok(peer
                    .filter(|peer| peer.target.token == digest)
                    .ok_or(Denied::Target));
            }
            Shown::Gateway(token) => (token, ddi::get(&self.db, controller).await?.is_some()),
        };
        let token = match self
            .access_token(&Digest::of(token.as_bytes()), now)
            .await?
        {
            Ok(token) => token,
            Err(refused) => {
                return Ok(Err(Denied::Gateway(match refused {
                    Refused::Unknown => "was not made here",
                    Refused::Revoked => "is revoked",
                    Refused::Expired => "is over",
                })));
            }
        };
        let Some(class) = ddi::class_of(&self.db, token.id).await? else {
            return Ok(Err(Denied::Gateway("speaks for no class of devices")));
        };
        if let Some(peer) = peer {
            let is_its_own = peer.target.token.is_none()
                && (&peer.device.board, &peer.device.cohort) == (&class.board, &class.cohort);
            return Ok(is_its_own.then_some(peer).ok_or(Denied::Class {
                board: class.board,
                cohort: class.cohort,
            }));
        }
        match entropy {
            Some(entropy) if !is_known => self
                .enrol_target(controller, &token, &class, entropy, now)
                .await
                .map(Ok),
            _ => Ok(Err(Denied::Target)),
        }
    }

    async fn enrol_target(
        &self,
        controller: &str,
        gateway: &AccessToken,
        class: &Class,
        entropy: Entropy,
        now: Timestamp,
    ) -> Result<Peer, FleetError> {
        let new = NewDevice {
            board: class.board.clone(),
            cohort: class.cohort.clone(),
            ..NewDevice::default()
        };
        let tx = self.db.begin_audited("enrol a controller").await?;
        let device = self
            .add_keyless(&tx, &new, entropy, &gateway.name, now)
            .await?;
        let target = Target {
            device: device.id,
            controller: controller.to_owned(),
            token: None,
            packing: class.packing,
            asks_consent: false,
            auto_confirm: Json::Null,
            wants_config: true,
            counted_at: None,
            revision: 0,
        };
        ddi::set_target(&tx, &target).await?;
        let detail = serde_json::json!({ "controller": controller });
        note(&tx, now, &gateway.name, "device.target", device.id, &detail).await?;
        tx.commit().await?;
        Ok(Peer { device, target })
    }
}

/// Controller ids are parts of paths and pages.
fn check_controller(controller: &str) -> Result<(), FleetError> {
    let is_fine =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':' | '@' | '~' | '+');
    match !controller.is_empty() && controller.len() <= 128 && controller.chars().all(is_fine) {
        true => Ok(()),
        false => Err(FleetError::Controller(
            controller.chars().take(60).collect(),
        )),
    }
}

/// An action of a device, by the number in a path.
///
/// # Errors
/// [`FleetError::NoAction`] if it is no number, does not exist, or is another device's.
pub(crate) async fn action_of(
    tx: &Tx,
    peer: &Peer,
    id: ActionId,
) -> Result<ddi::Action, FleetError> {
    ddi::action(tx, id)
        .await?
        .filter(|action| action.device == peer.device.id)
        .ok_or(FleetError::NoAction(id))
}
