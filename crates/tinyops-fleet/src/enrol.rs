//! Who may speak: devices, their keys and passwords, and their right to speak.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use tinyops_store::device::{Device, DeviceState};
use tinyops_store::{DeviceId, DeviceKey, Digest, Json, Timestamp, Tx, audit, device, enrolment};
use tinyops_wire::enrolment::{EnrolmentSecret, Proof, REQUEST_BYTES_MAX, Request, open};

use crate::again::again;
use crate::enrolment::Bringer;
use crate::{Fleet, FleetError};

/// What a new device, or the person who registers it, says of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewDevice {
    /// Its id, if it has one already; otherwise it gets one.
    pub id: Option<DeviceId>,
    /// Its board.
    pub board: String,
    /// The cohort that it joins. Empty is `default`.
    pub cohort: String,
    /// Further words to choose it by.
    pub tags: Vec<String>,
}

/// What enrolment makes of randomness: 32 bytes for a secret, 8 for an id.
#[derive(Clone, Copy)]
pub struct Entropy(pub [u8; 40]);

impl Entropy {
    /// From the system.
    ///
    /// # Panics
    /// If the system has none, without which no key is safe.
    pub fn from_system() -> Entropy {
        let mut bytes = [0; 40];
        getrandom::fill(&mut bytes).expect("the system gives random bytes");
        Entropy(bytes)
    }

    /// A secret and an id.
    pub fn parts(&self) -> ([u8; 32], u64) {
        let (secret, id) = self.0.split_at(32);
        let secret = secret.try_into().expect("32 of 40 bytes");
        let id = u64::from_le_bytes(id.try_into().expect("8 of 40 bytes"));
        (secret, id)
    }
}

impl Fleet {
    /// Enrols a device of this process: both sides of the exchange are played here, as a simulated fleet needs it.
    ///
    /// # Errors
    /// Those of [`Fleet::enrol`].
    ///
    /// # Panics
    /// If the device could not read the server's answer, or would come to another key.
    pub async fn register(
        &self,
        new: &NewDevice,
        entropy: Entropy,
        actor: &str,
        now: Timestamp,
    ) -> Result<Device, FleetError> {
        let keys = self.keys().ok_or(FleetError::NoDirectorKey)?;
        // The device's own randomness, apart from the server's.
        let id = new.id.unwrap_or_default().0.to_le_bytes();
        let own = Digest::of(&[&b"device"[..], &entropy.0, &id].concat());
        let secret = EnrolmentSecret::from_bytes(own.0);
        let request = Request {
            key_set: keys.trust.keys.sequence,
            device: new.id,
            public: secret.public(),
            nonce: Digest::of(&own.0).prefix(),
            board: &new.board,
        };
        let mut bytes = [0; REQUEST_BYTES_MAX];
        let written = request.encode(Proof::Operator, &mut bytes)?;
        let request = &bytes[..written];
        let operator = Bringer::Operator {
            actor,
            cohort: &new.cohort,
            tags: &new.tags,
        };
        let enrolled = self.enrol(request, operator, entropy, now).await?;
        let trust = &keys.trust;
        let opened = open(
            &secret,
            request,
            &enrolled.answer,
            &trust.roots,
            &trust.keys,
        )
        .expect("the server's answer is one");
        assert_eq!(opened.key, enrolled.device.key);
        Ok(enrolled.device)
    }

    /// Registers a device that has no key: it speaks no envelopes, and polls the hawkBit DDI with a token of its own.
    ///
    /// # Errors
    /// [`FleetError::Name`]; [`tinyops_store::StoreError::Exists`] if the id is taken.
    pub async fn register_keyless(
        &self,
        new: &NewDevice,
        entropy: Entropy,
        actor: &str,
        now: Timestamp,
    ) -> Result<Device, FleetError> {
        again!({
            let tx = self
                .db
                .begin_audited("register a device without a key")
                .await?;
            let device = self.add_keyless(&tx, new, entropy, actor, now).await?;
            tx.commit().await?;
            Ok(device)
        })
    }

    /// As [`Fleet::register_keyless`], within a transaction.
    pub(crate) async fn add_keyless(
        &self,
        tx: &Tx,
        new: &NewDevice,
        entropy: Entropy,
        actor: &str,
        now: Timestamp,
    ) -> Result<Device, FleetError> {
        check_name(&new.board)?;
        let cohort = match new.cohort.as_str() {
            "" => "default",
            cohort => cohort,
        };
        check_name(cohort)?;
        let (nobodys, id) = entropy.parts();
        let device = Device {
            id: new.id.unwrap_or(DeviceId(id.max(1))),
            // Shown to nobody, so nothing is ever sealed with it.
            key: DeviceKey(nobodys),
            board: new.board.clone(),
            cohort: cohort.to_owned(),
            tags: new.tags.clone(),
            state: DeviceState::Active,
            enrolled_at: now,
            revision: 0,
        };
        device::add(tx, &device).await?;
        let detail = serde_json::json!({ "board": device.board, "cohort": device.cohort });
        note(tx, now, actor, "device.register", device.id, &detail).await?;
        Ok(device)
    }

    /// Takes a device's right to speak away, and says what had let it in, if that is known.
    ///
    /// # Errors
    /// [`FleetError::NoDevice`].
    pub async fn revoke(
        &self,
        id: DeviceId,
        actor: &str,
        now: Timestamp,
    ) -> Result<Option<String>, FleetError> {
        again!({
            let tx = self.db.begin_audited("revoke a device").await?;
            let mut device = device::get(&tx, id)
                .await?
                .ok_or(FleetError::NoDevice(id))?;
            device.state = DeviceState::Revoked;
            device::put(&tx, &mut device).await?;
            enrolment::end_permit(&tx, id).await?;
            let proof = enrolment::of_device(&tx, id).await?;
            let proof = proof.map(|enrolment| enrolment.proof);
            let detail = serde_json::json!({ "enrolled_by": proof });
            note(&tx, now, actor, "device.revoke", id, &detail).await?;
            tx.commit().await?;
            Ok(proof)
        })
    }

    /// Lets a device that is known enrol once more, with a new key, until then: it was revoked, or lost its key.
    ///
    /// # Errors
    /// [`FleetError::NoDevice`]; [`FleetError::TokenEnds`] if that would be over before it begins.
    pub async fn allow(
        &self,
        id: DeviceId,
        until: Timestamp,
        actor: &str,
        now: Timestamp,
    ) -> Result<(), FleetError> {
        if until <= now {
            return Err(FleetError::TokenEnds);
        }
        again!({
            let tx = self.db.begin_audited("allow a device").await?;
            if device::get(&tx, id).await?.is_none() {
                return Err(FleetError::NoDevice(id));
            }
            enrolment::permit(&tx, id, until).await?;
            let detail = serde_json::json!({ "until_ms": until.0 });
            note(&tx, now, actor, "device.allow", id, &detail).await?;
            tx.commit().await?;
            Ok(())
        })
    }

    /// Whether this is the password of an active device, compared in constant time.
    pub async fn admit(&self, id: DeviceId, password: &str) -> Result<bool, FleetError> {
        let device = device::get(&self.db, id).await?;
        Ok(device.is_some_and(|device| {
            device.state == DeviceState::Active
                && mac_of(&device.key, id)
                    .verify_slice(&unhex(password))
                    .is_ok()
        }))
    }
}

/// The password that a device shows to MQTT and HTTP: it can compute it from its key, and the key cannot be
/// found from it.
///
/// HMAC-SHA-256 under the device's key over `tinyops password` and the id (eight bytes, least first), in hex.
pub fn device_password(key: &DeviceKey, id: DeviceId) -> String {
    hex(&mac_of(key, id).finalize().into_bytes())
}

fn mac_of(key: &DeviceKey, id: DeviceId) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(&key.0).expect("HMAC takes a key of any length");
    mac.update(b"tinyops password");
    mac.update(&id.0.to_le_bytes());
    mac
}

/// Cohorts and boards are parts of topics, keys and pages.
pub(crate) fn check_name(name: &str) -> Result<(), FleetError> {
    let is_fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > 40 || !name.chars().all(is_fine) {
        return Err(FleetError::Name(name.chars().take(60).collect()));
    }
    Ok(())
}

pub(crate) async fn note(
    tx: &Tx,
    now: Timestamp,
    actor: &str,
    action: &str,
    subject: impl std::fmt::Display,
    detail: &Json,
) -> Result<(), FleetError> {
    Ok(audit::add(tx, now, actor, action, &subject.to_string(), detail).await?)
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes of hex digits; nothing for a text that is not hex, which no tag equals.
pub(crate) fn unhex(text: &str) -> Vec<u8> {
    let digits: Option<Vec<u32>> = text.chars().map(|c| c.to_digit(16)).collect();
    let digits = digits.unwrap_or_default();
    digits
        .chunks_exact(2)
        .map(|pair| (pair[0] << 4 | pair[1]) as u8)
        .collect()
}
